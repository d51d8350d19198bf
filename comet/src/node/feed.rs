//! One channel on this node: its last publications, and who listens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::{SendError, Sender};
use slab::Slab;

use super::Post;
use crate::broker::Snapshot;
use crate::channel::Name;
use crate::log::{Log, Tail};
use crate::publication::{Position, Publication};
use crate::rule::Rule;

/// Publications that may come before the first snapshot. More are dropped, and another snapshot is asked for.
const EARLY: usize = 1024;

/// A channel that this node follows. It mirrors the history, so that those who come back are served from here.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) name: Name,
    pub(crate) rule: Arc<Rule>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` until the first snapshot.
    mirror: Option<Log>,
    /// What came before it.
    early: Vec<Arc<Publication>>,
    listeners: Slab<Listener>,
    /// Since when nobody has listened, if nobody does.
    idle: Instant,
    /// Since when those who listen have waited for the first snapshot, if there is none.
    waiting: Instant,
    /// Whether something is missing, so that another snapshot is needed.
    torn: bool,
    /// Nobody may enter any more.
    retired: bool,
}

#[derive(Debug)]
struct Listener {
    sender: Sender<Post>,
    /// Whether it wants signs of life.
    beats: bool,
    /// Whether a post did not fit its mailbox.
    lost: bool,
}

/// What news have led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// So many listeners were told.
    Told(usize),
    /// It was known before.
    Old,
    /// Something is missing before it: another snapshot is needed.
    Torn,
}

/// What a new reader gets first.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) position: Position,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// Whether all is there since the position that was asked for, if one was.
    pub(crate) recovered: Option<bool>,
}

impl Feed {
    pub(crate) fn new(name: Name, rule: Arc<Rule>) -> Self {
        Feed {
            name,
            rule,
            state: Mutex::new(State {
                mirror: None,
                early: Vec::new(),
                listeners: Slab::new(),
                idle: Instant::now(),
                waiting: Instant::now(),
                torn: false,
                retired: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What readers do.

    /// From now on `sender` is told, with signs of life if it wants `beats`. `None` when the feed is no longer in use.
    pub(crate) fn enter(&self, sender: Sender<Post>, beats: bool) -> Option<u32> {
        let mut state = self.lock();
        let key = u32::try_from(state.listeners.vacant_key()).ok()?;
        if state.retired {
            return None;
        }
        state.listeners.insert(Listener {
            sender,
            beats,
            lost: false,
        });
        Some(key)
    }

    pub(crate) fn leave(&self, key: u32) {
        let mut state = self.lock();
        let left = state.listeners.try_remove(key as usize);
        if state.listeners.is_empty() {
            state.idle = Instant::now();
        }
        drop(state);
        // Its sender is dropped without the lock.
        drop(left);
    }

    /// Where a reader begins who has read up to `since`, or wants the last `limit` publications. `None` before the first
    /// snapshot.
    pub(crate) fn start(&self, since: Option<Position>, limit: usize) -> Option<Start> {
        let state = self.lock();
        let mirror = state.mirror.as_ref()?;
        let position = mirror.position();
        let Some(since) = since else {
            return Some(Start {
                position,
                publications: mirror.last(limit),
                recovered: None,
            });
        };
        let known = since.epoch == position.epoch && since.offset <= position.offset;
        let tail = known
            .then(|| mirror.after(since.offset, usize::MAX))
            .filter(|tail| tail.missed == 0);
        Some(Start {
            position,
            recovered: Some(tail.is_some()),
            publications: tail.map(|tail| tail.publications).unwrap_or_default(),
        })
    }

    /// What came behind `position`, the first `limit` of it; where to begin instead when it is of another epoch.
    pub(crate) fn after(&self, position: Position, limit: usize) -> Result<Tail, Position> {
        let state = self.lock();
        match &state.mirror {
            Some(mirror) if mirror.position().epoch == position.epoch => Ok(mirror.after(position.offset, limit)),
            Some(mirror) => Err(mirror.start()),
            // Nobody has a position before there is one.
            None => Ok(Tail::default()),
        }
    }

    pub(crate) fn listeners(&self) -> usize {
        self.lock().listeners.len()
    }

    // What the broker tells.

    pub(crate) fn publication(&self, publication: &Arc<Publication>) -> News {
        let mut state = self.lock();
        if state.mirror.is_none() {
            if state.early.len() < EARLY {
                state.early.push(Arc::clone(publication));
            }
            return News::Told(0);
        }
        let news = state.append(publication, &self.rule);
        match news {
            News::Told(_) => News::Told(state.tell(|| Post::Publication(Arc::clone(publication)))),
            News::Torn => {
                state.torn = true;
                News::Torn
            }
            News::Old => News::Old,
        }
    }

    /// Takes the channel as it stands: at first, or to fill what is missing. True when that could not be filled.
    pub(crate) fn snapshot(self: &Arc<Self>, snapshot: Snapshot) -> bool {
        let mut state = self.lock();
        state.torn = false;
        let Some(mirror) = &state.mirror else {
            state.begin(snapshot, &self.rule);
            state.tell(|| Post::Position(Arc::clone(self)));
            return false;
        };
        let (ours, theirs) = (mirror.position(), snapshot.position);
        if ours.epoch == theirs.epoch && theirs.offset <= ours.offset {
            return false;
        }
        let first = (theirs.offset + 1).saturating_sub(snapshot.publications.len() as u64);
        if ours.epoch == theirs.epoch && first <= ours.offset + 1 {
            for publication in &snapshot.publications {
                if let News::Told(_) = state.append(publication, &self.rule) {
                    state.tell(|| Post::Publication(Arc::clone(publication)));
                }
            }
            return false;
        }
        state.begin(snapshot, &self.rule);
        state.tell(|| Post::Position(Arc::clone(self)));
        true
    }

    // What the node does from time to time.

    /// Tells those again who could not be told for want of room.
    pub(crate) fn remind(self: &Arc<Self>) {
        let mut state = self.lock();
        for (_, listener) in &mut state.listeners {
            if core::mem::take(&mut listener.lost) {
                listener.tell(Post::Look(Arc::clone(self)));
            }
        }
    }

    /// Those who listen.
    pub(crate) fn senders(&self) -> Vec<Sender<Post>> {
        let state = self.lock();
        state
            .listeners
            .iter()
            .map(|(_, listener)| listener.sender.clone())
            .collect()
    }

    /// Sends a sign of life to those who want one.
    pub(crate) fn beat(&self) {
        for (_, listener) in &mut self.lock().listeners {
            if listener.beats {
                listener.tell(Post::Heartbeat);
            }
        }
    }

    /// Whether something is missing, so that another snapshot is needed.
    pub(crate) fn is_torn(&self) -> bool {
        self.lock().torn
    }

    /// Tells those who wait that the feed does not begin, if it has not for so long.
    pub(crate) fn give_up(self: &Arc<Self>, now: Instant, patience: Duration) {
        let mut state = self.lock();
        if state.mirror.is_none() && now.saturating_duration_since(state.waiting) > patience {
            state.waiting = now;
            state.tell(|| Post::NoFeed(Arc::clone(self)));
        }
    }

    /// Whether nobody has listened for so long.
    pub(crate) fn is_idle(&self, now: Instant, linger: Duration) -> bool {
        self.lock().is_idle(now, linger)
    }

    /// Closes the feed if nobody has listened for so long.
    pub(crate) fn retire(&self, now: Instant, linger: Duration) -> bool {
        let mut state = self.lock();
        state.retired = state.is_idle(now, linger);
        state.retired
    }

    /// Drops publications that are too old.
    pub(crate) fn expire(&self, now: Instant) {
        if let Some(mirror) = &mut self.lock().mirror {
            mirror.expire(now, &self.rule.keep);
        }
    }
}

impl State {
    fn is_idle(&self, now: Instant, linger: Duration) -> bool {
        self.listeners.is_empty() && now.saturating_duration_since(self.idle) > linger
    }

    fn begin(&mut self, snapshot: Snapshot, rule: &Rule) {
        let before = Position {
            offset: snapshot
                .position
                .offset
                .saturating_sub(snapshot.publications.len() as u64),
            ..snapshot.position
        };
        let (mut mirror, now) = (Log::new(before), Instant::now());
        for publication in snapshot.publications {
            mirror.push(now, publication, &rule.keep);
        }
        if mirror.position() != snapshot.position {
            // They do not lead up to the position: it alone counts.
            mirror = Log::new(snapshot.position);
        }
        self.mirror = Some(mirror);
        for publication in core::mem::take(&mut self.early) {
            self.append(&publication, rule);
        }
    }

    fn append(&mut self, publication: &Arc<Publication>, rule: &Rule) -> News {
        let Some(mirror) = &mut self.mirror else {
            return News::Old;
        };
        let (ours, theirs) = (mirror.position(), publication.position);
        if mirror.push(Instant::now(), Arc::clone(publication), &rule.keep) {
            News::Told(0)
        } else if ours.epoch == theirs.epoch && theirs.offset <= ours.offset {
            News::Old
        } else {
            News::Torn
        }
    }

    /// Posts to everyone. Returns to how many.
    fn tell(&mut self, post: impl Fn() -> Post) -> usize {
        for (_, listener) in &mut self.listeners {
            listener.tell(post());
        }
        self.listeners.len()
    }
}

impl Listener {
    fn tell(&mut self, post: Post) {
        // One whose connection is closed leaves by itself.
        self.lost |= matches!(self.sender.send(post), Err(SendError::Full(_)));
    }
}
