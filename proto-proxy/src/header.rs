//! A header that was read.

use core::net::SocketAddr;

use crate::{Addresses, Rules, Ssl, Tlv, Tlvs, Violation};

/// The version of the protocol that a header is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text (proxy-protocol.txt section 2.1).
    V1,
    /// The binary form (proxy-protocol.txt section 2.2).
    V2,
}

/// On whose behalf the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// The proxy's own, for a health check: use the endpoints of the connection itself.
    Local,
    /// That of a client, whose endpoints the header names. Every header of version 1 is one of these.
    Proxy,
}

/// A whole header, checked, over the bytes that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub(crate) version: Version,
    pub(crate) command: Command,
    pub(crate) addresses: Addresses,
    pub(crate) tlvs: &'a [u8],
    pub(crate) bytes: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads a header from the start of `input`: the header and its length in bytes, or `None` where more bytes are needed.
    ///
    /// Each call reads from the start; a [`Decoder`](crate::Decoder) goes on where it stopped.
    ///
    /// # Errors
    ///
    /// [`Violation`] as soon as a byte cannot be part of a valid header, or a limit is passed.
    pub fn parse(input: &'a [u8], rules: &Rules) -> Result<Option<(Self, usize)>, Violation> {
        let mut rest = input;
        let header = crate::Decoder::new(*rules).next(&mut rest)?;
        Ok(header.map(|header| (header, header.bytes.len())))
    }

    /// The version of the protocol.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// On whose behalf the connection was made.
    #[must_use]
    pub const fn command(&self) -> Command {
        self.command
    }

    /// The endpoints of the client's connection.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The client's address. `None` where the header names none of IP: LOCAL, `UNKNOWN`, UNSPEC and Unix sockets. For all of
    /// these but the last, use the address of the connection itself.
    #[must_use]
    pub const fn source(&self) -> Option<SocketAddr> {
        self.addresses.source()
    }

    /// The address that the client connected to, if the header names one of IP.
    #[must_use]
    pub const fn destination(&self) -> Option<SocketAddr> {
        self.addresses.destination()
    }

    /// The header as it was received, for a proxy that passes it on unchanged.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Everything else that the header says, in order. Version 1 and LOCAL have none (what is behind a LOCAL command is
    /// discarded, proxy-protocol.txt section 2.2).
    #[must_use]
    pub const fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.tlvs)
    }

    /// The application protocol that was negotiated, such as `b"h2"` (section 2.2.1).
    #[must_use]
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Alpn(protocol) => Some(protocol),
            _ => None,
        })
    }

    /// The host name that the client asked for, by TLS server name or otherwise (section 2.2.2).
    #[must_use]
    pub fn authority(&self) -> Option<&'a str> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Authority(name) => Some(name),
            _ => None,
        })
    }

    /// What identifies the connection in all proxies that it goes through, up to 128 bytes (section 2.2.5).
    #[must_use]
    pub fn unique_id(&self) -> Option<&'a [u8]> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::UniqueId(id) => Some(id),
            _ => None,
        })
    }

    /// What the proxy says of the client's TLS (section 2.2.6).
    #[must_use]
    pub fn ssl(&self) -> Option<Ssl<'a>> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Ssl(ssl) => Some(ssl),
            _ => None,
        })
    }

    /// The network namespace of the client's connection at the proxy (section 2.2.7).
    #[must_use]
    pub fn netns(&self) -> Option<&'a str> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Netns(name) => Some(name),
            _ => None,
        })
    }

    /// The value of the first TLV of `kind` that this crate has no variant for, such as a cloud's (section 2.2.8).
    #[must_use]
    pub fn other(&self, kind: u8) -> Option<&'a [u8]> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Other { kind: of, value } if of == kind => Some(value),
            _ => None,
        })
    }
}
