//! Workers on threads.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use driver_common::Stats;
use driver_common::tasks::Group;
use driver_common::{Config, Connect};
use driver_common::{Listening, Threads, deal};
use protocol::{Limits, Peer, Protocol};
use tokio::runtime::{Builder, LocalOptions};

use crate::handle::{Command, Handle, Remote};
use crate::listener::Listener;
use crate::worker::{Anywhere, Here, Worker};

/// The factory of a worker that accepts nothing.
type NoFactory<P> = fn(&Peer<'_, <P as Protocol>::Message>) -> Option<P>;

/// Sets up workers that serve and connect. Each of the threads runs a runtime of its own; where the system can, with a
/// listening socket of its own (`SO_REUSEPORT`). A connection stays on the thread that accepted it, so protocols need
/// not be `Send`.
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
    /// let server = driver_tokio::Server::new().configure(|config| config.max_connections = 10_000);
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
    /// ([`AddrInUse`](io::ErrorKind::AddrInUse)), or no thread or runtime can be started.
    pub fn serve<P, F>(&self, addresses: impl ToSocketAddrs, factory: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        self.serve_all([Listening::bind(addresses, &self.config, self.threads)?], factory)
    }

    /// Serves a socket that listens already: a Unix socket, one handed over by a predecessor or by a service manager. All
    /// threads accept from it.
    ///
    /// # Errors
    ///
    /// When no thread or runtime can be started.
    #[cfg(unix)]
    pub fn serve_on<P, F>(&self, listener: impl Into<std::os::fd::OwnedFd>, factory: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        self.serve_all([listener.into().into()], factory)
    }

    /// Serves in the runtime this is called in, on any of its threads, for programs that have one already. The number of
    /// [`threads`](Server::threads) is the runtime's affair.
    ///
    /// The future runs until [`Handle::stop`] was called and the last connection has ended, and gives what was counted.
    /// Dropping it stops accepting and forsakes the timers of connections, so keep it running.
    pub fn serve_in_runtime<P, F, L>(
        &self,
        listeners: L,
        factory: F,
    ) -> (Handle<P>, impl Future<Output = Stats> + Send + use<P, F, L>)
    where
        L: IntoIterator<Item: Into<Listener>>,
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static,
    {
        let group = Group::new(self.config.clone());
        let remote = Remote::new(Arc::clone(&group));
        let handle = Handle {
            workers: Arc::new([Arc::clone(&remote)]),
        };
        let listeners = listeners.into_iter().map(Into::into).collect();
        let worker = Worker::<P, F, Anywhere>::new(remote, Some((listeners, factory)));
        (handle, async move {
            worker.run().await;
            group.stats()
        })
    }

    /// Listens on the first of `addresses` that can be bound, for [`serve_all`](Server::serve_all): with the options of this
    /// server, and a socket for each of its threads.
    ///
    /// # Errors
    ///
    /// As [`serve`](Server::serve).
    pub fn listen(&self, addresses: impl ToSocketAddrs) -> io::Result<Listening> {
        Listening::bind(addresses, &self.config, self.threads)
    }

    /// Serves in several places with one factory, which can tell them apart by [`Peer::local`]. Each thread accepts in all
    /// of them.
    ///
    /// ```
    /// # use protocol::{Cx, Input, Protocol};
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     type Message = std::convert::Infallible;
    /// #     type Error = std::convert::Infallible;
    /// #     fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
    /// #         cx.send(input.take_all());
    /// #         Ok(())
    /// #     }
    /// # }
    /// let server = driver_tokio::Server::new().threads(2);
    /// let places = [server.listen("127.0.0.1:0")?, server.listen("127.0.0.2:0")?];
    /// let server = server.serve_all(places, |_| Some(Echo))?;
    /// assert_eq!(server.local_addrs().len(), 2);
    /// server.stop(std::time::Duration::ZERO)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a socket does not listen, or no thread or runtime can be started.
    pub fn serve_all<P, F>(&self, places: impl IntoIterator<Item = Listening>, factory: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let (addresses, dealt) = deal(places, self.threads)?;
        let workers = dealt.into_iter().map(|sockets| {
            let factory = factory.clone();
            move |remote: Arc<Remote<P>>| {
                let listeners: io::Result<_> = sockets.into_iter().map(Listener::new).collect();
                Ok(Worker::new(remote, Some((listeners?, factory))))
            }
        });
        self.start(addresses, workers)
    }

    /// Opens one connection in the background, to an address or as [`Connect`] says, on one thread that ends with it. More
    /// can be opened by the handle.
    ///
    /// # Errors
    ///
    /// When no thread or runtime can be started. How the connect went the protocol is told.
    pub fn connect<P, F>(&self, to: impl Into<Connect>, make: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        let to = to.into();
        let setup = move |remote: Arc<Remote<P>>| {
            remote.command(Command::Connect(to, Box::new(make)));
            Ok(Worker::new(remote, None::<(Vec<Listener>, NoFactory<P>)>))
        };
        self.start(Vec::new(), [setup].into_iter())
    }

    /// Runs a protocol, in the background, on a stream socket that is connected already, on one thread that ends with it. See
    /// [`Handle::adopt`].
    ///
    /// # Errors
    ///
    /// When no thread or runtime can be started.
    #[cfg(unix)]
    pub fn adopt<P, F>(&self, socket: impl Into<std::os::fd::OwnedFd>, make: F) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        let socket = socket.into();
        let setup = move |remote: Arc<Remote<P>>| {
            remote.command(Command::Adopt(socket, Box::new(make)));
            Ok(Worker::new(remote, None::<(Vec<Listener>, NoFactory<P>)>))
        };
        self.start(Vec::new(), [setup].into_iter())
    }

    fn start<P, F, S>(&self, addresses: Vec<SocketAddr>, setups: impl Iterator<Item = S>) -> io::Result<Running<P>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + 'static,
        S: FnOnce(Arc<Remote<P>>) -> io::Result<Worker<P, F, Here>> + Send + 'static,
    {
        let mut threads = Threads::new("tokio", &self.config.cpus);
        let mut workers: Vec<Arc<Remote<P>>> = Vec::new();
        for setup in setups {
            let remote = Remote::new(Group::new(self.config.clone()));
            let theirs = Arc::clone(&remote);
            let started = threads.start(move |ready| {
                driver_common::runs_here(&theirs);
                let group = Arc::clone(&theirs.group);
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default())?;
                let entered = runtime.enter();
                let worker = setup(theirs)?;
                drop(entered);
                ready.tell(());
                runtime.block_on(worker.run());
                Ok(group.stats())
            });
            if let Err(error) = started {
                Handle {
                    workers: workers.into(),
                }
                .stop(Duration::ZERO);
                return Err(error);
            }
            workers.push(remote);
        }
        Ok(Running {
            addresses,
            handle: Handle {
                workers: workers.into(),
            },
            threads,
        })
    }
}

/// Workers that run in the background. Dropping it leaves them running.
#[derive(Debug)]
pub struct Running<P: Protocol> {
    addresses: Vec<SocketAddr>,
    handle: Handle<P>,
    threads: Threads,
}

impl<P: Protocol> Running<P> {
    /// Where the server listens, with the port that was chosen for port 0, and first where in several places; `None` for a
    /// client, and where there is no such address (a Unix socket).
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// All addresses where the server listens, in the order in which they were given. Unix sockets have none.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
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

    /// Waits until all workers have ended, and tells what they counted.
    ///
    /// # Errors
    ///
    /// When a worker's thread has panicked.
    pub fn join(self) -> io::Result<Stats> {
        self.threads.join()
    }
}
