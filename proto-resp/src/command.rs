//! Commands that a server receives, borrowed from the input.

use crate::scan::{self, Length};
use crate::{Rules, Violation};

/// A command: its name and arguments, borrowed from the input. They were validated before; the command holds no table of its arguments.
///
/// ```
/// use proto_resp::{Command, Rules};
///
/// let (command, used) = Command::parse(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", &Rules::DEFAULT)?.unwrap();
/// assert!(command.is("get"));
/// assert_eq!(command.arguments::<1>(), Some([&b"key"[..]]));
/// assert_eq!(used, 22);
/// # Ok::<(), proto_resp::Violation>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    name: &'a [u8],
    /// The encoded arguments after the name.
    arguments: &'a [u8],
    count: u32,
}

impl<'a> Command<'a> {
    /// Parses a command at the start of `input`. Returns the command and its length in bytes, or `None` if more bytes are needed. Each call
    /// starts over; for input that arrives in pieces use a [`CommandDecoder`], which continues where it stopped.
    ///
    /// # Errors
    ///
    /// The rule that the bytes break.
    pub fn parse(input: &'a [u8], rules: &Rules) -> Result<Option<(Self, usize)>, Violation> {
        let mut rest = input;
        let command = CommandDecoder::new().next(rules, &mut rest)?;
        Ok(command.map(|command| (command, input.len() - rest.len())))
    }

    /// The name, in the case in which it was sent.
    #[inline]
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// Whether the command has this name, ignoring ASCII case.
    #[inline]
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The number of arguments after the name.
    #[inline]
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a count of arguments, not of bytes")]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Iterates over the arguments after the name.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> ArgumentIter<'a> {
        ArgumentIter {
            rest: self.arguments,
            left: self.count,
        }
    }

    /// The arguments after the name, if there are exactly `N`.
    #[inline]
    #[must_use]
    pub fn arguments<const N: usize>(&self) -> Option<[&'a [u8]; N]> {
        if self.count as usize != N {
            return None;
        }
        let mut all = self.iter();
        Some(core::array::from_fn(|_| all.next().unwrap_or_default()))
    }

    /// A command whose bytes after the array header were validated.
    #[inline]
    fn checked(bytes: &'a [u8], count: u32) -> Self {
        let mut all = ArgumentIter {
            rest: bytes,
            left: count,
        };
        let name = all.next().unwrap_or_default();
        Command {
            name,
            arguments: all.rest,
            count: all.left,
        }
    }
}

impl core::fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.name.escape_ascii())?;
        self.iter()
            .try_for_each(|argument| write!(f, " \"{}\"", argument.escape_ascii()))
    }
}

impl<'a> IntoIterator for &Command<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgumentIter<'a>;

    fn into_iter(self) -> ArgumentIter<'a> {
        self.iter()
    }
}

/// An iterator over the arguments of a [`Command`].
#[derive(Debug, Clone)]
pub struct ArgumentIter<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for ArgumentIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        // `$`, digits, CRLF, bytes, CRLF: validated before.
        let mut len = 0;
        let mut at = 1;
        while let Some(digit) = self
            .rest
            .get(at)
            .map(|byte| byte.wrapping_sub(b'0'))
            .filter(|digit| *digit <= 9)
        {
            len = len * 10 + usize::from(digit);
            at += 1;
        }
        let bytes = self.rest.get(at + 2..at + 2 + len)?;
        self.rest = self.rest.get(at + len + 4..)?;
        Some(bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for ArgumentIter<'_> {}

/// Decodes commands that are complete in the input, without allocating.
///
/// The bytes of an incomplete command stay in the input: pass them again with newer ones after them. No byte is examined twice, even if the
/// command arrives in small pieces. A [`ServerConnection`](crate::ServerConnection) buffers long commands itself.
#[derive(Debug, Clone, Default)]
pub struct CommandDecoder {
    /// Bytes of the current command that were examined: its next argument begins here.
    at: u32,
    /// Arguments of the current command that are still to come; 0 before its header.
    left: u32,
    count: u32,
    /// Length of the array header.
    header: u8,
}

impl CommandDecoder {
    /// A decoder before the first command.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            at: 0,
            left: 0,
            count: 0,
            header: 0,
        }
    }

    /// Whether a command has begun and is incomplete, as far as its header was read.
    #[must_use]
    pub const fn is_inside_command(&self) -> bool {
        self.left > 0
    }

    /// The minimum length of the current command, if the header of its next argument has arrived.
    #[cfg(feature = "alloc")]
    pub(crate) fn least(&self, input: &[u8]) -> Option<usize> {
        match input.get(self.at as usize..)?.split_first()? {
            (b'$', rest) if self.left > 0 => {
                let (len, used) = scan::unsigned(rest, Violation::Length).ok().flatten()?;
                (self.at as usize + used + 3).checked_add(usize::try_from(len).ok()?)
            }
            _ => None,
        }
    }

    /// Returns the next command, or `None` when more input is needed. Takes the bytes it used off the front of `input`.
    ///
    /// This decoder refuses inline commands even if `rules` permit them, because their bytes must be rewritten.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol or exceeded a limit. Nothing more can be read.
    #[inline]
    pub fn next<'a>(&mut self, rules: &Rules, input: &mut &'a [u8]) -> Result<Option<Command<'a>>, Violation> {
        let Some(len) = self.scan(rules, input)? else {
            return Ok(None);
        };
        let (bytes, rest) = input.split_at_checked(len).unwrap_or((*input, &[]));
        *input = rest;
        Ok(Some(self.finish(bytes)))
    }

    /// The length of the command, if it is complete; [`finish`](Self::finish) must follow then.
    #[inline]
    pub(crate) fn scan(&mut self, rules: &Rules, input: &[u8]) -> Result<Option<usize>, Violation> {
        if self.left == 0 && !self.header(rules, input)? {
            return Ok(None);
        }
        let mut at = self.at as usize;
        while self.left > 0 {
            let Some(end) = argument(rules, input, at)? else {
                // Bounded by the limit.
                self.at = at as u32;
                return Ok(None);
            };
            at = end;
            self.left -= 1;
        }
        Ok(Some(at))
    }

    /// The command in `bytes`, which [`scan`](Self::scan) has found complete.
    #[inline]
    pub(crate) fn finish<'a>(&mut self, bytes: &'a [u8]) -> Command<'a> {
        self.at = 0;
        let arguments = bytes.get(usize::from(self.header)..).unwrap_or_default();
        Command::checked(arguments, self.count)
    }

    /// Reads the array header. Returns false if more bytes are needed.
    #[inline]
    fn header(&mut self, rules: &Rules, input: &[u8]) -> Result<bool, Violation> {
        let rest = match input.split_first() {
            Some((b'*', rest)) => rest,
            Some((&other, _)) => return Err(Violation::NotACommand(other)),
            None => return Ok(false),
        };
        match scan::length(rest)? {
            Some((Length::Some(0) | Length::Null, _)) => Err(Violation::EmptyCommand),
            Some((Length::Some(count), used)) => {
                let allowed = u64::from(rules.limits.arguments);
                if count > allowed {
                    return Err(Violation::TooManyArguments);
                }
                self.count = count as u32;
                self.left = self.count;
                // A type byte, at most 19 digits, and CRLF.
                self.header = 1 + used as u8;
                self.at = u32::from(self.header);
                // Each argument has at least six bytes.
                if u64::from(self.at) + count * 6 > u64::from(rules.limits.command) {
                    return Err(Violation::CommandTooLong);
                }
                Ok(true)
            }
            Some((Length::Stream, _)) => Err(Violation::Length),
            None => Ok(false),
        }
    }
}

/// The end of the argument at `at`; `None` if more bytes are needed.
#[inline]
fn argument(rules: &Rules, input: &[u8], at: usize) -> Result<Option<usize>, Violation> {
    let rest = match input.get(at..).and_then(<[u8]>::split_first) {
        Some((b'$', rest)) => rest,
        Some((&other, _)) => return Err(Violation::NotAnArgument(other)),
        None => return Ok(None),
    };
    let Some((len, used)) = scan::unsigned(rest, Violation::Length)? else {
        return Ok(None);
    };
    if len > rules.limits.bulk {
        return Err(Violation::BulkTooLong);
    }
    let begin = at + 1 + used;
    let end = (begin as u64).saturating_add(len);
    if end.saturating_add(2) > u64::from(rules.limits.command) {
        return Err(Violation::CommandTooLong);
    }
    // Below 4 GiB.
    let end = end as usize;
    match input.get(end..) {
        Some([b'\r', b'\n', ..]) => Ok(Some(end + 2)),
        None | Some([] | [b'\r']) => Ok(None),
        Some(_) => Err(Violation::BulkEnd),
    }
}
