//! Settings of one connection that a program opens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::resolve::{Answer, Resolve, SystemResolver};

/// The peer to connect to, and the options of the connection. An address, or a name with a port, converts into a `Connect`
/// with the defaults.
///
/// A name is looked up away from the thread that connects, and its addresses race against each other
/// ([`Eyeballs`](crate::Eyeballs)). If the name has no address, or none of its addresses answers, the protocol's `closed` is
/// called, with [`NotFound`](std::io::ErrorKind::NotFound) or with the failure of the last address.
///
/// ```
/// use driver_common::{Connect, Place};
///
/// let to: std::net::SocketAddr = "192.0.2.1:80".parse().unwrap();
/// let connect = Connect::new(to).local("192.0.2.77:0".parse().unwrap());
/// assert_ne!(connect, to.into());
/// let by_name = Connect::new(("example.org", 443));
/// assert_eq!(by_name.to, Place::Name("example.org".into(), 443));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connect {
    /// The peer.
    pub to: Place,
    /// The local address. Default: the system's choice. With port 0 the system chooses the port; on Linux it does so at the
    /// time of the connect (`IP_BIND_ADDRESS_NO_PORT`), so one local address has its 28,000 ports towards each peer, not
    /// towards all peers together. With a fixed port, no second connection to the same peer is possible while the first is
    /// in `TIME_WAIT`. Of a name, only the addresses of the same family are tried.
    pub local: Option<SocketAddr>,
    /// `TCP_FASTOPEN_CONNECT` (Linux): the first output travels in the SYN, if this peer has accepted that before (RFC
    /// 7413). `connected` is then called before the peer has answered; the first read, not
    /// [`connect_timeout`](super::Config::connect_timeout), shows whether the peer is there. Default off: the bytes may
    /// arrive twice, and a client that waits for the server to speak first never connects. Addresses of a name cannot race
    /// with this option: the first one wins.
    pub fast_open: bool,
    /// Looks up a name. Default: the system ([`SystemResolver`](crate::SystemResolver)).
    pub resolver: Option<Resolver>,
    /// How long the look-up of a name may take. Default: as long as the whole attempt.
    pub resolve_timeout: Option<Duration>,
    /// How long the whole attempt may take, with the look-up. Default: [`connect_timeout`](super::Config::connect_timeout).
    pub timeout: Option<Duration>,
}

/// Where to connect: an address, or a name with a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// An address.
    Address(SocketAddr),
    /// A name to look up, and a port.
    Name(Arc<str>, u16),
}

impl Place {
    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Place::Address(address) => address.port(),
            Place::Name(_, port) => *port,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Address(address) => address.fmt(f),
            Place::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Place::Address(address)
    }
}

/// A host and a port. A host that is an IP address, with or without the brackets of a URL, is not looked up.
impl From<(&str, u16)> for Place {
    fn from((host, port): (&str, u16)) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(host).parse::<IpAddr>() {
            Ok(address) => Place::Address((address, port).into()),
            Err(_) => Place::Name(host.into(), port),
        }
    }
}

/// A [`Resolve`] that connections share.
#[derive(Clone)]
pub struct Resolver(pub Arc<dyn Resolve>);

impl PartialEq for Resolver {
    /// Whether both are the same resolver.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Resolver {}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver(..)")
    }
}

impl Connect {
    /// Connects to an address, or to a name and a port, with the defaults for all other settings.
    pub fn new(to: impl Into<Place>) -> Self {
        Connect {
            to: to.into(),
            local: None,
            fast_open: false,
            resolver: None,
            resolve_timeout: None,
            timeout: None,
        }
    }

    /// Starts to look up `name` by the resolver of this connection: for drivers. A resolver that panics has failed.
    pub fn look_up(&self, name: &str, answer: Answer) {
        // A panic drops the answer, which tells of the failure; the hook has reported the panic.
        let _ = catch_unwind(AssertUnwindSafe(|| match &self.resolver {
            Some(Resolver(resolver)) => resolver.resolve(name, answer),
            None => SystemResolver.resolve(name, answer),
        }));
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

    /// Sets [`resolver`](Connect::resolver).
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = Some(Resolver(resolver));
        self
    }

    /// Sets [`resolve_timeout`](Connect::resolve_timeout).
    #[must_use]
    pub fn resolve_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.resolve_timeout = timeout;
        self
    }

    /// Sets [`timeout`](Connect::timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<T: Into<Place>> From<T> for Connect {
    fn from(to: T) -> Self {
        Connect::new(to)
    }
}
