//! Where publications go and come from: the engine behind a node, or behind many.

mod dialect;
mod hub;
mod memory;
mod reading;
mod redis;
mod speaker;
mod upstream;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position, Publication};

pub(crate) use dialect::Refusal;
pub(crate) use hub::{Hub, HubDialect, HubPost, Session as HubSession};
pub(crate) use memory::Memory;
pub(crate) use redis::RedisUrl;
pub(crate) use speaker::{Speaker, Wake};
pub(crate) use upstream::Upstream;
#[cfg(test)]
pub(crate) use {
    dialect::Role,
    redis::{RedisDialect, client_config},
    upstream::{Bounds, Link as UpstreamLink},
};

/// Bytes of publications in one answer about a channel's history. One publication is told in any case.
pub(crate) const ANSWER: usize = 1 << 20;

/// Who waits for an outcome: told once, on any thread, perhaps before the call that was given it returns. Dropped without, it
/// learns that nothing was done, or, once the request was [`sent`](Done::sent), that nobody knows.
pub(crate) struct Done<T> {
    told: Option<Told<T>>,
    sent: bool,
}

type Told<T> = Box<dyn FnOnce(Result<T, Trouble>) + Send>;

impl<T> Done<T> {
    pub(crate) fn new(told: impl FnOnce(Result<T, Trouble>) + Send + 'static) -> Self {
        Done {
            told: Some(Box::new(told)),
            sent: false,
        }
    }

    /// Nobody waits.
    pub(crate) fn nobody() -> Self {
        Done {
            told: None,
            sent: false,
        }
    }

    /// The request is on its way: whether it is carried out only an answer can tell.
    pub(crate) fn sent(&mut self) {
        self.sent = true;
    }

    pub(crate) fn tell(mut self, outcome: Result<T, Trouble>) {
        if let Some(told) = self.told.take() {
            told(outcome);
        }
    }
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            told(Err(if self.sent {
                Trouble::Unknown
            } else {
                Trouble::Unavailable
            }));
        }
    }
}

/// Numbers the publications of every channel, keeps the last, and tells those that follow.
///
/// Nothing here blocks. What a broker has to say goes to the [`Inbox`] it was made with; it is not called while that is in a
/// call of its own that holds a lock.
pub(crate) trait Broker: Send + Sync {
    /// Tells the inbox of `channel` from now on: a [`snapshot`](Inbox::snapshot) first, then every publication in order.
    /// Asked again, gives another snapshot: one that was read after this call has at least the number that is returned. A
    /// broker that has lost touch does so by itself when it is back.
    fn follow(&self, channel: &Name, keep: Keep) -> u64;

    /// No longer tells of `channel`.
    fn forget(&self, channel: &Name);

    /// Appends to a channel's history, and tells everyone who follows it. `done` learns the position.
    fn publish(&self, draft: Draft, keep: Keep, done: Done<Position>);

    /// The channel as it stands, for one who does not follow it: the newest publications, as many as `keep` and [`ANSWER`]
    /// allow. Makes no channel that is not there.
    fn snapshot(&self, channel: &Name, keep: Keep, done: Done<Snapshot>);

    /// Notes that a client is present in `channel`, which this node follows.
    fn enter(&self, channel: &Name, member: Member);

    /// Notes that a client is gone.
    fn leave(&self, channel: &Name, client: &str);

    /// Who is present, `limit` at most.
    fn presence(&self, channel: &Name, limit: usize, done: Done<Presence>);

    /// Whether requests reach it at present.
    fn is_connected(&self) -> bool;

    /// Why it can never be used, if that is so.
    fn refusal(&self) -> Option<String> {
        None
    }

    /// Looks after what has to be done from time to time; called every second.
    fn tick(&self, now: Instant);
}

/// What a broker tells.
pub(crate) trait Inbox: Send + Sync {
    /// A channel as it stands. What follows its position comes as publications.
    fn snapshot(&self, channel: &Name, snapshot: Snapshot);

    /// Something was published in a channel that is followed.
    fn publication(&self, publication: &Arc<Publication>);

    /// How far the inbox knows `channel`: a snapshot need not go back further. `None` where it knows nothing.
    fn position(&self, channel: &Name) -> Option<Position>;
}

/// A channel's position, and the last publications before it, without gap.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) position: Position,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// The last position of the epoch before, where that is known and there are no publications that tell.
    pub(crate) turn: Option<Position>,
    /// Whether this is what became of the [`position`](Inbox::position) that the inbox had when it was read, with all that
    /// was published since: what is not among the publications has left the history. `None` where it had none.
    pub(crate) continues: Option<bool>,
    /// Whether the history holds more, further back.
    pub(crate) more: bool,
    /// See [`Broker::follow`].
    pub(crate) round: u64,
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
    /// It is out of reach, takes nothing, or has too much to do. The request did nothing.
    Unavailable,
    /// The request was sent and got no answer. Whether it was carried out is not known.
    Unknown,
    /// There are as many channels as there may be.
    TooManyChannels,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::Unavailable => "the broker takes no requests now; try again later",
            Trouble::Unknown => "the broker has not answered; whether this was done is not known",
            Trouble::TooManyChannels => "there are as many channels as there may be",
        })
    }
}

impl std::error::Error for Trouble {}
