//! How other threads reach the loop: messages to connections, and the order to stop.

use std::cell::OnceCell;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;
use std::{io, mem};

use driver_common::tasks::Queue;
use protocol::{Mailbox, PeerSource, Sender};
use rustix::event::{EventfdFlags, eventfd};

/// What other threads have left for the loop.
#[derive(Default)]
pub(crate) struct Mail {
    /// Connections with new messages.
    pub(crate) connections: Vec<u64>,
    pub(crate) stop: Option<Duration>,
}

/// The state that the loop shares with other threads.
pub(crate) struct Shared {
    mail: Mutex<Mail>,
    /// Whether the loop must be woken to see mail.
    asleep: AtomicBool,
    event: OwnedFd,
}

impl Shared {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Shared {
            mail: Mutex::default(),
            asleep: AtomicBool::new(false),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn leave(&self, change: impl FnOnce(&mut Mail)) {
        change(&mut self.lock());
        if self.asleep.swap(false, Ordering::AcqRel) {
            // Fails only if the counter is full, and then the loop is being woken.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// Takes the mail, when the loop is awake.
    pub(crate) fn take(&self) -> Mail {
        self.asleep.store(false, Ordering::Release);
        mem::take(&mut self.lock())
    }

    /// Whether there is no mail, so that the loop may sleep; from now on mail wakes it.
    pub(crate) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Release);
        let mail = self.lock();
        mail.connections.is_empty() && mail.stop.is_none()
    }

    /// Readable when there is mail.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(crate) fn clear_event(&self) {
        let _ = rustix::io::read(&self.event, &mut [0_u8; 8]);
    }
}

/// Wakes the loop for one connection.
struct Bell {
    shared: Arc<Shared>,
    token: u64,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.shared.leave(|mail| mail.connections.push(self.token));
    }
}

/// The mailbox of a connection, and how its messages wake the loop.
pub(crate) struct Letters<M> {
    pub(crate) queue: Arc<Queue<M>>,
    pub(crate) waker: Waker,
}

impl<M> Letters<M> {
    pub(crate) fn new(queue: Arc<Queue<M>>, shared: &Arc<Shared>, token: u64) -> Self {
        let shared = Arc::clone(shared);
        Letters {
            queue,
            waker: Arc::new(Bell { shared, token }).into(),
        }
    }
}

/// What a factory may ask about a connection.
pub(crate) struct Source<'a, M> {
    pub(crate) remote: SocketAddr,
    pub(crate) stream: &'a TcpStream,
    pub(crate) capacity: usize,
    /// Created when the factory asks for a sender.
    pub(crate) queue: OnceCell<Arc<Queue<M>>>,
}

impl<M: Send + 'static> PeerSource<M> for Source<'_, M> {
    fn remote(&self) -> Option<SocketAddr> {
        Some(self.remote)
    }

    fn local(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    fn sender(&self) -> Sender<M> {
        let queue = Arc::clone(self.queue.get_or_init(|| Queue::new(self.capacity)));
        Sender::new(queue as Arc<dyn Mailbox<M>>, 0)
    }
}
