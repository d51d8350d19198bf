//! Decodes bytes to events, without allocating.

use crate::frames::{COUNT, Frames, Inline};
use crate::scan::{self, Length};
use crate::{Aggregate, Bulk, Event, Null, Rules, Version, Violation};

/// Decodes a stream into events, without allocating: an item that is complete in the input is borrowed as a whole, a long
/// string in parts as they arrive.
///
/// The decoder leaves bytes in `input` that it cannot use yet: the beginning of a line (up to
/// [`Limits::line`](crate::Limits::line)) or of a header, or the last byte of a string whose end has not arrived. Pass them
/// again, with more bytes after them. The decoder does not read them twice.
///
/// ```
/// use proto_resp::{Aggregate, Bulk, Decoder, Event, Rules, Version};
///
/// let mut decoder = Decoder::new(Version::Resp3, Rules::DEFAULT);
/// let mut input = &b"*2\r\n$5\r\nhello\r\n:42\r\n"[..];
/// assert_eq!(decoder.next(&mut input)?, Some(Event::Begin { kind: Aggregate::Array, len: Some(2) }));
/// assert_eq!(decoder.next(&mut input)?, Some(Event::Bulk(Bulk::String, b"hello")));
/// assert_eq!(decoder.next(&mut input)?, Some(Event::Integer(42)));
/// assert_eq!(decoder.next(&mut input)?, Some(Event::End { kind: Aggregate::Array, streamed: false }));
/// assert!(decoder.is_between());
/// assert_eq!(decoder.next(&mut input)?, None);
/// # Ok::<(), proto_resp::Violation>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    core: Core<Inline>,
    rules: Rules,
    failed: Option<Violation>,
}

impl Decoder {
    /// A decoder for the replies and pushes of a peer that speaks `version`.
    #[must_use]
    pub fn new(version: Version, rules: Rules) -> Self {
        Decoder {
            core: Core::new(version),
            rules,
            failed: None,
        }
    }

    /// Changes the version, as negotiated by HELLO, whose own reply is in the new version.
    pub fn set_version(&mut self, version: Version) {
        self.core.version = version;
    }

    /// The number of open aggregates.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.core.frames.depth()
    }

    /// Whether no item is in progress: the last event ended a reply or a push, or there was none.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.core.is_between()
    }

    /// Returns the next event, or `None` when more input is needed. Consumes the bytes that it used from the front of
    /// `input`.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol or exceeded a limit. Every later call returns the same error.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "it borrows from its argument")]
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        if let Some(violation) = self.failed {
            return Err(violation);
        }
        self.core.step(&self.rules, input).inspect_err(|&violation| {
            self.failed = Some(violation);
        })
    }
}

/// The position of the stream within an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before an item.
    Item,
    /// Inside a string, with [`Core::left`] bytes to come.
    String(Bulk),
    /// Before a chunk of a streamed string.
    Chunks,
    /// Inside such a chunk, with [`Core::left`] bytes to come.
    Chunk,
    /// Inside a long error line, after the part that was passed on.
    ErrorLine,
}

/// The state between two events; the rules are passed to each call.
#[derive(Debug, Clone)]
pub(crate) struct Core<S> {
    frames: Frames<S>,
    /// Bytes to come of the current string or chunk.
    left: u64,
    /// Bytes that the current reply may still have.
    bytes: u64,
    /// Bytes that the current streamed string may still have.
    chunks: u64,
    /// Items that the current reply may still have.
    items: u32,
    /// Bytes of the current line that were searched for its end.
    scanned: u32,
    state: State,
    /// An attribute has no item to describe yet.
    attributed: bool,
    /// The next item is the kind of push data.
    kind_due: bool,
    pub(crate) version: Version,
}

impl<S: crate::frames::Below + Default> Core<S> {
    pub(crate) fn new(version: Version) -> Self {
        Core {
            frames: Frames::default(),
            left: 0,
            bytes: 0,
            chunks: 0,
            items: 0,
            scanned: 0,
            state: State::Item,
            attributed: false,
            kind_due: false,
            version,
        }
    }

    /// Whether no reply is in progress.
    #[inline]
    pub(crate) fn is_between(&self) -> bool {
        self.frames.depth() == 0 && matches!(self.state, State::Item) && !self.attributed
    }

    /// The next event.
    #[inline]
    pub(crate) fn step<'a>(&mut self, rules: &Rules, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        if self.frames.is_complete() {
            return Ok(Some(self.end(false)));
        }
        if !matches!(self.state, State::Item) {
            if self.state != State::ErrorLine {
                return self.resume(input);
            }
            return match self.rest_of_error(input)? {
                true => self.step(rules, input),
                false => Ok(None),
            };
        }
        let Some((&first, rest)) = input.split_first() else {
            return Ok(None);
        };
        if self.frames.depth() == 0 && !self.attributed {
            self.bytes = rules.limits.reply;
            self.items = rules.limits.items;
        }
        if self.kind_due && !matches!(first, b'+' | b'$') {
            return Err(Violation::PushKind);
        }
        match first {
            b'$' => match scan::length(rest)? {
                Some((Length::Some(len), used)) => self.string(rules, Bulk::String, len, 1 + used, 0, input),
                Some((Length::Null, _)) if self.kind_due => Err(Violation::PushKind),
                Some((Length::Null, used)) => self.scalar(Event::Null(Null::Bulk), 1 + used, input),
                Some((Length::Stream, used)) => self.stream(rules, 1 + used, input),
                None => Ok(None),
            },
            b'+' => match self.line(rules, rest)? {
                Some(line) => self.scalar(Event::Simple(line), line.len() + 3, input),
                None => Ok(None),
            },
            b':' => match scan::integer(rest)? {
                Some((value, used)) => self.scalar(Event::Integer(value), 1 + used, input),
                None => Ok(None),
            },
            b'*' => self.begin(rules, Aggregate::Array, rest, input),
            b'-' => match self.line(rules, rest) {
                Ok(Some(line)) => self.scalar(Event::Error(line), line.len() + 3, input),
                Ok(None) => Ok(None),
                Err(Violation::LineTooLong) => self.long_error(rules, rest, input),
                Err(violation) => Err(violation),
            },
            _ => self.resp3(rules, first, rest, input),
        }
    }

    /// Handles the types of RESP3.
    #[inline(never)]
    fn resp3<'a>(
        &mut self,
        rules: &Rules,
        first: u8,
        rest: &'a [u8],
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, Violation> {
        if !matches!(
            first,
            b'_' | b'#' | b',' | b'(' | b'!' | b'=' | b'%' | b'~' | b'>' | b'|' | b'.' | b';'
        ) {
            return Err(Violation::UnknownType(first));
        }
        if self.version == Version::Resp2 {
            return Err(Violation::Resp3Type(first));
        }
        let (event, used) = match first {
            b'_' => match scan::expect(rest, b"\r\n", Violation::Null)? {
                true => (Event::Null(Null::Null), 3),
                false => return Ok(None),
            },
            b'#' => {
                let (text, value): (&[u8; 3], _) = match rest.first() {
                    Some(b't') => (b"t\r\n", true),
                    Some(b'f') => (b"f\r\n", false),
                    Some(b'\n') => return Err(Violation::BareLf),
                    Some(_) => return Err(Violation::Boolean),
                    None => return Ok(None),
                };
                match scan::expect(rest, text, Violation::Boolean)? {
                    true => (Event::Boolean(value), 4),
                    false => return Ok(None),
                }
            }
            b',' => match self.line(rules, rest)? {
                Some(line) => {
                    let value = scan::double(line, rules.leniency.any_nan).ok_or(Violation::Double)?;
                    (Event::Double(value), line.len() + 3)
                }
                None => return Ok(None),
            },
            b'(' => match self.line(rules, rest)? {
                Some(line) if scan::is_big_number(line) => {
                    let digits = core::str::from_utf8(line).map_err(|_| Violation::BigNumber)?;
                    (Event::BigNumber(digits), line.len() + 3)
                }
                Some(_) => return Err(Violation::BigNumber),
                None => return Ok(None),
            },
            b'!' => {
                return match scan::unsigned(rest, Violation::Length)? {
                    Some((len, used)) => self.string(rules, Bulk::Error, len, 1 + used, 0, input),
                    None => Ok(None),
                };
            }
            b'=' => return self.verbatim(rules, rest, input),
            b'%' => return self.begin(rules, Aggregate::Map, rest, input),
            b'~' => return self.begin(rules, Aggregate::Set, rest, input),
            b'>' => return self.begin(rules, Aggregate::Push, rest, input),
            b'|' => return self.begin(rules, Aggregate::Attribute, rest, input),
            b'.' => return self.end_of_stream(rest, input),
            _ => return Err(Violation::StrayChunk),
        };
        self.scalar(event, used, input)
    }

    /// A complete item.
    #[inline(always)]
    fn scalar<'a>(
        &mut self,
        event: Event<'a>,
        used: usize,
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, Violation> {
        self.charge(used as u64)?;
        self.accept()?;
        advance(input, used);
        self.frames.item();
        Ok(Some(event))
    }

    /// A line of the current item.
    #[inline]
    fn line<'a>(&mut self, rules: &Rules, rest: &'a [u8]) -> Result<Option<&'a [u8]>, Violation> {
        let Some(len) = scan::line(rest, &mut self.scanned, rules.limits.line)? else {
            return Ok(None);
        };
        self.scanned = 0;
        Ok(rest.get(..len))
    }

    /// The first part of an error line that exceeds the limit; the rest is skipped.
    #[cold]
    fn long_error<'a>(
        &mut self,
        rules: &Rules,
        rest: &'a [u8],
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, Violation> {
        let len = rules.limits.line as usize;
        self.charge(len as u64 + 1)?;
        self.accept()?;
        self.scanned = 0;
        self.state = State::ErrorLine;
        advance(input, len + 1);
        Ok(Some(Event::Error(rest.get(..len).unwrap_or_default())))
    }

    /// Skips the rest of a long error line.
    #[cold]
    fn rest_of_error(&mut self, input: &mut &[u8]) -> Result<bool, Violation> {
        let end = input.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let len = end.unwrap_or(input.len());
        self.charge(len as u64)?;
        advance(input, len);
        match **input {
            [b'\r', b'\n', ..] => {
                advance(input, 2);
                self.state = State::Item;
                self.frames.item();
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            [b'\n', ..] => Err(Violation::BareLf),
            _ => Err(Violation::BareCr),
        }
    }

    /// A string of `len` bytes after a header of `at` bytes. The first `skip` bytes are not part of the payload. Returns all of the string,
    /// or its first part.
    #[inline(always)]
    fn string<'a>(
        &mut self,
        rules: &Rules,
        kind: Bulk,
        len: u64,
        at: usize,
        skip: u8,
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, Violation> {
        self.allow(rules, len)?;
        let (len, at) = (len - u64::from(skip), at + usize::from(skip));
        let whole = take(input, at, len);
        if whole == Ok(None) && available(input, at, len) == 0 {
            return Ok(None);
        }
        // Charged before the end is checked, so that the result does not depend on whether the end has arrived.
        self.charge(len)?;
        self.accept()?;
        if let Some((bytes, used)) = whole? {
            advance(input, used);
            self.frames.item();
            return Ok(Some(Event::Bulk(kind, bytes)));
        }
        self.state = State::String(kind);
        self.left = len;
        advance(input, at);
        Ok(Some(self.part(kind, input)))
    }

    #[inline(never)]
    fn verbatim<'a>(
        &mut self,
        rules: &Rules,
        rest: &'a [u8],
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, Violation> {
        let Some((len, used)) = scan::unsigned(rest, Violation::Length)? else {
            return Ok(None);
        };
        // Checked before the encoding, so that the result does not depend on whether the encoding has arrived.
        self.allow(rules, len)?;
        if len < 4 {
            return Err(Violation::Verbatim);
        }
        match rest.get(used..) {
            Some([a, b, c, b':', ..]) => self.string(rules, Bulk::Verbatim([*a, *b, *c]), len, 1 + used, 4, input),
            Some([_, _, _, _, ..]) => Err(Violation::Verbatim),
            _ => Ok(None),
        }
    }

    /// `$?`: returns the first part, which is empty.
    #[cold]
    fn stream<'a>(&mut self, rules: &Rules, used: usize, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        if self.version == Version::Resp2 {
            return Err(Violation::Resp3Type(b'?'));
        }
        self.accept()?;
        advance(input, used);
        self.state = State::Chunks;
        self.chunks = rules.limits.bulk;
        Ok(Some(Event::Part {
            of: Bulk::String,
            bytes: &[],
            left: None,
        }))
    }

    /// The next part of a string or of a chunk.
    #[inline(never)]
    fn resume<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        let kind = match self.state {
            State::Chunks => return self.chunk(input),
            State::String(kind) => kind,
            State::Chunk | State::Item | State::ErrorLine => Bulk::String,
        };
        let Some((bytes, used)) = take(input, 0, self.left)? else {
            if available(input, 0, self.left) == 0 {
                return Ok(None);
            }
            return Ok(Some(self.part(kind, input)));
        };
        advance(input, used);
        self.left = 0;
        let left = if self.state == State::Chunk {
            self.state = State::Chunks;
            None
        } else {
            self.state = State::Item;
            self.frames.item();
            Some(0)
        };
        Ok(Some(Event::Part { of: kind, bytes, left }))
    }

    /// A part other than the last.
    fn part<'a>(&mut self, kind: Bulk, input: &mut &'a [u8]) -> Event<'a> {
        let len = available(input, 0, self.left);
        let bytes = input.get(..len).unwrap_or_default();
        advance(input, len);
        self.left -= len as u64;
        Event::Part {
            of: kind,
            bytes,
            left: (self.state != State::Chunk).then_some(self.left),
        }
    }

    /// The start of the next chunk of a streamed string, or the end of the string.
    fn chunk<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        let rest = match input.split_first() {
            Some((b';', rest)) => rest,
            Some((&other, _)) => return Err(Violation::MissingChunk(other)),
            None => return Ok(None),
        };
        let Some((len, used)) = scan::unsigned(rest, Violation::Length)? else {
            return Ok(None);
        };
        if len == 0 {
            advance(input, 1 + used);
            self.state = State::Item;
            self.frames.item();
            return Ok(Some(Event::Part {
                of: Bulk::String,
                bytes: &[],
                left: Some(0),
            }));
        }
        let Some(chunks) = self.chunks.checked_sub(len) else {
            return Err(Violation::BulkTooLong);
        };
        if len > self.bytes {
            return Err(Violation::ReplyTooLong);
        }
        let whole = take(input, 1 + used, len)?;
        if whole.is_none() && available(input, 1 + used, len) == 0 {
            return Ok(None);
        }
        self.charge(len)?;
        self.chunks = chunks;
        if let Some((bytes, used)) = whole {
            advance(input, used);
            return Ok(Some(Event::Part {
                of: Bulk::String,
                bytes,
                left: None,
            }));
        }
        self.state = State::Chunk;
        self.left = len;
        advance(input, 1 + used);
        Ok(Some(self.part(Bulk::String, input)))
    }

    /// The header of an aggregate.
    #[inline]
    fn begin<'a>(
        &mut self,
        rules: &Rules,
        kind: Aggregate,
        rest: &'a [u8],
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, Violation> {
        let (len, used) = match scan::length(rest)? {
            Some((Length::Some(len), used)) => (Some(len), 1 + used),
            Some((Length::Stream, used)) if kind.streams() => (None, 1 + used),
            Some((Length::Null, used)) if kind == Aggregate::Array => {
                return self.scalar(Event::Null(Null::Array), 1 + used, input);
            }
            Some(_) => return Err(Violation::Length),
            None => return Ok(None),
        };
        let items = match len {
            Some(len) => {
                let items = len.saturating_mul(u64::from(kind.width()));
                Some(u32::try_from(items).map_err(|_| Violation::TooManyItems)?)
            }
            None if self.version == Version::Resp2 => return Err(Violation::Resp3Type(b'?')),
            None => None,
        };
        if self.frames.depth() >= rules.limits.depth {
            return Err(Violation::TooDeep);
        }
        if kind == Aggregate::Push {
            let nested = self.frames.depth() > 0;
            if nested && (!rules.leniency.nested_push || self.attributed || self.frames.has_push()) {
                return Err(Violation::NestedPush);
            } else if items == Some(0) {
                return Err(Violation::PushKind);
            }
        }
        let attribute = u32::from(kind == Aggregate::Attribute);
        let claimed = items.unwrap_or(0).saturating_add(attribute);
        if claimed > self.items || claimed > COUNT {
            return Err(Violation::TooManyItems);
        }
        if attribute == 0 {
            self.accept()?;
        }
        self.items = self.items.checked_sub(claimed).ok_or(Violation::TooManyItems)?;
        if !self.frames.push(kind, items) {
            return Err(Violation::TooDeep);
        }
        // The item that an attribute describes comes after it.
        self.attributed &= attribute == 1;
        self.kind_due = kind == Aggregate::Push;
        advance(input, used);
        Ok(Some(Event::Begin {
            kind,
            len: items.map(|items| items / kind.width()),
        }))
    }

    /// The innermost aggregate is complete.
    #[inline]
    fn end<'a>(&mut self, streamed: bool) -> Event<'a> {
        let kind = self.frames.innermost().map_or(Aggregate::Array, |(kind, _)| kind);
        self.attributed = self.frames.pop();
        Event::End { kind, streamed }
    }

    #[cold]
    fn end_of_stream<'a>(&mut self, rest: &'a [u8], input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        match self.frames.innermost() {
            Some((_, true)) if self.attributed => return Err(Violation::DanglingAttribute),
            Some((_, true)) if self.frames.is_odd() => return Err(Violation::OddMap),
            Some((_, true)) => {}
            _ => return Err(Violation::StrayEnd),
        }
        if !scan::expect(rest, b"\r\n", Violation::StrayEnd)? {
            return Ok(None);
        }
        advance(input, 3);
        Ok(Some(self.end(true)))
    }

    /// Checks the length of a string against the limits.
    #[inline]
    fn allow(&self, rules: &Rules, len: u64) -> Result<(), Violation> {
        if len > rules.limits.bulk {
            Err(Violation::BulkTooLong)
        } else if len > self.bytes {
            Err(Violation::ReplyTooLong)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn charge(&mut self, bytes: u64) -> Result<(), Violation> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Violation::ReplyTooLong)?;
        Ok(())
    }

    /// Begins an item that counts as an element: it takes the pending attribute. In a stream it was not counted before.
    #[inline]
    fn accept(&mut self) -> Result<(), Violation> {
        self.attributed = false;
        self.kind_due = false;
        if self.frames.is_streamed() {
            self.items = self.items.checked_sub(1).ok_or(Violation::TooManyItems)?;
        }
        Ok(())
    }
}

/// Takes `n` bytes off the front of `input`.
#[inline]
fn advance(input: &mut &[u8], n: usize) {
    *input = input.get(n..).unwrap_or_default();
}

/// The `len` bytes at `at`, if they and their CRLF have arrived, and the length of all bytes up to there.
#[inline]
fn take<'a>(input: &mut &'a [u8], at: usize, len: u64) -> Result<Option<(&'a [u8], usize)>, Violation> {
    let end = usize::try_from(len).ok().and_then(|len| at.checked_add(len));
    let Some(end) = end.filter(|&end| end < input.len()) else {
        return Ok(None);
    };
    match input.get(end..) {
        Some([b'\r', b'\n', ..]) => Ok(input.get(at..end).map(|bytes| (bytes, end + 2))),
        Some([b'\r']) => Ok(None),
        _ => Err(Violation::BulkEnd),
    }
}

/// How many of the `len` bytes at `at` can be returned before the string's end has arrived: all but the last byte of the string, so that no
/// string is complete before its end was checked.
#[inline]
fn available(input: &[u8], at: usize, len: u64) -> usize {
    let there = input.len().saturating_sub(at);
    usize::try_from(len).map_or(there, |len| there.min(len.saturating_sub(1)))
}
