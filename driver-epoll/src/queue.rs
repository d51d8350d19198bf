//! A bounded queue from other threads, which wakes its loop only when the loop sleeps.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::{Mailbox, SendError};
use rustix::event::{EventfdFlags, eventfd};

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    capacity: usize,
    wake: OwnedFd,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Whether the loop waits, or is about to wait, and must be woken.
    sleeping: bool,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> io::Result<Arc<Self>> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let state = State {
            items: VecDeque::new(),
            sleeping: false,
            closed: false,
        };
        Ok(Arc::new(Queue {
            state: Mutex::new(state),
            capacity,
            wake,
        }))
    }

    /// Readable once the loop is woken.
    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by the loop before it waits. Returns false if something is queued.
    pub(crate) fn may_sleep(&self) -> bool {
        let mut state = self.lock();
        state.sleeping = state.items.is_empty();
        state.sleeping
    }

    /// Called by the loop once it is awake: moves queued items into `items`, if `items` is empty.
    pub(crate) fn drain(&self, items: &mut VecDeque<T>) {
        let mut state = self.lock();
        state.sleeping = false;
        if items.is_empty() {
            core::mem::swap(&mut state.items, items);
        }
    }

    /// Clears the wake-up.
    pub(crate) fn clear_wake(&self) {
        // The count does not matter, and an empty counter is no error here.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    /// Accepts no more items.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let left = core::mem::take(&mut state.items);
        drop(state);
        // Dropped without the lock, because an item may hold a sender of this queue.
        drop(left);
    }

    /// Appends an item, or returns it.
    pub(crate) fn push(&self, item: T) -> Result<(), SendError<T>> {
        self.push_up_to(self.capacity, item)
    }

    /// Appends an item even if the queue is full. Returns it only if the loop has ended.
    pub(crate) fn push_over(&self, item: T) -> Result<(), SendError<T>> {
        self.push_up_to(usize::MAX, item)
    }

    fn push_up_to(&self, capacity: usize, item: T) -> Result<(), SendError<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(SendError::Closed(item));
        }
        if state.items.len() >= capacity {
            return Err(SendError::Full(item));
        }
        state.items.push_back(item);
        let wake = core::mem::take(&mut state.sleeping);
        drop(state);
        if wake {
            // Fails only if the counter is full, which wakes the loop as well.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
        Ok(())
    }
}

impl<T: Send> Mailbox<T> for Queue<T> {
    fn send(&self, _token: u64, message: T) -> Result<(), SendError<T>> {
        self.push(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_keeps_order_and_closes() {
        let queue = Queue::new(2).unwrap();
        assert!(queue.may_sleep());
        assert!(queue.push('a').is_ok() && queue.push('b').is_ok());
        assert_eq!(queue.push('c'), Err(SendError::Full('c')));
        assert!(queue.push_over('!').is_ok());
        assert!(!queue.may_sleep());
        let mut items = VecDeque::new();
        queue.drain(&mut items);
        assert_eq!(items, ['a', 'b', '!']);
        assert!(queue.may_sleep());
        queue.close();
        assert_eq!(queue.push('d'), Err(SendError::Closed('d')));
    }
}
