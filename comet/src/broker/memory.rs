//! The broker of a single process.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Instant;

use super::{ANSWER, Broker, Done, Inbox, Member, Part, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::clock;
use crate::log::{Keep, Log};
use crate::publication::{Draft, Epoch, Position, Publication};
use crate::table::Table;

/// The most keys remembered per channel, unless the channel's history has more publications.
const WISHES: usize = 1024;

/// Keeps channels in memory; they end with the process.
pub(crate) struct Memory {
    inbox: Weak<dyn Inbox>,
    channels: RwLock<HashMap<Name, Arc<Channel>>>,
    /// The most channels.
    limit: usize,
    epochs: Epochs,
    rounds: AtomicU64,
}

/// Generates epochs that differ from each other, and in all likelihood from those of other processes.
struct Epochs(AtomicU64);

struct Channel(Mutex<State>);

struct State {
    log: Log,
    keep: Keep,
    followed: bool,
    members: HashMap<Arc<str>, Member>,
    /// The time of the last publication.
    published: Option<Instant>,
    /// Recent keys, and the resulting positions.
    wishes: Table<Arc<str>, Position>,
    /// When the keys were used, oldest first.
    wished: VecDeque<(Instant, Arc<str>)>,
    /// Removed from the table: a thread that still holds the channel must look it up again.
    removed: bool,
}

impl Memory {
    /// A broker of at most `limit` channels. `seed` should never have been used before.
    pub(crate) fn new(inbox: Weak<dyn Inbox>, limit: usize, seed: u64) -> Self {
        Memory {
            inbox,
            channels: RwLock::default(),
            limit,
            // Never 0, which stands for no epoch.
            epochs: Epochs((seed.max(1)).into()),
            rounds: AtomicU64::new(0),
        }
    }

    /// Calls `with` with the channel, creating it if needed.
    fn with<T>(&self, name: &Name, keep: Keep, with: impl FnOnce(&mut State) -> T) -> Result<T, Trouble> {
        loop {
            let found = self.channels().get(name).map(Arc::clone);
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

    /// Calls `with` with the channel, if it exists.
    fn with_existing<T>(&self, name: &Name, with: impl FnOnce(&mut State) -> T) -> Option<T> {
        let channel = self.channels().get(name).map(Arc::clone)?;
        let mut state = channel.lock();
        Some(with(&mut state))
    }

    fn channels(&self) -> RwLockReadGuard<'_, HashMap<Name, Arc<Channel>>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Name, Arc<Channel>>> {
        self.channels.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Makes the inbox receive the publications of `channel`.
    pub(super) fn tell_of(&self, channel: &Name, keep: Keep) -> Result<(), Trouble> {
        self.with(channel, keep, |state| state.followed = true)
    }

    /// A part of a channel, oldest first, bounded in number and bytes; the channel's position; and whether there is more.
    pub(super) fn read(
        &self,
        channel: &Name,
        part: Part,
        publications: usize,
        bytes: usize,
    ) -> (Position, Vec<Arc<Publication>>, bool) {
        let Part::After(offset) = part else {
            let before = if let Part::Before(offset) = part {
                Some(offset)
            } else {
                None
            };
            let (position, mut read, more) = self.read_back(channel, before, publications, bytes);
            read.reverse();
            return (position, read, more);
        };
        let read = self.with_existing(channel, |state| {
            let keep = state.keep;
            state.log.expire(clock::now(), &keep);
            let mut tail = state.log.after(offset, publications);
            tail.limit_bytes(bytes);
            (state.log.position(), tail.publications, tail.more)
        });
        read.unwrap_or_else(|| (self.epochs.nothing(), Vec::new(), false))
    }

    /// A part of a channel: the publications before an offset, newest first, bounded in number and bytes; and the channel's position.
    pub(super) fn read_back(
        &self,
        channel: &Name,
        before: Option<u64>,
        publications: usize,
        bytes: usize,
    ) -> (Position, Vec<Arc<Publication>>, bool) {
        let read = self.with_existing(channel, |state| {
            let keep = state.keep;
            state.log.expire(clock::now(), &keep);
            let mut read = Vec::new();
            let (mut size, mut more) = (0, false);
            for publication in state.log.newest_first(before) {
                if read.len() >= publications || !read.is_empty() && size >= bytes {
                    more = true;
                    break;
                }
                size += publication.size();
                read.push(Arc::clone(publication));
            }
            (state.log.position(), read, more)
        });
        // The channel does not exist: its epoch may begin at any later number.
        read.unwrap_or_else(|| (self.epochs.nothing(), Vec::new(), false))
    }
}

impl Broker for Memory {
    fn follow(&self, channel: &Name, keep: Keep) -> u64 {
        let round = self.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(inbox) = self.inbox.upgrade() else {
            return round;
        };
        // Under the channel's lock, so that no publication comes in between.
        let told = self.with(channel, keep, |state| {
            state.followed = true;
            let position = state.log.position();
            let snapshot = Snapshot {
                position,
                publications: state.log.last(keep.publications),
                turn: None,
                continues: inbox.position(channel).map(|known| known.epoch == position.epoch),
                more: false,
                round,
            };
            inbox.snapshot(channel, snapshot);
        });
        // If there are too many channels, this one is not followed, and those who wait for it time out.
        let _ = told;
        round
    }

    fn forget(&self, channel: &Name) {
        self.with_existing(channel, |state| state.followed = false);
    }

    fn publish(&self, draft: Draft, keep: Keep, done: Done<Position>) {
        let channel = draft.channel.clone();
        let published = self.with(&channel, keep, |state| {
            let now = clock::now();
            if let Some(position) = draft.key.as_ref().and_then(|key| state.fulfilled(now, key)) {
                return position;
            }
            let mut position = state.log.position();
            position.offset += 1;
            if let Some(key) = draft.key.clone() {
                state.remember(now, key, position);
            }
            let publication = Arc::new(Publication::new(draft, position));
            state.published = Some(now);
            state.log.push(now, Arc::clone(&publication), &keep);
            // Under the channel's lock, so that publications arrive in order.
            if let Some(inbox) = self.inbox.upgrade().filter(|_| state.followed) {
                inbox.publication(&publication);
            }
            position
        });
        done.tell(published);
    }

    fn snapshot(&self, channel: &Name, part: Part, keep: Keep, done: Done<Snapshot>) {
        let (position, publications, more) = self.read(channel, part, keep.publications, keep.bytes.min(ANSWER));
        done.tell(Ok(Snapshot {
            position,
            publications,
            turn: None,
            continues: None,
            more,
            round: 0,
        }));
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

    /// Drops old publications, and channels without any content.
    fn tick(&self, now: Instant) {
        let mut spent = Vec::new();
        for (name, channel) in self.channels().iter() {
            let mut state = channel.lock();
            let keep = state.keep;
            state.log.expire(now, &keep);
            state.forget_wishes(now);
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
    /// The position of a channel that does not exist.
    fn nothing(&self) -> Position {
        Position {
            epoch: Epoch(self.0.fetch_add(1, Ordering::Relaxed)),
            offset: 0,
        }
    }

    fn channel(&self, keep: Keep) -> Arc<Channel> {
        let state = State {
            log: Log::new(self.nothing()),
            keep,
            followed: false,
            members: HashMap::new(),
            published: None,
            wishes: Table::default(),
            wished: VecDeque::new(),
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
    /// The result of an earlier publication with the same key, if the key is still remembered.
    fn fulfilled(&mut self, now: Instant, key: &str) -> Option<Position> {
        self.forget_wishes(now);
        self.wishes.get(key).copied()
    }

    fn remember(&mut self, now: Instant, key: Arc<str>, position: Position) {
        if self.wished.len() >= WISHES.max(self.keep.publications) {
            self.forget_oldest_wish();
        }
        self.wishes.insert(Arc::clone(&key), position);
        self.wished.push_back((now, key));
    }

    fn forget_wishes(&mut self, now: Instant) {
        let kept = self.keep.wish();
        let is_old = |(at, _): &(Instant, Arc<str>)| now.saturating_duration_since(*at) > kept;
        while self.wished.front().is_some_and(is_old) {
            self.forget_oldest_wish();
        }
    }

    fn forget_oldest_wish(&mut self) {
        if let Some((_, key)) = self.wished.pop_front() {
            self.wishes.remove(&key);
        }
    }

    /// Whether the channel can be dropped without loss. A channel's position is kept for some time after its history, so that a client that
    /// returns learns that it has missed nothing; and as long as a key is remembered, so that no repeated request publishes again.
    fn is_spent(&self, now: Instant) -> bool {
        let quiet = |at| now.saturating_duration_since(at) > 2 * self.keep.time;
        let is_empty = self.log.is_empty() && self.members.is_empty() && self.wished.is_empty();
        !self.followed && is_empty && self.published.is_none_or(quiet)
    }
}
