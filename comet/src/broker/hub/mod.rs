//! The broker of several processes of one server: it lives in their parent, and each has a connection to it.
//!
//! They speak RESP3, with commands of their own:
//!
//! ```text
//! FOLLOW channel KEEP                       -> OK, and a push `snapshot`, then a push `publication` for each
//! FORGET channel                            -> OK
//! PUBLISH channel user data KEEP            -> position
//! SNAPSHOT channel KEEP                     -> [position, [[user, data], …]]
//! ENTER channel client user                 -> OK
//! LEAVE channel client                      -> OK
//! PRESENCE channel limit                    -> [total, [[client, user], …]]
//!
//! KEEP: publications bytes milliseconds; position: EPOCH:OFFSET; user: empty if there is none
//! the pushes: snapshot channel [position, [[user, data], …]]; publication channel position user data
//! ```

mod dialect;
mod session;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use protocol::Sender;

use super::{Broker, Inbox, Memory, Snapshot};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::Publication;

pub(crate) use dialect::HubDialect;
pub(crate) use session::{HubPost, Session};

/// How often it looks after what is too old.
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
    keep: Keep,
    /// Whether it needs a snapshot: because it has none yet, or because something found no room in its mailbox.
    wants_snapshot: bool,
}

impl Hub {
    /// A broker of at most `limit` channels, and a thread that looks after it until it is dropped. `seed` should never have been
    /// used before.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
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

    /// How many channels are followed.
    #[cfg(test)]
    pub(crate) fn follows(&self) -> usize {
        self.lock().len()
    }

    /// Drops what is too old, and tells those of channels who could not be told before.
    fn tick(&self) {
        self.memory.tick();
        let followers = self.lock();
        let behind = |those: &[Follower]| {
            those
                .iter()
                .find(|follower| follower.wants_snapshot)
                .map(|follower| follower.keep)
        };
        let behind = followers
            .iter()
            .filter_map(|(channel, those)| Some((channel.clone(), behind(those)?)));
        let behind: Vec<_> = behind.collect();
        drop(followers);
        for (channel, keep) in behind {
            self.memory.follow(&channel, keep);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Vec<Follower>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, channel: &Name, keep: Keep, process: u64, sender: Sender<HubPost>) {
        let mut followers = self.lock();
        let those = followers.entry(channel.clone()).or_default();
        those.retain(|follower| follower.process != process);
        those.push(Follower {
            process,
            sender,
            keep,
            wants_snapshot: true,
        });
        drop(followers);
        self.memory.follow(channel, keep);
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
        // Somebody may have come between the two.
        if self.lock().contains_key(channel) {
            self.memory.follow(channel, keep);
        }
    }
}

impl Inbox for Hub {
    fn snapshot(&self, channel: &Name, snapshot: Snapshot) {
        let mut followers = self.lock();
        let Some(those) = followers.get_mut(channel) else {
            return;
        };
        let Some(push) = session::snapshot_push(channel, &snapshot) else {
            return;
        };
        for follower in those.iter_mut().filter(|follower| follower.wants_snapshot) {
            follower.wants_snapshot = follower.sender.send(HubPost::Push(Arc::clone(&push))).is_err();
        }
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
            follower.wants_snapshot |= follower.sender.send(HubPost::Push(Arc::clone(&push))).is_err();
        }
    }
}
