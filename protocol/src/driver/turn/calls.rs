//! Calls of the protocol, and their consequences.

use super::Turn;
use crate::cx::Intent;
use crate::driver::backlog::{COPY_MAX, Leftover};
use crate::driver::connection::{Connection, Phase};
use crate::driver::flags::Flags;
use crate::driver::scratch::Scratch;
use crate::{Cx, Input, Protocol, Reason};

/// # Calls of the protocol
impl<P: Protocol> Turn<'_, P> {
    /// The protocol, and the context for a call.
    #[inline(always)]
    pub(super) fn split(&mut self) -> (&mut P, Cx<'_>) {
        let Scratch {
            now, limits, output, ..
        } = &mut *self.scratch;
        let cx = Cx::new(*now, output, &mut self.connection.control, limits).above(self.beneath);
        (&mut self.connection.protocol, cx)
    }

    /// Calls the protocol for an event other than input.
    pub(in crate::driver) fn call(&mut self, event: impl FnOnce(&mut P, &mut Cx<'_>) -> Result<(), P::Error>) {
        if self.connection.phase != Phase::Open {
            return;
        }
        let (protocol, mut cx) = self.split();
        let outcome = event(protocol, &mut cx);
        self.connection.flags.set(Flags::REDELIVER);
        self.conclude(outcome);
    }

    /// Shows `n` newly read bytes to the protocol, after the bytes that it left before.
    #[inline(always)]
    pub(super) fn deliver(&mut self, n: usize) {
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

    pub(super) fn deliver_more(&mut self, n: usize) {
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

    /// Shows the connection's own buffer to the protocol, and keeps the bytes that the protocol leaves.
    pub(super) fn deliver_again(&mut self) {
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

    /// Handles input while the protocol may not be called: keeps it if the protocol may want it later, else discards it.
    #[cold]
    pub(super) fn received_unwanted(&mut self, n: usize) {
        let input = &self.scratch.input;
        let keep = |leftover: &mut Leftover| {
            if leftover.len() > COPY_MAX {
                leftover.end = (leftover.end + n).min(leftover.bytes.len());
            } else {
                // `recv_buffer` has placed the earlier bytes in front.
                let end = (leftover.len() + n).min(input.len());
                leftover.store(&input[..end]);
            }
        };
        Self::keep_or_discard(self.connection, &self.scratch.limits, keep, n);
    }

    pub(super) fn keep_or_discard(
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
                // A peer that floods a closing connection is reset.
                let backlog = connection.backlog.get_or_insert_default();
                backlog.discarded = backlog.discarded.saturating_add(n);
                if backlog.discarded > limits.max_discard {
                    connection.fail(connection.reason);
                }
            }
            Phase::Opening | Phase::Done => {}
        }
    }

    /// Applies the consequences of a call.
    #[inline(always)]
    pub(super) fn conclude(&mut self, outcome: Result<(), P::Error>) {
        self.called = true;
        if self.waiting() > self.scratch.limits.high_water {
            self.connection.flags.set(Flags::CONGESTED);
            // Messages and deadlines may produce output while the transport takes none.
            if self.is_blocked() && self.held() > self.scratch.limits.max_output {
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

    /// Stores the protocol's error.
    #[cold]
    pub(super) fn note(&mut self, error: P::Error) {
        let connection = &mut *self.connection;
        connection.reason = Reason::Error;
        connection.control.intent = connection.control.intent.max(Intent::Close);
        connection.backlog.get_or_insert_default().error = Some(Box::new(error));
    }

    /// Moves unsent output into the connection, so that the scratch memory is free for the next turn.
    #[inline(always)]
    pub(super) fn leave(&mut self) {
        if self.scratch.output.is_empty() && self.connection.backlog.is_none() {
            return;
        }
        self.leave_special();
    }

    /// Like [`leave`](Self::leave), if there is output or a backlog to move. Not inlined, so that the drop of a turn can be.
    #[inline(never)]
    pub(super) fn leave_special(&mut self) {
        if !self.scratch.output.is_empty() {
            self.park();
        } else if let Some(backlog) = &mut self.connection.backlog {
            if backlog.output.has_memory() {
                // During the turn, the backlog's field held the thread's output; this output was allocated for the backlog.
                self.scratch.output = core::mem::take(&mut backlog.output);
            }
            if backlog.is_empty() {
                self.connection.backlog = None;
            }
        }
    }

    #[cold]
    pub(super) fn park(&mut self) {
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
