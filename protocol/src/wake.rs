//! Futures in the turns of a connection.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use crate::{SendError, Sender};

/// The message that a [`Waking`] sends: a future of the connection can continue.
pub struct Woken(());

impl fmt::Debug for Woken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Woken")
    }
}

/// Lets a protocol poll a future in its own turns, without a task: each wake-up of the future is a message to the connection.
///
/// Poll the future with a [`waker`](Self::waker). When the message arrives in [`posted`](crate::Protocol::posted), call
/// [`heard`](Self::heard), then poll the future again. Several wake-ups before the connection runs are one message. The future runs on
/// the connection's thread, on any driver. A future that needs a runtime, such as one that reads a socket of tokio, needs a driver that
/// runs connections in that runtime.
///
/// If the connection's mailbox is full, the wake-up is lost, and the next one tries again: give each wait a deadline.
///
/// A protocol with messages of its own has a type of messages that [`Woken`] converts into.
///
/// ```
/// use std::task::Context;
/// use protocol::{Cx, Deadline, Input, Protocol, Sender, Waking, Woken};
///
/// struct Later<F> {
///     future: std::pin::Pin<Box<F>>,
///     waking: Waking<Woken>,
/// }
///
/// impl<F: Future<Output = &'static str>> Protocol for Later<F> {
///     type Message = Woken;
///     type Error = std::convert::Infallible;
///
///     fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
///         input.consume(input.len());
///         Ok(())
///     }
///
///     fn posted(&mut self, cx: &mut Cx<'_>, _: Woken) -> Result<(), Self::Error> {
///         self.waking.heard();
///         let waker = self.waking.waker();
///         if let std::task::Poll::Ready(text) = self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
///             cx.send(text.as_bytes());
///             cx.close();
///         }
///         Ok(())
///     }
/// }
/// ```
pub struct Waking<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    sender: Sender<M>,
    /// A message is under way.
    woken: AtomicBool,
}

impl<M: From<Woken> + 'static> Waking<M> {
    /// Wakes the connection, or the stream of one, that `sender` reaches.
    #[must_use]
    pub fn new(sender: Sender<M>) -> Self {
        let woken = AtomicBool::new(false);
        Waking {
            shared: Arc::new(Shared { sender, woken }),
        }
    }

    /// A waker for the future. Clones of one waker are equal ([`Waker::will_wake`]).
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.shared))
    }

    /// The message has arrived: the next wake-up sends another. Call this before the future is polled.
    pub fn heard(&self) {
        self.shared.woken.store(false, Ordering::Release);
    }
}

impl<M> Clone for Waking<M> {
    fn clone(&self) -> Self {
        Waking {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M> fmt::Debug for Waking<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waking").finish_non_exhaustive()
    }
}

impl<M: From<Woken> + 'static> Wake for Shared<M> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(SendError::Full(_)) = self.sender.send(Woken(()).into())
        {
            self.woken.store(false, Ordering::Release);
        }
    }
}
