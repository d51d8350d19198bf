//! The one trait.

use std::time::Instant;

use crate::{Cx, Input, Reason};

/// One side of one connection, as a state machine: it never touches a socket, a clock or a thread.
///
/// The driver calls a method when something happened; the protocol answers with plain data in the [`Cx`]. The crate's
/// front page lists the rules both sides keep. Only [`received`](Protocol::received) is required.
///
/// An error says that the connection cannot go on. The reply to it (a status 400, a close frame) is already in the
/// output: the driver sends it, half-closes, lingers and closes. No method but [`closed`](Protocol::closed) follows.
/// Errors tell in their type who is to blame, the peer or the local user.
pub trait Protocol {
    /// What other threads and connections may send here; [`Infallible`](core::convert::Infallible) when nothing.
    type Message;
    /// Why the connection cannot go on. Drivers keep it until the connection has ended, and log it.
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

    /// Bytes have come, or earlier ones are shown again. Consume what can be used; the rest comes back.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error>;

    /// The peer half-closed: no byte follows those already shown. By default the connection closes.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.close();
        Ok(())
    }

    /// When [`timeout`](Protocol::timeout) is wanted. A getter, read after each call: wrappers take the minimum of
    /// theirs and their inner protocol's.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Whether to read while the connection is congested. A getter, as [`deadline`](Protocol::deadline). False by default:
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

    /// The output, once above the high-water mark, has fallen to the low-water mark.
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

    /// The driver is about to look at the output, after one call or several. A layer that seals what its inner protocol
    /// says, or joins it into larger pieces, puts that off to here. Not called after an error or an asked end: what a
    /// protocol has put off, it says before it asks for the end.
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

    /// The driver wants to stop: finish what is under way, then close. By default the connection closes at once. One
    /// that does not end before the driver's drain deadline is reset.
    ///
    /// # Errors
    ///
    /// See [`Protocol`].
    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.close();
        Ok(())
    }

    /// The connection is gone. Called once and last, also when it was never [`connected`](Protocol::connected).
    fn closed(&mut self, reason: Reason) {
        let _ = reason;
    }
}
