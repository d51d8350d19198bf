//! Decodes bytes to events, without allocating (RFC 6455 sections 5 and 8.1).

use crate::frame::{self, Opcode, RSV1, Role};
use crate::mask::Mask;
use crate::utf8::{self, Utf8};
use crate::{CloseReason, Limits, Violation};

/// The two kinds of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// A message, or a part of one, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message<'a> {
    /// UTF-8, checked.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The kind of the message.
    #[inline]
    pub const fn kind(self) -> Kind {
        match self {
            Message::Text(_) => Kind::Text,
            Message::Binary(_) => Kind::Binary,
        }
    }

    /// The payload.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

/// An event in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// The next part of a message. Parts of text end between characters. A part may be empty.
    Part {
        /// The part.
        part: Message<'a>,
        /// Whether this part is the message's last.
        last: bool,
    },
    /// The next bytes of a message marked by RSV1 (RFC 7692 section 6), unchanged: compressed, and not checked for UTF-8. Only from a
    /// [`Decoder`] that permits such messages ([`Decoder::compressed`]).
    Compressed {
        /// The kind of the message after inflating.
        kind: Kind,
        /// Its next bytes.
        bytes: &'a [u8],
        /// Whether these bytes are the message's last.
        last: bool,
    },
    /// A Ping; answer it with a Pong with the same payload (section 5.5.2).
    Ping(&'a [u8]),
    /// A Pong.
    Pong(&'a [u8]),
    /// A Close frame. No further event follows it.
    Close(CloseReason<'a>),
}

/// Decodes frames into events, without allocating: a message that is complete in the input is borrowed as a whole, any other
/// message in parts as they arrive.
///
/// The decoder leaves bytes in `input` that it cannot use yet (less than a header, less than a control frame), 130 at most.
/// Pass them again, with more bytes after them.
///
/// ```
/// use proto_ws::{Decoder, Event, Limits, Message, Role};
///
/// let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]; // RFC 6455 section 5.7
/// let mut input = &mut bytes[..];
/// let mut decoder = Decoder::new(Role::Server, Limits::default());
/// assert_eq!(decoder.next(&mut input), Ok(Some(Event::Message(Message::Text("Hello")))));
/// assert_eq!(decoder.next(&mut input), Ok(None));
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    core: Core,
    limits: Limits,
    failed: Option<Violation>,
    /// A character joined from two pieces, while it is lent to the caller.
    character: [u8; 4],
}

impl Decoder {
    /// A decoder for frames that arrive at `role`.
    pub fn new(role: Role, limits: Limits) -> Self {
        Decoder {
            core: Core::new(role, false),
            limits,
            failed: None,
            character: [0; 4],
        }
    }

    /// Accepts RSV1 as the mark of a compressed message, as an extension has negotiated, instead of refusing it.
    #[must_use]
    pub fn compressed(self) -> Self {
        Decoder {
            core: Core {
                check: self.core.check & !(u16::from(RSV1) << 8),
                ..self.core
            },
            ..self
        }
    }

    /// Whether a message has begun to arrive and is not complete; the caller may set a deadline for it.
    pub fn is_inside_message(&self) -> bool {
        self.core.is_inside_message()
    }

    /// Returns the next event, or `None` when more input is needed. Consumes the bytes that it used from the front of
    /// `input`.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol or exceeded a limit. The connection has failed; every later call returns the same error.
    #[inline]
    pub fn next<'e, 'a: 'e>(&'e mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'e>>, Violation> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.core.step(&self.limits, input) {
            Ok(Some(Step::Event(event))) => Ok(Some(event)),
            Ok(Some(Step::Character(character, last))) => Ok(Some(Event::Part {
                part: Message::Text(character.encode_utf8(&mut self.character)),
                last,
            })),
            Ok(None) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }
}

/// An event that borrows only from the input.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Event(Event<'a>),
    /// A part of a text message that consists of one character joined from two pieces, and whether it is the last part.
    Character(char, bool),
}

/// The state between or inside frames; the limits are passed to each call.
#[derive(Debug, Clone)]
pub(crate) struct Core {
    /// Bytes to come of the current frame's payload.
    remaining: u64,
    /// Bytes of the current message, as announced in the headers so far.
    total: u64,
    mask: Mask,
    fragments: u32,
    empty: u32,
    utf8: Utf8,
    /// A mask of the bits that are fixed among a header's first 16, and their required values.
    check: u16,
    expect: u16,
    /// The kind of the current message.
    message: Option<Kind>,
    compressed: bool,
    /// The current frame is the last of its message.
    fin: bool,
}

const FIN: u8 = 0x80;
const MASKED: u16 = 0x80;

impl Core {
    pub(crate) fn new(role: Role, compressed: bool) -> Self {
        let rsv = if compressed { frame::RSV & !RSV1 } else { frame::RSV };
        Core {
            remaining: 0,
            total: 0,
            mask: Mask::default(),
            fragments: 0,
            empty: 0,
            utf8: Utf8::default(),
            check: u16::from(rsv) << 8 | MASKED,
            expect: if role == Role::Server { MASKED } else { 0 },
            message: None,
            compressed: false,
            fin: false,
        }
    }

    /// Whether a message has begun and is incomplete.
    pub(crate) fn is_inside_message(&self) -> bool {
        self.message.is_some()
    }

    /// Returns the next event. Inlined, so that a short message is passed from its header to the caller in registers.
    #[inline(always)]
    pub(crate) fn step<'a>(
        &mut self,
        limits: &Limits,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Step<'a>>, Violation> {
        if self.remaining != 0 {
            return self.resume(input);
        }
        let [first, second, ..] = **input else { return Ok(None) };
        let word = u16::from_be_bytes([first, second]);
        if (word ^ self.expect) & self.check != 0 {
            return Err(self.refusal(word));
        }
        // The common case: an uncompressed message in one frame that has arrived completely.
        let kind = match first {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return self.frame(limits, input),
        };
        if self.message.is_some() {
            return Err(Violation::MessageUnfinished);
        }
        let Some((len, at)) = frame::length(input, second)? else {
            return Ok(None);
        };
        if len > limits.frame || len > limits.message {
            return Err(if len > limits.frame {
                Violation::FrameTooLong
            } else {
                Violation::MessageTooLong
            });
        }
        let Some((mut mask, at)) = self.key(input, at) else {
            return Ok(None);
        };
        let Some(payload) = take(input, at, len) else {
            return self.frame(limits, input);
        };
        if self.expect != 0 {
            mask.apply(payload);
        }
        let message = match kind {
            Kind::Text => Message::Text(utf8::whole(payload).map_err(|_| Violation::Utf8)?),
            Kind::Binary => Message::Binary(payload),
        };
        Ok(Some(Step::Event(Event::Message(message))))
    }

    /// Reads any frame, from its header on.
    #[inline(never)]
    fn frame<'a>(&mut self, limits: &Limits, input: &mut &'a mut [u8]) -> Result<Option<Step<'a>>, Violation> {
        let [first, second, ..] = **input else { return Ok(None) };
        let opcode = Opcode::new(first & 0x0f)?;
        let rsv1 = first & RSV1 != 0;
        let kind = match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => return self.control(opcode, input),
            Opcode::Continuation => {
                let kind = self.message.ok_or(Violation::NothingToContinue)?;
                if rsv1 {
                    return Err(Violation::ReservedBit); // RFC 7692 section 6.1: on the first frame only
                }
                kind
            }
            Opcode::Text | Opcode::Binary if self.message.is_some() => return Err(Violation::MessageUnfinished),
            Opcode::Text => Kind::Text,
            Opcode::Binary => Kind::Binary,
        };
        let Some((len, at)) = frame::length(input, second)? else {
            return Ok(None);
        };
        let begins = opcode != Opcode::Continuation;
        let (total, fragments, empty) = if begins {
            (0, 0, 0)
        } else {
            (self.total, self.fragments, self.empty)
        };
        let total = total.saturating_add(len);
        let empty = empty + u32::from(len == 0);
        if len > limits.frame {
            return Err(Violation::FrameTooLong);
        } else if total > limits.message {
            return Err(Violation::MessageTooLong);
        } else if fragments >= limits.fragments {
            return Err(Violation::TooManyFragments);
        } else if empty > limits.empty_fragments && first & FIN == 0 {
            return Err(Violation::TooManyEmptyFragments);
        }
        let Some((mask, at)) = self.key(input, at) else {
            return Ok(None);
        };
        if len != 0 && input.len() == at {
            return Ok(None); // the header moves the state only together with the first byte of its payload
        }
        let _header = take(input, at, 0);
        self.message = Some(kind);
        if begins {
            self.compressed = rsv1;
        }
        (self.total, self.fragments, self.empty) = (total, fragments + 1, empty);
        (self.remaining, self.mask, self.fin) = (len, mask, first & FIN != 0);
        self.resume(input)
    }

    /// The next piece of the current frame's payload.
    #[inline(never)]
    fn resume<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Step<'a>>, Violation> {
        if self.remaining != 0 && input.is_empty() {
            return Ok(None);
        }
        // The rest of a character that the previous piece has cut is a piece of its own.
        let want = self.remaining.min(self.utf8.missing());
        let len = want.min(input.len() as u64);
        let Some(payload) = take(input, 0, len) else {
            return Ok(None);
        };
        if self.expect != 0 {
            self.mask.apply(payload);
        }
        self.remaining -= len;
        let last = self.fin && self.remaining == 0;
        let kind = self.message.unwrap_or(Kind::Binary);
        if last {
            self.message = None;
        }
        let part = match kind {
            _ if self.compressed => {
                return Ok(Some(Step::Event(Event::Compressed {
                    kind,
                    bytes: payload,
                    last,
                })));
            }
            Kind::Binary => Message::Binary(payload),
            Kind::Text => {
                let (character, text) = self.utf8.push(payload).map_err(|_| Violation::Utf8)?;
                if last && !self.utf8.is_complete() {
                    return Err(Violation::Utf8);
                }
                if let Some(character) = character {
                    return Ok(Some(Step::Character(character, last)));
                }
                Message::Text(text)
            }
        };
        Ok(Some(Step::Event(Event::Part { part, last })))
    }

    /// Reads a control frame, only when it is complete, possibly between the frames of a message (section 5.5).
    fn control<'a>(&mut self, opcode: Opcode, input: &mut &'a mut [u8]) -> Result<Option<Step<'a>>, Violation> {
        let [first, second, ..] = **input else { return Ok(None) };
        let len = second & 0x7f;
        if first & FIN == 0 {
            return Err(Violation::FragmentedControl);
        } else if first & RSV1 != 0 {
            return Err(Violation::ReservedBit);
        } else if len > 125 {
            return Err(Violation::ControlTooLong);
        }
        let Some((mut mask, at)) = self.key(input, 2) else {
            return Ok(None);
        };
        let Some(payload) = take(input, at, u64::from(len)) else {
            return Ok(None);
        };
        if self.expect != 0 {
            mask.apply(payload);
        }
        Ok(Some(Step::Event(match opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            _ => Event::Close(CloseReason::parse(payload)?),
        })))
    }

    /// The masking key at `at`, if this role expects one, and the offset of the payload.
    #[inline]
    fn key(&self, input: &[u8], at: usize) -> Option<(Mask, usize)> {
        if self.expect == 0 {
            return Some((Mask::default(), at));
        }
        let key = input.get(at..)?.first_chunk()?;
        Some((Mask::new(*key), at + 4))
    }

    /// The error for a wrong value of the fixed bits.
    #[cold]
    fn refusal(&self, word: u16) -> Violation {
        let wrong = (word ^ self.expect) & self.check;
        if wrong & MASKED == 0 {
            Violation::ReservedBit
        } else if self.expect != 0 {
            Violation::Unmasked
        } else {
            Violation::Masked
        }
    }
}

/// Takes `at + len` bytes off the front of `input` and returns the last `len` of them, if there are that many.
#[inline]
fn take<'a>(input: &mut &'a mut [u8], at: usize, len: u64) -> Option<&'a mut [u8]> {
    let end = at.checked_add(usize::try_from(len).ok()?)?;
    if end > input.len() {
        return None;
    }
    let (taken, rest) = core::mem::take(input).split_at_mut(end);
    *input = rest;
    taken.get_mut(at..)
}
