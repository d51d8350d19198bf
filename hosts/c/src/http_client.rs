//! The client's side of an HTTP/1.1 connection.

use core::mem::MaybeUninit;

use proto_http::{ClientConnection, ClientEvent, Rules};

use crate::buffer::{Out, bytes, bytes_mut, fields, holds, proto_buffer, proto_field, set, status, text};
use crate::error::{self, PROTO_ARGUMENT, PROTO_EVENT, PROTO_MORE, PROTO_NULL};
use crate::http_head::body_length;
use crate::http_rules::{proto_http_rules, with_rules};
use crate::http_server::{proto_http_event, proto_http_event_kind};

/// The client's side of an HTTP/1.1 connection. Holds no bytes and owns no memory. `proto_http_client_init` begins it.
#[repr(C)]
#[derive(Debug)]
pub struct proto_http_client {
    /// Not for programs.
    pub opaque: [MaybeUninit<u64>; 8],
}
holds!(proto_http_client, ClientConnection);

/// Begins a connection, before its first request.
///
/// The caller promises: `client` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_client_init(client: *mut proto_http_client) -> i32 {
    // SAFETY: as promised.
    unsafe { proto_http_client::put(client, ClientConnection::new()) }
}

/// Appends the head of a request. With a body, a `proto_http_body_kind`, content follows by `proto_http_client_data` and ends by
/// `proto_http_client_finish`. `list` must have exactly one Host.
///
/// The caller promises: `client` was begun; the texts point to as many bytes, `list` to `count` fields; `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_client_request(
    client: *mut proto_http_client,
    method: *const u8,
    method_length: usize,
    target: *const u8,
    target_length: usize,
    list: *const proto_field,
    count: usize,
    body: u32,
    content_length: u64,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(client), Some(fields), Some(mut out)) =
            (proto_http_client::state(client), fields(list, count), Out::new(out))
        else {
            return PROTO_NULL;
        };
        let (method, target) = match (text(method, method_length), text(target, target_length)) {
            (Ok(method), Ok(target)) => (method, target),
            (Err(error), _) | (_, Err(error)) => return error,
        };
        let Some(body) = body_length(body, content_length) else {
            return PROTO_ARGUMENT;
        };
        status(
            client.send_request(method, target, fields, body, &mut out),
            error::http_misuse,
        )
    }
}

/// Appends a GET, HEAD or OPTIONS before the earlier responses have arrived. Up to 33 may be under way; responses come in order.
///
/// The caller promises: As for `proto_http_client_request`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_client_pipeline(
    client: *mut proto_http_client,
    method: *const u8,
    method_length: usize,
    target: *const u8,
    target_length: usize,
    list: *const proto_field,
    count: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(client), Some(fields), Some(mut out)) =
            (proto_http_client::state(client), fields(list, count), Out::new(out))
        else {
            return PROTO_NULL;
        };
        let (method, target) = match (text(method, method_length), text(target, target_length)) {
            (Ok(method), Ok(target)) => (method, target),
            (Err(error), _) | (_, Err(error)) => return error,
        };
        status(client.pipeline(method, target, fields, &mut out), error::http_misuse)
    }
}

/// Appends content of a request.
///
/// The caller promises: `client` was begun; `data` points to `length` bytes; `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_client_data(
    client: *mut proto_http_client,
    data: *const u8,
    length: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(client), Some(data), Some(mut out)) =
            (proto_http_client::state(client), bytes(data, length), Out::new(out))
        else {
            return PROTO_NULL;
        };
        status(client.send_data(data, &mut out), error::http_misuse)
    }
}

/// Ends a request that has content, with `count` trailers if it goes in chunks.
///
/// The caller promises: As for `proto_http_client_request`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_client_finish(
    client: *mut proto_http_client,
    list: *const proto_field,
    count: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(client), Some(fields), Some(mut out)) =
            (proto_http_client::state(client), fields(list, count), Out::new(out))
        else {
            return PROTO_NULL;
        };
        status(client.finish(fields, &mut out), error::http_misuse)
    }
}

/// Takes the next event off `data`, as `proto_http_server_next` does. `data` is not const because folded fields are unfolded in
/// place (RFC 9112 section 5.2). After a violation, close the connection.
///
/// `rules` may be NULL: those of responses.
///
/// The caller promises: `client` was begun; `data` points to `length` bytes that may be written; `used` and `event` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_client_next(
    client: *mut proto_http_client,
    rules: *const proto_http_rules,
    data: *mut u8,
    length: usize,
    used: *mut usize,
    event: *mut proto_http_event,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(client), Some(input)) = (proto_http_client::state(client), bytes_mut(data, length)) else {
            return PROTO_NULL;
        };
        if used.is_null() || event.is_null() {
            return PROTO_NULL;
        }
        client.unfold(input);
        let mut input = &*input;
        let next = with_rules(rules, &Rules::RESPONSES, |rules| client.next(rules, &mut input));
        set(used, length - input.len());
        let kind = match next {
            Ok(None) => return PROTO_MORE,
            Err(violation) => return error::http_kind(violation.kind()),
            Ok(Some(ClientEvent::Response(ref response))) => {
                set(&raw mut (*event).head, response.into());
                proto_http_event_kind::PROTO_HTTP_HEAD
            }
            Ok(Some(ClientEvent::Informational(ref response))) => {
                set(&raw mut (*event).head, response.into());
                proto_http_event_kind::PROTO_HTTP_INFORMATIONAL
            }
            Ok(Some(ClientEvent::Data(data))) => {
                set(&raw mut (*event).data, data.into());
                proto_http_event_kind::PROTO_HTTP_DATA
            }
            Ok(Some(ClientEvent::End(trailers))) => {
                set(&raw mut (*event).trailers, trailers.into());
                proto_http_event_kind::PROTO_HTTP_END
            }
            Ok(Some(ClientEvent::Switched)) => proto_http_event_kind::PROTO_HTTP_SWITCHED,
            Ok(Some(ClientEvent::Closed)) => proto_http_event_kind::PROTO_HTTP_CLOSED,
        };
        set(&raw mut (*event).kind, kind);
        PROTO_EVENT
    }
}

/// The server has half-closed: no bytes follow. Call `proto_http_client_next` as before.
///
/// The caller promises: `client` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_client_eof(client: *mut proto_http_client) {
    // SAFETY: as promised.
    if let Some(client) = unsafe { proto_http_client::state(client) } {
        client.eof();
    }
}

/// Whether no exchange is under way, so that a request may be sent. False for NULL.
///
/// The caller promises: `client` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_client_is_idle(client: *const proto_http_client) -> bool {
    // SAFETY: as promised.
    unsafe { proto_http_client::state(client.cast_mut()) }.is_some_and(|client| client.is_idle())
}

/// Whether the connection must be closed: the last exchange is complete. False for NULL.
///
/// The caller promises: `client` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_http_client_must_close(client: *const proto_http_client) -> bool {
    // SAFETY: as promised.
    unsafe { proto_http_client::state(client.cast_mut()) }.is_some_and(|client| client.must_close())
}
