//! Commands of clients.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::channel::Name;
use crate::messages::{Code, Failure};
use crate::publication::{Epoch, Position};

/// A command: an object with an id and one field, the command's name. Unknown fields are ignored.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Command<'a> {
    pub(super) id: u32,
    #[serde(borrow)]
    pub(super) connect: Option<Connect<'a>>,
    #[serde(borrow)]
    pub(super) subscribe: Option<Subscribe<'a>>,
    #[serde(borrow)]
    pub(super) unsubscribe: Option<Of<'a>>,
    #[serde(borrow)]
    pub(super) publish: Option<Publish<'a>>,
    #[serde(borrow)]
    pub(super) presence: Option<Of<'a>>,
    #[serde(borrow)]
    pub(super) presence_stats: Option<Of<'a>>,
    #[serde(borrow)]
    pub(super) history: Option<History<'a>>,
    pub(super) ping: Option<Nothing>,
    #[serde(borrow)]
    pub(super) send: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) rpc: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) refresh: Option<Refresh<'a>>,
    #[serde(borrow)]
    pub(super) sub_refresh: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// The first command of every client.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Connect<'a> {
    #[serde(borrow)]
    pub(crate) token: Cow<'a, str>,
    /// What the client tells the back end.
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    /// Channels that the client is subscribed to as it connects, and where it stood in them.
    #[serde(borrow)]
    pub(crate) subs: BTreeMap<Cow<'a, str>, Since<'a>>,
}

/// From where on a client wants the publications of a channel.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Since<'a> {
    recover: bool,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Subscribe<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    recover: bool,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
    #[serde(borrow)]
    pub(super) token: Cow<'a, str>,
    /// The kind of deltas that the client takes.
    #[serde(borrow)]
    delta: Cow<'a, str>,
}

/// A command about a channel.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Of<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Publish<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct History<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    /// The most publications; below zero, as many as there are.
    pub(super) limit: i64,
    #[serde(borrow)]
    pub(super) since: Option<Place<'a>>,
    pub(super) reverse: bool,
}

/// A position.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Place<'a> {
    pub(super) offset: u64,
    #[serde(borrow, rename = "epoch")]
    _epoch: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Refresh<'a> {
    #[serde(borrow)]
    pub(super) token: Cow<'a, str>,
}

fn name(channel: &str) -> Result<Name, Failure> {
    channel.parse().map_err(|_| {
        let reason = "a channel's name is 1 to 255 visible ASCII characters without '*'";
        Failure::new(Code::BadRequest, reason)
    })
}

fn since(recover: bool, epoch: &str, offset: u64) -> Option<Position> {
    recover.then(|| Position {
        // An invalid epoch counts as one that is over.
        epoch: epoch.parse().unwrap_or(Epoch::NONE),
        offset,
    })
}

impl Since<'_> {
    pub(super) fn position(&self) -> Option<Position> {
        since(self.recover, &self.epoch, self.offset)
    }
}

impl Subscribe<'_> {
    pub(super) fn channel(&self) -> Result<Name, Failure> {
        name(&self.channel)
    }

    pub(super) fn position(&self) -> Option<Position> {
        since(self.recover, &self.epoch, self.offset)
    }
}

impl Subscribe<'_> {
    pub(super) fn takes_deltas(&self) -> bool {
        self.delta == "fossil"
    }
}

impl Of<'_> {
    pub(super) fn channel(&self) -> Result<Name, Failure> {
        name(&self.channel)
    }
}

impl Publish<'_> {
    pub(super) fn channel(&self) -> Result<Name, Failure> {
        name(&self.channel)
    }
}

impl History<'_> {
    pub(super) fn channel(&self) -> Result<Name, Failure> {
        name(&self.channel)
    }
}
