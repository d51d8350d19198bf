//! One connection between its turns.

use std::time::Instant;

use super::Scratch;
use super::backlog::Backlog;
use super::flags::Flags;
use super::turn::Turn;
use crate::cx::Control;
use crate::{Cx, Protocol, Reason};

/// One connection: its protocol, and the data that the connection holds between events. An idle connection owns no buffer.
///
/// ```text
///            connected              close, Err               peer closed, linger over,
///            in a turn              abort, a limit            too much discarded
/// Opening ──────────────► Open ───────────────────► Closing ─────────────────────────► Done
///    │                     │  ▲                        │                                 ▲
///    │ failed, kill, stop  │  └ shutdown: Open, but     └ failed, kill, write timeout ────┤
///    │                     │    nothing more is sent                                      │
///    └─────────────────────┴ abort, failed, kill, a limit ────────────────────────────────┘
///
/// Opening   the protocol has not been called
/// Open      every method may be called
/// Closing   sends the rest, half-closes, discards input; the protocol is not called
/// Done      `closed` was called; `Turn::todo` says Drop
/// ```
#[derive(Debug)]
pub struct Connection<P> {
    pub(super) protocol: P,
    /// Exists only while input or output waits.
    pub(super) backlog: Option<Box<Backlog>>,
    pub(super) control: Control,
    pub(super) phase: Phase,
    /// The reason for the end, once the connection has begun to close.
    pub(super) reason: Reason,
    /// Exceptional conditions; empty between the events of a connection in normal use.
    pub(super) flags: Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Open,
    Closing,
    Done,
}

impl<P: Protocol> Connection<P> {
    /// A connection that is not yet connected.
    pub fn new(protocol: P) -> Self {
        Connection {
            protocol,
            backlog: None,
            control: Control::default(),
            phase: Phase::Opening,
            reason: Reason::Closed,
            flags: Flags::default(),
        }
    }

    /// Begins a turn of this connection with the thread's scratch memory.
    #[inline(always)]
    pub fn turn<'a>(&'a mut self, scratch: &'a mut Scratch) -> Turn<'a, P> {
        Turn::new(self, scratch, 0)
    }

    /// Begins a turn of a connection inside a layer, during a call of the layer with `cx`. The turn has the time and the
    /// limits of `cx`, and counts the output that waits below it. So the inner protocol is congested when its own output and
    /// the layer's are together above the high-water mark.
    #[inline]
    pub fn layered<'a>(&'a mut self, scratch: &'a mut Scratch, cx: &Cx<'_>) -> Turn<'a, P> {
        scratch.now = cx.now();
        scratch.limits = *cx.limits();
        // The output beneath falls to its low-water mark before the layer is called again.
        scratch.limits.low_water = scratch.limits.high_water;
        Turn::new(self, scratch, cx.waiting())
    }

    /// Ends a connection that is gone when there is no scratch memory to begin a turn with: calls the protocol's
    /// [`closed`](Protocol::closed), unless it was called before. A layer uses this in its own `closed`.
    pub fn closed(&mut self, reason: Reason) {
        self.fail(reason);
    }

    /// The protocol.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The time at which [`Turn::timeout`] must be called: the protocol's deadline, or the connection's own deadline for a
    /// peer that takes no output or does not close.
    #[inline(always)]
    pub fn deadline(&self) -> Option<Instant> {
        if self.phase == Phase::Open && self.backlog.is_none() {
            return self.protocol.deadline();
        }
        let own = self.backlog.as_ref().and_then(|b| earlier(b.stall, b.linger));
        match self.phase {
            Phase::Open => earlier(self.protocol.deadline(), own),
            Phase::Opening | Phase::Closing => own,
            Phase::Done => None,
        }
    }

    /// Whether the connection has not yet begun to close.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Open)
    }

    /// Whether the protocol has paused reading.
    pub fn is_paused(&self) -> bool {
        self.control.paused
    }

    /// Whether the protocol's `closed` has been called.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Why the connection ended, or will have ended once it has begun to close.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The protocol's error, if [`reason`](Connection::reason) is [`Reason::Error`]: for a driver to log.
    pub fn error(&self) -> Option<&P::Error> {
        self.backlog.as_ref()?.error.as_ref()?.downcast_ref()
    }

    /// Takes the error that [`error`](Connection::error) returns: for a layer to return as its own error.
    pub fn take_error(&mut self) -> Option<P::Error> {
        let error = self.backlog.as_mut()?.error.take()?;
        error.downcast().ok().map(|error| *error)
    }

    /// Bytes held between turns: unconsumed input, unsent output, and output in flight.
    pub fn held(&self) -> usize {
        self.backlog
            .as_ref()
            .map_or(0, |b| b.input.len() + b.output.len() + b.in_flight)
    }

    /// Ends the connection now, for `reason`, with a reset.
    pub(super) fn fail(&mut self, reason: Reason) {
        if self.phase != Phase::Done {
            self.reason = reason;
            self.flags.set(Flags::RESET);
            self.finish();
        }
    }

    /// Ends the connection now.
    pub(super) fn finish(&mut self) {
        if self.phase != Phase::Done {
            self.phase = Phase::Done;
            let error = self.backlog.take().and_then(|backlog| backlog.error);
            if error.is_some() {
                self.backlog.get_or_insert_default().error = error;
            }
            self.protocol.closed(self.reason);
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
