//! The messages between clients and comet: JSON objects with a `type`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::broker::{Member, Part};
use crate::channel::Name;
use crate::publication::{Epoch, Position, Publication};

/// The most publications in one answer.
pub(crate) const MOST: usize = 1000;

/// The longest id of a request, and the longest key of a publication, in bytes.
const LONGEST_ID: usize = 256;
const LONGEST_KEY: usize = 128;

/// The id of a client's request: any JSON number or string, returned unchanged.
#[derive(Debug, Clone)]
pub(crate) enum Id {
    /// A small integer, the usual case.
    Number(u64),
    /// Any other id, as JSON text.
    Text(Box<RawValue>),
}

impl Id {
    /// The id of requests without one.
    pub(crate) const NONE: Id = Id::Number(0);

    fn read(json: &RawValue) -> Result<Self, Failure> {
        let text = json.get();
        match text.as_bytes().first() {
            _ if text.len() > LONGEST_ID => Err(Failure::bad("an id has 256 bytes at most")),
            Some(b'0'..=b'9' | b'-' | b'"') => Ok(match text.parse() {
                Ok(number) => Id::Number(number),
                Err(_) => Id::Text(json.to_owned()),
            }),
            _ => Err(Failure::bad("an id is a number or a string")),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Id::Number(number) => serializer.serialize_u64(*number),
            Id::Text(text) => text.serialize(serializer),
        }
    }
}

/// A client's request.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Subscribe {
        channel: Name,
        since: Option<Position>,
        limit: usize,
        /// Whether the client takes deltas.
        delta: bool,
    },
    Unsubscribe {
        channel: Name,
    },
    Publish {
        channel: Name,
        data: &'a RawValue,
        key: Option<Arc<str>>,
    },
    History {
        channel: Name,
        part: Part,
        limit: usize,
    },
    Presence {
        channel: Name,
    },
    Auth {
        token: Cow<'a, str>,
    },
    Ping,
}

/// The fields of a request in JSON; the type determines which are required.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
    offset: Option<u64>,
    limit: Option<usize>,
    before: Option<u64>,
    after: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
}

/// A request of which only the id can be parsed.
#[derive(Deserialize)]
struct OnlyId<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

impl<'a> Request<'a> {
    /// Parses a request. Returns its id, 0 if it has none.
    ///
    /// # Errors
    ///
    /// What is wrong with the request, for an answer with the id.
    pub(crate) fn read(text: &'a str) -> (Id, Result<Self, Failure>) {
        let read = |id: Option<&RawValue>| id.map_or(Ok(Id::NONE), Id::read);
        match serde_json::from_str::<Fields<'a>>(text) {
            Ok(fields) => match read(fields.id) {
                Ok(id) => (id, fields.request()),
                Err(failure) => (Id::NONE, Err(failure)),
            },
            Err(_) => {
                let id = serde_json::from_str::<OnlyId<'_>>(text)
                    .ok()
                    .and_then(|only| read(only.id).ok());
                let failure = Failure::bad("not a JSON object of the known fields");
                (id.unwrap_or(Id::NONE), Err(failure))
            }
        }
    }
}

/// Parses the key of a publication.
pub(crate) fn key(text: &str) -> Result<Arc<str>, Failure> {
    if text.is_empty() || text.len() > LONGEST_KEY || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::bad("a key is 1 to 128 visible ASCII characters"));
    }
    Ok(text.into())
}

/// Checks that ordinary JSON parsers can read `data`.
pub(crate) fn check_data(data: &RawValue) -> Result<(), Failure> {
    if is_too_deep(data.get()) {
        return Err(Failure::bad("data may nest 64 levels deep"));
    }
    Ok(())
}

/// The most nesting levels of data: many parsers stop at 128, and published data is embedded in objects and arrays.
const LEVELS: usize = 64;

fn is_too_deep(json: &str) -> bool {
    let (mut level, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                level += 1;
                if level > LEVELS {
                    return true;
                }
            }
            b']' | b'}' if !in_string => level = level.saturating_sub(1),
            _ => {}
        }
    }
    false
}

impl<'a> Fields<'a> {
    fn request(self) -> Result<Request<'a>, Failure> {
        let channel = || -> Result<Name, Failure> {
            let name = self.channel.as_deref().ok_or(Failure::bad("no channel"))?;
            name.parse()
                .map_err(|_| Failure::bad("a channel's name is 1 to 255 visible ASCII characters without '*'"))
        };
        Ok(match self.kind.as_ref() {
            "subscribe" => Request::Subscribe {
                channel: channel()?,
                since: since(self.epoch.as_deref(), self.offset)?,
                limit: self.limit.unwrap_or(0).min(MOST),
                delta: false,
            },
            "unsubscribe" => Request::Unsubscribe { channel: channel()? },
            "publish" => Request::Publish {
                channel: channel()?,
                data: self.data.ok_or(Failure::bad("no data"))?,
                key: self.key.as_deref().map(key).transpose()?,
            },
            "history" => Request::History {
                channel: channel()?,
                part: part(self.before, self.after)?,
                limit: self.limit.unwrap_or(MOST).min(MOST),
            },
            "presence" => Request::Presence { channel: channel()? },
            "auth" => Request::Auth {
                token: self.token.ok_or(Failure::bad("no token"))?,
            },
            "ping" => Request::Ping,
            "" => return Err(Failure::bad("no type")),
            _ => return Err(Failure::bad("no such type")),
        })
    }
}

/// The part of a history before or after an offset.
pub(crate) fn part(before: Option<u64>, after: Option<u64>) -> Result<Part, Failure> {
    match (before, after) {
        (None, None) => Ok(Part::Newest),
        (Some(offset), None) => Ok(Part::Before(offset)),
        (None, Some(offset)) => Ok(Part::After(offset)),
        (Some(_), Some(_)) => Err(Failure::bad("before and after exclude each other")),
    }
}

fn since(epoch: Option<&str>, offset: Option<u64>) -> Result<Option<Position>, Failure> {
    match (epoch, offset) {
        (None, None) => Ok(None),
        (Some(epoch), Some(offset)) => {
            // An invalid epoch counts as one that is over.
            let epoch: Epoch = epoch.parse().unwrap_or(Epoch(0));
            Ok(Some(Position { epoch, offset }))
        }
        _ => Err(Failure::bad("a position is an epoch and an offset")),
    }
}

/// Why a request had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) reason: &'static str,
}

/// The kind of failure, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    BadRequest,
    NoSuchChannel,
    Forbidden,
    AlreadySubscribed,
    NotSubscribed,
    /// The rule of the channel does not offer this.
    #[serde(rename = "forbidden")]
    NotAvailable,
    /// Too many requests in a short time.
    #[serde(rename = "too-many")]
    TooFast,
    /// Only in Centrifugo's protocol: a method that does not exist, and a token whose time is over.
    NoMethod,
    TokenExpired,
    /// The API has ended the subscription.
    Unsubscribed,
    TooMany,
    Unavailable,
    Unknown,
}

impl Code {
    #[cfg(test)]
    pub(crate) const ALL: [Code; 9] = [
        Code::BadRequest,
        Code::NoSuchChannel,
        Code::Forbidden,
        Code::AlreadySubscribed,
        Code::NotSubscribed,
        Code::Unsubscribed,
        Code::TooMany,
        Code::Unavailable,
        Code::Unknown,
    ];
}

impl Failure {
    pub(crate) const fn new(code: Code, reason: &'static str) -> Self {
        Failure { code, reason }
    }

    const fn bad(reason: &'static str) -> Self {
        Failure::new(Code::BadRequest, reason)
    }
}

/// A message to a client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Reply<'a> {
    Welcome {
        /// The id of the request, in languages where clients ask first.
        #[serde(skip)]
        id: &'a Id,
        /// How long the rights last, if they end.
        #[serde(
            rename = "expires_in",
            skip_serializing_if = "Option::is_none",
            serialize_with = "seconds"
        )]
        left: Option<Duration>,
        client: &'a str,
        node: &'a str,
        worker: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        /// What the back end tells the client.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a RawValue>,
    },
    Subscribed {
        /// None if the client has not asked for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        channel: &'a Name,
        epoch: Epoch,
        offset: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
        publications: &'a [Arc<Publication>],
        /// Whether the client gets deltas; only in Centrifugo's protocol.
        #[serde(skip)]
        delta: bool,
    },
    Unsubscribed {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        channel: &'a Name,
        /// The reason, if the client has not asked for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<Code>,
        /// More about the reason, from the API.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        /// The reason as a number of Centrifugo's.
        #[serde(skip)]
        number: u16,
    },
    Published {
        id: &'a Id,
        epoch: Epoch,
        offset: u64,
    },
    History {
        id: &'a Id,
        channel: &'a Name,
        epoch: Epoch,
        offset: u64,
        publications: &'a [Arc<Publication>],
        /// Whether there are more publications, further back.
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        more: bool,
    },
    Presence {
        id: &'a Id,
        channel: &'a Name,
        total: usize,
        clients: &'a [Member],
    },
    Authorized {
        id: &'a Id,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        #[serde(skip)]
        client: &'a str,
        /// How long the rights last, if they end.
        #[serde(
            rename = "expires_in",
            skip_serializing_if = "Option::is_none",
            serialize_with = "seconds"
        )]
        left: Option<Duration>,
    },
    Pong {
        id: &'a Id,
    },
    Missed {
        channel: &'a Name,
        from: u64,
        to: u64,
    },
    /// Events about clients that come and leave were lost: the client may ask who is there.
    #[serde(rename = "joins-missed")]
    JoinsMissed {
        channel: &'a str,
    },
    Reset {
        channel: &'a Name,
        epoch: Epoch,
        offset: u64,
        /// True if nothing is missing and only the epoch has changed.
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        recovered: bool,
    },
    Error {
        id: &'a Id,
        code: Code,
        reason: &'a str,
    },
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.unwrap_or_default().as_secs())
}

impl Reply<'_> {
    pub(crate) fn to_json(&self) -> String {
        // Cannot fail: strings, numbers, and JSON that was parsed before.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> (String, Failure) {
        let (id, request) = Request::read(text);
        (shown(&id), request.unwrap_err())
    }

    fn shown(id: &Id) -> String {
        serde_json::to_string(id).unwrap()
    }

    #[test]
    fn ids_come_back_as_they_were_sent() {
        for id in [
            "7",
            "0",
            "-1",
            "1.5",
            "1e400",
            "123456789012345678901234567890",
            "\"a b\"",
            r#""\u00fc""#,
            "-0",
        ] {
            let text = format!(r#"{{"type":"ping","id":{id}}}"#);
            let (read, request) = Request::read(&text);
            let (read, request) = (read, request.is_ok());
            assert!(request && shown(&read) == id, "{id} came back as {}", shown(&read));
        }
        let long = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(300));
        for bad in [r#"{"type":"ping","id":[1]}"#, r#"{"type":"ping","id":true}"#, &long] {
            assert_eq!(failure(bad).0, "0", "{bad}");
        }
        // Of a request that is otherwise invalid.
        assert_eq!(
            failure(r#"{"type":"history","id":"x","channel":"a","limit":"many"}"#).0,
            "\"x\""
        );
    }

    #[test]
    fn data_that_many_cannot_read_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let check = |text: &str| check_data(serde_json::from_str(text).unwrap());
        assert_eq!(check(&nested(64)), Ok(()));
        assert!(check(&nested(65)).is_err());
        let in_text = format!(r#"["\"{}"]"#, "[".repeat(500));
        assert_eq!(check(&in_text), Ok(()));
    }

    #[test]
    fn requests_are_read() {
        let (id, request) =
            Request::read(r#"{"type":"subscribe","id":7,"channel":"a","epoch":"1f","offset":3,"limit":5}"#);
        let expected = Position {
            epoch: Epoch(0x1f),
            offset: 3,
        };
        assert!(
            matches!(id, Id::Number(7))
                && matches!(request, Ok(Request::Subscribe { since: Some(since), limit: 5, .. }) if since == expected)
        );
        let (_, request) = Request::read(r#"{"channel":"a","data":{"x":[1, 2]},"type":"publish"}"#);
        assert!(matches!(request, Ok(Request::Publish { data, .. }) if data.get() == r#"{"x":[1, 2]}"#));
        let (_, request) = Request::read(r#"{"type":"history","channel":"\u0061","limit":99999}"#);
        assert!(
            matches!(request, Ok(Request::History { channel, part: Part::Newest, limit: MOST }) if channel.as_str() == "a")
        );
        let (_, request) = Request::read(r#"{"type":"subscribe","channel":"a","epoch":"not ours","offset":1}"#);
        assert!(matches!(request, Ok(Request::Subscribe { since: Some(since), .. }) if since.epoch == Epoch(0)));
        assert!(matches!(
            Request::read(r#"{"type":"ping","more":1}"#).1,
            Ok(Request::Ping)
        ));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_number() {
        for (text, id, reason) in [
            ("nonsense", 0, "not a JSON object of the known fields"),
            ("[]", 0, "not a JSON object of the known fields"),
            (r#"{"id":3}"#, 3, "no type"),
            (r#"{"id":4,"type":"dance"}"#, 4, "no such type"),
            (r#"{"id":5,"type":"subscribe"}"#, 5, "no channel"),
            (r#"{"id":6,"type":"publish","channel":"a"}"#, 6, "no data"),
            (r#"{"id":7,"type":"auth"}"#, 7, "no token"),
            (
                r#"{"id":8,"type":"subscribe","channel":"a","offset":1}"#,
                8,
                "a position is an epoch and an offset",
            ),
        ] {
            let expected = Failure::new(Code::BadRequest, reason);
            assert_eq!(failure(text), (id.to_string(), expected), "{text}");
        }
        assert_eq!(
            failure(r#"{"id":9,"type":"subscribe","channel":"a b"}"#).1.code,
            Code::BadRequest
        );
    }

    #[test]
    fn replies_have_a_type_and_no_empty_fields() {
        let channel = "a".parse().unwrap();
        let reply = Reply::Subscribed {
            id: Some(&Id::Number(1)),
            channel: &channel,
            epoch: Epoch(0x2a),
            offset: 0,
            recovered: None,
            publications: &[],
            delta: false,
        };
        assert_eq!(
            reply.to_json(),
            r#"{"type":"subscribed","id":1,"channel":"a","epoch":"2a","offset":0,"publications":[]}"#
        );
        let reply = Reply::Error {
            id: &Id::Number(2),
            code: Code::NoSuchChannel,
            reason: "x",
        };
        assert_eq!(
            reply.to_json(),
            r#"{"type":"error","id":2,"code":"no-such-channel","reason":"x"}"#
        );
    }
}
