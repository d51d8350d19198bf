//! The trait that sends commands.

use protocol::Reason;

use super::{ClientError, Requester};
use crate::{ClientConnection, Misuse, Push, Value};

/// Sends the commands of one connection and receives their replies.
///
/// Commands are sent through the [`Requester`] that each method receives: when the connection is [`ready`](Self::ready), or
/// at any time after that, for instance in [`posted`](Self::posted). Each command has a ticket, of any type, which is
/// returned with its reply.
///
/// Each method returns an error, usually one that the [`Requester`] returned; the connection then closes.
pub trait Caller {
    /// The type of messages from other threads and connections; [`Infallible`](core::convert::Infallible) if there are none.
    type Message;
    /// The type that identifies a command.
    type Ticket;

    /// The handshake is over. `greeting` is the map with which the server answered HELLO, or null if it speaks RESP2.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn ready(&mut self, greeting: Value, requester: &mut Requester<'_, '_, Self::Ticket>) -> Result<(), Misuse>;

    /// The reply to a command has arrived. The reply may be an error ([`Value::as_error`]).
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

    /// Data has arrived that no command asked for, such as a message on a channel. Dropped by default.
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

    /// A message has arrived, possibly before the connection is [`ready`](Requester::is_ready).
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

    /// The connection is over: because of `error`, or for the driver's `reason`. It is unknown whether the commands of the
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
