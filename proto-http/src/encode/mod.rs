//! Encodes heads and bodies. Everything is checked before it is written; on an error nothing is written.

mod fields;
mod number;
mod sending;
mod status;

use self::number::LengthLine;
use crate::{DATE_LENGTH, Misuse, Target, Version, scan};

pub(crate) use self::fields::put_field;
pub(crate) use self::fields::sealed;
pub use self::fields::{AnyFields, FieldBlock, FieldFacts, FieldLines};
pub(crate) use self::fields::{asks_close, has_expect, has_upgrade};
pub(crate) use self::sending::Sending;
pub(crate) use self::status::is_bodiless;
pub use self::status::{Status, reason};
pub use proto_buffer::{Buffer, NoSpace, SliceBuffer};

/// The lines of a head about framing and persistence.
#[derive(Clone, Copy)]
pub(crate) struct Framing {
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    /// The `close` option of `Connection`.
    pub(crate) close: bool,
    /// The `keep-alive` option of `Connection`, for HTTP/1.0.
    pub(crate) keep_alive: bool,
}

impl Framing {
    /// Writes the lines, and the empty line that ends the head.
    #[inline(always)]
    fn write<B: Buffer>(&self, facts: FieldFacts, out: &mut B) -> Result<(), Misuse> {
        if self.close || self.keep_alive || facts.has(FieldFacts::UPGRADE) {
            self.connection(facts, out)?;
        }
        if let Some(length) = self.length {
            let mut line = LengthLine::new();
            return Ok(out.put(line.format(length))?);
        }
        if self.chunked {
            return Ok(out.put(b"Transfer-Encoding: chunked\r\n\r\n")?);
        }
        Ok(out.put(b"\r\n")?)
    }
}

impl Framing {
    #[cold]
    fn connection<B: Buffer>(&self, facts: FieldFacts, out: &mut B) -> Result<(), Misuse> {
        if self.close && !facts.has(FieldFacts::CLOSE) {
            out.put(b"Connection: close\r\n")?;
        } else if self.keep_alive {
            out.put(b"Connection: keep-alive\r\n")?;
        }
        if facts.has(FieldFacts::UPGRADE) && !facts.has(FieldFacts::CONNECTION_UPGRADE) {
            // An `Upgrade` must be named in `Connection` (RFC 9110 section 7.8).
            out.put(b"Connection: upgrade\r\n")?;
        }
        Ok(())
    }
}

/// Runs `write`. If it fails, removes what it has written.
#[inline]
fn all_or_nothing<B: Buffer>(out: &mut B, write: impl FnOnce(&mut B) -> Result<(), Misuse>) -> Result<(), Misuse> {
    let position = out.position();
    let result = write(out);
    if result.is_err() {
        out.rewind(position);
    }
    result
}

/// A response head to send.
pub(crate) struct ResponseLine<'a> {
    pub(crate) status: Status<'a>,
    pub(crate) framing: Framing,
    pub(crate) date: Option<&'a [u8; DATE_LENGTH]>,
}

/// Appends a response head (RFC 9112 section 4).
#[inline]
pub(crate) fn response_head<B: Buffer>(
    line: &ResponseLine<'_>,
    facts: FieldFacts,
    fields: &(impl FieldLines + ?Sized),
    out: &mut B,
) -> Result<(), Misuse> {
    all_or_nothing(out, |out| {
        match line.date {
            Some(date) if line.status == Status::from(200) && !facts.has(FieldFacts::DATE) => {
                // The start of most responses, written as one piece.
                let mut start = *b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
                if let Some(place) = start.get_mut(23..23 + DATE_LENGTH) {
                    place.copy_from_slice(date);
                }
                out.put(&start)?;
            }
            date => {
                status_line(line.status, out)?;
                if let Some(date) = date
                    && !facts.has(FieldFacts::DATE)
                {
                    out.put(b"Date: ")?;
                    out.put(date)?;
                    out.put(b"\r\n")?;
                }
            }
        }
        fields.write(out)?;
        line.framing.write(facts, out)
    })
}

fn status_line<B: Buffer>(status: Status<'_>, out: &mut B) -> Result<(), Misuse> {
    let (code, reason) = (status.code(), status.reason());
    if code == 200 && reason == b"OK" {
        return Ok(out.put(b"HTTP/1.1 200 OK\r\n")?);
    }
    let digit = |unit: u16| b'0' + (code / unit % 10) as u8;
    out.put(b"HTTP/1.1 ")?;
    out.put(&[digit(100), digit(10), digit(1), b' '])?;
    out.put(reason)?;
    Ok(out.put(b"\r\n")?)
}

/// Appends a request head (RFC 9112 section 3).
pub(crate) fn request_head<B: Buffer>(
    method: &str,
    target: &str,
    facts: FieldFacts,
    fields: &(impl FieldLines + ?Sized),
    framing: Framing,
    out: &mut B,
) -> Result<(), Misuse> {
    if !scan::is_token(method.as_bytes()) {
        return Err(Misuse::Method);
    }
    if Target::parse(method, target).is_none() {
        return Err(Misuse::Target);
    }
    if !facts.has(FieldFacts::HOST) || facts.has(FieldFacts::BAD_HOST) {
        return Err(Misuse::Host);
    }
    all_or_nothing(out, |out| {
        out.put(method.as_bytes())?;
        out.put(b" ")?;
        out.put(target.as_bytes())?;
        out.put(b" HTTP/1.1\r\n")?;
        fields.write(out)?;
        framing.write(facts, out)
    })
}

/// Appends an informational response or a 101: a head without framing.
pub(crate) fn bare_head<B: Buffer>(
    status: u16,
    facts: FieldFacts,
    fields: &(impl FieldLines + ?Sized),
    out: &mut B,
) -> Result<(), Misuse> {
    all_or_nothing(out, |out| {
        status_line(status.into(), out)?;
        fields.write(out)?;
        Framing {
            length: None,
            chunked: false,
            close: false,
            keep_alive: false,
        }
        .write(facts, out)
    })
}

/// Decides the framing of a response, and how its body is sent (RFC 9112 section 6).
#[inline]
pub(crate) fn response_framing(
    status: u16,
    length: Option<u64>,
    head_request: bool,
    peer: Version,
) -> (Framing, Sending) {
    let mut framing = Framing {
        length,
        chunked: false,
        close: false,
        keep_alive: false,
    };
    let sending = match length {
        _ if is_bodiless(status) => {
            framing.length = None;
            Sending::Dropped
        }
        // A 205 has content of length 0 (RFC 9110 section 15.3.6).
        _ if status == 205 => {
            framing.length = Some(0);
            Sending::Dropped
        }
        Some(length) => Sending::Length(length),
        None if peer == Version::Http10 => {
            framing.close = !head_request;
            Sending::UntilClose
        }
        None => {
            framing.chunked = true;
            Sending::Chunked
        }
    };
    (framing, if head_request { Sending::Dropped } else { sending })
}
