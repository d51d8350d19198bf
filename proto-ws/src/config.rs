//! What an endpoint does of its own accord.

use core::num::NonZeroUsize;
use core::time::Duration;

use crate::Limits;

/// The settings many connections share.
///
/// The times are kept by whoever owns the clock: the adapters, or the caller of a bare
/// [`Connection`](crate::Connection).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Bounds on what the peer may send.
    pub limits: Limits,
    /// Hand out messages that do not lie whole in one read in parts, as they arrive, instead of putting them together.
    /// Default: put together.
    pub parts: bool,
    /// Send messages longer than this in frames of this size, so that control frames find room between them.
    /// Default: one frame each.
    pub fragment: Option<NonZeroUsize>,
    /// A Ping goes out after so much silence from the peer. Default 30 s; `None`: never.
    pub ping_interval: Option<Duration>,
    /// The connection fails when nothing came for so long after a Ping. Default 20 s.
    pub pong_timeout: Duration,
    /// The connection is dropped when the closing handshake takes longer. Default 5 s.
    pub close_timeout: Duration,
    /// The connection fails when a message takes longer from its first frame to its last byte. Default 60 s.
    pub message_timeout: Duration,
    /// A client gives up when the opening handshake takes longer. Default 10 s.
    pub handshake_timeout: Duration,
    /// What becomes of messages to a peer that does not read. Default: queue.
    pub slow_consumer: SlowConsumer,
    /// How messages are compressed where permessage-deflate was negotiated.
    #[cfg(feature = "deflate")]
    pub deflate: crate::deflate::Settings,
}

/// What becomes of a message while more output waits than the driver's high-water mark allows. Control frames are
/// always queued; every message not sent is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlowConsumer {
    /// Queue it. The driver's cap on waiting output ends the connection.
    #[default]
    Queue,
    /// Drop it and close with 1013 (try again later).
    Close,
    /// Drop it.
    Skip,
    /// Keep the latest one, one message of memory, and send it when the output has drained.
    KeepLatest,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            parts: false,
            fragment: None,
            ping_interval: Some(Duration::from_secs(30)),
            pong_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            slow_consumer: SlowConsumer::Queue,
            #[cfg(feature = "deflate")]
            deflate: crate::deflate::Settings::default(),
        }
    }
}
