//! Publications, and their positions in a channel.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use proto_ws::PreparedMessage;
use protocol::bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::channel::Name;
use crate::clock;
use crate::delta::delta;

/// One life of a channel: offsets of different epochs are unrelated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Epoch(pub(crate) u64);

/// A position in a channel: after the publication with this offset. The first publication has offset 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Position {
    pub(crate) epoch: Epoch,
    pub(crate) offset: u64,
}

impl Epoch {
    /// As the epoch of a predecessor: there is none. No channel has this epoch.
    pub(crate) const NONE: Epoch = Epoch(0);
}

impl Position {
    /// The position of a client that has seen nothing.
    pub(crate) const NOTHING: Position = Position {
        epoch: Epoch::NONE,
        offset: 0,
    };

    /// Whether nothing was published up to this position.
    pub(crate) fn is_start(self) -> bool {
        self.offset == 0
    }

    /// Whether this is a later position than `other` in the same channel: epochs increase, whatever happens to the broker.
    pub(crate) fn is_after(self, other: Self) -> bool {
        (self.epoch.0, self.offset) > (other.epoch.0, other.offset)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = std::num::ParseIntError;

    fn from_str(epoch: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(epoch, 16).map(Epoch)
    }
}

impl Serialize for Epoch {
    /// As text, because a JavaScript number cannot hold 64 bits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Position {
    /// In the format of `Last-Event-ID`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(position: &str) -> Result<Self, ()> {
        let (epoch, offset) = position.split_once(':').ok_or(())?;
        Ok(Position {
            epoch: epoch.parse().map_err(|_| ())?,
            offset: offset.parse().map_err(|_| ())?,
        })
    }
}

/// A publication to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) channel: Name,
    /// The user, if the publisher has a token.
    pub(crate) user: Option<Arc<str>>,
    /// JSON on one line.
    pub(crate) data: Bytes,
    /// The key of the request: publishing again with the same key has no effect, and returns the same position.
    pub(crate) key: Option<Arc<str>>,
}

impl Draft {
    pub(crate) fn new(channel: Name, user: Option<Arc<str>>, data: &RawValue) -> Self {
        // JSON has line breaks only between tokens, where a space is equivalent; in server-sent events a line break would end the field.
        let line: Vec<u8> = data
            .get()
            .bytes()
            .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte })
            .collect();
        Draft {
            channel,
            user,
            data: line.into(),
            key: None,
        }
    }

    /// Approximate memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.user.as_deref().map_or(0, str::len)
    }
}

/// A publication. Its encodings are made once, for any number of receivers.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) channel: Name,
    /// The [tag](Name::tag) of the channel.
    pub(crate) tag: u16,
    pub(crate) position: Position,
    /// The epoch of the previous publication, which has the offset before: the same epoch, unless the channel's epoch changed between the
    /// two, or [`Epoch::NONE`] for the first publication of a new channel.
    pub(crate) previous: Epoch,
    /// When it was published, by this process's clock.
    pub(crate) at: Instant,
    pub(crate) user: Option<Arc<str>>,
    /// JSON on one line.
    pub(crate) data: Bytes,
    message: OnceLock<PreparedMessage>,
    event: OnceLock<Bytes>,
    pushed: OnceLock<Box<Pushed>>,
    deltas: OnceLock<Box<Deltas>>,
}

/// The encodings of a publication for clients of Centrifugo's protocol that take deltas.
#[derive(Debug, Default)]
struct Deltas {
    /// The data of the publication before.
    base: Option<Bytes>,
    /// The difference to that, unless it is longer than the data.
    part: OnceLock<Option<PreparedMessage>>,
    whole: OnceLock<PreparedMessage>,
}

/// The encodings of a publication in Centrifugo's protocol.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// The WebSocket message.
    pub(crate) message: PreparedMessage,
    /// The server-sent event.
    pub(crate) event: Bytes,
}

/// An event in JSON.
#[derive(Deserialize)]
struct Joining<'a> {
    #[serde(borrow)]
    join: Option<&'a RawValue>,
    #[serde(borrow)]
    leave: Option<&'a RawValue>,
}

/// A publication in JSON.
#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a Name>,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    data: &'a RawValue,
}

impl Publication {
    pub(crate) fn new(draft: Draft, position: Position) -> Self {
        Publication {
            tag: draft.channel.tag(),
            channel: draft.channel,
            position,
            previous: position.epoch,
            at: clock::now(),
            user: draft.user,
            data: draft.data,
            message: OnceLock::new(),
            event: OnceLock::new(),
            pushed: OnceLock::new(),
            deltas: OnceLock::new(),
        }
    }

    /// The same publication, following one of another epoch.
    pub(crate) fn behind(mut self, previous: Epoch) -> Self {
        self.previous = previous;
        self
    }

    /// The same publication, published `age` ago.
    pub(crate) fn aged(mut self, age: Duration) -> Self {
        self.at = self.at.checked_sub(age).unwrap_or(self.at);
        self
    }

    /// The position before the publication.
    pub(crate) fn before(&self) -> Position {
        Position {
            epoch: self.previous,
            offset: self.position.offset.saturating_sub(1),
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.position.offset
    }

    /// Approximate memory in bytes, without the encodings.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.user.as_deref().map_or(0, str::len)
    }

    /// The WebSocket message.
    pub(crate) fn message(&self, encoding: &Encoding) -> &PreparedMessage {
        self.message.get_or_init(|| encoding.prepare(&self.to_client()))
    }

    /// The publication in Centrifugo's protocol.
    pub(crate) fn pushed(&self, encoding: &Encoding) -> &Pushed {
        self.pushed.get_or_init(|| {
            let push = crate::session::push_of(self);
            Box::new(Pushed {
                message: encoding.prepare(&format!("{{\"push\":{push}}}")),
                event: format!("data: {push}\n\n").into(),
            })
        })
    }

    /// The publication follows `base`: deltas are made to that.
    pub(crate) fn follows(&self, base: &Publication) {
        if base.position.epoch == self.position.epoch && base.offset() + 1 == self.offset() {
            // Set once: every feed of a channel has the same publications.
            let _ = self.deltas.set(Box::new(Deltas {
                base: Some(base.data.clone()),
                ..Deltas::default()
            }));
        }
    }

    /// The publication in Centrifugo's protocol, for a client that takes deltas: the difference to the publication before if the client has
    /// that, and if the difference is shorter. Made once for all such clients.
    pub(crate) fn pushed_delta(&self, encoding: &Encoding, has_base: bool) -> &PreparedMessage {
        let deltas = self.deltas.get_or_init(Box::default);
        let message = |data: &str, is_delta| {
            let push = crate::session::push_of_delta(self, data, is_delta);
            encoding.prepare(&format!("{{\"push\":{push}}}"))
        };
        let text = || str::from_utf8(&self.data).unwrap_or_default();
        let part = || {
            let base = deltas.base.as_ref()?;
            Some(message(&delta(base, text())?, true))
        };
        match has_base.then(|| deltas.part.get_or_init(part).as_ref()) {
            Some(Some(part)) => part,
            _ => deltas.whole.get_or_init(|| message(text(), false)),
        }
    }

    /// The server-sent event.
    pub(crate) fn event(&self) -> &Bytes {
        self.event.get_or_init(|| {
            let Position { epoch, offset } = self.position;
            format!("id: {epoch}:{offset}\ndata: {}\n\n", self.json(None)).into()
        })
    }

    /// JSON that names the channel, for streams of several channels.
    pub(crate) fn with_channel(&self) -> String {
        // Cannot fail: strings, numbers, and JSON that was parsed before.
        serde_json::to_string(&self.entry(None, Some(&self.channel))).unwrap_or_default()
    }

    /// The message to a client: a publication, or the event that a client has come or left.
    fn to_client(&self) -> String {
        let Some(channel) = self.channel.joined() else {
            return self.json(Some("publication"));
        };
        let Some((kind, member)) = self.event_of_member() else {
            return String::new();
        };
        // Cannot fail: a string always makes JSON. The member is an object that is not empty.
        let channel = serde_json::to_string(channel).unwrap_or_default();
        let member = member.get().trim_start_matches('{');
        format!("{{\"type\":\"{kind}\",\"channel\":{channel},{member}")
    }

    /// For a publication in a [channel of such events](Name::joins): whether a client has come (`join`) or left (`leave`), and the client.
    pub(crate) fn event_of_member(&self) -> Option<(&'static str, &RawValue)> {
        let Joining { join, leave } = serde_json::from_slice(&self.data).ok()?;
        join.map(|member| ("join", member))
            .or(leave.map(|member| ("leave", member)))
    }

    fn json(&self, kind: Option<&'static str>) -> String {
        // Cannot fail: strings, numbers, and JSON that was parsed before.
        serde_json::to_string(&self.entry(kind, kind.map(|_| &self.channel))).unwrap_or_default()
    }

    fn entry<'a>(&'a self, kind: Option<&'static str>, channel: Option<&'a Name>) -> Entry<'a> {
        Entry {
            kind,
            channel,
            offset: self.offset(),
            user: self.user.as_deref(),
            data: serde_json::from_slice(&self.data).unwrap_or(RawValue::NULL),
        }
    }
}

impl Serialize for Publication {
    /// As an element of a list for one channel.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entry(None, None).serialize(serializer)
    }
}

/// How publications are encoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Encoding {
    /// Compresses them as well, once, for clients that negotiated permessage-deflate.
    pub(crate) compression: Option<proto_ws::deflate::Settings>,
}

impl Encoding {
    fn prepare(&self, text: &str) -> PreparedMessage {
        let message = PreparedMessage::text(text);
        match &self.compression {
            Some(settings) => message.compressed(settings),
            None => message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(data: &str) -> Publication {
        let draft = Draft::new(
            "news".parse().unwrap(),
            Some("ann".into()),
            serde_json::from_str(data).unwrap(),
        );
        Publication::new(
            draft,
            Position {
                epoch: Epoch(0x1f6a),
                offset: 7,
            },
        )
    }

    #[test]
    fn data_is_passed_on_in_one_line() {
        let publication = publication("{\"a\" :\r\n 1e5, \"b\": \"x\\n\"}");
        let message = publication.message(&Encoding::default());
        assert_eq!(
            str::from_utf8(message.payload()).unwrap(),
            r#"{"type":"publication","channel":"news","offset":7,"user":"ann","data":{"a" :   1e5, "b": "x\n"}}"#
        );
        assert_eq!(
            publication.event().as_ref(),
            b"id: 1f6a:7\ndata: {\"offset\":7,\"user\":\"ann\",\"data\":{\"a\" :   1e5, \"b\": \"x\\n\"}}\n\n"
        );
        assert_eq!(
            serde_json::to_string(&publication).unwrap(),
            r#"{"offset":7,"user":"ann","data":{"a" :   1e5, "b": "x\n"}}"#
        );
    }

    #[test]
    fn positions_read_back() {
        let position = Position {
            epoch: Epoch(u64::MAX),
            offset: 12,
        };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in ["", "1", "x:1", "1:x", "1:2:3"] {
            assert_eq!(bad.parse::<Position>(), Err(()), "{bad}");
        }
    }
}
