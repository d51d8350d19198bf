//! Where publications go and come from: the engine behind a node, or behind many.

mod hub;
mod link;
mod memory;
mod order;
mod redis;
mod upstream;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position, Publication};

pub(crate) use hub::{Hub, HubDialect, HubPost, Session as HubSession};
pub(crate) use link::Speaker;
pub(crate) use memory::Memory;
pub(crate) use order::Order;
pub(crate) use redis::RedisUrl;
pub(crate) use upstream::{Link, Upstream};

/// Who waits for an outcome: told once, on any thread, perhaps before the call that was given it returns. Dropped without, it
/// learns that there is none.
pub(crate) struct Done<T>(Option<Told<T>>);

type Told<T> = Box<dyn FnOnce(Result<T, Trouble>) + Send>;

impl<T> Done<T> {
    pub(crate) fn new(told: impl FnOnce(Result<T, Trouble>) + Send + 'static) -> Self {
        Done(Some(Box::new(told)))
    }

    /// Nobody waits.
    pub(crate) fn nobody() -> Self {
        Done(None)
    }

    pub(crate) fn tell(mut self, outcome: Result<T, Trouble>) {
        if let Some(told) = self.0.take() {
            told(outcome);
        }
    }
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(Err(Trouble::Unavailable));
        }
    }
}

/// Numbers the publications of every channel, keeps the last, and tells those that follow.
///
/// Nothing here blocks. What a broker has to say goes to the [`Inbox`] it was made with; it is not called while that is in a
/// call of its own that holds a lock.
pub(crate) trait Broker: Send + Sync {
    /// Tells the inbox of `channel` from now on: a [`snapshot`](Inbox::snapshot) first, then every publication in order.
    /// Asked again, gives another snapshot. A broker that has lost touch does so by itself when it is back.
    fn follow(&self, channel: &Name, keep: Keep);

    /// No longer tells of `channel`.
    fn forget(&self, channel: &Name);

    /// Appends to a channel's history, and tells everyone who follows it. `done` learns the position.
    fn publish(&self, draft: Draft, keep: Keep, done: Done<Position>);

    /// The channel as it stands, for one who does not follow it.
    fn snapshot(&self, channel: &Name, keep: Keep, done: Done<Snapshot>);

    /// Notes that a client is present in `channel`.
    fn enter(&self, channel: &Name, member: Member);

    /// Notes that a client is gone.
    fn leave(&self, channel: &Name, client: &str);

    /// Who is present, `limit` at most.
    fn presence(&self, channel: &Name, limit: usize, done: Done<Presence>);

    /// Whether publications go through at present.
    fn is_connected(&self) -> bool;

    /// Looks after what has to be done from time to time; called every second.
    fn tick(&self);
}

/// What a broker tells.
pub(crate) trait Inbox: Send + Sync {
    /// A channel as it stands. What follows its position comes as publications.
    fn snapshot(&self, channel: &Name, snapshot: Snapshot);

    /// Something was published in a channel that is followed.
    fn publication(&self, publication: &Arc<Publication>);
}

/// A channel's position, and the last publications before it, without gap.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) position: Position,
    pub(crate) publications: Vec<Arc<Publication>>,
}

/// Somebody in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
    pub(crate) client: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Arc<str>>,
}

/// Who is in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Presence {
    pub(crate) total: usize,
    /// Some of them, where they are many.
    pub(crate) clients: Vec<Member>,
}

/// Why a broker did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is out of reach, or has too much to do. Whether the request was carried out is not known.
    Unavailable,
    /// There are as many channels as there may be.
    TooManyChannels,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::Unavailable => "the broker does not answer; try again later",
            Trouble::TooManyChannels => "there are as many channels as there may be",
        })
    }
}

impl std::error::Error for Trouble {}
