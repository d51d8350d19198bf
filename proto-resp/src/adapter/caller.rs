//! What sends commands.

use protocol::Reason;

use super::{ClientError, Requester};
use crate::{ClientConnection, Misuse, Push, Value};

/// Sends the commands of one connection and gets their replies.
///
/// Commands are sent through the [`Requester`] that each method is lent, when the connection is [`ready`](Self::ready), or
/// at any time after that, for instance in [`posted`](Self::posted). Each has a ticket, of any type, which comes back with
/// its reply.
///
/// Each method returns what went wrong, usually straight from the [`Requester`]; the connection closes.
pub trait Caller {
    /// What other threads and connections may send here; [`Infallible`](core::convert::Infallible) when nothing.
    type Message;
    /// What a command is known by.
    type Ticket;

    /// The handshake is over. `greeting` is the map that the server answered HELLO with, or null where it speaks RESP2.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn ready(&mut self, greeting: Value, requester: &mut Requester<'_, '_, Self::Ticket>) -> Result<(), Misuse>;

    /// The reply to a command has come. It may be an error ([`Value::as_error`]).
    ///
    /// # Errors
    ///
    /// See the trait.
    fn reply(
        &mut self,
        ticket: Self::Ticket,
        reply: Value,
        requester: &mut Requester<'_, '_, Self::Ticket>,
    ) -> Result<(), Misuse>;

    /// Something has come that no command had asked for, such as a message on a channel. Dropped by default.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn push(&mut self, push: Push, requester: &mut Requester<'_, '_, Self::Ticket>) -> Result<(), Misuse> {
        let _ = (push, requester);
        Ok(())
    }

    /// The output is no longer [congested](Requester::is_congested).
    ///
    /// # Errors
    ///
    /// See the trait.
    fn drained(&mut self, requester: &mut Requester<'_, '_, Self::Ticket>) -> Result<(), Misuse> {
        let _ = requester;
        Ok(())
    }

    /// A message has come, maybe before the connection is [`ready`](Requester::is_ready).
    ///
    /// # Errors
    ///
    /// See the trait.
    fn posted(
        &mut self,
        message: Self::Message,
        requester: &mut Requester<'_, '_, Self::Ticket>,
    ) -> Result<(), Misuse> {
        let _ = (message, requester);
        Ok(())
    }

    /// The connection is over: by `error`, or for `reason` of the driver. Nobody knows whether the commands of the
    /// `unanswered` tickets were carried out.
    fn closed(&mut self, error: Option<ClientError>, reason: Reason, unanswered: Unanswered<'_, Self::Ticket>) {
        let _ = (error, reason, unanswered);
    }
}

/// The tickets of commands that got no reply, in order.
#[derive(Debug)]
pub struct Unanswered<'a, T> {
    pub(super) connection: &'a mut ClientConnection<T>,
}

impl<T> IntoIterator for Unanswered<'_, T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.connection.take_unanswered().collect::<Vec<_>>().into_iter()
    }
}
