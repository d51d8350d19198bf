//! The trait [`Protocol`].

use std::time::Instant;

use crate::{Cx, Input, Reason};

/// One side of one connection, as a state machine: it never touches a socket, a clock or a thread.
///
/// The driver calls a method when something has happened; the protocol answers with plain data in the [`Cx`]. The crate's
/// front page lists the rules for both sides. Only [`received`](Protocol::received) is required.
///
/// An error means that the connection cannot go on. The protocol has already written its reply (a status 400, a Close frame)
/// to the output: the driver sends the output, half-closes, lingers and closes. Only [`closed`](Protocol::closed) is called
/// after an error. The type of an error says who is at fault, the peer or the local user.
pub trait Protocol {
    /// The type of messages from other threads and connections; [`Infallible`](core::convert::Infallible) if there are none.
    type Message;
    /// Why the connection cannot go on. The driver keeps the error until the connection has ended, and logs it.
    type Error: core::error::Error + Send + Sync + 'static;

    /// The connection is established. Called once, before anything but [`closed`](Protocol::closed).
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        let _ = cx;
        Ok(())
    }

    /// Bytes have arrived, or earlier ones are shown again. Consume the bytes that can be used; the others are shown again.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error>;

    /// The peer half-closed: no bytes follow those already shown. By default the connection closes.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.close();
        Ok(())
    }

    /// The time at which [`timeout`](Protocol::timeout) must be called. The driver reads this getter after each call. A
    /// wrapper returns the minimum of its own deadline and its inner protocol's.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Whether to read while the connection is congested. A getter like [`deadline`](Protocol::deadline). False by default:
    /// a peer that does not read its answers must not cause more of them.
    ///
    /// Clients return true: if both sides stopped reading, they would deadlock.
    fn keeps_reading(&self) -> bool {
        false
    }

    /// The deadline has passed. By default the connection is reset.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.abort();
        Ok(())
    }

    /// The output was above the high-water mark and has now fallen to the low-water mark.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        let _ = cx;
        Ok(())
    }

    /// Other connections have had their turn, as [`Cx::again`] asked.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        let _ = cx;
        Ok(())
    }

    /// The driver is about to look at the output, after one call or several. A layer that encrypts its inner protocol's
    /// output, or joins it into larger pieces, does so here. Not called after an error, or after the protocol has asked for
    /// the end: a protocol that has put off output must write it before it asks for the end.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        let _ = cx;
        Ok(())
    }

    /// Another thread or connection has sent `message` through a [`Sender`](crate::Sender).
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn posted(&mut self, cx: &mut Cx<'_>, message: Self::Message) -> Result<(), Self::Error> {
        let _ = (cx, message);
        Ok(())
    }

    /// The driver is shutting down: finish the current work, then close. By default the connection closes at once. A
    /// connection that does not end before the driver's drain deadline is reset.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.close();
        Ok(())
    }

    /// The connection is gone. Called once, as the last call, also if [`connected`](Protocol::connected) was never called.
    fn closed(&mut self, reason: Reason) {
        let _ = reason;
    }
}
