//! What a decoder takes ([`Versions`]) and what a header may cost ([`Limits`]).

/// Bytes of the longest version 1 header, its CRLF included (proxy-protocol.txt section 2.1).
pub const V1_MAX: usize = 107;

/// Bytes of the longest version 2 header that its length field can express (proxy-protocol.txt section 2.2).
pub const V2_MAX: usize = 16 + 0xffff;

/// Bounds on a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a version 2 header, its first 16 and all TLVs included; a header that claims more is refused when its length
    /// is seen. The caller's buffer holds the header until it is whole. A header of version 1 has at most [`V1_MAX`] bytes,
    /// whatever this says. Default 4,096.
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

/// Which versions of the protocol are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Versions {
    /// Version 1 and version 2, told apart by their first byte.
    #[default]
    Both,
    /// Version 1 alone: a line of text.
    V1,
    /// Version 2 alone: the binary form.
    V2,
}

/// What a decoder reads by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Bounds on a header.
    pub limits: Limits,
    /// Which versions are taken. Default [`Versions::Both`].
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
