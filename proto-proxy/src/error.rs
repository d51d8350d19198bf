//! Errors: [`Violation`] is the peer's fault, [`Misuse`] the caller's.

use core::fmt;

/// The peer sent something other than a valid PROXY header, or a header that exceeds a limit.
///
/// The decoder returns no header after it. Abort the connection: nothing is sent back (proxy-protocol.txt section 2.1), and later bytes
/// must not be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    kind: ViolationKind,
    offset: usize,
}

impl Violation {
    #[inline]
    pub(crate) const fn new(kind: ViolationKind, offset: usize) -> Self {
        Self { kind, offset }
    }

    /// Which rule the peer broke.
    #[must_use]
    pub const fn kind(&self) -> ViolationKind {
        self.kind
    }

    /// Offset in bytes from the start of the header: the first byte that makes the header invalid. For an error in a TLV, which is found
    /// when the header is complete, this is the first byte of the TLV.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The section of the specification that was broken, such as `"proxy-protocol.txt section 2.1"`, or the name of this crate's rule.
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
    ($($(#[$doc:meta])* $name:ident = $section:literal, $text:literal;)*) => {
        /// The rule that the peer broke.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ViolationKind {
            $($(#[$doc])* $name,)*
        }

        impl ViolationKind {
            /// Every kind, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The section of the specification that was broken, or the name of this crate's rule.
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
    /// The bytes begin neither a version 1 nor a version 2 header, for instance because a client sends none.
    Signature = "proxy-protocol.txt section 2.2", "something other than a PROXY header";
    /// A header of a version that [`Rules::versions`](crate::Rules::versions) excludes.
    VersionRefused = "Rules::versions", "a PROXY header of a version that is not taken here";
    /// A protocol other than `TCP4`, `TCP6` and `UNKNOWN` in a version 1 header.
    Protocol = "proxy-protocol.txt section 2.1", "an unknown protocol in a version 1 header";
    /// An address in a version 1 header that is invalid or of the wrong family.
    Address = "proxy-protocol.txt section 2.1", "a malformed address";
    /// A port in a version 1 header that is not 0 to 65535 in decimal digits without leading zeros.
    Port = "proxy-protocol.txt section 2.1", "a malformed port";
    /// A CR without an LF in a version 1 header.
    BareCr = "proxy-protocol.txt section 2.1", "a carriage return without line feed";
    /// An LF without a CR in a version 1 header.
    BareLf = "proxy-protocol.txt section 2.1", "a line feed without carriage return";
    /// A version 1 header of more than [`V1_MAX`](crate::V1_MAX) bytes.
    LineTooLong = "proxy-protocol.txt section 2.1", "a version 1 header of more than 107 bytes";
    /// The signature of version 2 followed by another version number.
    Version = "proxy-protocol.txt section 2.2", "an unknown version number";
    /// A command other than LOCAL and PROXY.
    Command = "proxy-protocol.txt section 2.2", "an unknown command";
    /// A PROXY command with a family and transport that is not one of the seven defined ones.
    Family = "proxy-protocol.txt section 2.2", "an unknown address family or transport";
    /// A version 2 header shorter than the addresses of its family.
    TooShort = "proxy-protocol.txt section 2.2", "a header that is too short for its addresses";
    /// A version 2 header longer than [`Limits::header`](crate::Limits::header).
    TooLong = "Limits::header", "a version 2 header over the limit";
    /// A TLV that extends beyond the header, or too few bytes for a TLV at the end of the header.
    Tlv = "proxy-protocol.txt section 2.2", "a TLV that ends behind the header";
    /// An authority TLV that is not UTF-8.
    Authority = "proxy-protocol.txt section 2.2.2", "an authority that is not UTF-8";
    /// A checksum TLV that does not have four bytes.
    ChecksumLength = "proxy-protocol.txt section 2.2.3", "a checksum of other than four bytes";
    /// Several checksums.
    ChecksumRepeated = "proxy-protocol.txt section 2.2.3", "more than one checksum";
    /// A checksum that does not match the header.
    Checksum = "proxy-protocol.txt section 2.2.3", "a wrong checksum";
    /// A unique ID of more than [`UNIQUE_ID_MAX`](crate::UNIQUE_ID_MAX) bytes.
    UniqueId = "proxy-protocol.txt section 2.2.5", "a unique ID of more than 128 bytes";
    /// A TLS TLV that is too short, or whose inner TLVs extend beyond it.
    Ssl = "proxy-protocol.txt section 2.2.6", "a malformed TLV about TLS";
    /// A TLS text that is not ASCII, or a common name that is not UTF-8.
    SslText = "proxy-protocol.txt section 2.2.6", "a text about TLS that is not in its encoding";
    /// A network namespace that is not ASCII.
    Netns = "proxy-protocol.txt section 2.2.7", "a namespace that is not ASCII";
}

/// The caller asked for a header that cannot be written. Nothing was written, and the writer is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// The memory for the header is too small.
    NoSpace,
    /// Source and destination are of different IP versions.
    MixedFamilies,
    /// Version 1 supports only TCP over IP (proxy-protocol.txt section 2.1).
    NotInV1,
    /// A Unix address of more than 108 bytes.
    UnixAddressTooLong,
    /// A header or TLV longer than its 16-bit length field can express: 65,535 bytes, in addition to the first 16 or 3.
    TooLong,
    /// A unique ID of more than [`UNIQUE_ID_MAX`](crate::UNIQUE_ID_MAX) bytes (proxy-protocol.txt section 2.2.5).
    UniqueIdTooLong,
    /// A text that must be ASCII (proxy-protocol.txt sections 2.2.6 and 2.2.7).
    NotAscii,
    /// A second checksum (proxy-protocol.txt section 2.2.3).
    ChecksumRepeated,
    /// [`Tlv::Other`](crate::Tlv::Other) or [`SslTlv::Other`](crate::SslTlv::Other) with a type that has its own variant.
    TypeHasVariant,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "the memory is too small for the header",
            Self::MixedFamilies => "source and destination are of different families",
            Self::NotInV1 => "version 1 cannot express these addresses",
            Self::UnixAddressTooLong => "a Unix address has at most 108 bytes",
            Self::TooLong => "the header is longer than its length field can express",
            Self::UniqueIdTooLong => "a unique ID has at most 128 bytes",
            Self::NotAscii => "the text must be ASCII",
            Self::ChecksumRepeated => "a header can have only one checksum",
            Self::TypeHasVariant => "this type of TLV has its own variant",
        })
    }
}

impl core::error::Error for Misuse {}
