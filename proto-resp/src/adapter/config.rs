//! The settings of clients and servers.

use std::time::Duration;

use crate::{Hello, Rules};

/// Settings that the connections of a client share, behind an `Arc`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Limits and leniency. Default [`Rules::REPLIES`].
    pub rules: Rules,
    /// Time limits.
    pub timeouts: ClientTimeouts,
    /// How the connection begins.
    pub hello: Hello,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            rules: Rules::REPLIES,
            timeouts: ClientTimeouts::default(),
            hello: Hello::default(),
        }
    }
}

/// Time limits of a client. `None` means no limit. Each connection has one timer, so none of these limits costs memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTimeouts {
    /// From the start of the connection to the end of its handshake. Default 10 s.
    pub handshake: Option<Duration>,
    /// Time for the reply to the oldest command without one, counted from its sending or from the previous reply; the bytes
    /// of a long reply renew it. Default 30 s. Commands that block, such as BLPOP, need a longer time, or a connection with
    /// `None`.
    pub reply: Option<Duration>,
    /// With no outstanding command, a PING is sent after this time without input. Default 30 s; `None` sends none.
    pub ping: Option<Duration>,
    /// Time for the reply to that PING. Default 20 s.
    pub pong: Option<Duration>,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            handshake: Some(Duration::from_secs(10)),
            reply: Some(Duration::from_secs(30)),
            ping: Some(Duration::from_secs(30)),
            pong: Some(Duration::from_secs(20)),
        }
    }
}

/// Settings that the connections of a server share, behind an `Arc`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Limits and leniency.
    pub rules: Rules,
    /// Time limits.
    pub timeouts: ServerTimeouts,
    /// Whether a client must authenticate, by HELLO or AUTH, before any other command (`-NOAUTH`); until then its commands
    /// may have 4 KiB and 16 arguments. [`Handler::authenticate`](super::Handler::authenticate) decides. Default false.
    pub authentication: bool,
    /// The name of the server's software in the answer to HELLO. Default `proto-resp`.
    pub server: &'static str,
    /// The version of the server's software. Default: the version of this crate.
    pub version: &'static str,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            rules: Rules::DEFAULT,
            timeouts: ServerTimeouts::default(),
            authentication: false,
            server: "proto-resp",
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Time limits of a server. `None` means no limit. Each connection has one timer, so none of these limits costs memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerTimeouts {
    /// Time between two commands, and before the first. Output, including pushes, renews it, so subscribers stay connected
    /// as long as they get messages. Default 300 s.
    pub idle: Option<Duration>,
    /// From the first byte of a command to its last. Default 30 s.
    pub command: Option<Duration>,
    /// Time for a handler: from the command, or from the last piece of its reply, to the next piece. Default 60 s.
    pub answer: Option<Duration>,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            idle: Some(Duration::from_secs(300)),
            command: Some(Duration::from_secs(30)),
            answer: Some(Duration::from_secs(60)),
        }
    }
}
