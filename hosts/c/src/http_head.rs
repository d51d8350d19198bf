//! Heads and bodies of HTTP, for programs that keep no connection state.

use core::mem::MaybeUninit;

use proto_http::{
    BodyDecoder, BodyLength, Fields, Parsed, Piece, Request, Response, Rules, Target, Version, Violation,
};

use crate::buffer::{bytes, holds, proto_bytes, proto_field, set};
use crate::error::{self, PROTO_ARGUMENT, PROTO_EVENT, PROTO_MORE, PROTO_NULL};
use crate::http_rules::{proto_http_rules, with_rules};

/// How the body of a message is delimited (RFC 9112 section 6.3).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum proto_http_body_kind {
    /// There is no body.
    PROTO_HTTP_BODY_EMPTY = 0,
    /// `content_length` bytes follow.
    PROTO_HTTP_BODY_LENGTH = 1,
    /// Chunks follow.
    PROTO_HTTP_BODY_CHUNKED = 2,
    /// The body ends with the connection. Responses only.
    PROTO_HTTP_BODY_UNTIL_CLOSE = 3,
}

/// Checked field lines, as they lie in the input: valid as long as these bytes stay there. Read them with
/// `proto_http_field_find` and `proto_http_field_list`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_http_fields {
    /// Not for programs.
    pub opaque: [MaybeUninit<usize>; 3],
}

const _: () = assert!(size_of::<Fields<'_>>() == size_of::<proto_http_fields>());
const _: () = assert!(align_of::<Fields<'_>>() <= align_of::<proto_http_fields>());

impl From<Fields<'_>> for proto_http_fields {
    fn from(fields: Fields<'_>) -> Self {
        let mut opaque = [MaybeUninit::uninit(); 3];
        // SAFETY: size and alignment fit, as asserted above.
        unsafe { opaque.as_mut_ptr().cast::<Fields<'_>>().write(fields) };
        proto_http_fields { opaque }
    }
}

/// # Safety
///
/// `fields` is NULL or points to fields that this library has written, whose bytes live for `'a`.
pub(crate) unsafe fn view<'a>(fields: *const proto_http_fields) -> Option<Fields<'a>> {
    // SAFETY: as promised; size and alignment fit, as asserted above.
    unsafe { fields.cast::<Fields<'_>>().as_ref().copied() }
}

/// The head of a request or a response. All bytes lie in the input, so the head is valid as long as they stay there.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_http_head {
    /// Requests: the method, case-sensitive.
    pub method: proto_bytes,
    /// Requests: the target as sent, visible ASCII.
    pub target: proto_bytes,
    /// Responses: the reason phrase, perhaps empty.
    pub reason: proto_bytes,
    /// The fields.
    pub fields: proto_http_fields,
    /// The length of the content, for `PROTO_HTTP_BODY_LENGTH`.
    pub content_length: u64,
    /// How the body is delimited. In a response to HEAD or CONNECT it does not show what follows: `proto_http_client_next` knows.
    pub body: proto_http_body_kind,
    /// Responses: the status, 100 to 999; 0 in a request.
    pub status: u16,
    /// 10 for HTTP/1.0, 11 for HTTP/1.1 and later minor versions.
    pub version: u8,
    /// Whether the peer keeps the connection after this exchange.
    pub keep_alive: bool,
    /// Requests: whether the client waits for `100 Continue`.
    pub expects_continue: bool,
    /// Requests: whether the client asks to switch to a protocol of its `Upgrade` field.
    pub wants_upgrade: bool,
}

fn body_of(body: BodyLength) -> (proto_http_body_kind, u64) {
    match body {
        BodyLength::Empty => (proto_http_body_kind::PROTO_HTTP_BODY_EMPTY, 0),
        BodyLength::Length(length) => (proto_http_body_kind::PROTO_HTTP_BODY_LENGTH, length),
        BodyLength::Chunked => (proto_http_body_kind::PROTO_HTTP_BODY_CHUNKED, 0),
        BodyLength::UntilClose => (proto_http_body_kind::PROTO_HTTP_BODY_UNTIL_CLOSE, 0),
    }
}

pub(crate) fn body_length(kind: u32, length: u64) -> Option<BodyLength> {
    Some(match kind {
        0 => BodyLength::Empty,
        1 => BodyLength::Length(length),
        2 => BodyLength::Chunked,
        3 => BodyLength::UntilClose,
        _ => return None,
    })
}

fn version(version: Version) -> u8 {
    match version {
        Version::Http10 => 10,
        _ => 11,
    }
}

impl From<&Request<'_>> for proto_http_head {
    #[inline]
    fn from(head: &Request<'_>) -> Self {
        let (body, content_length) = body_of(head.body());
        proto_http_head {
            method: head.method().as_bytes().into(),
            target: head.target().as_bytes().into(),
            reason: proto_bytes::EMPTY,
            fields: head.fields().into(),
            content_length,
            body,
            status: 0,
            version: version(head.version()),
            keep_alive: head.keep_alive(),
            expects_continue: head.expects_continue(),
            wants_upgrade: head.wants_upgrade(),
        }
    }
}

impl From<&Response<'_>> for proto_http_head {
    fn from(head: &Response<'_>) -> Self {
        let (body, content_length) = body_of(head.body("GET"));
        proto_http_head {
            method: proto_bytes::EMPTY,
            target: proto_bytes::EMPTY,
            reason: head.reason().into(),
            fields: head.fields().into(),
            content_length,
            body,
            status: head.status(),
            version: version(head.version()),
            keep_alive: head.keep_alive(),
            expects_continue: false,
            wants_upgrade: false,
        }
    }
}

/// Reads the head of a request at the start of `data`. `PROTO_EVENT`: `head` was written, and it takes `used` bytes.
/// `PROTO_MORE`: nothing is wrong so far, but the head is not complete. A violation: `used` is the offset of the byte that is
/// wrong. Keeps no state: a server of many small reads uses `proto_http_server`, which reads no byte twice.
///
/// `rules` may be NULL: those of requests. `used` may be NULL.
///
/// The caller promises: `data` points to `length` bytes; the other pointers may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_request_parse(
    data: *const u8,
    length: usize,
    rules: *const proto_http_rules,
    head: *mut proto_http_head,
    used: *mut usize,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let Some(input) = bytes(data, length) else {
            return PROTO_NULL;
        };
        with_rules(rules, &Rules::DEFAULT, |rules| {
            parsed(Request::parse(input, rules), |request| request.into(), head, used)
        })
    }
}

/// Reads the head of a response, as `proto_http_request_parse` does that of a request. `rules` may be NULL: those of responses.
/// Folded fields are a violation here; `proto_http_client_next` reads them.
///
/// The caller promises: `data` points to `length` bytes; the other pointers may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_response_parse(
    data: *const u8,
    length: usize,
    rules: *const proto_http_rules,
    head: *mut proto_http_head,
    used: *mut usize,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let Some(input) = bytes(data, length) else {
            return PROTO_NULL;
        };
        with_rules(rules, &Rules::RESPONSES, |rules| {
            parsed(Response::parse(input, rules), |response| response.into(), head, used)
        })
    }
}

/// # Safety
///
/// `head` and `used` are NULL or may be written.
#[inline]
unsafe fn parsed<T>(
    result: Result<Parsed<T>, Violation>,
    into: impl FnOnce(&T) -> proto_http_head,
    head: *mut proto_http_head,
    used: *mut usize,
) -> i32 {
    if head.is_null() {
        return PROTO_NULL;
    }
    // SAFETY: as promised.
    unsafe {
        match result {
            Ok(Parsed::Complete { head: found, length }) => {
                set(head, into(&found));
                set(used, length);
                PROTO_EVENT
            }
            Ok(Parsed::Incomplete) => {
                set(used, 0);
                PROTO_MORE
            }
            Err(violation) => {
                set(used, violation.offset());
                error::http_kind(violation.kind())
            }
        }
    }
}

/// Writes the path of a request to `path` and its query, without the `?`, to `query`; both lie in the target. The path of `*` is
/// `*`, that of CONNECT empty. An absent query has `data` NULL. Nothing is decoded.
///
/// The caller promises: `head` is NULL or a head that this library has written and whose input is still there; `path` and `query` are NULL or may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_path(
    head: *const proto_http_head,
    path: *mut proto_bytes,
    query: *mut proto_bytes,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let Some(head) = head.as_ref() else { return PROTO_NULL };
        let (Some(method), Some(target)) = (head.method.get(), head.target.get()) else {
            return PROTO_NULL;
        };
        let (Ok(method), Ok(target)) = (core::str::from_utf8(method), core::str::from_utf8(target)) else {
            return PROTO_ARGUMENT;
        };
        let Some(target) = Target::parse(method, target) else {
            return PROTO_ARGUMENT;
        };
        let asked = match target {
            Target::Origin { query, .. } | Target::Absolute { query, .. } => query,
            Target::Authority(_) | Target::Asterisk => None,
        };
        set(path, target.path().as_bytes().into());
        set(query, asked.map_or(proto_bytes::EMPTY, |query| query.as_bytes().into()));
        error::PROTO_OK
    }
}

/// Finds the first field with this name, ignoring case, and writes its value. Returns false, with an empty value, if there is none.
///
/// The caller promises: `fields` is NULL or was written by this library, and its input is still there; `name` points to `name_length` bytes; `value`
/// is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_field_find(
    fields: *const proto_http_fields,
    name: *const u8,
    name_length: usize,
    value: *mut proto_bytes,
) -> bool {
    // SAFETY: as promised.
    unsafe {
        let found = view(fields)
            .zip(bytes(name, name_length).and_then(|name| core::str::from_utf8(name).ok()))
            .and_then(|(fields, name)| fields.get(name));
        set(value, found.map_or(proto_bytes::EMPTY, proto_bytes::from));
        found.is_some()
    }
}

/// Whether the comma-separated list in the fields with this name has the token, both ignoring case, as `Connection` does.
///
/// The caller promises: `fields` is NULL or was written by this library, and its input is still there; the names point to as many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_field_has_token(
    fields: *const proto_http_fields,
    name: *const u8,
    name_length: usize,
    token: *const u8,
    token_length: usize,
) -> bool {
    // SAFETY: as promised.
    unsafe {
        let text = |data, length| bytes(data, length).and_then(|bytes| core::str::from_utf8(bytes).ok());
        match (view(fields), text(name, name_length), text(token, token_length)) {
            (Some(fields), Some(name), Some(token)) => fields.has_token(name, token),
            _ => false,
        }
    }
}

/// Writes up to `capacity` fields, in order, and returns how many there are. With 0 for `capacity` it only counts.
///
/// The caller promises: `fields` is NULL or was written by this library, and its input is still there; `list` has room for `capacity` fields.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_field_list(
    fields: *const proto_http_fields,
    list: *mut proto_field,
    capacity: usize,
) -> usize {
    // SAFETY: as promised.
    unsafe {
        let Some(fields) = view(fields) else { return 0 };
        let mut count = 0;
        for field in fields {
            if count < capacity && !list.is_null() {
                let field = proto_field {
                    name: field.name.as_bytes().into(),
                    value: field.value.into(),
                };
                list.add(count).write(field);
            }
            count += 1;
        }
        count
    }
}

/// Writes a time, in seconds since 1970 without leap seconds, as a Date field shows it, to 29 bytes at `date`: no zero byte
/// follows.
///
/// The caller promises: `date` is NULL or has room for 29 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_date(unix_seconds: u64, date: *mut u8) {
    // SAFETY: as promised.
    unsafe { set(date.cast(), proto_http::imf_fixdate(unix_seconds)) }
}

/// Reads a body behind a head that was read by other means. `proto_http_body_init` begins it.
#[repr(C)]
#[derive(Debug)]
pub struct proto_http_body {
    /// Not for programs.
    pub opaque: [MaybeUninit<u64>; 4],
}
holds!(proto_http_body, BodyDecoder);

/// Begins a body of `kind`, a `proto_http_body_kind`; `content_length` is for `PROTO_HTTP_BODY_LENGTH`.
///
/// The caller promises: `body` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_body_init(body: *mut proto_http_body, kind: u32, content_length: u64) -> i32 {
    let Some(length) = body_length(kind, content_length) else {
        return PROTO_ARGUMENT;
    };
    // SAFETY: as promised.
    unsafe { proto_http_body::put(body, BodyDecoder::new(length)) }
}

/// Takes the next piece off `data`. `PROTO_EVENT`: `piece` has content, or is empty when the body has ended; then `trailers` was
/// written. `PROTO_MORE`: call again with the bytes behind `used` and newer ones. A violation: the connection is to be closed.
///
/// `rules` may be NULL: those of requests. `trailers` may be NULL.
///
/// The caller promises: `body` was begun; `data` points to `length` bytes; the other pointers may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_body_next(
    body: *mut proto_http_body,
    rules: *const proto_http_rules,
    data: *const u8,
    length: usize,
    used: *mut usize,
    piece: *mut proto_bytes,
    trailers: *mut proto_http_fields,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(body), Some(mut input)) = (proto_http_body::state(body), bytes(data, length)) else {
            return PROTO_NULL;
        };
        if used.is_null() || piece.is_null() {
            return PROTO_NULL;
        }
        let result = with_rules(rules, &Rules::DEFAULT, |rules| body.next(&mut input, rules));
        set(used, length - input.len());
        match result {
            Ok(Some(Piece::Data(data))) => {
                set(piece, data.into());
                PROTO_EVENT
            }
            Ok(Some(Piece::End(fields))) => {
                set(piece, proto_bytes::EMPTY);
                set(trailers, fields.into());
                PROTO_EVENT
            }
            Ok(None) => PROTO_MORE,
            Err(violation) => error::http_kind(violation.kind()),
        }
    }
}

/// The connection has ended. `PROTO_OK` if the body was complete, else `PROTO_HTTP_TRUNCATED`.
///
/// The caller promises: `body` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_body_eof(body: *mut proto_http_body) -> i32 {
    // SAFETY: as promised.
    match unsafe { proto_http_body::state(body) } {
        None => PROTO_NULL,
        Some(body) => crate::buffer::status(body.eof(), |violation| error::http_kind(violation.kind())),
    }
}
