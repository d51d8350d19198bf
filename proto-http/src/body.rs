//! Reads a body from the bytes after its head (RFC 9112 sections 6 and 7). Stores no bytes.

use crate::fold::Folds;
use crate::head::walk;
use crate::scanner::HeadScanner;
use crate::{BodyLength, Fields, Leniency, Limits, Rules, Violation, ViolationKind, scan};

/// A part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Some content; never empty.
    Data(&'a [u8]),
    /// The end, with the trailer fields (always empty for a body that is not chunked).
    End(Fields<'a>),
}

/// Decodes the body of one message, with any framing.
///
/// ```
/// use proto_http::{BodyDecoder, BodyLength, Piece, Rules};
///
/// let mut body = BodyDecoder::new(BodyLength::Chunked);
/// let mut input: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";
/// assert_eq!(body.next(&mut input, &Rules::DEFAULT)?, Some(Piece::Data(b"hello")));
/// assert!(matches!(body.next(&mut input, &Rules::DEFAULT)?, Some(Piece::End(trailers)) if trailers.is_empty()));
/// assert!(input.is_empty());
/// # Ok::<(), proto_http::Violation>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyDecoder {
    /// Bytes left: of the body, or of the chunk being read.
    left: u64,
    /// Bytes of content announced or seen so far, all chunks together.
    total: u64,
    pub(crate) scanner: HeadScanner,
    extensions: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Length,
    UntilClose,
    ChunkLine,
    ChunkData,
    ChunkEnd,
    Trailers,
    Done,
}

impl BodyDecoder {
    /// A decoder at the first byte after the head.
    #[inline]
    #[must_use]
    pub const fn new(length: BodyLength) -> Self {
        let (left, phase) = match length {
            BodyLength::Empty => (0, Phase::Length),
            BodyLength::Length(length) => (length, Phase::Length),
            BodyLength::Chunked => (0, Phase::ChunkLine),
            BodyLength::UntilClose => (0, Phase::UntilClose),
        };
        Self {
            left,
            total: left,
            scanner: HeadScanner::new(),
            extensions: 0,
            phase,
        }
    }

    /// Consumes and returns the next piece of `input`; `None` if that needs more bytes, which must then follow the bytes
    /// left in `input`. After [`Piece::End`] the decoder consumes nothing more.
    ///
    /// # Errors
    ///
    /// [`Violation`] for broken framing or an exceeded limit.
    #[inline]
    pub fn next<'a>(&mut self, input: &mut &'a [u8], rules: &Rules) -> Result<Option<Piece<'a>>, Violation> {
        if rules.limits.body.is_some_and(|limit| self.total > limit) {
            return Err(Violation::new(ViolationKind::BodyTooLarge, 0));
        }
        match self.phase {
            Phase::Length if self.left > 0 => Ok(self.data(input)),
            Phase::Length => {
                self.phase = Phase::Done;
                Ok(Some(Piece::End(Fields::EMPTY)))
            }
            Phase::Done => Ok(None),
            Phase::UntilClose => {
                // Content up to the limit is passed on, so that the result does not depend on how the content arrives.
                let room = rules
                    .limits
                    .body
                    .map_or(u64::MAX, |limit| limit.saturating_sub(self.total));
                let n = usize::try_from(room).unwrap_or(usize::MAX).min(input.len());
                if n == 0 && !input.is_empty() {
                    // Makes the error permanent.
                    self.total = self.total.saturating_add(1);
                    return Err(Violation::new(ViolationKind::BodyTooLarge, 0));
                }
                let (data, rest) = input.split_at(n);
                *input = rest;
                self.total = self.total.saturating_add(n as u64);
                Ok((n > 0).then_some(Piece::Data(data)))
            }
            _ => self.chunked(input, rules),
        }
    }

    /// The connection ended. Checks whether the body is complete.
    ///
    /// # Errors
    ///
    /// [`ViolationKind::Truncated`] if it is not complete (RFC 9112 section 8).
    pub fn eof(&mut self) -> Result<(), Violation> {
        match self.phase {
            Phase::UntilClose | Phase::Done => {
                self.phase = Phase::Done;
                Ok(())
            }
            _ => Err(Violation::new(ViolationKind::Truncated, 0)),
        }
    }

    /// Bytes of content still to come, if known.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        match self.phase {
            Phase::Length => Some(self.left),
            Phase::Done => Some(0),
            _ => None,
        }
    }

    /// Whether [`Piece::End`] was returned.
    #[inline]
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    #[inline]
    fn data<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at(n);
        *input = rest;
        self.left -= n as u64;
        (n > 0).then_some(Piece::Data(data))
    }

    fn chunked<'a>(&mut self, input: &mut &'a [u8], rules: &Rules) -> Result<Option<Piece<'a>>, Violation> {
        loop {
            match self.phase {
                Phase::ChunkLine => {
                    let Some((size, length, extensions)) = chunk_line(input, &rules.limits, &rules.leniency)? else {
                        return Ok(None);
                    };
                    let sum = (self.extensions as usize).saturating_add(extensions);
                    if sum > rules.limits.chunk_extensions {
                        return Err(Violation::new(ViolationKind::ChunkLineTooLong, 0));
                    }
                    self.extensions = u32::try_from(sum).unwrap_or(u32::MAX);
                    self.total = self.total.saturating_add(size);
                    if rules.limits.body.is_some_and(|limit| self.total > limit) {
                        return Err(Violation::new(ViolationKind::BodyTooLarge, 0));
                    }
                    *input = input.get(length..).unwrap_or_default();
                    self.left = size;
                    self.phase = if size == 0 { Phase::Trailers } else { Phase::ChunkData };
                }
                Phase::ChunkData => {
                    let piece = self.data(input);
                    if self.left == 0 {
                        self.phase = Phase::ChunkEnd;
                    }
                    return Ok(piece);
                }
                Phase::ChunkEnd => match **input {
                    [b'\r', b'\n', ref rest @ ..] => {
                        *input = rest;
                        self.phase = Phase::ChunkLine;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(Violation::new(ViolationKind::ChunkEnd, 0)),
                },
                Phase::Trailers => return self.trailers(input, rules),
                Phase::Length | Phase::UntilClose | Phase::Done => return Ok(None),
            }
        }
    }

    /// Reads the trailer section (RFC 9112 section 7.1.2). Trailers are never merged into the fields of the head.
    fn trailers<'a>(&mut self, input: &mut &'a [u8], rules: &Rules) -> Result<Option<Piece<'a>>, Violation> {
        let limits = &rules.limits;
        if input.is_empty() || !self.scanner.trailers_ready(input, limits) {
            return Ok(None);
        }
        let lenient = rules.leniency.unusable_trailers;
        let folds = if lenient { Folds::Dropped } else { Folds::Refused };
        let walked = walk(input, limits.trailers, limits.trailers_bytes, folds, |name, _| {
            if lenient || is_allowed_trailer(name) {
                Ok(())
            } else {
                Err(ViolationKind::Trailer)
            }
        })?;
        let Some((trailers, rest)) = walked else {
            return Ok(None);
        };
        *input = rest;
        self.phase = Phase::Done;
        Ok(Some(Piece::End(trailers.as_trailers())))
    }
}

/// Whether a field may be in a trailer section. Fields for framing, routing, authentication or the description of the content may not (RFC
/// 9110 section 6.5.1).
pub(crate) fn is_allowed_trailer(name: &[u8]) -> bool {
    !forbidden_trailers(name.len())
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()))
}

/// The forbidden names of trailers with this length, in lower case.
pub(crate) const fn forbidden_trailers(length: usize) -> &'static [&'static str] {
    match length {
        2 => &["te"],
        4 => &["host"],
        5 => &["range"],
        6 => &["cookie", "expect"],
        7 => &["trailer", "upgrade"],
        8 => &["location"],
        10 => &["connection", "keep-alive", "set-cookie"],
        12 => &["content-type", "max-forwards"],
        13 => &["authorization", "cache-control", "content-range"],
        14 => &["content-length"],
        16 => &["content-encoding", "www-authenticate"],
        17 => &["transfer-encoding"],
        18 => &["proxy-authenticate"],
        19 => &["proxy-authorization"],
        _ => &[],
    }
}

/// Reads a chunk-size line (RFC 9112 section 7.1). Returns the size, the length of the line, and the length of its extensions.
#[inline]
fn chunk_line(input: &[u8], limits: &Limits, leniency: &Leniency) -> Result<Option<(u64, usize, usize)>, Violation> {
    let mut size = 0u64;
    let mut at = 0;
    while let Some(digit) = input.get(at).and_then(|&byte| char::from(byte).to_digit(16)) {
        if at == 16 {
            let kind = if at > limits.chunk_line {
                ViolationKind::ChunkLineTooLong
            } else {
                ViolationKind::ChunkSize
            };
            return Err(Violation::new(kind, at));
        }
        size = size << 4 | u64::from(digit);
        at += 1;
    }
    if at == 0 && !input.is_empty() {
        return Err(Violation::new(ViolationKind::ChunkSize, 0));
    }
    let digits = at;
    let over = |at| Err(Violation::new(ViolationKind::ChunkLineTooLong, at));
    let end = match extensions(input, at, leniency.padded_chunk_size) {
        // Beyond the limit, bytes are not checked: the result must not depend on how many of them have arrived.
        Err(violation) if violation.offset() > limits.chunk_line => return over(limits.chunk_line),
        end => end?,
    };
    match end {
        Some(end) if end > limits.chunk_line => over(limits.chunk_line),
        Some(end) => Ok(Some((size, end + 2, end - digits))),
        None if unfinished(input) > limits.chunk_line => over(limits.chunk_line),
        None => Ok(None),
    }
}

/// The length of an incomplete line, without its end.
fn unfinished(line: &[u8]) -> usize {
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// Checks `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` from `at` on (RFC 9112 section 7.1.1). Returns the offset of
/// the CRLF, or `None` if the line is incomplete.
#[inline]
fn extensions(line: &[u8], at: usize, padded: bool) -> Result<Option<usize>, Violation> {
    match line.get(at..) {
        Some([b'\r', b'\n', ..]) => Ok(Some(at)),
        _ => extension_list(line, at, padded),
    }
}

fn extension_list(line: &[u8], mut at: usize, padded: bool) -> Result<Option<usize>, Violation> {
    let kind = if line.get(at) == Some(&b';') {
        ViolationKind::ChunkExtension
    } else {
        ViolationKind::ChunkSize
    };
    let size_end = at;
    loop {
        let spaces = at;
        at += blanks(line, at);
        let error = |kind, at| Err(Violation::new(kind, at));
        match (line.get(at), line.get(at + 1)) {
            (None, _) | (Some(b'\r'), None) => return Ok(None),
            (Some(b'\r'), Some(b'\n')) if spaces == at || padded && spaces == size_end => return Ok(Some(at)),
            (Some(b'\r'), Some(b'\n')) => return error(kind, at),
            (Some(b';'), _) => at += 1,
            (Some(b'\n'), _) => return error(ViolationKind::BareLf, at),
            (Some(b'\r'), _) => return error(ViolationKind::BareCr, at),
            _ => return error(kind, at),
        }
        at += blanks(line, at);
        let (name, _) = scan::split_token(line.get(at..).unwrap_or_default());
        at += name.len();
        let Some(&behind) = line.get(at) else { return Ok(None) };
        if name.is_empty() {
            return broken(line, behind, at);
        }
        let equals = at + blanks(line, at);
        match line.get(equals) {
            None => return Ok(None),
            Some(b'=') => at = equals + 1,
            Some(_) => continue,
        }
        at += blanks(line, at);
        at = match line.get(at) {
            None => return Ok(None),
            Some(b'"') => match quoted_string(line, at)? {
                Some(end) => end,
                None => return Ok(None),
            },
            Some(&byte) => match scan::split_token(line.get(at..).unwrap_or_default()).0.len() {
                0 => return broken(line, byte, at),
                length => at + length,
            },
        };
    }
}

/// The error for `byte` at `at` in an extension; `None` if the following byte decides and has not arrived.
fn broken(line: &[u8], byte: u8, at: usize) -> Result<Option<usize>, Violation> {
    let kind = match (byte, line.get(at + 1)) {
        (b'\r', None) => return Ok(None),
        (b'\n', _) => ViolationKind::BareLf,
        (b'\r', Some(next)) if *next != b'\n' => ViolationKind::BareCr,
        _ => ViolationKind::ChunkExtension,
    };
    Err(Violation::new(kind, at))
}

fn blanks(line: &[u8], at: usize) -> usize {
    line.get(at..)
        .unwrap_or_default()
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count()
}

/// Reads a quoted string (RFC 9110 section 5.6.4). Returns the offset after the closing quote.
fn quoted_string(line: &[u8], open: usize) -> Result<Option<usize>, Violation> {
    let mut at = open + 1;
    loop {
        match (line.get(at), line.get(at + 1)) {
            (Some(b'"'), _) => return Ok(Some(at + 1)),
            (Some(b'\\'), Some(&escaped)) if escaped == b'\t' || (escaped >= b' ' && escaped != 0x7f) => at += 2,
            (Some(b'\\' | b'\r'), None) | (None, _) => return Ok(None),
            (Some(&byte), _) if byte != b'\\' && (byte == b'\t' || (byte >= b' ' && byte != 0x7f)) => at += 1,
            (Some(&byte), _) => return broken(line, byte, at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trailer section is parsed once, even if it arrives byte by byte.
    #[test]
    fn trailers_are_read_when_they_are_whole() {
        let trailers = [b"X: ".as_slice(), &[b'y'; 500], b"\r\nX: y\r\n\r\n"].concat();
        let mut scanner = HeadScanner::new();
        let ready: alloc::vec::Vec<_> = (1..=trailers.len())
            .filter(|&end| scanner.trailers_ready(&trailers[..end], &Limits::DEFAULT))
            .collect();
        assert_eq!(ready, [1, trailers.len()]);
    }

    /// A 17th digit is an invalid size, unless the limit of the line forbids so many bytes.
    #[test]
    fn too_many_digits_within_the_limit_of_the_line() {
        let line = b"00000000000000001\r\n";
        for (limit, kind) in [
            (15, ViolationKind::ChunkLineTooLong),
            (16, ViolationKind::ChunkSize),
            (17, ViolationKind::ChunkSize),
        ] {
            let mut limits = Limits::DEFAULT;
            limits.chunk_line = limit;
            let read = chunk_line(line, &limits, &Leniency::STRICT);
            assert_eq!(read.map_err(|violation| violation.kind()), Err(kind), "{limit}");
        }
    }
}
