//! What a broker in another process is asked, and how that is said in RESP.

use std::collections::HashMap;
use std::sync::Arc;

use proto_resp::Value;
use protocol::bytes::Bytes;

use super::{Done, Member, Presence, Snapshot};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position};

/// What is asked of it. One that is dropped has no outcome.
pub(crate) enum Order {
    Follow(Name, Keep),
    Forget(Name),
    Publish(Draft, Keep, Done<Position>),
    Snapshot(Name, Keep, Done<Snapshot>),
    Enter(Name, Member),
    Leave(Name, Arc<str>),
    Presence(Name, usize, Done<Presence>),
    /// What would be forgotten in time is still wanted.
    Refresh(Arc<Wanted>),
}

/// What a node wants kept, for as long as it does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) channels: HashMap<Name, Keep>,
    pub(crate) members: HashMap<(Name, Arc<str>), Member>,
}

/// What is to be done with a reply.
pub(crate) enum Ticket {
    /// Nothing; but errors are told.
    Nothing,
    /// A snapshot of at most so many publications.
    Follow(Name, usize),
    Published(Done<Position>),
    Snapshot(Name, usize, Done<Snapshot>),
    Presence(usize, Done<Presence>),
}

/// A command, its name first, and what its reply is for.
pub(crate) type Command = (Vec<Bytes>, Ticket);

/// How a kind of server is spoken to. Without I/O: a link carries the commands, and brings replies and pushes.
pub(crate) trait Dialect: Send + 'static {
    /// The connection stands; what is `wanted` is asked for.
    fn ready(&mut self, wanted: &Wanted) -> Vec<Command>;

    fn order(&mut self, order: Order) -> Vec<Command>;

    /// A reply, to be told to whom it is for. What was asked for but not carried out is said in words.
    fn reply(&mut self, ticket: Ticket, reply: &Value) -> Result<(), String>;

    /// Something that no command had asked for, of some kind.
    fn push(&mut self, kind: &[u8], data: &[Value]) -> Result<(), String>;
}
