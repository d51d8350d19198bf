//! A channel on this node: its last publications, and its listeners.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::{SendError, Sender};
use slab::Slab;

use super::Post;
use crate::backend::{About, Event, Webhook};
use crate::broker::Snapshot;
use crate::channel::Name;
use crate::clock;
use crate::log::{Log, Tail};
use crate::publication::{Position, Publication};
use crate::rule::Rule;

/// Publications that may arrive before the first snapshot. Further ones are dropped, and another snapshot is requested.
const EARLY: usize = 1024;
/// The most publications, and their bytes, in the answer to a new reader; the rest follows one by one.
const FIRST: usize = 64;
const FIRST_BYTES: usize = 64 << 10;
/// The first and the longest pause between two requests for a snapshot of the same channel.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long an empty channel may be out of sight before it could have been created and removed meanwhile. Shorter than brokers keep a
/// channel.
const UNSEEN: Duration = Duration::from_secs(60);

/// A channel that this node follows. It mirrors the history, so that returning readers are served from here.
pub(crate) struct Feed {
    pub(crate) name: Name,
    /// Is told of the first listener, and when there is none any more.
    webhook: Option<Arc<Webhook>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rule: Arc<Rule>,
    /// `None` until the first snapshot.
    mirror: Option<Log>,
    /// Publications that arrived before the first snapshot.
    early: Vec<Arc<Publication>>,
    listeners: Slab<Listener>,
    /// Since when there are no listeners.
    idle: Instant,
    /// Since when listeners wait for the first snapshot.
    waiting: Instant,
    /// The last publication that did not fit, because others are missing before it: a snapshot is needed that leads up to it.
    torn: Option<Position>,
    /// When a snapshot may be requested again, and the pause after that.
    ask: Instant,
    pause: Duration,
    /// The number of the request that the last snapshot answered.
    round: u64,
    /// When the broker was last reachable.
    seen: Instant,
    /// The feed accepts no more listeners.
    retired: bool,
}

#[derive(Debug)]
struct Listener {
    sender: Sender<Post>,
    /// The lower half of the client's number.
    number: u32,
    /// Whether the listener wants heartbeats.
    beats: bool,
    /// Whether a message did not fit in its mailbox.
    lost: bool,
    /// Whether the listener waits for another snapshot.
    verifies: bool,
}

// The number needs no memory: it fills padding.
const _: () = assert!(size_of::<Listener>() == size_of::<Sender<Post>>() + 8);

/// The effect of a publication from the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// This many listeners were told.
    Told(usize),
    /// The publication was known before.
    Old,
    /// Earlier publications are missing: another snapshot is needed.
    Torn,
}

/// Whether a new reader may begin.
#[derive(Debug)]
pub(crate) enum Begin {
    /// Not yet: there was no snapshot, or not the requested one.
    Wait,
    /// Only the broker knows, so a snapshot is requested now: the reader may be ahead of this node.
    Ask,
    Start(Start),
}

/// The first data for a new reader.
#[derive(Debug)]
pub(crate) struct Start {
    /// The position before the publications.
    pub(crate) from: Position,
    /// The position after the publications.
    pub(crate) position: Position,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// Whether everything since the requested position is included; `None` if no position was requested.
    pub(crate) recovered: Option<bool>,
    /// Whether more publications follow.
    pub(crate) more: bool,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("name", &self.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Feed {
    pub(crate) fn new(name: Name, rule: Arc<Rule>, webhook: Option<Arc<Webhook>>) -> Self {
        let now = clock::now();
        Feed {
            name,
            webhook,
            state: Mutex::new(State {
                rule,
                mirror: None,
                early: Vec::new(),
                listeners: Slab::new(),
                idle: now,
                waiting: now,
                torn: None,
                ask: now,
                pause: SHORTEST_PAUSE,
                round: 0,
                seen: now,
                retired: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rule of the channel now.
    pub(crate) fn rule(&self) -> Arc<Rule> {
        Arc::clone(&self.lock().rule)
    }

    /// Changes the rule of the channel. Returns the rule before.
    pub(super) fn set_rule(&self, rule: Arc<Rule>) -> Arc<Rule> {
        std::mem::replace(&mut self.lock().rule, rule)
    }

    // Called for readers.

    /// Adds `sender`, of the client with this number, as a listener, with heartbeats if it wants `beats`. `None` if the feed is no longer in use.
    pub(crate) fn enter(&self, sender: Sender<Post>, number: u32, beats: bool) -> Option<u32> {
        let mut state = self.lock();
        let key = u32::try_from(state.listeners.vacant_key()).ok()?;
        if state.retired {
            return None;
        }
        if state.listeners.is_empty() && state.mirror.is_none() {
            state.waiting = clock::now();
        }
        state.listeners.insert(Listener {
            sender,
            number,
            beats,
            lost: false,
            verifies: false,
        });
        if state.listeners.len() == 1 {
            self.is_occupied(true);
        }
        Some(key)
    }

    /// Tells the back end whether there are listeners, with the lock, so that the events are in order.
    fn is_occupied(&self, occupied: bool) {
        if let Some(webhook) = &self.webhook {
            let about = About {
                channel: Some(&self.name),
                occupied: Some(occupied),
                ..About::default()
            };
            webhook.tell(Event::Presence, about);
        }
    }

    pub(crate) fn leave(&self, key: u32) {
        let mut state = self.lock();
        let left = state.listeners.try_remove(key as usize);
        if state.listeners.is_empty() {
            state.idle = clock::now();
            if left.is_some() {
                self.is_occupied(false);
            }
        }
        drop(state);
        // The sender is dropped without the lock.
        drop(left);
    }

    /// Where the reader `key` begins, which has read up to `since`, or wants the last `limit` publications: one at least, in channels that
    /// begin with the latest. If only the broker knows, the
    /// caller requests a snapshot, and calls this again with the number of the request. A reader with `takes` false gets the publications
    /// later.
    pub(crate) fn start(
        &self,
        key: u32,
        since: Option<Position>,
        limit: usize,
        round: Option<u64>,
        takes: bool,
    ) -> Begin {
        let mut state = self.lock();
        let Some(mirror) = &state.mirror else {
            return Begin::Wait;
        };
        let (from, recovered) = match since {
            None => (mirror.before_last(limit.max(usize::from(state.rule.latest))), None),
            Some(since) if mirror.knows(since) => {
                let is_there = mirror.after(since.offset, 0).missed == 0;
                (if is_there { since } else { mirror.start() }, Some(is_there))
            }
            Some(_) => match round {
                // Another node may have told the reader of publications that have not arrived here yet.
                None => return Begin::Ask,
                Some(round) if state.round < round => {
                    if let Some(listener) = state.listeners.get_mut(key as usize) {
                        listener.verifies = true;
                    }
                    return Begin::Wait;
                }
                Some(_) => (mirror.start(), Some(false)),
            },
        };
        let mut tail = mirror.after(from.offset, if takes { FIRST } else { 0 });
        tail.limit_bytes(FIRST_BYTES);
        let position = match tail.publications.last() {
            Some(last) => last.position,
            None if tail.more => from,
            None => mirror.position(),
        };
        Begin::Start(Start {
            from,
            position,
            publications: tail.publications,
            recovered,
            more: tail.more,
        })
    }

    /// The first `limit` publications after `position`; or where to begin instead, if `position` belongs to another history.
    pub(crate) fn after(&self, position: Position, limit: usize) -> Result<Tail, Position> {
        let state = self.lock();
        match &state.mirror {
            Some(mirror) if mirror.knows(position) => Ok(mirror.after(position.offset, limit)),
            Some(mirror) => Err(mirror.start()),
            // Nobody has a position before the first snapshot.
            None => Ok(Tail::default()),
        }
    }

    pub(crate) fn listeners(&self) -> usize {
        self.lock().listeners.len()
    }

    // Called for the broker.

    pub(crate) fn publication(&self, publication: &Arc<Publication>) -> News {
        let mut state = self.lock();
        if state.mirror.is_none() {
            if state.early.len() < EARLY {
                state.early.push(Arc::clone(publication));
            }
            return News::Told(0);
        }
        let news = state.append(publication);
        match news {
            News::Told(_) => {
                state.pause = SHORTEST_PAUSE;
                News::Told(state.tell(|| Post::Publication(Arc::clone(publication))))
            }
            News::Torn => {
                state.tear(publication.position);
                News::Torn
            }
            News::Old => News::Old,
        }
    }

    /// The position up to which this node knows the channel.
    pub(crate) fn position(&self) -> Option<Position> {
        let state = self.lock();
        let position = state.mirror.as_ref()?.position();
        let is_stale = position.is_start() && clock::now().saturating_duration_since(state.seen) > UNSEEN;
        (!is_stale).then_some(position)
    }

    /// Applies a snapshot: the first, or one that fills a gap. Returns true if the gap could not be filled.
    pub(crate) fn snapshot(self: &Arc<Self>, snapshot: Snapshot) -> bool {
        let mut state = self.lock();
        state.round = state.round.max(snapshot.round);
        state.seen = clock::now();
        let has_lost = state.take(snapshot, self);
        // A publication may have come while an earlier part of the history was on its way here.
        let State { torn, mirror, .. } = &mut *state;
        *torn = torn.filter(|torn| mirror.as_ref().is_some_and(|mirror| torn.is_after(mirror.position())));
        for (_, listener) in &mut state.listeners {
            if core::mem::take(&mut listener.verifies) {
                listener.tell(Post::Position(Arc::clone(self)));
            }
        }
        has_lost
    }

    // Called periodically by the node.

    /// Notifies listeners again whose mailbox was full.
    pub(crate) fn remind(self: &Arc<Self>) {
        let mut state = self.lock();
        for (_, listener) in &mut state.listeners {
            if core::mem::take(&mut listener.lost) {
                listener.tell(Post::Look(Arc::clone(self)));
            }
        }
    }

    /// The senders of all listeners.
    pub(crate) fn senders(&self) -> Vec<Sender<Post>> {
        let state = self.lock();
        state
            .listeners
            .iter()
            .map(|(_, listener)| listener.sender.clone())
            .collect()
    }

    /// The senders of the listeners whose client's number has this lower half.
    pub(crate) fn senders_of(&self, number: u32) -> Vec<Sender<Post>> {
        let state = self.lock();
        let listeners = state.listeners.iter().filter(|(_, listener)| listener.number == number);
        listeners.map(|(_, listener)| listener.sender.clone()).collect()
    }

    /// Sends a heartbeat to the listeners that want one.
    pub(crate) fn beat(&self) {
        for (_, listener) in &mut self.lock().listeners {
            if listener.beats {
                listener.tell(Post::Heartbeat);
            }
        }
    }

    /// Whether a snapshot must be requested: publications are missing, and the last request was some time ago.
    pub(crate) fn asks(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let wants = state.torn.is_some() || state.mirror.is_none() && !state.listeners.is_empty();
        if !wants || now < state.ask {
            return false;
        }
        state.ask = now + state.pause;
        state.pause = (state.pause * 2).min(LONGEST_PAUSE);
        true
    }

    /// The broker is reachable.
    pub(crate) fn is_seen(&self, now: Instant) {
        let mut state = self.lock();
        state.seen = state.seen.max(now);
    }

    /// Tells waiting listeners that the feed does not begin, if they have waited for `patience`.
    pub(crate) fn give_up(self: &Arc<Self>, now: Instant, patience: Duration) {
        let mut state = self.lock();
        if state.mirror.is_none() && now.saturating_duration_since(state.waiting) > patience {
            state.waiting = now;
            state.tell(|| Post::NoFeed(Arc::clone(self)));
        }
    }

    /// Whether there were no listeners for `linger`.
    pub(crate) fn is_idle(&self, now: Instant, linger: Duration) -> bool {
        self.lock().is_idle(now, linger)
    }

    /// Closes the feed if there were no listeners for `linger`.
    pub(crate) fn retire(&self, now: Instant, linger: Duration) -> bool {
        let mut state = self.lock();
        state.retired = state.is_idle(now, linger);
        state.retired
    }

    /// Drops publications that are too old.
    pub(crate) fn expire(&self, now: Instant) {
        let mut state = self.lock();
        let State { mirror, rule, .. } = &mut *state;
        if let Some(mirror) = mirror {
            mirror.expire(now, &rule.keep);
        }
    }
}

impl State {
    fn is_idle(&self, now: Instant, linger: Duration) -> bool {
        self.listeners.is_empty() && now.saturating_duration_since(self.idle) > linger
    }

    /// Applies a snapshot. Returns whether publications were lost.
    fn take(&mut self, snapshot: Snapshot, feed: &Arc<Feed>) -> bool {
        let Some(mirror) = &self.mirror else {
            self.begin(snapshot);
            self.tell(|| Post::Position(Arc::clone(feed)));
            return false;
        };
        let (ours, theirs) = (mirror.position(), snapshot.position);
        // If the snapshot was read before anything was known here, an equal epoch means the same history.
        let continues = snapshot
            .continues
            .unwrap_or_else(|| mirror.knows(theirs) || ours.epoch == theirs.epoch);
        let first = (theirs.offset + 1).saturating_sub(snapshot.publications.len() as u64);
        if continues && theirs.offset <= ours.offset {
            return false;
        }
        if continues && first <= ours.offset + 1 {
            for publication in &snapshot.publications {
                match self.append(publication) {
                    News::Told(_) => drop(self.tell(|| Post::Publication(Arc::clone(publication)))),
                    News::Old => {}
                    News::Torn => self.tear(publication.position),
                }
            }
            return false;
        }
        self.begin(snapshot);
        self.tell(|| Post::Position(Arc::clone(feed)));
        true
    }

    fn begin(&mut self, snapshot: Snapshot) {
        let now = clock::now();
        let before = snapshot.publications.first().map(|first| first.before());
        let mut mirror = Log::new(before.unwrap_or(snapshot.position));
        for publication in snapshot.publications {
            if self.rule.delta
                && let Some(last) = mirror.newest()
            {
                publication.follows(last);
            }
            mirror.push(now, publication, &self.rule.keep);
        }
        if mirror.position() != snapshot.position {
            // The publications do not lead up to the position, so only the position counts.
            mirror = Log::new(snapshot.position);
        }
        if let Some(turn) = snapshot.turn
            && !mirror.knows(turn)
        {
            mirror.turn(turn);
        }
        self.mirror = Some(mirror);
        for publication in core::mem::take(&mut self.early) {
            if self.append(&publication) == News::Torn {
                self.tear(publication.position);
            }
        }
    }

    /// The publication at `position` did not fit.
    fn tear(&mut self, position: Position) {
        if self.torn.is_none_or(|torn| position.is_after(torn)) {
            self.torn = Some(position);
        }
    }

    fn append(&mut self, publication: &Arc<Publication>) -> News {
        let Some(mirror) = &mut self.mirror else {
            return News::Old;
        };
        let theirs = publication.position;
        if self.rule.delta
            && let Some(last) = mirror.newest()
        {
            publication.follows(last);
        }
        if mirror.push(clock::now(), Arc::clone(publication), &self.rule.keep) {
            News::Told(0)
        } else if mirror.knows(theirs) {
            News::Old
        } else {
            News::Torn
        }
    }

    /// Posts to all listeners. Returns their number.
    fn tell(&mut self, post: impl Fn() -> Post) -> usize {
        for (_, listener) in &mut self.listeners {
            listener.tell(post());
        }
        self.listeners.len()
    }
}

impl Listener {
    fn tell(&mut self, post: Post) {
        // A closed connection removes its listener itself.
        self.lost |= matches!(self.sender.send(post), Err(SendError::Full(_)));
    }
}
