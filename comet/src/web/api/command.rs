//! The commands of the API, as parameters of a request and as JSON.

use std::borrow::Cow;
use std::sync::Arc;

use proto_http::Request;
use proto_ws::CloseCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broker::Part;
use crate::channel::{Name, Pattern};
use crate::messages::{Code, Failure, MOST, check_data, key, part};
use crate::node::{Order, Revocation, What};
use crate::publication::Draft;
use crate::web::parameter;

/// The longest reason, in bytes: a Close frame has room for no more (RFC 6455 section 5.5).
const LONGEST_REASON: usize = 120;
/// Codes and reasons where the back end gives none. Clients do not come back after 3500 to 3999 and 4500 to 4999.
const DISCONNECTED: (u16, &str) = (3503, "force disconnect");
const UNSUBSCRIBED: (u16, &str) = (2000, "server unsubscribe");

/// The time in which clients come back from a node that is drained, in seconds, and the longest.
const DRAINED: u32 = 10;
const LONGEST_DRAIN: u32 = 3600;

/// What the back end wants.
#[derive(Debug)]
pub(super) enum Command {
    /// Publishes the draft in each of these channels. With `is_one`, the answer is that of a single publication.
    Publish {
        draft: Draft,
        channels: Vec<Name>,
        is_one: bool,
    },
    History {
        channel: Name,
        part: Part,
        limit: usize,
    },
    Presence {
        channel: Name,
    },
    Channels {
        pattern: Option<Pattern>,
    },
    Nodes,
    Order(Order),
    Revoke(Revocation),
}

/// A command in JSON: an object with one field, the command's name.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Given<'a> {
    #[serde(borrow)]
    Publish(Publish<'a>),
    History(History),
    Presence(Presence),
    Channels(Channels),
    Nodes(Nodes),
    #[serde(borrow)]
    Disconnect(Disconnect<'a>),
    #[serde(borrow)]
    Unsubscribe(Unsubscribe<'a>),
    Revoke(Revoke),
    Drain(Drain),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish<'a> {
    channel: Option<Name>,
    channels: Option<Vec<Name>>,
    #[serde(borrow)]
    data: &'a RawValue,
    user: Option<Arc<str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    channel: Name,
    limit: Option<usize>,
    before: Option<u64>,
    after: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Presence {
    channel: Name,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Channels {
    pattern: Option<Pattern>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nodes {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect<'a> {
    user: Option<Arc<str>>,
    client: Option<Arc<str>>,
    code: Option<u16>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe<'a> {
    channel: Name,
    user: Option<Arc<str>>,
    client: Option<Arc<str>>,
    code: Option<u16>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    user: Option<Arc<str>>,
    token: Option<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    node: Option<Arc<str>>,
    seconds: Option<u32>,
    ready: Option<bool>,
}

/// The commands of a batch, each of which may be wrong by itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    commands: Vec<&'a RawValue>,
}

const fn bad(reason: &'static str) -> Failure {
    Failure::new(Code::BadRequest, reason)
}

/// The name of a command and the command, as one of a batch.
pub(super) type Named = (&'static str, Result<Command, Failure>);

/// Reads the body of a batch.
///
/// # Errors
///
/// If the body is not that of a batch, or has more than `most` commands.
pub(super) fn batch(body: &[u8], most: usize) -> Result<Vec<Named>, Failure> {
    let batch: Batch<'_> = serde_json::from_slice(body).map_err(|_| {
        bad("the body is {\"commands\":[…]}, where a command is an object with one field, such as {\"publish\":{…}}")
    })?;
    if batch.commands.len() > most {
        return Err(Failure::new(Code::TooMany, "more commands than a batch may have"));
    }
    Ok(batch.commands.into_iter().map(named).collect())
}

/// Reads one command of a batch.
fn named(json: &RawValue) -> Named {
    let given = match serde_json::from_str::<Given<'_>>(json.get()) {
        Ok(given) => given,
        Err(_) => return ("error", Err(bad("not a command with the fields that it needs"))),
    };
    match given {
        Given::Publish(publish) => ("publish", publish.command()),
        Given::History(history) => ("history", history.command()),
        Given::Presence(presence) => ("presence", Ok(presence.command())),
        Given::Channels(Channels { pattern }) => ("channels", Ok(Command::Channels { pattern })),
        Given::Nodes(Nodes {}) => ("nodes", Ok(Command::Nodes)),
        Given::Disconnect(order) => ("disconnect", order.command()),
        Given::Unsubscribe(order) => ("unsubscribe", order.command()),
        Given::Revoke(revoke) => ("revoke", revoke.command()),
        Given::Drain(drain) => ("drain", drain.command()),
    }
}

/// Reads the body of a single command.
pub(super) fn single(path: &str, body: &[u8]) -> Result<Command, Failure> {
    match path {
        "/api/publish" => read::<Publish<'_>>(body, PUBLISH)?.command(),
        "/api/revoke" => read::<Revoke>(body, REVOKE)?.command(),
        "/api/drain" => read::<Drain>(body, DRAIN)?.command(),
        "/api/disconnect" => read::<Disconnect<'_>>(body, DISCONNECT)?.command(),
        _ => read::<Unsubscribe<'_>>(body, UNSUBSCRIBE)?.command(),
    }
}

const PUBLISH: Failure = bad(
    "the body is {\"channel\":NAME,\"data\":JSON}, or {\"channels\":[NAME,…],\"data\":JSON}, \
                              perhaps with a \"user\" and a \"key\"",
);
const DISCONNECT: Failure =
    bad("the body is {\"user\":NAME} or {\"client\":NAME}, perhaps with a \"code\" and a \"reason\"");
const DRAIN: Failure = bad("the body is {}, perhaps with a \"node\", \"seconds\" and \"ready\"");
const REVOKE: Failure = bad("the body is {\"user\":NAME} or {\"token\":ID}, the `jti` of a token");
const UNSUBSCRIBE: Failure = bad(
    "the body is {\"channel\":NAME,\"user\":NAME} or {\"channel\":NAME,\"client\":NAME}, perhaps \
                                  with a \"code\" and a \"reason\"",
);

fn read<'a, T: Deserialize<'a>>(body: &'a [u8], failure: Failure) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|_| failure)
}

/// Reads the parameters of a command that only reads.
pub(super) fn asked(request: &Request<'_>) -> Result<Command, Failure> {
    let channel = || {
        let name = parameter(request, "channel").and_then(|name| name.parse::<Name>().ok());
        name.ok_or(bad("the parameter channel is not the name of one"))
    };
    let number = |name: &str, failure| match parameter(request, name).map(|text| text.parse::<u64>()) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(bad(failure)),
    };
    match request.path() {
        "/api/history" => {
            let limit = number("limit", "the parameter limit is no number")?;
            History {
                channel: channel()?,
                limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
                before: number("before", "the parameter before is no offset")?,
                after: number("after", "the parameter after is no offset")?,
            }
            .command()
        }
        "/api/presence" => Ok(Command::Presence { channel: channel()? }),
        "/api/channels" => {
            let pattern = parameter(request, "pattern").map(Pattern::try_from).transpose();
            let pattern = pattern.map_err(|_| bad("the parameter pattern is not the pattern of channels"))?;
            Ok(Command::Channels { pattern })
        }
        _ => Ok(Command::Nodes),
    }
}

impl Publish<'_> {
    fn command(self) -> Result<Command, Failure> {
        let (channels, is_one) = match (self.channel, self.channels) {
            (Some(channel), None) => (vec![channel], true),
            (None, Some(channels)) => (channels, false),
            _ => return Err(PUBLISH),
        };
        check_data(self.data)?;
        let Some(first) = channels.first() else {
            return Err(bad("channels is empty"));
        };
        let mut draft = Draft::new(first.clone(), self.user, self.data);
        draft.key = self.key.as_deref().map(key).transpose()?;
        Ok(Command::Publish {
            draft,
            channels,
            is_one,
        })
    }
}

impl History {
    fn command(self) -> Result<Command, Failure> {
        Ok(Command::History {
            channel: self.channel,
            part: part(self.before, self.after)?,
            limit: self.limit.unwrap_or(MOST).min(MOST),
        })
    }
}

impl Presence {
    fn command(self) -> Command {
        Command::Presence { channel: self.channel }
    }
}

impl Drain {
    fn command(self) -> Result<Command, Failure> {
        let seconds = self.seconds.unwrap_or(DRAINED);
        if seconds > LONGEST_DRAIN {
            return Err(bad("seconds is 3600 at most"));
        }
        Ok(Command::Order(Order {
            user: None,
            client: None,
            what: What::Drain {
                node: self.node,
                seconds,
                ready: self.ready,
            },
        }))
    }
}

impl Revoke {
    fn command(self) -> Result<Command, Failure> {
        match (self.user, self.token) {
            (Some(user), None) => Ok(Command::Revoke(Revocation::of_user(user))),
            (None, Some(token)) => Ok(Command::Revoke(Revocation::Token(token))),
            _ => Err(REVOKE),
        }
    }
}

impl Disconnect<'_> {
    fn command(self) -> Result<Command, Failure> {
        let code = self.code.unwrap_or(DISCONNECTED.0);
        if code < 3000 || CloseCode::new(code).is_none() {
            return Err(bad("a code to disconnect with is 3000 to 4999"));
        }
        order(
            self.user,
            self.client,
            What::Disconnect {
                code,
                reason: reason(self.reason, DISCONNECTED.1)?,
            },
        )
    }
}

impl Unsubscribe<'_> {
    fn command(self) -> Result<Command, Failure> {
        let code = self.code.unwrap_or(UNSUBSCRIBED.0);
        if !(2000..=2999).contains(&code) {
            return Err(bad("a code to unsubscribe with is 2000 to 2999"));
        }
        order(
            self.user,
            self.client,
            What::Unsubscribe {
                channel: self.channel,
                code,
                reason: reason(self.reason, UNSUBSCRIBED.1)?,
            },
        )
    }
}

fn reason(given: Option<Cow<'_, str>>, default: &str) -> Result<Arc<str>, Failure> {
    let given = given.unwrap_or(Cow::Borrowed(default));
    if given.len() > LONGEST_REASON || given.contains(['\r', '\n']) {
        return Err(bad("a reason has 120 bytes at most, and no line breaks"));
    }
    Ok((*given).into())
}

fn order(user: Option<Arc<str>>, client: Option<Arc<str>>, what: What) -> Result<Command, Failure> {
    if user.is_none() && client.is_none() {
        return Err(bad("neither a user nor a client is given"));
    }
    Ok(Command::Order(Order { user, client, what }))
}
