//! What can go wrong, and who is to blame: [`Violation`] is the peer's doing, [`Misuse`] the caller's.

use core::fmt;

/// The peer sent something else than a valid PROXY header, or a header over a limit.
///
/// The decoder has no further header after it. Abort the connection: nothing is sent back (proxy-protocol.txt section
/// 2.1), and what follows must not be believed.
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

    /// What was broken.
    #[must_use]
    pub const fn kind(&self) -> ViolationKind {
        self.kind
    }

    /// Where, in bytes from the start of the header: the first byte with which the header cannot be valid any more. A fault
    /// in a TLV, found when the whole header is there, is placed at the first byte of this TLV.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The section that forbids it, such as `"proxy-protocol.txt section 2.1"`, or the rule of this crate.
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
        /// What the peer broke.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ViolationKind {
            $($(#[$doc])* $name,)*
        }

        impl ViolationKind {
            /// Every kind there is, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The section that forbids it, or the rule of this crate.
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
    /// Bytes that begin neither a header of version 1 nor one of version 2: a client that sends none, for instance.
    Signature = "proxy-protocol.txt section 2.2", "something else than a PROXY header";
    /// A header of a version that [`Rules::versions`](crate::Rules::versions) does not take.
    VersionRefused = "Rules::versions", "a PROXY header of a version that is not taken here";
    /// Another protocol in a version 1 header than `TCP4`, `TCP6` and `UNKNOWN`.
    Protocol = "proxy-protocol.txt section 2.1", "an unknown protocol in a version 1 header";
    /// An address of a version 1 header that is not the text of an address of its family.
    Address = "proxy-protocol.txt section 2.1", "a malformed address";
    /// A port of a version 1 header that is not 0 to 65535 in decimal digits without leading zeros.
    Port = "proxy-protocol.txt section 2.1", "a malformed port";
    /// A CR in a version 1 header that no LF follows.
    BareCr = "proxy-protocol.txt section 2.1", "a carriage return without line feed";
    /// An LF in a version 1 header that follows no CR.
    BareLf = "proxy-protocol.txt section 2.1", "a line feed without carriage return";
    /// A version 1 header of more than [`V1_MAX`](crate::V1_MAX) bytes.
    LineTooLong = "proxy-protocol.txt section 2.1", "a version 1 header of more than 107 bytes";
    /// The signature of version 2 with another version number behind it.
    Version = "proxy-protocol.txt section 2.2", "an unknown version number";
    /// A command other than LOCAL and PROXY.
    Command = "proxy-protocol.txt section 2.2", "an unknown command";
    /// A PROXY command with another family and transport than the seven that are listed.
    Family = "proxy-protocol.txt section 2.2", "an unknown address family or transport";
    /// A version 2 header whose length is below that of the addresses of its family.
    TooShort = "proxy-protocol.txt section 2.2", "a header that is too short for its addresses";
    /// A version 2 header of more bytes than [`Limits::header`](crate::Limits::header).
    TooLong = "Limits::header", "a version 2 header over the limit";
    /// A TLV that ends behind the header, or too few bytes for one at the end of the header.
    Tlv = "proxy-protocol.txt section 2.2", "a TLV that ends behind the header";
    /// A TLV for an authority that is not UTF-8.
    Authority = "proxy-protocol.txt section 2.2.2", "an authority that is not UTF-8";
    /// A TLV for a CRC32C checksum that has not four bytes.
    ChecksumLength = "proxy-protocol.txt section 2.2.3", "a checksum of other than four bytes";
    /// Several checksums.
    ChecksumRepeated = "proxy-protocol.txt section 2.2.3", "more than one checksum";
    /// A checksum that is not that of the header.
    Checksum = "proxy-protocol.txt section 2.2.3", "a wrong checksum";
    /// A unique ID of more than [`UNIQUE_ID_MAX`](crate::UNIQUE_ID_MAX) bytes.
    UniqueId = "proxy-protocol.txt section 2.2.5", "a unique ID of more than 128 bytes";
    /// A TLV about TLS that is too short, or whose own TLVs end behind it.
    Ssl = "proxy-protocol.txt section 2.2.6", "a malformed TLV about TLS";
    /// A text about TLS that is not ASCII, or a common name that is not UTF-8.
    SslText = "proxy-protocol.txt section 2.2.6", "a text about TLS that is not in its encoding";
    /// The name of a network namespace that is not ASCII.
    Netns = "proxy-protocol.txt section 2.2.7", "a namespace that is not ASCII";
}

/// The caller asked for a header that cannot be written. Nothing was written, and the writer is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// The memory to write into is too small.
    NoSpace,
    /// A source of one IP version with a destination of the other.
    MixedFamilies,
    /// Version 1 knows TCP over IP alone (proxy-protocol.txt section 2.1).
    NotInV1,
    /// A Unix address of more than 108 bytes.
    UnixAddressTooLong,
    /// A header or TLV of more bytes than its length can say: 65,535 behind the first 16 or 3.
    TooLong,
    /// A unique ID of more than [`UNIQUE_ID_MAX`](crate::UNIQUE_ID_MAX) bytes (proxy-protocol.txt section 2.2.5).
    UniqueIdTooLong,
    /// A text that must be ASCII and is not (proxy-protocol.txt sections 2.2.6 and 2.2.7).
    NotAscii,
    /// A second checksum (proxy-protocol.txt section 2.2.3).
    ChecksumRepeated,
    /// [`Tlv::Other`](crate::Tlv::Other) or [`SslTlv::Other`](crate::SslTlv::Other) of a type that has a variant of its own.
    TypeHasVariant,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "the memory is too small for the header",
            Self::MixedFamilies => "source and destination are of different families",
            Self::NotInV1 => "version 1 has no words for these addresses",
            Self::UnixAddressTooLong => "a Unix address has at most 108 bytes",
            Self::TooLong => "the header is longer than its length can say",
            Self::UniqueIdTooLong => "a unique ID has at most 128 bytes",
            Self::NotAscii => "the text must be ASCII",
            Self::ChecksumRepeated => "a header has one checksum",
            Self::TypeHasVariant => "this type of TLV has a variant of its own",
        })
    }
}

impl core::error::Error for Misuse {}
