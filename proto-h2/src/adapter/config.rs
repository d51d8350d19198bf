//! How both roles treat their connections.

use std::time::Duration;

use proto_http::WallClock;

use crate::Limits;

/// Settings that the connections of a server share, behind an `Arc`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Limits.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: ServerTimeouts,
    /// Bytes of an answer that may wait for one stream's window, when its handler does not heed
    /// [`is_congested`](proto_http::Responder::is_congested), or gives it whole; more resets the stream. Default 16 MiB.
    pub max_queued: usize,
    /// Bytes of an answer that wait for one stream's window above which its handler is told that it is congested. Default 64 KiB.
    pub high_water: usize,
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
            limits: Limits::DEFAULT,
            timeouts: ServerTimeouts::default(),
            max_queued: 16 * 1024 * 1024,
            high_water: 64 * 1024,
            date: None,
        }
    }
}

/// How long things may take for a server. `None` waits for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerTimeouts {
    /// From the start of the connection to the end of the client's preface and SETTINGS. Default 30 s.
    pub preface: Option<Duration>,
    /// From our SETTINGS to their acknowledgement (RFC 9113 section 6.5.3). Default 30 s.
    pub settings: Option<Duration>,
    /// For a frame that has begun, or a header block. Default 30 s.
    pub frame: Option<Duration>,
    /// Between two pieces of a request's content, and the grace period before `body_rate` applies. Default 30 s.
    pub body: Option<Duration>,
    /// Bytes per second that content must bring on average, once `body` has passed; each byte buys its share of a second. The same rate holds
    /// for the answer that a client takes, once `window` has passed. 0 asks for nothing. Default 500.
    pub body_rate: u32,
    /// How long an answer may wait for its stream's window. Default 30 s.
    pub window: Option<Duration>,
    /// Without a stream. PINGs and other frames do not prolong it. Default 60 s.
    pub idle: Option<Duration>,
    /// When the driver stops: how long the client has to open last streams before it knows. Default 500 ms.
    pub stop: Duration,
    /// For the handler: from the end of the request, or the last piece of its answer, to the next. Default 60 s.
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
    /// Limits. By default content of a response has no bound.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: ClientTimeouts,
    /// Bytes of a request's content that may wait for the window; more is [`Misuse::NoSpace`](crate::Misuse::NoSpace). Default 16 MiB.
    pub max_queued: usize,
    /// How often a request that is [kept](super::Requester::send_kept) is sent again on this connection when the server refuses its stream.
    /// Default 3.
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

/// How long things may take for a client. `None` waits for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTimeouts {
    /// From the start of the connection to the server's SETTINGS, for the acknowledgement of ours, and for a frame that has begun. Default 30 s.
    pub frame: Option<Duration>,
    /// From a request to the head of its response, and from one piece of its content to the next. Default 60 s.
    pub answer: Option<Duration>,
    /// Without a request under way. Default 60 s.
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
