//! A server's connection, without I/O: commands in, their replies out, and pushes between them.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::encode::{Core, no_array};
use crate::frames::Spilled;
use crate::{Buffer, Command, CommandDecoder, Encoder, Event, Misuse, Rules, Value, Version, Violation, inline, scan};
use proto_buffer::all_or_nothing;

/// Bytes of an incomplete command that may stay in the input.
const HOLD: usize = 16 * 1024;

/// A server's connection, in two halves, so that a command borrowed from one half can be answered through the other.
///
/// ```
/// use proto_resp::{Rules, ServerConnection};
///
/// let ServerConnection { mut reader, mut writer } = ServerConnection::new();
/// let mut out = Vec::new();
/// let mut input = &b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*1\r\n$4\r\nPING\r\n"[..];
/// while let Some(command) = reader.next(&mut writer, &Rules::DEFAULT, &mut input)? {
///     match command.arguments() {
///         Some([text]) if command.is("ECHO") => writer.bulk(text, &mut out)?,
///         _ => writer.simple("PONG", &mut out)?,
///     }
/// }
/// assert_eq!(out, b"$2\r\nhi\r\n+PONG\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct ServerConnection {
    /// The receiving half.
    pub reader: CommandReader,
    /// The sending half.
    pub writer: ReplyWriter,
}

impl ServerConnection {
    /// A connection in RESP2; [`ReplyWriter::set_version`] may change the version.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The half of a [`ServerConnection`] that receives.
#[derive(Debug, Default)]
pub struct CommandReader {
    decoder: CommandDecoder,
    /// The current command, if it is long or inline.
    held: Vec<u8>,
    /// Bytes of an inline command that were searched for the line's end.
    scanned: u32,
    /// The last call lent `held` to the caller.
    lent: bool,
}

impl CommandReader {
    /// Whether a command has begun to arrive and is not complete, as far as the connection has read.
    #[must_use]
    pub fn is_inside_command(&self) -> bool {
        self.decoder.is_inside_command() || (!self.held.is_empty() && !self.lent)
    }

    /// Returns the next command, or `None` when more input is needed, or the previous command has no reply yet. Consumes the
    /// bytes that it used from the front of `input`; pass the bytes that are left again, with newer ones after them.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol or exceeded a limit. There is nothing more to read.
    #[inline]
    pub fn next<'e, 'a: 'e>(
        &'e mut self,
        writer: &mut ReplyWriter,
        rules: &Rules,
        input: &mut &'a [u8],
    ) -> Result<Option<Command<'e>>, Violation> {
        if writer.due {
            return Ok(None);
        }
        if self.lent {
            self.lent = false;
            self.held = Vec::new();
        }
        if self.held.is_empty() {
            // Empty lines are skipped.
            let line = rules.leniency.inline_commands && self.is_line(input) && self.inline(rules, input)?;
            if !line {
                if rules.leniency.inline_commands && self.is_line(input) {
                    return Ok(None);
                }
                if let Some(command) = self.decoder.next(rules, input)? {
                    writer.due = true;
                    return Ok(Some(command));
                }
                if input.len() > HOLD {
                    self.held.extend_from_slice(core::mem::take(input));
                }
                return Ok(None);
            }
        } else if !self.collect(rules, input)? {
            return Ok(None);
        }
        self.lent = true;
        writer.due = true;
        Ok(Some(self.decoder.finish(&self.held)))
    }

    /// Whether the input begins with an inline command.
    #[inline]
    fn is_line(&self, input: &[u8]) -> bool {
        !self.decoder.is_inside_command() && !matches!(input.first(), None | Some(b'*'))
    }

    /// Adds input to the held command. Returns whether the command is complete.
    fn collect(&mut self, rules: &Rules, input: &mut &[u8]) -> Result<bool, Violation> {
        while !input.is_empty() {
            let missing = match self.decoder.least(&self.held) {
                Some(least) => least.saturating_sub(self.held.len()),
                // Up to the end of a header, which is at most this long.
                None => input
                    .iter()
                    .take(24)
                    .position(|byte| *byte == b'\n')
                    .map_or(24, |at| at + 1),
            };
            let (bytes, rest) = input.split_at(missing.min(input.len()));
            *input = rest;
            if self.held.capacity() - self.held.len() < bytes.len() && missing <= self.held.len() + bytes.len() {
                // Half of the command has arrived: reserves the memory for all of it.
                self.held.reserve_exact(missing);
            }
            self.held.extend_from_slice(bytes);
            if bytes.len() < missing && self.decoder.least(&self.held).is_some() {
                return Ok(false);
            }
            if self.decoder.scan(rules, &self.held)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads a line. Returns true if the line was a command, which is then held.
    #[cold]
    fn inline(&mut self, rules: &Rules, input: &mut &[u8]) -> Result<bool, Violation> {
        while self.is_line(input) {
            let Some(len) = scan::line(input, &mut self.scanned, rules.limits.line)? else {
                return Ok(false);
            };
            self.scanned = 0;
            let words = inline::rewrite(input.get(..len).unwrap_or_default(), rules, &mut self.held)?;
            *input = input.get(len + 2..).unwrap_or_default();
            if words {
                // The rewritten command is bounded by the line and its framing.
                let unlimited = Rules {
                    limits: crate::Limits {
                        command: u32::MAX,
                        bulk: u64::MAX,
                        ..rules.limits
                    },
                    ..*rules
                };
                return Ok(self.decoder.scan(&unlimited, &self.held)?.is_some());
            }
        }
        Ok(false)
    }
}

/// The half of a [`ServerConnection`] that sends.
///
/// * **Output**, appended to the caller's buffer: [`event`](Self::event) and its shorthands, [`value`](Self::value);
///   [`push`](Self::push); [`none`](Self::none).
/// * **Input**: [`set_version`](Self::set_version).
/// * **Getters**: [`version`](Self::version), [`is_due`](Self::is_due), [`is_open`](Self::is_open).
#[derive(Debug, Default)]
pub struct ReplyWriter {
    pub(crate) core: Core<Spilled>,
    pub(crate) version: Version,
    /// A command waits for its reply, or for the rest of it.
    pub(crate) due: bool,
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

impl ReplyWriter {
    /// The version of RESP in use.
    #[inline]
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Changes the version, before the reply to the HELLO that asks for it.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Whether a reply, or the rest of one, is due.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// Whether a reply has begun and is not complete.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.core.is_between()
    }

    /// Appends an event of the reply that is due; [`Encoder`](crate::Encoder) describes its form in RESP2. After the last
    /// event of the reply, the next command may be read.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written: [`NotDue`](Misuse::NotDue), or for an event that may not stand here or has no form
    /// in this version.
    #[inline]
    pub fn event<B: Buffer + ?Sized>(&mut self, event: &Event<'_>, out: &mut B) -> Result<(), Misuse> {
        if !self.due {
            return Err(Misuse::NotDue);
        }
        if let Event::Begin {
            kind: crate::Aggregate::Push,
            ..
        } = event
        {
            return Err(Misuse::Push);
        }
        self.core.event(self.version, event, out)?;
        self.due = !self.core.is_between();
        Ok(())
    }

    shorthands! {
        /// Replies with a simple string, without line breaks, such as `OK`.
        simple(text: &str) => Event::Simple(text.as_bytes());
        /// Replies with an error: a code such as `ERR`, a space, and a message, without line breaks.
        error(text: &str) => Event::Error(text.as_bytes());
        /// Replies with an integer.
        integer(value: i64) => Event::Integer(value);
        /// Replies with a bulk string.
        bulk(bytes: &[u8]) => Event::Bulk(crate::Bulk::String, bytes);
        /// Replies with a null. In RESP2, this is a null string.
        null() => Event::Null(crate::Null::Null);
        /// Begins an array of this many elements.
        array(len: u32) => Event::Begin { kind: crate::Aggregate::Array, len: Some(len) };
        /// Begins a map of this many pairs.
        map(len: u32) => Event::Begin { kind: crate::Aggregate::Map, len: Some(len) };
        /// Begins a set of this many elements.
        set(len: u32) => Event::Begin { kind: crate::Aggregate::Set, len: Some(len) };
    }

    /// Replies with a null. In RESP2, this is a null array.
    ///
    /// # Errors
    ///
    /// See [`event`](Self::event).
    pub fn null_array<B: Buffer + ?Sized>(&mut self, out: &mut B) -> Result<(), Misuse> {
        self.event(&Event::Null(no_array(self.version)), out)
    }

    /// Replies with a value, or continues the reply with the value as an element.
    ///
    /// # Errors
    ///
    /// See [`event`](Self::event). If a part of the value fails, the reply cannot go on.
    pub fn value<B: Buffer + ?Sized>(&mut self, value: &Value, out: &mut B) -> Result<(), Misuse> {
        let version = self.version;
        value.events(version, &mut |event| self.event(event, out))
    }

    /// Ends the waiting command without a reply, or with pushes only: for SUBSCRIBE and similar commands.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotDue`]; [`Misuse::Unfinished`] if a reply has begun.
    pub fn none(&mut self) -> Result<(), Misuse> {
        if self.is_open() {
            return Err(Misuse::Unfinished);
        } else if !self.due {
            return Err(Misuse::NotDue);
        }
        self.due = false;
        Ok(())
    }

    /// Sends push data, at any time except inside a reply: `write` begins it with [`Encoder::push`] and adds its elements.
    /// In RESP2 push data is an array; clients recognize it only if they have subscribed to a channel.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written: the error of `write`; [`Unfinished`](Misuse::Unfinished) inside a reply, or if
    /// `write` wrote no whole item.
    pub fn push<B: Buffer + ?Sized>(
        &mut self,
        out: &mut B,
        write: impl FnOnce(&mut Encoder, &mut B) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        if self.is_open() {
            return Err(Misuse::Unfinished);
        }
        push(self.version, out, write)
    }
}

fn push<B: Buffer + ?Sized>(
    version: Version,
    out: &mut B,
    write: impl FnOnce(&mut Encoder, &mut B) -> Result<(), Misuse>,
) -> Result<(), Misuse> {
    all_or_nothing(out, |out| {
        let mut encoder = Encoder::new(version);
        write(&mut encoder, out)?;
        if encoder.is_between() {
            Ok(())
        } else {
            Err(Misuse::Unfinished)
        }
    })
}

/// Push data that is encoded once and sent on any number of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedPush {
    resp2: Bytes,
    resp3: Bytes,
}

impl PreparedPush {
    /// Encodes the output of `write`, once for each version.
    ///
    /// # Errors
    ///
    /// See [`ReplyWriter::push`].
    pub fn new(write: impl Fn(&mut Encoder, &mut Vec<u8>) -> Result<(), Misuse>) -> Result<Self, Misuse> {
        let encode = |version| {
            let mut out = Vec::new();
            push(version, &mut out, &write)?;
            Ok::<_, Misuse>(Bytes::from(out))
        };
        Ok(PreparedPush {
            resp2: encode(Version::Resp2)?,
            resp3: encode(Version::Resp3)?,
        })
    }

    /// A message published on a channel, as subscribers get it.
    ///
    /// # Errors
    ///
    /// These arguments cannot cause an error.
    pub fn message(channel: &[u8], payload: &[u8]) -> Result<Self, Misuse> {
        Self::new(|push, out| {
            push.push(3, out)?;
            push.bulk(b"message", out)?;
            push.bulk(channel, out)?;
            push.bulk(payload, out)
        })
    }

    /// As it is sent in `version`.
    #[must_use]
    pub fn bytes(&self, version: Version) -> &Bytes {
        match version {
            Version::Resp2 => &self.resp2,
            Version::Resp3 => &self.resp3,
        }
    }
}
