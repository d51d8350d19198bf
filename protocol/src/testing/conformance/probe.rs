//! A protocol that records every call, and behaves as a check wants.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::{Cx, Input, Intent, Protocol, Reason};

/// A method of [`Protocol`](crate::Protocol) that was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `connected`.
    Connected,
    /// `received`, with these bytes in the input.
    Received(Vec<u8>),
    /// `eof`.
    Eof,
    /// `timeout`.
    Timeout,
    /// `drained`.
    Drained,
    /// `again`.
    Again,
    /// `posted`, with this number.
    Message(u32),
    /// `stop`.
    Stop,
    /// `closed`.
    Closed(Reason),
}

/// One call, and the state after it.
#[derive(Debug, Clone)]
pub struct Event {
    /// The method.
    pub call: Call,
    /// The call's time; `None` for `closed`, which has none.
    pub now: Option<Instant>,
    /// The time of the real clock when the call returned.
    pub returned: Instant,
    /// The deadline before the call.
    pub deadline: Option<Instant>,
    /// The strongest end of the connection requested so far.
    pub intent: Intent,
    /// Whether the call returned an error.
    pub failed: bool,
    /// Whether reading was paused after the call.
    pub paused: bool,
    /// Whether the output was above the high-water mark after the call.
    pub congested: bool,
    /// Whether the protocol wants input even while congested.
    pub keeps_reading: bool,
    /// Bytes of input left unconsumed.
    pub left: usize,
}

/// The calls that one connection's protocol received.
#[derive(Debug)]
pub struct Trace {
    incoming: Receiver<Event>,
    counts: Arc<Counts>,
    /// Whether the driver's time is the real clock's.
    real_time: bool,
    /// The calls so far.
    pub events: Vec<Event>,
}

/// Counts of calls that are too frequent to be recorded.
#[derive(Debug, Default)]
struct Counts {
    deadline: AtomicUsize,
    flush: AtomicUsize,
}

/// The most events of a trace that a message shows; the last ones.
const SHOWN: usize = 20;

/// The last events, for a message.
fn last(events: &[Event]) -> Vec<Shown<'_>> {
    let last = &events[events.len().saturating_sub(SHOWN)..];
    last.iter().map(Shown).collect()
}

/// An event as one line.
struct Shown<'a>(&'a Event);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.0;
        match &event.call {
            Call::Received(bytes) => {
                let start = &bytes[..bytes.len().min(SHOWN)];
                write!(f, "Received({} bytes: \"{}\")", bytes.len(), start.escape_ascii())?;
            }
            call => write!(f, "{call:?}")?,
        }
        let marks = [
            (event.failed, "failed"),
            (event.paused, "paused"),
            (event.congested, "congested"),
        ];
        for (_, mark) in marks.iter().filter(|(set, _)| *set) {
            write!(f, ", {mark}")?;
        }
        if event.left > 0 {
            write!(f, ", left {}", event.left)?;
        }
        if event.intent != Intent::Continue {
            write!(f, ", asked for {:?}", event.intent)?;
        }
        Ok(())
    }
}

impl Trace {
    /// Calls of `deadline` so far: at least one for each turn of the connection.
    pub(super) fn turns(&self) -> usize {
        self.counts.deadline.load(Ordering::SeqCst)
    }

    /// Calls of `flush` so far: one for each time that the driver looked at the output.
    pub(super) fn flushes(&self) -> usize {
        self.counts.flush.load(Ordering::SeqCst)
    }

    /// Waits at most `patience` until the protocol is dropped. Returns whether it was.
    pub(super) fn is_dropped(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            match self
                .incoming
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(event) => self.events.push(event),
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// Waits for an event that matches `fits`, and returns it.
    ///
    /// # Panics
    ///
    /// If there is none in time: the check has failed.
    pub(super) fn wait(&mut self, what: &str, fits: impl Fn(&Call) -> bool) -> Event {
        if let Some(event) = self.events.iter().find(|event| fits(&event.call)) {
            return event.clone();
        }
        match self.wait_new(Duration::from_secs(30), fits) {
            Some(event) => event,
            None => fail!("expected {what}, saw {:#?}", last(&self.events)),
        }
    }

    /// Waits for a new event that matches `fits`.
    pub(super) fn wait_new(&mut self, patience: Duration, fits: impl Fn(&Call) -> bool) -> Option<Event> {
        let end = Instant::now() + patience;
        loop {
            match self
                .incoming
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(event) => {
                    self.events.push(event.clone());
                    if fits(&event.call) {
                        return Some(event);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Waits for the end of the connection.
    pub(super) fn end(&mut self) -> Reason {
        match self.wait("the end", |call| matches!(call, Call::Closed(_))).call {
            Call::Closed(reason) => reason,
            _ => unreachable!("only the end fits"),
        }
    }

    /// The number of events that match `fits`.
    pub(super) fn count(&self, fits: impl Fn(&Call) -> bool) -> usize {
        self.events.iter().filter(|event| fits(&event.call)).count()
    }

    /// Checks the rules for any exchange.
    ///
    /// # Panics
    ///
    /// If a rule is broken.
    pub fn check(&mut self) {
        self.events.extend(self.incoming.try_iter());
        let (mut connected, mut closed, mut eof, mut stopped) = (0, 0, 0, 0);
        let mut last_event: Option<&Event> = None;
        let mut now: Option<Instant> = None;
        let (mut paused, mut congested, mut ended) = (false, false, false);
        for event in &self.events {
            let all = last(&self.events);
            ensure!(
                closed == 0,
                "rule 2: expected no call after closed, saw {:?} in {all:#?}",
                Shown(event)
            );
            ensure!(
                !ended || matches!(event.call, Call::Closed(_)),
                "rule 10: expected nothing but closed after the end, saw {:?} in {all:#?}",
                Shown(event)
            );
            if let Some(time) = event.now {
                ensure!(
                    now.is_none_or(|before| before <= time),
                    "rule 12: expected time to go forwards, saw {:?} in {all:#?}",
                    Shown(event)
                );
                ensure!(
                    !self.real_time || time <= event.returned,
                    "rule 12: expected a time that has come, saw one in the future: {event:?}"
                );
                now = Some(time);
            }
            match &event.call {
                Call::Connected => {
                    ensure!(
                        last_event.is_none(),
                        "rule 1: expected connected to be first, saw {all:#?}"
                    );
                    connected += 1;
                }
                Call::Received(bytes) => {
                    ensure!(
                        !paused && (!congested || event.keeps_reading),
                        "rule 5: expected nothing to be received while paused or congested, saw {:?} in {all:#?}",
                        Shown(event)
                    );
                    ensure!(
                        !bytes.is_empty(),
                        "rule 3: expected bytes, saw received without any in {all:#?}"
                    );
                    let before = last_event.filter(|last| matches!(last.call, Call::Received(_)));
                    let newer = before.is_none_or(|before| bytes.len() > before.left);
                    ensure!(
                        newer,
                        "rule 4: expected newer bytes, saw the same again for no reason in {all:#?}"
                    );
                }
                Call::Eof => eof += 1,
                Call::Timeout => {
                    let due = event
                        .deadline
                        .zip(event.now)
                        .is_some_and(|(deadline, now)| deadline <= now);
                    ensure!(due, "rule 9: expected timeout after the deadline, saw {event:?}");
                }
                Call::Drained => {
                    ensure!(
                        congested,
                        "rule 7: expected drained after congestion alone, saw {all:#?}"
                    );
                    congested = false;
                }
                Call::Message(_) | Call::Again => {}
                Call::Stop => stopped += 1,
                Call::Closed(_) => closed += 1,
            }
            if !matches!(event.call, Call::Closed(_)) {
                ensure!(connected == 1, "rule 1: expected connected first, saw {all:#?}");
            }
            paused = event.paused;
            congested |= event.congested;
            ended |= event.failed || event.intent >= Intent::Close;
            last_event = Some(event);
        }
        ensure!(eof <= 1, "rule 8: expected eof once, saw {:#?}", last(&self.events));
        ensure!(
            stopped <= 1,
            "rule 14: expected stop once, saw {:#?}",
            last(&self.events)
        );
    }
}

/// The error of a probe that was told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told to fail")
    }
}

impl core::error::Error for Failed {}

/// The call that a probe receives, with the input if there is one.
pub(super) enum Told<'a, 'b> {
    Connected,
    Received(&'a mut Input<'b>),
    Eof,
    Timeout,
    Drained,
    Again,
    Flush,
    Message(u32),
    Stop,
}

/// The behaviour of a probe. The second argument is its deadline.
pub(super) type Behaviour =
    Arc<dyn Fn(&mut Cx<'_>, &mut Option<Instant>, Told<'_, '_>) -> Result<(), Failed> + Send + Sync>;

pub(super) struct Probe {
    behaviour: Behaviour,
    keeps_reading: bool,
    deadline: Option<Instant>,
    trace: Sender<Event>,
    counts: Arc<Counts>,
}

impl Probe {
    /// Makes a probe and its trace. `real_time` says that the driver's time is the real clock's.
    pub(super) fn new(behaviour: Behaviour, keeps_reading: bool, real_time: bool) -> (Probe, Trace) {
        let (trace, incoming) = channel();
        let counts = Arc::<Counts>::default();
        (
            Probe {
                behaviour,
                keeps_reading,
                deadline: None,
                trace,
                counts: Arc::clone(&counts),
            },
            Trace {
                incoming,
                counts,
                real_time,
                events: Vec::new(),
            },
        )
    }

    fn tell(&mut self, cx: &mut Cx<'_>, call: Call, told: Told<'_, '_>) -> Result<(), Failed> {
        self.note(cx, call, |behaviour, cx, deadline| (behaviour(cx, deadline, told), 0))
    }

    fn note(
        &mut self,
        cx: &mut Cx<'_>,
        call: Call,
        act: impl FnOnce(&Behaviour, &mut Cx<'_>, &mut Option<Instant>) -> (Result<(), Failed>, usize),
    ) -> Result<(), Failed> {
        let deadline = self.deadline;
        let (outcome, left) = act(&self.behaviour, cx, &mut self.deadline);
        // The check may have ended and dropped the receiver.
        let _ = self.trace.send(Event {
            call,
            now: Some(cx.now()),
            returned: Instant::now(),
            deadline,
            intent: cx.intent(),
            failed: outcome.is_err(),
            paused: cx.paused(),
            congested: cx.is_congested(),
            keeps_reading: self.keeps_reading,
            left,
        });
        outcome
    }
}

impl Protocol for Probe {
    type Message = u32;
    type Error = Failed;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.tell(cx, Call::Connected, Told::Connected)
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Failed> {
        let call = Call::Received(input.as_slice().to_vec());
        self.note(cx, call, |behaviour, cx, deadline| {
            let outcome = behaviour(cx, deadline, Told::Received(input));
            (outcome, input.len())
        })
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.tell(cx, Call::Eof, Told::Eof)
    }

    fn deadline(&self) -> Option<Instant> {
        self.counts.deadline.fetch_add(1, Ordering::SeqCst);
        self.deadline
    }

    fn keeps_reading(&self) -> bool {
        self.keeps_reading
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.tell(cx, Call::Timeout, Told::Timeout)
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.tell(cx, Call::Drained, Told::Drained)
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.tell(cx, Call::Again, Told::Again)
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.counts.flush.fetch_add(1, Ordering::SeqCst);
        (self.behaviour)(cx, &mut self.deadline, Told::Flush)
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: u32) -> Result<(), Failed> {
        self.tell(cx, Call::Message(message), Told::Message(message))
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.tell(cx, Call::Stop, Told::Stop)
    }

    fn closed(&mut self, reason: Reason) {
        let _ = self.trace.send(Event {
            call: Call::Closed(reason),
            now: None,
            returned: Instant::now(),
            deadline: self.deadline,
            intent: Intent::Continue,
            failed: false,
            paused: false,
            congested: false,
            keeps_reading: self.keeps_reading,
            left: 0,
        });
    }
}
