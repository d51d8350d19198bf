//! Who is in the room.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use protocol::{SendError, Sender};

use crate::chat::{Post, ToClient};

/// The room: everyone in it, reached through their connections' mailboxes.
#[derive(Default)]
pub(crate) struct Hub {
    members: Mutex<HashMap<u64, Sender<Post>>>,
    next: AtomicU64,
    /// Posts that a full mailbox did not take.
    missed: AtomicU64,
}

/// Someone's place in the room; dropping it leaves.
pub(crate) struct Membership {
    hub: Arc<Hub>,
    pub(crate) number: u64,
}

impl Hub {
    pub(crate) fn join(self: &Arc<Self>, sender: Sender<Post>) -> Membership {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().insert(number, sender);
        Membership {
            hub: Arc::clone(self),
            number,
        }
    }

    /// Sends to everyone; encoded once.
    pub(crate) fn post(&self, message: &ToClient<'_>) {
        let post = message.encode();
        for sender in self.lock().values() {
            // One who is leaving misses nothing.
            if let Err(SendError::Full(_)) = sender.send(post.clone()) {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many are there, and how many posts were not taken by full mailboxes.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.lock().len(), self.missed.load(Ordering::Relaxed))
    }

    /// Tells everyone how many are there, whenever that has changed, but no more often than `interval`. Telling at once
    /// would send the square of the connections when many come together.
    pub(crate) fn announce_every(self: &Arc<Self>, interval: Duration) -> io::Result<()> {
        let hub: Weak<Hub> = Arc::downgrade(self);
        let announce = move || {
            let mut told = (0, 0);
            while let Some(hub) = hub.upgrade() {
                let now = (hub.lock().len(), hub.next.load(Ordering::Relaxed));
                if now != told {
                    told = now;
                    let missed = hub.missed.load(Ordering::Relaxed);
                    hub.post(&ToClient::Count {
                        connections: now.0,
                        missed,
                    });
                }
                drop(hub);
                thread::sleep(interval);
            }
        };
        thread::Builder::new()
            .name("announcer".into())
            .spawn(announce)
            .map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Sender<Post>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let left = self.hub.lock().remove(&self.number);
        // Dropped without the lock.
        drop(left);
    }
}
