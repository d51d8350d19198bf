//! Errors that a peer can cause.

use core::fmt;

use crate::ErrorCode;

/// The peer broke the protocol or exceeded one of our limits, on one stream or on the whole connection.
///
/// The reply is already in the output: RST_STREAM for a stream, which leaves other streams alone; GOAWAY for the connection, which the
/// caller then closes (RFC 9113 section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    kind: ViolationKind,
    stream: u32,
    whole: bool,
}

impl Violation {
    /// An error of the whole connection; `stream` is the stream of the offending frame.
    #[inline]
    pub(crate) const fn connection(kind: ViolationKind, stream: u32) -> Self {
        Self {
            kind,
            stream,
            whole: true,
        }
    }

    /// An error of one stream.
    #[inline]
    pub(crate) const fn stream(kind: ViolationKind, stream: u32) -> Self {
        Self {
            kind,
            stream,
            whole: false,
        }
    }

    /// Which rule the peer broke.
    #[must_use]
    pub const fn kind(&self) -> ViolationKind {
        self.kind
    }

    /// The stream of the offending frame; 0 for frames of the connection.
    #[must_use]
    pub const fn stream_id(&self) -> u32 {
        self.stream
    }

    /// Whether the error ends the whole connection, and not only the stream.
    #[must_use]
    pub const fn ends_connection(&self) -> bool {
        self.whole
    }

    /// The error code sent to the peer.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.kind.code()
    }

    /// The section of the specification that was broken, such as `"RFC 9113 section 6.1"`.
    #[must_use]
    pub const fn section(&self) -> &'static str {
        self.kind.section()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the peer sent {} on stream {} ({}, {})",
            self.kind.text(),
            self.stream,
            self.code(),
            self.section()
        )
    }
}

impl core::error::Error for Violation {}

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident = $code:ident, $status:literal, $section:literal, $text:literal;)*) => {
        /// The rule that the peer broke.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ViolationKind {
            $($(#[$doc])* $name,)*
        }

        impl ViolationKind {
            /// Every kind, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The error code sent to the peer.
            #[must_use]
            pub const fn code(self) -> ErrorCode {
                match self { $(Self::$name => ErrorCode::$code,)* }
            }

            /// The status a server answers a request with before it resets the stream; 0 where it only resets.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The section of the specification that was broken.
            #[must_use]
            pub const fn section(self) -> &'static str {
                match self { $(Self::$name => $section,)* }
            }

            /// The name of the variant, as the test vectors spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

violations! {
    /// The connection does not begin with the connection preface.
    Preface = PROTOCOL_ERROR, 0, "RFC 9113 section 3.4", "something other than the connection preface";
    /// The first frame is not SETTINGS.
    SettingsMissing = PROTOCOL_ERROR, 0, "RFC 9113 section 3.4", "another frame before its SETTINGS";
    /// A frame longer than the offered SETTINGS_MAX_FRAME_SIZE.
    FrameTooLarge = FRAME_SIZE_ERROR, 0, "RFC 9113 section 4.2", "a frame over the limit";
    /// A frame whose length its type does not allow.
    FrameSize = FRAME_SIZE_ERROR, 0, "RFC 9113 section 4.2", "a frame of a length that its type does not have";
    /// A stream's frame on stream 0, or a connection's frame on a stream.
    FrameStream = PROTOCOL_ERROR, 0, "RFC 9113 section 4.1", "a frame that does not belong there";
    /// Padding as long as the payload, or longer.
    Padding = PROTOCOL_ERROR, 0, "RFC 9113 section 6.1", "padding longer than its frame";
    /// A frame for a stream that neither side has opened.
    IdleStream = PROTOCOL_ERROR, 0, "RFC 9113 section 5.1", "a frame for a stream that is idle";
    /// A frame for a stream whose message is complete.
    StreamClosed = STREAM_CLOSED, 0, "RFC 9113 section 5.1", "a frame for a stream that is closed";
    /// A new stream whose identifier is even, or lower than one used before.
    StreamId = PROTOCOL_ERROR, 0, "RFC 9113 section 5.1.1", "a stream identifier out of order";
    /// More concurrent streams than offered.
    TooManyStreams = REFUSED_STREAM, 0, "RFC 9113 section 5.1.2", "more streams at once than were offered";
    /// Another frame inside a header block, or a CONTINUATION outside of one.
    Continuation = PROTOCOL_ERROR, 0, "RFC 9113 section 6.10", "a header block with other frames inside";
    /// A header block that is too large, or is in too many frames.
    BlockTooLarge = ENHANCE_YOUR_CALM, 0, "RFC 9113 section 10.5.1", "a header block over the limit";
    /// A header block that cannot be decoded.
    Compression = COMPRESSION_ERROR, 0, "RFC 7541 section 2", "an invalid header block";
    /// A setting with a value that its definition does not allow.
    Setting = PROTOCOL_ERROR, 0, "RFC 9113 section 6.5.2", "a setting out of its range";
    /// An initial window above 2^31 - 1, or one that moves a stream's window above it.
    SettingWindow = FLOW_CONTROL_ERROR, 0, "RFC 9113 section 6.5.2", "an initial window that is too large";
    /// SETTINGS were not acknowledged in time.
    SettingsTimeout = SETTINGS_TIMEOUT, 0, "RFC 9113 section 6.5.3", "no acknowledgement of our SETTINGS";
    /// A PUSH_PROMISE.
    Push = PROTOCOL_ERROR, 0, "RFC 9113 section 8.4", "a push that nobody permits";
    /// A window increment of 0.
    IncrementZero = PROTOCOL_ERROR, 0, "RFC 9113 section 6.9", "a window increment of 0";
    /// A window above 2^31 - 1.
    WindowOverflow = FLOW_CONTROL_ERROR, 0, "RFC 9113 section 6.9.1", "a window above 2^31 - 1";
    /// More DATA than the window allows.
    WindowExceeded = FLOW_CONTROL_ERROR, 0, "RFC 9113 section 6.9.1", "more content than its window allows";
    /// More frames without useful effect than an honest peer sends; see [`Limits::budget`](crate::Limits::budget).
    Flood = ENHANCE_YOUR_CALM, 0, "RFC 9113 section 10.5", "too many frames that bring nothing on";
    /// A field name that has a capital letter or is no token.
    FieldName = PROTOCOL_ERROR, 0, "RFC 9113 section 8.2.1", "an invalid field name";
    /// A field value with a control character, or with a space at either end.
    FieldValue = PROTOCOL_ERROR, 0, "RFC 9113 section 8.2.1", "an invalid field value";
    /// A field that is specific to one connection, such as `Connection`.
    ConnectionField = PROTOCOL_ERROR, 0, "RFC 9113 section 8.2.2", "a field that HTTP/2 does not have";
    /// A pseudo-header field that is unknown, repeated, behind a regular field, in trailers, or in the wrong kind of message.
    PseudoField = PROTOCOL_ERROR, 0, "RFC 9113 section 8.3", "a pseudo-header field out of place";
    /// A request without `:method`, `:scheme` or `:path`, or a response without `:status`.
    PseudoMissing = PROTOCOL_ERROR, 0, "RFC 9113 section 8.3.1", "a head that lacks a pseudo-header field";
    /// A `:method` that is no token.
    Method = PROTOCOL_ERROR, 0, "RFC 9113 section 8.3.1", "a method that is no token";
    /// An invalid `:scheme`.
    Scheme = PROTOCOL_ERROR, 0, "RFC 9113 section 8.3.1", "an invalid scheme";
    /// A `:path` that is empty, does not fit the method, or has an invalid byte.
    Path = PROTOCOL_ERROR, 0, "RFC 9113 section 8.3.1", "an invalid path";
    /// An `:authority` or Host that is not a host with an optional port.
    Authority = PROTOCOL_ERROR, 0, "RFC 9113 section 8.3.1", "an invalid authority";
    /// A Host that differs from `:authority`, or a repeated Host.
    HostDiffers = PROTOCOL_ERROR, 0, "RFC 9113 section 8.3.1", "a Host beside another authority";
    /// Neither an `:authority` nor a Host.
    AuthorityMissing = PROTOCOL_ERROR, 400, "RFC 9110 section 7.2", "a request for no host";
    /// A `:status` that is not three digits, or is 101.
    Status = PROTOCOL_ERROR, 0, "RFC 9113 section 8.3.2", "an invalid status";
    /// `:protocol` without CONNECT, or without our offer of the extended CONNECT.
    Protocol = PROTOCOL_ERROR, 0, "RFC 8441 section 4", "an extended CONNECT out of place";
    /// An extended CONNECT for a protocol other than WebSocket.
    ProtocolUnknown = PROTOCOL_ERROR, 501, "RFC 8441 section 5", "an extended CONNECT for an unknown protocol";
    /// An extended CONNECT with END_STREAM on its head.
    TunnelEnded = PROTOCOL_ERROR, 0, "RFC 8441 section 5", "a tunnel that ends with its head";
    /// A field section larger than offered.
    FieldsTooLarge = PROTOCOL_ERROR, 431, "RFC 6585 section 5", "a field section over the limit";
    /// More fields than [`Limits::fields`](crate::Limits::fields).
    TooManyFields = PROTOCOL_ERROR, 431, "RFC 6585 section 5", "more fields than the limit";
    /// A Content-Length that is not a plain decimal number, or is repeated.
    ContentLength = PROTOCOL_ERROR, 0, "RFC 9113 section 8.1.1", "an invalid Content-Length";
    /// Content longer or shorter than its Content-Length.
    LengthDiffers = PROTOCOL_ERROR, 0, "RFC 9113 section 8.1.1", "content of another length than announced";
    /// Content over [`Limits::body`](crate::Limits::body).
    BodyTooLarge = PROTOCOL_ERROR, 413, "RFC 9110 section 15.5.14", "content over the limit";
    /// An expectation other than `100-continue`.
    Expectation = PROTOCOL_ERROR, 417, "RFC 9110 section 10.1.1", "an unknown expectation";
    /// A second field section that does not end the message.
    Trailers = PROTOCOL_ERROR, 0, "RFC 9113 section 8.1", "a second head inside of a message";
    /// Content in a message that has none, or before the message's head.
    Content = PROTOCOL_ERROR, 0, "RFC 9113 section 8.1", "content where none may stand";
    /// An informational response that ends the stream.
    Informational = PROTOCOL_ERROR, 0, "RFC 9113 section 8.1", "an informational response that ends the stream";
    /// A GOAWAY whose last stream is above that of an earlier GOAWAY.
    GoawayGrows = PROTOCOL_ERROR, 0, "RFC 9113 section 6.8", "a last stream that grows";
    /// A PRIORITY_UPDATE for stream 0, or one sent by a server.
    PriorityUpdate = PROTOCOL_ERROR, 0, "RFC 9218 section 7.1", "a misplaced PRIORITY_UPDATE";
    /// A client that takes the response of a stream too slowly.
    TooSlow = CANCEL, 0, "RFC 9113 section 10.5", "too little credit for its answer";
}
