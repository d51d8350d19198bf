//! What is published, and where in its channel it stands.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use proto_ws::PreparedMessage;
use protocol::bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::channel::Name;
use crate::clock;

/// One life of a channel: offsets of different epochs have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Epoch(pub(crate) u64);

/// A place in a channel: behind the publication of that offset, or before the first, which has 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Position {
    pub(crate) epoch: Epoch,
    pub(crate) offset: u64,
}

impl Epoch {
    /// Stands for "nothing came before", where the epoch of a predecessor is meant. No channel has it.
    pub(crate) const NONE: Epoch = Epoch(0);
}

impl Position {
    /// Whether nothing was ever published up to here.
    pub(crate) fn is_start(self) -> bool {
        self.offset == 0
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
    /// As text: 64 bits are more than a number of JavaScript holds.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Position {
    /// As it stands in `Last-Event-ID`.
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

/// What somebody wants to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) channel: Name,
    /// Who, if a token says so.
    pub(crate) user: Option<Arc<str>>,
    /// JSON in one line.
    pub(crate) data: Bytes,
    /// Names this wish: published again under the same key, it is the same publication.
    pub(crate) key: Option<Arc<str>>,
}

impl Draft {
    pub(crate) fn new(channel: Name, user: Option<Arc<str>>, data: &RawValue) -> Self {
        // JSON has line breaks only between its tokens, where a space means the same; server-sent events end at them.
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

    /// Bytes of memory it holds, about.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.user.as_deref().map_or(0, str::len)
    }
}

/// Something published. What is sent of it is encoded once, for however many.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) channel: Name,
    /// The [tag](Name::tag) of the channel.
    pub(crate) tag: u16,
    pub(crate) position: Position,
    /// The epoch of the publication before it, which has the offset before: its own, unless the channel's epoch changed between
    /// the two, or [`Epoch::NONE`] for the first of a channel that began with it.
    pub(crate) previous: Epoch,
    /// When it was published, by this process's clock.
    pub(crate) at: Instant,
    pub(crate) user: Option<Arc<str>>,
    /// JSON in one line.
    pub(crate) data: Bytes,
    message: OnceLock<PreparedMessage>,
    event: OnceLock<Bytes>,
}

/// A publication as it stands in JSON.
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
        }
    }

    /// The same, behind a publication of another epoch.
    pub(crate) fn behind(mut self, previous: Epoch) -> Self {
        self.previous = previous;
        self
    }

    /// The same, published so long ago.
    pub(crate) fn aged(mut self, age: Duration) -> Self {
        self.at = self.at.checked_sub(age).unwrap_or(self.at);
        self
    }

    /// The position before it.
    pub(crate) fn before(&self) -> Position {
        Position {
            epoch: self.previous,
            offset: self.position.offset.saturating_sub(1),
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.position.offset
    }

    /// Bytes of memory it holds, about, without what is encoded of it.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.user.as_deref().map_or(0, str::len)
    }

    /// The WebSocket message.
    pub(crate) fn message(&self, encoding: &Encoding) -> &PreparedMessage {
        self.message.get_or_init(|| {
            let message = PreparedMessage::text(&self.json(Some("publication")));
            match &encoding.compression {
                Some(settings) => message.compressed(settings),
                None => message,
            }
        })
    }

    /// The server-sent event.
    pub(crate) fn event(&self) -> &Bytes {
        self.event.get_or_init(|| {
            let Position { epoch, offset } = self.position;
            format!("id: {epoch}:{offset}\ndata: {}\n\n", self.json(None)).into()
        })
    }

    fn json(&self, kind: Option<&'static str>) -> String {
        // Plain strings and numbers, and JSON that was read before, always make JSON.
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
    /// As an element of a list whose channel is known.
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
