//! How much one connection may hold.

use std::time::Duration;

/// The limits of one connection, whatever its protocol. Every limit is finite by default; `None` means unlimited where a
/// field allows it.
///
/// ```
/// use std::time::Duration;
///
/// let limits = protocol::Limits::default().write_timeout(Some(Duration::from_secs(10)));
/// assert_eq!(limits.high_water, 64 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of output above which a connection is congested: the driver then does not read from it until the output has
    /// fallen to [`low_water`](Limits::low_water). Default 64 KiB. Memory: up to this much plus one call's output for a peer
    /// that does not read.
    pub high_water: usize,
    /// Bytes of waiting output at which a congested connection goes on. Default 16 KiB, a quarter of the high-water mark.
    pub low_water: usize,
    /// Bytes of unsent output above which the connection is reset. Default 16 MiB. Shared [`Bytes`](bytes::Bytes) count in
    /// full in each connection, although they are stored once.
    pub max_output: usize,
    /// Bytes that a protocol may leave unconsumed. More resets the connection; protocols have smaller limits of their own
    /// and answer before. Default 128 KiB. A peer that sends slowly can make a connection hold this much.
    pub max_input: usize,
    /// How long the peer may take none of the waiting output before the connection is reset. Default 30 s.
    pub write_timeout: Option<Duration>,
    /// How long to wait for the peer to close, after the last byte was sent and the connection half-closed. Default 2 s.
    /// With a time that is too short, a peer that is still sending loses the last reply to a reset (RFC 9112 section 9.6).
    pub linger: Duration,
    /// Bytes discarded while closing, before the connection is reset. The limit keeps the driver from reading a flood for
    /// all of [`linger`](Limits::linger). Default 16 MiB. With too small a limit, a client that sends a large body loses an
    /// early reply.
    pub max_discard: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            high_water: 64 * 1024,
            low_water: 16 * 1024,
            max_output: 16 * 1024 * 1024,
            max_input: 128 * 1024,
            write_timeout: Some(Duration::from_secs(30)),
            linger: Duration::from_secs(2),
            max_discard: 16 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// Sets [`high_water`](Limits::high_water), and [`low_water`](Limits::low_water) to a quarter of it.
    #[must_use]
    pub fn high_water(mut self, bytes: usize) -> Self {
        self.high_water = bytes;
        self.low_water = bytes / 4;
        self
    }

    /// Sets [`max_output`](Limits::max_output).
    #[must_use]
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.max_output = bytes;
        self
    }

    /// Sets [`max_input`](Limits::max_input).
    #[must_use]
    pub fn max_input(mut self, bytes: usize) -> Self {
        self.max_input = bytes;
        self
    }

    /// Sets [`write_timeout`](Limits::write_timeout).
    #[must_use]
    pub fn write_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Sets [`max_discard`](Limits::max_discard).
    #[must_use]
    pub fn max_discard(mut self, bytes: usize) -> Self {
        self.max_discard = bytes;
        self
    }

    /// Sets [`linger`](Limits::linger).
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }
}
