//! The client's half of the opening handshake (RFC 6455 section 4.1).

use bytes::BytesMut;
use proto_http::{BodyLength, ClientConnection, Misuse};

use super::fields::{self, Extensions};
use super::{Accept, Key, VERSION};

/// Why the request cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadRequest {
    /// The host is empty or has a character that no host may have.
    Host,
    /// The target is not a path of visible ASCII characters that begins with a slash.
    Target,
    /// A subprotocol is not a token.
    Protocol,
    /// A field given by the caller is not a valid field, or is one that the handshake sends itself.
    Field,
}

impl core::fmt::Display for BadRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            BadRequest::Host => "invalid host",
            BadRequest::Target => "invalid target",
            BadRequest::Protocol => "invalid subprotocol",
            BadRequest::Field => "a field that is invalid or that the handshake writes itself",
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
    /// A field contains invalid characters or breaks its grammar.
    Malformed,
    /// No `Upgrade: websocket`.
    Upgrade,
    /// No `Connection: Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing or wrong: the response does not answer this request.
    Accept,
    /// A subprotocol that was not offered.
    Protocol,
    /// An extension that was not offered, or with invalid parameters.
    Extension,
    /// A field that may occur only once is repeated.
    Duplicate,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Refusal::Status(status) => return write!(f, "the server answered {status}"),
            Refusal::Malformed => "a field is malformed",
            Refusal::Upgrade => "no Upgrade: websocket",
            Refusal::Connection => "no Connection: Upgrade",
            Refusal::Accept => "Sec-WebSocket-Accept does not match the key",
            Refusal::Protocol => "a subprotocol that was not offered",
            Refusal::Extension => "an extension that was not offered",
            Refusal::Duplicate => "a field is repeated",
        })
    }
}

impl core::error::Error for Refusal {}

/// A client's request.
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

/// The server's choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted<'a> {
    /// The subprotocol that the server chose, one of those offered.
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

    /// Offers subprotocols, preferred first.
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
    /// [`BadRequest`]; nothing was appended then.
    pub fn write(&self, key: &Key, out: &mut BytesMut) -> Result<(), BadRequest> {
        self.send(key, &mut ClientConnection::new(), out)
    }

    /// Appends the request through `http`, which then expects the matching response.
    pub(crate) fn send(&self, key: &Key, http: &mut ClientConnection, out: &mut BytesMut) -> Result<(), BadRequest> {
        self.check()?;
        let mut fields = alloc::vec![
            ("Host", self.host),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key.as_str()),
            ("Sec-WebSocket-Version", VERSION),
        ];
        fields.extend(
            self.protocols
                .iter()
                .map(|protocol| ("Sec-WebSocket-Protocol", *protocol)),
        );
        #[cfg(feature = "deflate")]
        let offer = self.deflate.map(crate::deflate::offer);
        #[cfg(feature = "deflate")]
        fields.extend(offer.as_deref().map(|offer| ("Sec-WebSocket-Extensions", offer)));
        fields.extend(self.fields);
        http.send_request("GET", self.target, &fields, BodyLength::Empty, out)
            .map_err(|misuse| match misuse {
                Misuse::Target => BadRequest::Target,
                Misuse::Host => BadRequest::Host,
                _ => BadRequest::Field,
            })
    }

    fn check(&self) -> Result<(), BadRequest> {
        // The host must be a single one: a comma, although allowed in a host name, may separate several.
        if self.host.is_empty() || !self.host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
            Err(BadRequest::Host)
        } else if !self.target.starts_with('/') {
            Err(BadRequest::Target)
        } else if !self.protocols.iter().all(|protocol| fields::is_token(protocol)) {
            Err(BadRequest::Protocol)
        } else if self
            .fields
            .iter()
            .any(|(name, value)| OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) || !value.is_ascii())
        {
            Err(BadRequest::Field)
        } else {
            Ok(())
        }
    }

    /// Checks the server's answer, its status and its fields, against this request and its `key`. Informational responses
    /// other than 101 may come before the answer; skip them (RFC 9110 section 15.2).
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the connection must be dropped.
    pub fn verify<'f>(
        &self,
        key: &Key,
        status: u16,
        fields: impl IntoIterator<Item = (&'f str, &'f [u8])>,
    ) -> Result<Granted<'a>, Refusal> {
        if status != 101 {
            return Err(Refusal::Status(status));
        }
        let (mut upgrade, mut connection) = (None, false);
        let (mut accept, mut protocol, mut extensions) = (None, None, None);
        for (name, value) in fields {
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
