//! What a handshake may cost.

use std::time::Duration;

/// The bounds of one handshake. After it, the limits of the driver hold for the connection inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes that a peer may send before the handshake has ended, and bytes of a later handshake message of which parts
    /// wait for the rest. Default 64 KiB, which a peer that trickles can make a connection hold; long chains of client
    /// certificates need some of it.
    pub handshake: usize,
    /// Messages of other threads that wait for the end of a client's handshake. Default 1,024.
    pub messages: usize,
    /// How long the peer may take for its first byte, from the connection's beginning. Default 5 s. `None` for as long as
    /// the handshake may take.
    pub first_byte: Option<Duration>,
    /// How long the handshake may take, from the connection's beginning. Default 10 s. `None` for as long as it wants:
    /// then a silent peer holds its connection for ever.
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
