//! What answers commands.

use core::convert::Infallible;

use super::Responder;
use crate::{Command, Misuse};

/// Answers the commands of one connection, one after the other.
///
/// For each command [`command`](Self::command) is called once. The reply may be given there, or later: in
/// [`posted`](Self::posted), which another thread sends, or in [`drained`](Self::drained). Commands behind it wait
/// meanwhile, so that replies stay in order. Pushes may be sent in each of these calls.
///
/// HELLO and AUTH are answered by the server; [`authenticate`](Self::authenticate) is asked.
///
/// Each method returns what went wrong, usually straight from the [`Responder`]; the client gets an error if no reply has
/// begun, and the connection closes.
///
/// A closure `FnMut(&Command<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>` is a handler that answers at once.
pub trait Handler {
    /// What other threads and connections may send here; [`Infallible`] when nothing.
    type Message;

    /// A command has come.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn command(&mut self, command: &Command<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse>;

    /// Whether a client is who it says, by HELLO or AUTH; without a name it is `default`. Compare passwords in a time that
    /// does not tell how much of them was right. False by default.
    fn authenticate(&mut self, username: &[u8], password: &[u8]) -> bool {
        let _ = (username, password);
        false
    }

    /// The output is no longer [congested](Responder::is_congested): time for more of a long reply.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = responder;
        Ok(())
    }

    /// A message has come: the reply to a command ([`Responder::is_due`]), or something to push.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn posted(&mut self, message: Self::Message, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = (message, responder);
        Ok(())
    }

    /// The connection is over; `unanswered` says that a command had no reply, or half of one.
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
