//! Threads of a driver that run, and how other threads reach them.

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

    /// Waits until all threads have ended, and tells what they counted.
    ///
    /// # Errors
    ///
    /// When the kernel made a thread fail, or one has panicked.
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

/// Reaches one thread of a driver, or all threads of a server, from any thread.
pub struct Handle<P: Protocol, B: Backend> {
    workers: Arc<[Member<B::Worker<P>>]>,
}

/// A thread of the driver, and which it is, where it is one that the driver has started.
type Member<W> = (Arc<W>, Option<ThreadId>);

impl<P: Protocol, B: Backend> Handle<P, B> {
    /// Reaches this worker, which is not on a thread of its own.
    pub fn new(worker: Arc<B::Worker<P>>) -> Self {
        Self::of(vec![(worker, None)])
    }

    pub(super) fn of(workers: Vec<Member<B::Worker<P>>>) -> Self {
        Handle {
            workers: workers.into(),
        }
    }

    /// Opens a connection, to an address or as [`Connect`] says: on the thread that calls this if it is one of the driver's,
    /// so that what a connection opens for itself wakes no other thread; else on the first. The protocol is told how it went:
    /// `connected`, or `closed` with the reason. False when the thread has ended, or far too many connections wait to be
    /// opened.
    pub fn connect(
        &self,
        to: impl Into<Connect>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    ) -> bool {
        self.open(Command::Connect(to.into(), Box::new(make)))
    }

    /// Runs a protocol on a stream socket that is connected already: one of a pair, one that was accepted or handed over
    /// elsewhere. On the thread that [`connect`](Handle::connect) takes. False when the thread has ended, or far too many
    /// connections wait to be opened.
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

    /// Stops accepting, asks every protocol to [`stop`](Protocol::stop), and resets what is left after `drain`. Returns
    /// at once; the threads end when their connections have.
    pub fn stop(&self, drain: Duration) {
        for (worker, _) in self.workers.iter() {
            worker.command(Command::Stop(drain));
        }
    }

    /// What all threads have counted, as of their last turn.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for (worker, _) in self.workers.iter() {
            sum += worker.stats();
        }
        sum
    }

    /// What each thread has counted, as of its last turn: shows how evenly connections are spread.
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
