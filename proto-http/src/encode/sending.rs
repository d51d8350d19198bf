//! A body that is being sent.

use super::number::Hex;
use super::{Buffer, FieldFacts, FieldLines, all_or_nothing};
use crate::Misuse;

/// How a body that is sent is delimited, and how much of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// No message is being sent.
    Nothing,
    /// Content-Length: so many bytes are left.
    Length(u64),
    Chunked,
    /// The close of the connection ends it.
    UntilClose,
    /// The message has no body by its method or status: what is given is dropped.
    Dropped,
}

impl Sending {
    /// Announces `length` bytes of payload, which the caller appends next (or drops, where `false` comes back), and then calls
    /// [`after`](Self::after). A length of 0 writes nothing.
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

    /// Ends what [`before`](Self::before) announced.
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
