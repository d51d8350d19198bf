//! Loops on threads.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use protocol::{Limits, Peer, Protocol, Stats};

use crate::event_loop::Loop;
use crate::listener;
use crate::mailbox::{Handle, Mail};
use crate::socket;
use protocol::driver::Config;

/// Sets up loops that serve and connect. Each of the threads runs a loop with a listening socket of its own
/// (`SO_REUSEPORT`); a connection stays on the thread that accepted it.
#[derive(Debug, Clone)]
pub struct Server {
    config: Config,
    threads: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// One thread, default limits.
    pub fn new() -> Self {
        Server {
            config: Config::default(),
            threads: 1,
        }
    }

    /// How many threads serve; 0 counts as 1.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The bounds of each connection.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Changes any other setting.
    ///
    /// ```
    /// let server = driver_epoll::Server::new().configure(|config| config.max_connections = 10_000);
    /// ```
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Listens on the first of `addresses` that can be bound and serves in the background. For each connection `factory`
    /// makes a protocol, or refuses it with `None`; each thread has a clone of it.
    ///
    /// # Errors
    ///
    /// When no address can be bound, for instance because somebody listens there already
    /// ([`AddrInUse`](io::ErrorKind::AddrInUse)), or no thread can be started.
    pub fn serve<P, F>(&self, addresses: impl ToSocketAddrs, factory: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let (address, listeners) = self.bind(addresses)?;
        self.serve_each(Some(address), listeners, factory)
    }

    /// Serves a socket that listens already: a Unix socket, one handed over by a predecessor or by a service manager. All
    /// threads accept from it.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn serve_on<P, F>(&self, listener: impl Into<OwnedFd>, factory: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let mut listeners = vec![listener.into()];
        for _ in 1..self.threads {
            listeners.push(listeners[0].try_clone()?);
        }
        self.serve_each(socket::local_address(&listeners[0]), listeners, factory)
    }

    fn serve_each<P, F>(
        &self,
        address: Option<SocketAddr>,
        listeners: Vec<OwnedFd>,
        factory: F,
    ) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let loops = listeners.into_iter().map(|listener| {
            let factory = factory.clone();
            move |looped: &mut Loop<P>| looped.listen(listener, factory)
        });
        self.start(address, loops)
    }

    /// Opens one connection in the background, on one thread that ends with it. More can be opened by the handle.
    ///
    /// # Errors
    ///
    /// When no thread can be started. How the connect went the protocol is told.
    pub fn connect<P, F>(&self, to: SocketAddr, make: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        let setup = move |looped: &mut Loop<P>| {
            looped.shared().post(Mail::Connect(Box::new((to, Box::new(make)))));
            Ok(())
        };
        self.start(None, [setup].into_iter())
    }

    fn start<P, S>(&self, address: Option<SocketAddr>, setups: impl Iterator<Item = S>) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        S: FnOnce(&mut Loop<P>) -> io::Result<()> + Send + 'static,
    {
        let mut running = Running {
            address,
            handle: Handle { loops: Arc::new([]) },
            threads: Vec::new(),
        };
        let mut loops = Vec::new();
        for setup in setups {
            let config = self.config.clone();
            let (tell, told) = std::sync::mpsc::channel();
            // The loop is made on its thread, since protocols and factories need not be able to leave it.
            let body = move || -> io::Result<Stats> {
                let made = Loop::new(config).and_then(|mut looped| setup(&mut looped).map(|()| looped));
                let mut looped = match made {
                    Ok(looped) => looped,
                    Err(error) => {
                        let _ = tell.send(Err(error));
                        return Ok(Stats::default());
                    }
                };
                let _ = tell.send(Ok(looped.shared()));
                looped.run()?;
                Ok(looped.stats())
            };
            running
                .threads
                .push(thread::Builder::new().name("epoll".into()).spawn(body)?);
            let made = told
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("the loop's thread has ended")));
            match made {
                Ok(shared) => loops.push(shared),
                Err(error) => {
                    running.handle.loops = loops.into();
                    running.handle.stop(Duration::ZERO);
                    return Err(error);
                }
            }
        }
        running.handle.loops = loops.into();
        Ok(running)
    }

    fn bind(&self, addresses: impl ToSocketAddrs) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for address in addresses.to_socket_addrs()? {
            match self.bind_one(address) {
                Ok(bound) => return Ok(bound),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn bind_one(&self, address: SocketAddr) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
        let options = &self.config.socket;
        let share = options.share_port || self.threads > 1;
        if share && !options.share_port {
            // Sharing among our own threads must not join somebody else's server unnoticed.
            listener::probe(address)?;
        }
        let first = listener::listen(address, options, share)?;
        let bound = socket::local_address(&first).unwrap_or(address);
        let mut listeners = vec![first];
        for _ in 1..self.threads {
            listeners.push(listener::listen(bound, options, share)?);
        }
        Ok((bound, listeners))
    }
}

/// Loops that run in the background. Dropping it leaves them running.
#[derive(Debug)]
pub struct Running<P: Protocol> {
    address: Option<SocketAddr>,
    handle: Handle<P>,
    threads: Vec<JoinHandle<io::Result<Stats>>>,
}

impl<P: Protocol> Running<P> {
    /// Where the server listens, with the port that was chosen for port 0; `None` for a client.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// A handle for other threads.
    pub fn handle(&self) -> Handle<P> {
        self.handle.clone()
    }

    /// Stops gracefully, see [`Handle::stop`], and waits for the end.
    ///
    /// # Errors
    ///
    /// See [`join`](Running::join).
    pub fn stop(self, drain: Duration) -> io::Result<Stats> {
        self.handle.stop(drain);
        self.join()
    }

    /// Waits until all loops have ended, and tells what they counted.
    ///
    /// # Errors
    ///
    /// When the kernel made a loop fail.
    pub fn join(self) -> io::Result<Stats> {
        let mut sum = Stats::default();
        for thread in self.threads {
            sum += thread
                .join()
                .map_err(|_| io::Error::other("a loop's thread has panicked"))??;
        }
        Ok(sum)
    }
}
