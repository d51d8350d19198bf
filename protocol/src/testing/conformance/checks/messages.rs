//! Messages from other threads.

use core::sync::atomic::{AtomicBool, Ordering};

use super::*;

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
            ensure!(
                sender.send(n).is_ok(),
                "expected a mailbox that takes {COUNT} messages, saw it full after {n}"
            );
        }
    });
    if let Err(panic) = thread.join() {
        fail!("{}", report::message(&*panic));
    }
    let bytes = read(&mut *session.wire, 4 * COUNT as usize);
    let expected: Vec<u8> = (0..COUNT).flat_map(u32::to_be_bytes).collect();
    expect_bytes("the messages, in order and once each", &bytes, &expected);
    let sender = session.sender.clone();
    let (mut trace, _) = finish(session);
    // After the end, a message is returned to the sender or dropped.
    if let Err(error) = sender.send(COUNT) {
        expect("a message after the end", error, SendError::Closed(COUNT));
    }
    std::thread::sleep(QUIET);
    trace.check();
    expect(
        "messages",
        trace.count(|call| matches!(call, Call::Message(_))),
        COUNT as usize,
    );
}

/// A gate at which a handler waits. It opens by itself when a check ends, also by a panic.
#[derive(Debug, Default)]
struct Gate {
    open: AtomicBool,
}

impl Gate {
    fn wait(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.open.load(Ordering::SeqCst) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A protocol that waits at `gate` when message 0 arrives, and answers each message with a byte.
fn gated(gate: &Arc<Gate>) -> impl Into<Script> {
    let gate = Arc::clone(gate);
    script(move |cx, _, told| {
        match told {
            Told::Message(n) => {
                if n == 0 {
                    gate.wait();
                }
                cx.send(b"m");
            }
            Told::Received(input) => input.consume(usize::MAX),
            Told::Eof => cx.close(),
            _ => {}
        }
        Ok(())
    })
}

pub(super) fn a_mailbox_is_bounded<D: Driver>(driver: &D) {
    /// More messages than any mailbox may hold.
    const MANY: u32 = 1_000_000;
    let gate = Arc::new(Gate::default());
    let mut session = session(driver, limits(), gated(&gate));
    expect("a message", session.sender.send(0), Ok(()));
    std::thread::sleep(QUIET);
    let refused = (1..MANY).find_map(|n| session.sender.send(n).err().map(|error| (n, error)));
    gate.open.store(true, Ordering::SeqCst);
    let Some((n, error)) = refused else {
        fail!("expected a mailbox that is full at some time, saw {MANY} messages taken")
    };
    expect("a message to a full mailbox", error, SendError::Full(n));
    // All messages that were accepted arrive, and no others.
    let taken = n as usize;
    expect(
        "accepted messages that the protocol got",
        read(&mut *session.wire, taken).len(),
        taken,
    );
    let told: Vec<&Call> = {
        session.trace.wait_new(QUIET, |_| false);
        let calls = session.trace.events.iter().map(|event| &event.call);
        calls.filter(|call| matches!(call, Call::Message(_))).collect()
    };
    expect("messages told", told.len(), taken);
    let ordered = told.iter().zip(0..).position(|(call, n)| **call != Call::Message(n));
    expect("the first message out of order", ordered, None);
    finish(session);
}

pub(super) fn told_together<D: Driver>(driver: &D) {
    const COUNT: u32 = 100;
    let gate = Arc::new(Gate::default());
    let mut session = session(driver, limits(), gated(&gate));
    session.trace.wait("connected", |call| *call == Call::Connected);
    std::thread::sleep(QUIET);
    let before = session.trace.flushes();
    expect("a message", session.sender.send(0), Ok(()));
    std::thread::sleep(QUIET);
    for n in 1..COUNT {
        expect("a message", session.sender.send(n), Ok(()));
    }
    gate.open.store(true, Ordering::SeqCst);
    expect(
        "answers",
        read(&mut *session.wire, COUNT as usize).len(),
        COUNT as usize,
    );
    let writes = session.trace.flushes() - before;
    ensure!(
        writes <= 10,
        "expected {COUNT} messages that wait to be told together, saw the output looked at {writes} times"
    );
    finish(session);
}

pub(super) fn closes_with_the_driver<D: Driver>(driver: &D) {
    let Session {
        wire,
        mut trace,
        sender,
        server,
    } = session(driver, limits(), echo());
    server.served.stop(Duration::ZERO);
    drop(server);
    let reason = trace.end();
    expect(
        "the end of one that lives when its driver ends",
        reason == Reason::Closed || reason == Reason::Stopped,
        true,
    );
    drop(wire);
    let end = Instant::now() + PATIENCE;
    while sender.send(7) != Err(SendError::Closed(7)) {
        ensure!(
            Instant::now() < end,
            "expected a mailbox that is closed after the end of its driver, saw {:?}",
            sender.send(7)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
