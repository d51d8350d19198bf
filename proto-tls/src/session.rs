//! The result of a handshake.

use core::fmt;

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion};

use crate::engine::Engine;

/// The result of a handshake. The factory that makes the protocol inside borrows it, and copies what it needs.
#[derive(Clone, Copy)]
pub struct Session<'a>(pub(crate) &'a Engine);

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Tls12 => "TLS 1.2",
            Version::Tls13 => "TLS 1.3",
        })
    }
}

impl<'a> Session<'a> {
    /// The version of TLS.
    pub fn version(&self) -> Version {
        match self.0.common().protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => Version::Tls12,
        }
    }

    /// The name of the cipher suite, such as `TLS13_AES_128_GCM_SHA256`.
    pub fn cipher(&self) -> &'static str {
        let suite = self.0.common().negotiated_cipher_suite();
        suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown")
    }

    /// The name of the key exchange group, such as `X25519MLKEM768`; `None` for a resumed session of TLS 1.2.
    pub fn key_exchange(&self) -> Option<&'static str> {
        self.0.common().negotiated_key_exchange_group()?.name().as_str()
    }

    /// The negotiated application protocol (ALPN, RFC 7301), such as `http/1.1`; `None` if the client offered none, or the server has none
    /// configured.
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.0.common().alpn_protocol()
    }

    /// On a server, the name that the client asked for (RFC 6066 section 3), in lower case.
    pub fn server_name(&self) -> Option<&'a str> {
        self.0.server_name()
    }

    /// The peer's certificates in DER, its own first, then its issuers. They were verified. `None` if the peer presented none.
    pub fn peer_certificates(&self) -> Option<&'a [CertificateDer<'static>]> {
        self.0.common().peer_certificates()
    }

    /// Whether an earlier session was resumed, without certificates and signatures (RFC 8446 section 2.2, RFC 5077).
    pub fn is_resumed(&self) -> bool {
        self.0.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("version", &self.version())
            .field("cipher", &self.cipher())
            .field("key_exchange", &self.key_exchange())
            .field("alpn", &self.alpn().map(String::from_utf8_lossy))
            .field("server_name", &self.server_name())
            .field("resumed", &self.is_resumed())
            .finish_non_exhaustive()
    }
}
