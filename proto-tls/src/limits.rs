//! Limits of a handshake.

use std::time::Duration;

/// Limits of a handshake. After the handshake, the driver's limits apply to the protocol inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes that a peer may send during the handshake, and bytes of a later handshake message that is incomplete. Default 64 KiB. A slow
    /// peer can make each connection hold this much; long client certificate chains need part of it.
    pub handshake: usize,
    /// Messages from other threads that wait until a client's handshake is complete. Default 1,024.
    pub messages: usize,
    /// Time from the start of the connection to the peer's first byte. Default 5 s. With `None`, only `timeout` applies.
    pub first_byte: Option<Duration>,
    /// Time from the start of the connection to the end of the handshake. Default 10 s. With `None`, a silent peer holds its connection for
    /// ever.
    pub timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshake: 64 * 1024,
            messages: 1024,
            first_byte: Some(Duration::from_secs(5)),
            timeout: Some(Duration::from_secs(10)),
        }
    }
}
