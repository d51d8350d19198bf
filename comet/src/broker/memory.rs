//! The broker of one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Instant;

use super::{Broker, Done, Inbox, Member, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::log::{Keep, Log};
use crate::publication::{Draft, Epoch, Position, Publication};

/// Keeps channels in memory: they are gone with the process.
pub(crate) struct Memory {
    inbox: Weak<dyn Inbox>,
    channels: RwLock<HashMap<Name, Arc<Channel>>>,
    /// Channels there may be.
    limit: usize,
    epochs: Epochs,
}

/// Makes epochs that differ: from each other, and with all likelihood from those of other processes.
struct Epochs(std::sync::atomic::AtomicU64);

struct Channel(Mutex<State>);

struct State {
    log: Log,
    keep: Keep,
    followed: bool,
    members: HashMap<Arc<str>, Member>,
    /// When something was published last.
    published: Option<Instant>,
    /// Taken out of the table: whoever still holds it must look there again.
    removed: bool,
}

impl Memory {
    /// A broker of at most `limit` channels. `seed` should never have been used before.
    pub(crate) fn new(inbox: Weak<dyn Inbox>, limit: usize, seed: u64) -> Self {
        Memory {
            inbox,
            channels: RwLock::default(),
            limit,
            epochs: Epochs(seed.into()),
        }
    }

    /// Calls `with` with the channel, which is made if it is not there.
    fn with<T>(&self, name: &Name, keep: Keep, with: impl FnOnce(&mut State) -> T) -> Result<T, Trouble> {
        loop {
            let found = self.read().get(name).map(Arc::clone);
            let channel = match found {
                Some(channel) => channel,
                None => {
                    let mut channels = self.write();
                    if channels.len() >= self.limit && !channels.contains_key(name) {
                        return Err(Trouble::TooManyChannels);
                    }
                    let made = channels
                        .entry(name.clone())
                        .or_insert_with(|| self.epochs.channel(keep));
                    Arc::clone(made)
                }
            };
            let mut state = channel.lock();
            if !state.removed {
                state.keep = keep;
                return Ok(with(&mut state));
            }
        }
    }

    /// Calls `with` with the channel, if it is there.
    fn with_existing<T>(&self, name: &Name, with: impl FnOnce(&mut State) -> T) -> Option<T> {
        let channel = self.read().get(name).map(Arc::clone)?;
        let mut state = channel.lock();
        Some(with(&mut state))
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Name, Arc<Channel>>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Name, Arc<Channel>>> {
        self.channels.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker for Memory {
    fn follow(&self, channel: &Name, keep: Keep) {
        let Some(inbox) = self.inbox.upgrade() else { return };
        // Told under the channel's lock, so that no publication comes between.
        let told = self.with(channel, keep, |state| {
            state.followed = true;
            inbox.snapshot(channel, state.snapshot());
        });
        // A channel too many stays unheard of; those who wait for it give up.
        let _ = told;
    }

    fn forget(&self, channel: &Name) {
        self.with_existing(channel, |state| state.followed = false);
    }

    fn publish(&self, draft: Draft, keep: Keep, done: Done<Position>) {
        let channel = draft.channel.clone();
        let published = self.with(&channel, keep, |state| {
            let mut position = state.log.position();
            position.offset += 1;
            let publication = Arc::new(Publication::new(draft, position));
            let now = Instant::now();
            state.published = Some(now);
            state.log.push(now, Arc::clone(&publication), &keep);
            // Told under the channel's lock, so that it comes in order.
            if let Some(inbox) = self.inbox.upgrade().filter(|_| state.followed) {
                inbox.publication(&publication);
            }
            position
        });
        done.tell(published);
    }

    fn snapshot(&self, channel: &Name, keep: Keep, done: Done<Snapshot>) {
        done.tell(self.with(channel, keep, |state| state.snapshot()));
    }

    fn enter(&self, channel: &Name, member: Member) {
        self.with_existing(channel, |state| {
            state.members.insert(Arc::clone(&member.client), member);
        });
    }

    fn leave(&self, channel: &Name, client: &str) {
        self.with_existing(channel, |state| state.members.remove(client));
    }

    fn presence(&self, channel: &Name, limit: usize, done: Done<Presence>) {
        let presence = self.with_existing(channel, |state| Presence {
            total: state.members.len(),
            clients: state.members.values().take(limit).cloned().collect(),
        });
        done.tell(Ok(presence.unwrap_or_default()));
    }

    fn is_connected(&self) -> bool {
        true
    }

    /// Drops what is too old, and channels of which nothing is left.
    fn tick(&self) {
        let now = Instant::now();
        let mut spent = Vec::new();
        for (name, channel) in self.read().iter() {
            let mut state = channel.lock();
            let keep = state.keep;
            state.log.expire(now, &keep);
            if state.is_spent(now) {
                spent.push(name.clone());
            }
        }
        if spent.is_empty() {
            return;
        }
        let mut channels = self.write();
        for name in spent {
            let Some(channel) = channels.get(&name) else { continue };
            let mut state = channel.lock();
            if state.is_spent(now) {
                state.removed = true;
                drop(state);
                channels.remove(&name);
            }
        }
    }
}

impl Epochs {
    fn channel(&self, keep: Keep) -> Arc<Channel> {
        let epoch = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let state = State {
            log: Log::new(Position {
                epoch: Epoch(epoch),
                offset: 0,
            }),
            keep,
            followed: false,
            members: HashMap::new(),
            published: None,
            removed: false,
        };
        Arc::new(Channel(Mutex::new(state)))
    }
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            position: self.log.position(),
            publications: self.log.last(self.keep.publications),
        }
    }

    /// Whether nothing is lost with the channel. Its position is kept for some time after its history, so that one who comes
    /// back then learns that nothing was missed.
    fn is_spent(&self, now: Instant) -> bool {
        let quiet = |at| now.saturating_duration_since(at) > 2 * self.keep.time;
        !self.followed && self.log.is_empty() && self.members.is_empty() && self.published.is_none_or(quiet)
    }
}
