//! What a server sends without being asked.

use alloc::vec::Vec;

use crate::Value;
use crate::arguments::Channels;

/// Push data: in RESP3 of its own type, in RESP2 an array while the client subscribes to something.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    values: Vec<Value>,
    attributes: Vec<(Value, Value)>,
}

/// What was published on a channel.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Published<'a> {
    /// The pattern that matched, where patterns are subscribed to.
    pub pattern: Option<&'a [u8]>,
    /// The channel.
    pub channel: &'a [u8],
    /// What was published.
    pub payload: &'a [u8],
}

impl Push {
    pub(crate) fn new(values: Vec<Value>, attributes: Vec<(Value, Value)>) -> Self {
        Push { values, attributes }
    }

    /// What it is, such as `message` or `invalidate`.
    #[must_use]
    pub fn kind(&self) -> &[u8] {
        kind(&self.values)
    }

    /// What follows.
    #[must_use]
    pub fn data(&self) -> &[Value] {
        self.values.get(1..).unwrap_or_default()
    }

    /// Pairs of key and value that the server told about it.
    #[must_use]
    pub fn attributes(&self) -> &[(Value, Value)] {
        &self.attributes
    }

    /// All of it but the attributes, to be taken apart.
    #[must_use]
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// What was published, if it is that: `message`, `pmessage` or `smessage`.
    #[must_use]
    pub fn published(&self) -> Option<Published<'_>> {
        let (pattern, channel, payload) = match (self.kind(), self.data()) {
            (b"message" | b"smessage", [channel, payload]) => (None, channel, payload),
            (b"pmessage", [pattern, channel, payload]) => (Some(pattern.as_bytes()?), channel, payload),
            _ => return None,
        };
        Some(Published {
            pattern,
            channel: channel.as_bytes()?,
            payload: payload.as_bytes()?,
        })
    }
}

fn kind(values: &[Value]) -> &[u8] {
    values.first().and_then(Value::as_bytes).unwrap_or_default()
}

/// What is said when something is subscribed to, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmation {
    pub(crate) channels: Channels,
    pub(crate) unsubscribed: bool,
    /// Subscriptions of the client that are left, as the server counts them.
    pub(crate) total: u32,
}

impl Confirmation {
    pub(crate) fn read(values: &[Value]) -> Option<Self> {
        let [_, _, total] = values else { return None };
        let (channels, unsubscribed) = match kind(values) {
            b"subscribe" => (Channels::Plain, false),
            b"psubscribe" => (Channels::Patterns, false),
            b"ssubscribe" => (Channels::Sharded, false),
            b"unsubscribe" => (Channels::Plain, true),
            b"punsubscribe" => (Channels::Patterns, true),
            b"sunsubscribe" => (Channels::Sharded, true),
            _ => return None,
        };
        let total = u32::try_from(total.as_integer()?).ok()?;
        Some(Confirmation {
            channels,
            unsubscribed,
            total,
        })
    }
}

/// Whether an array is push data, on a connection of RESP2 that subscribes to something.
pub(crate) fn is_push_in_resp2(values: &[Value]) -> bool {
    match (kind(values), values.len()) {
        (b"message" | b"smessage", 3) | (b"pmessage", 4) => true,
        _ => Confirmation::read(values).is_some(),
    }
}
