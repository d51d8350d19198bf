//! Servers and clients, the same on every driver.

mod backend;
mod running;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use protocol::{Limits, Peer, Protocol};

pub use self::backend::{Backend, Command, Make, Work, Worker};
pub use self::running::{Handle, Running};
use crate::{Config, Connect, Listening, Threads, deal};

/// The factory of a thread that accepts nothing.
type NoFactory<P> = fn(&Peer<'_, <P as Protocol>::Message>) -> Option<P>;

/// Sets up the threads of a driver to serve and connect. Where the system supports it, each thread has its own listening
/// socket (`SO_REUSEPORT`). A connection stays on the thread that accepted it, so protocols need not be `Send`.
#[derive(Debug, Clone)]
pub struct Server<B> {
    backend: B,
    config: Config,
    threads: usize,
}

impl<B: Default> Default for Server<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Default> Server<B> {
    /// One thread, default limits.
    pub fn new() -> Self {
        Self::on(B::default())
    }
}

impl<B> Server<B> {
    /// One thread of the driver `backend`, default limits.
    pub fn on(backend: B) -> Self {
        Server {
            backend,
            config: Config::default(),
            threads: 1,
        }
    }

    /// Number of threads that serve; 0 counts as 1.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The limits of each connection.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Changes any other setting: `server.configure(|config| config.max_connections = 10_000)`.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Listens on the first of `addresses` that can be bound, for [`serve_all`](Server::serve_all), with the options of this
    /// server and one socket for each of its threads.
    ///
    /// # Errors
    ///
    /// As [`serve`](Server::serve).
    pub fn listen(&self, addresses: impl ToSocketAddrs) -> io::Result<Listening> {
        Listening::bind(addresses, &self.config, self.threads)
    }
}

impl<B: Backend> Server<B> {
    /// Listens on the first of `addresses` that can be bound, and serves in the background. For each connection `factory`
    /// makes a protocol, or refuses the connection by returning `None`. Each thread has a clone of `factory`.
    ///
    /// # Errors
    ///
    /// When no address can be bound, for instance because another program listens there already
    /// ([`AddrInUse`](io::ErrorKind::AddrInUse)), or no thread can be started.
    pub fn serve<P, F>(&self, addresses: impl ToSocketAddrs, factory: F) -> io::Result<Running<P, B>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        self.serve_all([self.listen(addresses)?], factory)
    }

    /// Serves a socket that already listens: a Unix socket, or a socket handed over by a predecessor or by a service
    /// manager. All threads accept from it.
    ///
    /// # Errors
    ///
    /// When the socket does not listen, or no thread can be started.
    #[cfg(unix)]
    pub fn serve_on<P, F>(&self, listener: impl Into<std::os::fd::OwnedFd>, factory: F) -> io::Result<Running<P, B>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        self.serve_all([listener.into().into()], factory)
    }

    /// Serves on several addresses with one factory, which can distinguish them by [`Peer::local`]. Each thread accepts on
    /// all of them:
    ///
    /// ```ignore
    /// let places = [server.listen("127.0.0.1:80")?, server.listen("127.0.0.2:80")?];
    /// let running = server.serve_all(places, |peer| Some(MyProtocol::new(peer)))?;
    /// ```
    ///
    /// # Errors
    ///
    /// When a socket does not listen, or no thread can be started.
    pub fn serve_all<P, F>(&self, places: impl IntoIterator<Item = Listening>, factory: F) -> io::Result<Running<P, B>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let (addresses, dealt) = deal(places, self.threads)?;
        let works = dealt.into_iter().map(|sockets| Work::Accept {
            sockets,
            factory: factory.clone(),
        });
        self.start(addresses, works)
    }

    /// Opens one connection in the background, on one thread that ends with the connection. `to` is an address or a
    /// [`Connect`]. The handle can open further connections.
    ///
    /// # Errors
    ///
    /// When no thread can be started. A failed connect is reported to the protocol instead.
    pub fn connect<P, F>(&self, to: impl Into<Connect>, make: F) -> io::Result<Running<P, B>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        self.open(Command::Connect(to.into(), Box::new(make)))
    }

    /// Runs a protocol, in the background, on a stream socket that is already connected, on one thread that ends with the
    /// connection. See [`Handle::adopt`].
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    #[cfg(unix)]
    pub fn adopt<P, F>(&self, socket: impl Into<std::os::fd::OwnedFd>, make: F) -> io::Result<Running<P, B>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        self.open(Command::Adopt(socket.into(), Box::new(make)))
    }

    fn open<P>(&self, command: Command<P>) -> io::Result<Running<P, B>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
    {
        let work: Work<P, NoFactory<P>> = Work::Open(command);
        self.start(Vec::new(), [work].into_iter())
    }

    fn start<P, F>(
        &self,
        addresses: Vec<SocketAddr>,
        works: impl Iterator<Item = Work<P, F>>,
    ) -> io::Result<Running<P, B>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let mut threads = Threads::new(self.backend.name(), &self.config.cpus);
        let mut workers = Vec::new();
        for work in works {
            match self.backend.start(&mut threads, self.config.clone(), work) {
                Ok(worker) => workers.push((worker, threads.last())),
                Err(error) => {
                    Handle::<P, B>::of(workers).stop(Duration::ZERO);
                    return Err(error);
                }
            }
        }
        Ok(Running::new(addresses, Handle::of(workers), threads))
    }
}
