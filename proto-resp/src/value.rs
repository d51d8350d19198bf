//! Whole replies, owned.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::{Aggregate, Buffer, Bulk, Encoder, Event, Misuse, Null, Version};

/// A reply, or anything else that RESP can say, as a tree that owns its strings.
///
/// Strings of one reply that lie near each other share memory: one that is kept keeps up to 4 KiB of its neighbours.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: `_`, `$-1` or `*-1`.
    Null,
    /// A short string without line breaks, such as `OK`.
    Simple(Bytes),
    /// An error, simple or bulk: a code, a space and a message.
    Error(Bytes),
    /// An integer.
    Integer(i64),
    /// A double.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// An integer of any size, in digits.
    BigNumber(Bytes),
    /// A string.
    Bulk(Bytes),
    /// Text to be shown as it is, and its encoding, such as `txt`.
    Verbatim([u8; 3], Bytes),
    /// Elements in order.
    Array(Vec<Value>),
    /// Pairs of key and value, as they came.
    Map(Vec<(Value, Value)>),
    /// Elements in no order, as they came.
    Set(Vec<Value>),
    /// Push data; the first element says what it is.
    Push(Vec<Value>),
    /// A value with attributes.
    Attributed(Box<Attributed>),
}

/// A value, and what the server told about it beside it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Attributed {
    /// Pairs of key and value.
    pub attributes: Vec<(Value, Value)>,
    /// What they were told about.
    pub value: Value,
}

impl Value {
    /// The string in it: of a simple, bulk or verbatim string, or of a big number.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(bytes) | Value::Bulk(bytes) | Value::Verbatim(_, bytes) | Value::BigNumber(bytes) => {
                Some(bytes)
            }
            Value::Attributed(inner) => inner.value.as_bytes(),
            _ => None,
        }
    }

    /// [`as_bytes`](Self::as_bytes), where that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The integer in it: as such, or as the string that RESP2 has for many numbers.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(value) => Some(*value),
            Value::Attributed(inner) => inner.value.as_integer(),
            _ => self.as_str()?.parse().ok(),
        }
    }

    /// The elements of an array, a set or push data.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[Value]> {
        match self {
            Value::Array(values) | Value::Set(values) | Value::Push(values) => Some(values),
            Value::Attributed(inner) => inner.value.as_slice(),
            _ => None,
        }
    }

    /// The pairs of a map, or of the array of keys and values that RESP2 has for one.
    #[must_use]
    pub fn pairs(&self) -> Option<impl Iterator<Item = (&Value, &Value)>> {
        let (map, array): (&[(Value, Value)], &[Value]) = match self.without_attributes() {
            Value::Map(pairs) => (pairs, &[]),
            Value::Array(values) if values.len().is_multiple_of(2) => (&[], values),
            _ => return None,
        };
        let flat = array.chunks_exact(2).filter_map(|pair| match pair {
            [key, value] => Some((key, value)),
            _ => None,
        });
        Some(map.iter().map(|(key, value)| (key, value)).chain(flat))
    }

    /// The error in it.
    #[must_use]
    pub fn as_error(&self) -> Option<ErrorReply<'_>> {
        match self {
            Value::Error(text) => Some(ErrorReply { text }),
            Value::Attributed(inner) => inner.value.as_error(),
            _ => None,
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.without_attributes(), Value::Null)
    }

    /// The value itself.
    #[must_use]
    pub fn without_attributes(&self) -> &Value {
        match self {
            Value::Attributed(inner) => inner.value.without_attributes(),
            value => value,
        }
    }

    /// Appends it in `version`; attributes are left out of RESP2, and push data is an array there.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written, for what may not be sent: a simple string with line breaks, push data inside of
    /// something.
    pub fn encode<B: Buffer + ?Sized>(&self, version: Version, out: &mut B) -> Result<(), Misuse> {
        proto_buffer::all_or_nothing(out, |out| {
            let mut encoder = Encoder::new(version);
            self.events(version, &mut |event| encoder.event(event, out))
        })
    }

    /// Tells all its events in order.
    pub(crate) fn events(
        &self,
        version: Version,
        tell: &mut dyn FnMut(&Event<'_>) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        let list = match self {
            Value::Null => return tell(&Event::Null(Null::Null)),
            Value::Simple(text) => return tell(&Event::Simple(text)),
            Value::Error(text) if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) => {
                return tell(&Event::Bulk(Bulk::Error, text));
            }
            Value::Error(text) => return tell(&Event::Error(text)),
            Value::Integer(value) => return tell(&Event::Integer(*value)),
            Value::Double(value) => return tell(&Event::Double(*value)),
            Value::Boolean(value) => return tell(&Event::Boolean(*value)),
            Value::BigNumber(digits) => {
                let digits = core::str::from_utf8(digits).map_err(|_| Misuse::BigNumber)?;
                return tell(&Event::BigNumber(digits));
            }
            Value::Bulk(bytes) => return tell(&Event::Bulk(Bulk::String, bytes)),
            Value::Verbatim(encoding, text) => return tell(&Event::Bulk(Bulk::Verbatim(*encoding), text)),
            Value::Map(pairs) => return tell_pairs(Aggregate::Map, pairs, version, tell),
            Value::Attributed(inner) => {
                if version == Version::Resp3 {
                    tell_pairs(Aggregate::Attribute, &inner.attributes, version, tell)?;
                }
                return inner.value.events(version, tell);
            }
            Value::Array(values) => (Aggregate::Array, values),
            Value::Set(values) => (Aggregate::Set, values),
            Value::Push(values) => (Aggregate::Push, values),
        };
        let (kind, values) = list;
        tell(&begin(kind, values.len())?)?;
        values.iter().try_for_each(|value| value.events(version, tell))
    }
}

fn begin(kind: Aggregate, len: usize) -> Result<Event<'static>, Misuse> {
    let len = u32::try_from(len).map_err(|_| Misuse::TooLarge)?;
    Ok(Event::Begin { kind, len: Some(len) })
}

fn tell_pairs(
    kind: Aggregate,
    pairs: &[(Value, Value)],
    version: Version,
    tell: &mut dyn FnMut(&Event<'_>) -> Result<(), Misuse>,
) -> Result<(), Misuse> {
    tell(&begin(kind, pairs.len())?)?;
    pairs.iter().try_for_each(|(key, value)| {
        key.events(version, tell)?;
        value.events(version, tell)
    })
}

/// An error that a server replied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    text: &'a [u8],
}

impl<'a> ErrorReply<'a> {
    /// The first word, such as `ERR` or `WRONGTYPE`.
    #[must_use]
    pub fn code(&self) -> &'a [u8] {
        self.text.split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// All of it, with its code.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.text
    }
}

impl fmt::Debug for ErrorReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorReply(\"{}\")", self.text.escape_ascii())
    }
}

impl fmt::Display for ErrorReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match core::str::from_utf8(self.text) {
            Ok(text) => f.write_str(text),
            Err(_) => write!(f, "{}", self.text.escape_ascii()),
        }
    }
}

impl core::error::Error for ErrorReply<'_> {}
