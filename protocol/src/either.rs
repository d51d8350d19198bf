//! One of two protocols, for a driver that runs both kinds.

use core::error::Error;
use core::fmt;
use std::time::Instant;

use crate::{Cx, Input, Protocol, Reason};

/// One of two protocols with the same messages.
///
/// A driver runs one type of protocol. Some programs have two kinds of connections: a proxy serves clients and connects to
/// servers on the same threads. Such a program joins the two kinds in an `Either`. For one protocol that becomes another,
/// use [`Switch`](crate::Switch).
///
/// ```
/// use protocol::testing::Harness;
/// use protocol::{Cx, Either, Input, Simple};
///
/// let echo = Simple(|cx: &mut Cx<'_>, input: &mut Input<'_>| cx.send(input.take_all()));
/// let discard = Simple(|_: &mut Cx<'_>, input: &mut Input<'_>| drop(input.take_all()));
/// let choose = |echoes: bool| if echoes { Either::Left(echo) } else { Either::Right(discard) };
/// let mut harness = Harness::new(choose(true));
/// harness.receive(b"hello");
/// assert_eq!(harness.sent(), b"hello");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// A connection of the first kind.
    Left(A),
    /// A connection of the second kind.
    Right(B),
}

impl<A: fmt::Display, B: fmt::Display> fmt::Display for Either<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Either::Left(left) => left.fmt(f),
            Either::Right(right) => right.fmt(f),
        }
    }
}

/// The error of the protocol that ran.
impl<A: Error, B: Error> Error for Either<A, B> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Either::Left(left) => left.source(),
            Either::Right(right) => right.source(),
        }
    }
}

/// Calls a method of the protocol that runs.
macro_rules! either {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self {
            Either::Left(left) => left.$method($($argument),*).map_err(Either::Left),
            Either::Right(right) => right.$method($($argument),*).map_err(Either::Right),
        }
    };
}

impl<A: Protocol, B: Protocol<Message = A::Message>> Protocol for Either<A, B> {
    type Message = A::Message;
    type Error = Either<A::Error, B::Error>;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, connected(cx))
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        either!(self, received(cx, input))
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, eof(cx))
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        match self {
            Either::Left(left) => left.deadline(),
            Either::Right(right) => right.deadline(),
        }
    }

    fn keeps_reading(&self) -> bool {
        match self {
            Either::Left(left) => left.keeps_reading(),
            Either::Right(right) => right.keeps_reading(),
        }
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, timeout(cx))
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, drained(cx))
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, again(cx))
    }

    #[inline]
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, flush(cx))
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: Self::Message) -> Result<(), Self::Error> {
        either!(self, posted(cx, message))
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, stop(cx))
    }

    fn closed(&mut self, reason: Reason) {
        match self {
            Either::Left(left) => left.closed(reason),
            Either::Right(right) => right.closed(reason),
        }
    }
}
