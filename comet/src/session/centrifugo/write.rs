//! Answers and pushes to clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{REVERSED, STATS};
use crate::broker::{Info, Member, Presence};
use crate::channel::Name;
use crate::messages::{Code, Id, Reply};
use crate::node::BEAT;
use crate::publication::Publication;

/// The version that clients are told: of the protocol that they speak, and of comet.
const VERSION: &str = concat!("comet ", env!("CARGO_PKG_VERSION"));
/// How long before the end of a token its client is asked to refresh it, at most.
const EARLY: Duration = Duration::from_secs(25);

/// A client, as others see it.
#[derive(Serialize)]
struct ClientInfo<'a> {
    user: &'a str,
    client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn_info: Option<&'a Info>,
}

impl<'a> From<&'a Member> for ClientInfo<'a> {
    fn from(member: &'a Member) -> Self {
        ClientInfo {
            user: member.user().map_or("", |user| user),
            client: &member.client,
            conn_info: member.info(),
        }
    }
}

/// A publication.
#[derive(Serialize)]
struct Pub<'a> {
    data: &'a RawValue,
    /// Who has published it, if that is a user. Which client it was is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<ClientInfo<'a>>,
    offset: u64,
}

impl<'a> From<&'a Publication> for Pub<'a> {
    fn from(publication: &'a Publication) -> Self {
        Pub {
            data: serde_json::from_slice(&publication.data).unwrap_or(RawValue::NULL),
            info: publication.user.as_deref().map(|user| ClientInfo {
                user,
                client: "",
                conn_info: None,
            }),
            offset: publication.offset(),
        }
    }
}

fn pubs(publications: &[Arc<Publication>]) -> Vec<Pub<'_>> {
    publications
        .iter()
        .map(|publication| Pub::from(&**publication))
        .collect()
}

fn whole(publications: &[Arc<Publication>]) -> Vec<PubDelta<'_>> {
    let whole = publications.iter().map(|publication| {
        let text = str::from_utf8(&publication.data).unwrap_or_default();
        PubDelta::of(publication, text, false)
    });
    whole.collect()
}

#[derive(Serialize)]
struct Push<'a> {
    channel: &'a str,
    #[serde(rename = "pub")]
    publication: Pub<'a>,
}

/// A publication whose data is text: JSON, or a delta.
#[derive(Serialize)]
struct PubDelta<'a> {
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<ClientInfo<'a>>,
    offset: u64,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    delta: bool,
}

impl<'a> PubDelta<'a> {
    fn of(publication: &'a Publication, data: &'a str, delta: bool) -> Self {
        let Pub { info, offset, .. } = Pub::from(publication);
        PubDelta {
            data,
            info,
            offset,
            delta,
        }
    }
}

/// The push of a publication for a client that takes deltas.
pub(crate) fn push_of_delta(publication: &Publication, data: &str, is_delta: bool) -> String {
    #[derive(Serialize)]
    struct Push<'a> {
        channel: &'a str,
        #[serde(rename = "pub")]
        publication: PubDelta<'a>,
    }
    text(&Push {
        channel: publication.channel.as_str(),
        publication: PubDelta::of(publication, data, is_delta),
    })
}

/// The push of a publication, or of the event that a client has come or left.
pub(crate) fn push_of(publication: &Publication) -> String {
    let Some(channel) = publication.channel.joined() else {
        return text(&Push {
            channel: publication.channel.as_str(),
            publication: Pub::from(publication),
        });
    };
    let Some((kind, member)) = publication.event_of_member() else {
        return "{}".to_owned();
    };
    let member: Joined<'_> = serde_json::from_str(member.get()).unwrap_or_default();
    let info = BTreeMap::from([(
        "info",
        ClientInfo {
            user: &member.user,
            client: &member.client,
            conn_info: member.info.as_ref(),
        },
    )]);
    let channel = serde_json::to_string(channel).unwrap_or_default();
    format!("{{\"channel\":{channel},\"{kind}\":{}}}", text(&info))
}

/// A client in an event.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Joined<'a> {
    #[serde(borrow)]
    client: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    user: std::borrow::Cow<'a, str>,
    info: Option<Info>,
}

/// The publications of an answer.
#[derive(Serialize)]
#[serde(untagged)]
enum Pubs<'a> {
    Json(Vec<Pub<'a>>),
    Text(Vec<PubDelta<'a>>),
}

impl Pubs<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Pubs::Json(all) => all.is_empty(),
            Pubs::Text(all) => all.is_empty(),
        }
    }
}

#[derive(Serialize)]
struct Subscribed<'a> {
    recoverable: bool,
    epoch: String,
    #[serde(skip_serializing_if = "Pubs::is_empty")]
    publications: Pubs<'a>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    delta: bool,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    recovered: bool,
    offset: u64,
    positioned: bool,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    was_recovering: bool,
}

#[derive(Serialize)]
struct History<'a> {
    publications: Vec<Pub<'a>>,
    epoch: String,
    offset: u64,
}

/// Writes a message in Centrifugo's protocol: none, one, or several.
pub(in crate::session) fn write(reply: &Reply<'_>, is_one_way: bool, mut send: impl FnMut(&str)) {
    let mut answer = |id: &Id, kind: &str, content: &str| {
        let id = number(id) as u32;
        send(&if is_one_way {
            format!("{{\"{kind}\":{content}}}")
        } else {
            format!("{{\"id\":{id},\"{kind}\":{content}}}")
        });
    };
    match reply {
        Reply::Welcome {
            id,
            left,
            client,
            node,
            data,
            ..
        } => {
            let mut welcome = json!({ "client": client, "version": VERSION, "ping": BEAT, "node": node });
            if !is_one_way {
                welcome["pong"] = true.into();
            }
            expires(&mut welcome, *left);
            if let Some(data) = data {
                welcome["data"] = serde_json::from_str(data.get()).unwrap_or_default();
            }
            answer(id, "connect", &welcome.to_string());
        }
        Reply::Authorized { id, left, client, .. } => {
            let mut refreshed = json!({ "client": client, "version": VERSION });
            expires(&mut refreshed, *left);
            answer(id, "refresh", &refreshed.to_string());
        }
        Reply::Subscribed {
            id,
            channel,
            epoch,
            offset,
            recovered,
            publications,
            delta,
        } => {
            let id = id.unwrap_or(&Id::NONE);
            let is_answer = number(id) != 0;
            let subscribed = Subscribed {
                recoverable: true,
                epoch: epoch.to_string(),
                publications: match (is_answer, delta) {
                    (false, _) => Pubs::Json(Vec::new()),
                    (true, false) => Pubs::Json(pubs(publications)),
                    (true, true) => Pubs::Text(whole(publications)),
                },
                delta: *delta,
                recovered: *recovered == Some(true),
                offset: if is_answer {
                    *offset
                } else {
                    *offset - publications.len() as u64
                },
                positioned: true,
                was_recovering: recovered.is_some(),
            };
            if is_answer {
                return answer(id, "subscribe", &text(&subscribed));
            }
            push(channel, is_one_way, "subscribe", &text(&subscribed), &mut send);
            for publication in publications.iter() {
                push(channel, is_one_way, "pub", &text(&Pub::from(&**publication)), &mut send);
            }
        }
        Reply::Unsubscribed { id: Some(id), .. } => answer(id, "unsubscribe", "{}"),
        Reply::Unsubscribed {
            id: None,
            channel,
            code,
            reason,
            number,
        } => {
            let why = reason.unwrap_or(if code.is_some() { "permission denied" } else { "" });
            let ended = json!({ "code": number, "reason": why });
            push(channel, is_one_way, "unsubscribe", &ended.to_string(), &mut send);
        }
        Reply::Published { id, .. } => answer(id, "publish", "{}"),
        Reply::History {
            id,
            epoch,
            offset,
            publications,
            ..
        } => {
            let mut history = History {
                publications: pubs(publications),
                epoch: epoch.to_string(),
                offset: *offset,
            };
            if number(id) & REVERSED != 0 {
                history.publications.reverse();
            }
            answer(id, "history", &text(&history));
        }
        Reply::Presence { id, total, clients, .. } if number(id) & STATS != 0 => {
            let there = Presence {
                total: *total,
                clients: clients.to_vec(),
            };
            let stats = json!({ "num_clients": total, "num_users": there.users() });
            answer(id, "presence_stats", &stats.to_string());
        }
        Reply::Presence { id, clients, .. } => {
            let clients: BTreeMap<&str, ClientInfo<'_>> = clients
                .iter()
                .map(|member| (&*member.client, ClientInfo::from(member)))
                .collect();
            answer(id, "presence", &text(&BTreeMap::from([("presence", clients)])));
        }
        Reply::Pong { id } => answer(id, "ping", "{}"),
        // Clients cannot be told; they subscribe again, or come back.
        Reply::Missed { .. } | Reply::Reset { .. } | Reply::JoinsMissed { .. } => {}
        Reply::Error { id, code, reason } => answer(id, "error", &error(*code, reason).to_string()),
    }
}

fn push(channel: &Name, is_one_way: bool, kind: &str, content: &str, send: &mut impl FnMut(&str)) {
    let channel = text(channel);
    let push = format!("{{\"channel\":{channel},\"{kind}\":{content}}}");
    send(&if is_one_way {
        push
    } else {
        format!("{{\"push\":{push}}}")
    });
}

/// Adds when the client should refresh its token: before the token ends, because nothing is delivered later.
fn expires(to: &mut Value, left: Option<Duration>) {
    if let Some(left) = left {
        let early = EARLY.min(left / 4);
        to["expires"] = true.into();
        to["ttl"] = left
            .saturating_sub(early)
            .as_secs()
            .clamp(1, u64::from(u32::MAX))
            .into();
    }
}

/// The error of a failure.
fn error(code: Code, reason: &str) -> Value {
    let (number, is_temporary) = match code {
        Code::BadRequest => (107, false),
        Code::NoSuchChannel => (102, false),
        Code::Forbidden => (103, false),
        Code::NotAvailable => (108, false),
        Code::AlreadySubscribed => (105, false),
        Code::NotSubscribed | Code::Unsubscribed => (103, false),
        Code::TooMany => (106, false),
        Code::TooFast => (111, true),
        Code::NoMethod => (104, false),
        Code::TokenExpired => (109, false),
        Code::Unavailable | Code::Unknown => (100, true),
    };
    let message = match number {
        100 => "internal server error",
        102 => "unknown channel",
        103 => "permission denied",
        104 => "method not found",
        105 => "already subscribed",
        106 => "limit exceeded",
        107 => "bad request",
        108 => "not available",
        109 => "token expired",
        _ => "too many requests",
    };
    let mut error = json!({ "code": number, "message": format!("{message}: {reason}") });
    if is_temporary {
        error["temporary"] = true.into();
    }
    error
}

fn number(id: &Id) -> u64 {
    match id {
        Id::Number(number) => *number,
        Id::Text(_) => 0,
    }
}

fn text(json: &impl Serialize) -> String {
    // Cannot fail: strings and numbers always make JSON.
    serde_json::to_string(json).unwrap_or_default()
}
