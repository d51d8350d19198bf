#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

/// The project's front page, whose program must compile.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../../README.md")]
struct FrontPage;

#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod handover;
#[cfg(target_os = "linux")]
mod prefork;
#[cfg(unix)]
mod signals;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

pub use driver_common::{Config, Connect, Keepalive, SocketOptions, Stats};
pub use driver_tokio::{Listening, allowed_cpus, listen};
use protocol::{Endpoint, Limits, Peer, Protocol, Reason};

#[cfg(target_os = "linux")]
pub use crate::handover::{Taken, offer_sockets, take_over};
#[cfg(target_os = "linux")]
pub use crate::prefork::{Parent, Prefork, Role, Stopper};
#[cfg(unix)]
pub use crate::signals::Signals;

/// Which driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Driver {
    /// Raw epoll, one loop per thread.
    #[cfg(target_os = "linux")]
    Epoll,
    /// The tokio runtime, one per thread.
    Tokio,
}

impl Driver {
    /// Every driver of this platform.
    pub const ALL: &[Driver] = &[
        #[cfg(target_os = "linux")]
        Driver::Epoll,
        Driver::Tokio,
    ];

    /// Its name, as the flag has it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_os = "linux")]
            Driver::Epoll => "epoll",
            Driver::Tokio => "tokio",
        }
    }
}

impl Default for Driver {
    /// The fastest of this platform.
    fn default() -> Self {
        Driver::ALL.first().copied().unwrap_or(Driver::Tokio)
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no driver's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownDriver(String);

impl fmt::Display for UnknownDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no driver is called {:?} here; there is", self.0)?;
        for (i, driver) in Driver::ALL.iter().enumerate() {
            write!(f, "{} {driver}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownDriver {}

impl FromStr for Driver {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Driver::ALL.iter().copied().find(|driver| driver.name() == name);
        known.ok_or_else(|| UnknownDriver(name.to_owned()))
    }
}

/// Sets up a server or client on either driver; see `driver_epoll::Server` and `driver_tokio::Server`.
#[derive(Debug, Clone)]
pub struct Server(ServerKind);

#[derive(Debug, Clone)]
enum ServerKind {
    #[cfg(target_os = "linux")]
    Epoll(driver_epoll::Server),
    Tokio(driver_tokio::Server),
}

/// Does the same on whichever driver it is.
macro_rules! on_either {
    ($kind:expr, $wrap:ident, $it:ident => $body:expr) => {
        match $kind {
            #[cfg(target_os = "linux")]
            $wrap::Epoll($it) => $body,
            $wrap::Tokio($it) => $body,
        }
    };
}

/// Does the same on whichever driver it is, and wraps the outcome again.
macro_rules! wrap_either {
    ($kind:expr, $from:ident => $to:ident, $it:ident => $body:expr) => {
        match $kind {
            #[cfg(target_os = "linux")]
            $from::Epoll($it) => $to::Epoll($body),
            $from::Tokio($it) => $to::Tokio($body),
        }
    };
}

impl Server {
    /// One thread, default limits.
    pub fn new(driver: Driver) -> Self {
        Server(match driver {
            #[cfg(target_os = "linux")]
            Driver::Epoll => ServerKind::Epoll(driver_epoll::Server::new()),
            Driver::Tokio => ServerKind::Tokio(driver_tokio::Server::new()),
        })
    }

    /// How many threads serve; 0 counts as 1.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Server(wrap_either!(self.0, ServerKind => ServerKind, server => server.threads(threads)))
    }

    /// The bounds of each connection.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Server(wrap_either!(self.0, ServerKind => ServerKind, server => server.limits(limits)))
    }

    /// Changes any other setting.
    #[must_use]
    pub fn configure(self, change: impl FnOnce(&mut Config)) -> Self {
        Server(wrap_either!(self.0, ServerKind => ServerKind, server => server.configure(change)))
    }

    /// Listens and serves in the background.
    ///
    /// # Errors
    ///
    /// When no address can be bound or no thread can be started.
    pub fn serve<P, F>(&self, addresses: impl ToSocketAddrs, factory: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        Ok(Running(
            wrap_either!(&self.0, ServerKind => RunningKind, server => server.serve(addresses, factory)?),
        ))
    }

    /// Serves, in the background, a socket that listens already.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    #[cfg(unix)]
    pub fn serve_on<P, F>(&self, listener: impl Into<std::os::fd::OwnedFd>, factory: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        Ok(Running(
            wrap_either!(&self.0, ServerKind => RunningKind, server => server.serve_on(listener, factory)?),
        ))
    }

    /// Listens on the first of `addresses` that can be bound, for [`serve_all`](Server::serve_all).
    ///
    /// # Errors
    ///
    /// When no address can be bound.
    pub fn listen(&self, addresses: impl ToSocketAddrs) -> io::Result<Listening> {
        on_either!(&self.0, ServerKind, server => server.listen(addresses))
    }

    /// Serves in several places with one factory, in the background.
    ///
    /// # Errors
    ///
    /// When a socket does not listen, or no thread can be started.
    pub fn serve_all<P, F>(&self, places: impl IntoIterator<Item = Listening>, factory: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        Ok(Running(
            wrap_either!(&self.0, ServerKind => RunningKind, server => server.serve_all(places, factory)?),
        ))
    }

    /// Opens one connection in the background.
    ///
    /// # Errors
    ///
    /// When no thread can be started. How the connect went the protocol is told.
    pub fn connect<P, F>(&self, to: impl Into<Connect>, make: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        Ok(Running(
            wrap_either!(&self.0, ServerKind => RunningKind, server => server.connect(to, make)?),
        ))
    }
}

/// Sockets that are connected already.
#[cfg(unix)]
impl Server {
    /// Runs a protocol, in the background, on a stream socket that is connected already.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn adopt<P, F>(&self, socket: impl Into<std::os::fd::OwnedFd>, make: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        Ok(Running(
            wrap_either!(&self.0, ServerKind => RunningKind, server => server.adopt(socket, make)?),
        ))
    }
}

/// Runs the endpoint that `make` makes on `socket`, on this thread, until it closes or fails.
///
/// # Errors
///
/// When the socket's options cannot be set, or there is nothing to wait with.
pub fn serve_datagrams<E>(
    driver: Driver,
    socket: UdpSocket,
    make: impl FnOnce(&Peer<'_, E::Message>) -> E,
) -> io::Result<Reason>
where
    E: Endpoint,
    E::Message: Send + 'static,
{
    match driver {
        #[cfg(target_os = "linux")]
        Driver::Epoll => driver_epoll::serve_datagrams(socket, make),
        Driver::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                socket.set_nonblocking(true)?;
                driver_tokio::serve_datagrams(tokio::net::UdpSocket::from_std(socket)?, make).await
            })
        }
    }
}

/// A server or client that runs in the background.
#[derive(Debug)]
pub struct Running<P: Protocol>(RunningKind<P>);

#[derive(Debug)]
enum RunningKind<P: Protocol> {
    #[cfg(target_os = "linux")]
    Epoll(driver_epoll::Running<P>),
    Tokio(driver_tokio::Running<P>),
}

impl<P: Protocol> Running<P> {
    /// Where the server listens; `None` for a client.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        on_either!(&self.0, RunningKind, running => running.local_addr())
    }

    /// All addresses where the server listens, in the order in which they were given. Unix sockets have none.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        on_either!(&self.0, RunningKind, running => running.local_addrs())
    }

    /// A handle for other threads.
    pub fn handle(&self) -> Handle<P> {
        Handle(wrap_either!(&self.0, RunningKind => HandleKind, running => running.handle()))
    }

    /// Stops gracefully and waits for the end.
    ///
    /// # Errors
    ///
    /// When a thread failed.
    pub fn stop(self, drain: Duration) -> io::Result<Stats> {
        on_either!(self.0, RunningKind, running => running.stop(drain))
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// When a thread failed.
    pub fn join(self) -> io::Result<Stats> {
        on_either!(self.0, RunningKind, running => running.join())
    }

    /// Waits for SIGINT or SIGTERM, then stops gracefully. Returns early when all threads end by themselves. A signal that
    /// comes before this is called ends the program: see [`Signals`].
    ///
    /// # Errors
    ///
    /// When the signals cannot be caught or a thread failed.
    #[cfg(unix)]
    pub fn until_signal(self, drain: Duration) -> io::Result<Stats>
    where
        P: 'static,
        P::Message: Send,
    {
        self.until(Signals::catch()?, drain)
    }

    /// Waits for a signal, then stops gracefully. Returns early when all threads end by themselves.
    ///
    /// # Errors
    ///
    /// When a thread failed, or none can be started to wait.
    #[cfg(unix)]
    pub fn until(self, signals: Signals, drain: Duration) -> io::Result<Stats>
    where
        P: 'static,
        P::Message: Send,
    {
        self.until_told(signals, drain, || {})
    }

    /// As [`until`](Running::until); calls `told` for each signal that comes, before anything is stopped: to say so.
    ///
    /// # Errors
    ///
    /// As [`until`](Running::until).
    #[cfg(unix)]
    pub fn until_told(
        self,
        signals: Signals,
        drain: Duration,
        mut told: impl FnMut() + Send + 'static,
    ) -> io::Result<Stats>
    where
        P: 'static,
        P::Message: Send,
    {
        let Signals(mut signals) = signals;
        let closer = signals.handle();
        let handle = self.handle();
        let watcher = std::thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                told();
                handle.stop(drain);
            }
        })?;
        let outcome = self.join();
        closer.close();
        let _ = watcher.join();
        outcome
    }
}

/// Reaches a server or client from any thread.
#[derive(Debug)]
pub struct Handle<P: Protocol>(HandleKind<P>);

#[derive(Debug)]
enum HandleKind<P: Protocol> {
    #[cfg(target_os = "linux")]
    Epoll(driver_epoll::Handle<P>),
    Tokio(driver_tokio::Handle<P>),
}

impl<P: Protocol> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Handle(wrap_either!(&self.0, HandleKind => HandleKind, handle => handle.clone()))
    }
}

impl<P: Protocol> Handle<P> {
    /// Opens a connection, on the thread of this call if it is one of the driver's, else on the first; false when the driver has ended.
    pub fn connect(
        &self,
        to: impl Into<Connect>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    ) -> bool {
        on_either!(&self.0, HandleKind, handle => handle.connect(to, make))
    }

    /// Runs a protocol on a stream socket that is connected already, on the thread that [`connect`](Handle::connect) takes; false when
    /// the driver has ended.
    #[cfg(unix)]
    pub fn adopt(
        &self,
        socket: impl Into<std::os::fd::OwnedFd>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    ) -> bool {
        on_either!(&self.0, HandleKind, handle => handle.adopt(socket, make))
    }

    /// Stops accepting, asks every protocol to stop, and resets what is left after `drain`. Returns at once.
    pub fn stop(&self, drain: Duration) {
        on_either!(&self.0, HandleKind, handle => handle.stop(drain));
    }

    /// What all threads have counted.
    pub fn stats(&self) -> Stats {
        on_either!(&self.0, HandleKind, handle => handle.stats())
    }

    /// What each thread has counted.
    pub fn stats_by_loop(&self) -> Vec<Stats> {
        on_either!(&self.0, HandleKind, handle => handle.stats_by_loop())
    }
}
