//! The client's half of the opening handshake (RFC 6455 section 4.1).

use bytes::BytesMut;

use super::fields::{self, Extensions};
use super::server::field;
use super::{Accept, Head, Key, VERSION};

/// Why the request cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadRequest {
    /// The host is empty or has a character no host has.
    Host,
    /// The target is not a path of visible ASCII characters that begins with a slash.
    Target,
    /// A subprotocol is not a token.
    Protocol,
    /// A field of the caller's is not a field, or is one the handshake sends itself.
    Field,
}

impl core::fmt::Display for BadRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            BadRequest::Host => "not a host",
            BadRequest::Target => "not a target",
            BadRequest::Protocol => "not a subprotocol",
            BadRequest::Field => "not a field to add",
        })
    }
}

impl core::error::Error for BadRequest {}

/// Why the server's answer does not open the connection (section 4.1, the client's checks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// A status other than 101.
    Status(u16),
    /// Not a response of HTTP/1.1.
    Malformed,
    /// No `Upgrade: websocket`.
    Upgrade,
    /// No `Connection: Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing or wrong: not an answer to this request.
    Accept,
    /// A subprotocol that was not offered.
    Protocol,
    /// An extension that was not offered, or with parameters that may not be.
    Extension,
    /// A field that may be there once is there twice.
    Duplicate,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Refusal::Status(status) => return write!(f, "the server answered {status}"),
            Refusal::Malformed => "not an HTTP/1.1 response",
            Refusal::Upgrade => "no Upgrade: websocket",
            Refusal::Connection => "no Connection: Upgrade",
            Refusal::Accept => "Sec-WebSocket-Accept does not fit the key",
            Refusal::Protocol => "a subprotocol that was not offered",
            Refusal::Extension => "an extension that was not offered",
            Refusal::Duplicate => "a field is there twice",
        })
    }
}

impl core::error::Error for Refusal {}

/// What a client asks for.
///
/// ```
/// use proto_ws::handshake::{Key, client::Request};
///
/// let request = Request::new("example.com", "/chat").protocols(&["chat"]);
/// let mut out = bytes::BytesMut::new();
/// request.write(&Key::new(*b"the sample nonce"), &mut out)?;
/// assert!(out.starts_with(b"GET /chat HTTP/1.1\r\nHost: example.com\r\n"));
/// # Ok::<(), proto_ws::handshake::client::BadRequest>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    host: &'a str,
    target: &'a str,
    protocols: &'a [&'a str],
    fields: &'a [(&'a str, &'a str)],
    #[cfg(feature = "deflate")]
    deflate: Option<&'a crate::deflate::Settings>,
}

/// What the server granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted<'a> {
    /// The subprotocol it chose, one of those offered.
    pub protocol: Option<&'a str>,
    /// permessage-deflate, if offered and accepted.
    #[cfg(feature = "deflate")]
    pub deflate: Option<crate::deflate::Parameters>,
}

/// Fields that only the handshake itself sends.
const OURS: [&str; 8] = [
    "host",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "content-length",
];

impl<'a> Request<'a> {
    /// A request to `host` (with its port, if that is not the default) for `target` (path and query).
    pub fn new(host: &'a str, target: &'a str) -> Self {
        Request {
            host,
            target,
            protocols: &[],
            fields: &[],
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// Offers subprotocols, the favourite first.
    #[must_use]
    pub fn protocols(self, protocols: &'a [&'a str]) -> Self {
        Request { protocols, ..self }
    }

    /// Adds fields, such as `Origin`, `Cookie` or `Authorization`.
    #[must_use]
    pub fn fields(self, fields: &'a [(&'a str, &'a str)]) -> Self {
        Request { fields, ..self }
    }

    /// Offers permessage-deflate.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(self, settings: &'a crate::deflate::Settings) -> Self {
        Request {
            deflate: Some(settings),
            ..self
        }
    }

    /// Appends the request.
    ///
    /// # Errors
    ///
    /// [`BadRequest`]; then nothing was appended.
    pub fn write(&self, key: &Key, out: &mut BytesMut) -> Result<(), BadRequest> {
        self.check()?;
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        field(out, "Host", self.host);
        field(out, "Upgrade", "websocket");
        field(out, "Connection", "Upgrade");
        field(out, "Sec-WebSocket-Key", key.as_str());
        field(out, "Sec-WebSocket-Version", VERSION);
        for protocol in self.protocols {
            field(out, "Sec-WebSocket-Protocol", protocol);
        }
        #[cfg(feature = "deflate")]
        if let Some(settings) = self.deflate {
            field(out, "Sec-WebSocket-Extensions", &crate::deflate::offer(settings));
        }
        for (name, value) in self.fields {
            field(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn check(&self) -> Result<(), BadRequest> {
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.host.is_empty() || !visible(self.host) || self.host.contains(['/', '?', '#', '@', '\\', ',']) {
            Err(BadRequest::Host)
        } else if !self.target.starts_with('/') || !visible(self.target) || self.target.contains('#') {
            Err(BadRequest::Target)
        } else if !self.protocols.iter().all(|protocol| fields::is_token(protocol)) {
            Err(BadRequest::Protocol)
        } else if !self.fields.iter().all(|(name, value)| {
            fields::is_token(name)
                && !OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name))
                && fields::text(value.as_bytes()).is_ok()
        }) {
            Err(BadRequest::Field)
        } else {
            Ok(())
        }
    }

    /// Checks the head of the server's answer against this request and its `key`. Informational responses other than 101
    /// may come before the answer, and are to be skipped (RFC 9110 section 15.2).
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the connection must be dropped.
    pub fn verify(&self, key: &Key, head: Head<'_>) -> Result<Granted<'a>, Refusal> {
        match head.status() {
            Some(101) => {}
            Some(status) => return Err(Refusal::Status(status)),
            None => return Err(Refusal::Malformed),
        }
        let (mut upgrade, mut connection) = (None, false);
        let (mut accept, mut protocol, mut extensions) = (None, None, None);
        for (name, value) in head.fields() {
            let is = |field: &str| name.eq_ignore_ascii_case(field);
            let text = || fields::text(value).map_err(|_| Refusal::Malformed);
            if is("upgrade") {
                once(&mut upgrade, text()?)?;
            } else if is("connection") {
                connection |= fields::has_token(text()?, "upgrade");
            } else if is("sec-websocket-accept") {
                once(&mut accept, text()?)?;
            } else if is("sec-websocket-protocol") {
                once(&mut protocol, text()?)?;
            } else if is("sec-websocket-extensions") {
                once(&mut extensions, text()?)?;
            }
        }
        if !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
            return Err(Refusal::Upgrade);
        } else if !connection {
            return Err(Refusal::Connection);
        } else if accept != Some(Accept::new(key.as_str()).as_str()) {
            return Err(Refusal::Accept);
        }
        let protocol = match protocol {
            None => None,
            Some(chosen) => Some(
                *self
                    .protocols
                    .iter()
                    .find(|offered| **offered == chosen)
                    .ok_or(Refusal::Protocol)?,
            ),
        };
        self.granted(protocol, extensions.unwrap_or_default())
    }

    fn granted(&self, protocol: Option<&'a str>, extensions: &str) -> Result<Granted<'a>, Refusal> {
        let mut extensions = Extensions::new(extensions).map_err(|_| Refusal::Malformed)?.iter();
        #[cfg(feature = "deflate")]
        let deflate = match (self.deflate, extensions.next()) {
            (_, None) => None,
            (Some(settings), Some(answer)) => Some(crate::deflate::verify(answer, settings).ok_or(Refusal::Extension)?),
            (None, Some(_)) => return Err(Refusal::Extension),
        };
        if extensions.next().is_some() {
            return Err(Refusal::Extension);
        }
        Ok(Granted {
            protocol,
            #[cfg(feature = "deflate")]
            deflate,
        })
    }
}

fn once<'v>(slot: &mut Option<&'v str>, value: &'v str) -> Result<(), Refusal> {
    if slot.replace(value).is_some() {
        Err(Refusal::Duplicate)
    } else {
        Ok(())
    }
}
