//! The expiry of rights.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use protocol::Sender;

use super::Post;

/// Connections whose rights expire, ordered by time: each gets a message at that time.
#[derive(Default)]
pub(crate) struct Expiries {
    state: Mutex<State>,
    earlier: Condvar,
}

#[derive(Default)]
struct State {
    due: BTreeMap<(Instant, u64), Sender<Post>>,
    count: u64,
    ended: bool,
}

/// An entry; dropping it cancels the message.
pub(crate) struct Expiry {
    expiries: Arc<Expiries>,
    key: (Instant, u64),
}

impl Expiries {
    /// Sends a message to `sender` at `at`.
    pub(crate) fn add(self: &Arc<Self>, at: Instant, sender: Sender<Post>) -> Expiry {
        let mut state = self.lock();
        state.count += 1;
        let key = (at, state.count);
        let is_first = state.due.first_key_value().is_none_or(|(first, _)| key < *first);
        state.due.insert(key, sender);
        drop(state);
        if is_first {
            self.earlier.notify_all();
        }
        Expiry {
            expiries: Arc::clone(self),
            key,
        }
    }

    /// Sends the messages that are due. Returns the time of the next.
    pub(crate) fn tell(&self, now: Instant) -> Option<Instant> {
        loop {
            let mut state = self.lock();
            let (&(at, _), _) = state.due.first_key_value()?;
            if at > now {
                return Some(at);
            }
            let due = state.due.pop_first();
            drop(state);
            if let Some((_, sender)) = due {
                // If the mailbox is full, the connection checks the time with each of its other messages.
                let _ = sender.send(Post::Expired);
            }
        }
    }

    /// Sends all messages in time, until the node ends.
    pub(super) fn run(&self) {
        loop {
            let next = self.tell(Instant::now());
            let state = self.lock();
            if state.ended {
                return;
            }
            let has_changed = state.due.first_key_value().map(|(key, _)| key.0) != next;
            if has_changed {
                continue;
            }
            match next {
                Some(next) => {
                    let left = next.saturating_duration_since(Instant::now());
                    drop(self.earlier.wait_timeout(state, left));
                }
                None => drop(self.earlier.wait(state)),
            }
        }
    }

    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.earlier.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        let left = self.expiries.lock().due.remove(&self.key);
        // The sender is dropped without the lock.
        drop(left);
    }
}
