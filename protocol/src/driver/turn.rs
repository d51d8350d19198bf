//! One connection's turn: what happened to it, and what there is to do.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use bytes::Buf;

use super::backlog::{COPY_MAX, Leftover};
use super::connection::{Connection, Phase};
use super::flags::Flags;
use super::scratch::{READ_SIZE, Scratch};
use crate::cx::Intent;
use crate::{Cx, Input, Output, Protocol, Reason};

/// Calls of `drained` and `received` in a row for a connection whose peer takes everything at once, before others have
/// their turn.
const ROUNDS: u8 = 16;

/// What a driver has to do next for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Send from [`Turn::output`], then say how it went. Or take it along with [`Turn::take_output`].
    Send,
    /// Half-close: the peer is to see the end of the stream. Then ask again.
    Shutdown,
    /// Nothing now: wait for the transport, the deadline or a message.
    Wait(Interest),
    /// There is more to do, but other connections come first: call [`Turn::again`] in the next turn. Do not read before.
    Again,
    /// Drop the connection: [`Protocol::closed`] has been called. Close the transport, with a reset if `reset`. Output in
    /// flight is cancelled or forgotten.
    Drop {
        /// Whether the peer is to see a reset instead of an orderly end.
        reset: bool,
    },
}

/// What to wait for on a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interest {
    /// Input is wanted.
    pub read: bool,
    /// Output waits.
    pub write: bool,
}

/// What an open connection waits for that has nothing to send.
pub(super) const READING: Interest = Interest {
    read: true,
    write: false,
};

/// One connection's turn: the connection and the thread's scratch memory together.
///
/// Say what happened, then do what [`todo`](Turn::todo) says until it waits, wants to come again, or ends. A turn that is
/// dropped takes the unsent output into its connection, so nothing is lost or sent elsewhere whatever was left undone.
pub struct Turn<'a, P: Protocol> {
    pub(super) connection: &'a mut Connection<P>,
    pub(super) scratch: &'a mut Scratch,
    /// Bytes of output that wait beneath this connection: in flight, or in the layers under it.
    beneath: usize,
    rounds: u8,
    /// Whether the protocol was called since its last `flush`.
    called: bool,
}

/// # What happened
impl<'a, P: Protocol> Turn<'a, P> {
    #[inline(always)]
    pub(super) fn new(connection: &'a mut Connection<P>, scratch: &'a mut Scratch, beneath: usize) -> Self {
        let mut turn = Turn {
            connection,
            scratch,
            beneath,
            rounds: 0,
            called: false,
        };
        if let Some(backlog) = &mut turn.connection.backlog {
            turn.beneath += backlog.in_flight;
            if !backlog.output.is_empty() {
                core::mem::swap(&mut backlog.output, &mut turn.scratch.output);
            }
        }
        turn
    }

    /// The transport is connected.
    pub fn connected(&mut self) {
        if self.connection.phase == Phase::Opening {
            self.connection.phase = Phase::Open;
            self.call(P::connected);
        }
    }

    /// Where to read into: at least 4 KiB, at most 64 KiB.
    #[inline(always)]
    pub fn recv_buffer(&mut self) -> &mut [u8] {
        let backlog = self.connection.backlog.as_deref_mut();
        let Some(leftover) = backlog.map(|b| &mut b.input).filter(|l| !l.is_empty()) else {
            return &mut self.scratch.input()[..READ_SIZE];
        };
        if leftover.len() > COPY_MAX {
            return leftover.room(READ_SIZE.min(self.scratch.limits.max_input));
        }
        let n = leftover.len();
        let input = self.scratch.input();
        input[..n].copy_from_slice(&leftover.bytes[leftover.start..leftover.end]);
        &mut input[n..n + READ_SIZE]
    }

    /// `n` bytes were read into [`recv_buffer`](Turn::recv_buffer), which must have been called just before.
    ///
    /// Bytes that the protocol does not want yet are kept for it, up to [`Limits::max_input`](crate::Limits::max_input).
    /// Bytes for a connection that is closing are discarded.
    #[inline(always)]
    pub fn received(&mut self, n: usize) {
        if self.connection.may_deliver() {
            self.connection.flags.clear(Flags::REDELIVER);
            self.deliver(n);
        } else {
            self.received_unwanted(n);
        }
    }

    /// `bytes` were received, and lie where the driver has them: a buffer of the kernel, or plaintext that a layer has
    /// decrypted in place. They are shown there, unless earlier ones wait, which come in front. All of them are taken.
    pub fn receive(&mut self, bytes: &mut [u8]) {
        if !self.connection.may_deliver() {
            let n = bytes.len();
            let keep = |leftover: &mut Leftover| leftover.append(bytes);
            return Self::keep_or_discard(self.connection, &self.scratch.limits, keep, n);
        }
        self.connection.flags.clear(Flags::REDELIVER);
        let backlog = self.connection.backlog.as_deref_mut();
        if let Some(backlog) = backlog.filter(|b| !b.input.is_empty()) {
            backlog.input.append(bytes);
            return self.deliver_again();
        }
        let mut shown = Input::new(bytes);
        let (protocol, mut cx) = self.split();
        let outcome = protocol.received(&mut cx, &mut shown);
        if !shown.is_empty() {
            let backlog = self.connection.backlog.get_or_insert_default();
            backlog.input.store(shown.as_slice());
        }
        self.conclude(outcome);
    }

    /// The end of the peer's stream was read.
    pub fn eof(&mut self) {
        if !self.connection.flags.has(Flags::EOF) {
            self.connection.flags.set(Flags::EOF);
            // Where bytes were never shown, the end is told behind them.
            if !self.connection.flags.has(Flags::UNSEEN) {
                self.call(P::eof);
            }
        }
    }

    /// The transport takes output again.
    #[inline]
    pub fn writable(&mut self) {
        self.connection.flags.clear(Flags::BLOCKED);
    }

    /// Goes on after [`Todo::Again`].
    pub fn again(&mut self) {
        if self.connection.control.again {
            self.connection.control.again = false;
            self.call(P::again);
        }
    }

    /// [`deadline`](Connection::deadline) may have passed: called when [`Scratch::now`] has reached it, harmless before.
    pub fn timeout(&mut self) {
        let now = self.scratch.now;
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let backlog = self.connection.backlog.as_ref();
        let (stall, linger) = backlog.map_or((None, None), |b| (b.stall, b.linger));
        if passed(stall) {
            self.connection.fail(Reason::WriteTimeout);
        } else if passed(linger) {
            self.connection.finish();
        } else if self.connection.phase == Phase::Open && passed(self.connection.protocol.deadline()) {
            self.call(P::timeout);
        }
    }

    /// A message for the protocol. Dropped when the connection has begun to close.
    pub fn posted(&mut self, message: P::Message) {
        self.call(|protocol, cx| protocol.posted(cx, message));
    }

    /// Messages for the protocol that wait at once, so that what it says to all of them is one write. Takes no more of
    /// them when their output has to be sent first, being above the high-water mark, or when the protocol has asked for
    /// the end. Returns how many it took: do what [`todo`](Turn::todo) says, and come back with the others. When it
    /// took none, nothing has happened.
    pub fn messages(&mut self, messages: impl IntoIterator<Item = P::Message>) -> usize {
        let mut messages = messages.into_iter();
        let mut taken = 0;
        while self.connection.phase == Phase::Open
            && let Some(message) = messages.next()
        {
            self.call(|protocol, cx| protocol.posted(cx, message));
            taken += 1;
            let full = self.waiting() > self.scratch.limits.high_water && !self.is_blocked();
            if full || self.connection.control.intent != Intent::Continue {
                break;
            }
        }
        taken
    }

    /// The driver wants to stop.
    pub fn stop(&mut self) {
        if self.connection.phase == Phase::Opening {
            self.connection.fail(Reason::Stopped);
        }
        self.call(P::stop);
    }

    /// The transport failed, or never came to be.
    pub fn failed(&mut self, kind: io::ErrorKind) {
        self.connection.fail(Reason::Io(kind));
    }

    /// The driver ends the connection, for `reason`, with a reset.
    pub fn kill(&mut self, reason: Reason) {
        self.connection.fail(reason);
    }
}

/// # What to do
impl<P: Protocol> Turn<'_, P> {
    /// What to do next. Ask after each event, until it says to wait, to come again, or to drop the connection. Asking once
    /// more then gives the same answer.
    #[inline(always)]
    pub fn todo(&mut self) -> Todo {
        if self.flushed().is_plain() {
            if self.scratch.output.is_empty() {
                return Todo::Wait(READING);
            }
            return Todo::Send;
        }
        self.todo_special()
    }

    /// The output to send, when [`todo`](Turn::todo) says so.
    #[inline(always)]
    pub fn output(&self) -> &Output {
        &self.scratch.output
    }

    /// The transport took `n` bytes of [`output`](Turn::output).
    #[inline(always)]
    pub fn sent(&mut self, n: usize) {
        let output = &mut self.scratch.output;
        output.advance(n.min(output.len()));
        if let Some(backlog) = &mut self.connection.backlog {
            backlog.stall = None;
        }
    }

    /// The transport takes no more of [`output`](Turn::output) for now.
    pub fn blocked(&mut self) {
        self.connection.flags.set(Flags::BLOCKED);
        self.stall();
        if self.waiting() > self.scratch.limits.max_output {
            self.connection.fail(Reason::OutputLimit);
        }
    }

    /// Takes the output along, for a driver whose operating system sends from memory that it owns meanwhile. Until
    /// [`completed`](Turn::completed) no more is to be sent, the bytes count as waiting, and the write timeout runs.
    pub fn take_output(&mut self) -> Output {
        let output = self.scratch.output.split();
        if !output.is_empty() {
            self.connection.flags.set(Flags::IN_FLIGHT);
            self.stall();
            self.connection.backlog.get_or_insert_default().in_flight = output.len();
            self.beneath += output.len();
        }
        output
    }

    /// The operating system has sent `n` bytes of `output`, which was taken along. The rest is sent next.
    pub fn completed(&mut self, mut output: Output, n: usize) {
        self.connection.flags.clear(Flags::IN_FLIGHT);
        if let Some(backlog) = &mut self.connection.backlog {
            self.beneath -= backlog.in_flight;
            backlog.in_flight = 0;
            if n > 0 {
                backlog.stall = None;
            }
        }
        output.advance(n.min(output.len()));
        if !output.is_empty() {
            output.append(&mut self.scratch.output);
            self.scratch.output = output;
        }
    }

    /// Says how many bytes of output wait beneath this connection: a layer that has moved output into the connection beneath
    /// says so before it asks for more to do.
    pub fn set_beneath(&mut self, bytes: usize) {
        let in_flight = self.connection.backlog.as_ref().map_or(0, |backlog| backlog.in_flight);
        self.beneath = bytes + in_flight;
    }

    /// Says that the protocol was called in a turn before this one, which ended before anything was asked: its
    /// [`flush`](Protocol::flush) is due.
    pub fn flush_due(&mut self) {
        self.called = true;
    }

    /// The time of this turn.
    pub fn now(&self) -> Instant {
        self.scratch.now
    }

    /// The connection.
    pub fn connection(&self) -> &Connection<P> {
        self.connection
    }

    /// The turn, in which layers have said what they had put off.
    #[inline(always)]
    pub(super) fn flushed(&mut self) -> &Self {
        if self.called {
            self.flush();
        }
        self
    }

    /// Whether the connection is open, holds nothing and has been asked for nothing.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        let connection = &*self.connection;
        connection.flags == Flags::default()
            && connection.phase == Phase::Open
            && connection.control == Default::default()
            && connection.backlog.is_none()
    }

    fn todo_special(&mut self) -> Todo {
        loop {
            self.flushed();
            if self.connection.phase == Phase::Done {
                self.scratch.output.clear();
                return Todo::Drop {
                    reset: self.connection.flags.has(Flags::RESET),
                };
            }
            if self.connection.flags.has(Flags::FIN) {
                self.scratch.output.clear();
            }
            let waiting = self.scratch.output.len();
            if waiting > 0 && !self.is_blocked() {
                return Todo::Send;
            }
            if self.connection.flags.has(Flags::CONGESTED) && self.waiting() <= self.scratch.limits.low_water {
                if self.rounds >= ROUNDS {
                    return Todo::Again;
                }
                self.rounds += 1;
                self.connection.flags.clear(Flags::CONGESTED);
                self.call(P::drained);
                continue;
            }
            if self.connection.flags.has(Flags::REDELIVER) && self.connection.may_deliver() {
                self.connection.flags.clear(Flags::REDELIVER);
                if self.connection.backlog.as_ref().is_some_and(|b| !b.input.is_empty()) {
                    self.deliver_again();
                    continue;
                }
            }
            if self.connection.control.again {
                return Todo::Again;
            }
            let winding_down = self.connection.control.intent != Intent::Continue;
            if winding_down && waiting == 0 && !self.connection.flags.has(Flags::IN_FLIGHT) {
                if let Some(todo) = self.wind_down() {
                    return todo;
                }
                continue;
            }
            return Todo::Wait(Interest {
                read: self.connection.wants_input(),
                write: self.connection.flags.has(Flags::BLOCKED),
            });
        }
    }

    /// The next step of an orderly end, with all output sent; `None` when the connection is finished.
    fn wind_down(&mut self) -> Option<Todo> {
        let closing = self.connection.phase == Phase::Closing;
        let flags = &mut self.connection.flags;
        if flags.has(Flags::EOF) && (flags.has(Flags::FIN) || closing) {
            self.connection.finish();
            return None;
        }
        if !flags.has(Flags::FIN) {
            flags.set(Flags::FIN);
            return Some(Todo::Shutdown);
        }
        if closing {
            let linger = later(self.scratch.now, self.scratch.limits.linger);
            let backlog = self.connection.backlog.get_or_insert_default();
            backlog.linger = backlog.linger.or(linger);
        }
        Some(Todo::Wait(Interest {
            read: self.connection.wants_input(),
            write: false,
        }))
    }

    /// Lets a layer say what it has put off, now that the output is about to be looked at.
    #[inline(always)]
    fn flush(&mut self) {
        self.called = false;
        if self.connection.phase != Phase::Open {
            return;
        }
        let (before, control) = (self.scratch.output.len(), self.connection.control);
        let (protocol, mut cx) = self.split();
        let outcome = protocol.flush(&mut cx);
        // By default nothing happens there, and this is known when it is compiled.
        if outcome.is_err() || self.scratch.output.len() != before || self.connection.control != control {
            self.conclude(outcome);
            self.called = false;
        }
    }

    /// Bytes of output that wait, here and beneath.
    #[inline(always)]
    fn waiting(&self) -> usize {
        self.scratch.output.len() + self.beneath
    }

    /// Nothing can be sent any more: forgets what waits, so that it does not keep the protocol from reading. A layer sees an
    /// [`Intent::Shutdown`] that it has not asked for, and does the same to its inner connection.
    pub fn drop_output(&mut self) {
        self.connection.flags.set(Flags::FIN);
        self.connection.control.intent = self.connection.control.intent.max(Intent::Shutdown);
        self.connection.flags.clear(Flags::CONGESTED);
        self.scratch.output.clear();
    }

    /// Whether nothing may be sent at present.
    fn is_blocked(&self) -> bool {
        self.connection.flags.has(Flags::BLOCKED) || self.connection.flags.has(Flags::IN_FLIGHT)
    }

    /// From now on the peer must take some output in time.
    fn stall(&mut self) {
        let timeout = self.scratch.limits.write_timeout;
        let stall = timeout.and_then(|timeout| later(self.scratch.now, timeout));
        let backlog = self.connection.backlog.get_or_insert_default();
        backlog.stall = backlog.stall.or(stall);
    }
}

/// # Calls of the protocol
impl<P: Protocol> Turn<'_, P> {
    /// The protocol and the context of a call.
    #[inline(always)]
    fn split(&mut self) -> (&mut P, Cx<'_>) {
        let Scratch {
            now, limits, output, ..
        } = &mut *self.scratch;
        let cx = Cx::new(*now, output, &mut self.connection.control, limits).above(self.beneath);
        (&mut self.connection.protocol, cx)
    }

    /// Calls the protocol for anything but input.
    pub(super) fn call(&mut self, event: impl FnOnce(&mut P, &mut Cx<'_>) -> Result<(), P::Error>) {
        if self.connection.phase != Phase::Open {
            return;
        }
        let (protocol, mut cx) = self.split();
        let outcome = event(protocol, &mut cx);
        self.connection.flags.set(Flags::REDELIVER);
        self.conclude(outcome);
    }

    /// Shows `n` newly read bytes to the protocol, with what it left before in front of them.
    #[inline(always)]
    fn deliver(&mut self, n: usize) {
        if self.connection.backlog.as_ref().is_some_and(|b| !b.input.is_empty()) {
            return self.deliver_more(n);
        }
        let Scratch {
            now,
            limits,
            output,
            input,
        } = &mut *self.scratch;
        let n = n.min(input.len());
        let mut shown = Input::new(&mut input[..n]);
        let mut cx = Cx::new(*now, output, &mut self.connection.control, limits).above(self.beneath);
        let outcome = self.connection.protocol.received(&mut cx, &mut shown);
        if !shown.is_empty() {
            let backlog = self.connection.backlog.get_or_insert_default();
            backlog.input.store(shown.as_slice());
        }
        self.conclude(outcome);
    }

    fn deliver_more(&mut self, n: usize) {
        let Some(backlog) = &mut self.connection.backlog else {
            return;
        };
        let leftover = &mut backlog.input;
        if leftover.len() > COPY_MAX {
            leftover.end = (leftover.end + n).min(leftover.bytes.len());
            return self.deliver_again();
        }
        let Scratch {
            now,
            limits,
            output,
            input,
        } = &mut *self.scratch;
        let mut cx = Cx::new(*now, output, &mut self.connection.control, limits).above(self.beneath);
        let end = (leftover.len() + n).min(input.len());
        let mut shown = Input::new(&mut input[..end]);
        let outcome = self.connection.protocol.received(&mut cx, &mut shown);
        leftover.store(shown.as_slice());
        self.conclude(outcome);
    }

    /// Shows the connection's own buffer to the protocol, and keeps what the protocol leaves.
    fn deliver_again(&mut self) {
        let Connection {
            protocol,
            backlog: Some(backlog),
            control,
            ..
        } = &mut *self.connection
        else {
            return;
        };
        let Scratch {
            now, limits, output, ..
        } = &mut *self.scratch;
        let mut cx = Cx::new(*now, output, control, limits).above(self.beneath);
        let leftover = &mut backlog.input;
        let mut shown = Input::new(&mut leftover.bytes[leftover.start..leftover.end]);
        let outcome = protocol.received(&mut cx, &mut shown);
        leftover.start = leftover.end - shown.len();
        if leftover.is_empty() {
            *leftover = Leftover::default();
        }
        self.conclude(outcome);
        if self.connection.flags.has(Flags::UNSEEN) {
            self.connection.flags.clear(Flags::UNSEEN);
            if self.connection.flags.has(Flags::EOF) {
                self.call(P::eof);
            }
        }
    }

    /// Input for a protocol that is not to be called: kept if it may want the input later, else discarded.
    #[cold]
    fn received_unwanted(&mut self, n: usize) {
        let input = &self.scratch.input;
        let keep = |leftover: &mut Leftover| {
            if leftover.len() > COPY_MAX {
                leftover.end = (leftover.end + n).min(leftover.bytes.len());
            } else {
                // `recv_buffer` has put what was there in front.
                let end = (leftover.len() + n).min(input.len());
                leftover.store(&input[..end]);
            }
        };
        Self::keep_or_discard(self.connection, &self.scratch.limits, keep, n);
    }

    fn keep_or_discard(
        connection: &mut Connection<P>,
        limits: &crate::Limits,
        keep: impl FnOnce(&mut Leftover),
        n: usize,
    ) {
        match connection.phase {
            Phase::Open => {
                connection.flags.set(Flags::REDELIVER);
                connection.flags.set(Flags::UNSEEN);
                let backlog = connection.backlog.get_or_insert_default();
                keep(&mut backlog.input);
                if backlog.input.len() > limits.max_input {
                    connection.fail(Reason::InputLimit);
                }
            }
            Phase::Closing => {
                // A peer that only floods is reset.
                let backlog = connection.backlog.get_or_insert_default();
                backlog.discarded = backlog.discarded.saturating_add(n);
                if backlog.discarded > limits.max_discard {
                    connection.fail(connection.reason);
                }
            }
            Phase::Opening | Phase::Done => {}
        }
    }

    /// Draws the conclusions from a call.
    #[inline(always)]
    fn conclude(&mut self, outcome: Result<(), P::Error>) {
        self.called = true;
        if self.waiting() > self.scratch.limits.high_water {
            self.connection.flags.set(Flags::CONGESTED);
            // Messages and deadlines bring more output while the transport takes none.
            if self.is_blocked() && self.waiting() > self.scratch.limits.max_output {
                return self.connection.fail(Reason::OutputLimit);
            }
        }
        let failed = outcome.is_err();
        if let Err(error) = outcome {
            self.note(error);
        }
        match self.connection.control.intent {
            Intent::Continue | Intent::Shutdown => {
                let max = self.scratch.limits.max_input;
                if self.connection.backlog.as_ref().is_some_and(|b| b.input.len() > max) {
                    self.connection.fail(Reason::InputLimit);
                }
            }
            Intent::Close => {
                self.connection.phase = Phase::Closing;
                self.connection.flags.clear(Flags::CONGESTED);
                self.connection.control.again = false;
                if let Some(backlog) = &mut self.connection.backlog {
                    backlog.input = Leftover::default();
                }
            }
            Intent::Abort => self
                .connection
                .fail(if failed { Reason::Error } else { Reason::Aborted }),
        }
    }

    /// Keeps what the protocol says went wrong.
    #[cold]
    fn note(&mut self, error: P::Error) {
        let connection = &mut *self.connection;
        connection.reason = Reason::Error;
        connection.control.intent = connection.control.intent.max(Intent::Close);
        connection.backlog.get_or_insert_default().error = Some(Box::new(error));
    }

    /// Takes unsent output into the connection, so that the scratch memory is free for the next.
    #[inline(always)]
    fn leave(&mut self) {
        if self.scratch.output.is_empty() && self.connection.backlog.is_none() {
            return;
        }
        self.leave_special();
    }

    /// The same with something to take along or to give up: not inlined, so that the drop of a turn is.
    #[inline(never)]
    fn leave_special(&mut self) {
        if !self.scratch.output.is_empty() {
            self.park();
        } else if let Some(backlog) = &mut self.connection.backlog {
            if backlog.output.has_memory() {
                // The thread's own output lies here since the turn began; this one was allocated for the backlog.
                self.scratch.output = core::mem::take(&mut backlog.output);
            }
            if backlog.is_empty() {
                self.connection.backlog = None;
            }
        }
    }

    #[cold]
    fn park(&mut self) {
        if self.connection.phase == Phase::Done || self.connection.flags.has(Flags::FIN) {
            return self.scratch.output.clear();
        }
        let backlog = self.connection.backlog.get_or_insert_default();
        if backlog.output.has_memory() {
            core::mem::swap(&mut backlog.output, &mut self.scratch.output);
        } else {
            backlog.output = self.scratch.output.split();
        }
    }
}

impl<P> Connection<P>
where
    P: Protocol,
{
    pub(super) fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Open => !self.flags.has(Flags::EOF) && self.may_deliver(),
            // Discarding: a peer that is still sending must be able to get on to reading.
            Phase::Closing => !self.flags.has(Flags::EOF),
            Phase::Opening | Phase::Done => false,
        }
    }

    #[inline(always)]
    pub(super) fn may_deliver(&self) -> bool {
        self.phase == Phase::Open
            && !self.control.paused
            && (!self.flags.has(Flags::CONGESTED) || self.protocol.keeps_reading())
    }
}

impl<P: Protocol> Drop for Turn<'_, P> {
    #[inline(always)]
    fn drop(&mut self) {
        self.leave();
    }
}

impl<P: Protocol> fmt::Debug for Turn<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("output", &self.scratch.output.len())
            .field("beneath", &self.beneath)
            .finish_non_exhaustive()
    }
}

/// `now` and `after` together; `None`, which is never, where the clock has no such time.
fn later(now: Instant, after: Duration) -> Option<Instant> {
    now.checked_add(after)
}
