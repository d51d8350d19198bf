//! Why a request has no answer, or no whole answer.

use std::fmt;
use std::io::ErrorKind;

use proto_http::Misuse;

/// Why a request has no answer, or its answer is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The URL cannot be used: not `http` or `https`, no host, or not a URL at all.
    Url(String),
    /// The request cannot be sent: a field or the method is not allowed.
    Request(Misuse),
    /// A field's name or value, or the method, has characters that are not allowed.
    Invalid(&'static str),
    /// The settings for TLS cannot be used, or there is no cryptography ([`Settings::tls`](crate::Settings::tls)).
    Settings(String),
    /// The name of the host has no address.
    Resolve {
        /// The name.
        host: String,
        /// How the look-up failed.
        kind: ErrorKind,
    },
    /// No connection was established.
    Connect {
        /// The host, or the proxy, with its port.
        place: String,
        /// How the last attempt failed.
        kind: ErrorKind,
    },
    /// The proxy has refused the connection, or broken its protocol.
    Proxy(ProxyError),
    /// TLS has failed; for instance, the certificate is not valid.
    Tls(String),
    /// A phase, or the whole request, took too long.
    Timeout(Phase),
    /// The connection has ended before the answer was complete. `kind` is `None` if the server has closed it in order.
    Closed {
        /// How the connection failed.
        kind: Option<ErrorKind>,
    },
    /// The server broke the protocol: its head, its framing, or a stream is invalid.
    Protocol(String),
    /// The server has reset the stream of the request (HTTP/2), with this code.
    Reset(u32),
    /// A redirect cannot be followed.
    Redirect(RedirectError),
    /// The content is longer than the caller's limit, in bytes after decompression.
    TooLong(u64),
    /// The content does not decompress, or ends too early.
    Decode(&'static str),
    /// The content is not what the caller asked for: not valid JSON, for instance.
    Content(String),
    /// The body of the request has failed: its source was dropped before its end.
    Body,
    /// Too many requests wait ([`Settings::max_waiting`](crate::Settings::max_waiting)), or no socket can be opened.
    Overloaded,
    /// The client, or its driver, was stopped.
    Stopped,
}

/// A part of a request with a time limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the name.
    Resolve,
    /// Connecting, over all addresses.
    Connect,
    /// The handshakes of TLS and of the proxy.
    Handshake,
    /// From the request to the head of its answer.
    Answer,
    /// Between two pieces of the content.
    Body,
    /// The whole, over all redirects and repetitions.
    Total,
}

/// How a proxy has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy answered CONNECT with this status; 407 asks for other credentials.
    Status(u16),
    /// The SOCKS5 proxy answered with this code (RFC 1928 section 6).
    Socks(u8),
    /// The SOCKS5 proxy accepts none of the ways to authenticate, or not these credentials (RFC 1929).
    Refused,
    /// The proxy's answer is invalid.
    Invalid,
    /// The connection has ended during the handshake.
    Closed,
    /// The host's name or the credentials are longer than SOCKS5 permits: 255 bytes.
    TooLong,
}

/// Why a redirect cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectError {
    /// More redirects than permitted, the number.
    TooMany(u32),
    /// The redirects return to a request that was made before.
    Loop(String),
    /// The target is not a URL, or of a scheme other than `http` and `https`.
    Target(String),
    /// The redirect leads from `https` to `http`, which the settings forbid.
    Insecure(String),
    /// The redirect asks for the body again, and its source is used up.
    BodyGone,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url(url) => write!(f, "not an http or https URL: {url}"),
            Error::Request(misuse) => write!(f, "the request cannot be sent: {misuse}"),
            Error::Invalid(what) => write!(f, "the request has an invalid {what}"),
            Error::Settings(why) => write!(f, "the settings cannot be used: {why}"),
            Error::Resolve { host, kind } => write!(f, "cannot find the address of {host}: {kind}"),
            Error::Connect { place, kind } => write!(f, "cannot connect to {place}: {kind}"),
            Error::Proxy(error) => error.fmt(f),
            Error::Tls(error) => write!(f, "TLS: {error}"),
            Error::Timeout(phase) => write!(f, "timed out: {phase}"),
            Error::Closed { kind: None } => {
                f.write_str("the server has closed the connection before its answer was complete")
            }
            Error::Closed { kind: Some(kind) } => {
                write!(f, "the connection has failed before the answer was complete: {kind}")
            }
            Error::Protocol(error) => write!(f, "the server broke the protocol: {error}"),
            Error::Reset(code) => write!(f, "the server has reset the stream, with code {code}"),
            Error::Redirect(error) => error.fmt(f),
            Error::TooLong(limit) => write!(f, "the content is longer than {limit} bytes"),
            Error::Decode(coding) => write!(f, "the content is not valid {coding}, or ends too early"),
            Error::Content(error) => write!(f, "the content cannot be used: {error}"),
            Error::Body => f.write_str("the source of the request's body ended before the body was complete"),
            Error::Overloaded => f.write_str("too many requests wait, or no socket can be opened"),
            Error::Stopped => f.write_str("the client was stopped"),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Resolve => "looking up the name",
            Phase::Connect => "connecting",
            Phase::Handshake => "the handshake of TLS or the proxy",
            Phase::Answer => "waiting for the answer",
            Phase::Body => "waiting for more of the content",
            Phase::Total => "the whole request",
        })
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Status(status) => write!(f, "the proxy has refused the tunnel with status {status}"),
            ProxyError::Socks(code) => {
                let why = match code {
                    1 => "general failure",
                    2 => "not allowed by its rules",
                    3 => "network unreachable",
                    4 => "host unreachable",
                    5 => "connection refused",
                    6 => "time to live expired",
                    7 => "command not supported",
                    8 => "address type not supported",
                    _ => "unknown reason",
                };
                write!(f, "the SOCKS proxy has refused the connection: {why} ({code})")
            }
            ProxyError::Refused => f.write_str("the SOCKS proxy does not accept these credentials"),
            ProxyError::Invalid => f.write_str("the proxy's answer is invalid"),
            ProxyError::Closed => f.write_str("the proxy has closed the connection"),
            ProxyError::TooLong => f.write_str("the name or the credentials are too long for SOCKS"),
        }
    }
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedirectError::TooMany(limit) => write!(f, "more than {limit} redirects"),
            RedirectError::Loop(url) => write!(f, "the redirects return to {url}"),
            RedirectError::Target(url) => write!(f, "cannot follow a redirect to {url}"),
            RedirectError::Insecure(url) => write!(f, "the redirect to {url} would leave https"),
            RedirectError::BodyGone => f.write_str("the redirect asks for the body again, and its source is used up"),
        }
    }
}

impl std::error::Error for Error {}
impl std::error::Error for ProxyError {}
impl std::error::Error for RedirectError {}

impl From<ProxyError> for Error {
    fn from(error: ProxyError) -> Self {
        Error::Proxy(error)
    }
}

impl From<RedirectError> for Error {
    fn from(error: RedirectError) -> Self {
        Error::Redirect(error)
    }
}
