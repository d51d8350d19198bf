//! The endpoints in a header.

use core::fmt;
use core::net::SocketAddr;

use crate::Misuse;

/// Whether the client's connection was a stream or datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `SOCK_STREAM`: TCP, or a Unix stream socket.
    Stream,
    /// `SOCK_DGRAM`: UDP, or a Unix datagram socket.
    Datagram,
}

/// The endpoints of the client's connection to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// The header has no addresses: `UNKNOWN` in version 1, UNSPEC in version 2, and every LOCAL command. Use the endpoints of the
    /// connection itself.
    Unspecified,
    /// TCP or UDP over IP. Both addresses belong to the same family. A header has no flow information and no scope: both are 0 when read,
    /// and omitted when written.
    Ip {
        /// TCP or UDP.
        transport: Transport,
        /// The client.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
    /// A Unix socket.
    Unix {
        /// A stream or a datagram socket.
        transport: Transport,
        /// The client.
        source: UnixAddress,
        /// The address that the client connected to.
        destination: UnixAddress,
    },
}

impl Addresses {
    /// A TCP connection from `source` to `destination`.
    #[must_use]
    pub const fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        Self::Ip {
            transport: Transport::Stream,
            source,
            destination,
        }
    }

    /// UDP datagrams from `source` to `destination`.
    #[must_use]
    pub const fn udp(source: SocketAddr, destination: SocketAddr) -> Self {
        Self::Ip {
            transport: Transport::Datagram,
            source,
            destination,
        }
    }

    /// The client's address, if it is an IP address.
    #[must_use]
    pub const fn source(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip { source, .. } => Some(*source),
            Self::Unspecified | Self::Unix { .. } => None,
        }
    }

    /// The address that the client connected to, if it is an IP address.
    #[must_use]
    pub const fn destination(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip { destination, .. } => Some(*destination),
            Self::Unspecified | Self::Unix { .. } => None,
        }
    }
}

/// The address of a Unix socket: the 108 bytes of `sun_path`, padded with NUL.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnixAddress([u8; UnixAddress::LENGTH]);

impl UnixAddress {
    /// Bytes of an address, including the padding.
    pub const LENGTH: usize = 108;

    /// The address of a socket without a name, as most clients have it.
    pub const UNNAMED: Self = Self([0; Self::LENGTH]);

    /// An address that begins with these bytes: a path, or a NUL followed by an abstract name.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnixAddressTooLong`] for more than 108 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, Misuse> {
        let mut padded = [0; Self::LENGTH];
        padded
            .get_mut(..bytes.len())
            .ok_or(Misuse::UnixAddressTooLong)?
            .copy_from_slice(bytes);
        Ok(Self(padded))
    }

    pub(crate) const fn from_padded(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// All 108 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The path in the file system, up to the first NUL; `None` for an abstract or unnamed socket.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        let path = self.0.split(|&byte| byte == 0).next()?;
        (!path.is_empty()).then_some(path)
    }

    /// The abstract name, without the leading NUL; `None` for a path or an unnamed socket. A header does not contain the length of the
    /// name, so trailing NULs are taken for padding.
    #[must_use]
    pub fn abstract_name(&self) -> Option<&[u8]> {
        let [0, rest @ ..] = &self.0[..] else { return None };
        let end = rest.iter().rposition(|&byte| byte != 0)?;
        rest.get(..=end)
    }
}

impl fmt::Debug for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path(), self.abstract_name()) {
            (Some(path), _) => write!(f, "UnixAddress(\"{}\")", path.escape_ascii()),
            (_, Some(name)) => write!(f, "UnixAddress(\"\\0{}\")", name.escape_ascii()),
            _ => f.write_str("UnixAddress(unnamed)"),
        }
    }
}
