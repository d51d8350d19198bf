//! A decoded header.

use core::net::SocketAddr;

use crate::{Addresses, Rules, Ssl, Tlv, Tlvs, Violation};

/// The version of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text (proxy-protocol.txt section 2.1).
    V1,
    /// The binary form (proxy-protocol.txt section 2.2).
    V2,
}

/// Whose connection a header describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// The proxy's own connection, such as a health check: use the endpoints of the connection itself.
    Local,
    /// A client's connection, whose endpoints the header contains. Every version 1 header has this command.
    Proxy,
}

/// A complete, valid header. Borrows the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub(crate) version: Version,
    pub(crate) command: Command,
    pub(crate) addresses: Addresses,
    pub(crate) tlvs: &'a [u8],
    pub(crate) bytes: &'a [u8],
}

impl<'a> Header<'a> {
    /// Parses a header at the start of `input`. Returns the header and its length in bytes, or `None` if more bytes are needed.
    ///
    /// Each call starts over; a [`Decoder`](crate::Decoder) continues where it stopped.
    ///
    /// # Errors
    ///
    /// [`Violation`] as soon as a byte cannot be part of a valid header, or a limit is exceeded.
    pub fn parse(input: &'a [u8], rules: &Rules) -> Result<Option<(Self, usize)>, Violation> {
        let mut rest = input;
        let header = crate::Decoder::new(*rules).next(&mut rest)?;
        Ok(header.map(|header| (header, header.bytes.len())))
    }

    /// The version of the header.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whose connection the header describes.
    #[must_use]
    pub const fn command(&self) -> Command {
        self.command
    }

    /// The endpoints of the client's connection.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The client's address. `None` if the header has no IP address: for LOCAL, `UNKNOWN`, UNSPEC and Unix sockets. Except for Unix
    /// sockets, use the address of the connection itself then.
    #[must_use]
    pub const fn source(&self) -> Option<SocketAddr> {
        self.addresses.source()
    }

    /// The address that the client connected to, if it is an IP address.
    #[must_use]
    pub const fn destination(&self) -> Option<SocketAddr> {
        self.addresses.destination()
    }

    /// The bytes of the header, for a proxy that passes the header on unchanged.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The TLVs, in order. Version 1 and LOCAL have none (the block of a LOCAL command is ignored, proxy-protocol.txt section 2.2).
    #[must_use]
    pub const fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.tlvs)
    }

    /// The negotiated application protocol, such as `b"h2"` (section 2.2.1).
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

    /// The identifier of the connection along a chain of proxies, up to 128 bytes (section 2.2.5).
    #[must_use]
    pub fn unique_id(&self) -> Option<&'a [u8]> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::UniqueId(id) => Some(id),
            _ => None,
        })
    }

    /// The properties of the client's TLS connection (section 2.2.6).
    #[must_use]
    pub fn ssl(&self) -> Option<Ssl<'a>> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Ssl(ssl) => Some(ssl),
            _ => None,
        })
    }

    /// The network namespace in which the proxy received the client's connection (section 2.2.7).
    #[must_use]
    pub fn netns(&self) -> Option<&'a str> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Netns(name) => Some(name),
            _ => None,
        })
    }

    /// The value of the first TLV of `kind` without a variant in this crate, such as a cloud provider's (section 2.2.8).
    #[must_use]
    pub fn other(&self, kind: u8) -> Option<&'a [u8]> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Other { kind: of, value } if of == kind => Some(value),
            _ => None,
        })
    }
}
