//! One protocol that becomes another on the same connection.

use core::fmt;
use std::time::Instant;

use crate::{Cx, Input, Protocol, Reason};

/// A protocol that may hand its connection to another, as HTTP does to WebSocket (RFC 9110 section 7.8).
pub trait Upgrade: Protocol {
    /// The protocol that may follow.
    type Next: Protocol<Message = Self::Message>;

    /// Returns the successor, at most once, after this protocol's last bytes (the 101) are in the output. Called after each
    /// call of this protocol. Bytes for the successor stay in the input.
    ///
    /// # Errors
    ///
    /// If this protocol has ended but there is no successor: the connection then ends. Use `cx` to choose how it ends.
    fn take_next(&mut self, cx: &mut Cx<'_>) -> Result<Option<Self::Next>, Self::Error>;
}

/// A connection before or after its upgrade.
#[derive(Debug, Clone)]
pub enum Switch<A: Upgrade> {
    /// The first protocol still runs.
    Before(A),
    /// The successor runs.
    After(A::Next),
}

/// The error of the protocol that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchError<A, B> {
    /// The first protocol failed.
    Before(A),
    /// The successor failed.
    After(B),
}

impl<A: fmt::Display, B: fmt::Display> fmt::Display for SwitchError<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwitchError::Before(error) => error.fmt(f),
            SwitchError::After(error) => error.fmt(f),
        }
    }
}

impl<A: core::error::Error, B: core::error::Error> core::error::Error for SwitchError<A, B> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            SwitchError::Before(error) => error.source(),
            SwitchError::After(error) => error.source(),
        }
    }
}

type Outcome<A> = Result<(), SwitchError<<A as Protocol>::Error, <<A as Upgrade>::Next as Protocol>::Error>>;

impl<A: Upgrade> Switch<A> {
    /// A connection that starts with `first`.
    pub fn new(first: A) -> Self {
        Switch::Before(first)
    }

    /// Makes the successor current, if there is one. Returns true if the successor has just taken over.
    #[inline(always)]
    fn advance(&mut self, cx: &mut Cx<'_>) -> Result<bool, <Self as Protocol>::Error> {
        let Switch::Before(first) = self else { return Ok(false) };
        match first.take_next(cx) {
            Ok(Some(next)) => self.switch(cx, next),
            Ok(None) => Ok(false),
            Err(error) => Err(SwitchError::Before(error)),
        }
    }

    #[cold]
    fn switch(&mut self, cx: &mut Cx<'_>, mut next: A::Next) -> Result<bool, <Self as Protocol>::Error> {
        let outcome = next.connected(cx);
        *self = Switch::After(next);
        outcome.map(|()| true).map_err(SwitchError::After)
    }

    fn call(
        &mut self,
        cx: &mut Cx<'_>,
        before: impl FnOnce(&mut A, &mut Cx<'_>) -> Result<(), A::Error>,
        after: impl FnOnce(&mut A::Next, &mut Cx<'_>) -> Result<(), <A::Next as Protocol>::Error>,
    ) -> Outcome<A> {
        match self {
            Switch::Before(first) => {
                before(first, cx).map_err(SwitchError::Before)?;
                self.advance(cx).map(|_| ())
            }
            Switch::After(next) => after(next, cx).map_err(SwitchError::After),
        }
    }
}

impl<A: Upgrade> Protocol for Switch<A> {
    type Message = A::Message;
    type Error = SwitchError<A::Error, <A::Next as Protocol>::Error>;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Outcome<A> {
        self.call(cx, A::connected, A::Next::connected)
    }

    #[inline(always)]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Outcome<A> {
        if let Switch::Before(first) = self {
            first.received(cx, input).map_err(SwitchError::Before)?;
            if !self.advance(cx)? || input.is_empty() || cx.paused() || (cx.is_congested() && !self.keeps_reading()) {
                return Ok(());
            }
        }
        match self {
            Switch::Before(_) => Ok(()),
            Switch::After(next) => next.received(cx, input).map_err(SwitchError::After),
        }
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Outcome<A> {
        self.call(cx, A::eof, A::Next::eof)
    }

    #[inline(always)]
    fn deadline(&self) -> Option<Instant> {
        match self {
            Switch::Before(first) => first.deadline(),
            Switch::After(next) => next.deadline(),
        }
    }

    fn keeps_reading(&self) -> bool {
        match self {
            Switch::Before(first) => first.keeps_reading(),
            Switch::After(next) => next.keeps_reading(),
        }
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Outcome<A> {
        self.call(cx, A::timeout, A::Next::timeout)
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Outcome<A> {
        self.call(cx, A::drained, A::Next::drained)
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: Self::Message) -> Outcome<A> {
        match self {
            Switch::Before(first) => {
                first.posted(cx, message).map_err(SwitchError::Before)?;
                self.advance(cx).map(|_| ())
            }
            Switch::After(next) => next.posted(cx, message).map_err(SwitchError::After),
        }
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Outcome<A> {
        self.call(cx, A::again, A::Next::again)
    }

    #[inline(always)]
    fn flush(&mut self, cx: &mut Cx<'_>) -> Outcome<A> {
        // `flush` receives no input, so no successor can appear here.
        match self {
            Switch::Before(first) => first.flush(cx).map_err(SwitchError::Before),
            Switch::After(next) => next.flush(cx).map_err(SwitchError::After),
        }
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Outcome<A> {
        self.call(cx, A::stop, A::Next::stop)
    }

    fn closed(&mut self, reason: Reason) {
        match self {
            Switch::Before(first) => first.closed(reason),
            Switch::After(next) => next.closed(reason),
        }
    }
}
