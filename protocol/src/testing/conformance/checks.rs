//! The checks, in the order of the rules.

use core::fmt;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::probe::{Behaviour, Failed, Probe, Told};
use super::{Call, Driver, Received, Served, Trace, Wire};
use crate::{Cx, Limits, Peer, Reason, SendError, Sender};

/// Long enough for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to see that something does not happen.
const QUIET: Duration = Duration::from_millis(50);

/// One check: its name and what it does.
type Check<D> = (&'static str, fn(&D));

/// The names of all checks.
pub const CHECKS: usize = 22;

/// Checks every rule on `driver`, printing the name of each check as it starts.
///
/// # Panics
///
/// When a rule is broken.
pub fn run<D: Driver>(driver: &D) {
    for (name, check) in all::<D>() {
        println!("{name}");
        check(driver);
    }
}

fn all<D: Driver>() -> [Check<D>; CHECKS] {
    [
        ("rule 1: connected is first", connected_is_first),
        (
            "rule 1: a greeting is sent without input",
            a_greeting_is_sent_without_input,
        ),
        (
            "rule 2: closed is called when the connect fails",
            closed_when_the_connect_fails,
        ),
        ("rule 2: a refused connection has no protocol", refused),
        (
            "rule 2: closed is called when the peer resets",
            closed_when_the_peer_resets,
        ),
        ("rule 3: what is not consumed comes back in front", leftovers_come_back),
        ("rule 3: a long leftover trickles in", long_leftovers_trickle_in),
        (
            "rule 3: too much unconsumed input ends the connection",
            unconsumed_input_is_bounded,
        ),
        (
            "rule 4: leftovers come back after a message",
            leftovers_come_back_after_a_message,
        ),
        (
            "rule 5: nothing is received while paused",
            nothing_is_received_while_paused,
        ),
        ("rule 6: output of one call is one piece", one_call_is_one_write),
        ("rule 7: back-pressure stops input until drained", back_pressure),
        ("rule 7: a stream from drained ends", a_stream_from_drained),
        ("rule 7: output that is not taken ends the connection", output_not_taken),
        (
            "rule 7: output above the hard limit ends the connection",
            output_above_the_limit,
        ),
        ("rule 8: eof comes after the bytes, once", eof_comes_after_the_bytes),
        ("rule 9: deadlines", deadlines),
        ("rule 10: an error's reply is sent", an_errors_reply_is_sent),
        ("rule 10: abort resets", abort_resets),
        ("rule 11: shutdown goes on reading", shutdown_goes_on_reading),
        ("rule 13: messages arrive in order", messages_arrive_in_order),
        ("rule 14: stop", stop),
    ]
}

/// One connection to a server of one probe.
struct Session {
    wire: Box<dyn Wire>,
    trace: Trace,
    sender: Sender<u32>,
    served: Box<dyn Served>,
}

fn limits() -> Limits {
    Limits::default().linger(Duration::from_millis(200))
}

fn session<D: Driver>(driver: &D, limits: Limits, behaviour: impl Into<Script>) -> Session {
    let behaviour = behaviour.into().0;
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let tell = Arc::new(tell);
    let served = driver.serve(limits, move |peer: &Peer<'_, u32>| {
        let (probe, trace) = Probe::new(Arc::clone(&behaviour));
        let _ = tell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send((trace, peer.sender()));
        Some(probe)
    });
    let wire = served.connect();
    let Ok((trace, sender)) = told.recv_timeout(PATIENCE) else {
        panic!("the factory was not asked")
    };
    Session {
        wire,
        trace,
        sender,
        served,
    }
}

/// A behaviour, made from a closure.
struct Script(Behaviour);

impl<F> From<F> for Script
where
    F: Fn(&mut Cx<'_>, &mut Option<Instant>, Told<'_, '_>) -> Result<(), Failed> + Send + Sync + 'static,
{
    fn from(script: F) -> Self {
        Script(Arc::new(script))
    }
}

/// Types a closure as a script.
fn script<F>(script: F) -> F
where
    F: Fn(&mut Cx<'_>, &mut Option<Instant>, Told<'_, '_>) -> Result<(), Failed> + Send + Sync + 'static,
{
    script
}

fn echo() -> impl Into<Script> {
    script(|cx, _, told| {
        match told {
            Told::Received(input) => cx.send(input.take_all()),
            Told::Eof | Told::Stop => cx.close(),
            _ => {}
        }
        Ok(())
    })
}

/// Reads until so many bytes, or the end.
fn read(wire: &mut dyn Wire, n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = Instant::now() + PATIENCE;
    while bytes.len() < n && Instant::now() < end {
        match wire.receive(Duration::from_millis(100)) {
            Received::Bytes(more) => bytes.extend(more),
            Received::Nothing => {}
            Received::Eof | Received::Reset => break,
        }
    }
    bytes
}

/// Reads to the end of the stream, which must be orderly.
fn read_to_eof(wire: &mut dyn Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match wire.receive(PATIENCE) {
            Received::Bytes(more) => bytes.extend(more),
            Received::Eof => return bytes,
            other => panic!(
                "expected the end of the stream, saw {other:?} after {} bytes",
                bytes.len()
            ),
        }
    }
}

/// Lets the driver notice that the peer is gone, and checks the whole trace.
fn finish(session: Session) -> (Trace, Reason) {
    let Session {
        mut wire, mut trace, ..
    } = session;
    wire.shutdown();
    wire.pass(Duration::from_millis(300));
    drop(wire);
    let reason = trace.end();
    trace.check();
    (trace, reason)
}

fn connected_is_first<D: Driver>(driver: &D) {
    let mut session = session(driver, limits(), echo());
    session.wire.send(b"hello");
    assert_eq!(read(&mut *session.wire, 5), b"hello");
    let (trace, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
    assert_eq!(trace.count(|call| *call == Call::Connected), 1);
}

fn a_greeting_is_sent_without_input<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Connected => cx.send(b"220 ready"),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    assert_eq!(read(&mut *session.wire, 9), b"220 ready");
    finish(session);
}

fn closed_when_the_connect_fails<D: Driver>(driver: &D) {
    let behaviour: Script = script(|_, _, _| Ok(())).into();
    let (probe, mut trace) = Probe::new(behaviour.0);
    driver.connect_to_nobody(move |_: &Peer<'_, u32>| probe);
    assert!(matches!(trace.end(), Reason::Io(_)), "{trace:?}");
    trace.check();
    assert_eq!(trace.events.len(), 1);
}

fn refused<D: Driver>(driver: &D) {
    let served = driver.serve(limits(), |_: &Peer<'_, u32>| None::<Probe>);
    let mut wire = served.connect();
    wire.send(b"?");
    let seen = wire.receive(PATIENCE);
    assert!(
        matches!(seen, Received::Eof | Received::Reset),
        "a refused connection saw {seen:?}"
    );
}

fn closed_when_the_peer_resets<D: Driver>(driver: &D) {
    let mut session = session(driver, limits(), echo());
    session.wire.send(b"x");
    session.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
    session.wire.reset();
    session.trace.end();
    session.trace.check();
}

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

fn leftovers_come_back<D: Driver>(driver: &D) {
    let mut session = session(driver, limits(), words());
    session.wire.send(b"ab");
    session
        .trace
        .wait("two bytes", |call| *call == Call::Received(b"ab".to_vec()));
    session.wire.send(b"cdef");
    session
        .trace
        .wait("all six bytes", |call| *call == Call::Received(b"abcdef".to_vec()));
    session.wire.send(b"gh");
    assert_eq!(read(&mut *session.wire, 8), b"abcdefgh");
    finish(session);
}

fn long_leftovers_trickle_in<D: Driver>(driver: &D) {
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

fn unconsumed_input_is_bounded<D: Driver>(driver: &D) {
    let mut session = session(driver, limits().max_input(10_000), script(|_, _, _| Ok(())));
    session.wire.send(&[0; 50_000]);
    assert_eq!(session.trace.end(), Reason::InputLimit);
    session.trace.check();
}

fn leftovers_come_back_after_a_message<D: Driver>(driver: &D) {
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

fn nothing_is_received_while_paused<D: Driver>(driver: &D) {
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

fn one_call_is_one_write<D: Driver>(driver: &D) {
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

const MEGABYTE: usize = 1 << 20;

fn back_pressure<D: Driver>(driver: &D) {
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

fn a_stream_from_drained<D: Driver>(driver: &D) {
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

fn output_not_taken<D: Driver>(driver: &D) {
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

fn output_above_the_limit<D: Driver>(driver: &D) {
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

fn eof_comes_after_the_bytes<D: Driver>(driver: &D) {
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

fn deadlines<D: Driver>(driver: &D) {
    const STEP: Duration = Duration::from_millis(30);
    let mut session = session(
        driver,
        limits(),
        script(|cx, deadline, told| {
            match told {
                Told::Connected => *deadline = Some(cx.now() + STEP),
                // Later: the old deadline must not fire. Nearer: the new one must.
                Told::Received(input) => {
                    let later = input.take_all().starts_with(b"later");
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
    for order in [&[&b"later"[..], b"nearer"][..], &[b"nearer", b"later"], &[b"later"]] {
        for word in order {
            session.wire.send(word);
            session.wire.pass(Duration::from_millis(2));
        }
        assert_eq!(read(&mut *session.wire, 1), b"!", "{order:?}");
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

fn an_errors_reply_is_sent<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| match told {
            Told::Received(_) => {
                cx.send(b"400");
                Err(Failed)
            }
            _ => Ok(()),
        }),
    );
    session.wire.send(b"nonsense");
    session
        .trace
        .wait("the bytes", |call| matches!(call, Call::Received(_)));
    // More input must neither be seen by the protocol nor cost the peer the reply.
    session.wire.send(&[0; 100_000]);
    assert_eq!(read_to_eof(&mut *session.wire), b"400");
    // The peer does not close: the linger deadline ends it.
    session.wire.pass(Duration::from_millis(400));
    assert_eq!(session.trace.end(), Reason::Error);
    session.trace.check();
}

fn abort_resets<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            if let Told::Received(input) = told {
                input.take_all();
                cx.send(b"never sent");
                cx.abort();
            }
            Ok(())
        }),
    );
    session.wire.send(b"?");
    assert_eq!(session.wire.receive(PATIENCE), Received::Reset);
    assert_eq!(session.trace.end(), Reason::Aborted);
    session.trace.check();
}

fn shutdown_goes_on_reading<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    let last = input.take_all() == b"last";
                    if last {
                        cx.send(b"done");
                        cx.shutdown();
                    }
                }
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"last");
    assert_eq!(read_to_eof(&mut *session.wire), b"done");
    session.wire.send(b"more");
    session
        .trace
        .wait("input after shutdown", |call| *call == Call::Received(b"more".to_vec()));
    let (trace, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
    assert_eq!(trace.count(|call| *call == Call::Eof), 1);
}

fn messages_arrive_in_order<D: Driver>(driver: &D) {
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

fn stop<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => input.consume(usize::MAX),
                Told::Stop => {
                    cx.send(b"going away");
                    cx.close();
                }
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"x");
    session.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
    session.served.stop();
    assert_eq!(read_to_eof(&mut *session.wire), b"going away");
    let (trace, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
    assert_eq!(trace.count(|call| *call == Call::Stop), 1);
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("trace", &self.trace)
            .finish_non_exhaustive()
    }
}
