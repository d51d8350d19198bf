//! Input: bytes, the end of the stream, deadlines, messages.

use super::*;

/// Consumes only whole words of four bytes.
fn words() -> impl Into<Script> {
    script(|cx, _, told| {
        match told {
            Told::Received(input) => {
                while input.len() >= 4 {
                    cx.send(input.take(4));
                }
            }
            Told::Eof => cx.close(),
            _ => {}
        }
        Ok(())
    })
}

pub(super) fn leftovers_come_back<D: Driver>(driver: &D) {
    let mut session = session(driver, limits(), words());
    session.wire.send(b"ab");
    session
        .trace
        .wait("two bytes", |call| *call == Call::Received(b"ab".to_vec()));
    session.wire.send(b"cdef");
    session.trace.wait(
        "newer bytes behind the first two",
        |call| matches!(call, Call::Received(bytes) if bytes.len() > 2 && b"abcdef".starts_with(bytes)),
    );
    session.wire.send(b"gh");
    expect_bytes("the words", &read(&mut *session.wire, 8), b"abcdefgh");
    finish(session);
}

pub(super) fn long_leftovers_trickle_in<D: Driver>(driver: &D) {
    const HEAD: usize = 40_000;
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) if input.len() >= HEAD => cx.send(input.take(HEAD)),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    let sent: Vec<u8> = (0..HEAD + 100).map(|i| (i % 251) as u8).collect();
    for piece in sent.chunks(999) {
        session.wire.send(piece);
    }
    expect_bytes("the head", &read(&mut *session.wire, HEAD), &sent[..HEAD]);
    finish(session);
}

pub(super) fn unconsumed_input_is_bounded<D: Driver>(driver: &D) {
    let mut session = session(driver, limits().max_input(10_000), script(|_, _, _| Ok(())));
    session.wire.send(&[0; 50_000]);
    expect("the end", session.trace.end(), Reason::InputLimit);
    session.trace.check();
}

pub(super) fn leftovers_come_back_after_a_message<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, deadline, told| {
            match told {
                // The deadline serves as a flag: the message has arrived.
                Told::Message(_) => *deadline = Some(cx.now() + Duration::from_secs(3600)),
                Told::Received(input) if deadline.is_some() => cx.send(input.take_all()),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"held");
    session
        .trace
        .wait("the bytes", |call| matches!(call, Call::Received(_)));
    expect("nothing yet", session.wire.receive(QUIET), Received::Nothing);
    expect("a message", session.sender.send(1), Ok(()));
    expect_bytes("what was held", &read(&mut *session.wire, 4), b"held");
    finish(session);
}

pub(super) fn nothing_is_received_while_paused<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    // Takes one byte at a time, and pauses after each.
                    cx.send(input.take(1));
                    cx.pause(true);
                }
                Told::Message(_) => cx.pause(false),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"ab");
    expect_bytes("the first byte", &read(&mut *session.wire, 1), b"a");
    session.wire.send(b"c");
    expect("nothing yet", session.wire.receive(QUIET), Received::Nothing);
    for expected in [b"b", b"c"] {
        expect("a message", session.sender.send(0), Ok(()));
        expect_bytes("the next byte", &read(&mut *session.wire, 1), expected);
    }
    expect("a message", session.sender.send(0), Ok(()));
    session.wire.pass(QUIET);
    finish(session);
}

pub(super) fn eof_comes_after_the_bytes<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => input.consume(1),
                Told::Eof => {
                    // The other direction is still open.
                    cx.send(b"bye");
                    cx.close();
                }
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"abc");
    session.wire.shutdown();
    expect_bytes("the answer", &read_to_eof(&mut *session.wire), b"bye");
    let (trace, reason) = finish(session);
    expect("the end", reason, Reason::Closed);
    let eof = trace.events.iter().position(|event| event.call == Call::Eof);
    let received = trace
        .events
        .iter()
        .position(|event| matches!(event.call, Call::Received(_)));
    ensure!(received < eof, "expected eof after the bytes, saw {trace:#?}");
}

pub(super) fn deadlines<D: Driver>(driver: &D) {
    const STEP: Duration = Duration::from_millis(30);
    let mut session = session(
        driver,
        limits(),
        script(|cx, deadline, told| {
            match told {
                Told::Connected => *deadline = Some(cx.now() + STEP),
                // A later deadline: the old one must not fire. A nearer one: the new one must.
                Told::Received(input) => {
                    let later = input.take_all() == b"l";
                    *deadline = Some(cx.now() + if later { STEP * 30 } else { STEP });
                }
                Told::Timeout => {
                    *deadline = None;
                    cx.send(b"!");
                }
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    expect_bytes("the timeout's byte", &read(&mut *session.wire, 1), b"!");
    for order in ["ln", "nl", "l"] {
        for word in order.as_bytes().chunks(1) {
            session.wire.send(word);
            session.wire.pass(Duration::from_millis(2));
        }
        expect_bytes(
            &format!("the byte of the timeout after {order:?}"),
            &read(&mut *session.wire, 1),
            b"!",
        );
    }
    expect("nothing yet", session.wire.receive(QUIET), Received::Nothing);
    let (trace, _) = finish(session);
    expect("timeouts", trace.count(|call| *call == Call::Timeout), 4);
    for event in trace.events.iter().filter(|event| event.call == Call::Timeout) {
        let late = event.now.zip(event.deadline).map(|(now, deadline)| now - deadline);
        ensure!(
            late.is_some_and(|late| late < Duration::from_millis(500)),
            "expected a timeout at its deadline, saw one {late:?} later"
        );
    }
}

pub(super) fn edits_persist<D: Driver>(driver: &D) {
    /// More leftover input than fits in front of the shared read buffer.
    const LONG: usize = 40_000;
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    input.as_mut_slice().make_ascii_uppercase();
                    if input.as_slice().ends_with(b"!") {
                        cx.send(input.take_all());
                    }
                }
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    for length in [2, LONG] {
        let before = session.trace.events.len();
        let mut sent = vec![b'a'; length];
        for piece in sent.chunks(997) {
            session.wire.send(piece);
        }
        // All bytes that were left before must be shown again.
        let all = |call: &Call| matches!(call, Call::Received(bytes) if bytes.len() == length);
        ensure!(
            session.trace.wait_new(PATIENCE, all).is_some(),
            "expected all of {length} bytes in one piece, saw fewer"
        );
        session.wire.send(b"!");
        let last = |call: &Call| matches!(call, Call::Received(bytes) if bytes.ends_with(b"!"));
        ensure!(
            session.trace.wait_new(PATIENCE, last).is_some(),
            "expected the last byte, saw that it did not come"
        );
        let mut edited = 0;
        for event in &session.trace.events[before..] {
            let Call::Received(bytes) = &event.call else { continue };
            let kept = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
            ensure!(
                kept >= edited,
                "expected the first {edited} bytes as the protocol edited them, saw only {kept} edited"
            );
            edited = event.left;
        }
        sent.push(b'!');
        sent.make_ascii_uppercase();
        expect_bytes("the edited bytes", &read(&mut *session.wire, sent.len()), &sent);
    }
    finish(session);
}

/// More bytes arrive than the connection may hold while the protocol is paused: they must stay in the transport.
pub(super) fn nothing_is_read_while_paused<D: Driver>(driver: &D) {
    const HELD: usize = 50_000;
    let mut session = session(
        driver,
        limits().max_input(10_000),
        script(|cx, _, told| {
            match told {
                Told::Connected => {
                    cx.send(b"2");
                    cx.pause(true);
                }
                Told::Received(input) => cx.send(input.take_all()),
                Told::Message(_) => cx.pause(false),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    expect_bytes("the greeting", &read(&mut *session.wire, 1), b"2");
    for piece in [b'p'; HELD].chunks(5000) {
        session.wire.send(piece);
        session.wire.pass(Duration::from_millis(5));
    }
    expect("nothing yet", session.wire.receive(QUIET), Received::Nothing);
    expect("a message", session.sender.send(0), Ok(()));
    expect_bytes(
        "what came during the pause",
        &read(&mut *session.wire, HELD),
        &[b'p'; HELD],
    );
    finish(session);
}
