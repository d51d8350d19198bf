//! Accepting connections, and stopping.

use std::fs::File;
use std::thread::sleep;

use super::*;

/// The most descriptors a process may have for this check; with more, the check would take too long.
const DESCRIPTORS: usize = 100_000;

pub(super) fn refused_with_a_reset<D: Driver>(driver: &D) {
    let served = driver.serve(limits(), |_: &Peer<'_, u32>| None::<Probe>);
    for _ in 0..3 {
        let mut wire = connect(&*served);
        expect("a refused connection", wire.receive(PATIENCE), Received::Reset);
    }
}

/// Peers disconnect while the driver is busy: their connections are in the accept queue, and broken.
pub(super) fn gone_before_accepted<D: Driver>(driver: &D) {
    let server = serve(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    if input.as_slice() == b"block" {
                        sleep(Duration::from_millis(200));
                    }
                    cx.send(input.take_all());
                }
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    let mut blockers: Vec<Session> = (0..4).map(|_| another(&server)).collect();
    for blocker in &mut blockers {
        blocker.wire.send(b"block");
    }
    for _ in 0..20 {
        drop(connect(&*server.served));
    }
    for blocker in &mut blockers {
        expect_bytes("the echo of one that was there", &read(&mut *blocker.wire, 5), b"block");
    }
    let mut wire = connect(&*server.served);
    wire.send(b"ping");
    expect_bytes("the echo of one that comes later", &read(&mut *wire, 4), b"ping");
}

/// A peer connects while all descriptors of the process are in use. It must be served when some are free again.
pub(super) fn want_of_descriptors<D: Driver>(driver: &D) {
    let server = serve(driver, limits(), echo());
    let mut inside = another(&server);
    inside.wire.send(b"ping");
    expect_bytes("the echo", &read(&mut *inside.wire, 4), b"ping");
    let Ok(first) = File::open("/dev/null") else {
        return println!("    left out: there is no /dev/null");
    };
    let mut taken = vec![first];
    while let Ok(file) = File::open("/dev/null") {
        if taken.len() >= DESCRIPTORS {
            return println!("    left out: a process may have more than {DESCRIPTORS} descriptors");
        }
        taken.push(file);
    }
    // One stays free for the peer's end.
    taken.pop();
    let mut waiting = server.served.connect();
    // Another thread of the process may have taken the descriptor.
    while waiting.is_none() && taken.pop().is_some() {
        waiting = server.served.connect();
    }
    if let Some(waiting) = &mut waiting {
        waiting.send(b"ping");
    }
    sleep(Duration::from_millis(100));
    inside.wire.send(b"pong");
    let echo = read(&mut *inside.wire, 4);
    drop(taken);
    expect_bytes("the echo of one that is inside, without descriptors", &echo, b"pong");
    let Some(mut waiting) = waiting else {
        fail!("expected a connection, saw that nobody listens")
    };
    // The connection was reset, or had to wait.
    match waiting.receive(PATIENCE) {
        Received::Reset | Received::Eof => {}
        seen => expect(
            "the echo of one that had to wait",
            seen,
            Received::Bytes(b"ping".to_vec()),
        ),
    }
    let mut later = connect(&*server.served);
    later.send(b"ping");
    expect_bytes("the echo of one that comes later", &read(&mut *later, 4), b"ping");
}

/// A protocol that ignores `stop`.
fn stubborn() -> impl Into<Script> {
    script(|cx, _, told| {
        match told {
            Told::Received(input) => cx.send(input.take_all()),
            Told::Eof => cx.close(),
            _ => {}
        }
        Ok(())
    })
}

pub(super) fn nobody_listens_while_stopping<D: Driver>(driver: &D) {
    let server = serve(driver, limits(), stubborn());
    let mut inside = another(&server);
    server.served.stop(LONG);
    inside.trace.wait("stop", |call| *call == Call::Stop);
    // Threads may stop one after the other.
    let end = Instant::now() + Duration::from_secs(3);
    loop {
        let Some(mut wire) = server.served.connect() else { break };
        wire.send(b"ping");
        let seen = wire.receive(Duration::from_millis(100));
        if matches!(seen, Received::Eof | Received::Reset) {
            break;
        }
        ensure!(
            Instant::now() < end,
            "expected nobody to listen while the driver stops, saw a connection that was made and got {seen:?}"
        );
    }
    inside.wire.send(b"ping");
    expect_bytes("the echo of one that is inside", &read(&mut *inside.wire, 4), b"ping");
    finish(inside);
}

pub(super) fn reset_at_the_deadline<D: Driver>(driver: &D) {
    const DRAIN: Duration = Duration::from_millis(400);
    let mut session = session(driver, limits(), stubborn());
    session.wire.send(b"x");
    expect_bytes("the echo", &read(&mut *session.wire, 1), b"x");
    let begun = Instant::now();
    session.server.served.stop(DRAIN);
    session.trace.wait("stop", |call| *call == Call::Stop);
    session.wire.send(b"ping");
    expect_bytes("the echo before the deadline", &read(&mut *session.wire, 4), b"ping");
    expect("the end", session.wire.receive(PATIENCE), Received::Reset);
    let after = begun.elapsed();
    ensure!(
        after >= DRAIN,
        "expected a reset after {DRAIN:?}, saw one after {after:?}"
    );
    ensure!(
        after < DRAIN * 10,
        "expected a reset after {DRAIN:?}, saw one after {after:?}"
    );
    expect("the end", session.trace.end(), Reason::Stopped);
    session.trace.check();
}

/// A connection after its last timeout has no timer by which a driver could find it.
pub(super) fn stopped_after_the_last_timeout<D: Driver>(driver: &D) {
    const DRAIN: Duration = Duration::from_millis(400);
    let mut session = session(
        driver,
        limits(),
        script(|cx, deadline, told| {
            match told {
                Told::Received(input) => {
                    input.take_all();
                    *deadline = Some(cx.now() + Duration::from_millis(20));
                }
                Told::Timeout => {
                    *deadline = None;
                    cx.send(b"late");
                }
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"x");
    expect_bytes("the word of a timeout", &read(&mut *session.wire, 4), b"late");
    session.wire.pass(QUIET);
    session.server.served.stop(DRAIN);
    session.trace.wait("stop", |call| *call == Call::Stop);
    expect("the end", session.wire.receive(PATIENCE), Received::Reset);
    expect("the end", session.trace.end(), Reason::Stopped);
    session.trace.check();
}
