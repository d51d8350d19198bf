//! Settings of one connection that a program opens.

use std::net::SocketAddr;

/// The address to connect to, and the options of the connection. An address converts into a `Connect` with the defaults.
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
    /// The local address. Default: the system's choice. With port 0 the system chooses the port; on Linux it does so at the
    /// time of the connect (`IP_BIND_ADDRESS_NO_PORT`), so one local address has its 28,000 ports towards each peer, not
    /// towards all peers together. With a fixed port, no second connection to the same peer is possible while the first is
    /// in `TIME_WAIT`.
    pub local: Option<SocketAddr>,
    /// `TCP_FASTOPEN_CONNECT` (Linux): the first output travels in the SYN, if this peer has accepted that before (RFC
    /// 7413). `connected` is then called before the peer has answered; the first read, not
    /// [`connect_timeout`](super::Config::connect_timeout), shows whether the peer is there. Default off: the bytes may
    /// arrive twice, and a client that waits for the server to speak first never connects.
    pub fast_open: bool,
}

impl Connect {
    /// Connects to `to`, with the defaults for all other settings.
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
