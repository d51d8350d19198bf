//! A protocol that notes all that is done to it, and behaves as a check wants.

use core::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::{Cx, Input, Intent, Protocol, Reason};

/// Which method was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `connected`.
    Connected,
    /// `received`, with these bytes in view.
    Received(Vec<u8>),
    /// `eof`.
    Eof,
    /// `timeout`.
    Timeout,
    /// `drained`.
    Drained,
    /// `message`, with this number.
    Message(u32),
    /// `stop`.
    Stop,
    /// `closed`.
    Closed(Reason),
}

/// One call, and how things stood after it.
#[derive(Debug, Clone)]
pub struct Event {
    /// The call.
    pub call: Call,
    /// Its time; `None` for `closed`, which has none.
    pub now: Option<Instant>,
    /// The deadline that was set before the call.
    pub deadline: Option<Instant>,
    /// The strongest end asked for by then.
    pub intent: Intent,
    /// Whether it returned an error.
    pub failed: bool,
    /// Whether reading was paused by then.
    pub paused: bool,
    /// Whether the output was above the high-water mark by then.
    pub congested: bool,
    /// Whether it wants input all the same.
    pub keeps_reading: bool,
    /// Bytes left unconsumed.
    pub left: usize,
}

/// What one connection's protocol went through.
#[derive(Debug)]
pub struct Trace {
    incoming: Receiver<Event>,
    /// What has happened so far.
    pub events: Vec<Event>,
}

impl Trace {
    /// Waits until an event fits, and returns it.
    ///
    /// # Panics
    ///
    /// When none fits in time: the check has failed.
    pub(super) fn wait(&mut self, what: &str, fits: impl Fn(&Call) -> bool) -> Event {
        if let Some(event) = self.events.iter().find(|event| fits(&event.call)) {
            return event.clone();
        }
        match self.wait_new(Duration::from_secs(10), fits) {
            Some(event) => event,
            None => panic!("never saw {what}; saw {:#?}", self.events),
        }
    }

    /// Waits for a new event that fits.
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

    /// How many events fit.
    pub(super) fn count(&self, fits: impl Fn(&Call) -> bool) -> usize {
        self.events.iter().filter(|event| fits(&event.call)).count()
    }

    /// Checks the rules that hold for any exchange.
    ///
    /// # Panics
    ///
    /// When one is broken.
    pub fn check(&mut self) {
        self.events.extend(self.incoming.try_iter());
        let (mut connected, mut closed, mut eof, mut stopped) = (0, 0, 0, 0);
        let mut last: Option<&Event> = None;
        let mut now: Option<Instant> = None;
        let (mut paused, mut congested, mut ended) = (false, false, false);
        for event in &self.events {
            let all = &self.events;
            assert_eq!(closed, 0, "rule 2: a call after closed: {all:#?}");
            assert!(
                !ended || matches!(event.call, Call::Closed(_)),
                "rule 10: {event:?} after the end: {all:#?}"
            );
            if let Some(time) = event.now {
                assert!(
                    now.is_none_or(|before| before <= time),
                    "rule 12: time ran backwards: {all:#?}"
                );
                now = Some(time);
            }
            match &event.call {
                Call::Connected => {
                    assert!(last.is_none(), "rule 1: connected is not first: {all:#?}");
                    connected += 1;
                }
                Call::Received(bytes) => {
                    assert!(
                        !paused && (!congested || event.keeps_reading),
                        "rule 5: received while paused or congested: {all:#?}"
                    );
                    assert!(!bytes.is_empty(), "rule 3: received without bytes: {all:#?}");
                    let before = last.filter(|last| matches!(last.call, Call::Received(_)));
                    let newer = before.is_none_or(|before| bytes.len() > before.left);
                    assert!(newer, "rule 4: the same bytes shown again for no reason: {all:#?}");
                }
                Call::Eof => eof += 1,
                Call::Timeout => {
                    let due = event
                        .deadline
                        .zip(event.now)
                        .is_some_and(|(deadline, now)| deadline <= now);
                    assert!(due, "rule 9: timeout before the deadline: {all:#?}");
                }
                Call::Drained => {
                    assert!(congested, "rule 7: drained without congestion: {all:#?}");
                    congested = false;
                }
                Call::Message(_) => {}
                Call::Stop => stopped += 1,
                Call::Closed(_) => closed += 1,
            }
            if !matches!(event.call, Call::Closed(_)) {
                assert_eq!(connected, 1, "rule 1: {event:?} before connected: {all:#?}");
            }
            paused = event.paused;
            congested |= event.congested;
            ended |= event.failed || event.intent >= Intent::Close;
            last = Some(event);
        }
        assert!(eof <= 1, "rule 8: eof more than once: {:#?}", self.events);
        assert!(stopped <= 1, "rule 14: stop more than once: {:#?}", self.events);
    }
}

/// The error of a probe that is told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told to fail")
    }
}

impl core::error::Error for Failed {}

/// What a probe is told, with the input where there is one.
pub(super) enum Told<'a, 'b> {
    Connected,
    Received(&'a mut Input<'b>),
    Eof,
    Timeout,
    Drained,
    Message(u32),
    Stop,
}

/// What a probe does. The second argument is its deadline.
pub(super) type Behaviour =
    Arc<dyn Fn(&mut Cx<'_>, &mut Option<Instant>, Told<'_, '_>) -> Result<(), Failed> + Send + Sync>;

pub(super) struct Probe {
    behaviour: Behaviour,
    keeps_reading: bool,
    deadline: Option<Instant>,
    trace: Sender<Event>,
}

impl Probe {
    pub(super) fn new(behaviour: Behaviour, keeps_reading: bool) -> (Probe, Trace) {
        let (trace, incoming) = channel();
        (
            Probe {
                behaviour,
                keeps_reading,
                deadline: None,
                trace,
            },
            Trace {
                incoming,
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
        // A check that has ended no longer looks.
        let _ = self.trace.send(Event {
            call,
            now: Some(cx.now()),
            deadline,
            intent: cx.intent(),
            failed: outcome.is_err(),
            paused: cx.paused(),
            congested: cx.congested(),
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

    fn message(&mut self, cx: &mut Cx<'_>, message: u32) -> Result<(), Failed> {
        self.tell(cx, Call::Message(message), Told::Message(message))
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.tell(cx, Call::Stop, Told::Stop)
    }

    fn closed(&mut self, reason: Reason) {
        let _ = self.trace.send(Event {
            call: Call::Closed(reason),
            now: None,
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
