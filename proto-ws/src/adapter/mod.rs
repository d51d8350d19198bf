//! WebSocket for the contract of the `protocol` crate: the machines of this crate with a handler and a clock.

mod client;
mod server;
mod session;
mod socket;

use std::time::Duration;

pub use client::{Client, ClientError, NotOpened, Opening};
pub use server::Server;
pub use socket::{Delivery, Socket};

use crate::handshake::client::Granted;
use crate::{CloseCode, Message, Side, Unmasked};

/// What an application does with a connection. Pings, Pongs, Close frames, time limits and errors are taken care of.
///
/// A handler for servers implements `Handler`, one for clients [`Handler<Masked<E>>`](crate::Masked), one for both
/// `impl<S: Side> Handler<S>`.
///
/// ```
/// use proto_ws::{Handler, Message, Server, Side, Socket};
///
/// struct Echo;
///
/// impl<S: Side> Handler<S> for Echo {
///     type Message = std::convert::Infallible;
///
///     fn message(&mut self, socket: &mut Socket<'_, '_, S>, message: Message<'_>) {
///         let _ = socket.message(message); // fails only while closing
///     }
/// }
///
/// let connection = Server::new(Echo, Default::default());
/// # let _ = connection;
/// ```
pub trait Handler<S: Side = Unmasked> {
    /// What other threads and connections may send here; [`Infallible`](core::convert::Infallible) when nothing.
    type Message;

    /// The server granted what a client asked for. Called once, before [`opened`](Self::opened), on clients only.
    fn granted(&mut self, granted: &Granted<'_>) {
        let _ = granted;
    }

    /// The connection will never open: the server refused, did not answer in time, or the connect failed. Called once and last,
    /// on clients only, instead of [`opened`](Self::opened) and [`closed`](Self::closed).
    fn not_opened(&mut self, why: NotOpened) {
        let _ = why;
    }

    /// The connection is open. Called once.
    fn opened(&mut self, socket: &mut Socket<'_, '_, S>) {
        let _ = socket;
    }

    /// A message has come, whole.
    fn message(&mut self, socket: &mut Socket<'_, '_, S>, message: Message<'_>);

    /// A part of a message has come; the message ends with the `last`. Only where [`Config::parts`](crate::Config)
    /// asks for it, and then for messages that do not lie whole in one read.
    fn part(&mut self, socket: &mut Socket<'_, '_, S>, part: Message<'_>, last: bool) {
        let _ = (socket, part, last);
    }

    /// A Pong has come. `round_trip` is the time since the keep-alive Ping it answers, as far as the peer is honest;
    /// `None` for other Pongs.
    fn pong(&mut self, socket: &mut Socket<'_, '_, S>, payload: &[u8], round_trip: Option<Duration>) {
        let _ = (socket, payload, round_trip);
    }

    /// Another thread or connection has sent `message`.
    fn posted(&mut self, socket: &mut Socket<'_, '_, S>, message: Self::Message) {
        let _ = (socket, message);
    }

    /// The output, once above the driver's high-water mark, has drained.
    fn drained(&mut self, socket: &mut Socket<'_, '_, S>) {
        let _ = socket;
    }

    /// The connection is over: `code` and `reason` of the peer's Close frame; those of the Close frame that failed the
    /// connection; or [`CloseCode::ABNORMAL`] when it ended without. Called once and last, if it was ever opened.
    fn closed(&mut self, code: CloseCode, reason: &str) {
        let _ = (code, reason);
    }
}
