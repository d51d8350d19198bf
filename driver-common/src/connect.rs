//! What a program may choose about a connection that it opens.

use std::net::SocketAddr;

/// Where to connect to, and how. Made from an address where nothing else is to be said.
///
/// ```
/// use driver_common::Connect;
///
/// let to = "192.0.2.1:80".parse().unwrap();
/// let connect = Connect::new(to).local("192.0.2.77:0".parse().unwrap());
/// assert_ne!(connect, to.into());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connect {
    /// The peer.
    pub to: SocketAddr,
    /// The own address. Default the system's choice. Port 0 has the system choose the port, on Linux when it connects
    /// (`IP_BIND_ADDRESS_NO_PORT`): one address then has its 28,000 ports towards each peer, not towards all together.
    /// With a port of one's own no second connection to the same peer is possible while the first is in `TIME_WAIT`.
    pub local: Option<SocketAddr>,
    /// `TCP_FASTOPEN_CONNECT` (Linux): what is sent first travels in the SYN, if this peer has answered so before
    /// (RFC 7413). `connected` is then called before the peer was asked, and whether it is there the first read tells, not
    /// [`connect_timeout`](super::Config::connect_timeout). Default off: the bytes may arrive twice, and a client that
    /// waits for the server to speak first never connects.
    pub fast_open: bool,
}

impl Connect {
    /// Connects to `to`, the rest as the system has it.
    pub fn new(to: SocketAddr) -> Self {
        Connect {
            to,
            local: None,
            fast_open: false,
        }
    }

    /// Sets [`local`](Connect::local).
    #[must_use]
    pub fn local(mut self, address: SocketAddr) -> Self {
        self.local = Some(address);
        self
    }

    /// Sets [`fast_open`](Connect::fast_open).
    #[must_use]
    pub fn fast_open(mut self) -> Self {
        self.fast_open = true;
        self
    }
}

impl From<SocketAddr> for Connect {
    fn from(to: SocketAddr) -> Self {
        Connect::new(to)
    }
}
