//! Brokers: they store publications and deliver them to one node or to many.

mod dialect;
mod hub;
mod member;
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
pub(crate) use member::{Info, Member, Who};
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

/// Bytes of publications in one answer about a channel's history. At least one publication is always included.
pub(crate) const ANSWER: usize = 1 << 20;

/// The receiver of an outcome. It is called once, on any thread, possibly before the request's call returns. If it is dropped without a
/// call, the outcome is that nothing was done, or, if the request was [`sent`](Done::sent), that the result is unknown.
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

    /// An outcome that nobody waits for.
    pub(crate) fn nobody() -> Self {
        Done {
            told: None,
            sent: false,
        }
    }

    /// Nobody waits for the outcome any more.
    pub(crate) fn forget(mut self) {
        self.told = None;
    }

    /// The same, which first shows the outcome to `look`.
    pub(crate) fn also(mut self, look: impl FnOnce(&Result<T, Trouble>) + Send + 'static) -> Self
    where
        T: 'static,
    {
        let told = self.told.take();
        Done {
            told: Some(Box::new(move |outcome| {
                look(&outcome);
                if let Some(told) = told {
                    told(outcome);
                }
            })),
            sent: self.sent,
        }
    }

    /// The request was sent: only an answer can tell whether it was carried out.
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

/// Numbers the publications of every channel, stores the last ones, and delivers them to followers.
///
/// No method blocks. A broker reports to the [`Inbox`] it was made with, but never during a call of the inbox that holds a lock.
pub(crate) trait Broker: Send + Sync {
    /// Delivers `channel` to the inbox from now on: first a [`snapshot`](Inbox::snapshot), then every publication in order. A repeated call
    /// delivers another snapshot: a snapshot read after this call has at least the returned number. A broker that was disconnected delivers
    /// one by itself when it is back.
    fn follow(&self, channel: &Name, keep: Keep) -> u64;

    /// Stops delivering `channel`.
    fn forget(&self, channel: &Name);

    /// Appends to a channel's history, and delivers to all followers. `done` receives the position.
    fn publish(&self, draft: Draft, keep: Keep, done: Done<Position>);

    /// A part of the channel's history and its position, without following it: as many publications as `keep` and [`ANSWER`] permit. Does
    /// not create the channel.
    fn snapshot(&self, channel: &Name, part: Part, keep: Keep, done: Done<Snapshot>);

    /// Notes that a client is present in `channel`, which this node follows.
    fn enter(&self, channel: &Name, member: Member);

    /// Notes that a client has left.
    fn leave(&self, channel: &Name, client: &str);

    /// The members of a channel, at most `limit` of them.
    fn presence(&self, channel: &Name, limit: usize, done: Done<Presence>);

    /// Whether the broker is reachable now.
    fn is_connected(&self) -> bool;

    /// Why the broker can never be used, if so.
    fn refusal(&self) -> Option<String> {
        None
    }

    /// How often the connection to the broker was lost and established again.
    fn reconnects(&self) -> u64 {
        0
    }

    /// Does periodic work; called every second.
    fn tick(&self, now: Instant);
}

/// The receiver of a broker's deliveries.
pub(crate) trait Inbox: Send + Sync {
    /// A channel's present state. Publications after its position follow.
    fn snapshot(&self, channel: &Name, snapshot: Snapshot);

    /// Something was published in a channel that is followed.
    fn publication(&self, publication: &Arc<Publication>);

    /// The position up to which the inbox knows `channel`: a snapshot need not go back further. `None` if it knows nothing.
    fn position(&self, channel: &Name) -> Option<Position>;
}

/// A part of a channel's history, as clients ask for it. Within a history, offsets never decrease, whatever the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The newest publications.
    Newest,
    /// The newest publications before this offset.
    Before(u64),
    /// The oldest publications after this offset.
    After(u64),
}

/// A channel's position, and the last publications before it, without gaps; or another [`Part`] of its history.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) position: Position,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// The last position of the previous epoch, if it is known and no publication contains it.
    pub(crate) turn: Option<Position>,
    /// Whether this history continues from the [`position`](Inbox::position) that the inbox had when it was read. If so, publications in
    /// between that are missing here have left the history. `None` if the inbox had no position.
    pub(crate) continues: Option<bool>,
    /// Whether the history has more publications, further back; for [`Part::After`], further on.
    pub(crate) more: bool,
    /// See [`Broker::follow`].
    pub(crate) round: u64,
}

/// The clients in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Presence {
    pub(crate) total: usize,
    /// Some of the clients, if there are many.
    pub(crate) clients: Vec<Member>,
}

impl Presence {
    /// The number of different users among the clients. A client without a user counts as one of its own.
    pub(crate) fn users(&self) -> usize {
        let users: std::collections::HashSet<_> = self.clients.iter().filter_map(Member::user).collect();
        users.len() + self.clients.iter().filter(|member| member.user().is_none()).count()
    }
}

/// Why a broker did not carry out a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The broker is unreachable, refuses requests, or is overloaded. The request had no effect.
    Unavailable,
    /// The request was sent and got no answer. Whether it was carried out is unknown.
    Unknown,
    /// The maximum number of channels is reached.
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
