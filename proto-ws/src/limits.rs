//! Limits on a peer's input.

/// Limits on a peer's input. Every limit has a finite default; 0 means that nothing is allowed, never "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of payload in one frame; a longer frame fails with 1009 as soon as its header is read. The limit costs no
    /// memory: memory is allocated for bytes that have arrived, never for a claimed length. Default 1 MiB.
    pub frame: u64,
    /// Bytes in one message, as sent and as inflated (1009). A message that arrives in pieces is held in one buffer of at
    /// most twice this size. Default 1 MiB.
    pub message: u64,
    /// Frames in one message (1008). They cost no memory. Default 16,384.
    pub fragments: u32,
    /// Frames without payload in one message (1008). Default 16.
    pub empty_fragments: u32,
    /// Pings, and Pongs that answer no Ping of this side, that are accepted before [`refill`](crate::Writer::refill) restores the budget
    /// (1008). Default 256.
    pub control_frames: u32,
    /// The most bytes that one compressed byte may inflate to, on average, above the first MiB of a message (1009). The deflate format
    /// allows at most 1,032. Default 200.
    pub inflate_ratio: u32,
    /// Bytes of the buffer for fragmented messages that each connection keeps for the next message. Default 0: between
    /// messages a connection holds no buffer.
    pub keep: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            frame: 1 << 20,
            message: 1 << 20,
            fragments: 1 << 14,
            empty_fragments: 16,
            control_frames: 256,
            inflate_ratio: 200,
            keep: 0,
        }
    }
}
