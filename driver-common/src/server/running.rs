//! Running threads of a driver, and the handle by which other threads control them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use protocol::{Peer, Protocol};

use super::{Backend, Command, Worker};
use crate::{Connect, Stats, Threads};

/// A server or client that runs in the background. Dropping this leaves it running.
pub struct Running<P: Protocol, B: Backend> {
    addresses: Vec<SocketAddr>,
    handle: Handle<P, B>,
    threads: Threads,
}

impl<P: Protocol, B: Backend> Running<P, B> {
    pub(super) fn new(addresses: Vec<SocketAddr>, handle: Handle<P, B>, threads: Threads) -> Self {
        Running {
            addresses,
            handle,
            threads,
        }
    }

    /// The first address where the server listens, with the port that the system chose for port 0. `None` for a client, and
    /// if there is no such address (a Unix socket).
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// All addresses where the server listens, in the order of the call. Unix sockets have no address.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A handle for other threads.
    pub fn handle(&self) -> Handle<P, B> {
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

    /// Waits until all threads have ended, and returns their counters.
    ///
    /// # Errors
    ///
    /// When the kernel made a thread fail, or a thread panicked.
    pub fn join(self) -> io::Result<Stats> {
        self.threads.join()
    }
}

impl<P: Protocol, B: Backend> fmt::Debug for Running<P, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("addresses", &self.addresses)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// Controls one thread of a driver, or all threads of a server, from any thread.
pub struct Handle<P: Protocol, B: Backend> {
    workers: Arc<[Member<B::Worker<P>>]>,
}

/// A thread of the driver, with its id if the driver has started it.
type Member<W> = (Arc<W>, Option<ThreadId>);

impl<P: Protocol, B: Backend> Handle<P, B> {
    /// A handle for this worker, which has no thread of its own.
    pub fn new(worker: Arc<B::Worker<P>>) -> Self {
        Self::of(vec![(worker, None)])
    }

    pub(super) fn of(workers: Vec<Member<B::Worker<P>>>) -> Self {
        Handle {
            workers: workers.into(),
        }
    }

    /// Opens a connection to an address or a [`Connect`]. If the calling thread is one of the driver's, the connection is
    /// opened on that thread, so a connection that opens another wakes no other thread; otherwise it is opened on the first
    /// thread. The protocol is told the result: `connected`, or `closed` with the reason. Returns false if the thread has
    /// ended, or far too many connections wait to be opened.
    pub fn connect(
        &self,
        to: impl Into<Connect>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    ) -> bool {
        self.open(Command::Connect(to.into(), Box::new(make)))
    }

    /// Runs a protocol on a stream socket that is already connected: one of a pair, or one that was accepted or handed over
    /// elsewhere. The thread is chosen as in [`connect`](Handle::connect). Returns false if the thread has ended, or far too
    /// many connections wait to be opened.
    #[cfg(unix)]
    pub fn adopt(
        &self,
        socket: impl Into<std::os::fd::OwnedFd>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    ) -> bool {
        self.open(Command::Adopt(socket.into(), Box::new(make)))
    }

    fn open(&self, command: Command<P>) -> bool {
        let here = thread::current().id();
        let nearest = self.workers.iter().find(|(_, thread)| *thread == Some(here));
        nearest
            .or(self.workers.first())
            .is_some_and(|(worker, _)| worker.command(command))
    }

    /// Stops accepting, asks every protocol to [`stop`](Protocol::stop), and resets the connections that are left after
    /// `drain`. Returns at once; the threads end when their connections have ended.
    pub fn stop(&self, drain: Duration) {
        for (worker, _) in self.workers.iter() {
            worker.command(Command::Stop(drain));
        }
    }

    /// The counters of all threads, as of their last turn.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for (worker, _) in self.workers.iter() {
            sum += worker.stats();
        }
        sum
    }

    /// The counters of each thread, as of its last turn: they show how evenly connections are spread.
    pub fn stats_by_thread(&self) -> Vec<Stats> {
        self.workers.iter().map(|(worker, _)| worker.stats()).collect()
    }
}

impl<P: Protocol, B: Backend> Clone for Handle<P, B> {
    fn clone(&self) -> Self {
        Handle {
            workers: Arc::clone(&self.workers),
        }
    }
}

impl<P: Protocol, B: Backend> fmt::Debug for Handle<P, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("threads", &self.workers.len()).finish()
    }
}
