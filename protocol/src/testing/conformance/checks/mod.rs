//! The checks, in the order of the rules.

mod accepting;
mod files;
mod input;
mod life;
mod messages;
mod output;
mod panics;
mod turns;

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::probe::{Behaviour, Failed, Probe, Told};
use super::report::{self, expect, expect_bytes};
use super::{Call, Driver, Received, Served, Trace, Wire};
use crate::{Cx, Limits, Peer, Reason, SendError, Sender};

/// Timeout for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to watch that something does not happen.
const QUIET: Duration = Duration::from_millis(50);

/// Checks that take longer than this are printed.
const SLOW: Duration = Duration::from_secs(1);

/// A check: its name, and the function that runs it.
struct Check<D> {
    rule: &'static str,
    scope: Scope,
    check: fn(&D),
}

/// A check's name and function.
type Named<D> = (&'static str, fn(&D));

/// Where a check applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Everywhere,
    /// Not in memory.
    Drivers,
    /// Like `Drivers`, and no other check may run in this process meanwhile: the check takes all descriptors, or watches the threads.
    Alone,
}

/// Read-locked by each check, write-locked by a check that runs alone.
static ALONE: RwLock<()> = RwLock::new(());

/// Checks every rule on `driver`. Prints the name of each check as it starts.
///
/// # Panics
///
/// If a rule is broken: once, after all checks, with a list of the failures.
pub fn run<D: Driver>(driver: &D) {
    let mut failed = Vec::new();
    let all = all::<D>();
    for Check { rule, scope, check } in &all {
        if D::IN_MEMORY && *scope != Scope::Everywhere {
            continue;
        }
        println!("{rule}");
        let begun = Instant::now();
        report::checks(rule);
        let outcome = if *scope == Scope::Alone {
            let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
            catch_unwind(AssertUnwindSafe(|| check(driver)))
        } else {
            let _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
            catch_unwind(AssertUnwindSafe(|| check(driver)))
        };
        if begun.elapsed() > SLOW {
            println!("    took {:?}", begun.elapsed());
        }
        if let Err(panic) = outcome {
            let message = report::message(&*panic).to_owned();
            // A check's own message already begins with the rule.
            let message = message
                .strip_prefix(rule)
                .map(|rest| rest.trim_start_matches(": ").to_owned())
                .unwrap_or(message);
            failed.push(format!("- {rule}\n    {message}"));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} checks failed:\n{}",
        failed.len(),
        all.len(),
        failed.join("\n")
    );
}

fn all<D: Driver>() -> Vec<Check<D>> {
    let everywhere: Vec<Named<D>> = vec![
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
        ("rule 3: edits of unconsumed bytes persist", input::edits_persist),
        (
            "rule 4: leftovers come back after a message",
            input::leftovers_come_back_after_a_message,
        ),
        (
            "rule 5: nothing is received while paused",
            input::nothing_is_received_while_paused,
        ),
        (
            "rule 5: nothing is read while paused",
            input::nothing_is_read_while_paused,
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
        ("rule 6: flush is called before output is looked at", turns::flush),
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
            "rule 7: output waits for its own peer, and reaches no other",
            output::output_reaches_its_own_peer,
        ),
        (
            "rule 8: eof comes after the bytes, once",
            input::eof_comes_after_the_bytes,
        ),
        ("rule 9: deadlines", input::deadlines),
        ("rule 10: an error's reply is sent", life::an_errors_reply_is_sent),
        ("rule 10: abort resets", life::abort_resets),
        (
            "rule 10: after an error of any call only closed is called",
            life::errors_of_every_call,
        ),
        ("rule 11: shutdown goes on reading", life::shutdown_goes_on_reading),
        ("rule 13: messages arrive in order", messages::messages_arrive_in_order),
        ("rule 6: pieces of files keep their place", files::order),
        ("rule 7: a file is held back by its peer", files::back_pressure),
        (
            "rule 10: a file that is too short ends the connection with a reset",
            files::a_short_file,
        ),
        ("rule 10: a file is sent before the end", files::closing_and_stopping),
        ("rule 14: stop", life::stop),
        (
            "rule 15: again comes as often as asked, and before newer input",
            turns::again,
        ),
    ];
    let drivers: Vec<Named<D>> = vec![
        (
            "driver rule 3: a reset loses nothing that came before",
            output::last_words,
        ),
        (
            "driver rule 12: a file that shrinks under way ends the connection with a reset",
            files::a_file_that_shrinks,
        ),
        (
            "driver rule 12: a peer that goes in the middle of a file is noticed",
            files::a_peer_that_goes,
        ),
        (
            "driver rule 2: nothing is kept of a connection that has ended",
            life::dropped_after_the_end,
        ),
        (
            "driver rule 4: one that floods does not starve the others",
            turns::a_flood_is_fair,
        ),
        (
            "driver rule 6: one that asks to come again does not starve the others",
            turns::again_is_fair,
        ),
        (
            "driver rule 7: input that came in time is seen before a late deadline",
            turns::input_before_a_late_deadline,
        ),
        (
            "driver rule 8: a mailbox is bounded and gives back what it does not take",
            messages::a_mailbox_is_bounded,
        ),
        (
            "driver rule 8: messages that wait are told together",
            messages::told_together,
        ),
        (
            "driver rule 8: a mailbox closes with its driver",
            messages::closes_with_the_driver,
        ),
        (
            "driver rule 9: a refused connection is reset",
            accepting::refused_with_a_reset,
        ),
        (
            "driver rule 9: peers that go before they are accepted cost nothing",
            accepting::gone_before_accepted,
        ),
        (
            "driver rule 10: a driver that stops does not listen",
            accepting::nobody_listens_while_stopping,
        ),
        (
            "driver rule 10: what does not end by itself is served until the deadline, then reset",
            accepting::reset_at_the_deadline,
        ),
        (
            "driver rule 10: one whose last timeout is over is stopped, and reset at the deadline",
            accepting::stopped_after_the_last_timeout,
        ),
        (
            "driver rule 11: a panic costs its own connection, and nothing else",
            panics::one_connection,
        ),
        (
            "driver rule 11: a panic of the factory costs its own connection",
            panics::factory,
        ),
        ("driver rule 11: a panic in stop costs its own connection", panics::stop),
    ];
    let with = |scope| move |(rule, check)| Check { rule, scope, check };
    // These checks look at the whole process: its threads or its descriptors.
    let alone: Vec<Named<D>> = vec![
        (
            "driver rule 5: output that is not taken costs no turns",
            turns::blocked_output_does_not_spin,
        ),
        (
            "driver rule 6: a hang-up of one that is paused does not spin",
            turns::a_hang_up_does_not_spin,
        ),
        (
            "driver rule 9: a failed accept is not the end of the server",
            accepting::want_of_descriptors,
        ),
    ];
    let everywhere = everywhere.into_iter().map(with(Scope::Everywhere));
    let drivers = drivers.into_iter().map(with(Scope::Drivers));
    let alone = alone.into_iter().map(with(Scope::Alone));
    everywhere.chain(drivers).chain(alone).collect()
}

/// A server of probes.
struct Server {
    served: Box<dyn Served>,
    /// The protocol's trace and sender of each connection.
    told: Receiver<(Trace, Sender<u32>)>,
}

/// One connection to a server of probes.
struct Session {
    wire: Box<dyn Wire>,
    trace: Trace,
    sender: Sender<u32>,
    server: Rc<Server>,
}

fn limits() -> Limits {
    Limits::default().linger(Duration::from_millis(200))
}

/// A drain time that is longer than any check.
const LONG: Duration = Duration::from_secs(30);

fn serve<D: Driver>(driver: &D, limits: Limits, behaviour: impl Into<Script>) -> Rc<Server> {
    let Script(behaviour, keeps_reading) = behaviour.into();
    let (tell, told) = channel();
    let tell = Arc::new(Mutex::new(tell));
    let served = driver.serve(limits, move |peer: &Peer<'_, u32>| {
        let (probe, trace) = Probe::new(Arc::clone(&behaviour), keeps_reading, !D::IN_MEMORY);
        let _ = tell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send((trace, peer.sender()));
        Some(probe)
    });
    Rc::new(Server { served, told })
}

fn session<D: Driver>(driver: &D, limits: Limits, behaviour: impl Into<Script>) -> Session {
    another(&serve(driver, limits, behaviour))
}

/// Opens another connection to a server.
fn another(server: &Rc<Server>) -> Session {
    let wire = connect(&*server.served);
    let Ok((trace, sender)) = server.told.recv_timeout(PATIENCE) else {
        fail!("expected the factory to be asked, saw that it was not in {PATIENCE:?}")
    };
    Session {
        wire,
        trace,
        sender,
        server: Rc::clone(server),
    }
}

fn connect(served: &dyn Served) -> Box<dyn Wire> {
    let Some(wire) = served.connect() else {
        fail!("expected a connection, saw that nobody listens")
    };
    wire
}

/// A behaviour, and whether the protocol keeps reading.
struct Script(Behaviour, bool);

impl<F> From<F> for Script
where
    F: Fn(&mut Cx<'_>, &mut Option<Instant>, Told<'_, '_>) -> Result<(), Failed> + Send + Sync + 'static,
{
    fn from(script: F) -> Self {
        Script(Arc::new(script), false)
    }
}

/// Helps type inference for a closure that is a script.
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

/// Reads until `n` bytes or the end.
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

/// Reads to the end of the stream, which must not be a reset.
fn read_to_eof(wire: &mut dyn Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match wire.receive(PATIENCE) {
            Received::Bytes(more) => bytes.extend(more),
            Received::Eof => return bytes,
            other => fail!(
                "expected the end of the stream, saw {other:?} after {} bytes",
                bytes.len()
            ),
        }
    }
}

/// Lets the driver notice that the peer has disconnected, and checks the whole trace.
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
