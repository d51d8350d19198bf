//! The PROXY protocol as a layer around other protocols, for both roles.

use core::fmt;
use std::boxed::Box;
use std::net::SocketAddr;
use std::string::String;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Vec;

use ipnet::IpNet;
use protocol::driver::PerAddress;
use protocol::{Cx, Input, KeptPeer, Peer, Protocol, Switch, Upgrade, Wrapper};

use crate::{Addresses, Command, Decoder, Header, Rules, Violation};

/// Which proxies to trust, and limits of a header.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The networks of trusted proxies. Connections from elsewhere are refused: a client that may send its own header could choose its
    /// address.
    pub trusted: Vec<IpNet>,
    /// Whether connections without an IP address, such as those over Unix sockets, are trusted. Default false.
    pub trust_unix: bool,
    /// The accepted versions and the limits of a header.
    pub rules: Rules,
    /// Time from the start of the connection to the end of the header. Default 5 s. With `None`, a silent peer holds its connection for
    /// ever.
    pub timeout: Option<Duration>,
    /// The most connections of one client, by the address in the header (for IPv6, by its /64 network), over all threads of the process.
    /// Default `None`: unlimited. The driver's own limit counts the proxies' addresses, so leave that limit off.
    pub max_per_address: Option<usize>,
}

impl Config {
    /// Trusts the proxies in the `trusted` networks.
    pub fn new(trusted: impl IntoIterator<Item = IpNet>) -> Self {
        Config {
            trusted: trusted.into_iter().collect(),
            trust_unix: false,
            rules: Rules::DEFAULT,
            timeout: Some(Duration::from_secs(5)),
            max_per_address: None,
        }
    }

    /// Parses a list of networks and addresses, separated by commas: `10.0.0.0/8,::1`.
    ///
    /// # Errors
    ///
    /// [`NoNetwork`]: the part that is not a network.
    pub fn parse(networks: &str) -> Result<Self, NoNetwork> {
        let read = |part: &str| {
            let network = part
                .parse()
                .ok()
                .or_else(|| Some(IpNet::from(part.parse::<std::net::IpAddr>().ok()?)));
            network.ok_or_else(|| NoNetwork(part.into()))
        };
        Ok(Self::new(
            networks
                .split(',')
                .map(|part| read(part.trim()))
                .collect::<Result<Vec<_>, _>>()?,
        ))
    }

    fn trusts(&self, remote: Option<SocketAddr>) -> bool {
        match remote {
            None => self.trust_unix,
            Some(remote) => {
                let address = remote.ip().to_canonical();
                self.trusted.iter().any(|network| network.contains(&address))
            }
        }
    }

    /// Turns `factory`, which is called for each client, into a factory for a driver, whose peers are proxies. Each connection begins with
    /// a header, and `factory` is called when the header is complete. It sees the client's address as [`Peer::remote`], the address that
    /// the client connected to as [`Peer::local`], and the header with its TLVs. For the proxy's own connections ([`Command::Local`]), and
    /// for headers without addresses, both are the addresses of the connection itself.
    ///
    /// The factory is cloned for each connection; shared counters must be in an `Arc` or the like.
    ///
    /// ```
    /// use proto_proxy::Config;
    /// use protocol::{Cx, Input, Simple};
    ///
    /// let echo = |_: &protocol::Peer<'_, _>, _: &proto_proxy::Header<'_>| {
    ///     Some(Simple(|cx: &mut Cx<'_>, input: &mut Input<'_>| cx.send(input.take_all())))
    /// };
    /// let factory = Config::parse("127.0.0.0/8,::1")?.accept(echo);
    /// // driver_epoll::Server::new().serve("127.0.0.1:7000", factory)
    /// # let _ = factory;
    /// # Ok::<(), proto_proxy::NoNetwork>(())
    /// ```
    pub fn accept<P, F>(self, factory: F) -> impl FnMut(&Peer<'_, P::Message>) -> Option<Proxied<P, F>> + Clone
    where
        P: Protocol<Message: 'static>,
        F: Fn(&Peer<'_, P::Message>, &Header<'_>) -> Option<P> + Clone,
    {
        let shared = Arc::new(Shared {
            limit: self.max_per_address.map(|max| Mutex::new(PerAddress::new(max))),
            tokens: AtomicU64::new(0),
            config: self,
        });
        move |peer: &Peer<'_, P::Message>| {
            let trusted = shared.config.trusts(peer.remote());
            trusted.then(|| Switch::new(Preamble::new(Arc::clone(&shared), peer, factory.clone())))
        }
    }
}

/// A part of a list that is neither a network nor an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoNetwork(pub String);

impl fmt::Display for NoNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither a network such as 10.0.0.0/8 nor an address", self.0)
    }
}

impl core::error::Error for NoNetwork {}

/// The state that all connections of one [`Config::accept`] share.
#[derive(Debug)]
struct Shared {
    config: Config,
    limit: Option<Mutex<PerAddress>>,
    tokens: AtomicU64,
}

/// A connection that begins with a header and then runs the protocol that its factory has made.
pub type Proxied<P, F> = Switch<Preamble<P, F>>;

/// A connection whose header is incomplete.
pub struct Preamble<P: Protocol, F>(Box<State<P, F>>);

struct State<P: Protocol, F> {
    shared: Arc<Shared>,
    decoder: Decoder,
    deadline: Option<Instant>,
    known: KeptPeer<P::Message>,
    factory: F,
    next: Option<Counted<P>>,
}

/// Why a connection has ended before its protocol began. Each error resets the connection, and nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The peer sent something other than a valid header.
    Violation(Violation),
    /// The header was not complete in time.
    Timeout,
    /// The peer ended the connection before its header was complete.
    Ended,
    /// The factory refused the client.
    Refused,
    /// The client has reached [`Config::max_per_address`].
    TooMany,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Violation(violation) => violation.fmt(f),
            Error::Timeout => f.write_str("the PROXY header was not complete in time"),
            Error::Ended => f.write_str("the connection ended during the PROXY header"),
            Error::Refused => f.write_str("the client was refused"),
            Error::TooMany => f.write_str("the client has too many connections"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Error::Violation(violation) => Some(violation),
            _ => None,
        }
    }
}

impl<P, F> Preamble<P, F>
where
    P: Protocol<Message: 'static>,
    F: Fn(&Peer<'_, P::Message>, &Header<'_>) -> Option<P>,
{
    fn new(shared: Arc<Shared>, peer: &Peer<'_, P::Message>, factory: F) -> Self {
        // The peer is kept only until the factory is called: a sender that the factory does not take is dropped with this state.
        let known = peer.keep();
        Preamble(Box::new(State {
            decoder: Decoder::new(shared.config.rules),
            shared,
            deadline: None,
            known,
            factory,
            next: None,
        }))
    }
}

impl<P: Protocol, F> fmt::Debug for Preamble<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preamble")
            .field("remote", &self.0.known.remote)
            .field("decoder", &self.0.decoder)
            .finish_non_exhaustive()
    }
}

impl<P, F> State<P, F>
where
    P: Protocol<Message: 'static>,
    F: Fn(&Peer<'_, P::Message>, &Header<'_>) -> Option<P>,
{
    /// Reads the header. Calls the factory when the header is complete.
    fn read(&mut self, input: &mut Input<'_>) -> Result<(), Error> {
        let bytes = input.as_slice();
        let mut rest = bytes;
        let Some(header) = self.decoder.next(&mut rest).map_err(Error::Violation)? else {
            return Ok(());
        };
        if let (
            Command::Proxy,
            Addresses::Ip {
                source, destination, ..
            },
        ) = (header.command(), header.addresses())
        {
            (self.known.remote, self.known.local) = (Some(*source), Some(*destination));
        } else if let (Command::Proxy, Addresses::Unix { .. }) = (header.command(), header.addresses()) {
            (self.known.remote, self.known.local) = (None, None);
        }
        let slot = self.slot(&header)?;
        let inner = (self.factory)(&Peer::new(&self.known), &header).ok_or(Error::Refused)?;
        let length = bytes.len() - rest.len();
        self.deadline = None;
        self.next = Some(Counted { inner, _slot: slot });
        input.consume(length);
        Ok(())
    }

    /// Counts the client's connection, if clients are limited.
    fn slot(&self, header: &Header<'_>) -> Result<Option<Slot>, Error> {
        let (Some(limit), Some(remote), Command::Proxy) = (&self.shared.limit, self.known.remote, header.command())
        else {
            return Ok(None);
        };
        let token = self.shared.tokens.fetch_add(1, Ordering::Relaxed);
        let admitted = limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(token, remote.ip());
        let shared = Arc::clone(&self.shared);
        admitted.then_some(Some(Slot { shared, token })).ok_or(Error::TooMany)
    }
}

impl<P, F> Protocol for Preamble<P, F>
where
    P: Protocol<Message: 'static>,
    F: Fn(&Peer<'_, P::Message>, &Header<'_>) -> Option<P>,
{
    type Message = P::Message;
    type Error = Error;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        let timeout = self.0.shared.config.timeout;
        self.0.deadline = timeout.and_then(|timeout| cx.now().checked_add(timeout));
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Error> {
        self.0.read(input).inspect_err(|_| cx.abort())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        cx.abort();
        Err(Error::Ended)
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        cx.abort();
        Err(Error::Timeout)
    }
}

impl<P, F> Upgrade for Preamble<P, F>
where
    P: Protocol<Message: 'static>,
    F: Fn(&Peer<'_, P::Message>, &Header<'_>) -> Option<P>,
{
    type Next = Counted<P>;

    fn take_next(&mut self, _: &mut Cx<'_>) -> Result<Option<Counted<P>>, Error> {
        Ok(self.0.next.take())
    }
}

/// The protocol of a client, and the client's slot in the count of its connections.
#[derive(Debug)]
pub struct Counted<P> {
    inner: P,
    /// Released when the connection is dropped.
    _slot: Option<Slot>,
}

impl<P: Protocol> Wrapper for Counted<P> {
    type Inner = P;

    #[inline]
    fn inner(&self) -> &P {
        &self.inner
    }

    #[inline]
    fn inner_mut(&mut self) -> &mut P {
        &mut self.inner
    }
}

#[derive(Debug)]
struct Slot {
    shared: Arc<Shared>,
    token: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(limit) = &self.shared.limit {
            limit.lock().unwrap_or_else(PoisonError::into_inner).release(self.token);
        }
    }
}

/// The proxy's side: a connection that first sends a header, written by [`HeaderWriter`](crate::HeaderWriter) or
/// [`write_v1`](crate::write_v1), and then runs `P`. The header and the first bytes of `P` are sent together.
#[derive(Debug)]
pub struct Announced<P> {
    inner: P,
    header: Box<[u8]>,
}

impl<P: Protocol> Announced<P> {
    /// Sends `header` first.
    pub fn new(header: impl Into<Box<[u8]>>, inner: P) -> Self {
        Announced {
            inner,
            header: header.into(),
        }
    }
}

impl<P: Protocol> Wrapper for Announced<P> {
    type Inner = P;

    fn inner(&self) -> &P {
        &self.inner
    }

    fn inner_mut(&mut self) -> &mut P {
        &mut self.inner
    }

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        cx.send(&core::mem::take(&mut self.header));
        self.inner.connected(cx)
    }
}
