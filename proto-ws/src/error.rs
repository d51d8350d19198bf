//! The errors, by the side at fault: [`Violation`] is the peer's fault, [`Misuse`] the caller's.

use crate::CloseCode;

/// The peer broke the protocol or exceeded a limit. The connection has failed (RFC 6455 section 7.1.7).
///
/// [`close_code`](Violation::close_code) returns the code of the Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit is set, and no negotiated extension uses it (section 5.2).
    ReservedBit,
    /// A reserved opcode (section 5.2).
    ReservedOpcode(u8),
    /// A client's frame without a mask (section 5.1).
    Unmasked,
    /// A server's frame with a mask (section 5.1).
    Masked,
    /// A length encoded in more bytes than needed (section 5.2).
    NonMinimalLength,
    /// A 64-bit length with its highest bit set (section 5.2).
    LengthOverflow,
    /// A control frame of more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A control frame without FIN (section 5.5).
    FragmentedControl,
    /// A continuation frame without a message to continue (section 5.4).
    NothingToContinue,
    /// A text or binary frame before the current message has ended (section 5.4).
    MessageUnfinished,
    /// A Close frame with a payload of one byte (section 5.5.1).
    CloseTooShort,
    /// A code that may not be sent (section 7.4).
    CloseCode(u16),
    /// Text, or the reason of a Close frame, that is not UTF-8 (section 8.1).
    Utf8,
    /// A frame longer than [`Limits::frame`](crate::Limits::frame).
    FrameTooLong,
    /// A message longer than [`Limits::message`](crate::Limits::message), compressed or inflated.
    MessageTooLong,
    /// A message of more than [`Limits::fragments`](crate::Limits::fragments) frames.
    TooManyFragments,
    /// A message with more than [`Limits::empty_fragments`](crate::Limits::empty_fragments) frames without payload.
    TooManyEmptyFragments,
    /// More control frames than [`Limits::control_frames`](crate::Limits::control_frames) allows.
    TooManyControlFrames,
    /// A compressed message that is not a deflate stream (RFC 7692 section 7.2.2).
    Deflate,
    /// A message that inflates by more than [`Limits::inflate_ratio`](crate::Limits::inflate_ratio).
    InflateRatio,
    /// A message was not complete within its time limit.
    MessageTimeout,
    /// No Pong arrived within its time limit.
    PongTimeout,
    /// No Close frame, or no end of the stream after it, arrived within its time limit.
    CloseTimeout,
}

impl Violation {
    /// The code of the Close frame that reports the violation (section 7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Violation::Utf8 | Violation::Deflate => CloseCode::INVALID_PAYLOAD,
            Violation::FrameTooLong | Violation::MessageTooLong | Violation::InflateRatio => CloseCode::TOO_BIG,
            Violation::TooManyFragments
            | Violation::TooManyEmptyFragments
            | Violation::TooManyControlFrames
            | Violation::MessageTimeout
            | Violation::PongTimeout => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL,
        }
    }

    /// The section that was violated, or that permits the limit, such as `"RFC 6455 section 5.2"`.
    pub const fn section(self) -> &'static str {
        match self {
            Violation::ReservedBit
            | Violation::ReservedOpcode(_)
            | Violation::NonMinimalLength
            | Violation::LengthOverflow => "RFC 6455 section 5.2",
            Violation::Unmasked | Violation::Masked => "RFC 6455 section 5.1",
            Violation::ControlTooLong | Violation::FragmentedControl => "RFC 6455 section 5.5",
            Violation::NothingToContinue | Violation::MessageUnfinished => "RFC 6455 section 5.4",
            Violation::CloseTooShort => "RFC 6455 section 5.5.1",
            Violation::CloseCode(_) => "RFC 6455 section 7.4",
            Violation::Utf8 => "RFC 6455 section 8.1",
            Violation::FrameTooLong
            | Violation::MessageTooLong
            | Violation::TooManyFragments
            | Violation::TooManyEmptyFragments
            | Violation::TooManyControlFrames
            | Violation::InflateRatio
            | Violation::MessageTimeout => "RFC 6455 section 10.4",
            Violation::Deflate => "RFC 7692 section 7.2.2",
            Violation::PongTimeout => "RFC 6455 section 5.5.2",
            Violation::CloseTimeout => "RFC 6455 section 7.1.1",
        }
    }

    /// A short description of the error, sent as the reason of the Close frame.
    pub const fn as_str(self) -> &'static str {
        match self {
            Violation::ReservedBit => "reserved bit set",
            Violation::ReservedOpcode(_) => "reserved opcode",
            Violation::Unmasked => "frame of a client without mask",
            Violation::Masked => "frame of a server with mask",
            Violation::NonMinimalLength => "length not in its shortest form",
            Violation::LengthOverflow => "length of more than 63 bits",
            Violation::ControlTooLong => "control frame too long",
            Violation::FragmentedControl => "control frame fragmented",
            Violation::NothingToContinue => "continuation of nothing",
            Violation::MessageUnfinished => "new message before the end of the last",
            Violation::CloseTooShort => "close frame of one byte",
            Violation::CloseCode(_) => "close code not allowed",
            Violation::Utf8 => "invalid UTF-8",
            Violation::FrameTooLong => "frame too long",
            Violation::MessageTooLong => "message too long",
            Violation::TooManyFragments => "too many fragments",
            Violation::TooManyEmptyFragments => "too many empty fragments",
            Violation::TooManyControlFrames => "too many control frames",
            Violation::Deflate => "invalid deflate stream",
            Violation::InflateRatio => "message inflates too much",
            Violation::MessageTimeout => "message did not end in time",
            Violation::PongTimeout => "no pong in time",
            Violation::CloseTimeout => "no close in time",
        }
    }
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Violation::ReservedOpcode(opcode) => write!(f, "reserved opcode {opcode:#x}"),
            Violation::CloseCode(code) => write!(f, "close code {code} not allowed"),
            other => f.write_str(other.as_str()),
        }
    }
}

impl core::error::Error for Violation {}

/// The caller asked to send data that may not be sent. Nothing was written; the connection is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// A Close frame has been sent or the connection has failed: no frame may follow (RFC 6455 section 5.5.1).
    Closed,
    /// The payload is too long: a control frame may have 125 bytes, the reason of a Close frame 123 (section 5.5).
    ControlTooLong,
    /// This code may not be sent (section 7.4).
    CloseCode(u16),
    /// A message sent in parts has not ended (section 5.4).
    MessageUnfinished,
    /// A part of a message differs in kind from the previous part.
    KindChanged,
}

impl core::fmt::Display for Misuse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Misuse::Closed => "the connection is closing",
            Misuse::ControlTooLong => "the payload of a control frame is too long",
            Misuse::CloseCode(code) => return write!(f, "close code {code} may not be sent"),
            Misuse::MessageUnfinished => "a message sent in parts is incomplete",
            Misuse::KindChanged => "the parts of a message have different kinds",
        })
    }
}

impl core::error::Error for Misuse {}
