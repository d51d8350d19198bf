//! The trait that answers commands.

use core::convert::Infallible;

use super::Responder;
use crate::{Command, Misuse};

/// Answers the commands of one connection, one after the other.
///
/// For each command, [`command`](Self::command) is called once. The handler may reply there, or later: in
/// [`posted`](Self::posted), with a message from another thread, or in [`drained`](Self::drained). The next commands wait
/// meanwhile, so that replies stay in order. Pushes may be sent in each of these calls.
///
/// The server answers HELLO and AUTH itself, and calls [`authenticate`](Self::authenticate) for them.
///
/// Each method returns an error, usually one that the [`Responder`] returned. The client gets an error if no reply has
/// begun, and the connection closes.
///
/// A closure `FnMut(&Command<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>` is a handler that answers at once.
pub trait Handler {
    /// The type of messages from other threads and connections; [`Infallible`] if there are none.
    type Message;

    /// A command has arrived.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn command(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse>;

    /// Whether a client's name and password, from HELLO or AUTH, are right; without a name, the name is `default`. Compare
    /// passwords in constant time. False by default.
    fn authenticate(&mut self, username: &[u8], password: &[u8]) -> bool {
        let _ = (username, password);
        false
    }

    /// The output is no longer [congested](Responder::is_congested): a long reply may continue.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = responder;
        Ok(())
    }

    /// A message has arrived: the reply to a command ([`Responder::is_due`]), or data to push.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn posted(&mut self, message: Self::Message, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = (message, responder);
        Ok(())
    }

    /// The connection is over; `unanswered` says that a command had no reply, or only part of one.
    fn closed(&mut self, unanswered: bool) {
        let _ = unanswered;
    }
}

impl<F> Handler for F
where
    F: FnMut(&Command<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>,
{
    type Message = Infallible;

    #[inline]
    fn command(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self(command, responder)
    }
}
