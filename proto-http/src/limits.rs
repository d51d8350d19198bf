//! Limits on a peer's input ([`Limits`]), and the violations that may be tolerated ([`Leniency`]).

/// Limits on a peer's input. Every default is finite; `None` means unlimited, `0` means that nothing is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a request or status line without its CRLF; a longer one gets 414. An unfinished line stays in the caller's
    /// buffer, so this field and `fields_bytes` bound how much a connection may hold there. Default 8 KiB (RFC 9112 section
    /// 3 recommends at least 8,000).
    pub request_line: usize,
    /// Field lines in a head; more get 431. They cost no memory beyond their bytes. Default 100.
    pub fields: usize,
    /// Bytes of a field section with all its line ends; more get 431. Default 64 KiB.
    pub fields_bytes: usize,
    /// Bytes of content in one message; more get 413. Content is passed on as it arrives and costs this crate no memory.
    /// Default 1 MiB for requests; unlimited for responses ([`Limits::RESPONSES`]), because a client asked for the content
    /// and reads it at its own pace.
    pub body: Option<u64>,
    /// Bytes of one chunk-size line with its extensions, held by the caller while unfinished. Default 1 KiB.
    pub chunk_line: usize,
    /// Bytes of all chunk extensions of one body, which are read and dropped. Default 16 KiB.
    pub chunk_extensions: usize,
    /// Field lines in a trailer section. Default 32.
    pub trailers: usize,
    /// Bytes of a trailer section, held by the caller while unfinished. Default 8 KiB.
    pub trailers_bytes: usize,
    /// Empty lines skipped before a start line. Default 2.
    pub leading_lines: usize,
}

impl Limits {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self {
        request_line: 8 * 1024,
        fields: 100,
        fields_bytes: 64 * 1024,
        body: Some(1024 * 1024),
        chunk_line: 1024,
        chunk_extensions: 16 * 1024,
        trailers: 32,
        trailers_bytes: 8 * 1024,
        leading_lines: 2,
    };
}

impl Limits {
    /// The defaults for responses: the same as for requests, but with content of any length.
    pub const RESPONSES: Self = Self {
        body: None,
        ..Self::DEFAULT
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Tolerated violations of the RFCs that some peers need: one named option each. [`STRICT`](Self::STRICT), the default,
/// tolerates none; [`RESPONSES`](Self::RESPONSES) tolerates those of real servers, which curl, browsers and most clients
/// also tolerate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leniency {
    /// Permits a status line that ends directly after the status. RFC 9112 section 4 requires a space there even if no
    /// reason follows.
    pub bare_status: bool,
    /// Permits empty lines before a status line and after a response, up to [`Limits::leading_lines`]. RFC 9112 section 2.2
    /// requires servers to skip such lines before a request, and says nothing about clients.
    pub lines_before_status: bool,
    /// Permits several Content-Length fields, or a list in one, when all name the same number (RFC 9110 section 8.6).
    pub repeated_content_length: bool,
    /// Permits a Content-Length beside `Transfer-Encoding: chunked`. The length is ignored, and the connection still closes
    /// after the message (RFC 9112 section 6.1).
    pub length_beside_chunked: bool,
    /// Permits a Transfer-Encoding, or a Content-Length above 0, in a response that has no content because of its status,
    /// 1xx but 101 or 204. The fields are ignored (RFC 9112 section 6.3, rule 1). The connection closes after the exchange,
    /// because it is unknown whether the server sends content all the same.
    pub framing_without_content: bool,
    /// Permits spaces and tabs between a chunk size and its CRLF, which some old senders pad with.
    pub padded_chunk_size: bool,
    /// Permits trailer fields that may not stand in a trailer section (RFC 9110 section 6.5.1), and folded ones (RFC 9112
    /// section 5.2). They are dropped; the others are passed on.
    pub unusable_trailers: bool,
}

impl Leniency {
    /// Permits nothing.
    pub const STRICT: Self = Self {
        bare_status: false,
        lines_before_status: false,
        repeated_content_length: false,
        length_beside_chunked: false,
        framing_without_content: false,
        padded_chunk_size: false,
        unusable_trailers: false,
    };

    /// Permits all of these violations, for a client. If a client reads a response differently from what the server meant,
    /// only that response is lost. If a server reads a request differently from the proxy in front of it, that can be an
    /// attack. The default of `ClientConfig` in the adapters.
    pub const RESPONSES: Self = Self {
        bare_status: true,
        lines_before_status: true,
        repeated_content_length: true,
        length_beside_chunked: true,
        framing_without_content: true,
        padded_chunk_size: true,
        unusable_trailers: true,
    };
}

/// The rules by which a connection reads: [`Limits`] and [`Leniency`]. They are passed to each call, so a connection stores
/// no copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Limits on the peer's input.
    pub limits: Limits,
    /// The violations by the peer that are tolerated.
    pub leniency: Leniency,
}

impl Rules {
    /// The defaults, as a constant: finite limits, nothing lenient. For requests.
    pub const DEFAULT: Self = Self {
        limits: Limits::DEFAULT,
        leniency: Leniency::STRICT,
    };

    /// For responses: [`Limits::RESPONSES`] and [`Leniency::RESPONSES`].
    pub const RESPONSES: Self = Self {
        limits: Limits::RESPONSES,
        leniency: Leniency::RESPONSES,
    };

    /// These rules with other limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// These rules with another limit on the content of a message, in bytes; `None` means unlimited.
    #[must_use]
    pub const fn with_body(mut self, bytes: Option<u64>) -> Self {
        self.limits.body = bytes;
        self
    }

    /// These rules with another leniency.
    #[must_use]
    pub const fn with_leniency(mut self, leniency: Leniency) -> Self {
        self.leniency = leniency;
        self
    }
}
