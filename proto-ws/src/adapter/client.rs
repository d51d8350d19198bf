//! The client's side of a connection, beginning with the opening handshake.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::time::Instant;

use proto_http::{ClientConnection, ClientEvent, Parsed, Response, Rules};
use protocol::{Cx, Input, Protocol, Reason};

use super::session::Session;
use super::{Handler, ServerError};
use crate::handshake::Key;
use crate::handshake::client::{BadRequest, Refusal, Request};
use crate::{Config, Connection, Entropy, Masked, Misuse, Reader, Violation};

/// The client's request, shared by many connections. See [`Request`].
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// The host, with its port if that is not the default.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// Subprotocols, preferred first.
    pub protocols: Vec<String>,
    /// Additional fields.
    pub fields: Vec<(String, String)>,
    /// Whether permessage-deflate is offered.
    #[cfg(feature = "deflate")]
    pub deflate: bool,
}

impl Opening {
    /// A request to `host` for `target`.
    pub fn new(host: impl Into<String>, target: impl Into<String>) -> Self {
        Opening {
            host: host.into(),
            target: target.into(),
            ..Opening::default()
        }
    }

    /// Calls `with` with the request.
    fn request<T>(&self, config: &Config, with: impl FnOnce(Request<'_>) -> T) -> T {
        let protocols: Vec<&str> = self.protocols.iter().map(String::as_str).collect();
        let fields: Vec<(&str, &str)> = self
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let request = Request::new(&self.host, &self.target)
            .protocols(&protocols)
            .fields(&fields);
        #[cfg(feature = "deflate")]
        let request = if self.deflate {
            request.deflate(&config.deflate)
        } else {
            request
        };
        #[cfg(not(feature = "deflate"))]
        let _ = config;
        with(request)
    }
}

/// Why a client's connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// Local fault: the request cannot be sent.
    Request(BadRequest),
    /// The server's answer is not HTTP/1.1.
    Http(proto_http::Violation),
    /// More than 16 informational responses came before the final one.
    Interims,
    /// The server's answer does not open the connection.
    Refused(Refusal),
    /// No answer came within [`Config::handshake_timeout`].
    Timeout,
    /// The stream ended before the answer was complete.
    Truncated,
    /// Local fault: more than 1,024 messages were sent to the connection before it was open.
    TooEarly,
    /// The server broke the protocol or a limit.
    Violation(Violation),
    /// The handler used its [`Socket`](crate::Socket) in a way that is not allowed.
    Misuse(Misuse),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Request(error) => error.fmt(f),
            ClientError::Http(violation) => violation.fmt(f),
            ClientError::Interims => f.write_str("too many informational responses"),
            ClientError::Refused(refusal) => refusal.fmt(f),
            ClientError::Timeout => f.write_str("the server did not answer in time"),
            ClientError::Truncated => f.write_str("the stream ended before the server's answer was complete"),
            ClientError::TooEarly => f.write_str("too many messages were sent to a connection that was not yet open"),
            ClientError::Violation(violation) => violation.fmt(f),
            ClientError::Misuse(misuse) => write!(f, "the handler failed: {misuse}"),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<ServerError> for ClientError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Violation(violation) => ClientError::Violation(violation),
            ServerError::Misuse(misuse) => ClientError::Misuse(misuse),
        }
    }
}

/// Why a client's connection never opened: the argument of [`Handler::not_opened`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotOpened {
    /// The handshake failed: the request, the server's answer, or the lack of an answer in time.
    Handshake(ClientError),
    /// The connection ended before the handshake did: the connect failed, the peer reset the connection, or the driver
    /// stopped.
    Ended(Reason),
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotOpened::Handshake(error) => error.fmt(f),
            NotOpened::Ended(reason) => reason.fmt(f),
        }
    }
}

/// The most messages kept for a connection until it opens.
const EARLY: usize = 1024;

/// A client's connection: requests the upgrade, checks the answer, then speaks WebSocket.
pub struct Client<H: Handler<Masked<E>>, E: Entropy> {
    phase: Phase<E, H::Message>,
    handler: H,
}

enum Phase<E, M> {
    /// Boxed, because this phase is short. `None` only during the change to the next phase.
    Opening(Option<Box<Pending<E, M>>>),
    Open(Session<Masked<E>>, Reader),
}

struct Pending<E, M> {
    opening: Arc<Opening>,
    config: Arc<Config>,
    entropy: E,
    key: Key,
    http: ClientConnection,
    interims: u8,
    deadline: Option<Instant>,
    /// Messages that were posted before the connection was open.
    early: Vec<M>,
    /// Whether the handler was told that the connection will not open.
    told: bool,
}

/// The status of a response, from its first line alone, for an answer whose fields are invalid or too many: the application still learns
/// that it was a refusal.
fn status_alone(bytes: &[u8]) -> Option<u16> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let line = [bytes.get(..end)?, b"\r\n\r\n"].concat();
    match Response::parse(&line, &Rules::RESPONSES) {
        Ok(Parsed::Complete { head, .. }) => Some(head.status()),
        _ => None,
    }
}

/// The most informational responses before the final one.
const INTERIMS: u8 = 16;

impl<E: Entropy, H: Handler<Masked<E>> + fmt::Debug> fmt::Debug for Client<H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("open", &matches!(self.phase, Phase::Open(..)))
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}

impl<E: Entropy, H: Handler<Masked<E>>> Client<H, E> {
    /// A connection for `handler`. `entropy` generates the nonce and the masking keys.
    pub fn new(config: Arc<Config>, opening: Arc<Opening>, mut entropy: E, handler: H) -> Self {
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let pending = Pending {
            opening,
            config,
            entropy,
            key: Key::new(nonce),
            http: ClientConnection::new(),
            interims: 0,
            deadline: None,
            early: Vec::new(),
            told: false,
        };
        Client {
            phase: Phase::Opening(Some(Box::new(pending))),
            handler,
        }
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Reads the server's answer, if it is complete.
    fn open(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ClientError> {
        let Phase::Opening(slot) = &mut self.phase else {
            return Ok(());
        };
        let Some(pending) = slot else { return Ok(()) };
        let bytes = input.as_mut_slice();
        let mut used = 0;
        // Informational responses before the final one (RFC 9110 section 15.2) are skipped.
        let head = loop {
            let rest = bytes.get_mut(used..).unwrap_or_default();
            pending.http.unfold(rest);
            let (rest, len) = (&mut &*rest, rest.len());
            let start = *rest;
            let event = pending.http.next(&Rules::RESPONSES, rest).map_err(|violation| {
                // An invalid answer with a final status still counts as a refusal.
                match status_alone(start) {
                    Some(status @ 200..) => ClientError::Refused(Refusal::Status(status)),
                    _ => ClientError::Http(violation),
                }
            })?;
            used += len - rest.len();
            match event {
                Some(ClientEvent::Informational(_)) if pending.interims < INTERIMS => pending.interims += 1,
                Some(ClientEvent::Informational(_)) => return Err(ClientError::Interims),
                Some(ClientEvent::Response(head)) => break head,
                _ => {
                    input.consume(used);
                    return Ok(());
                }
            }
        };
        let Some(pending) = slot.take() else { return Ok(()) };
        let Pending {
            opening,
            config,
            entropy,
            key,
            early,
            ..
        } = *pending;
        let handler = &mut self.handler;
        let connection = opening
            .request(&config, |request| {
                let fields = head.fields().iter().map(|field| (field.name, field.value));
                let granted = request.verify(&key, head.status(), fields)?;
                handler.granted(&granted);
                Ok(Connection::client(config.clone(), entropy).granted(&granted))
            })
            .map_err(ClientError::Refused)
            .inspect_err(|&error| self.handler.not_opened(NotOpened::Handshake(error)))?;
        input.consume(used);
        let (mut session, reader) = Session::new(connection);
        let mut outcome = session.open(cx, &mut self.handler);
        for message in early {
            outcome = outcome.and_then(|()| session.posted(cx, &mut self.handler, message));
        }
        self.phase = Phase::Open(session, reader);
        Ok(outcome?)
    }

    /// Tells the handler that the connection will not open, unless it was told before.
    fn not_opened(&mut self, why: NotOpened) {
        if let Phase::Opening(Some(pending)) = &mut self.phase
            && !core::mem::replace(&mut pending.told, true)
        {
            self.handler.not_opened(why);
        }
    }

    /// Tells the handler of an error that prevents the connection from opening.
    fn judge(&mut self, outcome: Result<(), ClientError>) -> Result<(), ClientError> {
        outcome.inspect_err(|&error| self.not_opened(NotOpened::Handshake(error)))
    }
}

impl<E: Entropy, H: Handler<Masked<E>>> Protocol for Client<H, E> {
    type Message = H::Message;
    type Error = ClientError;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        let Phase::Opening(Some(pending)) = &mut self.phase else {
            return Ok(());
        };
        pending.deadline = cx.now().checked_add(pending.config.handshake_timeout);
        let Pending {
            opening,
            config,
            key,
            http,
            ..
        } = &mut **pending;
        let outcome = opening
            .request(config, |request| request.send(key, http, cx.output().tail()))
            .map_err(ClientError::Request);
        self.judge(outcome)
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ClientError> {
        if let Phase::Opening(_) = self.phase {
            let outcome = self.open(cx, input);
            self.judge(outcome)?;
        }
        match &mut self.phase {
            Phase::Open(session, reader) => Ok(session.received(reader, cx, input, &mut self.handler)?),
            Phase::Opening(_) => Ok(()),
        }
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        match &mut self.phase {
            Phase::Open(session, _) => {
                session.eof(cx, &mut self.handler);
                Ok(())
            }
            Phase::Opening(_) => self.judge(Err(ClientError::Truncated)),
        }
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Open(session, _) => session.deadline(),
            Phase::Opening(pending) => pending.as_ref()?.deadline,
        }
    }

    /// Always true: a server may stop reading until its answers are read.
    fn keeps_reading(&self) -> bool {
        true
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        match &mut self.phase {
            Phase::Open(session, _) => Ok(session.timeout(cx, &mut self.handler)?),
            Phase::Opening(_) => self.judge(Err(ClientError::Timeout)),
        }
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        match &mut self.phase {
            Phase::Open(session, _) => Ok(session.drained(cx, &mut self.handler)?),
            Phase::Opening(_) => Ok(()),
        }
    }

    /// Messages that arrive before the connection is open are kept until then. The connection fails if there are more than 1,024.
    fn posted(&mut self, cx: &mut Cx<'_>, message: H::Message) -> Result<(), ClientError> {
        match &mut self.phase {
            Phase::Open(session, _) => session.posted(cx, &mut self.handler, message)?,
            Phase::Opening(Some(pending)) if pending.early.len() < EARLY => pending.early.push(message),
            Phase::Opening(_) => return self.judge(Err(ClientError::TooEarly)),
        }
        Ok(())
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        match &mut self.phase {
            Phase::Open(session, _) => session.stop(cx),
            Phase::Opening(_) => cx.close(),
        }
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        match &mut self.phase {
            Phase::Open(session, _) => session.closed(&mut self.handler),
            Phase::Opening(_) => self.not_opened(NotOpened::Ended(reason)),
        }
    }
}
