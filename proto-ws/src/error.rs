//! Who broke what: [`Error`] is the peer's doing, [`Misuse`] the caller's.

use crate::CloseCode;

/// The peer broke the protocol or a limit. The connection has failed (RFC 6455 section 7.1.7).
///
/// [`close_code`](Error::close_code) says which code the Close frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// A reserved bit is set that no negotiated extension gives a meaning (section 5.2).
    ReservedBit,
    /// A reserved opcode (section 5.2).
    ReservedOpcode(u8),
    /// A client's frame without a mask (section 5.1).
    Unmasked,
    /// A server's frame with a mask (section 5.1).
    Masked,
    /// A length in more bytes than it needs (section 5.2).
    NonMinimalLength,
    /// A 64-bit length with its highest bit set (section 5.2).
    LengthOverflow,
    /// A control frame of more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A control frame without FIN (section 5.5).
    FragmentedControl,
    /// A continuation frame with nothing to continue (section 5.4).
    NothingToContinue,
    /// A text or binary frame before the message under way has ended (section 5.4).
    MessageUnfinished,
    /// A Close frame with a payload of one byte (section 5.5.1).
    CloseTooShort,
    /// A code that may not be sent (section 7.4).
    CloseCode(u16),
    /// Text, or the reason of a Close frame, that is not UTF-8 (section 8.1).
    Utf8,
    /// A frame longer than [`Limits::frame`](crate::Limits::frame).
    FrameTooLong,
    /// A message longer than [`Limits::message`](crate::Limits::message), as sent or as inflated.
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
    /// A message did not end in the time it had.
    MessageTimeout,
    /// No Pong came in the time it had.
    PongTimeout,
    /// No Close frame, or no end of the stream after it, came in the time it had.
    CloseTimeout,
}

impl Error {
    /// The code for the Close frame that tells the peer (section 7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Error::Utf8 | Error::Deflate => CloseCode::INVALID_PAYLOAD,
            Error::FrameTooLong | Error::MessageTooLong | Error::InflateRatio => CloseCode::TOO_BIG,
            Error::TooManyFragments
            | Error::TooManyEmptyFragments
            | Error::TooManyControlFrames
            | Error::MessageTimeout
            | Error::PongTimeout => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL,
        }
    }

    /// The section that is broken, or that allows the limit, such as `"RFC 6455 section 5.2"`.
    pub const fn section(self) -> &'static str {
        match self {
            Error::ReservedBit | Error::ReservedOpcode(_) | Error::NonMinimalLength | Error::LengthOverflow => {
                "RFC 6455 section 5.2"
            }
            Error::Unmasked | Error::Masked => "RFC 6455 section 5.1",
            Error::ControlTooLong | Error::FragmentedControl => "RFC 6455 section 5.5",
            Error::NothingToContinue | Error::MessageUnfinished => "RFC 6455 section 5.4",
            Error::CloseTooShort => "RFC 6455 section 5.5.1",
            Error::CloseCode(_) => "RFC 6455 section 7.4",
            Error::Utf8 => "RFC 6455 section 8.1",
            Error::FrameTooLong
            | Error::MessageTooLong
            | Error::TooManyFragments
            | Error::TooManyEmptyFragments
            | Error::TooManyControlFrames
            | Error::InflateRatio
            | Error::MessageTimeout => "RFC 6455 section 10.4",
            Error::Deflate => "RFC 7692 section 7.2.2",
            Error::PongTimeout => "RFC 6455 section 5.5.2",
            Error::CloseTimeout => "RFC 6455 section 7.1.1",
        }
    }

    /// The error in a few words, as sent for the reason of the Close frame.
    pub const fn as_str(self) -> &'static str {
        match self {
            Error::ReservedBit => "reserved bit set",
            Error::ReservedOpcode(_) => "reserved opcode",
            Error::Unmasked => "frame of a client without mask",
            Error::Masked => "frame of a server with mask",
            Error::NonMinimalLength => "length not in its shortest form",
            Error::LengthOverflow => "length of more than 63 bits",
            Error::ControlTooLong => "control frame too long",
            Error::FragmentedControl => "control frame fragmented",
            Error::NothingToContinue => "continuation of nothing",
            Error::MessageUnfinished => "new message before the end of the last",
            Error::CloseTooShort => "close frame of one byte",
            Error::CloseCode(_) => "close code not allowed",
            Error::Utf8 => "invalid UTF-8",
            Error::FrameTooLong => "frame too long",
            Error::MessageTooLong => "message too long",
            Error::TooManyFragments => "too many fragments",
            Error::TooManyEmptyFragments => "too many empty fragments",
            Error::TooManyControlFrames => "too many control frames",
            Error::Deflate => "invalid deflate stream",
            Error::InflateRatio => "message inflates too much",
            Error::MessageTimeout => "message did not end in time",
            Error::PongTimeout => "no pong in time",
            Error::CloseTimeout => "no close in time",
        }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::ReservedOpcode(opcode) => write!(f, "reserved opcode {opcode:#x}"),
            Error::CloseCode(code) => write!(f, "close code {code} not allowed"),
            other => f.write_str(other.as_str()),
        }
    }
}

impl core::error::Error for Error {}

/// The caller asked for something that may not be sent. Nothing was written; the connection is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// A Close frame has been sent or the connection has failed: no frame may follow (RFC 6455 section 5.5.1).
    Closed,
    /// The payload of a control frame may have 125 bytes, the reason of a Close frame 123 (section 5.5).
    ControlTooLong,
    /// This code may not be sent (section 7.4).
    CloseCode(u16),
    /// A message sent in parts has not ended (section 5.4).
    MessageUnfinished,
    /// The next part of a message is of another kind than the part before.
    KindChanged,
}

impl core::fmt::Display for Misuse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Misuse::Closed => "the connection is closing",
            Misuse::ControlTooLong => "the payload of a control frame is too long",
            Misuse::CloseCode(code) => return write!(f, "close code {code} may not be sent"),
            Misuse::MessageUnfinished => "a message sent in parts has not ended",
            Misuse::KindChanged => "the parts of a message are of two kinds",
        })
    }
}

impl core::error::Error for Misuse {}
