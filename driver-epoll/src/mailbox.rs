//! How other threads communicate with a loop.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use driver_common::{Command, Found, Stats, Worker};
use protocol::{Mailbox, Protocol, SendError};

use crate::queue::Queue;

/// A request of another thread.
pub(crate) enum Mail<P: Protocol> {
    /// A message for the connection with this key.
    Message(u64, P::Message),
    /// Boxed, because messages are many and should stay small.
    Command(Box<Command<P>>),
    /// A result of the look-up of the race with this number.
    Found(u32, Found),
}

/// An event loop, as other threads see it.
pub struct Shared<P: Protocol> {
    pub(crate) queue: Arc<Queue<Mail<P>>>,
    stats: Mutex<Stats>,
    /// The connection that is called now, or [`NOBODY`].
    called: AtomicU64,
    /// Whether a message went to the connection that was called then.
    to_called: AtomicBool,
}

/// No key has its highest bit.
const NOBODY: u64 = u64::MAX;

impl<P: Protocol> Shared<P> {
    pub(crate) fn new(capacity: usize) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Shared {
            queue: Queue::new(capacity)?,
            stats: Mutex::default(),
            called: NOBODY.into(),
            to_called: AtomicBool::default(),
        }))
    }

    /// To be called before the connection `key` is called.
    #[inline]
    pub(crate) fn calls(&self, key: u64) {
        self.called.store(key, Ordering::Relaxed);
    }

    /// To be called after the call. Returns whether a message went to that connection meanwhile: as a rule its own message.
    #[inline]
    pub(crate) fn has_called(&self) -> bool {
        self.called.store(NOBODY, Ordering::Relaxed);
        self.to_called.load(Ordering::Relaxed) && self.to_called.swap(false, Ordering::Relaxed)
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
        if self.called.load(Ordering::Relaxed) == token {
            self.to_called.store(true, Ordering::Relaxed);
        }
        match self.queue.push(Mail::Message(token, message)) {
            Err(SendError::Full(Mail::Message(_, message))) => Err(SendError::Full(message)),
            Err(SendError::Closed(Mail::Message(_, message))) => Err(SendError::Closed(message)),
            _ => Ok(()),
        }
    }
}
