//! A simpler trait, for protocols without messages and errors.

use core::convert::Infallible;
use std::time::Instant;

use crate::{Cx, Input, Protocol, Reason};

/// A [`Protocol`] without messages and errors: the same methods without a `Result`. [`Simple`] turns it into a `Protocol`.
///
/// A closure with the arguments of `received` is a `SimpleProtocol`.
pub trait SimpleProtocol {
    /// [`Protocol::received`].
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>);

    /// [`Protocol::connected`].
    fn connected(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// [`Protocol::eof`]. By default the connection closes.
    fn eof(&mut self, cx: &mut Cx<'_>) {
        cx.close();
    }

    /// [`Protocol::deadline`].
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// [`Protocol::keeps_reading`].
    fn keeps_reading(&self) -> bool {
        false
    }

    /// [`Protocol::timeout`]. By default the connection is reset.
    fn timeout(&mut self, cx: &mut Cx<'_>) {
        cx.abort();
    }

    /// [`Protocol::drained`].
    fn drained(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// [`Protocol::again`].
    fn again(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// [`Protocol::flush`].
    fn flush(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// [`Protocol::stop`]. By default the connection closes.
    fn stop(&mut self, cx: &mut Cx<'_>) {
        cx.close();
    }

    /// [`Protocol::closed`].
    fn closed(&mut self, reason: Reason) {
        let _ = reason;
    }
}

impl<F: FnMut(&mut Cx<'_>, &mut Input<'_>)> SimpleProtocol for F {
    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) {
        self(cx, input);
    }
}

/// Turns a [`SimpleProtocol`] into a [`Protocol`].
///
/// ```
/// use protocol::testing::Harness;
/// use protocol::{Cx, Input, Simple};
///
/// let mut echo = Harness::new(Simple(|cx: &mut Cx<'_>, input: &mut Input<'_>| cx.send(input.take_all())));
/// echo.receive(b"hello");
/// assert_eq!(echo.sent(), b"hello");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Simple<S>(pub S);

impl<S: SimpleProtocol> Protocol for Simple<S> {
    type Message = Infallible;
    type Error = Infallible;

    #[inline]
    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.0.connected(cx);
        Ok(())
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        self.0.received(cx, input);
        Ok(())
    }

    #[inline]
    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.0.eof(cx);
        Ok(())
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }

    #[inline]
    fn keeps_reading(&self) -> bool {
        self.0.keeps_reading()
    }

    #[inline]
    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.0.timeout(cx);
        Ok(())
    }

    #[inline]
    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.0.drained(cx);
        Ok(())
    }

    #[inline]
    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.0.again(cx);
        Ok(())
    }

    #[inline(always)]
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.0.flush(cx);
        Ok(())
    }

    #[inline]
    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.0.stop(cx);
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        self.0.closed(reason);
    }
}
