//! Messages to a connection's mailbox.

use std::sync::Arc;

use protocol::Sender;

use super::{Feed, Order};
use crate::backend::Verdict;
use crate::broker::{Done, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::messages::{Code, Id};
use crate::publication::{Position, Publication};

/// A message to one connection. Small, because there is one for each publication and subscriber.
#[derive(Debug)]
pub(crate) enum Post {
    /// A publication in a subscribed channel.
    Publication(Arc<Publication>),
    /// The feed of a channel has begun, or has lost publications and begins anew.
    Position(Arc<Feed>),
    /// The feed could not begin.
    NoFeed(Arc<Feed>),
    /// A message was lost because the mailbox was full: check for new publications.
    Look(Arc<Feed>),
    /// The server asks its clients to leave and reconnect.
    Leave,
    /// The client's token has expired.
    Expired,
    /// An order of the API.
    Order(Arc<Order>),
    /// A heartbeat, for protocols without their own.
    Heartbeat,
    /// The broker's answer to a request.
    Answer(Box<Answer>),
}

/// The broker's answer to the request with this number.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) to: Id,
    pub(crate) channel: Name,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Published(Result<Position, Trouble>),
    Snapshot(Result<Snapshot, Trouble>),
    Presence(Result<Presence, Trouble>),
    /// The back end's verdict on the subscription of this question.
    MaySubscribe(u64, Result<Verdict, Trouble>),
    /// The back end's verdict on a client that connects, and the channels that the client wants.
    MayConnect(Vec<(Name, Option<Position>)>, Result<Verdict, Trouble>),
    /// The request was refused.
    Refused(Code, String),
    /// The outcomes of all questions of one request.
    All(Vec<Outcome>),
    /// The result of another action, in words.
    Said(String),
}

impl Answer {
    /// Makes an outcome post its answer, for the request with the id `to`, to `sender`.
    pub(crate) fn to<T: 'static>(
        sender: Sender<Post>,
        to: Id,
        channel: Name,
        outcome: fn(Result<T, Trouble>) -> Outcome,
    ) -> Done<T> {
        Done::new(move |result| {
            let answer = Answer {
                to,
                channel,
                outcome: outcome(result),
            };
            // If the mailbox is full or the connection has ended, the client times out.
            let _ = sender.send(Post::Answer(Box::new(answer)));
        })
    }
}
