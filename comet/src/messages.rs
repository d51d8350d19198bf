//! What clients and comet say to each other: JSON objects with a `type`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::broker::Member;
use crate::channel::Name;
use crate::publication::{Epoch, Position, Publication};

/// The most publications that one answer has.
pub(crate) const MOST: usize = 1000;

/// What a client says.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Subscribe {
        channel: Name,
        since: Option<Position>,
        limit: usize,
    },
    Unsubscribe {
        channel: Name,
    },
    Publish {
        channel: Name,
        data: &'a RawValue,
    },
    History {
        channel: Name,
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

/// A request as it stands in JSON; which fields it needs its type decides.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(default)]
    id: u64,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
    offset: Option<u64>,
    limit: Option<usize>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    /// Reads a message, and the number its sender gave it, 0 if none.
    ///
    /// # Errors
    ///
    /// What is wrong with it, to be told with the number.
    pub(crate) fn read(text: &'a str) -> (u64, Result<Self, Failure>) {
        match serde_json::from_str::<Fields<'a>>(text) {
            Ok(fields) => (fields.id, fields.request()),
            Err(_) => (0, Err(Failure::bad("not a JSON object of the known fields"))),
        }
    }
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
            },
            "unsubscribe" => Request::Unsubscribe { channel: channel()? },
            "publish" => Request::Publish {
                channel: channel()?,
                data: self.data.ok_or(Failure::bad("no data"))?,
            },
            "history" => Request::History {
                channel: channel()?,
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

fn since(epoch: Option<&str>, offset: Option<u64>) -> Result<Option<Position>, Failure> {
    match (epoch, offset) {
        (None, None) => Ok(None),
        (Some(epoch), Some(offset)) => {
            // An epoch that is none of ours is one that is over.
            let epoch: Epoch = epoch.parse().unwrap_or(Epoch(0));
            Ok(Some(Position { epoch, offset }))
        }
        _ => Err(Failure::bad("a position is an epoch and an offset")),
    }
}

/// Why a request did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) reason: &'static str,
}

/// The kind of a failure, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    BadRequest,
    NoSuchChannel,
    Forbidden,
    AlreadySubscribed,
    NotSubscribed,
    TooMany,
    Unavailable,
}

impl Failure {
    pub(crate) const fn new(code: Code, reason: &'static str) -> Self {
        Failure { code, reason }
    }

    const fn bad(reason: &'static str) -> Self {
        Failure::new(Code::BadRequest, reason)
    }
}

/// What a client hears.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Reply<'a> {
    Welcome {
        client: &'a str,
        node: &'a str,
        worker: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
    },
    Subscribed {
        id: u64,
        channel: &'a Name,
        epoch: Epoch,
        offset: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
        publications: &'a [Arc<Publication>],
    },
    Unsubscribed {
        id: u64,
        channel: &'a Name,
    },
    Published {
        id: u64,
        epoch: Epoch,
        offset: u64,
    },
    History {
        id: u64,
        channel: &'a Name,
        epoch: Epoch,
        offset: u64,
        publications: &'a [Arc<Publication>],
    },
    Presence {
        id: u64,
        channel: &'a Name,
        total: usize,
        clients: &'a [Member],
    },
    Authorized {
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
    },
    Pong {
        id: u64,
    },
    Missed {
        channel: &'a Name,
        from: u64,
        to: u64,
    },
    Reset {
        channel: &'a Name,
        epoch: Epoch,
        offset: u64,
    },
    Error {
        id: u64,
        code: Code,
        reason: &'a str,
    },
}

impl Reply<'_> {
    pub(crate) fn to_json(&self) -> String {
        // Strings, numbers, and JSON that was read before always make JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> (u64, Failure) {
        let (id, request) = Request::read(text);
        (id, request.unwrap_err())
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
            id == 7
                && matches!(request, Ok(Request::Subscribe { since: Some(since), limit: 5, .. }) if since == expected)
        );
        let (_, request) = Request::read(r#"{"channel":"a","data":{"x":[1, 2]},"type":"publish"}"#);
        assert!(matches!(request, Ok(Request::Publish { data, .. }) if data.get() == r#"{"x":[1, 2]}"#));
        let (_, request) = Request::read(r#"{"type":"history","channel":"\u0061","limit":99999}"#);
        assert!(matches!(request, Ok(Request::History { channel, limit: MOST }) if channel.as_str() == "a"));
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
            assert_eq!(failure(text), (id, expected), "{text}");
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
            id: 1,
            channel: &channel,
            epoch: Epoch(0x2a),
            offset: 0,
            recovered: None,
            publications: &[],
        };
        assert_eq!(
            reply.to_json(),
            r#"{"type":"subscribed","id":1,"channel":"a","epoch":"2a","offset":0,"publications":[]}"#
        );
        let reply = Reply::Error {
            id: 2,
            code: Code::NoSuchChannel,
            reason: "x",
        };
        assert_eq!(
            reply.to_json(),
            r#"{"type":"error","id":2,"code":"no-such-channel","reason":"x"}"#
        );
    }
}
