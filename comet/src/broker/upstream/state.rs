//! The state that a node wants from a broker in another process, and the part of it that is still to be sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Link;
use crate::broker::dialect::{Life, Role};
use crate::broker::reading::Reading;
use crate::broker::{Done, Member, Part, Presence, Snapshot};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position};
use crate::table::{Names, Table};

/// The most requests that wait to be sent, and the most bytes of their publications.
const WAITING: usize = 64 * 1024;
const WAITING_BYTES: usize = 64 << 20;
/// The most histories that clients wait for.
const ASKED: usize = 4096;
/// The most presence changes that wait to be sent.
const CHANGES: usize = 1 << 20;
/// The first pause between two attempts to connect, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The most channels of which the last acknowledgement is remembered, and for how long.
const ACKNOWLEDGED: usize = 16 * 1024;
const REMEMBERED: Duration = Duration::from_secs(120);

/// The most earlier lives of which acknowledgements are remembered that were not verified since.
const LIVES: usize = 8;

/// Publications of a channel that this node has acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    /// The last publication.
    position: Position,
    /// Positions in doubt, with the time since when: the last ones of earlier lives, and losses that were found. A marked break may itself
    /// be lost, and is then marked again.
    doubted: Vec<(Instant, Position)>,
    pub(super) keep: Keep,
    at: Instant,
}

impl Acknowledged {
    /// Positions that a history must contain.
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
    /// The number of snapshots requested so far.
    pub(super) round: u64,
    /// Whether the channel is queued for reading.
    pub(super) is_queued: bool,
}

/// A request to a broker.
pub(super) enum Request {
    Publish(Draft, Keep, Done<Position>),
    Presence(Name, usize, Done<Presence>),
}

/// A client's request for a channel's history.
pub(super) type Question = (Name, Part, Keep, Done<Snapshot>);

/// One connection.
pub(super) struct Leg {
    pub(super) link: Option<Box<dyn Link>>,
    /// The connection's number: reports with an earlier number are ignored.
    pub(super) generation: u64,
    /// Whether the connection is established and in use.
    pub(super) is_up: bool,
    /// Whether the connection is being established.
    pub(super) is_connecting: bool,
    /// Whether the connection was told to look for requests, and has not yet.
    pub(super) is_woken: bool,
    /// When to try to connect again, and the pause after that.
    pub(super) retry: Instant,
    pub(super) pause: Duration,
    /// Since when it is established.
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

    /// The connection has ended, or could not be established.
    pub(super) fn fell(&mut self, now: Instant) {
        // A connection that was established for a while is retried at once.
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
    /// The current time, as last reported.
    pub(super) now: Instant,
    pub(super) requests: Leg,
    pub(super) news: Leg,
    pub(super) life: Option<Life>,
    pub(super) channels: Table<Name, Followed>,
    pub(super) members: Table<Name, Table<Arc<str>, Member>>,
    /// Channels whose subscription may have to change.
    pub(super) to_subscribe: VecDeque<Name>,
    /// Channels that are subscribed to, or being subscribed to, on the connection for news.
    pub(super) subscribed: Names<Name>,
    /// Channels to be read.
    pub(super) to_read: VecDeque<Name>,
    pub(super) reading: Table<Name, Reading>,
    /// Channels that are not followed, to be checked for acknowledged publications.
    pub(super) to_verify: VecDeque<Name>,
    /// Channels of which another page must be read.
    pub(super) to_go_on: VecDeque<Name>,
    /// Recent acknowledgements, to detect a broker that has lost them.
    pub(super) acknowledged: Table<Name, Acknowledged>,
    /// Channels of which a break must be marked, and after which position.
    pub(super) to_mark: VecDeque<(Name, Option<Position>)>,
    /// Channels where marking failed; retried later.
    pub(super) unmarked: Vec<Name>,
    /// Presence changes to report. `None` stands for all clients of a channel.
    pub(super) changes: VecDeque<(Name, Option<Arc<str>>)>,
    /// Channels with clients that could not be reported. All clients of the channel are reported again at the next tick.
    pub(super) untold: Names<Name>,
    /// Channels for which clients were reported to the broker.
    pub(super) entered: Names<Name>,
    pub(super) waiting: VecDeque<Request>,
    pub(super) waiting_bytes: usize,
    pub(super) asked: VecDeque<Question>,
    /// The number of clients' histories being read.
    pub(super) asking: usize,
    /// Channels to refresh, and the time of the next refresh of all.
    pub(super) to_refresh: VecDeque<Name>,
    pub(super) refresh: Instant,
    pub(super) refresh_presence: Instant,
    pub(super) to_refresh_presence: VecDeque<Name>,
    /// Counts the requests for snapshots.
    pub(super) rounds: u64,
    /// Why the broker can never be used.
    pub(super) refusal: Option<String>,
    /// The last problem that was logged, and when.
    pub(super) noted: Option<(Instant, String)>,
    /// Since when the broker is unreachable, if it was reachable before.
    pub(super) lost: Option<Instant>,
    /// How often the broker was reachable again.
    pub(super) reconnects: u64,
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
            reconnects: 0,
        }
    }

    pub(super) fn leg(&mut self, role: Role) -> &mut Leg {
        match role {
            Role::Requests => &mut self.requests,
            Role::News => &mut self.news,
        }
    }

    /// Queues `channel` for reading.
    pub(super) fn queue_read(&mut self, channel: &Name) {
        let is_subscribed = self.subscribed.contains(channel);
        if let Some(followed) = self.channels.get_mut(channel)
            && is_subscribed
            && !core::mem::replace(&mut followed.is_queued, true)
        {
            self.to_read.push_back(channel.clone());
        }
    }

    /// Notes that a publication was acknowledged.
    pub(super) fn acknowledge(&mut self, channel: &Name, keep: Keep, position: Position) {
        // Beyond this number, acknowledgements are not remembered: the followers of those channels detect a loss.
        let has_room = self.acknowledged.len() < ACKNOWLEDGED;
        if let Some(known) = self.acknowledged.get_mut(channel) {
            (known.keep, known.at) = (keep, self.now);
            if position.epoch == known.position.epoch {
                known.position.offset = known.position.offset.max(position.offset);
                return;
            }
            // The channel continued in another epoch, or began anew. Only its entries show which.
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

    /// The broker is in another life: acknowledgements of the previous one must be verified.
    pub(super) fn doubt_acknowledged(&mut self) {
        for known in self.acknowledged.values_mut() {
            known.doubt(self.now, known.position);
        }
        self.look_for_acknowledged();
    }

    /// Queues the verification of acknowledgements in doubt.
    pub(super) fn look_for_acknowledged(&mut self) {
        let doubted = self.acknowledged.iter().filter(|(_, known)| !known.doubted.is_empty());
        // Followed channels are read in any case.
        let unfollowed = doubted.filter(|(channel, _)| !self.channels.contains_key(*channel));
        self.to_verify = unfollowed.map(|(channel, _)| channel.clone()).collect();
    }

    /// A reading has found a loss. The loss is remembered, because nothing else records it.
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

    /// Queues another look at a channel of which a loss could not be marked.
    pub(super) fn look_again(&mut self, channel: &Name) {
        if self.channels.contains_key(channel) {
            self.queue_read(channel);
        } else {
            self.to_verify.push_back(channel.clone());
        }
    }

    pub(super) fn forget_acknowledged(&mut self) {
        // While the broker is unreachable, no channel can be read.
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

    /// Queues all presence to be reported from the beginning.
    pub(super) fn tell_all_present(&mut self) {
        self.changes.clear();
        let mut channels = core::mem::take(&mut self.entered);
        channels.extend(self.members.keys().cloned());
        self.changes.extend(channels.into_iter().map(|channel| (channel, None)));
    }

    /// Notes that a client has come or gone. Returns false if too many changes wait.
    pub(super) fn change(&mut self, channel: &Name, client: &Arc<str>) -> bool {
        if !self.requests.is_up {
            // All are reported when it connects.
            return true;
        }
        self.changes.push_back((channel.clone(), Some(Arc::clone(client))));
        self.changes.len() <= CHANGES
    }

    /// Queues a request. Returns the request if there is no room, or no connection.
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

    /// Queues a client's request for a history, in the same way.
    pub(super) fn ask(&mut self, question: Question) -> Option<Question> {
        if !self.requests.is_up || self.asked.len() >= ASKED {
            return Some(question);
        }
        self.asked.push_back(question);
        None
    }

    /// The connection for requests has ended: its outstanding requests are lost, and queued ones cannot be sent. Returns the waiting
    /// receivers, to be dropped without the lock.
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
