//! The API for back ends: JSON over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto_http::{Misuse, Request, Responder};
use protocol::Sender;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Visitor, parameter};
use crate::app::App;
use crate::broker::{Member, Part};
use crate::channel::Name;
use crate::messages::{Code, Failure, Id, MOST, check_data, key};
use crate::node::{self, Outcome, Post};
use crate::publication::{Draft, Epoch, Publication};
use crate::session::failure;

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Cache-Control", "no-store")];
/// The most clients in an answer about presence.
const MOST_CLIENTS: usize = 10_000;

/// An API call in progress.
pub(super) struct Call {
    what: What,
    body: Vec<u8>,
}

enum What {
    Publish,
    History(Name, usize),
    Presence(Name),
    Channels,
    Nodes,
    /// Waits for the broker's answer.
    Wait,
}

impl Call {
    /// Begins a call. `None` if it is already answered.
    pub(super) fn new(
        visitor: &Visitor,
        request: &Request<'_>,
        answer: &mut Responder<'_, '_>,
    ) -> Result<Option<Self>, Misuse> {
        let method = match request.path() {
            "/api/publish" => "POST",
            "/api/history" | "/api/presence" | "/api/channels" | "/api/nodes" => "GET",
            _ => {
                let missing = Failure::new(Code::BadRequest, "the API has no such call");
                return fail(answer, 404, missing).map(|()| None);
            }
        };
        let is_asked_for = request.method() == method || method == "GET" && request.method() == "HEAD";
        if !is_asked_for {
            let allow = if method == "GET" {
                "GET, HEAD, OPTIONS"
            } else {
                "POST, OPTIONS"
            };
            return answer.send(405, &[("Allow", allow)], b"").map(|()| None);
        }
        let shown = request.fields().get("authorization").and_then(bearer);
        let known = &visitor.app().settings.api_token;
        if !known.as_ref().zip(shown).is_some_and(|(known, shown)| known.is(shown)) {
            return unauthorized(answer, "this needs the API token").map(|()| None);
        }
        match what(request) {
            Ok(what) => Ok(Some(Call { what, body: Vec::new() })),
            Err(failure) => fail(answer, 400, failure).map(|()| None),
        }
    }

    /// Adds a part of the body, whose size the server limits.
    pub(super) fn data(&mut self, data: &[u8]) {
        self.body.extend_from_slice(data);
    }

    /// The request is complete: carries it out.
    pub(super) fn end(
        &mut self,
        app: &Arc<App>,
        sender: &Sender<Post>,
        answer: &mut Responder<'_, '_>,
    ) -> Result<(), Misuse> {
        let body = core::mem::take(&mut self.body);
        match core::mem::replace(&mut self.what, What::Wait) {
            What::Publish => match publish(app, sender, &body) {
                Ok(()) => Ok(()),
                Err(failure) => fail(answer, status(failure.code), failure),
            },
            What::History(channel, limit) => match app.rule(&channel) {
                Ok(rule) => {
                    let mut keep = rule.keep;
                    keep.publications = keep.publications.min(limit);
                    let done = node::Answer::to(sender.clone(), Id::NONE, channel.clone(), Outcome::Snapshot);
                    app.node.broker().snapshot(&channel, Part::Newest, keep, done);
                    Ok(())
                }
                Err(failure) => fail(answer, status(failure.code), failure),
            },
            What::Presence(channel) => {
                let done = node::Answer::to(sender.clone(), Id::NONE, channel.clone(), Outcome::Presence);
                app.node.broker().presence(&channel, MOST_CLIENTS, done);
                Ok(())
            }
            What::Channels => send(answer, &channels(app)),
            What::Nodes => send(answer, &json!({ "nodes": app.node.samples() })),
            What::Wait => Ok(()),
        }
    }

    /// The broker has answered.
    pub(super) fn answered(&mut self, outcome: node::Answer, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if !matches!(self.what, What::Wait) || !answer.is_due() {
            return Ok(());
        }
        let channel = &outcome.channel;
        let sent = match outcome.outcome {
            Outcome::Said(_) => return Ok(()),
            Outcome::Published(outcome) => outcome.map(|position| send(answer, &position)),
            Outcome::Snapshot(outcome) => outcome.map(|snapshot| {
                let history = History {
                    channel,
                    epoch: snapshot.position.epoch,
                    offset: snapshot.position.offset,
                    publications: &snapshot.publications,
                    more: snapshot.more,
                };
                send(answer, &history)
            }),
            Outcome::Presence(outcome) => outcome.map(|presence| {
                let there = There {
                    channel,
                    total: presence.total,
                    clients: &presence.clients,
                };
                send(answer, &there)
            }),
        };
        match sent {
            Ok(sent) => sent,
            Err(trouble) => {
                let failure = failure(trouble);
                fail(answer, status(failure.code), failure)
            }
        }
    }
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
    clients: &'a [Member],
}

fn what(request: &Request<'_>) -> Result<What, Failure> {
    let channel = || {
        let name = parameter(request, "channel").and_then(|name| name.parse::<Name>().ok());
        name.ok_or(Failure::new(
            Code::BadRequest,
            "the parameter channel is not the name of one",
        ))
    };
    let limit = match parameter(request, "limit").map(|limit| limit.parse::<usize>()) {
        None => MOST,
        Some(Ok(limit)) => limit.min(MOST),
        Some(Err(_)) => return Err(Failure::new(Code::BadRequest, "the parameter limit is no number")),
    };
    Ok(match request.path() {
        "/api/publish" => What::Publish,
        "/api/history" => What::History(channel()?, limit),
        "/api/presence" => What::Presence(channel()?),
        "/api/channels" => What::Channels,
        _ => What::Nodes,
    })
}

/// The body of a publish request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish<'a> {
    channel: Name,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    user: Option<Arc<str>>,
    #[serde(borrow, default)]
    key: Option<std::borrow::Cow<'a, str>>,
}

fn publish(app: &Arc<App>, sender: &Sender<Post>, body: &[u8]) -> Result<(), Failure> {
    let Publish {
        channel,
        data,
        user,
        key: named,
    } = serde_json::from_slice(body).map_err(|_| {
        Failure::new(
            Code::BadRequest,
            "the body is {\"channel\":NAME,\"data\":JSON}, perhaps with a \"user\" and a \"key\"",
        )
    })?;
    if channel.is_reserved() {
        return Err(Failure::new(
            Code::Forbidden,
            "channels that begin with $ are comet's own",
        ));
    }
    let keep = app.rule(&channel)?.keep;
    check_data(data)?;
    let mut draft = Draft::new(channel.clone(), user, data);
    draft.key = named.as_deref().map(key).transpose()?;
    let done = node::Answer::to(sender.clone(), Id::NONE, channel, Outcome::Published);
    app.node.counters.published.add(1);
    app.node.broker().publish(draft, keep, done);
    Ok(())
}

/// The channels of all nodes, as last reported.
fn channels(app: &App) -> serde_json::Value {
    let samples = app.node.samples();
    let mut channels: BTreeMap<&Name, (usize, usize)> = BTreeMap::new();
    for (name, listeners) in samples.iter().flat_map(|sample| &sample.channels) {
        let known = channels.entry(name).or_default();
        known.0 += listeners;
        known.1 += 1;
    }
    let listed: Vec<_> = channels
        .iter()
        .filter(|(name, _)| !name.is_reserved())
        .map(|(name, (subscribers, nodes))| json!({ "channel": name, "subscribers": subscribers, "nodes": nodes }))
        .collect();
    let more: usize = samples.iter().map(|sample| sample.more_channels).sum();
    json!({ "channels": listed, "more": more })
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    // The scheme is case-insensitive (RFC 9110 section 11.1).
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

const fn status(code: Code) -> u16 {
    match code {
        Code::BadRequest | Code::AlreadySubscribed | Code::NotSubscribed => 400,
        Code::Forbidden => 403,
        Code::NoSuchChannel => 404,
        Code::TooMany | Code::Unavailable => 503,
        Code::Unknown => 504,
    }
}

/// Answers that the token is missing or invalid.
pub(super) fn unauthorized(answer: &mut Responder<'_, '_>, why: &'static str) -> Result<(), Misuse> {
    let fields = [JSON[0], JSON[1], ("WWW-Authenticate", "Bearer")];
    let failure = Failure::new(Code::Forbidden, why);
    answer.send(401, &fields, describe(failure).as_bytes())
}

/// Answers with a failure.
pub(super) fn fail(answer: &mut Responder<'_, '_>, status: u16, failure: Failure) -> Result<(), Misuse> {
    answer.send(status, JSON, describe(failure).as_bytes())
}

fn describe(Failure { code, reason }: Failure) -> String {
    json!({ "code": code, "reason": reason }).to_string()
}

fn send(answer: &mut Responder<'_, '_>, json: &impl Serialize) -> Result<(), Misuse> {
    // Cannot fail: strings and numbers always make JSON.
    let body = serde_json::to_vec(json).unwrap_or_default();
    answer.send_shared(200, JSON, body.into())
}
