//! Heads of requests and responses, parsed in one pass into views over the received bytes.
//!
//! The pass that checks a head also records the facts for framing and persistence, so no field is looked up twice and
//! nothing is allocated or copied. A head that arrives in pieces is not parsed again with each piece: see
//! [`HeadScanner`](crate::HeadScanner).

use crate::fold::Folds;
use crate::framing::{BodyLength, Facts};
use crate::{Fields, Limits, Rules, Target, Violation, ViolationKind, scan};

/// The HTTP version of a message. A minor version of HTTP/1 above 1 counts as 1.1 (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2, if another codec has read the message: see [`Assembled`](crate::Assembled).
    Http2,
}

/// The result of parsing a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The head is complete.
    Complete {
        /// The view.
        head: T,
        /// Its length in bytes, including empty lines before it and the empty line after it.
        length: usize,
    },
    /// More bytes are needed; nothing is wrong so far.
    Incomplete,
}

/// A checked request head (RFC 9112 section 3), as a view over the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) fields: Fields<'a>,
    pub(crate) facts: Facts,
}

impl<'a> Request<'a> {
    /// Parses a request head at the start of `input`.
    ///
    /// # Errors
    ///
    /// [`Violation`] as soon as a byte cannot be part of a valid head, or a limit is exceeded.
    #[inline(always)]
    pub fn parse(input: &'a [u8], rules: &Rules) -> Result<Parsed<Self>, Violation> {
        Ok(match parse_request(input, rules)? {
            Some((head, rest)) => Parsed::Complete {
                head,
                length: input.len() - rest.len(),
            },
            None => Parsed::Incomplete,
        })
    }

    /// The method, case-sensitive (RFC 9110 section 9.1).
    #[inline]
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The target as sent. It is visible ASCII without `#`.
    #[inline]
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The target, parsed into one of its four forms.
    #[must_use]
    pub fn target_form(&self) -> Target<'a> {
        // The method and the target were checked together.
        let origin = || Target::origin(self.target);
        if self.target.starts_with('/') {
            return origin();
        }
        Target::parse(self.method, self.target).unwrap_or_else(origin)
    }

    /// The path without the query; see [`Target::path`].
    #[inline]
    #[must_use]
    pub fn path(&self) -> &'a str {
        match self.target {
            "/" => "/",
            _ => self.longer_path(),
        }
    }

    #[inline(never)]
    fn longer_path(&self) -> &'a str {
        self.target_form().path()
    }

    /// Path and query in the form for an origin server: a proxy that received the absolute form sends this on (RFC 9112
    /// section 3.2.1). `/` if the absolute form has no path, `*` for OPTIONS on a server as a whole (section 3.2.4), empty
    /// for CONNECT. Copied only if an absolute form has a query and no path.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn path_and_query(&self) -> alloc::borrow::Cow<'a, str> {
        let target = self.target();
        let (authority, query) = match self.target_form() {
            Target::Origin { .. } | Target::Asterisk => return target.into(),
            Target::Authority(_) => return "".into(),
            Target::Absolute { authority, query, .. } => (authority, query),
        };
        let behind = target
            .split_once("://")
            .and_then(|(_, rest)| rest.get(authority.len()..));
        match (behind.unwrap_or_default(), query) {
            ("", _) if self.method() == "OPTIONS" => "*".into(),
            ("", _) => "/".into(),
            (rest, Some(_)) if rest.starts_with('?') => alloc::format!("/{rest}").into(),
            (rest, _) => rest.into(),
        }
    }

    /// The HTTP version of the request.
    #[inline]
    #[must_use]
    pub fn version(&self) -> Version {
        self.facts.version()
    }

    /// The fields, in order.
    #[inline]
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        self.fields
    }

    /// Host and port that the request is for: from the target if the target names them, else from the Host field (RFC 9112
    /// section 3.2.2). `None` only for HTTP/1.0 without Host.
    #[must_use]
    pub fn authority(&self) -> Option<&'a str> {
        match self.target_form() {
            Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
            Target::Origin { .. } | Target::Asterisk => self.fields.get_str("host"),
        }
    }

    /// The bytes of the head, as [`parse`](Self::parse) reads them, to keep the head longer than the input. The head of an
    /// HTTP/2 request is written as HTTP/1.1.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_vec(&self) -> alloc::vec::Vec<u8> {
        let version: &[u8] = match self.version() {
            Version::Http10 => b" HTTP/1.0\r\n",
            Version::Http11 | Version::Http2 => b" HTTP/1.1\r\n",
        };
        [
            self.method.as_bytes(),
            b" ",
            self.target.as_bytes(),
            version,
            self.fields.as_bytes(),
            b"\r\n",
        ]
        .concat()
    }

    /// A copy of the head that lives longer than the input: unlike [`to_vec`](Self::to_vec), it need not be parsed again.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn keep(&self) -> crate::KeptRequest {
        crate::KeptRequest::new(self)
    }

    /// How the body is delimited (RFC 9112 section 6.3).
    #[inline]
    #[must_use]
    pub fn body(&self) -> BodyLength {
        self.facts.request_body()
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.facts.has(Facts::EXPECT_CONTINUE)
    }

    /// Whether the client asks to switch to a protocol of its `Upgrade` field (RFC 9110 section 7.8). Never true for a
    /// request of HTTP/1.0 or with content: there the field is ignored.
    #[must_use]
    pub fn wants_upgrade(&self) -> bool {
        self.facts.has(Facts::UPGRADE)
    }

    /// Whether the client keeps the connection after this exchange (RFC 9112 section 9.3).
    #[inline]
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.facts.keep_alive()
    }
}

/// A checked response head (RFC 9112 section 4), as a view over the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a [u8],
    pub(crate) fields: Fields<'a>,
    pub(crate) facts: Facts,
}

impl<'a> Response<'a> {
    /// Parses a response head at the start of `input`.
    ///
    /// # Errors
    ///
    /// [`Violation`] as soon as a byte cannot be part of a valid head, or a limit is exceeded.
    pub fn parse(input: &'a [u8], rules: &Rules) -> Result<Parsed<Self>, Violation> {
        parse_response(input, rules)
    }

    /// The status, 100 to 999 (RFC 9110 section 15).
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, which clients should ignore (RFC 9112 section 4). May be empty.
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        self.reason
    }

    /// The value of the Content-Length field, whatever the method and the status. In a response to HEAD and in a 304, this
    /// is the length that the content of a response to GET would have (RFC 9110 section 8.6). `None` without the field.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        // Validated when the head was parsed. A leniency may have permitted a list that repeats one number.
        let value = self.fields.list("content-length").next()?;
        core::str::from_utf8(value).ok()?.parse().ok()
    }

    /// The HTTP version of the response.
    #[must_use]
    pub fn version(&self) -> Version {
        self.facts.version()
    }

    /// The fields, in order.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        self.fields
    }

    /// How the body is delimited, which depends on the method of the request (RFC 9112 section 6.3).
    #[must_use]
    pub fn body(&self, request_method: &str) -> BodyLength {
        self.facts.response_body(self.status, request_method)
    }

    /// Whether the server keeps the connection after this exchange (RFC 9112 section 9.3).
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.facts.keep_alive()
    }
}

/// Skips empty lines in front of a start line (RFC 9112 section 2.2).
#[cold]
fn skip_leading_lines<'a>(mut input: &'a [u8], limits: &Limits) -> Result<&'a [u8], ViolationKind> {
    let mut lines = 0;
    while let [b'\r', b'\n', rest @ ..] = input {
        lines += 1;
        if lines > limits.leading_lines {
            return Err(ViolationKind::LeadingLines);
        }
        input = rest;
    }
    Ok(input)
}

/// The kind of error for a byte that is not allowed in a start line or field.
const fn forbidden(byte: u8, next: Option<u8>, otherwise: ViolationKind) -> ViolationKind {
    match (byte, next) {
        (b'\n', _) => ViolationKind::BareLf,
        (b'\r', Some(next)) if next != b'\n' => ViolationKind::BareCr,
        _ => otherwise,
    }
}

/// A request line is incomplete or invalid at `rest`.
#[cold]
fn bad_request_line(
    input: &[u8],
    line: &[u8],
    rest: &[u8],
    kind: ViolationKind,
    limit: usize,
) -> Result<(), Violation> {
    match rest {
        // The byte after a CR decides its meaning. One byte beyond the limit may be the CR of the line's end.
        [] | [b'\r'] if line.len() > limit.saturating_add(1) => {
            Err(Violation::new(ViolationKind::TargetTooLong, input.len()))
        }
        [] | [b'\r'] => Ok(()),
        [byte, behind @ ..] => {
            let at = input.len() - rest.len();
            let kind = forbidden(*byte, behind.first().copied(), kind);
            Err(judged(
                Violation::new(kind, at),
                input.len() - line.len(),
                limit,
                ViolationKind::TargetTooLong,
            ))
        }
    }
}

/// Returns `too_long` in place of `violation` if its offset is beyond the limit of a line that begins at `from`. Bytes beyond the limit are
/// not checked: the result must not depend on how many of them have arrived.
#[cold]
fn judged(violation: Violation, from: usize, limit: usize, too_long: ViolationKind) -> Violation {
    let at = violation.offset() - from;
    // One byte beyond the limit may be the CR of the line's end, until the next byte decides.
    let beyond = at > limit.saturating_add(1) || violation.kind() == ViolationKind::BareCr && at > limit;
    if beyond {
        Violation::new(too_long, violation.offset())
    } else {
        violation
    }
}

/// Parses a request head at the start of `input`. Returns the head and the bytes after it, or `None` if it is incomplete.
#[inline(always)]
pub(crate) fn parse_request<'a>(input: &'a [u8], rules: &Rules) -> Result<Option<(Request<'a>, &'a [u8])>, Violation> {
    let limits = &rules.limits;
    let (line, method, rest) = match input.split_first_chunk() {
        Some((start, rest)) if *start == *b"GET " => (input, "GET", rest),
        _ => match split_method(input, limits)? {
            Some(split) => split,
            None => return Ok(None),
        },
    };
    let unfinished = |rest: &[u8], kind| bad_request_line(input, line, rest, kind, limits.request_line).map(|()| None);
    let target_at = input.len() - rest.len();
    let (target, rest) = scan::split_target(rest);
    let [b' ', rest @ ..] = rest else {
        return unfinished(rest, ViolationKind::Target);
    };
    if target.is_empty() {
        let violation = Violation::new(ViolationKind::Target, target_at);
        return Err(judged(
            violation,
            input.len() - line.len(),
            limits.request_line,
            ViolationKind::TargetTooLong,
        ));
    }
    let (version, section) = match rest.split_first_chunk::<10>() {
        Some((end, section)) if *end == *b"HTTP/1.1\r\n" => (Version::Http11, section),
        behind => match (
            version(rest, input.len() - rest.len(), b"\r\n").map_err(|violation| {
                judged(
                    violation,
                    input.len() - line.len(),
                    limits.request_line,
                    ViolationKind::TargetTooLong,
                )
            })?,
            behind,
        ) {
            (Some(version), Some((_, section))) => (version, section),
            _ => return unfinished(&[], ViolationKind::Version),
        },
    };
    if line.len() - section.len() - 2 > limits.request_line {
        return Err(Violation::new(ViolationKind::TargetTooLong, target_at));
    }
    let mut facts = Facts::new(version, method);
    if (!target.starts_with('/') || facts.has(Facts::CONNECT)) && Target::parse(method, target).is_none() {
        return Err(Violation::new(ViolationKind::Target, target_at));
    }

    let offset = input.len() - section.len();
    let walked = walk(
        section,
        limits.fields,
        limits.fields_bytes,
        Folds::Refused,
        |name, value| facts.request_field(name, value, &rules.leniency),
    );
    let Some((fields, rest)) = walked.map_err(|violation| violation.behind(offset))? else {
        return Ok(None);
    };
    facts
        .check_request()
        .map_err(|kind| Violation::new(kind, input.len() - rest.len() - 2))?;
    let head = Request {
        method,
        target,
        fields,
        facts,
    };
    Ok(Some((head, rest)))
}

/// Splits the request line: returns the line, its method, and the bytes after the method, or `None` if more bytes are needed.
#[inline(never)]
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn split_method<'a>(input: &'a [u8], limits: &Limits) -> Result<Option<(&'a [u8], &'a str, &'a [u8])>, Violation> {
    let line = match input {
        [b'\r', ..] => {
            skip_leading_lines(input, limits).map_err(|kind| Violation::new(kind, 2 * limits.leading_lines))?
        }
        _ => input,
    };
    let (method, rest) = scan::split_token(line);
    let [b' ', rest @ ..] = rest else {
        return bad_request_line(input, line, rest, ViolationKind::Method, limits.request_line).map(|()| None);
    };
    if method.is_empty() {
        return Err(Violation::new(ViolationKind::Method, input.len() - line.len()));
    }
    Ok(Some((line, core::str::from_utf8(method).unwrap_or_default(), rest)))
}

/// Parses `HTTP/d.d` and `end` at the start of `bytes`, which have the offset `at` in the head.
fn version(bytes: &[u8], at: usize, end: &[u8]) -> Result<Option<Version>, Violation> {
    let mut major = 0;
    let mut minor = 0;
    for (i, &byte) in bytes.iter().take(8 + end.len()).enumerate() {
        let fits = match i {
            5 => {
                major = byte;
                byte.is_ascii_digit()
            }
            7 => {
                minor = byte;
                byte.is_ascii_digit()
            }
            0..8 => b"HTTP/x.x".get(i) == Some(&byte),
            _ => end.get(i - 8) == Some(&byte),
        };
        if !fits {
            let kind = if i >= 8 && byte == b'\n' {
                ViolationKind::BareLf
            } else if i == 9 && end == b"\r\n" {
                ViolationKind::BareCr
            } else {
                ViolationKind::Version
            };
            return Err(Violation::new(kind, at + i));
        }
        if i == 7 && major != b'1' {
            return Err(Violation::new(ViolationKind::VersionUnsupported, at + 5));
        }
    }
    if bytes.len() < 8 + end.len() {
        return Ok(None);
    }
    Ok(Some(if minor == b'0' {
        Version::Http10
    } else {
        Version::Http11
    }))
}

fn parse_response<'a>(input: &'a [u8], rules: &Rules) -> Result<Parsed<Response<'a>>, Violation> {
    let line = match input {
        [b'\r', ..] if rules.leniency.lines_before_status => skip_leading_lines(input, &rules.limits)
            .map_err(|kind| Violation::new(kind, 2 * rules.limits.leading_lines))?,
        _ => input,
    };
    let skipped = input.len() - line.len();
    match line {
        // The next byte decides whether this is another empty line.
        [] | [b'\r'] if skipped > 0 || line.len() == input.len() && rules.leniency.lines_before_status => {
            Ok(Parsed::Incomplete)
        }
        _ => match parse_status_line(line, rules).map_err(|violation| violation.behind(skipped))? {
            Parsed::Complete { head, length } => Ok(Parsed::Complete {
                head,
                length: skipped + length,
            }),
            Parsed::Incomplete => Ok(Parsed::Incomplete),
        },
    }
}

/// Parses a response head that begins with its status line.
fn parse_status_line<'a>(input: &'a [u8], rules: &Rules) -> Result<Parsed<Response<'a>>, Violation> {
    let limits = &rules.limits;
    let unfinished = || {
        if input.len() > limits.request_line.saturating_add(1) {
            return Err(Violation::new(ViolationKind::StatusLine, input.len()));
        }
        Ok(Parsed::Incomplete)
    };
    let Some(version) = version(input, 0, b" ")? else {
        return unfinished();
    };
    let rest = input.get(9..).unwrap_or_default();
    let mut status = 0;
    for i in 0..3 {
        match rest.get(i) {
            Some(&digit) if digit.is_ascii_digit() && (i > 0 || digit > b'0') => {
                status = status * 10 + u16::from(digit - b'0');
            }
            Some(_) => return Err(Violation::new(ViolationKind::StatusLine, 9 + i)),
            None => return unfinished(),
        }
    }
    let reason_at = match rest.get(3) {
        Some(b' ') => 13,
        Some(b'\r') if rules.leniency.bare_status => 12,
        None => return unfinished(),
        Some(b'\r') if rest.len() == 4 => return unfinished(),
        Some(&byte) => {
            let kind = forbidden(byte, rest.get(4).copied(), ViolationKind::StatusLine);
            return Err(Violation::new(kind, 12));
        }
    };
    let rest = input.get(reason_at..).unwrap_or_default();
    let (reason, rest) = scan::split_value(rest);
    let reason_end = reason_at + reason.len();
    let section = match rest {
        [b'\r', b'\n', section @ ..] => section,
        [] | [b'\r'] => return unfinished(),
        [byte, rest @ ..] => {
            let kind = forbidden(*byte, rest.first().copied(), ViolationKind::StatusLine);
            let violation = Violation::new(kind, reason_end);
            return Err(judged(violation, 0, limits.request_line, ViolationKind::StatusLine));
        }
    };
    let fields_at = reason_end + 2;
    if reason_end > limits.request_line {
        return Err(Violation::new(ViolationKind::StatusLine, limits.request_line));
    }
    let mut facts = Facts::new(version, "");
    let walked = walk(
        section,
        limits.fields,
        limits.fields_bytes,
        Folds::Replaced,
        |name, value| facts.response_field(name, scan::trim(value), &rules.leniency),
    );
    let Some((fields, rest)) = walked.map_err(|violation| violation.behind(fields_at))? else {
        return Ok(Parsed::Incomplete);
    };
    let length = input.len() - rest.len();
    facts
        .check_response(status, &rules.leniency)
        .map_err(|kind| Violation::new(kind, length - 2))?;
    Ok(Parsed::Complete {
        head: Response {
            status,
            reason,
            fields,
            facts,
        },
        length,
    })
}

/// Checks the field lines of a `section` up to the empty line, and calls `visit` with name and value of each, including the spaces around
/// the value. Returns the lines and the bytes after the empty line, or `None` if the section is incomplete.
#[inline(always)]
pub(crate) fn walk<'a>(
    section: &'a [u8],
    max_fields: usize,
    max_bytes: usize,
    folds: Folds,
    mut visit: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), ViolationKind>,
) -> Result<Option<(Fields<'a>, &'a [u8])>, Violation> {
    // The number of bytes after the limit.
    let least = section.len().saturating_sub(max_bytes);
    let mut line = section;
    let mut fields = 0;
    loop {
        let (name, rest) = match line {
            [b'\r', ..] => (&[][..], line),
            _ => scan::split_token(line),
        };
        if folds == Folds::Dropped
            && fields > 0
            && let [b' ' | b'\t', ..] = line
        {
            let (_, rest) = scan::split_value(line);
            line = match rest {
                [b'\r', b'\n', behind @ ..] if behind.len() >= least => behind,
                [b'\r', b'\n', ..] => return Err(Violation::new(ViolationKind::FieldsTooLarge, max_bytes)),
                [] | [b'\r'] if least == 0 => return Ok(None),
                _ => return Err(bad_value(rest, section.len() - rest.len(), max_bytes)),
            };
            continue;
        }
        let [b':', rest @ ..] = rest else {
            let length = section.len() - line.len();
            return match (name, rest) {
                ([], [b'\r', b'\n', behind @ ..]) => {
                    Ok(section.get(..length).map(|lines| (Fields::checked(lines), behind)))
                }
                // The empty line does not count against the limit.
                ([], [b'\r']) => Ok(None),
                (_, [] | [b'\r']) if least == 0 => Ok(None),
                // The next line to arrive may continue this one.
                ([_, ..], [b'\r', b'\n']) if folds == Folds::Replaced && least == 0 => Ok(None),
                _ => Err(bad_name(rest, name.len(), length, max_bytes)),
            };
        };
        if name.is_empty() {
            return Err(bad_name(b":", 0, section.len() - line.len(), max_bytes));
        }
        let (value, rest) = scan::split_value(rest);
        let [b'\r', b'\n', rest @ ..] = rest else {
            return match rest {
                [] | [b'\r'] if least == 0 => Ok(None),
                _ => Err(bad_value(rest, section.len() - rest.len(), max_bytes)),
            };
        };
        if folds == Folds::Replaced && rest.is_empty() && least == 0 {
            return Ok(None);
        }
        fields += 1;
        let verdict = if rest.len() < least {
            return Err(Violation::new(ViolationKind::FieldsTooLarge, max_bytes));
        } else if fields > max_fields {
            Err(ViolationKind::TooManyFields)
        } else {
            visit(name, value)
        };
        verdict.map_err(|kind| Violation::new(kind, section.len() - line.len()))?;
        line = rest;
    }
}

/// The error for a line without a colon after a token.
#[cold]
fn bad_name(rest: &[u8], name_end: usize, at: usize, max_bytes: usize) -> Violation {
    let kind = match (name_end, rest) {
        (_, [] | [b'\r']) => {
            return Violation::new(ViolationKind::FieldsTooLarge, max_bytes);
        }
        // Beyond the limit, bytes are not checked: the result must not depend on how many of them have arrived.
        _ if at + name_end >= max_bytes => ViolationKind::FieldsTooLarge,
        (0, [b' ' | b'\t', ..]) => ViolationKind::Folding,
        (_, [b' ' | b'\t', ..]) => ViolationKind::SpaceBeforeColon,
        (_, [byte, rest @ ..]) => forbidden(*byte, rest.first().copied(), ViolationKind::FieldName),
    };
    Violation::new(kind, at + name_end)
}

/// The error for a value without CRLF after it.
#[cold]
fn bad_value(rest: &[u8], at: usize, max_bytes: usize) -> Violation {
    match rest {
        [] | [b'\r'] => Violation::new(ViolationKind::FieldsTooLarge, max_bytes),
        _ if at >= max_bytes => Violation::new(ViolationKind::FieldsTooLarge, max_bytes),
        [byte, rest @ ..] => Violation::new(forbidden(*byte, rest.first().copied(), ViolationKind::FieldValue), at),
    }
}
