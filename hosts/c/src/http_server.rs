//! The server's side of an HTTP/1.1 connection.

use core::mem::MaybeUninit;

use proto_http::{DATE_LENGTH, Rules, ServerConnection, ServerEvent};

use crate::buffer::{Out, bytes, fields, holds, proto_buffer, proto_bytes, proto_field, set, status};
use crate::error::{self, PROTO_EVENT, PROTO_MORE, PROTO_NULL};
use crate::http_head::{proto_http_fields, proto_http_head};
use crate::http_rules::{proto_http_rules, with_rules};

/// What an event of a connection is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum proto_http_event_kind {
    /// The head of a request, or of a final response. A request whose body is empty is complete; a response has an end in any
    /// case.
    PROTO_HTTP_HEAD = 0,
    /// Content, in `data`.
    PROTO_HTTP_DATA = 1,
    /// The end of a body, with its `trailers`.
    PROTO_HTTP_END = 2,
    /// Servers: the request is complete and its answer is not. Nothing more is read until it is.
    PROTO_HTTP_PAUSED = 3,
    /// The connection is over.
    PROTO_HTTP_CLOSED = 4,
    /// Clients: the head of an informational response (1xx); the final one follows.
    PROTO_HTTP_INFORMATIONAL = 5,
    /// Clients: the server has switched; the rest of the input belongs to the other protocol.
    PROTO_HTTP_SWITCHED = 6,
}

/// An event of a connection. All bytes lie in the input, so they are valid as long as they stay there.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_http_event {
    /// What it is. The other members are written only as the kind says.
    pub kind: proto_http_event_kind,
    /// For `PROTO_HTTP_HEAD` and `PROTO_HTTP_INFORMATIONAL`.
    pub head: proto_http_head,
    /// For `PROTO_HTTP_DATA`; never empty.
    pub data: proto_bytes,
    /// For `PROTO_HTTP_END`.
    pub trailers: proto_http_fields,
}

/// The server's side of an HTTP/1.1 connection. Holds no bytes and owns no memory: put it where you like, copy it, forget it.
/// `proto_http_server_init` begins it. One exchange is under way at a time; pipelined requests wait in the input.
#[repr(C)]
#[derive(Debug)]
pub struct proto_http_server {
    /// Not for programs.
    pub opaque: [MaybeUninit<u64>; 7],
}
holds!(proto_http_server, ServerConnection);

/// # Safety
///
/// `date` is NULL or points to a Date.
unsafe fn date<'a>(date: *const u8) -> Option<&'a [u8; DATE_LENGTH]> {
    // SAFETY: as promised.
    unsafe { date.cast::<[u8; DATE_LENGTH]>().as_ref() }
}

/// Begins a connection, before its first request.
///
/// The caller promises: `server` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_init(server: *mut proto_http_server) -> i32 {
    // SAFETY: as promised.
    unsafe { proto_http_server::put(server, ServerConnection::new()) }
}

/// Takes the next event off `data`, which are all bytes not used so far. Sets `used` to the bytes that it took, with `PROTO_MORE`
/// too: they may go as soon as the event was handled. `PROTO_EVENT`, `PROTO_MORE`, or a violation: answer with
/// `proto_error_status` if `proto_http_server_can_respond`, then close.
///
/// `rules` may be NULL: those of requests.
///
/// The caller promises: `server` was begun; `data` points to `length` bytes; `used` and `event` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_next(
    server: *mut proto_http_server,
    rules: *const proto_http_rules,
    data: *const u8,
    length: usize,
    used: *mut usize,
    event: *mut proto_http_event,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(server), Some(mut input)) = (proto_http_server::state(server), bytes(data, length)) else {
            return PROTO_NULL;
        };
        if used.is_null() || event.is_null() {
            return PROTO_NULL;
        }
        let next = with_rules(rules, &Rules::DEFAULT, |rules| server.next(rules, &mut input));
        set(used, length - input.len());
        let kind = match next {
            Ok(None) => return PROTO_MORE,
            Err(violation) => return error::http_kind(violation.kind()),
            Ok(Some(ServerEvent::Request(ref request))) => {
                set(&raw mut (*event).head, request.into());
                proto_http_event_kind::PROTO_HTTP_HEAD
            }
            Ok(Some(ServerEvent::Data(data))) => {
                set(&raw mut (*event).data, data.into());
                proto_http_event_kind::PROTO_HTTP_DATA
            }
            Ok(Some(ServerEvent::End(trailers))) => {
                set(&raw mut (*event).trailers, trailers.into());
                proto_http_event_kind::PROTO_HTTP_END
            }
            Ok(Some(ServerEvent::Paused)) => proto_http_event_kind::PROTO_HTTP_PAUSED,
            Ok(Some(ServerEvent::Closed)) => proto_http_event_kind::PROTO_HTTP_CLOSED,
        };
        set(&raw mut (*event).kind, kind);
        PROTO_EVENT
    }
}

/// The client has half-closed: no bytes follow. Call `proto_http_server_next` as before.
///
/// The caller promises: `server` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_eof(server: *mut proto_http_server) {
    // SAFETY: as promised.
    if let Some(server) = unsafe { proto_http_server::state(server) } {
        server.eof();
    }
}

/// Appends a whole response. Its length is announced; the content is left out where the method or the status allows none.
/// `date` may be NULL; else it points to 29 bytes of `proto_http_date`. `list` may be NULL if `count` is 0. Content-Length and
/// Transfer-Encoding are the library's: in `list` they are `PROTO_HTTP_MISUSE_FRAMING_FIELD`.
///
/// The caller promises: `server` was begun; `list` points to `count` fields, `body` to `body_length` bytes; `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_respond(
    server: *mut proto_http_server,
    code: u16,
    list: *const proto_field,
    count: usize,
    body: *const u8,
    body_length: usize,
    date_field: *const u8,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(server), Some(fields)) = (proto_http_server::state(server), fields(list, count)) else {
            return PROTO_NULL;
        };
        let (Some(body), Some(mut out)) = (bytes(body, body_length), Out::new(out)) else {
            return PROTO_NULL;
        };
        status(
            server.respond(code, fields, body, date(date_field), &mut out),
            error::http_misuse,
        )
    }
}

/// Appends the head of a response whose content follows by `proto_http_server_data` and ends by `proto_http_server_finish`.
/// `content_length` of `UINT64_MAX` is unknown: the content goes in chunks, or for HTTP/1.0 up to the close.
///
/// The caller promises: As for `proto_http_server_respond`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_start(
    server: *mut proto_http_server,
    code: u16,
    list: *const proto_field,
    count: usize,
    content_length: u64,
    date_field: *const u8,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(server), Some(fields), Some(mut out)) =
            (proto_http_server::state(server), fields(list, count), Out::new(out))
        else {
            return PROTO_NULL;
        };
        let length = (content_length != u64::MAX).then_some(content_length);
        let result = server.send_response(code, fields, length, date(date_field), &mut out);
        status(result, error::http_misuse)
    }
}

/// Appends content of a started response.
///
/// The caller promises: `server` was begun; `data` points to `length` bytes; `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_data(
    server: *mut proto_http_server,
    data: *const u8,
    length: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(server), Some(data), Some(mut out)) =
            (proto_http_server::state(server), bytes(data, length), Out::new(out))
        else {
            return PROTO_NULL;
        };
        status(server.send_data(data, &mut out), error::http_misuse)
    }
}

/// Ends a started response, with `count` trailers, which go only where the content goes in chunks.
///
/// The caller promises: As for `proto_http_server_respond`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_finish(
    server: *mut proto_http_server,
    list: *const proto_field,
    count: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(server), Some(fields), Some(mut out)) =
            (proto_http_server::state(server), fields(list, count), Out::new(out))
        else {
            return PROTO_NULL;
        };
        status(server.finish(fields, &mut out), error::http_misuse)
    }
}

/// Appends an informational response: any status of 1xx but 101, such as the 100 that a client expects.
///
/// The caller promises: As for `proto_http_server_respond`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_inform(
    server: *mut proto_http_server,
    code: u16,
    list: *const proto_field,
    count: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(server), Some(fields), Some(mut out)) =
            (proto_http_server::state(server), fields(list, count), Out::new(out))
        else {
            return PROTO_NULL;
        };
        status(server.send_informational(code, fields, &mut out), error::http_misuse)
    }
}

/// Appends the response that hands the connection to another protocol: 101 with an `Upgrade` field, or 2xx to a CONNECT. For
/// WebSocket, `proto_ws_upgrade` does the whole handshake.
///
/// The caller promises: As for `proto_http_server_respond`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_switch(
    server: *mut proto_http_server,
    code: u16,
    list: *const proto_field,
    count: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(server), Some(fields), Some(mut out)) =
            (proto_http_server::state(server), fields(list, count), Out::new(out))
        else {
            return PROTO_NULL;
        };
        status(server.switch(code, fields, &mut out), error::http_misuse)
    }
}

/// Makes the current exchange the last: its answer, if not begun, says so.
///
/// The caller promises: `server` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_close_after(server: *mut proto_http_server) {
    // SAFETY: as promised.
    if let Some(server) = unsafe { proto_http_server::state(server) } {
        server.close_after();
    }
}

/// The request took too long: no event follows, and an answer, if still due, is the last.
///
/// The caller promises: `server` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_give_up(server: *mut proto_http_server) {
    // SAFETY: as promised.
    if let Some(server) = unsafe { proto_http_server::state(server) } {
        server.give_up();
    }
}

/// Whether a response is due and not begun. False for NULL.
///
/// The caller promises: `server` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_can_respond(server: *const proto_http_server) -> bool {
    // SAFETY: as promised.
    unsafe { proto_http_server::state(server.cast_mut()) }.is_some_and(|server| server.can_respond())
}

/// Whether the response is complete and the connection must be closed after it. False for NULL.
///
/// The caller promises: `server` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_must_close(server: *const proto_http_server) -> bool {
    // SAFETY: as promised.
    unsafe { proto_http_server::state(server.cast_mut()) }.is_some_and(|server| server.must_close())
}

/// Whether no exchange is under way. False for NULL.
///
/// The caller promises: `server` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_is_idle(server: *const proto_http_server) -> bool {
    // SAFETY: as promised.
    unsafe { proto_http_server::state(server.cast_mut()) }.is_some_and(|server| server.is_idle())
}

/// Whether the client waits for `100 Continue`. False for NULL.
///
/// The caller promises: `server` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_server_expects_continue(server: *const proto_http_server) -> bool {
    // SAFETY: as promised.
    unsafe { proto_http_server::state(server.cast_mut()) }.is_some_and(|server| server.expects_continue())
}
