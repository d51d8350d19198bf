//! The checks, in the order of the rules.

mod input;
mod life;
mod output;

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

/// How many checks there are.
pub const CHECKS: usize = 24;

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
        ("rule 1: connected is first", life::connected_is_first),
        (
            "rule 1: a greeting is sent without input",
            life::a_greeting_is_sent_without_input,
        ),
        (
            "rule 2: closed is called when the connect fails",
            life::closed_when_the_connect_fails,
        ),
        ("rule 2: a refused connection has no protocol", life::refused),
        (
            "rule 2: closed is called when the peer resets",
            life::closed_when_the_peer_resets,
        ),
        (
            "rule 3: what is not consumed comes back in front",
            input::leftovers_come_back,
        ),
        ("rule 3: a long leftover trickles in", input::long_leftovers_trickle_in),
        (
            "rule 3: too much unconsumed input ends the connection",
            input::unconsumed_input_is_bounded,
        ),
        (
            "rule 4: leftovers come back after a message",
            input::leftovers_come_back_after_a_message,
        ),
        (
            "rule 5: nothing is received while paused",
            input::nothing_is_received_while_paused,
        ),
        (
            "rule 5: reading goes on under congestion where that is asked for",
            output::reading_goes_on,
        ),
        (
            "rule 5: nothing is received until the last piece has drained",
            output::nothing_is_received_until_drained,
        ),
        ("rule 6: output of one call is one piece", output::one_call_is_one_write),
        ("rule 7: back-pressure stops input until drained", output::back_pressure),
        ("rule 7: a stream from drained ends", output::a_stream_from_drained),
        (
            "rule 7: output that is not taken ends the connection",
            output::output_not_taken,
        ),
        (
            "rule 7: output above the hard limit ends the connection",
            output::output_above_the_limit,
        ),
        (
            "rule 8: eof comes after the bytes, once",
            input::eof_comes_after_the_bytes,
        ),
        ("rule 9: deadlines", input::deadlines),
        ("rule 10: an error's reply is sent", life::an_errors_reply_is_sent),
        ("rule 10: abort resets", life::abort_resets),
        ("rule 11: shutdown goes on reading", life::shutdown_goes_on_reading),
        ("rule 13: messages arrive in order", input::messages_arrive_in_order),
        ("rule 14: stop", life::stop),
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
    let Script(behaviour, keeps_reading) = behaviour.into();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let tell = Arc::new(tell);
    let served = driver.serve(limits, move |peer: &Peer<'_, u32>| {
        let (probe, trace) = Probe::new(Arc::clone(&behaviour), keeps_reading);
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

/// A behaviour, made from a closure, and whether it keeps reading.
struct Script(Behaviour, bool);

impl<F> From<F> for Script
where
    F: Fn(&mut Cx<'_>, &mut Option<Instant>, Told<'_, '_>) -> Result<(), Failed> + Send + Sync + 'static,
{
    fn from(script: F) -> Self {
        Script(Arc::new(script), false)
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

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("trace", &self.trace)
            .finish_non_exhaustive()
    }
}
