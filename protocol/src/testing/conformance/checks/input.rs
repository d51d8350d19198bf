//! What comes in: bytes, the end of the stream, deadlines, messages.

use super::*;

/// Consumes whole words of four bytes only.
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
    assert_eq!(read(&mut *session.wire, 8), b"abcdefgh");
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
    assert!(read(&mut *session.wire, HEAD) == sent[..HEAD], "the bytes differ");
    finish(session);
}

pub(super) fn unconsumed_input_is_bounded<D: Driver>(driver: &D) {
    let mut session = session(driver, limits().max_input(10_000), script(|_, _, _| Ok(())));
    session.wire.send(&[0; 50_000]);
    assert_eq!(session.trace.end(), Reason::InputLimit);
    session.trace.check();
}

pub(super) fn leftovers_come_back_after_a_message<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, deadline, told| {
            match told {
                // The deadline serves as a flag: the message has come.
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
    assert_eq!(session.wire.receive(QUIET), Received::Nothing);
    assert!(session.sender.send(1).is_ok());
    assert_eq!(read(&mut *session.wire, 4), b"held");
    finish(session);
}

pub(super) fn nothing_is_received_while_paused<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    // Takes one byte at a time, and a pause after each.
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
    assert_eq!(read(&mut *session.wire, 1), b"a");
    session.wire.send(b"c");
    assert_eq!(session.wire.receive(QUIET), Received::Nothing);
    for expected in [b"b", b"c"] {
        assert!(session.sender.send(0).is_ok());
        assert_eq!(read(&mut *session.wire, 1), expected);
    }
    assert!(session.sender.send(0).is_ok());
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
    assert_eq!(read_to_eof(&mut *session.wire), b"bye");
    let (trace, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
    let eof = trace.events.iter().position(|event| event.call == Call::Eof);
    let received = trace
        .events
        .iter()
        .position(|event| matches!(event.call, Call::Received(_)));
    assert!(received < eof, "{trace:?}");
}

pub(super) fn deadlines<D: Driver>(driver: &D) {
    const STEP: Duration = Duration::from_millis(30);
    let mut session = session(
        driver,
        limits(),
        script(|cx, deadline, told| {
            match told {
                Told::Connected => *deadline = Some(cx.now() + STEP),
                // Later: the old deadline must not fire. Nearer: the new one must.
                Told::Received(input) => {
                    let later = input.take_all() == b"l";
                    *deadline = Some(cx.now() + if later { STEP * 4 } else { STEP });
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
    assert_eq!(read(&mut *session.wire, 1), b"!");
    for order in ["ln", "nl", "l"] {
        for word in order.as_bytes().chunks(1) {
            session.wire.send(word);
            session.wire.pass(Duration::from_millis(2));
        }
        assert_eq!(read(&mut *session.wire, 1), b"!", "{order}");
    }
    assert_eq!(session.wire.receive(QUIET), Received::Nothing);
    let (trace, _) = finish(session);
    assert_eq!(trace.count(|call| *call == Call::Timeout), 4);
    for event in trace.events.iter().filter(|event| event.call == Call::Timeout) {
        let late = event.now.zip(event.deadline).map(|(now, deadline)| now - deadline);
        assert!(
            late.is_some_and(|late| late < Duration::from_millis(500)),
            "fired {late:?} late"
        );
    }
}

pub(super) fn messages_arrive_in_order<D: Driver>(driver: &D) {
    const COUNT: u32 = 1000;
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Message(n) => cx.send(&n.to_be_bytes()),
                Told::Received(input) => input.consume(usize::MAX),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    let sender = session.sender.clone();
    let thread = std::thread::spawn(move || {
        for n in 0..COUNT {
            assert!(sender.send(n).is_ok(), "a mailbox must take {COUNT} messages");
        }
    });
    assert!(thread.join().is_ok());
    let bytes = read(&mut *session.wire, 4 * COUNT as usize);
    let expected: Vec<u8> = (0..COUNT).flat_map(u32::to_be_bytes).collect();
    assert!(bytes == expected, "messages were lost, doubled or reordered");
    let sender = session.sender.clone();
    let (mut trace, _) = finish(session);
    // None after the end: it comes back, or is dropped.
    if let Err(error) = sender.send(COUNT) {
        assert!(matches!(error, SendError::Closed(COUNT)), "{error:?}");
    }
    std::thread::sleep(QUIET);
    trace.check();
    assert_eq!(trace.count(|call| matches!(call, Call::Message(_))), COUNT as usize);
}
