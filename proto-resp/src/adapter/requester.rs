//! The handle by which a caller sends commands.

use std::time::Instant;

use bytes::Bytes;
use protocol::Cx;

use super::client::Core;
use crate::{Arguments, Misuse, PreparedCommand, Version};

/// One connection, borrowed by its caller for one call.
///
/// Every method that sends returns [`Misuse`], with nothing written, if the data may not be sent, or not now.
#[derive(Debug)]
pub struct Requester<'a, 'c, T> {
    core: &'a mut Core<T>,
    cx: &'a mut Cx<'c>,
}

impl<'a, 'c, T> Requester<'a, 'c, T> {
    pub(super) fn new(core: &'a mut Core<T>, cx: &'a mut Cx<'c>) -> Self {
        Self { core, cx }
    }

    /// Whether commands may be sent: the handshake is over, and the connection is not closing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.core.connection.is_ready() && !self.core.closing
    }

    /// The version of RESP in use.
    #[must_use]
    pub fn version(&self) -> Version {
        self.core.connection.version()
    }

    /// The number of commands whose replies have not arrived.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.core.connection.outstanding()
    }

    /// Sends a command, such as `("SET", key, value)`. Its reply comes with `ticket`.
    ///
    /// # Errors
    ///
    /// See [`ClientConnection::command`](crate::ClientConnection::command).
    #[inline]
    pub fn command(&mut self, ticket: T, arguments: &(impl Arguments + ?Sized)) -> Result<(), Misuse> {
        self.may_send()?;
        self.core.connection.command(ticket, arguments, self.cx.output().tail())
    }

    /// Sends a command whose last argument is `payload`, shared instead of copied, unless it is small.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub fn command_with(
        &mut self,
        ticket: T,
        arguments: &(impl Arguments + ?Sized),
        payload: Bytes,
    ) -> Result<(), Misuse> {
        self.may_send()?;
        let out = self.cx.output();
        self.core
            .connection
            .command_before(ticket, arguments, payload.len(), out.tail())?;
        out.push(payload);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Sends a command that was encoded before.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub fn prepared(&mut self, ticket: T, command: &PreparedCommand) -> Result<(), Misuse> {
        self.may_send()?;
        self.core.connection.prepared(ticket, command, self.cx.output().tail())
    }

    /// Sends commands between MULTI and EXEC, whose reply comes with `ticket`.
    ///
    /// # Errors
    ///
    /// See [`ClientConnection::transaction`](crate::ClientConnection::transaction).
    pub fn transaction(&mut self, ticket: T, commands: &[impl Arguments]) -> Result<(), Misuse> {
        self.may_send()?;
        self.core
            .connection
            .transaction(ticket, commands, self.cx.output().tail())
    }

    /// Pauses (`true`) or resumes (`false`) replies and pushes, for a caller that cannot keep up. Those in the input that was already
    /// received wait too.
    pub fn pause(&mut self, pause: bool) {
        self.core.paused = pause;
    }

    /// Whether so much output waits that the caller should send no more until [`drained`](super::Caller::drained).
    ///
    /// The driver still reads replies meanwhile, so that client and server cannot deadlock. If a caller goes on sending, its output grows
    /// up to [`max_output`](protocol::Limits::max_output), at which the connection is reset.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.cx.is_congested()
    }

    /// Closes the connection when the replies to all commands have arrived. No more commands may be sent.
    pub fn close(&mut self) {
        self.core.closing = true;
    }

    /// Resets the connection, without waiting for replies.
    pub fn abort(&mut self) {
        self.cx.abort();
    }

    /// The time of this call.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.cx.now()
    }

    fn may_send(&self) -> Result<(), Misuse> {
        if self.core.closing {
            Err(Misuse::NotReady)
        } else {
            Ok(())
        }
    }
}
