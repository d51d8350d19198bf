//! What comes to a connection through its mailbox.

use std::sync::Arc;

use protocol::Sender;

use super::Feed;
use crate::broker::{Done, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::messages::Id;
use crate::publication::{Position, Publication};

/// A message for one connection. Small, for there is one for each publication and subscriber.
#[derive(Debug)]
pub(crate) enum Post {
    /// Something was published in a channel that is subscribed to.
    Publication(Arc<Publication>),
    /// The feed of a channel has begun, or has lost something and begins anew.
    Position(Arc<Feed>),
    /// The feed has not begun and does not.
    NoFeed(Arc<Feed>),
    /// A post was lost for want of room: look what is new.
    Look(Arc<Feed>),
    /// The server asks its clients to leave, and to come back.
    Leave,
    /// The time of the client's token is over.
    Expired,
    /// Time for a sign of life, where the protocol has none of its own.
    Heartbeat,
    /// The broker's answer to a request.
    Answer(Box<Answer>),
}

/// The broker's answer to the request of that number.
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
    /// What came of something else, in words.
    Said(String),
}

impl Answer {
    /// Has the answer to the request of the id `to` posted to `sender`.
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
            // Where the mailbox is full, or the connection gone, the client finds out by waiting.
            let _ = sender.send(Post::Answer(Box::new(answer)));
        })
    }
}
