//! How other threads reach a loop.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use driver_common::Connect;
use driver_common::{Stats, nearest};
use protocol::{Mailbox, Peer, Protocol, SendError};

use crate::queue::Queue;

/// Makes the protocol of a connection that this side opens.
pub(crate) type Opening<P> = Box<dyn FnOnce(&Peer<'_, <P as Protocol>::Message>) -> P + Send>;

/// What other threads may want of a loop.
pub(crate) enum Mail<P: Protocol> {
    /// A message for the connection of that key.
    Message(u64, P::Message),
    Connect(Box<(Connect, Opening<P>)>),
    Adopt(Box<(OwnedFd, Opening<P>)>),
    Stop(Duration),
}

/// A loop, seen from other threads.
pub(crate) struct Shared<P: Protocol> {
    pub(crate) queue: Arc<Queue<Mail<P>>>,
    stats: Mutex<Stats>,
}

impl<P: Protocol> Shared<P> {
    pub(crate) fn new(capacity: usize) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Shared {
            queue: Queue::new(capacity)?,
            stats: Mutex::default(),
        }))
    }

    /// Publishes what was counted.
    pub(crate) fn publish(&self, stats: Stats) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when the loop is gone, or far too much waits for it.
    pub(crate) fn post(&self, mail: Mail<P>) -> bool {
        self.queue.push(mail).is_ok()
    }
}

impl<P: Protocol> Mailbox<P::Message> for Shared<P>
where
    P::Message: Send,
{
    fn send(&self, token: u64, message: P::Message) -> Result<(), SendError<P::Message>> {
        match self.queue.push(Mail::Message(token, message)) {
            Err(SendError::Full(Mail::Message(_, message))) => Err(SendError::Full(message)),
            Err(SendError::Closed(Mail::Message(_, message))) => Err(SendError::Closed(message)),
            _ => Ok(()),
        }
    }
}

/// Reaches one loop, or all loops of a server, from any thread.
pub struct Handle<P: Protocol> {
    pub(crate) loops: Arc<[Arc<Shared<P>>]>,
}

impl<P: Protocol> Handle<P> {
    /// Opens a connection, to an address or as [`Connect`] says, on the loop that runs on this thread, else on the first. The protocol is told how it went:
    /// `connected`, or `closed` with the reason. False when the loop is gone.
    pub fn connect(
        &self,
        to: impl Into<Connect>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    ) -> bool {
        let to = to.into();
        nearest(&self.loops).is_some_and(|looped| looped.post(Mail::Connect(Box::new((to, Box::new(make))))))
    }

    /// Runs a protocol on a stream socket that is connected already: one of a pair, one that was accepted or handed over elsewhere.
    /// On the loop that [`connect`](Handle::connect) takes. False when the loop is gone.
    pub fn adopt(
        &self,
        socket: impl Into<OwnedFd>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    ) -> bool {
        let socket = socket.into();
        nearest(&self.loops).is_some_and(|looped| looped.post(Mail::Adopt(Box::new((socket, Box::new(make))))))
    }

    /// Stops accepting, asks every protocol to [`stop`](Protocol::stop), and resets what is left after `drain`. Returns
    /// at once; the loops end when their connections have.
    pub fn stop(&self, drain: Duration) {
        for shared in self.loops.iter() {
            // It fails only when the loop has ended.
            let _ = shared.queue.push_over(Mail::Stop(drain));
        }
    }

    /// What all loops have counted, as of their last turn.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for shared in self.loops.iter() {
            sum += shared.stats();
        }
        sum
    }

    /// What each loop has counted, as of its last turn: shows how evenly connections are spread.
    pub fn stats_by_loop(&self) -> Vec<Stats> {
        self.loops.iter().map(|shared| shared.stats()).collect()
    }
}

impl<P: Protocol> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Handle {
            loops: Arc::clone(&self.loops),
        }
    }
}

impl<P: Protocol> fmt::Debug for Handle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("loops", &self.loops.len()).finish()
    }
}
