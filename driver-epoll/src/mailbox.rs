//! How other threads reach a loop.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::{Mailbox, Peer, Protocol, SendError, Stats};
use rustix::event::{EventfdFlags, eventfd};

/// Makes the protocol of a connection that this side opens.
pub(crate) type Opening<P> = Box<dyn FnOnce(&Peer<'_, <P as Protocol>::Message>) -> P + Send>;

/// What other threads may ask of a loop.
pub(crate) enum Command<P: Protocol> {
    Connect(SocketAddr, Opening<P>),
    Stop(Duration),
}

/// A queue that wakes the loop only when it sleeps.
pub(crate) struct Shared<P: Protocol> {
    queue: Mutex<Queue<P>>,
    capacity: usize,
    wake: OwnedFd,
}

struct Queue<P: Protocol> {
    messages: VecDeque<(u64, P::Message)>,
    commands: Vec<Command<P>>,
    stats: Stats,
    /// Whether the loop waits, or is about to, and must be woken.
    sleeping: bool,
    closed: bool,
}

impl<P: Protocol> Shared<P> {
    pub(crate) fn new(capacity: usize) -> io::Result<Arc<Self>> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let queue = Queue {
            messages: VecDeque::new(),
            commands: Vec::new(),
            stats: Stats::default(),
            sleeping: false,
            closed: false,
        };
        Ok(Arc::new(Shared {
            queue: Mutex::new(queue),
            capacity,
            wake,
        }))
    }

    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn lock(&self) -> MutexGuard<'_, Queue<P>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by the loop before it waits: false when something is queued already.
    pub(crate) fn may_sleep(&self, stats: Stats) -> bool {
        let mut queue = self.lock();
        queue.stats = stats;
        queue.sleeping = queue.messages.is_empty() && queue.commands.is_empty();
        queue.sleeping
    }

    /// Called by the loop when it is awake: moves what is queued into its own lists.
    pub(crate) fn drain(&self, messages: &mut VecDeque<(u64, P::Message)>, commands: &mut Vec<Command<P>>) {
        let mut queue = self.lock();
        queue.sleeping = false;
        if messages.is_empty() {
            core::mem::swap(&mut queue.messages, messages);
        }
        core::mem::swap(&mut queue.commands, commands);
    }

    /// Clears the wake-up.
    pub(crate) fn clear_wake(&self) {
        // The count does not matter, and a read that finds none is no error here.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    /// Takes nothing any more.
    pub(crate) fn close(&self, stats: Stats) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.stats = stats;
        let left = (
            core::mem::take(&mut queue.messages),
            core::mem::take(&mut queue.commands),
        );
        drop(queue);
        // Dropped without the lock: a message may hold a sender of this very mailbox.
        drop(left);
    }

    fn push<T>(
        &self,
        item: T,
        add: impl FnOnce(&mut Queue<P>, T) -> Result<(), SendError<T>>,
    ) -> Result<(), SendError<T>> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(SendError::Closed(item));
        }
        add(&mut queue, item)?;
        let wake = core::mem::take(&mut queue.sleeping);
        drop(queue);
        if wake {
            // The only failure is a full counter, which wakes as well.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
        Ok(())
    }

    pub(crate) fn command(&self, command: Command<P>) -> bool {
        let added = self.push(command, |queue, command| {
            if queue.commands.len() >= self.capacity {
                return Err(SendError::Full(command));
            }
            queue.commands.push(command);
            Ok(())
        });
        added.is_ok()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lock().stats
    }
}

impl<P: Protocol> Mailbox<P::Message> for Shared<P>
where
    P::Message: Send,
{
    fn send(&self, token: u64, message: P::Message) -> Result<(), SendError<P::Message>> {
        self.push(message, |queue, message| {
            if queue.messages.len() >= self.capacity {
                return Err(SendError::Full(message));
            }
            queue.messages.push_back((token, message));
            Ok(())
        })
    }
}

/// Reaches one loop, or all loops of a server, from any thread.
pub struct Handle<P: Protocol> {
    pub(crate) loops: Arc<[Arc<Shared<P>>]>,
}

impl<P: Protocol> Handle<P> {
    /// Opens a connection on the first loop. The protocol is told how it went: `connected`, or `closed` with the reason.
    /// False when the loop is gone.
    pub fn connect(&self, to: SocketAddr, make: impl FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static) -> bool {
        self.loops
            .first()
            .is_some_and(|first| first.command(Command::Connect(to, Box::new(make))))
    }

    /// Stops accepting, asks every protocol to [`stop`](Protocol::stop), and resets what is left after `drain`. Returns
    /// at once; the loops end when their connections have.
    pub fn stop(&self, drain: Duration) {
        for shared in self.loops.iter() {
            shared.command(Command::Stop(drain));
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
