//! What goes out, and what holds it back.

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
    // What was written at once arrives at once, on loopback and in memory.
    let Received::Bytes(bytes) = session.wire.receive(PATIENCE) else {
        panic!("no answer")
    };
    assert_eq!(bytes.len(), 3008);
    assert!(bytes.starts_with(b"one -") && bytes.ends_with(b"- two"));
    finish(session);
}

/// Answers each byte with a megabyte.
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
    // Nothing is read: the driver fills the transport and then waits.
    session.wire.pass(Duration::from_millis(100));
    assert_eq!(read(&mut *session.wire, 20 * MEGABYTE).len(), 20 * MEGABYTE);
    let (trace, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
    assert_eq!(trace.count(|call| *call == Call::Drained), 20);
}

pub(super) fn reading_goes_on<D: Driver>(driver: &D) {
    let Script(behaviour, _) = megabytes().into();
    let mut session = session(driver, limits(), Script(behaviour, true));
    // The answers are not taken, and more than any transport holds: still all questions are read.
    for sent in 0..12 {
        session.wire.send(b"?");
        let received = |call: &Call| matches!(call, Call::Received(_));
        let read = session.trace.wait_new(PATIENCE, received);
        assert!(read.is_some(), "of {sent} questions and one more the last is not read");
    }
    assert_eq!(read(&mut *session.wire, 12 * MEGABYTE).len(), 12 * MEGABYTE);
    let (_, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
}

pub(super) fn a_stream_from_drained<D: Driver>(driver: &D) {
    // The deadline, far away, serves as a countdown of pieces.
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
    assert_eq!(bytes.len(), PIECES as usize * 100_000);
    let (_, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
}

/// A peer that takes everything at once, and sends meanwhile: the driver puts the rest off for the sake of others, and still reads
/// nothing before the last piece has drained.
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
    assert_eq!(read(&mut *session.wire, 200 * PIECES).len(), 200 * PIECES);
    let (trace, _) = finish(session);
    let second = |call: &Call| *call == Call::Received(b"2".to_vec());
    assert_eq!(trace.count(second), 1);
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
    assert_eq!(session.trace.end(), Reason::WriteTimeout);
    session.trace.check();
}

pub(super) fn output_above_the_limit<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits().max_output(8 * MEGABYTE),
        script(|cx, _, told| {
            if let Told::Received(input) = told {
                input.take_all();
                cx.output().push(bytes::Bytes::from(vec![0; 64 * MEGABYTE]));
            }
            Ok(())
        }),
    );
    session.wire.send(b"?");
    assert_eq!(session.trace.end(), Reason::OutputLimit);
    session.trace.check();
}
