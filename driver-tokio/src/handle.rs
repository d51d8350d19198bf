//! How other threads reach the workers.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use driver_common::Connect;
use driver_common::tasks::Group;
use driver_common::{Stats, nearest};
use protocol::{Peer, Protocol};

/// Makes the protocol of a connection that this side opens.
pub(crate) type Opening<P> = Box<dyn FnOnce(&Peer<'_, <P as Protocol>::Message>) -> P + Send>;

/// What other threads may ask of a worker.
pub(crate) enum Command<P: Protocol> {
    Connect(Connect, Opening<P>),
    #[cfg(unix)]
    Adopt(std::os::fd::OwnedFd, Opening<P>),
    Stop(Duration),
}

/// A worker, seen from other threads.
pub(crate) struct Remote<P: Protocol> {
    pub(crate) group: Arc<Group>,
    /// `None` once the worker has ended.
    commands: Mutex<Option<Vec<Command<P>>>>,
}

impl<P: Protocol> Remote<P> {
    pub(crate) fn new(group: Arc<Group>) -> Arc<Self> {
        Arc::new(Remote {
            group,
            commands: Mutex::new(Some(Vec::new())),
        })
    }

    /// Queues a command; false when the worker has ended or far too many wait. To stop is never too many.
    pub(crate) fn command(&self, command: Command<P>) -> bool {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let room = match command {
            Command::Stop(_) => usize::MAX,
            _ => self.group.config.max_connections.max(1),
        };
        let Some(queue) = commands.as_mut().filter(|queue| queue.len() < room) else {
            return false;
        };
        queue.push(command);
        drop(commands);
        self.group.wake();
        true
    }

    pub(crate) fn take(&self) -> Vec<Command<P>> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Takes no commands any more; false when one is still queued.
    pub(crate) fn close(&self) -> bool {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = commands.as_ref().is_none_or(Vec::is_empty);
        if empty {
            *commands = None;
        }
        empty
    }
}

/// Reaches one worker, or all workers of a server, from any thread.
pub struct Handle<P: Protocol> {
    pub(crate) workers: Arc<[Arc<Remote<P>>]>,
}

impl<P: Protocol> Handle<P> {
    /// Opens a connection, to an address or as [`Connect`] says, on the worker that runs on this thread, else on the first. The protocol is told how it went:
    /// `connected`, or `closed` with the reason. False when the worker is gone.
    pub fn connect(
        &self,
        to: impl Into<Connect>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    ) -> bool {
        let to = to.into();
        nearest(&self.workers).is_some_and(|worker| worker.command(Command::Connect(to, Box::new(make))))
    }

    /// Runs a protocol on a stream socket that is connected already: one of a pair, one that was accepted or handed over elsewhere.
    /// On the worker that [`connect`](Handle::connect) takes. False when the worker is gone.
    #[cfg(unix)]
    pub fn adopt(
        &self,
        socket: impl Into<std::os::fd::OwnedFd>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    ) -> bool {
        let socket = socket.into();
        nearest(&self.workers).is_some_and(|worker| worker.command(Command::Adopt(socket, Box::new(make))))
    }

    /// Stops accepting, asks every protocol to [`stop`](Protocol::stop), and resets what is left after `drain`. Returns
    /// at once; the workers end when their connections have.
    pub fn stop(&self, drain: Duration) {
        for worker in self.workers.iter() {
            worker.command(Command::Stop(drain));
        }
    }

    /// What all workers have counted.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for worker in self.workers.iter() {
            sum += worker.group.stats();
        }
        sum
    }

    /// What each worker has counted: shows how evenly connections are spread.
    pub fn stats_by_loop(&self) -> Vec<Stats> {
        self.workers.iter().map(|worker| worker.group.stats()).collect()
    }
}

impl<P: Protocol> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Handle {
            workers: Arc::clone(&self.workers),
        }
    }
}

impl<P: Protocol> fmt::Debug for Handle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("workers", &self.workers.len()).finish()
    }
}
