//! Field sections: the content of a header block, checked while it is decoded (RFC 9113 sections 8.2 and 8.3).

use alloc::vec::Vec;

use proto_http::{Assembled, Fields, Request, Response, Target};

use crate::hpack::{DecodeError, Decoder, Line, Token};
use crate::{Limits, ViolationKind};

/// Memory for decoding field sections. One `Scratch` serves any number of connections, one after the other, so that an idle connection
/// holds no such memory. Keep it for the next call.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    lines: Vec<u8>,
    /// The content of the last block; kept here so that no event has to carry it.
    pub(crate) section: Section,
}

impl Scratch {
    /// Capacity kept for the next section, in bytes.
    const KEPT: usize = 64 * 1024;

    /// A scratch without allocated memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            lines: Vec::new(),
            section: Section::NONE,
        }
    }
}

/// A range of bytes in the lines.
type Span = (u32, u32);

/// The kind of message part that a header block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Request { extended: bool },
    Response,
    Trailers,
}

/// The content of a header block. Its lines are in a [`Scratch`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Section {
    method: Span,
    scheme: Span,
    path: Span,
    authority: Span,
    protocol: Span,
    host: Span,
    /// The `priority` field, if there is one.
    pub(crate) priority: Span,
    pub(crate) status: u16,
    /// Pseudo-header fields seen so far, one bit for each [`Token`].
    seen: u8,
    regular: bool,
    expects: bool,
    cookies: u32,
    count: u32,
    /// Where the field lines begin.
    fields: u32,
    pub(crate) length: Option<u64>,
    wrong: Option<ViolationKind>,
}

/// The HTTP/1.1 fields that replace an extended CONNECT. The key has no meaning (RFC 8441 section 5), and `sec-websocket-accept` is left
/// out of the response.
const UPGRADE: &[u8] = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

impl Section {
    const NONE: Self = Self {
        method: (0, 0),
        scheme: (0, 0),
        path: (0, 0),
        authority: (0, 0),
        protocol: (0, 0),
        host: (0, 0),
        priority: (0, 0),
        status: 0,
        seen: 0,
        regular: false,
        expects: false,
        cookies: 0,
        count: 0,
        fields: 0,
        length: None,
        wrong: None,
    };

    /// Decodes a whole block into `scratch`.
    ///
    /// # Errors
    ///
    /// The outer error ends the connection. The inner error ends the stream; the compression table is still in step.
    #[inline]
    pub(crate) fn read(
        decoder: &mut Decoder,
        block: &[u8],
        part: Part,
        limits: &Limits,
        scratch: &mut Scratch,
    ) -> Result<Result<(), ViolationKind>, DecodeError> {
        let Scratch { lines, section } = scratch;
        lines.clear();
        if lines.capacity() > Scratch::KEPT {
            *lines = Vec::new();
        }
        *section = Self::NONE;
        let trailers = part == Part::Trailers;
        let (most_bytes, most) = if trailers {
            (limits.trailers_bytes, limits.trailers)
        } else {
            (limits.fields_bytes, limits.fields)
        };
        let size = decoder.read(block, most_bytes, lines, |lines, line| {
            section.field(lines, line, trailers);
        })?;
        if size > most_bytes {
            section.wrong = section.wrong.or(Some(ViolationKind::FieldsTooLarge));
        } else if section.count as usize > most {
            section.wrong = section.wrong.or(Some(ViolationKind::TooManyFields));
        }
        if let Some(kind) = section.wrong {
            return Ok(Err(kind));
        }
        Ok(match part {
            Part::Request { extended } => section.check_request(lines, extended),
            Part::Response => section.check_response(),
            Part::Trailers => Ok(()),
        })
    }

    #[inline]
    fn field(&mut self, lines: &[u8], line: Line, trailers: bool) {
        self.count += 1;
        if line.valid && line.token == Token::Other {
            self.regular = true;
        } else if let Err(kind) = self.special(lines, line, trailers) {
            self.wrong = self.wrong.or(Some(kind));
        }
    }

    #[inline]
    fn special(&mut self, lines: &[u8], line: Line, trailers: bool) -> Result<(), ViolationKind> {
        let end = lines.len().saturating_sub(2);
        let span = ((line.start + line.name + 2) as u32, end as u32);
        if !line.valid {
            let name = bytes(lines, (line.start as u32, (line.start + line.name) as u32));
            let named = line.token.is_pseudo() || crate::class::is_name(name);
            return Err(if named {
                ViolationKind::FieldValue
            } else {
                ViolationKind::FieldName
            });
        }
        if line.token.is_pseudo() {
            let bit = 1 << line.token as u8;
            if self.regular || trailers || self.seen & bit != 0 {
                return Err(ViolationKind::PseudoField);
            }
            self.seen |= bit;
            self.fields = lines.len() as u32;
            match line.token {
                Token::Method => self.method = span,
                Token::Path => self.path = span,
                Token::Scheme => self.scheme = span,
                Token::Authority => self.authority = span,
                Token::Protocol => self.protocol = span,
                Token::Status => self.status = status(bytes(lines, span)).ok_or(ViolationKind::Status)?,
                _ => return Err(ViolationKind::PseudoField),
            }
            return Ok(());
        }
        self.regular = true;
        let value = bytes(lines, span);
        match line.token {
            Token::Host if self.host != (0, 0) => return Err(ViolationKind::HostDiffers),
            Token::Host => self.host = span,
            Token::Cookie => self.cookies += 1,
            Token::Connection => return Err(ViolationKind::ConnectionField),
            Token::Te if !value.eq_ignore_ascii_case(b"trailers") => return Err(ViolationKind::ConnectionField),
            Token::ContentLength => {
                if self.length.is_some() {
                    return Err(ViolationKind::ContentLength);
                }
                self.length = Some(decimal(value).ok_or(ViolationKind::ContentLength)?);
            }
            Token::Expect if value.eq_ignore_ascii_case(b"100-continue") => self.expects = true,
            Token::Expect => return Err(ViolationKind::Expectation),
            Token::Priority => self.priority = span,
            _ => {}
        }
        Ok(())
    }

    const fn has(&self, token: Token) -> bool {
        self.seen & (1 << token as u8) != 0
    }

    #[inline]
    fn check_request(&mut self, lines: &mut Vec<u8>, extended: bool) -> Result<(), ViolationKind> {
        const METHOD: u8 = 1 << Token::Method as u8;
        const WHOLE: u8 = METHOD | 1 << Token::Scheme as u8 | 1 << Token::Path as u8;
        if self.has(Token::Status) {
            return Err(ViolationKind::PseudoField);
        }
        if self.seen & METHOD == 0 {
            return Err(ViolationKind::PseudoMissing);
        }
        let method = bytes(lines, self.method);
        if method != b"GET" && !is_token(method) {
            return Err(ViolationKind::Method);
        }
        let tunnel = self.has(Token::Protocol);
        if tunnel && (method != b"CONNECT" || !extended) {
            return Err(ViolationKind::Protocol);
        }
        if method == b"CONNECT" && !tunnel {
            return self.check_connect(lines);
        }
        if self.seen & WHOLE != WHOLE {
            return Err(ViolationKind::PseudoMissing);
        }
        if !matches!(bytes(lines, self.scheme), b"http" | b"https") && !is_scheme(bytes(lines, self.scheme)) {
            return Err(ViolationKind::Scheme);
        }
        match bytes(lines, self.path) {
            b"/" => {}
            b"*" if method == b"OPTIONS" => {}
            path @ [b'/', ..] if crate::class::is_visible(path) && !path.contains(&b'#') => {}
            _ => return Err(ViolationKind::Path),
        }
        self.check_host(lines)?;
        if tunnel {
            self.make_upgrade(lines)?;
        }
        if self.cookies > 1 {
            self.join_cookies(lines);
        }
        Ok(())
    }

    /// Settles the authority from `:authority` or Host, whichever there is, and stores it as a Host line.
    #[inline]
    fn check_host(&mut self, lines: &mut Vec<u8>) -> Result<(), ViolationKind> {
        let has_host = self.host != (0, 0);
        if !self.has(Token::Authority) {
            if !has_host {
                return Err(ViolationKind::AuthorityMissing);
            }
            return authority(bytes(lines, self.host));
        }
        authority(bytes(lines, self.authority))?;
        if has_host {
            let same = bytes(lines, self.host).eq_ignore_ascii_case(bytes(lines, self.authority));
            return if same { Ok(()) } else { Err(ViolationKind::HostDiffers) };
        }
        const NAME: &[u8; 6] = b"host: ";
        let (start, end) = self.authority;
        if end + 2 == self.fields {
            // `:authority` is the last pseudo-header field: its line becomes the first field line.
            self.fields = start - NAME.len() as u32;
            let name = self.fields as usize..start as usize;
            if let Some(place) = lines.get_mut(name) {
                place.copy_from_slice(NAME);
            }
        } else {
            lines.extend_from_slice(NAME);
            lines.extend_from_within(start as usize..end as usize + 2);
        }
        Ok(())
    }

    /// Checks a plain CONNECT (RFC 9113 section 8.5).
    #[cold]
    fn check_connect(&mut self, lines: &mut Vec<u8>) -> Result<(), ViolationKind> {
        if self.has(Token::Scheme) || self.has(Token::Path) {
            return Err(ViolationKind::PseudoField);
        }
        if !self.has(Token::Authority) {
            return Err(ViolationKind::PseudoMissing);
        }
        let target = core::str::from_utf8(bytes(lines, self.authority)).unwrap_or_default();
        if Target::parse("CONNECT", target).is_none() {
            return Err(ViolationKind::Authority);
        }
        self.path = self.authority;
        self.check_host(lines)
    }

    /// Rewrites an extended CONNECT as the equivalent HTTP/1.1 upgrade request, for handlers of HTTP/1.1 (RFC 8441 section 5).
    #[cold]
    fn make_upgrade(&mut self, lines: &mut Vec<u8>) -> Result<(), ViolationKind> {
        match bytes(lines, self.protocol) {
            b"websocket" => {}
            b"" => return Err(ViolationKind::Protocol),
            _ => return Err(ViolationKind::ProtocolUnknown),
        }
        lines.extend_from_slice(UPGRADE);
        Ok(())
    }

    fn view<'a>(&self, lines: &'a [u8]) -> Fields<'a> {
        Assembled::default().request("", "", lines).fields()
    }

    /// Joins split Cookie fields, in order, into one line at the end (RFC 9113 section 8.2.3).
    #[cold]
    fn join_cookies(&self, lines: &mut Vec<u8>) {
        let start = self.fields as usize;
        let own = lines.get(start..).unwrap_or_default();
        let (mut others, mut cookie) = (Vec::with_capacity(own.len()), Vec::new());
        for field in self.view(own) {
            if field.name == "cookie" {
                cookie.extend_from_slice(if cookie.is_empty() { b"cookie: " } else { b"; " });
                cookie.extend_from_slice(field.value);
            } else {
                others.extend_from_slice(field.name.as_bytes());
                others.extend_from_slice(b": ");
                others.extend_from_slice(field.value);
                others.extend_from_slice(b"\r\n");
            }
        }
        lines.truncate(start);
        lines.extend_from_slice(&others);
        lines.extend_from_slice(&cookie);
        lines.extend_from_slice(b"\r\n");
    }

    fn check_response(&self) -> Result<(), ViolationKind> {
        if self.seen != 1 << Token::Status as u8 {
            return Err(if self.has(Token::Status) {
                ViolationKind::PseudoField
            } else {
                ViolationKind::PseudoMissing
            });
        }
        // HTTP/2 has no 101 (RFC 9113 section 8.6).
        if self.status == 101 {
            Err(ViolationKind::Status)
        } else {
            Ok(())
        }
    }

    /// Whether the request is an extended CONNECT.
    pub(crate) const fn is_tunnel(&self) -> bool {
        self.has(Token::Protocol)
    }

    pub(crate) fn is_method(&self, scratch: &Scratch, method: &[u8]) -> bool {
        bytes(&scratch.lines, self.method) == method
    }

    pub(crate) const fn expects(&self) -> bool {
        self.expects
    }

    pub(crate) fn priority<'a>(&self, scratch: &'a Scratch) -> Option<&'a [u8]> {
        (self.priority != (0, 0)).then(|| bytes(&scratch.lines, self.priority))
    }

    /// The request; `end` says whether it is complete.
    #[inline]
    pub(crate) fn request<'a>(&self, scratch: &'a Scratch, end: bool) -> Request<'a> {
        let lines = &scratch.lines;
        let tunnel = self.is_tunnel();
        let about = Assembled {
            length: self.length,
            content: !end && !tunnel,
            expects_continue: self.expects && !end,
            upgrade: tunnel,
        };
        let method = if tunnel { "GET" } else { text(lines, self.method) };
        about.request(method, text(lines, self.path), self.lines(lines))
    }

    pub(crate) fn response<'a>(&self, scratch: &'a Scratch, end: bool) -> Response<'a> {
        let about = Assembled {
            length: self.length,
            content: !end,
            ..Assembled::default()
        };
        about.response(self.status, self.lines(&scratch.lines))
    }

    pub(crate) fn trailers<'a>(&self, scratch: &'a Scratch) -> Fields<'a> {
        Assembled::trailers(&scratch.lines)
    }

    #[inline]
    fn lines<'a>(&self, lines: &'a [u8]) -> &'a [u8] {
        lines.get(self.fields as usize..).unwrap_or_default()
    }
}

#[inline]
fn bytes(lines: &[u8], (start, end): Span) -> &[u8] {
    lines.get(start as usize..end as usize).unwrap_or_default()
}

#[inline]
fn text(lines: &[u8], span: Span) -> &str {
    match bytes(lines, span) {
        b"GET" => "GET",
        b"/" => "/",
        other => core::str::from_utf8(other).unwrap_or_default(),
    }
}

#[inline]
fn authority(bytes: &[u8]) -> Result<(), ViolationKind> {
    if Target::is_authority(bytes) {
        Ok(())
    } else {
        Err(ViolationKind::Authority)
    }
}

/// Whether `bytes` is a token (RFC 9110 section 5.6.2). Methods may have capital letters.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Whether `scheme` is a valid scheme (RFC 3986 section 3.1).
pub(crate) fn is_scheme(scheme: &[u8]) -> bool {
    let [first, rest @ ..] = scheme else { return false };
    first.is_ascii_alphabetic()
        && rest
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn status(value: &[u8]) -> Option<u16> {
    let &[a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = value else {
        return None;
    };
    Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
}

/// Parses a Content-Length: digits only (RFC 9110 section 8.6).
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
