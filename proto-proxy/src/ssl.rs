//! The properties of the client's TLS connection (proxy-protocol.txt section 2.2.6).

use core::iter::FusedIterator;

use crate::tlv::{ascii, take};
use crate::{ViolationKind, kind};

/// The properties of the client's TLS connection, which the proxy has terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssl<'a> {
    client: u8,
    verify: u32,
    tlvs: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Ssl<'a> {
    /// The bit of [`client`](Self::client) for a client that connected over TLS.
    pub const TLS: u8 = 0x01;
    /// The bit of [`client`](Self::client) for a client that presented a certificate on this connection.
    pub const CERTIFICATE_ON_CONNECTION: u8 = 0x02;
    /// The bit of [`client`](Self::client) for a client that presented a certificate in the TLS session, on this connection or
    /// one before.
    pub const CERTIFICATE_IN_SESSION: u8 = 0x04;

    pub(crate) fn read(value: &'a [u8]) -> Result<Self, ViolationKind> {
        let (&[client, verify @ ..], tlvs) = value.split_first_chunk::<5>().ok_or(ViolationKind::Ssl)?;
        let mut rest = tlvs;
        while !rest.is_empty() {
            let (kind, value) = take(&mut rest).ok_or(ViolationKind::Ssl)?;
            SslTlv::read(kind, value)?;
        }
        Ok(Self {
            client,
            verify: u32::from_be_bytes(verify),
            tlvs,
            bytes: value,
        })
    }

    /// All bits about the client, including those without a constant in this crate.
    #[must_use]
    pub const fn client(&self) -> u8 {
        self.client
    }

    /// Whether the client connected over TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.client & Self::TLS != 0
    }

    /// Whether the client presented a certificate on this connection, or on one before in the same TLS session.
    #[must_use]
    pub const fn has_certificate(&self) -> bool {
        self.client & (Self::CERTIFICATE_ON_CONNECTION | Self::CERTIFICATE_IN_SESSION) != 0
    }

    /// The result of verifying the client's certificate: 0 if it is valid; some proxies also send 0 if there is none. Check
    /// [`has_verified_certificate`](Self::has_verified_certificate) before trusting the client.
    #[must_use]
    pub const fn verify(&self) -> u32 {
        self.verify
    }

    /// Whether the client presented a certificate, and the proxy found it valid.
    #[must_use]
    pub const fn has_verified_certificate(&self) -> bool {
        self.is_tls() && self.has_certificate() && self.verify == 0
    }

    /// The inner TLVs, in order.
    #[must_use]
    pub const fn tlvs(&self) -> SslTlvs<'a> {
        SslTlvs { rest: self.tlvs }
    }

    /// The version of TLS, such as `"TLSv1.3"`.
    #[must_use]
    pub fn version(&self) -> Option<&'a str> {
        self.tlvs().find_map(|tlv| match tlv {
            SslTlv::Version(version) => Some(version),
            _ => None,
        })
    }

    /// The common name in the client's certificate, such as `"example.com"`.
    #[must_use]
    pub fn common_name(&self) -> Option<&'a str> {
        self.tlvs().find_map(|tlv| match tlv {
            SslTlv::CommonName(name) => Some(name),
            _ => None,
        })
    }

    /// The cipher, such as `"ECDHE-RSA-AES128-GCM-SHA256"`.
    #[must_use]
    pub fn cipher(&self) -> Option<&'a str> {
        self.tlvs().find_map(|tlv| match tlv {
            SslTlv::Cipher(cipher) => Some(cipher),
            _ => None,
        })
    }

    /// The signature algorithm of the proxy's certificate, such as `"RSA-SHA256"`.
    #[must_use]
    pub fn signature_algorithm(&self) -> Option<&'a str> {
        self.tlvs().find_map(|tlv| match tlv {
            SslTlv::SignatureAlgorithm(algorithm) => Some(algorithm),
            _ => None,
        })
    }

    /// The key algorithm of the proxy's certificate, such as `"RSA2048"`.
    #[must_use]
    pub fn key_algorithm(&self) -> Option<&'a str> {
        self.tlvs().find_map(|tlv| match tlv {
            SslTlv::KeyAlgorithm(algorithm) => Some(algorithm),
            _ => None,
        })
    }

    /// The value of the TLV in wire format.
    pub(crate) const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// One property of the client's TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SslTlv<'a> {
    /// The version of TLS, in ASCII.
    Version(&'a str),
    /// The common name in the client's certificate.
    CommonName(&'a str),
    /// The cipher, in ASCII.
    Cipher(&'a str),
    /// The signature algorithm of the proxy's certificate, in ASCII.
    SignatureAlgorithm(&'a str),
    /// The key algorithm of the proxy's certificate, in ASCII.
    KeyAlgorithm(&'a str),
    /// A type without a variant in this crate.
    Other {
        /// The type.
        kind: u8,
        /// The value, not validated.
        value: &'a [u8],
    },
}

impl<'a> SslTlv<'a> {
    /// The type in wire format.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            SslTlv::Version(_) => kind::SSL_VERSION,
            SslTlv::CommonName(_) => kind::SSL_COMMON_NAME,
            SslTlv::Cipher(_) => kind::SSL_CIPHER,
            SslTlv::SignatureAlgorithm(_) => kind::SSL_SIGNATURE_ALGORITHM,
            SslTlv::KeyAlgorithm(_) => kind::SSL_KEY_ALGORITHM,
            SslTlv::Other { kind, .. } => *kind,
        }
    }

    fn read(kind: u8, value: &'a [u8]) -> Result<Self, ViolationKind> {
        let text = || ascii(value).ok_or(ViolationKind::SslText);
        Ok(match kind {
            kind::SSL_VERSION => SslTlv::Version(text()?),
            kind::SSL_COMMON_NAME => {
                SslTlv::CommonName(core::str::from_utf8(value).map_err(|_| ViolationKind::SslText)?)
            }
            kind::SSL_CIPHER => SslTlv::Cipher(text()?),
            kind::SSL_SIGNATURE_ALGORITHM => SslTlv::SignatureAlgorithm(text()?),
            kind::SSL_KEY_ALGORITHM => SslTlv::KeyAlgorithm(text()?),
            kind => SslTlv::Other { kind, value },
        })
    }
}

/// The properties of the client's TLS connection, in order.
#[derive(Clone, Debug)]
pub struct SslTlvs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for SslTlvs<'a> {
    type Item = SslTlv<'a>;

    fn next(&mut self) -> Option<SslTlv<'a>> {
        let (kind, value) = take(&mut self.rest)?;
        // All inner TLVs were checked with the TLV around them, so that none is skipped here.
        Some(SslTlv::read(kind, value).unwrap_or(SslTlv::Other { kind, value }))
    }
}

impl FusedIterator for SslTlvs<'_> {}
