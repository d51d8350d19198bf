//! The interface for speaking to a broker in another process, over RESP. Without I/O.

use std::sync::Arc;
use std::time::Duration;

use proto_resp::Value;
use protocol::bytes::Bytes;

use super::reading::{Page, Range};
use super::{Done, Member, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position, Publication};

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Requests, and their replies.
    Requests,
    /// Publications as they are published; brokers may limit such connections differently.
    News,
}

/// A command: its name, and its arguments.
pub(crate) type Words = Vec<Bytes>;

/// One life of a broker's memory: until the broker is restarted or replaced. In another life it may have lost data that it acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Life {
    /// The number of this life, which is greater than those of all earlier lives.
    pub(crate) term: u64,
    /// The process of this life.
    pub(crate) run: String,
    /// Another identifier of this life.
    pub(crate) replication: String,
}

/// Why a new connection is given up at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It may succeed later.
    Now(String),
    /// The server can never be used.
    Ever(String),
}

/// The meaning of an error reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) trouble: Trouble,
    /// Whether to reconnect: the request must be sent to another server, or in another life.
    pub(crate) begin_again: bool,
}

/// What to do with a reply.
pub(crate) enum Ticket {
    /// A reply to one of the first commands.
    Begin,
    /// Nothing; errors are reported.
    Nothing,
    Published(Name, Keep, Done<Position>),
    /// A page of a channel that is followed.
    Page(Name),
    /// A page for a client's request.
    History(Name, Keep, Done<Snapshot>),
    /// A part of a history for a client's request.
    Part(Name, Keep, Done<Snapshot>),
    Presence(usize, Done<Presence>),
    /// The channels that were subscribed to.
    Followed(Vec<(Name, Keep)>),
    /// Clients were reported as present, or as gone, in this channel.
    Entered(Name),
    /// A channel's presence was refreshed; the reply says whether it existed.
    Refreshed(Name),
    /// A break in a channel's history was marked.
    Broken(Name),
}

/// The content of a push.
pub(crate) enum News {
    Publication(Arc<Publication>),
    /// The channel is inconsistent and must be read again.
    Look(Name),
    /// Not for comet.
    Nothing,
    Unreadable,
}

/// One side of an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before(u64),
    After(u64),
}

impl Side {
    /// The words for a command.
    pub(crate) fn words(self) -> (Bytes, Bytes) {
        match self {
            Side::Before(offset) => ("before".into(), offset.to_string().into()),
            Side::After(offset) => ("after".into(), offset.to_string().into()),
        }
    }
}

/// How to speak to a kind of server.
pub(crate) trait Dialect: Send + Sync + 'static {
    /// Whether publications arrive on a separate connection.
    fn has_news_apart(&self) -> bool;

    /// Checks what the server reported about itself in the handshake.
    ///
    /// # Errors
    ///
    /// Why the server cannot be used.
    fn greeted(&self, greeting: &Value) -> Result<(), Refusal>;

    /// The first commands of a connection.
    fn begin(&self, role: Role) -> Vec<Words>;

    /// Checks the replies to the first commands.
    ///
    /// # Errors
    ///
    /// Why the connection must not be used.
    fn begun(&self, role: Role, replies: &[Value]) -> Result<Life, Refusal>;

    fn follow(&self, channels: &[(Name, Keep)]) -> Words;
    fn forget(&self, channels: &[Name]) -> Words;
    fn publish(&self, life: &Life, draft: Draft, keep: Keep) -> Words;
    fn published(&self, reply: &Value) -> Option<Position>;
    fn read(&self, channel: &Name, range: &Range) -> Words;
    fn page(&self, channel: &Name, reply: &Value) -> Option<Page>;
    /// Reads the publications on one side of an offset, beginning with the next to it.
    fn read_part(&self, channel: &Name, side: Side, publications: usize, bytes: usize) -> Words;
    /// The channel's position, and the entries that were read, oldest first.
    fn part(&self, channel: &Name, reply: &Value) -> Option<(Position, Page)>;
    /// Marks that a channel which ends at `last` has lost publications: later ones get a new epoch, so that nobody takes the history for a
    /// continuous one. `None` if the broker cannot lose publications.
    fn mark_broken(&self, channel: &Name, last: Option<Position>, keep: Keep) -> Option<Words>;
    /// Notes that these members are present; with `alone`, no other client of this node is.
    fn enter(&self, channel: &Name, members: &[&Member], alone: bool) -> Words;
    fn leave(&self, channel: &Name, client: &str) -> Words;
    fn presence(&self, channel: &Name, limit: usize) -> Words;
    fn present(&self, reply: &Value, limit: usize) -> Option<Presence>;
    /// The command that keeps a followed channel from expiring; due from time to time.
    fn refresh(&self, channel: &Name, keep: Keep) -> Option<Words>;
    /// The command that keeps presence from expiring; due from time to time.
    fn refresh_presence(&self, channel: &Name) -> Option<Words>;
    /// The intervals of both.
    fn refresh_times(&self) -> [Duration; 2];

    fn news(&self, kind: &[u8], data: &[Value]) -> News;
    fn judge(&self, error: &[u8]) -> Verdict;
}
