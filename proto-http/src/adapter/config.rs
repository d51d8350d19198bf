//! The settings of servers and clients.

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
    /// Time limits.
    pub timeouts: ServerTimeouts,
    /// Maximum number of requests answered from one piece of input before the connection is closed. They wait in the
    /// driver's buffer and cost nothing else. Default 4,096.
    pub pipelined: usize,
    /// Unread body bytes drained to keep the connection alive. If a request has more left when its answer is complete, the
    /// connection closes after that answer. Default 256 KiB.
    pub drain: u64,
    /// Whether a client that half-closes its connection still gets the answer to a complete request. A client that needs no
    /// further request may half-close (RFC 9112 section 9.6). If false, the client counts as gone, as most such clients are:
    /// the handler is [`closed`](super::Handler::closed) at once. Default true.
    pub half_closed: bool,
    /// The source of the Date of responses; without a clock no Date is sent (RFC 9110 section 6.6.1).
    pub date: Option<WallClock>,
}

impl ServerConfig {
    /// The defaults, with a Date from `clock` in each response. `clock` is `SystemTime::now`, except in tests.
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
    /// Limits and leniency. Default [`Rules::RESPONSES`]: common mistakes of servers are tolerated.
    pub rules: Rules,
    /// Time limits.
    pub timeouts: ClientTimeouts,
    /// Maximum number of outstanding requests, for [`Requester::pipeline`](super::Requester::pipeline). Default 1: no
    /// pipelining, because many servers and proxies do not support it well. At most 33.
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

/// Time limits of a server. `None` means no limit. Each connection has one timer, so none of these limits costs memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerTimeouts {
    /// From the start of the connection to its first byte. Default 30 s.
    pub first_byte: Option<Duration>,
    /// From the first byte of a head to its last. Default 30 s.
    pub head: Option<Duration>,
    /// Time between two pieces of a body, and the grace period before `body_rate` applies. Default 30 s.
    pub body: Option<Duration>,
    /// Minimum average rate of a body in bytes per second, after the grace period `body`: each byte extends the deadline by its share of a
    /// second. 0 sets no minimum. Default 500.
    pub body_rate: u32,
    /// Time between two requests. Default 60 s.
    pub idle: Option<Duration>,
    /// When the driver stops: how long a connection must have been idle before it is closed without a last answer. A client
    /// that sends requests at shorter intervals learns from its next answer, by `Connection: close`, that the connection
    /// ends (RFC 9112 section 9.6). If its request crossed the close instead, the client would not know whether the request
    /// was served. Default 500 ms; 0 closes at once.
    pub stop: Duration,
    /// Time for the handler: from the end of the request, or from the last piece of its answer, to the next piece. Default
    /// 60 s.
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

/// Time limits of a client. `None` means no limit. Each connection has one timer, so none of these limits costs memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTimeouts {
    /// From a request to the end of its response's head. Default 60 s.
    pub answer: Option<Duration>,
    /// Time between two pieces of a body, and the grace period before `body_rate` applies. Default 30 s.
    pub body: Option<Duration>,
    /// Minimum average rate of a body in bytes per second, after the grace period `body`: each byte extends the deadline by its share of a
    /// second. 0 sets no minimum. Default 500.
    pub body_rate: u32,
    /// Time between two requests. Default 60 s.
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
