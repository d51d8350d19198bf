//! Settings of both roles.

use std::time::Duration;

use proto_http::WallClock;

use crate::Limits;

/// Settings that the connections of a server share, behind an `Arc`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Limits.
    pub limits: Limits,
    /// Timeouts.
    pub timeouts: ServerTimeouts,
    /// Bytes of a response that may wait for one stream's window, because the handler sends it whole or ignores
    /// [`is_congested`](proto_http::Responder::is_congested). More resets the stream. Default 16 MiB.
    pub max_queued: usize,
    /// Bytes of a response waiting for one stream's window above which its handler is told of congestion. Default 64 KiB.
    pub high_water: usize,
    /// The clock for the Date of responses; without a clock, no Date is sent (RFC 9110 section 6.6.1).
    pub date: Option<WallClock>,
}

impl ServerConfig {
    /// The defaults, with a Date from `clock` in each response. Outside of tests, `clock` is `SystemTime::now`.
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
            limits: Limits::DEFAULT,
            timeouts: ServerTimeouts::default(),
            max_queued: 16 * 1024 * 1024,
            high_water: 64 * 1024,
            date: None,
        }
    }
}

/// Timeouts of a server. `None` means no timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerTimeouts {
    /// From the start of the connection to the end of the client's preface and SETTINGS. Default 30 s.
    pub preface: Option<Duration>,
    /// From sending our SETTINGS to their acknowledgement (RFC 9113 section 6.5.3). Default 30 s.
    pub settings: Option<Duration>,
    /// For one frame or header block, once its first byte has arrived. Default 30 s.
    pub frame: Option<Duration>,
    /// Between two pieces of a request's content; also the grace period before `body_rate` applies. Default 30 s.
    pub body: Option<Duration>,
    /// Minimum average rate of a request's content, in bytes per second, after the grace period `body`; each byte extends the deadline by
    /// its share of a second. The same minimum applies to the client's reading of a response, after the grace period `window`. 0 disables
    /// the minimum. Default 500.
    pub body_rate: u32,
    /// How long a response may wait for its stream's window. Default 30 s.
    pub window: Option<Duration>,
    /// Time without an open stream. PINGs and other frames do not extend it. Default 60 s.
    pub idle: Option<Duration>,
    /// When the driver stops: how long the client may still open streams, because it may not have read the GOAWAY yet. Default 500 ms.
    pub stop: Duration,
    /// For the handler: from the end of the request, or the last piece of the response, to the next piece. Default 60 s.
    pub answer: Option<Duration>,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        let half_a_minute = Some(Duration::from_secs(30));
        Self {
            preface: half_a_minute,
            settings: half_a_minute,
            frame: half_a_minute,
            body: half_a_minute,
            body_rate: 500,
            window: half_a_minute,
            idle: Some(Duration::from_secs(60)),
            stop: Duration::from_millis(500),
            answer: Some(Duration::from_secs(60)),
        }
    }
}

/// Settings that the connections of a client share, behind an `Arc`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Limits. By default, response content is unbounded.
    pub limits: Limits,
    /// Timeouts.
    pub timeouts: ClientTimeouts,
    /// Bytes of a request's content that may wait for the window; more fails with [`Misuse::NoSpace`](crate::Misuse::NoSpace). Default 16
    /// MiB.
    pub max_queued: usize,
    /// How often a [kept](super::Requester::send_kept) request is sent again on this connection if the server refuses its stream. Default
    /// 3.
    pub repeats: u8,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let mut limits = Limits::DEFAULT;
        limits.body = None;
        Self {
            limits,
            timeouts: ClientTimeouts::default(),
            max_queued: 16 * 1024 * 1024,
            repeats: 3,
        }
    }
}

/// Timeouts of a client. `None` means no timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTimeouts {
    /// For each of: the server's SETTINGS, counted from the start of the connection; the acknowledgement of ours; and a frame that has
    /// begun. Default 30 s.
    pub frame: Option<Duration>,
    /// From a request to the head of its response, and from one piece of its content to the next. Default 60 s.
    pub answer: Option<Duration>,
    /// Time without a request under way. Default 60 s.
    pub idle: Option<Duration>,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            frame: Some(Duration::from_secs(30)),
            answer: Some(Duration::from_secs(60)),
            idle: Some(Duration::from_secs(60)),
        }
    }
}
