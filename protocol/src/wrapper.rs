//! Protocols that wrap another protocol and change little of it.

use std::time::Instant;

use crate::{Cx, Input, Protocol, Reason};

/// A protocol around another protocol. By default every method passes the call on, including methods that join the contract
/// later; a wrapper implements only the methods that it changes. A `Wrapper` is a [`Protocol`]; a `Box` is a `Wrapper`.
///
/// The wrapper has the messages and errors of its inner protocol. A layer with messages or errors of its own implements
/// [`Protocol`]; a layer that rewrites bytes holds a [`driver::Connection`](crate::driver::Connection).
///
/// ```
/// use protocol::testing::Harness;
/// use protocol::{Cx, Input, Protocol, Simple, Wrapper};
///
/// /// Counts the calls of `received`.
/// struct Counted<P> {
///     inner: P,
///     calls: usize,
/// }
///
/// impl<P: Protocol> Wrapper for Counted<P> {
///     type Inner = P;
///     fn inner(&self) -> &P {
///         &self.inner
///     }
///     fn inner_mut(&mut self) -> &mut P {
///         &mut self.inner
///     }
///     fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), P::Error> {
///         self.calls += 1;
///         self.inner.received(cx, input)
///     }
/// }
///
/// let echo = Simple(|cx: &mut Cx<'_>, input: &mut Input<'_>| cx.send(input.take_all()));
/// let mut harness = Harness::new(Counted { inner: echo, calls: 0 });
/// harness.receive(b"hello");
/// assert_eq!((harness.sent(), harness.protocol().calls), (&b"hello"[..], 1));
/// ```
pub trait Wrapper {
    /// The protocol inside.
    type Inner: Protocol + ?Sized;

    /// The protocol inside.
    fn inner(&self) -> &Self::Inner;

    /// The protocol inside, mutable, for calling its methods.
    fn inner_mut(&mut self) -> &mut Self::Inner;

    /// [`Protocol::connected`].
    ///
    /// # Errors
    ///
    /// Those of the inner protocol.
    #[inline]
    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), <Self::Inner as Protocol>::Error> {
        self.inner_mut().connected(cx)
    }

    /// [`Protocol::received`].
    ///
    /// # Errors
    ///
    /// Those of the inner protocol.
    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), <Self::Inner as Protocol>::Error> {
        self.inner_mut().received(cx, input)
    }

    /// [`Protocol::eof`].
    ///
    /// # Errors
    ///
    /// Those of the inner protocol.
    #[inline]
    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), <Self::Inner as Protocol>::Error> {
        self.inner_mut().eof(cx)
    }

    /// [`Protocol::deadline`].
    #[inline]
    fn deadline(&self) -> Option<Instant> {
        self.inner().deadline()
    }

    /// [`Protocol::keeps_reading`].
    #[inline]
    fn keeps_reading(&self) -> bool {
        self.inner().keeps_reading()
    }

    /// [`Protocol::timeout`].
    ///
    /// # Errors
    ///
    /// Those of the inner protocol.
    #[inline]
    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), <Self::Inner as Protocol>::Error> {
        self.inner_mut().timeout(cx)
    }

    /// [`Protocol::drained`].
    ///
    /// # Errors
    ///
    /// Those of the inner protocol.
    #[inline]
    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), <Self::Inner as Protocol>::Error> {
        self.inner_mut().drained(cx)
    }

    /// [`Protocol::again`].
    ///
    /// # Errors
    ///
    /// Those of the inner protocol.
    #[inline]
    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), <Self::Inner as Protocol>::Error> {
        self.inner_mut().again(cx)
    }

    /// [`Protocol::flush`].
    ///
    /// # Errors
    ///
    /// Those of the inner protocol.
    #[inline(always)]
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), <Self::Inner as Protocol>::Error> {
        self.inner_mut().flush(cx)
    }

    /// [`Protocol::posted`].
    ///
    /// # Errors
    ///
    /// Those of the inner protocol.
    #[inline]
    fn posted(
        &mut self,
        cx: &mut Cx<'_>,
        message: <Self::Inner as Protocol>::Message,
    ) -> Result<(), <Self::Inner as Protocol>::Error> {
        self.inner_mut().posted(cx, message)
    }

    /// [`Protocol::stop`].
    ///
    /// # Errors
    ///
    /// Those of the inner protocol.
    #[inline]
    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), <Self::Inner as Protocol>::Error> {
        self.inner_mut().stop(cx)
    }

    /// [`Protocol::closed`].
    #[inline]
    fn closed(&mut self, reason: Reason) {
        self.inner_mut().closed(reason);
    }
}

impl<W: Wrapper + ?Sized> Protocol for W {
    type Message = <W::Inner as Protocol>::Message;
    type Error = <W::Inner as Protocol>::Error;

    #[inline]
    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        Wrapper::connected(self, cx)
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        Wrapper::received(self, cx, input)
    }

    #[inline]
    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        Wrapper::eof(self, cx)
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        Wrapper::deadline(self)
    }

    #[inline]
    fn keeps_reading(&self) -> bool {
        Wrapper::keeps_reading(self)
    }

    #[inline]
    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        Wrapper::timeout(self, cx)
    }

    #[inline]
    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        Wrapper::drained(self, cx)
    }

    #[inline]
    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        Wrapper::again(self, cx)
    }

    #[inline(always)]
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        Wrapper::flush(self, cx)
    }

    #[inline]
    fn posted(&mut self, cx: &mut Cx<'_>, message: Self::Message) -> Result<(), Self::Error> {
        Wrapper::posted(self, cx, message)
    }

    #[inline]
    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        Wrapper::stop(self, cx)
    }

    #[inline]
    fn closed(&mut self, reason: Reason) {
        Wrapper::closed(self, reason);
    }
}

impl<P: Protocol + ?Sized> Wrapper for Box<P> {
    type Inner = P;

    #[inline]
    fn inner(&self) -> &P {
        self
    }

    #[inline]
    fn inner_mut(&mut self) -> &mut P {
        self
    }
}
