//! The accepted versions ([`Versions`]) and the limits of a header ([`Limits`]).

/// Bytes of the longest version 1 header, including its CRLF (proxy-protocol.txt section 2.1).
pub const V1_MAX: usize = 107;

/// Bytes of the longest version 2 header that its length field can express (proxy-protocol.txt section 2.2).
pub const V2_MAX: usize = 16 + 0xffff;

/// Limits of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a version 2 header, including the first 16 and all TLVs. A longer header is refused as soon as its length was read. The
    /// caller's buffer holds an incomplete header. A version 1 header has at most [`V1_MAX`] bytes, whatever this limit. Default 4,096.
    pub header: usize,
}

impl Limits {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self { header: 4096 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The accepted versions of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Versions {
    /// Versions 1 and 2, distinguished by their first byte.
    #[default]
    Both,
    /// Only version 1, a line of text.
    V1,
    /// Only version 2, the binary form.
    V2,
}

/// The rules that a decoder applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Limits of a header.
    pub limits: Limits,
    /// The accepted versions. Default [`Versions::Both`].
    pub versions: Versions,
}

impl Rules {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self {
        limits: Limits::DEFAULT,
        versions: Versions::Both,
    };
}

impl From<Limits> for Rules {
    fn from(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::DEFAULT
        }
    }
}
