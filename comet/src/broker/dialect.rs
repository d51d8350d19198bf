//! How a broker in another process is spoken to, in RESP. Without I/O.

use std::sync::Arc;
use std::time::Duration;

use proto_resp::Value;
use protocol::bytes::Bytes;

use super::reading::{Page, Range};
use super::{Done, Member, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position, Publication};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Requests, and their replies.
    Requests,
    /// What is published, as it is published: for brokers that set such connections other bounds.
    News,
}

/// A command: its name, and its arguments.
pub(crate) type Words = Vec<Bytes>;

/// One life of a broker's memory: until it is started anew, or another takes its place. In another life it may have lost what
/// it had said before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Life {
    /// Every life's number is greater than those of all before it.
    pub(crate) term: u64,
    /// The process that lives it.
    pub(crate) run: String,
    /// What else it is known by.
    pub(crate) replication: String,
}

/// Why a connection is given up as soon as it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It may be better another time.
    Now(String),
    /// What is there can never be used.
    Ever(String),
}

/// What an error reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) trouble: Trouble,
    /// Whether the connection is to be made anew: what was asked for has to be asked somewhere else, or in another life.
    pub(crate) begin_again: bool,
}

/// What is to be done with a reply.
pub(crate) enum Ticket {
    /// One of the commands of the beginning.
    Begin,
    /// Nothing; but errors are told.
    Nothing,
    Published(Name, Keep, Done<Position>),
    /// A page of a channel that is followed.
    Page(Name),
    /// A page for one who has asked.
    History(Name, Keep, Done<Snapshot>),
    Presence(usize, Done<Presence>),
    /// So many channels are subscribed to.
    Followed(Vec<(Name, Keep)>),
    /// Of a channel's presence something was told.
    Entered(Name),
    /// A channel's presence was refreshed: whether it was there.
    Refreshed(Name),
    /// A channel's break with its past was marked.
    Broken(Name),
}

/// What a push says.
pub(crate) enum News {
    Publication(Arc<Publication>),
    /// Something that leaves the channel torn: it is to be read anew.
    Look(Name),
    /// Nothing of ours.
    Nothing,
    Unreadable,
}

/// How a kind of server is spoken to.
pub(crate) trait Dialect: Send + Sync + 'static {
    /// Whether news come on a connection of their own.
    fn has_news_apart(&self) -> bool;

    /// What the server said of itself in the handshake.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    fn greeted(&self, greeting: &Value) -> Result<(), Refusal>;

    /// What a connection begins with.
    fn begin(&self, role: Role) -> Vec<Words>;

    /// What the replies to that say.
    ///
    /// # Errors
    ///
    /// Why the connection is not to be used.
    fn begun(&self, role: Role, replies: &[Value]) -> Result<Life, Refusal>;

    fn follow(&self, channels: &[(Name, Keep)]) -> Words;
    fn forget(&self, channels: &[Name]) -> Words;
    fn publish(&self, life: &Life, draft: Draft, keep: Keep) -> Words;
    fn published(&self, reply: &Value) -> Option<Position>;
    fn read(&self, channel: &Name, range: &Range) -> Words;
    fn page(&self, channel: &Name, reply: &Value) -> Option<Page>;
    /// Marks that a channel which ends at `last` has lost publications: what comes is of another epoch, in which nobody may
    /// take it for what it was. `None` where that does not happen.
    fn mark_broken(&self, channel: &Name, last: Option<Position>, keep: Keep) -> Option<Words>;
    /// Notes that these are present; with `alone`, nobody else of this node is.
    fn enter(&self, channel: &Name, members: &[&Member], alone: bool) -> Words;
    fn leave(&self, channel: &Name, client: &str) -> Words;
    fn presence(&self, channel: &Name, limit: usize) -> Words;
    fn present(&self, reply: &Value, limit: usize) -> Option<Presence>;
    /// What a channel that is followed needs from time to time in order not to be forgotten.
    fn refresh(&self, channel: &Name, keep: Keep) -> Option<Words>;
    /// The same for those who are present.
    fn refresh_presence(&self, channel: &Name) -> Option<Words>;
    /// How often both are due.
    fn refresh_times(&self) -> [Duration; 2];

    fn news(&self, kind: &[u8], data: &[Value]) -> News;
    fn judge(&self, error: &[u8]) -> Verdict;
}
