//! Whole replies, owned.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::{Aggregate, Buffer, Bulk, Encoder, Event, Misuse, Null, Version};

/// A reply, or any other RESP value, as a tree that owns its strings.
///
/// Neighbouring short strings of one reply share memory: keeping one of them keeps up to 4 KiB of the others.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Null: `_`, `$-1` or `*-1`.
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
    /// A verbatim string: its encoding, such as `txt`, and its text.
    Verbatim([u8; 3], Bytes),
    /// Elements in order.
    Array(Vec<Value>),
    /// Pairs of key and value, in order of arrival.
    Map(Vec<(Value, Value)>),
    /// Elements of a set, in order of arrival.
    Set(Vec<Value>),
    /// Push data; the first element is its kind.
    Push(Vec<Value>),
    /// A value with attributes.
    Attributed(Box<Attributed>),
}

/// A value with its attributes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Attributed {
    /// The attributes, as pairs of key and value.
    pub attributes: Vec<(Value, Value)>,
    /// The value that the attributes describe.
    pub value: Value,
}

impl Value {
    /// The bytes of a simple, bulk or verbatim string, or of a big number.
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

    /// [`as_bytes`](Self::as_bytes), if these are UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The value as an integer: an integer, or a string of digits, as RESP2 often has in its place.
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

    /// The pairs of a map, or of an array of keys and values, which RESP2 has in its place.
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

    /// The error, if the value is one.
    #[must_use]
    pub fn as_error(&self) -> Option<ErrorReply<'_>> {
        match self {
            Value::Error(text) => Some(ErrorReply { text }),
            Value::Attributed(inner) => inner.value.as_error(),
            _ => None,
        }
    }

    /// Whether the value is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.without_attributes(), Value::Null)
    }

    /// The value without its attributes.
    #[must_use]
    pub fn without_attributes(&self) -> &Value {
        match self {
            Value::Attributed(inner) => inner.value.without_attributes(),
            value => value,
        }
    }

    /// Appends the value in `version`. In RESP2, attributes are left out, and push data is an array.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written, for a value that may not be sent: a simple string with line breaks, or push data inside another
    /// value.
    pub fn encode<B: Buffer + ?Sized>(&self, version: Version, out: &mut B) -> Result<(), Misuse> {
        proto_buffer::all_or_nothing(out, |out| {
            let mut encoder = Encoder::new(version);
            self.events(version, &mut |event| encoder.event(event, out))
        })
    }

    /// Passes all events of the value to `tell`, in order.
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

/// An error reply of a server.
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

    /// The whole text, including the code.
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

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// Attributes change nothing about how a value is read.
    #[test]
    fn a_value_with_attributes_reads_as_the_value() {
        let attributed = |value| {
            Value::Attributed(Box::new(Attributed {
                attributes: vec![(Value::Null, Value::Null)],
                value,
            }))
        };
        let array = Value::Array(vec![Value::Integer(1), Value::Null]);
        assert_eq!(attributed(array.clone()).as_slice(), array.as_slice());
        assert_eq!(array.as_slice().map(<[Value]>::len), Some(2));
        assert_eq!(attributed(Value::Integer(7)).as_integer(), Some(7));
        assert_eq!(attributed(Value::Bulk("a".into())).as_str(), Some("a"));
        assert_eq!(attributed(array).pairs().map(Iterator::count), Some(1));
        assert_eq!(attributed(Value::Null).as_slice(), None);
    }
}
