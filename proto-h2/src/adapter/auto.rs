//! HTTP/1.1 and HTTP/2 on one port.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use proto_http::Handler;
use protocol::{Cx, Input, Peer, Protocol, Reason, Switch, SwitchError};

use super::origin::{Origin, StreamMessage};
use super::{Server, ServerConfig, ServerError};
use crate::PREFACE;

type One<H> = Switch<proto_http::Server<H>>;

/// Serves both HTTP versions on one port with the same handlers: HTTP/2 for clients that begin with its connection preface (RFC 9113
/// section 3.4) or have agreed on `h2` by ALPN, HTTP/1.1 for all others.
///
/// An HTTP/1.1 connection has one handler, an HTTP/2 connection one handler for each stream; `F` makes both.
pub struct Auto<H: Handler, F>(State<H, F>);

enum State<H: Handler, F> {
    /// Waiting for the first bytes, which decide.
    Sniffing(Box<Sniffing<H, F>>),
    One(One<H>),
    Two(Server<H, F>),
    /// The factory has refused the connection.
    Refused,
}

struct Sniffing<H: Handler, F> {
    one: Arc<proto_http::ServerConfig>,
    two: Arc<ServerConfig>,
    factory: F,
    origin: Arc<Origin<H::Message>>,
    first_byte: Option<Instant>,
}

/// Why a connection failed, by its HTTP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoError<N> {
    /// Error of an HTTP/1.1 connection, or of the protocol it was upgraded to.
    One(SwitchError<proto_http::ServerError, N>),
    /// Error of an HTTP/2 connection.
    Two(ServerError),
}

impl<N: fmt::Display> fmt::Display for AutoError<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AutoError::One(error) => error.fmt(f),
            AutoError::Two(error) => error.fmt(f),
        }
    }
}

impl<N: std::error::Error> std::error::Error for AutoError<N> {}

impl<H, F> Auto<H, F>
where
    H: Handler,
    H::Message: Send + 'static,
    F: Fn(&Peer<'_, H::Message>) -> Option<H>,
{
    /// A connection whose first bytes decide the version. `one` is the configuration for HTTP/1.1, `two` for HTTP/2.
    pub fn new(
        one: Arc<proto_http::ServerConfig>,
        two: Arc<ServerConfig>,
        factory: F,
        peer: &Peer<'_, StreamMessage<H::Message>>,
    ) -> Self {
        Self(State::Sniffing(Box::new(Sniffing {
            one,
            two,
            factory,
            origin: Origin::new(peer),
            first_byte: None,
        })))
    }

    /// A connection after ALPN (RFC 7301): HTTP/2 if `alpn` is `h2` (RFC 9113 section 3.2), HTTP/1.1 otherwise, also without ALPN.
    pub fn negotiated(
        alpn: Option<&[u8]>,
        one: Arc<proto_http::ServerConfig>,
        two: Arc<ServerConfig>,
        factory: F,
        peer: &Peer<'_, StreamMessage<H::Message>>,
    ) -> Option<Self> {
        let origin = Origin::new(peer);
        if alpn == Some(b"h2") {
            let server = Server::from_origin(two, factory, origin);
            return Some(Self(State::Two(server)));
        }
        let handler = origin.show(0, |peer| factory(peer))?;
        Some(Self(State::One(proto_http::Server::switching(one, handler))))
    }

    /// Looks at the first bytes. Returns whether the version is decided.
    #[cold]
    fn decide(&mut self, cx: &mut Cx<'_>, shown: &[u8]) -> Result<bool, AutoError<<H::Next as Protocol>::Error>> {
        let State::Sniffing(_) = self.0 else {
            return Ok(true);
        };
        let start = shown.get(..PREFACE.len()).unwrap_or(shown);
        let is_two = PREFACE.starts_with(start);
        if is_two && start.len() < PREFACE.len() {
            return Ok(false);
        }
        let State::Sniffing(sniffing) = std::mem::replace(&mut self.0, State::Refused) else {
            return Ok(true);
        };
        if is_two {
            let mut server = Server::from_origin(sniffing.two, sniffing.factory, sniffing.origin);
            let connected = server.connected(cx);
            self.0 = State::Two(server);
            connected.map_err(AutoError::Two)?;
        } else if let Some(handler) = sniffing.origin.show(0, |peer| (sniffing.factory)(peer)) {
            let mut server = proto_http::Server::switching(sniffing.one, handler);
            let connected = server.connected(cx);
            self.0 = State::One(server);
            connected.map_err(AutoError::One)?;
        } else {
            cx.abort();
        }
        Ok(true)
    }
}

impl<H: Handler, F> fmt::Debug for Auto<H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            State::Sniffing(_) => "Auto(undecided)",
            State::One(_) => "Auto(HTTP/1.1)",
            State::Two(_) => "Auto(HTTP/2)",
            State::Refused => "Auto(refused)",
        })
    }
}

/// Calls a method of the current protocol.
macro_rules! either {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match &mut $self.0 {
            State::One(one) => one.$method($($argument),*).map_err(AutoError::One),
            State::Two(two) => two.$method($($argument),*).map_err(AutoError::Two),
            State::Sniffing(_) | State::Refused => Ok(()),
        }
    };
}

impl<H, F> Protocol for Auto<H, F>
where
    H: Handler,
    H::Message: Send + 'static,
    F: Fn(&Peer<'_, H::Message>) -> Option<H>,
{
    type Message = StreamMessage<H::Message>;
    type Error = AutoError<<H::Next as Protocol>::Error>;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        if let State::Sniffing(sniffing) = &mut self.0 {
            let after = sniffing.one.timeouts.first_byte;
            sniffing.first_byte = after.and_then(|after| cx.now().checked_add(after));
            return Ok(());
        }
        either!(self, connected(cx))
    }

    #[inline(always)]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        if let State::One(one) = &mut self.0 {
            return one.received(cx, input).map_err(AutoError::One);
        }
        if !self.decide(cx, input.as_slice())? {
            return Ok(());
        }
        either!(self, received(cx, input))
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        if let State::Sniffing(_) | State::Refused = self.0 {
            cx.close();
        }
        either!(self, eof(cx))
    }

    #[inline(always)]
    fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            State::One(one) => one.deadline(),
            State::Two(two) => two.deadline(),
            State::Sniffing(sniffing) => sniffing.first_byte,
            State::Refused => None,
        }
    }

    fn keeps_reading(&self) -> bool {
        match &self.0 {
            State::One(one) => one.keeps_reading(),
            State::Two(two) => two.keeps_reading(),
            State::Sniffing(_) | State::Refused => false,
        }
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        if let State::Sniffing(_) = self.0 {
            cx.close();
        }
        either!(self, timeout(cx))
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, drained(cx))
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, again(cx))
    }

    #[inline(always)]
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        either!(self, flush(cx))
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: StreamMessage<H::Message>) -> Result<(), Self::Error> {
        match &mut self.0 {
            State::One(one) => one.posted(cx, message.message).map_err(AutoError::One),
            State::Two(two) => two.posted(cx, message).map_err(AutoError::Two),
            State::Sniffing(_) | State::Refused => Ok(()),
        }
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        if let State::Sniffing(_) | State::Refused = self.0 {
            cx.close();
        }
        either!(self, stop(cx))
    }

    fn closed(&mut self, reason: Reason) {
        match &mut self.0 {
            State::One(one) => one.closed(reason),
            State::Two(two) => two.closed(reason),
            State::Sniffing(_) | State::Refused => {}
        }
    }
}
