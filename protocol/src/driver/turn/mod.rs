//! One connection's turn: the events, and the work that follows from them.

mod calls;
mod files;
mod todo;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

pub(super) use self::files::FILE_SIZE;
pub(super) use self::todo::READING;
pub use self::todo::{Interest, Todo};
use super::backlog::{COPY_MAX, Leftover};
use super::connection::{Connection, Phase};
use super::flags::Flags;
use super::scratch::{READ_SIZE, Scratch};
use crate::cx::Intent;
use crate::{Input, Protocol, Reason};

/// Calls of `drained` and `received` in a row before other connections get their turn, for a connection whose peer takes all output at
/// once.
const ROUNDS: u8 = 16;

/// One connection's turn: the connection and the thread's scratch memory together.
///
/// Report an event, then do what [`todo`](Turn::todo) says until the connection waits, asks for another turn, or ends.
/// Dropping a turn moves the unsent output into its connection, so nothing is lost or sent elsewhere, even if the driver
/// left work undone.
pub struct Turn<'a, P: Protocol> {
    pub(super) connection: &'a mut Connection<P>,
    pub(super) scratch: &'a mut Scratch,
    /// Bytes of output that wait beneath this connection: in flight, or in lower layers.
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

    /// The buffer to read into: at least 4 KiB, at most 64 KiB.
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

    /// `bytes` were received into memory of the driver: a buffer of the kernel, or plaintext that a layer has decrypted in
    /// place. The protocol sees them there, without a copy, unless earlier bytes wait, which come first. All of `bytes` are
    /// consumed.
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
            // If input was never shown, the end is reported after it.
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

    /// Continues after [`Todo::Again`].
    pub fn again(&mut self) {
        if self.connection.control.again {
            self.connection.control.again = false;
            self.call(P::again);
        }
    }

    /// The time of [`deadline`](Connection::deadline) may have passed. Call this when [`Scratch::now`] has reached the
    /// deadline; an early call does nothing.
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

    /// A message for the protocol. It is dropped if the connection has begun to close.
    pub fn posted(&mut self, message: P::Message) {
        self.call(|protocol, cx| protocol.posted(cx, message));
    }

    /// Several waiting messages for the protocol, whose output goes out in one write. The turn stops taking messages when
    /// the output is above the high-water mark and must be sent first, or when the protocol has asked for the end. Returns
    /// how many messages it took: do what [`todo`](Turn::todo) says, and call this again with the others. If it took none,
    /// nothing has happened.
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

    /// The transport failed, or could not be established.
    pub fn failed(&mut self, kind: io::ErrorKind) {
        self.connection.fail(Reason::Io(kind));
    }

    /// The driver ends the connection, for `reason`, with a reset.
    pub fn kill(&mut self, reason: Reason) {
        self.connection.fail(reason);
    }
}

impl<P> Connection<P>
where
    P: Protocol,
{
    pub(super) fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Open => !self.flags.has(Flags::EOF) && self.may_deliver(),
            // Discarding: a peer that is still sending must get the chance to read.
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

/// `now` plus `after`; `None`, meaning never, if the clock cannot express the sum.
fn later(now: Instant, after: Duration) -> Option<Instant> {
    now.checked_add(after)
}
