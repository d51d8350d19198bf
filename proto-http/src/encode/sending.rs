//! The state of a body that is being sent.

use super::number::Hex;
use super::{Buffer, FieldFacts, FieldLines, all_or_nothing};
use crate::Misuse;

/// How a body is delimited, and how much of it is still to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// No message is being sent.
    Nothing,
    /// Content-Length, with this many bytes still to be sent.
    Length(u64),
    Chunked,
    /// The close of the connection ends the body.
    UntilClose,
    /// The method or the status allows no body: content is dropped.
    Dropped,
}

impl Sending {
    /// Writes the bytes in front of `length` bytes of content, which the caller appends next (or drops, if this returns `false`).
    /// [`after`](Self::after) must follow. A length of 0 writes nothing.
    #[inline]
    pub(crate) fn before<B: Buffer>(&mut self, length: usize, out: &mut B) -> Result<bool, Misuse> {
        match self {
            Sending::Nothing => return Err(Misuse::OutOfTurn),
            Sending::Dropped => return Ok(false),
            Sending::Length(left) => {
                *left = left.checked_sub(length as u64).ok_or(Misuse::BodyTooLong)?;
            }
            Sending::UntilClose => {}
            Sending::Chunked if length > 0 => {
                let mut line = Hex::new();
                out.put(line.format(length as u64))?;
            }
            Sending::Chunked => {}
        }
        Ok(length > 0)
    }

    /// Writes the bytes after the content that [`before`](Self::before) announced.
    #[inline]
    pub(crate) fn after<B: Buffer>(&mut self, out: &mut B) -> Result<(), Misuse> {
        if matches!(self, Sending::Chunked) {
            Ok(out.put(b"\r\n")?)
        } else {
            Ok(())
        }
    }

    /// Appends a piece of content.
    #[inline]
    pub(crate) fn data<B: Buffer>(&mut self, data: &[u8], out: &mut B) -> Result<(), Misuse> {
        let before = *self;
        let result = all_or_nothing(out, |out| {
            if self.before(data.len(), out)? {
                out.put(data)?;
                self.after(out)?;
            }
            Ok(())
        });
        if result.is_err() {
            *self = before;
        }
        result
    }

    /// Ends the body (RFC 9112 section 7.1).
    pub(crate) fn end<B: Buffer>(&mut self, trailers: &(impl FieldLines + ?Sized), out: &mut B) -> Result<(), Misuse> {
        let facts = trailers.check()?;
        if facts.has(FieldFacts::NOT_IN_TRAILER) {
            return Err(Misuse::Trailer);
        }
        match self {
            Sending::Nothing => return Err(Misuse::OutOfTurn),
            Sending::Length(0) if facts.has(FieldFacts::ANY) => return Err(Misuse::TrailersNeedChunks),
            Sending::Length(0) | Sending::UntilClose | Sending::Dropped => {}
            Sending::Length(_) => return Err(Misuse::BodyTooShort),
            Sending::Chunked => all_or_nothing(out, |out| {
                out.put(b"0\r\n")?;
                trailers.write(out)?;
                Ok(out.put(b"\r\n")?)
            })?,
        }
        *self = Sending::Nothing;
        Ok(())
    }
}
