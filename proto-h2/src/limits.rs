//! Bounds on what a peer may cost us, and what we offer the peer.

/// Bounds on what a peer may send and make us hold. Every default is finite; `None` means unbounded.
///
/// A connection holds at most: one incomplete header block (`fields_bytes` and a quarter), two compression tables (`table` bytes, and 4,096
/// bytes for our encoder), and `streams` streams of the codec (72 bytes each), in addition to the caller's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Concurrent streams of the peer (SETTINGS_MAX_CONCURRENT_STREAMS); more are refused. Default 100.
    pub streams: u32,
    /// Fields in a head; more is answered with 431. Default 100.
    pub fields: usize,
    /// Bytes of a head's fields, with 32 added for each field (SETTINGS_MAX_HEADER_LIST_SIZE); more is answered with 431. Default 64 KiB.
    pub fields_bytes: usize,
    /// Fields in a trailer section. Default 32.
    pub trailers: usize,
    /// Bytes of a trailer section, counted like `fields_bytes`. Default 8 KiB.
    pub trailers_bytes: usize,
    /// Bytes of content in one message; more is answered with 413. Default 1 MiB.
    pub body: Option<u64>,
    /// Bytes of content in flight on one stream (SETTINGS_INITIAL_WINDOW_SIZE): the most that is held for a stream whose handler has
    /// paused. Default 64 KiB - 1; at most 2^31 - 1.
    pub stream_window: u32,
    /// Bytes of content in flight on all streams of a connection together. Default 1 MiB; at least 65,535, at most 2^31 - 1.
    pub connection_window: u32,
    /// Bytes of one frame's payload (SETTINGS_MAX_FRAME_SIZE). Default 16,384, which is also the minimum; at most 2^24 - 1. The caller
    /// holds every frame except DATA until it is complete.
    pub frame: u32,
    /// Bytes of the dynamic table of the peer's header compression (SETTINGS_HEADER_TABLE_SIZE). Default 4,096; at most 65,535.
    pub table: u32,
    /// Points that a peer may spend before its connection ends with ENHANCE_YOUR_CALM. Frames without useful effect cost points: resets and
    /// refused streams 5, PING and GOAWAY 2, SETTINGS 2 and more with many entries, others 1. A served stream returns 4 points, content
    /// returns 1 for each 256 bytes received in a frame and for each 512 bytes sent; see also
    /// [`replenish`](crate::ServerConnection::replenish). Default 1,000.
    pub budget: u32,
}

impl Limits {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self {
        streams: 100,
        fields: 100,
        fields_bytes: 64 * 1024,
        trailers: 32,
        trailers_bytes: 8 * 1024,
        body: Some(1024 * 1024),
        stream_window: 65_535,
        connection_window: 1024 * 1024,
        frame: 16_384,
        table: 4096,
        budget: 1000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
