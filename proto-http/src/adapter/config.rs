//! How a server treats its connections.

use std::time::Duration;

use super::WallClock;
use crate::Rules;

/// Settings that the connections of a server share, behind an `Arc`.
///
/// ```
/// use std::{sync::Arc, time::SystemTime};
///
/// let config = Arc::new(proto_http::ServerConfig::new(SystemTime::now));
/// assert!(config.rules.limits.body.is_some());
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Limits and leniency.
    pub rules: Rules,
    /// How long things may take.
    pub timeouts: ServerTimeouts,
    /// Requests answered out of one piece of input before the connection is closed. They wait in the driver's buffer and cost nothing
    /// else. Default 4,096.
    pub pipelined: usize,
    /// Unread body bytes drained to keep the connection alive; a request that has more left when its answer is complete is the last
    /// of its connection. Default 256 KiB.
    pub drain: u64,
    /// Whether a client that half-closes its connection still gets the answer to a request that has come whole, as a client may do that
    /// needs no other (RFC 9112 section 9.6). Else it counts as gone, as most are that do this: the handler is
    /// [`closed`](super::Handler::closed) at once. Default true.
    pub half_closed: bool,
    /// Where the Date of responses comes from; without a clock none is sent (RFC 9110 section 6.6.1).
    pub date: Option<WallClock>,
}

impl ServerConfig {
    /// The defaults, with a Date in each response by `clock`, which is `SystemTime::now` but in tests.
    #[must_use]
    pub fn new(clock: WallClock) -> Self {
        Self {
            date: Some(clock),
            ..Self::default()
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            rules: Rules::DEFAULT,
            timeouts: ServerTimeouts::default(),
            pipelined: 4096,
            drain: 256 * 1024,
            half_closed: true,
            date: None,
        }
    }
}

/// Settings that the connections of a client share, behind an `Arc`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Limits and leniency. Default [`Rules::RESPONSES`]: what real servers get wrong is permitted.
    pub rules: Rules,
    /// How long things may take.
    pub timeouts: ClientTimeouts,
    /// Requests under way at once, for [`Requester::pipeline`](super::Requester::pipeline). Default 1: no pipelining, as many
    /// servers and proxies do it badly. At most 33.
    pub pipeline: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            rules: Rules::RESPONSES,
            timeouts: ClientTimeouts::default(),
            pipeline: 1,
        }
    }
}

/// How long things may take for a server. `None` waits for ever. Each connection has one timer, so none of these costs memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerTimeouts {
    /// From the start of the connection to its first byte. Default 30 s.
    pub first_byte: Option<Duration>,
    /// From the first byte of a head to its last. Default 30 s.
    pub head: Option<Duration>,
    /// Between two pieces of a body, and the grace period before `body_rate` applies. Default 30 s.
    pub body: Option<Duration>,
    /// Bytes per second a body must bring on average, once `body` has passed; each byte buys its share of a second. 0 asks for
    /// nothing. Default 500.
    pub body_rate: u32,
    /// Between two requests. Default 60 s.
    pub idle: Option<Duration>,
    /// When the driver stops: how long a connection must have been idle to be closed without a last answer. A client that asks at
    /// shorter intervals learns from that answer, by `Connection: close`, that the connection ends (RFC 9112 section 9.6); one whose
    /// request meets the close would not know what became of it. Default 500 ms; 0 closes at once.
    pub stop: Duration,
    /// For the handler: from the end of the request, or the last piece of its answer, to the next. Default 60 s.
    pub answer: Option<Duration>,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            first_byte: Some(Duration::from_secs(30)),
            head: Some(Duration::from_secs(30)),
            body: Some(Duration::from_secs(30)),
            body_rate: 500,
            idle: Some(Duration::from_secs(60)),
            stop: Duration::from_millis(500),
            answer: Some(Duration::from_secs(60)),
        }
    }
}

/// How long things may take for a client. `None` waits for ever. Each connection has one timer, so none of these costs memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTimeouts {
    /// From a request to the end of its response's head. Default 60 s.
    pub answer: Option<Duration>,
    /// Between two pieces of a body, and the grace period before `body_rate` applies. Default 30 s.
    pub body: Option<Duration>,
    /// Bytes per second a body must bring on average, once `body` has passed; each byte buys its share of a second. 0 asks for
    /// nothing. Default 500.
    pub body_rate: u32,
    /// Between two requests. Default 60 s.
    pub idle: Option<Duration>,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            answer: Some(Duration::from_secs(60)),
            body: Some(Duration::from_secs(30)),
            body_rate: 500,
            idle: Some(Duration::from_secs(60)),
        }
    }
}
