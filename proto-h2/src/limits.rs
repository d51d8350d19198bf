//! What a peer may cost us, and what we offer it.

/// Bounds on what a peer may send and make us hold. Each has a finite default; `None` means without a bound.
///
/// A connection holds at most: one header block that is cut (`fields_bytes` and a quarter), two compression tables (`table`, and 4,096 bytes of
/// ours), and `streams` streams of the codec (72 bytes each), beside what waits in the caller's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Streams that the peer may have open at once (SETTINGS_MAX_CONCURRENT_STREAMS); more are refused. Default 100.
    pub streams: u32,
    /// Fields in a head; more is 431. Default 100.
    pub fields: usize,
    /// Bytes of a head's fields, each counted with 32 bytes more (SETTINGS_MAX_HEADER_LIST_SIZE); more is 431. Default 64 KiB.
    pub fields_bytes: usize,
    /// Fields in a trailer section. Default 32.
    pub trailers: usize,
    /// Bytes of a trailer section, counted as `fields_bytes`. Default 8 KiB.
    pub trailers_bytes: usize,
    /// Bytes of content in one message; more is 413. Default 1 MiB.
    pub body: Option<u64>,
    /// Bytes of content that may be under way on one stream (SETTINGS_INITIAL_WINDOW_SIZE): what a stream may have to hold whose handler
    /// pauses. Default 64 KiB - 1; at most 2^31 - 1.
    pub stream_window: u32,
    /// The same on all streams of a connection together. Default 1 MiB; at least 65,535, at most 2^31 - 1.
    pub connection_window: u32,
    /// Bytes of one frame's payload (SETTINGS_MAX_FRAME_SIZE). Default 16,384, which is the least; at most 2^24 - 1. Frames but DATA are
    /// held by the caller until they are whole.
    pub frame: u32,
    /// Bytes of the table that the peer's header compression may use (SETTINGS_HEADER_TABLE_SIZE). Default 4,096; at most 65,535.
    pub table: u32,
    /// What a peer may cost before its connection ends with ENHANCE_YOUR_CALM, in points. Frames that bring nothing on take points:
    /// resets and refused streams 5, SETTINGS and PING 2 to 4, others 1. A stream that is served gives 4 back, DATA 1 for 256 bytes or for the
    /// frame; see also [`replenish`](crate::ServerConnection::replenish). Default 1,000.
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
