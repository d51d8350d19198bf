//! The mailbox of one connection.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use protocol::{Mailbox, SendError};

/// A bounded queue that wakes the connection's task: the [`Mailbox`] of one connection. It exists only while a sender
/// exists.
pub struct Queue<M> {
    state: Mutex<State<M>>,
    capacity: usize,
}

struct State<M> {
    messages: VecDeque<M>,
    waker: Option<Waker>,
    closed: bool,
}

impl<M> Queue<M> {
    /// A queue of at most `capacity` messages; 0 counts as 1.
    pub fn new(capacity: usize) -> Arc<Self> {
        let state = State {
            messages: VecDeque::new(),
            waker: None,
            closed: false,
        };
        Arc::new(Queue {
            state: Mutex::new(state),
            capacity: capacity.max(1),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message. If there is none, the next message that arrives wakes `waker`.
    pub fn poll(&self, waker: &Waker) -> Option<M> {
        let mut state = self.lock();
        let message = state.messages.pop_front();
        if message.is_none() && !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        message
    }

    /// Closes the queue. Returns the number of messages that come too late.
    pub fn close(&self) -> usize {
        let mut state = self.lock();
        state.closed = true;
        let late = (core::mem::take(&mut state.messages), state.waker.take());
        // Dropped without the lock, because a message may hold a sender of this mailbox.
        drop(state);
        late.0.len()
    }
}

impl<M> fmt::Debug for Queue<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl<M: Send> Mailbox<M> for Queue<M> {
    fn send(&self, _token: u64, message: M) -> Result<(), SendError<M>> {
        let mut state = self.lock();
        if state.closed {
            return Err(SendError::Closed(message));
        }
        if state.messages.len() >= self.capacity {
            return Err(SendError::Full(message));
        }
        state.messages.push_back(message);
        // The connection can be asleep only if this is the first message.
        let waker = if state.messages.len() == 1 {
            state.waker.clone()
        } else {
            None
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_closes() {
        let queue = Queue::new(2);
        assert!(queue.send(0, 'a').is_ok());
        assert!(queue.send(0, 'b').is_ok());
        assert_eq!(queue.send(0, 'c'), Err(SendError::Full('c')));
        assert_eq!(queue.poll(Waker::noop()), Some('a'));
        assert_eq!(queue.close(), 1);
        assert_eq!(queue.send(0, 'd'), Err(SendError::Closed('d')));
    }
}
