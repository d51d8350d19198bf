//! How a future that waits has its connection called.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use protocol::{SendError, Sender};

/// What a connection is sent when something that its service waits for has happened.
pub struct Woken(());

impl fmt::Debug for Woken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Woken")
    }
}

/// Wakes a connection, or one of its streams, by a message; several wake-ups before it is called are one message.
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

    /// The message has come: what happens from here on wants another.
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
            // The next wake-up tries again; without one the server's own deadline ends the wait.
            self.woken.store(false, Ordering::Release);
        }
    }
}
