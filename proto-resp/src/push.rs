//! Data that a server sends unasked.

use alloc::vec::Vec;

use crate::Value;
use crate::arguments::Channels;

/// Push data. In RESP3 it has a type of its own; in RESP2 it is an array, while the client is subscribed.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    values: Vec<Value>,
    attributes: Vec<(Value, Value)>,
}

/// A message published on a channel.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Published<'a> {
    /// The pattern that matched, for a subscription to patterns.
    pub pattern: Option<&'a [u8]>,
    /// The channel.
    pub channel: &'a [u8],
    /// The published bytes.
    pub payload: &'a [u8],
}

impl Push {
    pub(crate) fn new(values: Vec<Value>, attributes: Vec<(Value, Value)>) -> Self {
        Push { values, attributes }
    }

    /// The kind, such as `message` or `invalidate`.
    #[must_use]
    pub fn kind(&self) -> &[u8] {
        kind(&self.values)
    }

    /// The elements after the kind.
    #[must_use]
    pub fn data(&self) -> &[Value] {
        self.values.get(1..).unwrap_or_default()
    }

    /// The attributes of the push data, as pairs of key and value.
    #[must_use]
    pub fn attributes(&self) -> &[(Value, Value)] {
        &self.attributes
    }

    /// All elements including the kind, without the attributes.
    #[must_use]
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// The published message, if the kind is `message`, `pmessage` or `smessage`.
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

/// A confirmation of a subscription or unsubscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmation {
    pub(crate) channels: Channels,
    pub(crate) unsubscribed: bool,
    /// The client's remaining subscriptions, as the server counts them.
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

/// Whether an array is push data, on a RESP2 connection that is subscribed.
pub(crate) fn is_push_in_resp2(values: &[Value]) -> bool {
    match (kind(values), values.len()) {
        (b"message" | b"smessage", 3) | (b"pmessage", 4) => true,
        _ => Confirmation::read(values).is_some(),
    }
}
