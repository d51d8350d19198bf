//! Encodes events to bytes.

use crate::frames::{Below, COUNT, Frames, Inline};
use crate::number::{Double, Header, put_bulk};
use crate::scan::is_big_number;
use crate::{Aggregate, Buffer, Bulk, Event, Misuse, Null, Version};
use proto_buffer::all_or_nothing;

/// Encodes events, appends them to the caller's buffer, and checks that they make whole replies: the reverse of a
/// [`Decoder`](crate::Decoder).
///
/// For RESP2, the encoder converts events: maps into arrays of keys and values, sets and pushes into arrays, nulls into
/// `$-1`, booleans into `:1` and `:0`, doubles, big numbers and verbatim strings into bulk strings, bulk errors into simple
/// ones with spaces for their line breaks. Attributes, streamed strings and streamed aggregates have no form in RESP2:
/// [`Misuse::Resp3`].
///
/// Aggregates with a given length end by themselves: their [`Event::End`] is allowed, and writes nothing.
///
/// ```
/// use proto_resp::{Encoder, Version};
///
/// let mut out = Vec::new();
/// let mut encoder = Encoder::new(Version::Resp3);
/// encoder.map(1, &mut out)?;
/// encoder.bulk(b"key", &mut out)?;
/// encoder.double(0.5, &mut out)?;
/// assert!(encoder.is_between());
/// assert_eq!(out, b"%1\r\n$3\r\nkey\r\n,0.5\r\n");
/// # Ok::<(), proto_resp::Misuse>(())
/// ```
#[derive(Debug, Clone)]
pub struct Encoder {
    core: Core<Inline>,
    version: Version,
}

/// The state of a string that is given in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    None,
    /// This many bytes are still to come.
    Known(u64),
    Streamed,
}

/// The state between two events; the version is passed to each call.
#[derive(Debug, Clone)]
pub(crate) struct Core<S> {
    frames: Frames<S>,
    parts: Parts,
    /// An attribute has no item to describe yet.
    attributed: bool,
}

impl<S: Default> Default for Core<S> {
    fn default() -> Self {
        Core {
            frames: Frames::default(),
            parts: Parts::None,
            attributed: false,
        }
    }
}

macro_rules! shorthands {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) => $event:expr;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// See [`event`](Self::event).
            #[inline]
            pub fn $name<B: Buffer + ?Sized>(&mut self, $($argument: $type,)* out: &mut B) -> Result<(), Misuse> {
                self.event(&$event, out)
            }
        )*
    };
}

impl Encoder {
    /// An encoder for a peer that speaks `version`.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Encoder {
            core: Core::default(),
            version,
        }
    }

    /// Whether no item is in progress: the output consists of whole replies.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.core.is_between()
    }

    /// Appends an event.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written, for an event that may not stand here or has no form in this version.
    #[inline]
    pub fn event<B: Buffer + ?Sized>(&mut self, event: &Event<'_>, out: &mut B) -> Result<(), Misuse> {
        self.core.event(self.version, event, out)
    }

    /// Appends a null. In RESP2, this is a null array.
    ///
    /// # Errors
    ///
    /// See [`event`](Self::event).
    pub fn null_array<B: Buffer + ?Sized>(&mut self, out: &mut B) -> Result<(), Misuse> {
        self.event(&Event::Null(no_array(self.version)), out)
    }

    shorthands! {
        /// Appends a simple string, without line breaks, such as `OK`.
        simple(text: &str) => Event::Simple(text.as_bytes());
        /// Appends an error: a code such as `ERR`, a space, and a message, without line breaks.
        error(text: &str) => Event::Error(text.as_bytes());
        /// Appends an integer.
        integer(value: i64) => Event::Integer(value);
        /// Appends a double.
        double(value: f64) => Event::Double(value);
        /// Appends a boolean.
        boolean(value: bool) => Event::Boolean(value);
        /// Appends a null. In RESP2, this is a null string.
        null() => Event::Null(Null::Null);
        /// Appends a big number.
        big_number(digits: &str) => Event::BigNumber(digits);
        /// Appends a bulk string.
        bulk(bytes: &[u8]) => Event::Bulk(Bulk::String, bytes);
        /// Appends a verbatim string in an encoding such as `txt`.
        verbatim(encoding: [u8; 3], text: &[u8]) => Event::Bulk(Bulk::Verbatim(encoding), text);
        /// Begins an array of this many elements.
        array(len: u32) => Event::Begin { kind: Aggregate::Array, len: Some(len) };
        /// Begins a map of this many pairs.
        map(len: u32) => Event::Begin { kind: Aggregate::Map, len: Some(len) };
        /// Begins a set of this many elements.
        set(len: u32) => Event::Begin { kind: Aggregate::Set, len: Some(len) };
        /// Begins push data of this many elements, the first of which names its kind.
        push(len: u32) => Event::Begin { kind: Aggregate::Push, len: Some(len) };
    }
}

impl<S: Below> Core<S> {
    pub(crate) fn is_between(&self) -> bool {
        self.frames.depth() == 0 && self.parts == Parts::None && !self.attributed
    }

    /// Appends an event completely, or not at all.
    #[inline]
    pub(crate) fn event<B: Buffer + ?Sized>(
        &mut self,
        version: Version,
        event: &Event<'_>,
        out: &mut B,
    ) -> Result<(), Misuse> {
        if self.parts != Parts::None && !matches!(event, Event::Part { .. }) {
            return Err(Misuse::Unfinished);
        }
        match *event {
            Event::Part { of, bytes, left } => return self.part(version, of, bytes, left, out),
            Event::Begin { kind, len } => return self.begin(version, kind, len, out),
            Event::End { streamed: false, .. } => return Ok(()),
            Event::End { kind, .. } => return self.end(kind, out),
            _ => all_or_nothing(out, |out| scalar(version, event, out))?,
        }
        self.item();
        Ok(())
    }

    /// Begins a bulk string. The caller writes its bytes and CRLF by other means.
    #[cfg(feature = "protocol")]
    pub(crate) fn bulk_header<B: Buffer + ?Sized>(&mut self, len: usize, out: &mut B) -> Result<(), Misuse> {
        if self.parts != Parts::None {
            return Err(Misuse::Unfinished);
        }
        out.put(Header::new().line(b'$', len as u64))?;
        self.item();
        Ok(())
    }

    #[inline]
    fn item(&mut self) {
        self.attributed = false;
        self.frames.item();
        self.close();
    }

    /// Closes the aggregates that have all their items.
    #[inline]
    fn close(&mut self) {
        while self.frames.is_complete() {
            self.attributed = self.frames.pop();
        }
    }

    fn begin<B: Buffer + ?Sized>(
        &mut self,
        version: Version,
        kind: Aggregate,
        len: Option<u32>,
        out: &mut B,
    ) -> Result<(), Misuse> {
        let items = match len {
            Some(len) => {
                let items = len.checked_mul(kind.width()).filter(|&items| items <= COUNT);
                Some(items.ok_or(Misuse::TooLarge)?)
            }
            None => None,
        };
        if kind == Aggregate::Push && (self.frames.depth() > 0 || len == Some(0)) {
            return Err(Misuse::Push);
        }
        if version == Version::Resp2 && (len.is_none() || kind == Aggregate::Attribute) {
            return Err(Misuse::Resp3);
        }
        if len.is_none() && !kind.streams() {
            return Err(Misuse::Unbalanced);
        }
        if self.frames.depth() >= crate::MAX_DEPTH {
            return Err(Misuse::TooLarge);
        }
        match (version, items) {
            (_, None) => out.put(&[kind.byte(), b'?', b'\r', b'\n'])?,
            (Version::Resp2, Some(items)) => out.put(Header::new().line(b'*', u64::from(items)))?,
            (Version::Resp3, Some(items)) => {
                out.put(Header::new().line(kind.byte(), u64::from(items / kind.width())))?;
            }
        }
        if kind != Aggregate::Attribute {
            self.attributed = false;
        }
        self.frames.push(kind, items);
        self.close();
        Ok(())
    }

    fn end<B: Buffer + ?Sized>(&mut self, kind: Aggregate, out: &mut B) -> Result<(), Misuse> {
        if self.frames.innermost() != Some((kind, true)) || self.frames.is_odd() {
            return Err(Misuse::Unbalanced);
        } else if self.attributed {
            return Err(Misuse::Unfinished);
        }
        out.put(b".\r\n")?;
        self.attributed = self.frames.pop();
        self.close();
        Ok(())
    }

    fn part<B: Buffer + ?Sized>(
        &mut self,
        version: Version,
        of: Bulk,
        bytes: &[u8],
        left: Option<u64>,
        out: &mut B,
    ) -> Result<(), Misuse> {
        let len = bytes.len() as u64;
        let next = match (self.parts, left) {
            (Parts::None, Some(left)) => {
                let total = len.checked_add(left).ok_or(Misuse::TooLarge)?;
                all_or_nothing(out, |out| {
                    match of {
                        Bulk::Error if version == Version::Resp2 => return Err(Misuse::Resp3),
                        Bulk::Verbatim(encoding) if version == Version::Resp3 => {
                            out.put(Header::new().line(b'=', total + 4))?;
                            out.put(&encoding)?;
                            out.put(b":")?;
                        }
                        Bulk::Error => out.put(Header::new().line(b'!', total))?,
                        _ => out.put(Header::new().line(b'$', total))?,
                    }
                    out.put(bytes)?;
                    if left == 0 {
                        out.put(b"\r\n")?;
                    }
                    Ok::<_, Misuse>(())
                })?;
                Parts::Known(left)
            }
            (Parts::Known(due), Some(left)) => {
                if due.checked_sub(len) != Some(left) {
                    return Err(Misuse::Unbalanced);
                }
                all_or_nothing(out, |out| {
                    out.put(bytes)?;
                    if left == 0 {
                        out.put(b"\r\n")?;
                    }
                    Ok::<_, Misuse>(())
                })?;
                Parts::Known(left)
            }
            (Parts::None, None) => {
                if version == Version::Resp2 || of != Bulk::String {
                    return Err(Misuse::Resp3);
                }
                all_or_nothing(out, |out| {
                    out.put(b"$?\r\n")?;
                    if len == 0 { Ok(()) } else { put_bulk(out, b';', bytes) }
                })?;
                Parts::Streamed
            }
            (Parts::Streamed, left @ (None | Some(0))) => {
                all_or_nothing(out, |out| {
                    if len > 0 {
                        put_bulk(out, b';', bytes)?;
                    }
                    if left == Some(0) {
                        out.put(b";0\r\n")?;
                    }
                    Ok::<_, Misuse>(())
                })?;
                if left == Some(0) {
                    Parts::Known(0)
                } else {
                    Parts::Streamed
                }
            }
            (Parts::Streamed, Some(_)) | (Parts::Known(_), None) => return Err(Misuse::Unbalanced),
        };
        self.parts = next;
        if next == Parts::Known(0) {
            self.parts = Parts::None;
            self.item();
        }
        Ok(())
    }
}

/// The null that stands for an array.
pub(crate) const fn no_array(version: Version) -> Null {
    match version {
        Version::Resp2 => Null::Array,
        Version::Resp3 => Null::Null,
    }
}

/// Appends an item other than an aggregate or a part.
#[inline]
fn scalar<B: Buffer + ?Sized>(version: Version, event: &Event<'_>, out: &mut B) -> Result<(), Misuse> {
    let resp3 = version == Version::Resp3;
    match *event {
        Event::Bulk(Bulk::String, bytes) => put_bulk(out, b'$', bytes),
        Event::Simple(text) => line(out, b'+', text),
        Event::Integer(value) => Ok(out.put(Header::new().signed_line(b':', value))?),
        Event::Error(text) => line(out, b'-', text),
        Event::Null(Null::Null) if resp3 => Ok(out.put(b"_\r\n")?),
        Event::Null(Null::Array) => Ok(out.put(b"*-1\r\n")?),
        Event::Null(_) => Ok(out.put(b"$-1\r\n")?),
        Event::Boolean(value) => Ok(out.put(match (resp3, value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        })?),
        Event::Double(value) => {
            let double = Double::new(value);
            if resp3 {
                line(out, b',', double.as_bytes())
            } else {
                put_bulk(out, b'$', double.as_bytes())
            }
        }
        Event::BigNumber(digits) if !is_big_number(digits.as_bytes()) => Err(Misuse::BigNumber),
        Event::BigNumber(digits) if resp3 => line(out, b'(', digits.as_bytes()),
        Event::BigNumber(digits) => put_bulk(out, b'$', digits.as_bytes()),
        Event::Bulk(Bulk::Error, bytes) if resp3 => put_bulk(out, b'!', bytes),
        Event::Bulk(Bulk::Error, bytes) => {
            out.put(b"-")?;
            for piece in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
                let text = piece.strip_suffix(b"\r").or(piece.strip_suffix(b"\n")).unwrap_or(piece);
                out.put(text)?;
                if text.len() < piece.len() {
                    out.put(b" ")?;
                }
            }
            Ok(out.put(b"\r\n")?)
        }
        Event::Bulk(Bulk::Verbatim(encoding), text) if resp3 => {
            out.put(Header::new().line(b'=', text.len() as u64 + 4))?;
            out.put(&encoding)?;
            out.put(b":")?;
            out.put(text)?;
            Ok(out.put(b"\r\n")?)
        }
        Event::Bulk(Bulk::Verbatim(_), text) => put_bulk(out, b'$', text),
        // Handled before.
        Event::Part { .. } | Event::Begin { .. } | Event::End { .. } => Err(Misuse::Unbalanced),
    }
}

#[inline]
fn line<B: Buffer + ?Sized>(out: &mut B, byte: u8, text: &[u8]) -> Result<(), Misuse> {
    if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(Misuse::LineBreak);
    }
    out.put(&[byte])?;
    out.put(text)?;
    Ok(out.put(b"\r\n")?)
}
