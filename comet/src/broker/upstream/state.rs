//! What a node wants of a broker in another process, and what of it is still to be sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Link;
use crate::broker::dialect::{Life, Role};
use crate::broker::reading::Reading;
use crate::broker::{Done, Member, Presence, Snapshot};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position};
use crate::table::{Names, Table};

/// Requests that may wait to be sent, and bytes of what they publish.
const WAITING: usize = 64 * 1024;
const WAITING_BYTES: usize = 64 << 20;
/// Histories that clients have asked for and that may wait to be read.
const ASKED: usize = 4096;
/// Clients whose coming and going may wait to be told.
const CHANGES: usize = 1 << 20;
/// The first pause between two attempts to connect, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Channels of which the last acknowledgement is remembered, and how long.
const ACKNOWLEDGED: usize = 16 * 1024;
const REMEMBERED: Duration = Duration::from_secs(120);

/// Lives of which it is remembered what was acknowledged in them and not looked for since.
const LIVES: usize = 8;

/// What this node has acknowledged in a channel.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    /// The last publication.
    position: Position,
    /// What is in doubt since some time: the last ones of earlier lives, and what was found lost. A break that was marked may be
    /// forgotten like anything else, and is then marked again.
    doubted: Vec<(Instant, Position)>,
    pub(super) keep: Keep,
    at: Instant,
}

impl Acknowledged {
    /// What a history must have.
    pub(super) fn positions(&self) -> Vec<Position> {
        let mut positions: Vec<_> = self.doubted.iter().map(|(_, position)| *position).collect();
        positions.push(self.position);
        positions
    }

    fn doubt(&mut self, now: Instant, position: Position) {
        self.doubted.retain(|(_, doubted)| *doubted != position);
        if self.doubted.len() == LIVES {
            self.doubted.remove(0);
        }
        self.doubted.push((now, position));
    }
}

/// A channel that the node follows.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) keep: Keep,
    /// How often a snapshot was asked for.
    pub(super) round: u64,
    /// Whether it waits to be read.
    pub(super) is_queued: bool,
}

/// What is to be sent to a broker.
pub(super) enum Request {
    Publish(Draft, Keep, Done<Position>),
    Presence(Name, usize, Done<Presence>),
}

/// A client's question about a channel's history.
pub(super) type Question = (Name, Keep, Done<Snapshot>);

/// One connection.
pub(super) struct Leg {
    pub(super) link: Option<Box<dyn Link>>,
    /// Which connection it is: what one before it still says is nothing any more.
    pub(super) generation: u64,
    /// Whether it has begun, and is used.
    pub(super) is_up: bool,
    /// Whether one is being made.
    pub(super) is_connecting: bool,
    /// Whether it was told to look, and has not.
    pub(super) is_woken: bool,
    /// When to try again to connect, and how long to wait after that.
    pub(super) retry: Instant,
    pub(super) pause: Duration,
    /// Since when it is up.
    pub(super) since: Option<Instant>,
}

impl Leg {
    fn new(now: Instant) -> Self {
        Leg {
            link: None,
            generation: 0,
            is_up: false,
            is_connecting: false,
            is_woken: false,
            retry: now,
            pause: FIRST_PAUSE,
            since: None,
        }
    }

    /// The connection is gone, or was not made.
    pub(super) fn fell(&mut self, now: Instant) {
        // One that has stood is tried again at once.
        if self
            .since
            .take()
            .is_some_and(|since| now.saturating_duration_since(since) > FIRST_PAUSE * 10)
        {
            self.pause = Duration::ZERO;
        }
        (self.is_up, self.is_connecting, self.is_woken) = (false, false, false);
        self.retry = now + self.pause;
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }
}

pub(super) struct State {
    /// The time, as far as this was told.
    pub(super) now: Instant,
    pub(super) requests: Leg,
    pub(super) news: Leg,
    pub(super) life: Option<Life>,
    pub(super) channels: Table<Name, Followed>,
    pub(super) members: Table<Name, Table<Arc<str>, Member>>,
    /// Channels whose subscription may have to change.
    pub(super) to_subscribe: VecDeque<Name>,
    /// Those that are subscribed to on the connection for news, or were asked for.
    pub(super) subscribed: Names<Name>,
    /// Channels to be read.
    pub(super) to_read: VecDeque<Name>,
    pub(super) reading: Table<Name, Reading>,
    /// Channels that are not followed, of which it is looked whether they have what was acknowledged.
    pub(super) to_verify: VecDeque<Name>,
    /// Those of which another page is to be read.
    pub(super) to_go_on: VecDeque<Name>,
    /// What was acknowledged a short time ago: a broker that has lost it is found out.
    pub(super) acknowledged: Table<Name, Acknowledged>,
    /// Channels whose break with the past is to be marked: behind what.
    pub(super) to_mark: VecDeque<(Name, Option<Position>)>,
    /// Those where that failed; tried again after a while.
    pub(super) unmarked: Vec<Name>,
    /// Who has come or gone, to be told. `None` for all of a channel.
    pub(super) changes: VecDeque<(Name, Option<Arc<str>>)>,
    /// Channels of whose clients something could not be told. All of them are told anew at the next tick.
    pub(super) untold: Names<Name>,
    /// Channels where the broker has been told of clients.
    pub(super) entered: Names<Name>,
    pub(super) waiting: VecDeque<Request>,
    pub(super) waiting_bytes: usize,
    pub(super) asked: VecDeque<Question>,
    /// Histories that clients have asked for and that are being read.
    pub(super) asking: usize,
    /// Channels to be refreshed, and when they all are again.
    pub(super) to_refresh: VecDeque<Name>,
    pub(super) refresh: Instant,
    pub(super) refresh_presence: Instant,
    pub(super) to_refresh_presence: VecDeque<Name>,
    /// Counts the questions for snapshots.
    pub(super) rounds: u64,
    /// Why it can never be used.
    pub(super) refusal: Option<String>,
    /// What went wrong last, and when that was said.
    pub(super) noted: Option<(Instant, String)>,
    /// Since when it is out of reach, if it was in reach before.
    pub(super) lost: Option<Instant>,
}

impl State {
    pub(super) fn new(now: Instant) -> Self {
        State {
            now,
            requests: Leg::new(now),
            news: Leg::new(now),
            life: None,
            channels: Table::default(),
            members: Table::default(),
            to_subscribe: VecDeque::new(),
            subscribed: Names::default(),
            to_read: VecDeque::new(),
            reading: Table::default(),
            to_verify: VecDeque::new(),
            to_go_on: VecDeque::new(),
            acknowledged: Table::default(),
            to_mark: VecDeque::new(),
            unmarked: Vec::new(),
            changes: VecDeque::new(),
            untold: Names::default(),
            entered: Names::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            asked: VecDeque::new(),
            asking: 0,
            to_refresh: VecDeque::new(),
            refresh: now,
            refresh_presence: now,
            to_refresh_presence: VecDeque::new(),
            rounds: 0,
            refusal: None,
            noted: None,
            lost: None,
        }
    }

    pub(super) fn leg(&mut self, role: Role) -> &mut Leg {
        match role {
            Role::Requests => &mut self.requests,
            Role::News => &mut self.news,
        }
    }

    /// Has `channel` read, once it is its turn.
    pub(super) fn queue_read(&mut self, channel: &Name) {
        let is_subscribed = self.subscribed.contains(channel);
        if let Some(followed) = self.channels.get_mut(channel)
            && is_subscribed
            && !core::mem::replace(&mut followed.is_queued, true)
        {
            self.to_read.push_back(channel.clone());
        }
    }

    /// A publication was acknowledged.
    pub(super) fn acknowledge(&mut self, channel: &Name, keep: Keep, position: Position) {
        // More are not remembered: a broker that loses them is found out by those who follow their channels.
        let has_room = self.acknowledged.len() < ACKNOWLEDGED;
        if let Some(known) = self.acknowledged.get_mut(channel) {
            (known.keep, known.at) = (keep, self.now);
            if position.epoch == known.position.epoch {
                known.position.offset = known.position.offset.max(position.offset);
                return;
            }
            // The channel has gone on in another epoch, or begun anew: only what it has can tell.
            let earlier = if known.position.epoch.0 < position.epoch.0 {
                core::mem::replace(&mut known.position, position)
            } else {
                position
            };
            known.doubt(self.now, earlier);
            self.look_again(channel);
        } else if has_room {
            let acknowledged = Acknowledged {
                position,
                doubted: Vec::new(),
                keep,
                at: self.now,
            };
            self.acknowledged.insert(channel.clone(), acknowledged);
        }
    }

    /// The broker lives another life: what was acknowledged in the one before is to be looked for.
    pub(super) fn doubt_acknowledged(&mut self) {
        for known in self.acknowledged.values_mut() {
            known.doubt(self.now, known.position);
        }
        self.look_for_acknowledged();
    }

    /// Looks for what was acknowledged and is in doubt.
    pub(super) fn look_for_acknowledged(&mut self) {
        let doubted = self.acknowledged.iter().filter(|(_, known)| !known.doubted.is_empty());
        // What is followed is read in any case.
        let unfollowed = doubted.filter(|(channel, _)| !self.channels.contains_key(*channel));
        self.to_verify = unfollowed.map(|(channel, _)| channel.clone()).collect();
    }

    /// A channel was read, and has lost some of what was known. That is remembered: nothing else tells of it any more.
    pub(super) fn has_lost(&mut self, reading: &Reading, channel: &Name, last: Option<Position>) {
        for position in reading.evidence() {
            let at = self.now;
            let known = self
                .acknowledged
                .entry(channel.clone())
                .or_insert_with(|| Acknowledged {
                    position,
                    doubted: Vec::new(),
                    keep: reading.keep(),
                    at,
                });
            known.doubt(at, position);
        }
        self.to_mark.push_back((channel.clone(), last));
    }

    /// Has a channel looked at again of which a loss could not be marked.
    pub(super) fn look_again(&mut self, channel: &Name) {
        if self.channels.contains_key(channel) {
            self.queue_read(channel);
        } else {
            self.to_verify.push_back(channel.clone());
        }
    }

    pub(super) fn forget_acknowledged(&mut self) {
        // As long as the broker is out of reach, nobody can look.
        let (now, is_up) = (self.now, self.requests.is_up);
        let is_recent = |at: Instant| now.saturating_duration_since(at) < REMEMBERED;
        if is_up {
            self.acknowledged.retain(|_, known| {
                known.doubted.retain(|(since, _)| is_recent(*since));
                !known.doubted.is_empty() || is_recent(known.at)
            });
        }
        for channel in core::mem::take(&mut self.unmarked) {
            self.look_again(&channel);
        }
        let untold = core::mem::take(&mut self.untold);
        self.changes.extend(untold.into_iter().map(|channel| (channel, None)));
    }

    /// What there is to tell of those who are present; told anew from the beginning.
    pub(super) fn tell_all_present(&mut self) {
        self.changes.clear();
        let mut channels = core::mem::take(&mut self.entered);
        channels.extend(self.members.keys().cloned());
        self.changes.extend(channels.into_iter().map(|channel| (channel, None)));
    }

    /// Notes that a client has come or gone. False where too many wait for that to be told.
    pub(super) fn change(&mut self, channel: &Name, client: &Arc<str>) -> bool {
        if !self.requests.is_up {
            // All are told when it is.
            return true;
        }
        self.changes.push_back((channel.clone(), Some(Arc::clone(client))));
        self.changes.len() <= CHANGES
    }

    /// Has a request wait to be sent; gives it back where there is no room, or no connection.
    pub(super) fn push(&mut self, request: Request) -> Option<Request> {
        let bytes = request.size();
        if !self.requests.is_up || self.waiting.len() >= WAITING || self.waiting_bytes + bytes > WAITING_BYTES {
            return Some(request);
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(request);
        None
    }

    pub(super) fn pop(&mut self) -> Option<Request> {
        let request = self.waiting.pop_front()?;
        self.waiting_bytes -= request.size();
        Some(request)
    }

    /// The same for a client's question.
    pub(super) fn ask(&mut self, question: Question) -> Option<Question> {
        if !self.requests.is_up || self.asked.len() >= ASKED {
            return Some(question);
        }
        self.asked.push_back(question);
        None
    }

    /// The connection for requests is gone: what was under way there is, and what waits has nowhere to go. Returns those who
    /// wait, to be dropped without the lock.
    pub(super) fn forget_requests(&mut self) -> (VecDeque<Request>, VecDeque<Question>) {
        self.reading.clear();
        self.to_go_on.clear();
        self.to_verify.clear();
        self.to_mark.clear();
        self.unmarked.clear();
        self.changes.clear();
        self.untold.clear();
        self.to_refresh.clear();
        self.to_refresh_presence.clear();
        (self.asking, self.waiting_bytes) = (0, 0);
        (core::mem::take(&mut self.waiting), core::mem::take(&mut self.asked))
    }
}

impl Request {
    fn size(&self) -> usize {
        match self {
            Request::Publish(draft, ..) => draft.size(),
            Request::Presence(..) => 0,
        }
    }
}
