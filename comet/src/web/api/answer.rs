//! The answers of the API in JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::broker::{Member, Trouble};
use crate::channel::{Name, Pattern};
use crate::messages::{Code, Failure};
use crate::node::Outcome;
use crate::publication::{Epoch, Publication};
use crate::session::failure;

/// What the answer to a command tells of.
#[derive(Debug)]
pub(super) enum Topic {
    /// One publication.
    Published,
    /// One publication in each channel; some may have failed before they were asked for.
    PublishedIn(Vec<(Name, Option<Failure>)>),
    History(Name),
    Presence(Name),
    /// Nothing more than that the command was carried out.
    Done,
    /// JSON that is known already.
    Known(String),
    Failed(Failure),
}

/// A channel's history. Data is copied literally, because clients may publish JSON that not every parser supports.
#[derive(Serialize)]
struct History<'a> {
    channel: &'a Name,
    epoch: Epoch,
    offset: u64,
    publications: &'a [Arc<Publication>],
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    more: bool,
}

/// The clients in a channel.
#[derive(Serialize)]
struct There<'a> {
    channel: &'a Name,
    total: usize,
    users: usize,
    clients: &'a [Member],
}

impl Topic {
    /// The number of outcomes that the answer needs.
    pub(super) fn questions(&self) -> usize {
        match self {
            Topic::Published | Topic::History(_) | Topic::Presence(_) | Topic::Done => 1,
            Topic::PublishedIn(channels) => channels.iter().filter(|(_, failed)| failed.is_none()).count(),
            Topic::Known(_) | Topic::Failed(_) => 0,
        }
    }

    /// The answer as JSON, made of the next outcomes.
    pub(super) fn answer(self, outcomes: &mut impl Iterator<Item = Outcome>) -> Result<String, Failure> {
        let answered = match self {
            Topic::Failed(failure) => return Err(failure),
            Topic::Known(json) => return Ok(json),
            Topic::PublishedIn(channels) => return published(channels, outcomes),
            Topic::Published => match outcomes.next() {
                Some(Outcome::Published(outcome)) => outcome.map(|position| text(&position)),
                _ => Err(Trouble::Unknown),
            },
            Topic::Done => match outcomes.next() {
                Some(Outcome::Published(outcome)) => outcome.map(|_| "{}".to_owned()),
                _ => Err(Trouble::Unknown),
            },
            Topic::History(channel) => match outcomes.next() {
                Some(Outcome::Snapshot(outcome)) => outcome.map(|snapshot| {
                    text(&History {
                        channel: &channel,
                        epoch: snapshot.position.epoch,
                        offset: snapshot.position.offset,
                        publications: &snapshot.publications,
                        more: snapshot.more,
                    })
                }),
                _ => Err(Trouble::Unknown),
            },
            Topic::Presence(channel) => match outcomes.next() {
                Some(Outcome::Presence(outcome)) => outcome.map(|presence| {
                    text(&There {
                        channel: &channel,
                        total: presence.total,
                        users: presence.users(),
                        clients: &presence.clients,
                    })
                }),
                _ => Err(Trouble::Unknown),
            },
        };
        answered.map_err(failure)
    }
}

/// The answer to a publication in several channels. Fails if all have failed.
fn published(
    channels: Vec<(Name, Option<Failure>)>,
    outcomes: &mut impl Iterator<Item = Outcome>,
) -> Result<String, Failure> {
    let (mut publications, mut failed) = (Vec::new(), None);
    let mut succeeded = false;
    for (channel, refused) in channels {
        let outcome = match (refused, refused.is_none().then(|| outcomes.next()).flatten()) {
            (Some(refused), _) => Err(refused),
            (None, Some(Outcome::Published(outcome))) => outcome.map_err(failure),
            _ => Err(failure(Trouble::Unknown)),
        };
        publications.push(match outcome {
            Ok(position) => {
                succeeded = true;
                json!({ "channel": channel, "epoch": position.epoch, "offset": position.offset })
            }
            Err(failure) => {
                failed.get_or_insert(failure);
                json!({ "channel": channel, "code": failure.code, "reason": failure.reason })
            }
        });
    }
    match failed {
        Some(failure) if !succeeded => Err(failure),
        _ => Ok(json!({ "publications": publications }).to_string()),
    }
}

/// The channels of all nodes that fit the pattern, as last reported.
pub(super) fn channels(app: &App, pattern: Option<&Pattern>) -> String {
    let samples = app.node.samples();
    let mut channels: BTreeMap<&Name, (usize, usize)> = BTreeMap::new();
    for (name, listeners) in samples.iter().flat_map(|sample| &sample.channels) {
        let known = channels.entry(name).or_default();
        known.0 += listeners;
        known.1 += 1;
    }
    let listed: Vec<_> = channels
        .iter()
        .filter(|(name, _)| !name.is_reserved() && pattern.is_none_or(|pattern| pattern.fits(name)))
        .map(|(name, (subscribers, nodes))| json!({ "channel": name, "subscribers": subscribers, "nodes": nodes }))
        .collect();
    let more: usize = samples.iter().map(|sample| sample.more_channels).sum();
    json!({ "channels": listed, "more": more }).to_string()
}

fn text(json: &impl Serialize) -> String {
    // Cannot fail: strings and numbers always make JSON.
    serde_json::to_string(json).unwrap_or_default()
}

pub(super) const fn status(code: Code) -> u16 {
    match code {
        Code::BadRequest | Code::AlreadySubscribed | Code::NotSubscribed | Code::Unsubscribed => 400,
        Code::Forbidden | Code::NotAvailable | Code::TokenExpired => 403,
        Code::NoSuchChannel | Code::NoMethod => 404,
        Code::TooMany | Code::TooFast | Code::Unavailable => 503,
        Code::Unknown => 504,
    }
}

pub(super) fn describe(Failure { code, reason }: Failure) -> String {
    json!({ "code": code, "reason": reason }).to_string()
}
