//! The client's side, from the first byte of the opening handshake on.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::time::Instant;

use protocol::{Cx, Input, Protocol, Reason};

use super::Handler;
use super::session::Session;
use crate::handshake::client::{BadRequest, Refusal, Request};
use crate::handshake::{BadHead, Head, Key};
use crate::{Config, Connection, Entropy, Error, Masked, Reader};

/// What a client asks for, to be shared by many connections. See [`Request`].
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// The host, with its port if that is not the default.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// Subprotocols, the favourite first.
    pub protocols: Vec<String>,
    /// Further fields.
    pub fields: Vec<(String, String)>,
    /// Whether permessage-deflate is offered.
    #[cfg(feature = "deflate")]
    pub deflate: bool,
}

impl Opening {
    /// Asks `host` for `target`.
    pub fn new(host: impl Into<String>, target: impl Into<String>) -> Self {
        Opening {
            host: host.into(),
            target: target.into(),
            ..Opening::default()
        }
    }

    /// Lends the request to `with`.
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
    /// Ours: the request cannot be sent.
    Request(BadRequest),
    /// The server's answer is no HTTP.
    Head(BadHead),
    /// The server's answer does not open the connection.
    Refused(Refusal),
    /// No answer came in [`Config::handshake_timeout`].
    Timeout,
    /// The stream ended before the answer did.
    Truncated,
    /// The server broke the protocol.
    WebSocket(Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Request(error) => error.fmt(f),
            ClientError::Head(error) => error.fmt(f),
            ClientError::Refused(refusal) => refusal.fmt(f),
            ClientError::Timeout => f.write_str("the server did not answer in time"),
            ClientError::Truncated => f.write_str("the stream ended before the server's answer did"),
            ClientError::WebSocket(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<Error> for ClientError {
    fn from(error: Error) -> Self {
        ClientError::WebSocket(error)
    }
}

/// A client's connection: asks for the upgrade, checks the answer, then speaks WebSocket.
#[derive(Debug)]
pub struct Client<H, E> {
    phase: Phase<E>,
    handler: H,
}

#[derive(Debug)]
enum Phase<E> {
    /// Boxed, as it is short. `None` only while one phase becomes the other.
    Opening(Option<Box<Pending<E>>>),
    Open(Session<Masked<E>>, Reader),
}

#[derive(Debug)]
struct Pending<E> {
    opening: Arc<Opening>,
    config: Arc<Config>,
    entropy: E,
    key: Key,
    scanned: usize,
    interims: u8,
    deadline: Option<Instant>,
}

impl<E> Pending<E> {
    /// The length of the informational response at the front of `input`, if one is whole.
    fn interim(&mut self, input: &mut Input<'_>) -> Result<Option<usize>, ClientError> {
        let bytes = input.as_mut_slice();
        let from = self.scanned.saturating_sub(3);
        if bytes
            .get(from..)
            .is_some_and(|new| new.windows(4).any(|end| end == b"\r\n\r\n"))
        {
            Head::unfold(bytes);
        }
        match Head::read(bytes, &mut self.scanned) {
            Ok(Some((head, len))) if matches!(head.status(), Some(100 | 102..200)) => {
                self.scanned = 0;
                self.interims += 1;
                if self.interims > INTERIMS {
                    return Err(ClientError::Head(BadHead::TooLong));
                }
                Ok(Some(len))
            }
            Ok(_) => Ok(None),
            // Whatever else it is, a refusal is one.
            Err(error) => Err(match Head::status_alone(bytes) {
                Some(status @ 200..) => ClientError::Refused(Refusal::Status(status)),
                _ => ClientError::Head(error),
            }),
        }
    }
}

/// Informational responses that may come before the one that counts.
const INTERIMS: u8 = 16;

impl<E: Entropy, H: Handler<Masked<E>>> Client<H, E> {
    /// A connection for `handler`; `entropy` makes the nonce and the masking keys.
    pub fn new(handler: H, opening: Arc<Opening>, config: Arc<Config>, mut entropy: E) -> Self {
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let pending = Pending {
            opening,
            config,
            entropy,
            key: Key::new(nonce),
            scanned: 0,
            interims: 0,
            deadline: None,
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

    /// Reads the server's answer, if it is all there.
    fn open(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ClientError> {
        let Phase::Opening(slot) = &mut self.phase else {
            return Ok(());
        };
        let Some(pending) = slot else { return Ok(()) };
        // The informational responses before the one that counts (RFC 9110 section 15.2).
        while let Some(len) = pending.interim(input)? {
            input.consume(len);
        }
        let read = Head::read(input.as_slice(), &mut pending.scanned).map_err(ClientError::Head)?;
        let Some((head, len)) = read else { return Ok(()) };
        let Some(pending) = slot.take() else { return Ok(()) };
        let Pending {
            opening,
            config,
            entropy,
            key,
            ..
        } = *pending;
        let handler = &mut self.handler;
        let connection = opening
            .request(&config, |request| {
                let granted = request.verify(&key, head)?;
                handler.granted(&granted);
                Ok(Connection::client(config.clone(), entropy).granted(&granted))
            })
            .map_err(ClientError::Refused)?;
        input.consume(len);
        let (mut session, reader) = Session::new(connection);
        session.open(cx, &mut self.handler);
        self.phase = Phase::Open(session, reader);
        Ok(())
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
        let key = &pending.key;
        pending
            .opening
            .request(&pending.config, |request| request.write(key, cx.output().tail()))
            .map_err(ClientError::Request)
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ClientError> {
        if let Phase::Opening(_) = self.phase {
            self.open(cx, input)?;
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
            Phase::Opening(_) => Err(ClientError::Truncated),
        }
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Open(session, _) => session.deadline(),
            Phase::Opening(pending) => pending.as_ref()?.deadline,
        }
    }

    /// Always: the server may have stopped to read until its answers are read.
    fn keeps_reading(&self) -> bool {
        true
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        match &mut self.phase {
            Phase::Open(session, _) => Ok(session.timeout(cx, &mut self.handler)?),
            Phase::Opening(_) => Err(ClientError::Timeout),
        }
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        if let Phase::Open(session, _) = &mut self.phase {
            session.drained(cx, &mut self.handler);
        }
        Ok(())
    }

    /// A message that comes before the connection is open is dropped.
    fn message(&mut self, cx: &mut Cx<'_>, message: H::Message) -> Result<(), ClientError> {
        if let Phase::Open(session, _) = &mut self.phase {
            session.posted(cx, &mut self.handler, message);
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

    fn closed(&mut self, _: Reason) {
        if let Phase::Open(session, _) = &mut self.phase {
            session.closed(&mut self.handler);
        }
    }
}
