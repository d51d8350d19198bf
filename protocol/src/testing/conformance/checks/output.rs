//! Output and backpressure.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const MEGABYTE: usize = 1 << 20;

pub(super) fn one_call_is_one_write<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    input.take_all();
                    cx.send(b"one ");
                    cx.output().push(bytes::Bytes::from(vec![b'-'; 3000]));
                    cx.send(b" two");
                }
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"?");
    // A single write arrives in one piece, on loopback and in memory.
    let Received::Bytes(bytes) = session.wire.receive(PATIENCE) else {
        fail!("expected an answer, saw none")
    };
    let expected = [&b"one "[..], &[b'-'; 3000], b" two"].concat();
    expect_bytes("the answer, in one piece", &bytes, &expected);
    finish(session);
}

/// Answers each byte with 1 MiB.
fn megabytes() -> impl Into<Script> {
    script(|cx, _, told| {
        match told {
            Told::Received(input) => {
                for _ in input.take(1) {
                    cx.send(&[b'm'; MEGABYTE]);
                }
            }
            Told::Eof => cx.close(),
            _ => {}
        }
        Ok(())
    })
}

pub(super) fn back_pressure<D: Driver>(driver: &D) {
    let mut session = session(driver, limits(), megabytes());
    for _ in 0..10 {
        session.wire.send(b"12");
    }
    // The peer does not read: the driver fills the transport and then waits.
    session.wire.pass(Duration::from_millis(100));
    expect("bytes", read(&mut *session.wire, 20 * MEGABYTE).len(), 20 * MEGABYTE);
    let (trace, reason) = finish(session);
    expect("the end", reason, Reason::Closed);
    expect("calls of drained", trace.count(|call| *call == Call::Drained), 20);
}

pub(super) fn reading_goes_on<D: Driver>(driver: &D) {
    let Script(behaviour, _) = megabytes().into();
    let mut session = session(driver, limits(), Script(behaviour, true));
    // The peer does not read, and the answers exceed the transport: the driver must still read all questions.
    for sent in 0..12 {
        session.wire.send(b"?");
        let received = |call: &Call| matches!(call, Call::Received(_));
        let read = session.trace.wait_new(PATIENCE, received);
        ensure!(
            read.is_some(),
            "expected each question to be read, saw that the one after {sent} was not"
        );
    }
    expect("bytes", read(&mut *session.wire, 12 * MEGABYTE).len(), 12 * MEGABYTE);
    let (_, reason) = finish(session);
    expect("the end", reason, Reason::Closed);
}

pub(super) fn a_stream_from_drained<D: Driver>(driver: &D) {
    // The deadline, far in the future, encodes the number of remaining pieces.
    fn piece(cx: &mut Cx<'_>, left: &mut Option<Instant>, start: Instant) {
        cx.send(&[b's'; 100_000]);
        *left = left.map(|at| at - Duration::from_secs(1));
        if left.is_some_and(|at| at <= start) {
            cx.close();
        }
    }
    const PIECES: u64 = 300;
    let start = Instant::now() + Duration::from_secs(1_000_000);
    let mut session = session(
        driver,
        limits(),
        script(move |cx, left, told| {
            match told {
                Told::Connected => {
                    *left = Some(start + Duration::from_secs(PIECES));
                    piece(cx, left, start);
                }
                Told::Drained => piece(cx, left, start),
                _ => {}
            }
            Ok(())
        }),
    );
    let bytes = read_to_eof(&mut *session.wire);
    expect("bytes", bytes.len(), PIECES as usize * 100_000);
    let (_, reason) = finish(session);
    expect("the end", reason, Reason::Closed);
}

/// The peer reads at once and sends meanwhile. The driver interrupts its writes for the sake of other connections, and must not read before
/// the last piece has drained.
pub(super) fn nothing_is_received_until_drained<D: Driver>(driver: &D) {
    const PIECES: usize = 3000;
    let left = AtomicUsize::new(PIECES);
    let mut session = session(
        driver,
        limits().high_water(100),
        script(move |cx, _, told| {
            match told {
                Told::Received(input) => {
                    let first = input.take_all() == b"1";
                    cx.send(if first { &[b'p'; 200] } else { b"" });
                }
                Told::Drained if left.fetch_sub(1, Ordering::Relaxed) > 1 => cx.send(&[b'p'; 200]),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"1");
    session
        .trace
        .wait("the first byte", |call| matches!(call, Call::Received(_)));
    session.wire.send(b"2");
    expect("bytes", read(&mut *session.wire, 200 * PIECES).len(), 200 * PIECES);
    let (trace, _) = finish(session);
    let second = |call: &Call| *call == Call::Received(b"2".to_vec());
    expect("calls of received with the second byte alone", trace.count(second), 1);
}

pub(super) fn output_not_taken<D: Driver>(driver: &D) {
    let limits = limits()
        .max_output(usize::MAX)
        .write_timeout(Some(Duration::from_millis(100)));
    let mut session = session(
        driver,
        limits,
        script(|cx, _, told| {
            if let Told::Received(input) = told {
                input.take_all();
                cx.output().push(bytes::Bytes::from(vec![0; 32 * MEGABYTE]));
            }
            Ok(())
        }),
    );
    session.wire.send(b"?");
    session.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
    session.wire.pass(Duration::from_millis(200));
    expect("the end", session.trace.end(), Reason::WriteTimeout);
    session.trace.check();
}

pub(super) fn output_above_the_limit<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits().max_output(8 * MEGABYTE),
        script(|cx, _, told| {
            if let Told::Received(input) = told {
                input.take_all();
                cx.output().push(bytes::Bytes::from(vec![0; 32 * MEGABYTE]));
            }
            Ok(())
        }),
    );
    session.wire.send(b"?");
    expect("the end", session.trace.end(), Reason::OutputLimit);
    session.trace.check();
}

/// Several peers do not read for a while; then each must receive the output of its own connection, and nothing else.
pub(super) fn output_reaches_its_own_peer<D: Driver>(driver: &D) {
    // More than a transport holds.
    let copies = if D::IN_MEMORY { 1 } else { 8 };
    let server = serve(
        driver,
        // On a busy machine the last peer waits long.
        limits().write_timeout(None),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    for byte in input.take_all() {
                        // In many pieces, so that vectored writes end inside a piece.
                        for piece in 0..MEGABYTE / 4096 {
                            let mut bytes = vec![*byte; 4096];
                            bytes[0] = b'0' + (piece % 10) as u8;
                            cx.output().push(bytes::Bytes::from(bytes));
                        }
                    }
                }
                Told::Message(_) => cx.send(b"?"),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    let mut sessions: Vec<(u8, Session)> = (b'a'..=b'f').map(|name| (name, another(&server))).collect();
    for (name, session) in &mut sessions {
        session.wire.send(&vec![*name; copies]);
        session.trace.wait("the name", |call| matches!(call, Call::Received(_)));
    }
    for (_, session) in &sessions {
        expect("a message", session.sender.send(0), Ok(()));
    }
    for (name, mut session) in sessions {
        let bytes = read(&mut *session.wire, copies * MEGABYTE + 1);
        let mut expected = Vec::with_capacity(copies * MEGABYTE);
        for piece in 0..copies * MEGABYTE / 4096 {
            expected.push(b'0' + (piece % (MEGABYTE / 4096) % 10) as u8);
            expected.resize((piece + 1) * 4096, name);
        }
        let mark = bytes.iter().position(|byte| *byte == b'?');
        ensure!(
            mark.is_some(),
            "expected the message's mark, saw none in {} bytes",
            bytes.len()
        );
        let own: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'?').collect();
        expect_bytes(&format!("what {} said", char::from(name)), &own, &expected);
        finish(session);
    }
}

pub(super) fn last_words<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits().max_output(usize::MAX),
        script(|cx, _, told| {
            if let Told::Received(input) = told
                && input.take_all() == b"?"
            {
                cx.output().push(bytes::Bytes::from(vec![0; 64 * MEGABYTE]));
            }
            Ok(())
        }),
    );
    session.wire.send(b"?");
    session
        .trace
        .wait("the question", |call| matches!(call, Call::Received(_)));
    session.wire.pass(QUIET);
    session.wire.send(b"last words");
    session.wire.reset();
    let reason = session.trace.end();
    ensure!(
        matches!(reason, Reason::Io(_)),
        "expected an error of the system, saw {reason:?}"
    );
    // The whole trace is not checked, because a connection whose output was dropped leaves congestion without a call of `drained`.
    let seen = |call: &Call| *call == Call::Received(b"last words".to_vec());
    expect(
        "calls with what the peer said before its reset",
        session.trace.count(seen),
        1,
    );
}
