//! WebSocket as a protocol for the drivers: the state machines of this crate with a handler and a clock.

mod client;
mod server;
mod session;
mod socket;

use core::fmt;
use std::time::Duration;

pub use client::{Client, ClientError, NotOpened, Opening};
pub use server::Server;
pub use socket::{Delivery, Socket};

use crate::handshake::client::Granted;
use crate::{CloseCode, Message, Misuse, Side, Unmasked, Violation};

/// The application's side of a connection. The adapter handles Pings, Pongs, Close frames, time limits and errors.
/// Each method returns an error, usually one that the [`Socket`] returned. The connection then fails with the code 1011
/// ([`CloseCode::INTERNAL`]). Errors are ignored once the connection is closing.
///
/// A handler for servers implements `Handler`, a handler for clients [`Handler<Masked<E>>`](crate::Masked), a handler for
/// both `impl<S: Side> Handler<S>`.
///
/// ```
/// use proto_ws::{Handler, Message, Misuse, Server, Side, Socket};
///
/// struct Echo;
///
/// impl<S: Side> Handler<S> for Echo {
///     type Message = std::convert::Infallible;
///
///     fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
///         socket.message(message)?;
///         Ok(())
///     }
/// }
///
/// let connection = Server::new(Default::default(), Echo);
/// # let _ = connection;
/// ```
pub trait Handler<S: Side = Unmasked> {
    /// The type of messages from other threads and connections; [`Infallible`](core::convert::Infallible) if there are none.
    type Message;

    /// The server accepted the client's request. Called once, before [`opened`](Self::opened), on clients only.
    fn granted(&mut self, granted: &Granted<'_>) {
        let _ = granted;
    }

    /// The connection will never open: the server refused, did not answer in time, or the connect failed. Called once, as
    /// the last call, on clients only, instead of [`opened`](Self::opened) and [`closed`](Self::closed).
    fn not_opened(&mut self, why: NotOpened) {
        let _ = why;
    }

    /// The connection is open. Called once.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn opened(&mut self, socket: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
        let _ = socket;
        Ok(())
    }

    /// A whole message has arrived.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_, S>) -> Result<(), Misuse>;

    /// A part of a message has arrived; the message ends with the `last`. Called only if [`Config::parts`](crate::Config) is
    /// set, for messages that are not complete in one read.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn part(&mut self, part: Message<'_>, last: bool, socket: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
        let _ = (part, last, socket);
        Ok(())
    }

    /// A Pong has arrived. `round_trip` is the time since the keep-alive Ping that the Pong answers, if the peer is honest;
    /// `None` for other Pongs.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn pong(
        &mut self,
        payload: &[u8],
        round_trip: Option<Duration>,
        socket: &mut Socket<'_, '_, S>,
    ) -> Result<(), Misuse> {
        let _ = (payload, round_trip, socket);
        Ok(())
    }

    /// Another thread or connection has sent `message` to this connection.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn posted(&mut self, message: Self::Message, socket: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
        let _ = (message, socket);
        Ok(())
    }

    /// The output was above the driver's high-water mark and has now drained.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn drained(&mut self, socket: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
        let _ = socket;
        Ok(())
    }

    /// The connection is over. `code` and `reason` are those of the peer's Close frame, those of the Close frame with which this side
    /// failed the connection, or [`CloseCode::ABNORMAL`] if the connection ended without a Close frame. Called once, as the last call, if
    /// the connection was ever opened.
    fn closed(&mut self, code: CloseCode, reason: &str) {
        let _ = (code, reason);
    }
}

/// Why an open connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// The peer broke the protocol or a limit.
    Violation(Violation),
    /// The handler used its [`Socket`] in a way that is not allowed.
    Misuse(Misuse),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Violation(violation) => violation.fmt(f),
            ServerError::Misuse(misuse) => write!(f, "the handler failed: {misuse}"),
        }
    }
}

impl core::error::Error for ServerError {}
