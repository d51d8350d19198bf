//! What a peer may cost.

/// Bounds on what a peer may send. Every one has a finite default; 0 means none at all, never "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of payload in one frame; longer ones fail with 1009 as soon as their header is seen. Costs nothing by
    /// itself: memory is taken for bytes that have arrived, never for a claimed length. Default 1 MiB.
    pub frame: u64,
    /// Bytes in one message, as sent and as inflated (1009). A message that arrives in pieces is held in one buffer of
    /// at most twice this size. Default 1 MiB.
    pub message: u64,
    /// Frames in one message (1008). They cost no memory. Default 16,384.
    pub fragments: u32,
    /// Frames without payload in one message (1008). Default 16.
    pub empty_fragments: u32,
    /// Pings, and Pongs that answer no Ping of ours, taken before [`refill`](crate::Writer::refill) gives new ones
    /// (1008). Default 256.
    pub control_frames: u32,
    /// How many bytes one byte of a compressed message may become, above the first MiB (1009). Deflate itself ends
    /// at 1,032. Default 200.
    pub inflate_ratio: u32,
    /// Bytes of the buffer for messages in pieces that are kept for the next one, per connection. Default 0: a
    /// connection between messages holds no buffer.
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
