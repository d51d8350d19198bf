//! How other threads communicate with a loop.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use driver_common::{Command, Stats, Worker};
use protocol::{Mailbox, Protocol, SendError};

use crate::queue::Queue;

/// A request of another thread.
pub(crate) enum Mail<P: Protocol> {
    /// A message for the connection with this key.
    Message(u64, P::Message),
    /// Boxed, because messages are many and should stay small.
    Command(Box<Command<P>>),
}

/// An event loop, as other threads see it.
pub struct Shared<P: Protocol> {
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

    /// Publishes the counters.
    pub(crate) fn publish(&self, stats: Stats) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

impl<P: Protocol> Worker<P> for Shared<P> {
    fn command(&self, command: Command<P>) -> bool {
        let stops = matches!(command, Command::Stop(_));
        let mail = Mail::Command(Box::new(command));
        if stops {
            self.queue.push_over(mail).is_ok()
        } else {
            self.queue.push(mail).is_ok()
        }
    }

    fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Protocol> fmt::Debug for Shared<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
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
