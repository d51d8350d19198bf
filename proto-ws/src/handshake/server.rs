//! The server's half of the opening handshake (RFC 6455 section 4.2).
//!
//! ```
//! use proto_ws::handshake::server::{OriginPolicy, Request};
//!
//! let fields = [
//!     ("Host", "example.com"),
//!     ("Upgrade", "websocket"),
//!     ("Connection", "Upgrade"),
//!     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
//!     ("Sec-WebSocket-Version", "13"),
//!     ("Sec-WebSocket-Protocol", "chat, superchat"),
//!     ("Origin", "http://example.com"),
//! ];
//! let request = Request::read("GET", fields.map(|(name, value)| (name, value.as_bytes())))?;
//! request.check_origin(&OriginPolicy::SameHost)?;
//! let response = request.accept().protocol(|offered| offered == "superchat");
//! assert_eq!(response.fields().last(), Some(("Sec-WebSocket-Protocol", "superchat")));
//! # Ok::<(), proto_ws::handshake::server::Rejection>(())
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use bytes::BytesMut;

use super::fields::{self, Extension, Extensions};
use super::{Accept, Key, VERSION};

/// The most lines of `Sec-WebSocket-Protocol` or `Sec-WebSocket-Extensions` in a request.
const MAX_LINES: usize = 4;

/// The most subprotocols, and the most extensions, that a request may offer.
const MAX_OFFERS: usize = 32;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// The method is not GET (405).
    Method,
    /// No `Upgrade: websocket`: a plain HTTP request (426).
    NotWebSocket,
    /// No `Connection: Upgrade` (400).
    Connection,
    /// A version other than 13 (426, which names 13).
    Version,
    /// No key, or a key that is not 16 bytes in base64 (400).
    Key,
    /// No Host field (400).
    Host,
    /// A field that may occur only once is repeated (400).
    Duplicate,
    /// A field that does not match its grammar (400).
    Malformed,
    /// More subprotocols or extensions than any client needs (400).
    TooManyOffers,
    /// The page's origin may not connect (403).
    Origin,
}

impl Rejection {
    /// The status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Rejection::Method => 405,
            Rejection::NotWebSocket | Rejection::Version => 426,
            Rejection::Origin => 403,
            _ => 400,
        }
    }

    /// The fields that the answer must have.
    pub const fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Rejection::Method => &[("Allow", "GET")],
            // RFC 9110 section 15.5.22 requires Upgrade, RFC 6455 section 4.4 the version.
            Rejection::NotWebSocket | Rejection::Version => &[
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", VERSION),
            ],
            _ => &[],
        }
    }

    /// Appends the whole answer, for servers without an HTTP stack. The connection must close after it.
    pub fn write(self, out: &mut BytesMut) {
        let line = match self.status() {
            405 => "HTTP/1.1 405 Method Not Allowed\r\n",
            426 => "HTTP/1.1 426 Upgrade Required\r\n",
            403 => "HTTP/1.1 403 Forbidden\r\n",
            _ => "HTTP/1.1 400 Bad Request\r\n",
        };
        out.extend_from_slice(line.as_bytes());
        for (name, value) in self.fields().iter().filter(|(name, _)| *name != "Connection") {
            field(out, name, value);
        }
        field(
            out,
            "Connection",
            if self.status() == 426 {
                "Upgrade, close"
            } else {
                "close"
            },
        );
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }
}

impl core::fmt::Display for Rejection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Rejection::Method => "the method is not GET",
            Rejection::NotWebSocket => "not a WebSocket request",
            Rejection::Connection => "no Connection: Upgrade",
            Rejection::Version => "not WebSocket version 13",
            Rejection::Key => "no valid Sec-WebSocket-Key",
            Rejection::Host => "no Host",
            Rejection::Duplicate => "a field is repeated",
            Rejection::Malformed => "a field is malformed",
            Rejection::TooManyOffers => "too many subprotocols or extensions",
            Rejection::Origin => "this origin may not connect",
        })
    }
}

impl core::error::Error for Rejection {}

/// Which pages may connect (RFC 6455 section 10.2). Browsers always send `Origin`. A request without `Origin` does not come
/// from a browser, and passes all policies except [`OneOf`](OriginPolicy::OneOf) with `required`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Only pages of the request's own host.
    #[default]
    SameHost,
    /// Pages from these origins, such as `https://example.com`; also requests without an origin, unless `required`.
    OneOf {
        /// The origins, in lower case.
        origins: Vec<String>,
        /// Whether a request must have an origin.
        required: bool,
    },
    /// Pages of any site, with their visitors' cookies. For servers that do not authenticate by cookies.
    Any,
}

/// A valid request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    key: &'a str,
    host: &'a str,
    origin: Option<&'a str>,
    protocols: [&'a str; MAX_LINES],
    extensions: [&'a str; MAX_LINES],
}

impl<'a> Request<'a> {
    /// Reads an HTTP/1.1 request (section 4.2.1).
    ///
    /// # Errors
    ///
    /// [`Rejection`], with the status and the fields of the answer.
    pub fn read(method: &str, request: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Rejection> {
        let (mut key, mut host, mut origin, mut version) = (None, None, None, None);
        let (mut upgrade, mut connection) = (false, false);
        let (mut protocols, mut extensions) = (Lines::default(), Lines::default());
        for (name, value) in request {
            let is = |field: &str| name.eq_ignore_ascii_case(field);
            let text = || fields::text(value).map_err(|_| Rejection::Malformed);
            if is("upgrade") {
                upgrade |= fields::has_token(text()?, "websocket");
            } else if is("connection") {
                connection |= fields::has_token(text()?, "upgrade");
            } else if is("host") {
                once(&mut host, text()?)?;
            } else if is("origin") {
                once(&mut origin, text()?)?;
            } else if is("sec-websocket-key") {
                once(&mut key, text()?)?;
            } else if is("sec-websocket-version") {
                once(&mut version, text()?)?;
            } else if is("sec-websocket-protocol") {
                protocols.push(text()?)?;
            } else if is("sec-websocket-extensions") {
                extensions.push(text()?)?;
            }
        }
        if !upgrade {
            return Err(Rejection::NotWebSocket);
        } else if method != "GET" {
            return Err(Rejection::Method);
        } else if !connection {
            return Err(Rejection::Connection);
        } else if version != Some(VERSION) {
            return Err(Rejection::Version);
        }
        let key = key.filter(|key| Key::is_valid(key)).ok_or(Rejection::Key)?;
        let host = host.ok_or(Rejection::Host)?;
        let request = Request {
            key,
            host,
            origin,
            protocols: protocols.lines,
            extensions: extensions.lines,
        };
        request.check_offers().map(|()| request)
    }

    fn check_offers(&self) -> Result<(), Rejection> {
        if self.offered().take(MAX_OFFERS + 1).count() > MAX_OFFERS {
            return Err(Rejection::TooManyOffers);
        }
        let mut count = 0;
        for line in self.extensions {
            let extensions = Extensions::new(line).map_err(|_| Rejection::Malformed)?;
            count += extensions.iter().count();
        }
        if count > MAX_OFFERS {
            Err(Rejection::TooManyOffers)
        } else {
            Ok(())
        }
    }

    /// The host that the request is for, with its port if that is not the default.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// The origin of the page, if the browser sent it.
    pub fn origin(&self) -> Option<&'a str> {
        self.origin
    }

    /// The offered subprotocols, preferred first. Names that are not tokens (RFC 6455 section 4.1) are skipped: they cannot be chosen, and
    /// some clients offer them beside valid ones.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.offered().filter(|name| fields::is_token(name))
    }

    fn offered(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.protocols.into_iter().flat_map(fields::list)
    }

    /// The offered extensions, preferred first.
    pub fn extensions(&self) -> impl Iterator<Item = Extension<'a>> + Clone {
        self.extensions
            .into_iter()
            .flat_map(|line| Extensions::new(line).into_iter().flat_map(Extensions::iter))
    }

    /// Checks that `policy` permits the page to connect.
    ///
    /// # Errors
    ///
    /// [`Rejection::Origin`].
    pub fn check_origin(&self, policy: &OriginPolicy) -> Result<(), Rejection> {
        let allowed = match (policy, self.origin) {
            (OriginPolicy::Any, _) => true,
            (OriginPolicy::SameHost, None) => true,
            (OriginPolicy::SameHost, Some(origin)) => same_host(origin, self.host),
            (OriginPolicy::OneOf { required, .. }, None) => !required,
            (OriginPolicy::OneOf { origins, .. }, Some(origin)) => {
                origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
            }
        };
        if allowed { Ok(()) } else { Err(Rejection::Origin) }
    }

    /// The answer that opens the connection, initially without a subprotocol or extension.
    pub fn accept(&self) -> Response<'a> {
        Response {
            accept: Accept::new(self.key),
            request: self.clone(),
            protocol: None,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }
}

/// Whether the host of `origin` is `host`; the origin's default port may be omitted (RFC 6454 section 6.2).
fn same_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let port = match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => return false,
    };
    let bare =
        |authority: &'_ str| -> usize { authority.len() - if authority.ends_with(port) { port.len() } else { 0 } };
    let (authority, host) = (authority.get(..bare(authority)), host.get(..bare(host)));
    authority
        .zip(host)
        .is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host) && !host.is_empty())
}

/// The 101 that opens the connection (section 4.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    accept: Accept,
    request: Request<'a>,
    protocol: Option<&'a str>,
    #[cfg(feature = "deflate")]
    deflate: Option<(crate::deflate::Parameters, String)>,
}

impl<'a> Response<'a> {
    /// Chooses the first offered subprotocol for which `choose` returns true, or none.
    #[must_use]
    pub fn protocol(mut self, mut choose: impl FnMut(&str) -> bool) -> Self {
        self.protocol = self.request.protocols().find(|offered| choose(offered));
        self
    }

    /// The subprotocol chosen.
    pub fn chosen_protocol(&self) -> Option<&'a str> {
        self.protocol
    }

    /// Accepts the first offer of permessage-deflate that `settings` can satisfy (RFC 7692 section 5.1), or none.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, settings: &crate::deflate::Settings) -> Self {
        self.deflate = self
            .request
            .extensions()
            .find_map(|offer| crate::deflate::accept(offer, settings));
        self
    }

    /// The parameters of permessage-deflate, if it was accepted: for [`Connection::deflate`](crate::Connection::deflate).
    #[cfg(feature = "deflate")]
    pub fn chosen_deflate(&self) -> Option<crate::deflate::Parameters> {
        self.deflate.as_ref().map(|(parameters, _)| *parameters)
    }

    /// The fields of the answer; its status is 101.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        #[cfg(feature = "deflate")]
        let extensions = self
            .deflate
            .as_ref()
            .map(|(_, value)| ("Sec-WebSocket-Extensions", value.as_str()));
        #[cfg(not(feature = "deflate"))]
        let extensions = None;
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", self.accept.as_str()),
        ]
        .into_iter()
        .chain(self.protocol.map(|protocol| ("Sec-WebSocket-Protocol", protocol)))
        .chain(extensions)
    }

    /// Appends the whole answer, for servers without an HTTP stack.
    pub fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        for (name, value) in self.fields() {
            field(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn field(out: &mut BytesMut, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn once<'a>(slot: &mut Option<&'a str>, value: &'a str) -> Result<(), Rejection> {
    if slot.replace(value).is_some() {
        Err(Rejection::Duplicate)
    } else {
        Ok(())
    }
}

/// The lines of a field that may be repeated.
#[derive(Default)]
struct Lines<'a> {
    lines: [&'a str; MAX_LINES],
    count: usize,
}

impl<'a> Lines<'a> {
    fn push(&mut self, line: &'a str) -> Result<(), Rejection> {
        *self.lines.get_mut(self.count).ok_or(Rejection::TooManyOffers)? = line;
        self.count += 1;
        Ok(())
    }
}
