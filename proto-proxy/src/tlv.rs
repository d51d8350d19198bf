//! TLVs of a version 2 header: type, length, value (proxy-protocol.txt section 2.2).

use core::iter::FusedIterator;

use crate::{Ssl, ViolationKind};

/// Bytes of the longest unique ID (proxy-protocol.txt section 2.2.5).
pub const UNIQUE_ID_MAX: usize = 128;

/// The types of TLVs, including those inside an [`Ssl`] (proxy-protocol.txt section 2.2).
pub mod kind {
    /// [`Tlv::Alpn`](crate::Tlv::Alpn)
    pub const ALPN: u8 = 0x01;
    /// [`Tlv::Authority`](crate::Tlv::Authority)
    pub const AUTHORITY: u8 = 0x02;
    /// [`Tlv::Checksum`](crate::Tlv::Checksum)
    pub const CRC32C: u8 = 0x03;
    /// [`Tlv::Noop`](crate::Tlv::Noop)
    pub const NOOP: u8 = 0x04;
    /// [`Tlv::UniqueId`](crate::Tlv::UniqueId)
    pub const UNIQUE_ID: u8 = 0x05;
    /// [`Tlv::Ssl`](crate::Tlv::Ssl)
    pub const SSL: u8 = 0x20;
    /// [`SslTlv::Version`](crate::SslTlv::Version)
    pub const SSL_VERSION: u8 = 0x21;
    /// [`SslTlv::CommonName`](crate::SslTlv::CommonName)
    pub const SSL_COMMON_NAME: u8 = 0x22;
    /// [`SslTlv::Cipher`](crate::SslTlv::Cipher)
    pub const SSL_CIPHER: u8 = 0x23;
    /// [`SslTlv::SignatureAlgorithm`](crate::SslTlv::SignatureAlgorithm)
    pub const SSL_SIGNATURE_ALGORITHM: u8 = 0x24;
    /// [`SslTlv::KeyAlgorithm`](crate::SslTlv::KeyAlgorithm)
    pub const SSL_KEY_ALGORITHM: u8 = 0x25;
    /// [`Tlv::Netns`](crate::Tlv::Netns)
    pub const NETNS: u8 = 0x30;
    /// The first of the 16 types for applications (section 2.2.8).
    pub const CUSTOM_MIN: u8 = 0xe0;
    /// The last of the 16 types for applications (section 2.2.8).
    pub const CUSTOM_MAX: u8 = 0xef;
}

/// One TLV of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tlv<'a> {
    /// The application protocol, by its ALPN name (section 2.2.1).
    Alpn(&'a [u8]),
    /// The host name that the client asked for (section 2.2.2).
    Authority(&'a str),
    /// The CRC32C of the header (section 2.2.3). A header with a wrong checksum is refused. When written, this value is ignored and the
    /// correct checksum is written.
    Checksum(u32),
    /// Padding (section 2.2.4).
    Noop(&'a [u8]),
    /// The identifier of the connection along a chain of proxies, up to [`UNIQUE_ID_MAX`] bytes (section 2.2.5).
    UniqueId(&'a [u8]),
    /// The properties of the client's TLS connection (section 2.2.6).
    Ssl(Ssl<'a>),
    /// A network namespace, in ASCII (section 2.2.7).
    Netns(&'a str),
    /// A type without a variant in this crate: an application's own, or a newer one.
    Other {
        /// The type.
        kind: u8,
        /// The value, not validated.
        value: &'a [u8],
    },
}

impl<'a> Tlv<'a> {
    /// The type in wire format.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Tlv::Alpn(_) => kind::ALPN,
            Tlv::Authority(_) => kind::AUTHORITY,
            Tlv::Checksum(_) => kind::CRC32C,
            Tlv::Noop(_) => kind::NOOP,
            Tlv::UniqueId(_) => kind::UNIQUE_ID,
            Tlv::Ssl(_) => kind::SSL,
            Tlv::Netns(_) => kind::NETNS,
            Tlv::Other { kind, .. } => *kind,
        }
    }

    /// Reads and validates a value.
    fn read(kind: u8, value: &'a [u8]) -> Result<Self, ViolationKind> {
        Ok(match kind {
            kind::ALPN => Tlv::Alpn(value),
            kind::AUTHORITY => Tlv::Authority(core::str::from_utf8(value).map_err(|_| ViolationKind::Authority)?),
            kind::CRC32C => {
                let bytes = value.try_into().map_err(|_| ViolationKind::ChecksumLength)?;
                Tlv::Checksum(u32::from_be_bytes(bytes))
            }
            kind::NOOP => Tlv::Noop(value),
            kind::UNIQUE_ID if value.len() > UNIQUE_ID_MAX => return Err(ViolationKind::UniqueId),
            kind::UNIQUE_ID => Tlv::UniqueId(value),
            kind::SSL => Tlv::Ssl(Ssl::read(value)?),
            kind::NETNS => Tlv::Netns(ascii(value).ok_or(ViolationKind::Netns)?),
            kind => Tlv::Other { kind, value },
        })
    }
}

/// `value`, if it is ASCII.
pub(crate) fn ascii(value: &[u8]) -> Option<&str> {
    core::str::from_utf8(value).ok().filter(|text| text.is_ascii())
}

/// Takes a type and its value off the front of `bytes`; `None` if they are incomplete.
pub(crate) fn take<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    *bytes = rest;
    Some((kind, value))
}

/// The TLVs of a header, in order.
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
}

impl<'a> Tlvs<'a> {
    pub(crate) const fn new(checked: &'a [u8]) -> Self {
        Self { rest: checked }
    }

    /// Validates all TLVs in `bytes`. Returns the place and value of the checksum. An error includes its place in `bytes`.
    pub(crate) fn check(bytes: &'a [u8]) -> Result<Option<(usize, u32)>, (ViolationKind, usize)> {
        let mut rest = bytes;
        let mut checksum = None;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let fault = |kind| (kind, at);
            let (kind, value) = take(&mut rest).ok_or(fault(ViolationKind::Tlv))?;
            if let Tlv::Checksum(sum) = Tlv::read(kind, value).map_err(fault)? {
                if checksum.is_some() {
                    return Err(fault(ViolationKind::ChecksumRepeated));
                }
                checksum = Some((at, sum));
            }
        }
        Ok(checksum)
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let (kind, value) = take(&mut self.rest)?;
        // The decoder has checked all TLVs, so that none is skipped here.
        Some(Tlv::read(kind, value).unwrap_or(Tlv::Other { kind, value }))
    }
}

impl FusedIterator for Tlvs<'_> {}
