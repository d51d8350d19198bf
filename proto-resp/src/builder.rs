//! Builds values from events, and decodes streams into values.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::decode::Core;
use crate::frames::Spilled;
use crate::value::Attributed;
use crate::{Aggregate, Bulk, Event, Rules, Value, Version, Violation};

/// The most elements for which memory is reserved before they have arrived. The input must be long enough to hold them.
const AHEAD: usize = 256;

/// Strings inside a reply that are shorter than this share memory, in pieces of up to [`PIECE`] bytes.
const SHARED: usize = 1024;
const PIECE: usize = 4096;

/// Decodes a stream into whole values.
///
/// Memory is allocated for data that has arrived, never for a length that was only announced. Between two values, the decoder holds none.
///
/// ```
/// use proto_resp::{Rules, Value, ValueDecoder, Version};
///
/// let mut decoder = ValueDecoder::new(Version::Resp3, Rules::DEFAULT);
/// let mut input = &b"%1\r\n+first\r\n"[..];
/// assert_eq!(decoder.next(&mut input)?, None);
/// input = b":1\r\n";
/// let map = decoder.next(&mut input)?.unwrap();
/// assert_eq!(map, Value::Map(vec![(Value::Simple("first".into()), Value::Integer(1))]));
/// # Ok::<(), proto_resp::Violation>(())
/// ```
#[derive(Debug)]
pub struct ValueDecoder {
    pub(crate) core: Core<Spilled>,
    builder: Builder,
    rules: Rules,
    failed: Option<Violation>,
}

impl ValueDecoder {
    /// A decoder for the replies and pushes of a peer that speaks `version`.
    #[must_use]
    pub fn new(version: Version, rules: Rules) -> Self {
        ValueDecoder {
            core: Core::new(version),
            builder: Builder::default(),
            rules,
            failed: None,
        }
    }

    /// Changes the version, as negotiated by HELLO, whose own reply is in the new version.
    pub fn set_version(&mut self, version: Version) {
        self.core.version = version;
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether no value is in progress, as far as the decoder has read.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.core.is_between()
    }

    /// Returns the next value, or `None` when more input is needed. Takes the bytes it used off the front of `input`. Pass the remaining
    /// bytes (an unfinished line or header, or the last byte of a string) again, with newer ones after them.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol or exceeded a limit. Every later call returns the same error.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "it takes from its argument")]
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Value>, Violation> {
        if let Some(violation) = self.failed {
            return Err(violation);
        }
        loop {
            match self.core.step(&self.rules, input) {
                Ok(Some(event)) => {
                    if let Some(value) = self.builder.add(event, input.len()) {
                        return Ok(Some(value));
                    }
                }
                Ok(None) => return Ok(None),
                Err(violation) => {
                    self.failed = Some(violation);
                    self.builder = Builder::default();
                    return Err(violation);
                }
            }
        }
    }
}

/// Assembles values.
#[derive(Debug, Default)]
struct Builder {
    open: Vec<Open>,
    /// The part of the current string that has arrived.
    string: Vec<u8>,
    /// The shared memory of short strings.
    piece: BytesMut,
    /// Attributes of the next item.
    attributes: Vec<(Value, Value)>,
}

/// An aggregate that is incomplete.
#[derive(Debug)]
struct Open {
    elements: Elements,
    /// Attributes of the aggregate.
    attributes: Vec<(Value, Value)>,
}

#[derive(Debug)]
enum Elements {
    One(Aggregate, Vec<Value>),
    /// Pairs, and a key whose value has not arrived.
    Two(Aggregate, Vec<(Value, Value)>, Option<Value>),
}

impl Builder {
    /// Adds an event. Returns the value that the event completes. `input` is the number of bytes after the event.
    #[inline]
    fn add(&mut self, event: Event<'_>, input: usize) -> Option<Value> {
        let value = match event {
            Event::Bulk(Bulk::String, bytes) => Value::Bulk(self.own(bytes, input)),
            Event::Simple(text) => Value::Simple(self.own_simple(text, input)),
            Event::Integer(value) => Value::Integer(value),
            Event::Null(_) => Value::Null,
            Event::Begin { kind, len } => {
                self.begin(kind, len, input);
                return None;
            }
            Event::End { .. } => self.end()?,
            Event::Error(text) | Event::Bulk(Bulk::Error, text) => Value::Error(self.own(text, input)),
            Event::Double(value) => Value::Double(value),
            Event::Boolean(value) => Value::Boolean(value),
            Event::BigNumber(digits) => Value::BigNumber(self.own(digits.as_bytes(), input)),
            Event::Bulk(Bulk::Verbatim(encoding), text) => Value::Verbatim(encoding, self.own(text, input)),
            Event::Part { of, bytes, left } => self.part(of, bytes, left)?,
        };
        if let (Value::Push(_), false) = (&value, self.open.is_empty()) {
            // Push data inside another value is not part of that value.
            return Some(value);
        }
        let value = if self.attributes.is_empty() {
            value
        } else {
            Value::Attributed(Box::new(Attributed {
                attributes: core::mem::take(&mut self.attributes),
                value,
            }))
        };
        let Some(innermost) = self.open.last_mut() else {
            // The rest of the shared memory belongs to the values in it.
            self.piece = BytesMut::new();
            return Some(value);
        };
        match &mut innermost.elements {
            Elements::One(_, values) => values.push(value),
            Elements::Two(_, pairs, key) => match key.take() {
                Some(key) => pairs.push((key, value)),
                None => *key = Some(value),
            },
        }
        None
    }

    fn begin(&mut self, kind: Aggregate, len: Option<u32>, input: usize) {
        // An element has at least three bytes.
        let room = (len.unwrap_or(0) as usize).min(AHEAD).min(input / 3);
        let elements = match kind.width() {
            1 => Elements::One(kind, Vec::with_capacity(room)),
            _ => Elements::Two(kind, Vec::with_capacity(room), None),
        };
        self.open.push(Open {
            elements,
            attributes: core::mem::take(&mut self.attributes),
        });
    }

    fn end(&mut self) -> Option<Value> {
        let Open { elements, attributes } = self.open.pop()?;
        self.attributes = attributes;
        Some(match elements {
            Elements::One(Aggregate::Set, values) => Value::Set(values),
            Elements::One(Aggregate::Push, values) => Value::Push(values),
            Elements::One(_, values) => Value::Array(values),
            Elements::Two(Aggregate::Attribute, pairs, _) => {
                self.attributes.extend(pairs);
                return None;
            }
            Elements::Two(_, pairs, _) => Value::Map(pairs),
        })
    }

    fn part(&mut self, of: Bulk, bytes: &[u8], left: Option<u64>) -> Option<Value> {
        if let Some(left) = left.and_then(|left| usize::try_from(left).ok())
            && self.string.capacity() - self.string.len() < bytes.len()
            && left <= self.string.len() + bytes.len()
        {
            // Half of the string has arrived: reserves the memory for all of it.
            self.string.reserve_exact(bytes.len() + left);
        }
        self.string.extend_from_slice(bytes);
        if left != Some(0) {
            return None;
        }
        let string = Bytes::from(core::mem::take(&mut self.string));
        Some(match of {
            Bulk::String => Value::Bulk(string),
            Bulk::Error => Value::Error(string),
            Bulk::Verbatim(encoding) => Value::Verbatim(encoding, string),
        })
    }

    /// Copies a string: by itself if it is long or a whole reply, else into memory shared with nearby strings. At most `input` more bytes
    /// of the reply have arrived.
    #[inline]
    fn own(&mut self, bytes: &[u8], input: usize) -> Bytes {
        if self.open.is_empty() || bytes.len() >= SHARED || bytes.is_empty() {
            return Bytes::copy_from_slice(bytes);
        }
        if self.piece.capacity() < bytes.len() {
            self.piece = BytesMut::with_capacity((bytes.len() + input).min(PIECE));
        }
        self.piece.extend_from_slice(bytes);
        self.piece.split().freeze()
    }

    #[inline]
    fn own_simple(&mut self, text: &[u8], input: usize) -> Bytes {
        match text {
            b"OK" => Bytes::from_static(b"OK"),
            b"QUEUED" => Bytes::from_static(b"QUEUED"),
            b"PONG" => Bytes::from_static(b"PONG"),
            text => self.own(text, input),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_values_is_told_from_within() {
        let mut decoder = ValueDecoder::new(Version::Resp2, Rules::REPLIES);
        assert!(decoder.is_between());
        let mut input = &b"*2\r\n:1\r\n"[..];
        assert_eq!(decoder.next(&mut input), Ok(None));
        assert!(!decoder.is_between());
        let mut input = &b":2\r\n"[..];
        assert!(decoder.next(&mut input).unwrap().is_some());
        assert!(decoder.is_between());
    }
}
