//! The errors, by the side at fault: [`Violation`] is the peer's fault, [`Misuse`] the caller's.

use core::fmt;

/// The peer broke the protocol, or exceeded one of our limits.
///
/// After a violation the connection has no further events: answer with [`status`](Violation::status) if a response can still
/// be sent, then close. Never resynchronise (RFC 9112 section 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    kind: ViolationKind,
    offset: usize,
}

impl Violation {
    #[inline]
    pub(crate) const fn new(kind: ViolationKind, offset: usize) -> Self {
        Self { kind, offset }
    }

    /// The same violation with its offset moved by `bytes`.
    pub(crate) const fn behind(self, bytes: usize) -> Self {
        Self {
            kind: self.kind,
            offset: self.offset + bytes,
        }
    }

    /// The kind of violation.
    #[must_use]
    pub const fn kind(&self) -> ViolationKind {
        self.kind
    }

    /// The place, in bytes from the start of the head, chunk line or trailer section being read.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The status with which a server answers.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.kind.status()
    }

    /// The section of the specification that was broken, such as `"RFC 9112 section 5.1"`.
    #[must_use]
    pub const fn section(&self) -> &'static str {
        self.kind.section()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the peer sent {} at byte {} ({})",
            self.kind.text(),
            self.offset,
            self.section()
        )
    }
}

impl core::error::Error for Violation {}

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $section:literal, $text:literal;)*) => {
        /// The kind of violation by the peer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ViolationKind {
            $($(#[$doc])* $name,)*
        }

        impl ViolationKind {
            /// Every kind, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The status with which a server answers.
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
    /// A line that ends with LF alone.
    BareLf = 400, "RFC 9112 section 2.2", "a line feed without carriage return";
    /// A CR without an LF after it.
    BareCr = 400, "RFC 9112 section 2.2", "a carriage return without line feed";
    /// More empty lines before the start line than [`Limits::leading_lines`](crate::Limits::leading_lines).
    LeadingLines = 400, "RFC 9112 section 2.2", "too many empty lines before the head";
    /// A method that is no token.
    Method = 400, "RFC 9112 section 3.1", "a method that is no token";
    /// A request target that fits none of the four forms, or has a byte no target may have.
    Target = 400, "RFC 9112 section 3.2", "an invalid request target";
    /// A request line longer than [`Limits::request_line`](crate::Limits::request_line), while the target is read.
    TargetTooLong = 414, "RFC 9110 section 15.5.15", "a request line over the limit";
    /// Other bytes in the place of `HTTP/1.1`.
    Version = 400, "RFC 9112 section 2.3", "a malformed protocol version";
    /// A major version other than 1.
    VersionUnsupported = 505, "RFC 9110 section 15.6.6", "an unsupported protocol version";
    /// A status line without a three-digit status, or with a forbidden byte in its reason.
    StatusLine = 400, "RFC 9112 section 4", "a malformed status line";
    /// A field name that is no token, or is empty.
    FieldName = 400, "RFC 9110 section 5.1", "an invalid field name";
    /// White space between a field name and its colon.
    SpaceBeforeColon = 400, "RFC 9112 section 5.1", "white space before the colon of a field";
    /// A field line that starts with white space.
    Folding = 400, "RFC 9112 section 5.2", "a folded field line";
    /// A control character in a field value.
    FieldValue = 400, "RFC 9110 section 5.5", "a control character in a field value";
    /// More field lines than [`Limits::fields`](crate::Limits::fields).
    TooManyFields = 431, "RFC 6585 section 5", "more field lines than the limit";
    /// A field section longer than [`Limits::fields_bytes`](crate::Limits::fields_bytes).
    FieldsTooLarge = 431, "RFC 6585 section 5", "a field section over the limit";
    /// An HTTP/1.1 request without a Host field.
    HostMissing = 400, "RFC 9112 section 3.2", "no Host field";
    /// Several Host fields.
    HostRepeated = 400, "RFC 9112 section 3.2", "more than one Host field";
    /// A Host field (or the authority of a target) that is no host with an optional port.
    Host = 400, "RFC 9110 section 7.2", "an invalid host";
    /// A Content-Length that is no plain decimal number.
    ContentLength = 400, "RFC 9110 section 8.6", "an invalid Content-Length";
    /// Several Content-Length fields.
    ContentLengthRepeated = 400, "RFC 9112 section 6.3", "more than one Content-Length";
    /// Content-Length and Transfer-Encoding in one message.
    LengthAndCoding = 400, "RFC 9112 section 6.1", "both Content-Length and Transfer-Encoding";
    /// A Transfer-Encoding whose one final coding is not `chunked`.
    TransferEncoding = 400, "RFC 9112 section 6.3", "a Transfer-Encoding that does not end in chunked";
    /// An unknown transfer coding.
    CodingUnknown = 501, "RFC 9112 section 6.1", "an unknown transfer coding";
    /// A Transfer-Encoding in an HTTP/1.0 message.
    CodingInOldVersion = 400, "RFC 9112 section 6.1", "a Transfer-Encoding in an HTTP/1.0 message";
    /// A Transfer-Encoding or a Content-Length in a response that has no body by its status.
    FramingForbidden = 400, "RFC 9112 section 6.1", "body framing in a response that cannot have it";
    /// An expectation other than `100-continue`.
    Expectation = 417, "RFC 9110 section 10.1.1", "an unknown expectation";
    /// A CONNECT request with a body.
    ConnectWithBody = 400, "RFC 9110 section 9.3.6", "a CONNECT request with a body";
    /// A body longer than [`Limits::body`](crate::Limits::body).
    BodyTooLarge = 413, "RFC 9110 section 15.5.14", "a body over the limit";
    /// A chunk size that is not 1 to 16 hexadecimal digits.
    ChunkSize = 400, "RFC 9112 section 7.1", "an invalid chunk size";
    /// A chunk extension that breaks the grammar.
    ChunkExtension = 400, "RFC 9112 section 7.1.1", "an invalid chunk extension";
    /// A chunk line, or all chunk extensions of a body, over the limit.
    ChunkLineTooLong = 400, "RFC 9112 section 7.1.1", "chunk extensions over the limit";
    /// Chunk data that is not followed by CRLF.
    ChunkEnd = 400, "RFC 9112 section 7.1", "chunk data without CRLF behind it";
    /// A trailer field that may not stand in a trailer section.
    Trailer = 400, "RFC 9110 section 6.5.1", "a field that is not allowed as a trailer";
    /// The connection ended inside a message.
    Truncated = 400, "RFC 9112 section 8", "the end of the connection inside a message";
    /// A response that switches protocols though the request did not ask for it.
    UnaskedSwitch = 502, "RFC 9110 section 7.8", "a switch of protocols nobody asked for";
    /// Bytes after the responses to all requests.
    Unexpected = 400, "RFC 9112 section 9.2", "bytes where no message was expected";
}

/// The caller broke a rule of this crate; nothing was written and the state is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// A method that is no token (RFC 9110 section 9.1).
    Method,
    /// A request target with a forbidden byte, or of the wrong form for its method (RFC 9112 section 3.2).
    Target,
    /// A status outside its place: 100 to 199 as a final response, 101 without an upgrade, or not three digits (RFC 9110 section 15).
    Status,
    /// A reason phrase with CR, LF, NUL or another control character (RFC 9112 section 4).
    Reason,
    /// A field name that is no token (RFC 9110 section 5.1).
    FieldName,
    /// A field value with CR, LF, NUL or another control character, or white space at its ends (RFC 9110 section 5.5).
    FieldValue,
    /// A field the encoder writes itself: Content-Length, Transfer-Encoding (RFC 9112 section 6).
    FramingField,
    /// A field no trailer section may have (RFC 9110 section 6.5.1).
    Trailer,
    /// The request needs exactly one valid Host field (RFC 9112 section 3.2).
    Host,
    /// More body bytes than the announced length (RFC 9112 section 6.2).
    BodyTooLong,
    /// The body ended before its announced length (RFC 9112 section 6.2).
    BodyTooShort,
    /// Trailers for a body that is not chunked (RFC 9112 section 6.5).
    TrailersNeedChunks,
    /// A body for a message that cannot have one, or a response that does not fit a switch of protocols.
    NotAllowed,
    /// A switch of protocols that the request does not ask for: the request is of HTTP/1.0, has content, or has no
    /// `Connection: Upgrade` beside an `Upgrade` (RFC 9110 section 7.8); or a tunnel for another method than CONNECT. The
    /// client's fault, not the caller's.
    SwitchUnasked,
    /// An upgrade or a tunnel on a server or client that was made without `switching`: nothing could take over the connection.
    CannotSwitch,
    /// The answer was an upgrade or a tunnel, and the handler named no protocol to take over.
    NoSuccessor,
    /// Not allowed now: for instance a response before the request, or a second one (RFC 9112 section 9.3).
    OutOfTurn,
    /// The buffer to write into is too small.
    NoSpace,
}

impl Misuse {
    const fn text(self) -> &'static str {
        match self {
            Self::Method => "the method is no token",
            Self::Target => "the request target is invalid",
            Self::Status => "the status is not allowed here",
            Self::Reason => "the reason phrase has a forbidden byte",
            Self::FieldName => "a field name is no token",
            Self::FieldValue => "a field value has a forbidden byte",
            Self::FramingField => "Content-Length and Transfer-Encoding are written by the encoder",
            Self::Trailer => "the field may not be sent as a trailer",
            Self::Host => "a request needs exactly one valid Host field",
            Self::BodyTooLong => "more body than announced",
            Self::BodyTooShort => "less body than announced",
            Self::TrailersNeedChunks => "only a chunked body has trailers",
            Self::NotAllowed => "the message cannot have a body, or does not fit a switch of protocols",
            Self::SwitchUnasked => "the request asks for no switch of protocols",
            Self::CannotSwitch => "only a connection made by `switching` can become another protocol",
            Self::NoSuccessor => "the handler upgraded, and named no protocol to take over",
            Self::OutOfTurn => "not allowed in this state of the exchange",
            Self::NoSpace => "the output buffer is too small",
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Misuse {}

impl From<proto_buffer::NoSpace> for Misuse {
    fn from(_: proto_buffer::NoSpace) -> Self {
        Misuse::NoSpace
    }
}
