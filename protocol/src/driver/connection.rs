//! The rules of one connection.

use std::io;
use std::time::Instant;

use bytes::Buf;

use super::backlog::{Backlog, COPY_MAX, Leftover};
use super::flags::Flags;
use super::{Interest, READ_SIZE, Todo, Turn};
use crate::cx::{Control, Intent};
use crate::{Cx, Input, Protocol, Reason};

/// Calls of `drained` and `received` in a row for a connection whose peer takes everything at once, before others have
/// their turn.
const ROUNDS: u8 = 16;

/// One connection: its protocol, and what it holds between events. An idle one owns no buffer.
#[derive(Debug)]
pub struct Connection<P> {
    protocol: P,
    /// What is only there while something waits.
    backlog: Option<Box<Backlog>>,
    control: Control,
    phase: Phase,
    /// Why the connection will have ended.
    reason: Reason,
    /// What is out of the ordinary; nothing between the events of a connection that is just in use.
    flags: Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Made, not yet connected.
    Opening,
    /// In use.
    Open,
    /// The protocol has nothing more to say: sending the rest, then waiting for the peer to close.
    Closing,
    /// Gone.
    Done,
}

/// # Getters
impl<P: Protocol> Connection<P> {
    /// The protocol.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// When [`timeout`](Connection::timeout) is to be called: the protocol's deadline, or the connection's own for a
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

    /// Why the connection ended, or will have ended once it has begun to close.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Bytes held between events: unconsumed input and unsent output.
    pub fn held(&self) -> usize {
        self.backlog.as_ref().map_or(0, |b| b.input.len() + b.output.len())
    }
}

/// # Input: what happened
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

    /// The transport is connected.
    pub fn connected(&mut self, turn: &mut Turn) {
        if self.phase == Phase::Opening {
            self.phase = Phase::Open;
            self.call(turn, P::connected);
        }
    }

    /// Where to read into: at least 4 KiB, at most 64 KiB.
    #[inline(always)]
    pub fn recv_buffer<'a>(&'a mut self, turn: &'a mut Turn) -> &'a mut [u8] {
        let Turn { input, limits, .. } = turn;
        let Some(leftover) = self
            .backlog
            .as_deref_mut()
            .map(|b| &mut b.input)
            .filter(|l| !l.is_empty())
        else {
            return &mut input[..READ_SIZE];
        };
        if leftover.len() > COPY_MAX {
            return leftover.room(READ_SIZE.min(limits.max_input));
        }
        let n = leftover.len();
        input[..n].copy_from_slice(&leftover.bytes[leftover.start..leftover.end]);
        &mut input[n..n + READ_SIZE]
    }

    /// `n` bytes were read into [`recv_buffer`](Connection::recv_buffer), which must have been called just before.
    /// While closing they are discarded.
    #[inline(always)]
    pub fn received(&mut self, turn: &mut Turn, n: usize) {
        self.enter(turn);
        if self.phase == Phase::Open {
            self.flags.clear(Flags::REDELIVER);
            self.deliver(turn, n);
        } else if self.phase == Phase::Closing {
            self.discard(turn, n);
        }
    }

    /// The end of the peer's stream was read.
    pub fn eof(&mut self, turn: &mut Turn) {
        self.enter(turn);
        if !self.flags.has(Flags::EOF) {
            self.flags.set(Flags::EOF);
            self.call(turn, P::eof);
        }
    }

    /// The socket takes output again.
    #[inline]
    pub fn writable(&mut self, turn: &mut Turn) {
        self.enter(turn);
        self.flags.clear(Flags::BLOCKED);
    }

    /// Goes on after [`Todo::Again`].
    pub fn again(&mut self, turn: &mut Turn) {
        self.enter(turn);
    }

    /// [`deadline`](Connection::deadline) may have passed: called when [`Turn::now`] has reached it, harmless before.
    pub fn timeout(&mut self, turn: &mut Turn) {
        self.enter(turn);
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= turn.now);
        let (stall, linger) = self.backlog.as_ref().map_or((None, None), |b| (b.stall, b.linger));
        if passed(stall) {
            self.fail(Reason::WriteTimeout);
        } else if passed(linger) {
            self.finish();
        } else if self.phase == Phase::Open && passed(self.protocol.deadline()) {
            self.call(turn, P::timeout);
        }
    }

    /// A message for the protocol. Dropped when the connection has begun to close.
    pub fn message(&mut self, turn: &mut Turn, message: P::Message) {
        self.enter(turn);
        self.call(turn, |protocol, cx| protocol.message(cx, message));
    }

    /// Messages for the protocol that wait at once, so that what it says to all of them is one write. Takes no more of
    /// them when their output has to be sent first, being above the high-water mark, or when the protocol has asked for
    /// the end. Returns how many it took: do what [`todo`](Connection::todo) says, and come back with the others. When it
    /// took none, nothing has happened.
    pub fn messages(&mut self, turn: &mut Turn, messages: impl IntoIterator<Item = P::Message>) -> usize {
        let mut messages = messages.into_iter();
        let mut taken = 0;
        while self.phase == Phase::Open
            && let Some(message) = messages.next()
        {
            if taken == 0 {
                self.enter(turn);
            }
            self.call(turn, |protocol, cx| protocol.message(cx, message));
            taken += 1;
            let full = turn.output.len() > turn.limits.high_water && !self.flags.has(Flags::BLOCKED);
            if full || self.control.intent != Intent::Continue {
                break;
            }
        }
        taken
    }

    /// The driver wants to stop.
    pub fn stop(&mut self, turn: &mut Turn) {
        self.enter(turn);
        if self.phase == Phase::Opening {
            self.fail(Reason::Stopped);
        }
        self.call(turn, P::stop);
    }

    /// The transport failed, or never came to be.
    pub fn failed(&mut self, turn: &mut Turn, kind: io::ErrorKind) {
        self.enter(turn);
        self.fail(Reason::Io(kind));
    }

    /// The driver ends the connection, for `reason`, with a reset.
    pub fn kill(&mut self, turn: &mut Turn, reason: Reason) {
        self.enter(turn);
        self.fail(reason);
    }

    /// The socket took `n` bytes of [`Turn::output`].
    #[inline(always)]
    pub fn sent(&mut self, turn: &mut Turn, n: usize) {
        turn.output.advance(n.min(turn.output.len()));
        if let Some(backlog) = &mut self.backlog {
            backlog.stall = None;
        }
    }

    /// The socket takes no more of [`Turn::output`] for now.
    pub fn blocked(&mut self, turn: &mut Turn) {
        self.flags.set(Flags::BLOCKED);
        let stall = turn.limits.write_timeout.map(|timeout| turn.now + timeout);
        let backlog = self.backlog.get_or_insert_default();
        backlog.stall = backlog.stall.or(stall);
        if turn.output.len() > turn.limits.max_output {
            self.fail(Reason::OutputLimit);
        }
    }
}

/// # Output: what to do
impl<P: Protocol> Connection<P> {
    /// What to do next. Ask after each event, until it says to wait, to come again, or to drop the connection.
    #[inline(always)]
    pub fn todo(&mut self, turn: &mut Turn) -> Todo {
        if self.is_plain() {
            if turn.output.is_empty() {
                return Todo::Wait(Interest {
                    read: true,
                    write: false,
                });
            }
            return Todo::Send;
        }
        self.todo_special(turn)
    }

    /// Whether the connection is open, holds nothing and has been asked for nothing.
    #[inline]
    fn is_plain(&self) -> bool {
        self.flags == Flags::default()
            && self.phase == Phase::Open
            && self.control == Control::default()
            && self.backlog.is_none()
    }

    fn todo_special(&mut self, turn: &mut Turn) -> Todo {
        loop {
            if self.phase == Phase::Done {
                turn.output.clear();
                return Todo::Drop {
                    reset: self.flags.has(Flags::RESET),
                };
            }
            if self.flags.has(Flags::FIN) {
                turn.output.clear();
            }
            let waiting = turn.output.len();
            if waiting > 0 && !self.flags.has(Flags::BLOCKED) {
                return Todo::Send;
            }
            if self.flags.has(Flags::CONGESTED) && waiting <= turn.limits.low_water {
                if turn.rounds >= ROUNDS {
                    self.leave(turn);
                    return Todo::Again;
                }
                turn.rounds += 1;
                self.flags.clear(Flags::CONGESTED);
                self.call(turn, P::drained);
                continue;
            }
            if self.flags.has(Flags::REDELIVER) && self.may_deliver() {
                self.flags.clear(Flags::REDELIVER);
                if self.backlog.as_ref().is_some_and(|b| !b.input.is_empty()) {
                    self.deliver_again(turn);
                    continue;
                }
            }
            if waiting == 0 && self.control.intent != Intent::Continue {
                if let Some(todo) = self.wind_down(turn) {
                    return todo;
                }
                continue;
            }
            self.leave(turn);
            return Todo::Wait(Interest {
                read: self.wants_input(),
                write: self.flags.has(Flags::BLOCKED),
            });
        }
    }

    /// The next step of an orderly end, with all output sent; `None` when the connection is finished.
    fn wind_down(&mut self, turn: &mut Turn) -> Option<Todo> {
        if self.flags.has(Flags::EOF) && (self.flags.has(Flags::FIN) || self.phase == Phase::Closing) {
            self.finish();
            return None;
        }
        if !self.flags.has(Flags::FIN) {
            self.flags.set(Flags::FIN);
            return Some(Todo::Shutdown);
        }
        if self.phase == Phase::Closing {
            let linger = turn.now + turn.limits.linger;
            self.backlog.get_or_insert_default().linger.get_or_insert(linger);
        }
        self.leave(turn);
        Some(Todo::Wait(Interest {
            read: self.wants_input(),
            write: false,
        }))
    }

    fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Open => !self.flags.has(Flags::EOF) && self.may_deliver(),
            // Discarding: a peer that is still sending must be able to get on to reading.
            Phase::Closing => !self.flags.has(Flags::EOF),
            Phase::Opening | Phase::Done => false,
        }
    }

    fn may_deliver(&self) -> bool {
        self.phase == Phase::Open
            && !self.control.paused
            && (!self.flags.has(Flags::CONGESTED) || self.protocol.keeps_reading())
    }
}

/// # Inside
impl<P: Protocol> Connection<P> {
    /// Takes the connection in hand: its unsent output comes into the turn.
    #[inline(always)]
    fn enter(&mut self, turn: &mut Turn) {
        turn.rounds = 0;
        if let Some(backlog) = &mut self.backlog
            && !backlog.output.is_empty()
        {
            core::mem::swap(&mut backlog.output, &mut turn.output);
        }
    }

    /// Lets go of the connection: what was not sent goes with it, and the turn's output is empty again.
    #[inline]
    fn leave(&mut self, turn: &mut Turn) {
        if !turn.output.is_empty() {
            self.park(turn);
        } else if let Some(backlog) = &mut self.backlog {
            if backlog.output.has_memory() {
                // The thread's own output lies here since `enter`; this one was allocated for the backlog.
                turn.output = core::mem::take(&mut backlog.output);
            }
            if backlog.is_empty() {
                self.backlog = None;
            }
        }
    }

    fn park(&mut self, turn: &mut Turn) {
        let backlog = self.backlog.get_or_insert_default();
        if backlog.output.has_memory() {
            core::mem::swap(&mut backlog.output, &mut turn.output);
        } else {
            backlog.output = turn.output.split();
        }
    }

    /// Calls the protocol for anything but input.
    fn call(&mut self, turn: &mut Turn, event: impl FnOnce(&mut P, &mut Cx<'_>) -> Result<(), P::Error>) {
        if self.phase != Phase::Open {
            return;
        }
        let mut cx = Cx::new(turn.now, &mut turn.output, &mut self.control, turn.limits.high_water);
        let outcome = event(&mut self.protocol, &mut cx);
        self.flags.set(Flags::REDELIVER);
        self.called(turn, outcome.is_err());
    }

    /// Shows `n` newly read bytes to the protocol, with what it left before in front of them.
    #[inline(always)]
    fn deliver(&mut self, turn: &mut Turn, n: usize) {
        if self.backlog.as_ref().is_some_and(|b| !b.input.is_empty()) {
            return self.deliver_more(turn, n);
        }
        let Turn {
            now,
            output,
            limits,
            input,
            ..
        } = turn;
        let n = n.min(input.len());
        let mut shown = Input::new(&mut input[..n]);
        let mut cx = Cx::new(*now, output, &mut self.control, limits.high_water);
        let outcome = self.protocol.received(&mut cx, &mut shown);
        if !shown.is_empty() {
            self.backlog.get_or_insert_default().input.store(shown.as_slice());
        }
        self.called(turn, outcome.is_err());
    }

    fn deliver_more(&mut self, turn: &mut Turn, n: usize) {
        let Some(backlog) = &mut self.backlog else { return };
        let leftover = &mut backlog.input;
        let Turn {
            now,
            output,
            limits,
            input,
            ..
        } = turn;
        let mut cx = Cx::new(*now, output, &mut self.control, limits.high_water);
        let outcome = if leftover.len() > COPY_MAX {
            leftover.end = (leftover.end + n).min(leftover.bytes.len());
            received_own(&mut self.protocol, &mut cx, leftover)
        } else {
            let end = (leftover.len() + n).min(input.len());
            let mut shown = Input::new(&mut input[..end]);
            let outcome = self.protocol.received(&mut cx, &mut shown);
            leftover.store(shown.as_slice());
            outcome
        };
        self.called(turn, outcome.is_err());
    }

    /// Shows unconsumed input to the protocol once more.
    fn deliver_again(&mut self, turn: &mut Turn) {
        let Some(backlog) = &mut self.backlog else { return };
        let mut cx = Cx::new(turn.now, &mut turn.output, &mut self.control, turn.limits.high_water);
        let outcome = received_own(&mut self.protocol, &mut cx, &mut backlog.input);
        self.called(turn, outcome.is_err());
    }

    /// Counts what a closing connection discards. A peer that only floods is reset.
    #[cold]
    fn discard(&mut self, turn: &Turn, n: usize) {
        let backlog = self.backlog.get_or_insert_default();
        backlog.discarded = backlog.discarded.saturating_add(n);
        if backlog.discarded > turn.limits.max_discard {
            self.fail(self.reason);
        }
    }

    /// Draws the conclusions from a call.
    #[inline(always)]
    fn called(&mut self, turn: &mut Turn, failed: bool) {
        if turn.output.len() > turn.limits.high_water {
            self.flags.set(Flags::CONGESTED);
            // Messages and deadlines bring more output while the socket takes none.
            if self.flags.has(Flags::BLOCKED) && turn.output.len() > turn.limits.max_output {
                return self.fail(Reason::OutputLimit);
            }
        }
        if failed {
            self.reason = Reason::Error;
            self.control.intent = self.control.intent.max(Intent::Close);
        }
        match self.control.intent {
            Intent::Continue | Intent::Shutdown => {
                if self
                    .backlog
                    .as_ref()
                    .is_some_and(|b| b.input.len() > turn.limits.max_input)
                {
                    self.fail(Reason::InputLimit);
                }
            }
            Intent::Close => {
                self.phase = Phase::Closing;
                self.flags.clear(Flags::CONGESTED);
                if let Some(backlog) = &mut self.backlog {
                    backlog.input = Leftover::default();
                }
            }
            Intent::Abort => self.fail(if failed { Reason::Error } else { Reason::Aborted }),
        }
    }

    /// Ends the connection now, for `reason`, with a reset.
    fn fail(&mut self, reason: Reason) {
        if self.phase != Phase::Done {
            self.reason = reason;
            self.flags.set(Flags::RESET);
            self.finish();
        }
    }

    /// Ends the connection now.
    fn finish(&mut self) {
        if self.phase != Phase::Done {
            self.phase = Phase::Done;
            self.backlog = None;
            self.protocol.closed(self.reason);
        }
    }
}

/// Shows a connection's own buffer to its protocol and keeps what it leaves.
fn received_own<P: Protocol>(protocol: &mut P, cx: &mut Cx<'_>, leftover: &mut Leftover) -> Result<(), P::Error> {
    let mut shown = Input::new(&mut leftover.bytes[leftover.start..leftover.end]);
    let outcome = protocol.received(cx, &mut shown);
    leftover.start = leftover.end - shown.len();
    if leftover.is_empty() {
        *leftover = Leftover::default();
    }
    outcome
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
