//! The order of turns, and their cost.

use std::thread::sleep;

use super::*;
use crate::testing::conformance::busy::busy_thread;

/// The most turns of a connection while nothing happens.
const FEW: usize = 50;

/// Output may be produced in `flush`: the driver must call it before it looks at the output, also if no output waited before.
pub(super) fn flush<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, deadline, told| {
            match told {
                // The deadline, far in the future, marks that output is due.
                Told::Connected => *deadline = Some(cx.now() + LONG),
                Told::Received(input) => {
                    input.take_all();
                    *deadline = Some(cx.now() + LONG);
                }
                Told::Message(_) => *deadline = Some(cx.now() + LONG),
                Told::Flush if deadline.take().is_some() => cx.send(b"f"),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    expect_bytes("flushed after connected", &read(&mut *session.wire, 1), b"f");
    session.wire.send(b"?");
    expect_bytes("flushed after received", &read(&mut *session.wire, 1), b"f");
    expect("a message", session.sender.send(0), Ok(()));
    expect_bytes("flushed after message", &read(&mut *session.wire, 1), b"f");
    finish(session);
}

pub(super) fn again<D: Driver>(driver: &D) {
    const TIMES: usize = 20;
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    cx.send(b"(");
                    cx.send(input.take_all());
                    // The second byte arrives meanwhile.
                    sleep(Duration::from_millis(40));
                    cx.again();
                }
                Told::Again => cx.send(b"g"),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    for _ in 0..TIMES {
        session.wire.send(b"1");
        sleep(Duration::from_millis(10));
        session.wire.send(b"2");
        let mut seen = Vec::new();
        while seen.iter().filter(|byte| **byte == b'2').count() == 0 || seen.last() != Some(&b'g') {
            let more = read(&mut *session.wire, 1);
            ensure!(
                !more.is_empty(),
                "expected again after what was received, saw {}",
                seen.escape_ascii()
            );
            seen.extend(more);
        }
        // One call with both bytes, or two calls.
        ensure!(
            seen == b"(12g" || seen == b"(1g(2g",
            "expected again before newer input (\"(12g\" or \"(1g(2g\"), saw {:?}",
            seen.escape_ascii().to_string()
        );
        if seen == b"(1g(2g" {
            break;
        }
    }
    finish(session);
}

pub(super) fn again_is_fair<D: Driver>(driver: &D) {
    let server = serve(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    let greedy = input.as_slice() == b"greedy";
                    cx.send(input.take_all());
                    if greedy {
                        cx.again();
                    }
                }
                Told::Again => {
                    sleep(Duration::from_millis(1));
                    cx.again();
                }
                Told::Eof | Told::Message(_) => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    let mut greedy = another(&server);
    let mut others: Vec<Session> = (0..4).map(|_| another(&server)).collect();
    greedy.wire.send(b"greedy");
    expect_bytes("the greedy one's echo", &read(&mut *greedy.wire, 6), b"greedy");
    for other in &mut others {
        other.wire.send(b"ping");
        expect_bytes("the echo of another", &read(&mut *other.wire, 4), b"ping");
    }
    // A connection that always asks for another turn still receives messages.
    expect("a message", greedy.sender.send(0), Ok(()));
    expect_bytes("the end of the greedy one", &read_to_eof(&mut *greedy.wire), b"");
    others
        .into_iter()
        .chain([greedy])
        .for_each(|session| drop(finish(session)));
}

pub(super) fn a_flood_is_fair<D: Driver>(driver: &D) {
    /// More bytes than a loopback connection buffers.
    const FLOOD: usize = 2 << 20;
    let server = serve(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) if input.len() > 100 => {
                    input.take_all();
                    sleep(Duration::from_millis(5));
                }
                Told::Received(input) => cx.send(input.take_all()),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    let mut flood = another(&server);
    let mut others: Vec<Session> = (0..4).map(|_| another(&server)).collect();
    for other in &mut others {
        other.wire.send(b"x");
        expect_bytes("the echo", &read(&mut *other.wire, 1), b"x");
    }
    flood.wire.send(&vec![b'f'; FLOOD]);
    let sent = Instant::now();
    for other in &mut others {
        other.wire.send(b"ping");
    }
    for other in &mut others {
        let ping = |call: &Call| *call == Call::Received(b"ping".to_vec());
        let event = other.trace.wait("the input of another", ping);
        // How many reads the flood took until here.
        flood.trace.wait_new(Duration::ZERO, |_| false);
        let first = flood.trace.events.iter().filter(|flooded| {
            matches!(flooded.call, Call::Received(_)) && flooded.returned >= sent && flooded.returned <= event.returned
        });
        let first = first.count();
        ensure!(
            first <= 12,
            "expected others to be read after a few reads of one that floods, saw {first} reads before"
        );
    }
    others
        .into_iter()
        .chain([flood])
        .for_each(|session| drop(finish(session)));
}

pub(super) fn blocked_output_does_not_spin<D: Driver>(driver: &D) {
    const SENT: usize = 32 << 20;
    let server = serve(
        driver,
        limits().max_output(usize::MAX),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    if input.take_all() == b"?" {
                        cx.output().push(bytes::Bytes::from(vec![0; SENT]));
                    } else {
                        cx.send(b"pong");
                    }
                }
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    let mut blocked = another(&server);
    let mut other = another(&server);
    blocked.wire.send(b"?");
    blocked
        .trace
        .wait("the question", |call| matches!(call, Call::Received(_)));
    sleep(Duration::from_millis(100));
    let before = blocked.trace.turns();
    other.wire.send(b"ping");
    expect_bytes("the answer to another", &read(&mut *other.wire, 4), b"pong");
    if let Some(thread) = busy_thread() {
        fail!("expected an idle driver while a peer does not read, saw its thread {thread:?} busy");
    }
    let turns = blocked.trace.turns() - before;
    ensure!(
        turns <= FEW,
        "expected few turns while a peer does not read, saw {turns}"
    );
    expect("bytes in the end", read(&mut *blocked.wire, SENT).len(), SENT);
    finish(blocked);
    finish(other);
}

pub(super) fn a_hang_up_does_not_spin<D: Driver>(driver: &D) {
    for resets in [true, false] {
        let mut session = session(
            driver,
            limits(),
            script(|cx, _, told| {
                match told {
                    Told::Received(input) => {
                        let first = input.take_all() == b"x";
                        cx.send(b"x");
                        cx.pause(first);
                    }
                    Told::Message(_) => cx.pause(false),
                    Told::Eof => cx.close(),
                    _ => {}
                }
                Ok(())
            }),
        );
        session.wire.send(b"x");
        session.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
        let wire = session.wire;
        let mut kept = None;
        if resets {
            wire.reset();
        } else {
            let mut wire = wire;
            wire.send(b"more");
            wire.shutdown();
            kept = Some(wire);
        }
        sleep(Duration::from_millis(50));
        let before = session.trace.turns();
        if let Some(thread) = busy_thread() {
            fail!("expected an idle driver after a hang-up of one that is paused, saw its thread {thread:?} busy");
        }
        let turns = session.trace.turns() - before;
        ensure!(turns <= FEW, "expected few turns after a hang-up, saw {turns}");
        // If the hang-up was not noticed yet, the next read will show it.
        let _ = session.sender.send(0);
        if let Some(mut wire) = kept {
            read(&mut *wire, 2);
            drop(wire);
        }
        session.trace.end();
        session.trace.check();
    }
}

/// A handler that blocks its thread must not cost others their connections: input that arrived in time precedes the timeout.
pub(super) fn input_before_a_late_deadline<D: Driver>(driver: &D) {
    const DEADLINE: Duration = Duration::from_millis(200);
    /// The peers must have sent by then; otherwise the attempt proves nothing.
    const IN_TIME: Duration = Duration::from_millis(150);
    let server = serve(
        driver,
        limits(),
        script(|cx, deadline, told| {
            match told {
                Told::Received(input) => match &*input.take_all() {
                    b"block" => {
                        cx.send(b"blocks");
                        sleep(DEADLINE * 2);
                    }
                    b"arm" => {
                        *deadline = Some(cx.now() + DEADLINE);
                        cx.send(b"armed");
                    }
                    _ => {
                        *deadline = None;
                        cx.send(b"in time");
                    }
                },
                Told::Timeout => {
                    *deadline = None;
                    cx.send(b"too late");
                }
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    // Enough blockers that some share the blocked thread, and that no thread can go on.
    let mut blockers: Vec<Session> = (0..4).map(|_| another(&server)).collect();
    let mut others: Vec<Session> = (0..8).map(|_| another(&server)).collect();
    for _ in 0..20 {
        let begun = Instant::now();
        for other in &mut others {
            other.wire.send(b"arm");
        }
        for other in &mut others {
            expect_bytes("the start", &read(&mut *other.wire, 5), b"armed");
        }
        for blocker in &mut blockers {
            blocker.wire.send(b"block");
        }
        sleep(Duration::from_millis(20));
        for other in &mut others {
            other.wire.send(b"request");
        }
        let valid = begun.elapsed() < IN_TIME;
        for other in &mut others {
            let answer = read(&mut *other.wire, 7);
            if valid {
                expect_bytes("the answer to input that came before the deadline", &answer, b"in time");
            } else if answer.starts_with(b"too") {
                read(&mut *other.wire, 8 + 7 - answer.len());
            }
        }
        for blocker in &mut blockers {
            expect_bytes("the answer of one that blocks", &read(&mut *blocker.wire, 6), b"blocks");
        }
        if valid {
            break;
        }
    }
    others
        .into_iter()
        .chain(blockers)
        .for_each(|session| drop(finish(session)));
}
