//! Wakes the connection of a waiting future.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use protocol::{SendError, Sender};

/// The message that wakes a connection when its service can continue.
pub struct Woken(());

impl fmt::Debug for Woken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Woken")
    }
}

/// Wakes a connection or one of its streams with a message. Several wake-ups before the connection runs are one message.
pub(crate) struct Waking {
    sender: Sender<Woken>,
    woken: AtomicBool,
}

impl Waking {
    pub(crate) fn new(sender: Sender<Woken>) -> Arc<Self> {
        Arc::new(Waking {
            sender,
            woken: AtomicBool::new(false),
        })
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// The message has arrived: the next wake-up must send another.
    pub(crate) fn heard(&self) {
        self.woken.store(false, Ordering::Release);
    }
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(SendError::Full(_)) = self.sender.send(Woken(()))
        {
            // The mailbox is full: the next wake-up tries again. Without another wake-up, the server's deadline ends the wait.
            self.woken.store(false, Ordering::Release);
        }
    }
}
