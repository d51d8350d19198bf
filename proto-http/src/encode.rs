//! Writes heads and bodies. What is written is checked first; on an error nothing was written.

use crate::body::is_allowed_trailer;
use crate::{DATE_LENGTH, Fields, Misuse, Target, Version, scan};

/// Where an encoder appends. Implemented for `Vec<u8>`, for `bytes::BytesMut`, and for plain memory by [`SliceBuffer`].
pub trait Buffer {
    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`] where they do not fit.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Misuse>;

    /// Bytes in the buffer.
    fn position(&self) -> usize;

    /// Drops what was appended since `position` was read.
    fn rewind(&mut self, position: usize);
}

#[cfg(feature = "alloc")]
impl Buffer for alloc::vec::Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Misuse> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.len()
    }

    #[inline]
    fn rewind(&mut self, position: usize) {
        self.truncate(position);
    }
}

#[cfg(feature = "protocol")]
impl Buffer for bytes::BytesMut {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Misuse> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.len()
    }

    #[inline]
    fn rewind(&mut self, position: usize) {
        self.truncate(position);
    }
}

/// A [`Buffer`] over memory of fixed size, for use without an allocator.
#[derive(Debug)]
pub struct SliceBuffer<'a> {
    memory: &'a mut [u8],
    length: usize,
}

impl<'a> SliceBuffer<'a> {
    /// An empty buffer over `memory`.
    #[must_use]
    pub const fn new(memory: &'a mut [u8]) -> Self {
        Self { memory, length: 0 }
    }

    /// What was written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl Buffer for SliceBuffer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Misuse> {
        let end = self.length.saturating_add(bytes.len());
        self.memory
            .get_mut(self.length..end)
            .ok_or(Misuse::NoSpace)?
            .copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    fn position(&self) -> usize {
        self.length
    }

    fn rewind(&mut self, position: usize) {
        self.length = self.length.min(position);
    }
}

/// What the fields to be sent say that the encoder has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldFacts {
    flags: u16,
}

impl FieldFacts {
    const DATE: u16 = 1;
    const CLOSE: u16 = 1 << 1;
    const UPGRADE: u16 = 1 << 2;
    const HOST: u16 = 1 << 3;
    const CONNECTION_UPGRADE: u16 = 1 << 4;
    const NOT_IN_TRAILER: u16 = 1 << 5;
    const EXPECT: u16 = 1 << 6;
    const BAD_HOST: u16 = 1 << 7;
    /// There is a field at all.
    const ANY: u16 = 1 << 8;

    #[inline]
    const fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Both together. A Host twice is a bad one.
    pub(crate) const fn and(self, other: Self) -> Self {
        let twice = if self.flags & other.flags & Self::HOST != 0 {
            Self::BAD_HOST
        } else {
            0
        };
        Self {
            flags: self.flags | other.flags | twice,
        }
    }

    /// Checks one field and says what it means.
    #[inline]
    pub(crate) fn of(name: &[u8], value: &[u8]) -> Result<Self, Misuse> {
        if !scan::is_token(name) {
            return Err(Misuse::FieldName);
        }
        if !scan::is_value(value) || matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            return Err(Misuse::FieldValue);
        }
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        let mut flags = Self::ANY;
        flags |= match name.len() {
            4 if is(b"date") => Self::DATE,
            4 if is(b"host") && scan::is_authority(value, true, false) => Self::HOST,
            4 if is(b"host") => Self::BAD_HOST,
            6 if is(b"expect") => Self::EXPECT,
            7 if is(b"upgrade") => Self::UPGRADE,
            10 if is(b"connection") => {
                let has =
                    |token: &[u8]| crate::fields::elements(value).any(|option| option.eq_ignore_ascii_case(token));
                let close = if has(b"close") { Self::CLOSE } else { 0 };
                close | if has(b"upgrade") { Self::CONNECTION_UPGRADE } else { 0 }
            }
            14 if is(b"content-length") => return Err(Misuse::FramingField),
            17 if is(b"transfer-encoding") => return Err(Misuse::FramingField),
            _ => 0,
        };
        if !is_allowed_trailer(name) {
            flags |= Self::NOT_IN_TRAILER;
        }
        Ok(Self { flags })
    }
}

/// Fields to be sent: an array or slice of name and value pairs, a prepared [`FieldBlock`], received [`Fields`], or `()` for none.
pub trait FieldLines {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// The first [`Misuse`] in them.
    fn check(&self) -> Result<FieldFacts, Misuse>;

    /// Appends the field lines, which were checked before.
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`] from the buffer.
    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse>;
}

impl FieldLines for () {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        Ok(FieldFacts::default())
    }

    #[inline]
    fn write<B: Buffer>(&self, _: &mut B) -> Result<(), Misuse> {
        Ok(())
    }
}

impl<T: FieldLines + ?Sized> FieldLines for &T {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        (**self).check()
    }

    #[inline]
    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        (**self).write(out)
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FieldLines for [(N, V)] {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.iter().try_fold(FieldFacts::default(), |facts, (name, value)| {
            Ok(facts.and(FieldFacts::of(name.as_ref(), value.as_ref())?))
        })
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        self.iter()
            .try_for_each(|(name, value)| put_field(name.as_ref(), value.as_ref(), out))
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const COUNT: usize> FieldLines for [(N, V); COUNT] {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.as_slice().check()
    }

    #[inline]
    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        self.as_slice().write(out)
    }
}

impl FieldLines for Fields<'_> {
    fn check(&self) -> Result<FieldFacts, Misuse> {
        self.iter().try_fold(FieldFacts::default(), |facts, field| {
            Ok(facts.and(FieldFacts::of(field.name.as_bytes(), field.value)?))
        })
    }

    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        out.put(self.as_bytes())
    }
}

pub(crate) fn put_field<B: Buffer>(name: &[u8], value: &[u8], out: &mut B) -> Result<(), Misuse> {
    out.put(name)?;
    out.put(b": ")?;
    out.put(value)?;
    out.put(b"\r\n")
}

/// Fields checked once and sent many times, in one copy.
///
/// ```
/// use proto_http::FieldBlock;
///
/// let block = FieldBlock::new("Content-Type: text/plain\r\nServer: example\r\n")?;
/// assert_eq!(block.as_bytes().len(), 43);
/// assert!(FieldBlock::new("Content-Type: text/plain\n").is_err());
/// # Ok::<(), proto_http::Misuse>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldBlock<'a> {
    lines: &'a [u8],
    facts: FieldFacts,
}

impl<'a> FieldBlock<'a> {
    /// Checks `lines`: field lines as they are sent, each ended by CRLF.
    ///
    /// # Errors
    ///
    /// [`Misuse`] for the first field that may not be sent.
    pub fn new(lines: &'a str) -> Result<Self, Misuse> {
        let lines = lines.as_bytes();
        let mut facts = FieldFacts::default();
        let mut at = 0;
        while at < lines.len() {
            let line = lines.get(at..).unwrap_or_default();
            let (name, rest) = scan::split_token(line);
            let [b':', rest @ ..] = rest else {
                return Err(Misuse::FieldName);
            };
            let (value, rest) = scan::split_value(rest);
            if !rest.starts_with(b"\r\n") {
                return Err(Misuse::FieldValue);
            }
            facts = facts.and(FieldFacts::of(name, scan::trim(value))?);
            at += name.len() + value.len() + 3;
        }
        Ok(Self { lines, facts })
    }

    /// The lines.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.lines
    }
}

impl FieldLines for FieldBlock<'_> {
    #[inline]
    fn check(&self) -> Result<FieldFacts, Misuse> {
        Ok(self.facts)
    }

    #[inline]
    fn write<B: Buffer>(&self, out: &mut B) -> Result<(), Misuse> {
        out.put(self.lines)
    }
}

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

/// Framing and persistence lines of a head.
#[derive(Clone, Copy)]
pub(crate) struct Framing {
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    /// The `close` option.
    pub(crate) close: bool,
    /// The `keep-alive` option, for HTTP/1.0.
    pub(crate) keep_alive: bool,
}

impl Framing {
    /// The lines, with the empty line that ends the head.
    #[inline(always)]
    fn write<B: Buffer>(&self, facts: FieldFacts, out: &mut B) -> Result<(), Misuse> {
        if self.close || self.keep_alive || facts.has(FieldFacts::UPGRADE) {
            self.connection(facts, out)?;
        }
        if let Some(length) = self.length {
            let mut line = LengthLine::new();
            return out.put(line.format(length));
        }
        if self.chunked {
            return out.put(b"Transfer-Encoding: chunked\r\n\r\n");
        }
        out.put(b"\r\n")
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
            // Whoever sends Upgrade names it in Connection (RFC 9110 section 7.8).
            out.put(b"Connection: upgrade\r\n")?;
        }
        Ok(())
    }
}

/// Runs `write`, and takes back what it wrote where it fails.
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
    pub(crate) status: u16,
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
            Some(date) if line.status == 200 && !facts.has(FieldFacts::DATE) => {
                // The start of most responses, in one piece.
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

fn status_line<B: Buffer>(status: u16, out: &mut B) -> Result<(), Misuse> {
    if status == 200 {
        return out.put(b"HTTP/1.1 200 OK\r\n");
    }
    let digit = |unit: u16| b'0' + (status / unit % 10) as u8;
    out.put(b"HTTP/1.1 ")?;
    out.put(&[digit(100), digit(10), digit(1), b' '])?;
    out.put(reason(status).as_bytes())?;
    out.put(b"\r\n")
}

/// Whether the user's fields close the connection.
#[inline]
pub(crate) const fn asks_close(facts: FieldFacts) -> bool {
    facts.has(FieldFacts::CLOSE)
}

/// Whether the user's fields have an `Upgrade`.
pub(crate) const fn has_upgrade(facts: FieldFacts) -> bool {
    facts.has(FieldFacts::UPGRADE)
}

/// Whether the user's fields have an `Expect`.
pub(crate) const fn has_expect(facts: FieldFacts) -> bool {
    facts.has(FieldFacts::EXPECT)
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

/// Appends an informational response, or one that switches protocols: a head without framing.
pub(crate) fn bare_head<B: Buffer>(
    status: u16,
    facts: FieldFacts,
    fields: &(impl FieldLines + ?Sized),
    out: &mut B,
) -> Result<(), Misuse> {
    all_or_nothing(out, |out| {
        status_line(status, out)?;
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
            out.put(b"\r\n")
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
                out.put(b"\r\n")
            })?,
        }
        *self = Sending::Nothing;
        Ok(())
    }
}

/// Room for a Content-Length line and the empty line behind it.
struct LengthLine([u8; 40]);

impl LengthLine {
    const NAME: &'static [u8; 16] = b"Content-Length: ";

    #[inline]
    const fn new() -> Self {
        Self(*b"Content-Length: 00000000000000000000\r\n\r\n")
    }

    #[inline]
    fn format(&mut self, length: u64) -> &[u8] {
        let mut rest = length;
        let mut start = 36;
        loop {
            start -= 1;
            self.0[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 || start == Self::NAME.len() {
                break;
            }
        }
        // The name moves up to its number.
        let line = start - Self::NAME.len();
        if let Some(place) = self.0.get_mut(line..start) {
            place.copy_from_slice(Self::NAME);
        }
        self.0.get(line..).unwrap_or_default()
    }
}

/// Room for a chunk-size line.
struct Hex([u8; 18]);

impl Hex {
    const fn new() -> Self {
        Self(*b"0000000000000000\r\n")
    }

    fn format(&mut self, mut number: u64) -> &[u8] {
        let mut start = 15;
        for (at, digit) in self.0.iter_mut().enumerate().take(16).rev() {
            let nibble = (number & 15) as u8;
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            number >>= 4;
            start = at;
            if number == 0 {
                break;
            }
        }
        self.0.get(start..).unwrap_or_default()
    }
}

/// The reason phrase usual for a status (RFC 9110 section 15); empty for one that has none.
#[must_use]
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// Whether responses with this status never have a body (RFC 9110 sections 15.2, 15.3.5, 15.4.5).
#[inline]
pub(crate) const fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..200 | 204 | 304)
}

/// The framing of a response, and how its body goes out (RFC 9112 section 6).
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
        // 205 has content of no length (RFC 9110 section 15.3.6).
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
