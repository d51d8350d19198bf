//! What a driver has to do next for a connection.

use std::time::Instant;

use bytes::Buf;

use super::{ROUNDS, Turn, later};
use crate::cx::Intent;
use crate::driver::connection::{Connection, Phase};
use crate::driver::flags::Flags;
use crate::{Output, Protocol, Reason};

/// What a driver has to do next for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Send from [`Turn::output`], then report the result. Or take the output with [`Turn::take_output`].
    Send,
    /// Half-close, so that the peer sees the end of the stream. Then ask again.
    Shutdown,
    /// Nothing now: wait for the transport, the deadline or a message.
    Wait(Interest),
    /// There is more to do, but other connections come first: call [`Turn::again`] in the next turn. Do not read before.
    Again,
    /// Drop the connection: [`Protocol::closed`] has been called. Close the transport, with a reset if `reset`. Output in
    /// flight is cancelled or forgotten.
    Drop {
        /// Whether the peer must see a reset instead of an orderly end.
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

/// The interest of an open connection without output.
pub(in crate::driver) const READING: Interest = Interest {
    read: true,
    write: false,
};

/// # What to do
impl<P: Protocol> Turn<'_, P> {
    /// What to do next. Ask after each event, until it says to wait, to come again, or to drop the connection. Asking once
    /// more then gives the same answer.
    ///
    /// With [`Todo::Send`], bytes stand at the front of [`output`](Turn::output): pieces of files are read when they are due, 64 KiB
    /// at a time, which blocks while the disk is read. [`todo_with_files`](Turn::todo_with_files) leaves them to the driver.
    #[inline(always)]
    pub fn todo(&mut self) -> Todo {
        if self.flushed().is_plain() {
            if self.scratch.output.is_empty() {
                return Todo::Wait(READING);
            }
            if self.scratch.output.is_flat() {
                return Todo::Send;
            }
        }
        self.todo_loaded()
    }

    /// As [`todo`](Turn::todo), for a driver or a layer that knows pieces of files. With [`Todo::Send`], a piece may stand at the
    /// front of [`output`](Turn::output), whose [`chunk`](Buf::chunk) is then empty. Send from the [file](Output::file) and call
    /// [`sent`](Turn::sent), or have it read by [`load_through`](Turn::load_through). [`Turn::settle`] does so over a transport.
    pub fn todo_with_files(&mut self) -> Todo {
        if self.flushed().is_plain() {
            if self.scratch.output.is_empty() {
                return Todo::Wait(READING);
            }
            return Todo::Send;
        }
        self.todo_special()
    }

    #[inline(never)]
    fn todo_loaded(&mut self) -> Todo {
        loop {
            let todo = self.todo_special();
            if todo != Todo::Send || self.scratch.output.has_remaining() {
                return todo;
            }
            self.load(self.load_size(), |load, _| load.run());
        }
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
        if self.held() > self.scratch.limits.max_output {
            self.connection.fail(Reason::OutputLimit);
        }
    }

    /// Takes the output along, up to the first piece of a file that is not in memory, for a driver whose operating system sends from
    /// memory that it owns meanwhile. Until [`completed`](Turn::completed) no more is to be sent, the bytes count as waiting, and
    /// the write timeout runs.
    pub fn take_output(&mut self) -> Output {
        let output = self.scratch.output.split_ready();
        if !output.is_empty() {
            self.connection.flags.set(Flags::IN_FLIGHT);
            self.stall();
            self.connection.backlog.get_or_insert_default().in_flight = output.len();
            self.beneath += output.len();
        }
        output
    }

    /// The operating system has sent `n` bytes of `output`, which was taken along. The rest is sent next; if it is above the limit
    /// of output that waits, the connection fails.
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
            if self.held() > self.scratch.limits.max_output {
                self.connection.fail(Reason::OutputLimit);
            }
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

    /// The turn, after layers have written their deferred output.
    #[inline(always)]
    pub(in crate::driver) fn flushed(&mut self) -> &Self {
        if self.called {
            self.flush();
        }
        self
    }

    /// Whether the connection is open, holds nothing, and has no request.
    #[inline(always)]
    pub(in crate::driver) fn is_plain(&self) -> bool {
        let connection = &*self.connection;
        connection.flags == Flags::default()
            && connection.phase == Phase::Open
            && connection.control == Default::default()
            && connection.backlog.is_none()
    }

    pub(super) fn todo_special(&mut self) -> Todo {
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
            let waiting = !self.scratch.output.is_empty();
            if waiting && !self.is_blocked() {
                // A peer that takes a file as fast as it is sent.
                if self.has_sent_enough() {
                    return Todo::Again;
                }
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
            if winding_down && !waiting && !self.connection.flags.has(Flags::IN_FLIGHT) {
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

    /// The next step of an orderly end, once all output is sent; `None` if the connection has ended.
    pub(super) fn wind_down(&mut self) -> Option<Todo> {
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

    /// Lets a layer write its deferred output, because the driver is about to look at the output.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        self.called = false;
        if self.connection.phase != Phase::Open {
            return;
        }
        let (before, control) = (self.scratch.output.len(), self.connection.control);
        let (protocol, mut cx) = self.split();
        let outcome = protocol.flush(&mut cx);
        // The default `flush` does nothing, and the compiler removes this check.
        if outcome.is_err() || self.scratch.output.len() != before || self.connection.control != control {
            self.conclude(outcome);
            self.called = false;
        }
    }

    /// Bytes of waiting output, in this connection and beneath it.
    #[inline(always)]
    pub(super) fn waiting(&self) -> usize {
        self.scratch.output.len() + self.beneath
    }

    /// Bytes of output that are held in memory, here and beneath.
    pub(super) fn held(&self) -> usize {
        self.scratch.output.held() + self.beneath
    }

    /// Nothing can be sent any more: forgets what waits, so that it does not keep the protocol from reading. A layer sees an
    /// [`Intent::Shutdown`] that it has not asked for, and does the same to its inner connection.
    pub fn drop_output(&mut self) {
        self.connection.flags.set(Flags::FIN);
        self.connection.control.intent = self.connection.control.intent.max(Intent::Shutdown);
        self.connection.flags.clear(Flags::CONGESTED);
        self.scratch.output.clear();
    }

    /// Whether nothing may be sent now.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.flags.has(Flags::BLOCKED) || self.connection.flags.has(Flags::IN_FLIGHT)
    }

    /// Starts the write timeout: the peer must take some output in time.
    pub(super) fn stall(&mut self) {
        let timeout = self.scratch.limits.write_timeout;
        let stall = timeout.and_then(|timeout| later(self.scratch.now, timeout));
        let backlog = self.connection.backlog.get_or_insert_default();
        backlog.stall = backlog.stall.or(stall);
    }
}
