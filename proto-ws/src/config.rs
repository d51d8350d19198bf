//! The settings of an endpoint.

use core::num::NonZeroUsize;
use core::time::Duration;

use crate::Limits;

/// The settings that many connections share.
///
/// The owner of the clock enforces the times: the adapters, or the caller of a bare [`Connection`](crate::Connection).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Limits on the peer's input.
    pub limits: Limits,
    /// Returns messages that are not complete in one read in parts, as they arrive, instead of assembling them. Default:
    /// assemble.
    pub parts: bool,
    /// Sends longer messages in frames of this size, so that control frames can be sent between them. Default: one frame per
    /// message.
    pub fragment: Option<NonZeroUsize>,
    /// Time without input from the peer after which a Ping is sent. Default 30 s; `None`: never.
    pub ping_interval: Option<Duration>,
    /// The connection fails if no input arrives for this time after a Ping. Default 20 s.
    pub pong_timeout: Duration,
    /// The connection is dropped if the closing handshake takes longer. Default 5 s.
    pub close_timeout: Duration,
    /// The connection fails if a message takes longer from its first frame to its last byte. Default 60 s.
    pub message_timeout: Duration,
    /// A client gives up if the opening handshake takes longer. Default 10 s.
    pub handshake_timeout: Duration,
    /// How messages to a peer that does not read are treated. Default: queue.
    pub slow_consumer: SlowConsumer,
    /// How messages are compressed if permessage-deflate was negotiated.
    #[cfg(feature = "deflate")]
    pub deflate: crate::deflate::Settings,
}

/// How a message is treated while more output waits than the driver's high-water mark allows. Control frames are always
/// queued; every message that is not sent is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlowConsumer {
    /// Queue the message. The driver's limit on waiting output ends the connection.
    #[default]
    Queue,
    /// Drop the message and close with 1013 (try again later).
    Close,
    /// Drop the message.
    Skip,
    /// Keep the latest message, which takes the memory of one message, and send it when the output has drained.
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
