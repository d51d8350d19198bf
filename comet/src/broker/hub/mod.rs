//! The broker for several processes of one server. It runs in their parent, and each process has a connection to it.
//!
//! The processes speak RESP3, with their own commands:
//!
//! ```text
//! FOLLOW (channel KEEP)...                  -> OK, and a push `publication` for each
//! FORGET channel...                          -> OK
//! PUBLISH channel user data key KEEP         -> position
//! READ channel before publications bytes     -> [position, more, [[offset, age, user, data], …]], newest first
//! PART channel before|after offset publications bytes -> the same, oldest first
//! ENTER channel (client who)...             -> OK
//! LEAVE channel client                       -> OK
//! PRESENCE channel limit                     -> [total, [[client, who], …]]
//!
//! KEEP: publications bytes milliseconds; position: EPOCH:OFFSET; user, key: empty if there is none; who: see `Member::text`; before: an offset, or empty;
//! more: 1 or 0; age: milliseconds
//! the pushes: publication channel position user data; look channel, where one found no room
//! ```

mod dialect;
mod session;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use protocol::Sender;

use super::{Broker, Inbox, Memory, Snapshot, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Position, Publication};

pub(crate) use dialect::HubDialect;
pub(crate) use session::{HubPost, Session};

/// The interval at which old publications are dropped.
const TICK: Duration = Duration::from_secs(1);

/// The broker in the parent.
pub(crate) struct Hub {
    memory: Memory,
    followers: Mutex<HashMap<Name, Vec<Follower>>>,
}

/// A process that follows a channel.
struct Follower {
    process: u64,
    sender: Sender<HubPost>,
    /// Whether a message did not fit in its mailbox: it must read the channel again.
    has_missed: bool,
}

impl Hub {
    /// A broker of at most `limit` channels, with a thread that maintains it until it is dropped. `seed` should never have been used
    /// before.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn start(limit: usize, seed: u64) -> std::io::Result<Arc<Self>> {
        let hub = Self::new(limit, seed);
        let weak = Arc::downgrade(&hub);
        let look = move || {
            while let Some(hub) = weak.upgrade() {
                hub.tick();
                drop(hub);
                thread::sleep(TICK);
            }
        };
        thread::Builder::new().name("hub".into()).spawn(look)?;
        Ok(hub)
    }

    fn new(limit: usize, seed: u64) -> Arc<Self> {
        Arc::new_cyclic(|hub: &Weak<Hub>| Hub {
            memory: Memory::new(Weak::<Hub>::clone(hub), limit, seed),
            followers: Mutex::default(),
        })
    }

    /// The number of followed channels.
    #[cfg(test)]
    pub(crate) fn follows(&self) -> usize {
        self.lock().len()
    }

    /// Drops old publications, and tells processes that missed some to read the channel again.
    fn tick(&self) {
        self.memory.tick(Instant::now());
        for (channel, those) in self.lock().iter_mut() {
            for follower in those.iter_mut().filter(|follower| follower.has_missed) {
                let look = session::look_push(channel);
                follower.has_missed = look.is_none_or(|push| follower.sender.send(HubPost::Push(push)).is_err());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Vec<Follower>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, channel: &Name, keep: Keep, process: u64, sender: Sender<HubPost>) -> Result<(), Trouble> {
        let mut followers = self.lock();
        let those = followers.entry(channel.clone()).or_default();
        those.retain(|follower| follower.process != process);
        those.push(Follower {
            process,
            sender,
            has_missed: false,
        });
        drop(followers);
        self.memory.tell_of(channel, keep)
    }

    fn forget(&self, channel: &Name, keep: Keep, process: u64) {
        let mut followers = self.lock();
        let Some(those) = followers.get_mut(channel) else {
            return;
        };
        those.retain(|follower| follower.process != process);
        if !those.is_empty() {
            return;
        }
        followers.remove(channel);
        drop(followers);
        self.memory.forget(channel);
        // A follower may have arrived between the two checks.
        if self.lock().contains_key(channel) {
            // If there are too many channels, this one is not followed.
            let _ = self.memory.tell_of(channel, keep);
        }
    }
}

impl Inbox for Hub {
    /// Not needed: processes read channels themselves.
    fn snapshot(&self, _: &Name, _: Snapshot) {}

    fn position(&self, _: &Name) -> Option<Position> {
        None
    }

    fn publication(&self, publication: &Arc<Publication>) {
        let mut followers = self.lock();
        let Some(those) = followers.get_mut(&publication.channel) else {
            return;
        };
        let Some(push) = session::publication_push(publication) else {
            return;
        };
        for follower in those {
            follower.has_missed |= follower.sender.send(HubPost::Push(Arc::clone(&push))).is_err();
        }
    }
}
