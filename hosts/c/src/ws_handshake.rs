//! The opening handshake of WebSocket (RFC 6455 section 4).

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use bytes::BytesMut;
use proto_http::{Buffer, FieldLines};
use proto_ws::handshake::server::{OriginPolicy, Request as Asked};
use proto_ws::handshake::{Accept, Key, client};

use crate::buffer::{Out, bytes, fields, proto_buffer, proto_bytes, proto_field, set, text};
use crate::error::{self, PROTO_NO_SPACE, PROTO_NULL, PROTO_OK};
use crate::http_head::{proto_http_head, view};
use crate::http_server::proto_http_server;

/// How a server treats an opening handshake. All zero: only pages of the request's own host, no subprotocol.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_ws_upgrade_options {
    /// Whether pages of any site may connect, with their visitors' cookies. For servers that do not authenticate by cookies.
    pub any_origin: bool,
    /// Origins that may connect, such as `https://example.com`, in place of the own host.
    pub origins: *const proto_bytes,
    /// Their number; 0 for the own host.
    pub origin_count: usize,
    /// The subprotocols of the server; the first that the client offers is chosen.
    pub protocols: *const proto_bytes,
    /// Their number.
    pub protocol_count: usize,
}

/// # Safety
///
/// `list` points to `count` texts, which live for `'a`.
unsafe fn texts<'a>(list: *const proto_bytes, count: usize) -> Result<Vec<&'a str>, i32> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if list.is_null() || count > 1 << 16 {
        return Err(PROTO_NULL);
    }
    // SAFETY: as promised.
    let list = unsafe { core::slice::from_raw_parts(list, count) };
    // SAFETY: as promised.
    list.iter().map(|one| unsafe { text(one.data, one.length) }).collect()
}

/// What a server wants of a handshake.
pub(crate) struct Options<'a> {
    policy: OriginPolicy,
    protocols: Vec<&'a str>,
}

impl Options<'_> {
    /// # Safety
    ///
    /// `options` is NULL or points to options whose lists are there.
    pub(crate) unsafe fn new<'a>(options: *const proto_ws_upgrade_options) -> Result<Options<'a>, i32> {
        // SAFETY: as promised.
        let Some(options) = (unsafe { options.as_ref() }) else {
            return Ok(Options {
                policy: OriginPolicy::SameHost,
                protocols: Vec::new(),
            });
        };
        // SAFETY: as promised.
        let origins = unsafe { texts(options.origins, options.origin_count) }?;
        let policy = if options.any_origin {
            OriginPolicy::Any
        } else if origins.is_empty() {
            OriginPolicy::SameHost
        } else {
            OriginPolicy::OneOf {
                origins: origins.into_iter().map(str::to_owned).collect(),
                required: false,
            }
        };
        // SAFETY: as promised.
        let protocols = unsafe { texts(options.protocols, options.protocol_count) }?;
        Ok(Options { policy, protocols })
    }

    /// The request, if this server accepts it.
    pub(crate) fn read<'r>(
        &self,
        method: &str,
        lines: impl IntoIterator<Item = (&'r str, &'r [u8])>,
    ) -> Result<proto_ws::handshake::server::Response<'r>, proto_ws::handshake::server::Rejection> {
        let asked = Asked::read(method, lines)?;
        asked.check_origin(&self.policy)?;
        Ok(asked.accept().protocol(|offered| self.protocols.contains(&offered)))
    }
}

/// Answers a request for WebSocket on an HTTP connection: the 101, after which the input belongs to a `proto_ws`, or, with an error
/// `PROTO_WS_REJECT_`, the response that refuses it, after which the connection is one of HTTP as before. `protocol`, which may be
/// NULL, gets the subprotocol that was chosen, in the request's bytes; empty if none was. `options` may be NULL.
///
/// The caller promises: `server` was begun; `head` is that of its current request, whose input is still there; `options` is NULL or points to options;
/// `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_upgrade(
    server: *mut proto_http_server,
    head: *const proto_http_head,
    options: *const proto_ws_upgrade_options,
    protocol: *mut proto_bytes,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(connection), Some(head), Some(mut out)) =
            (proto_http_server::state(server), head.as_ref(), Out::new(out))
        else {
            return PROTO_NULL;
        };
        let (Some(lines), Ok(method)) = (view(&raw const head.fields), text(head.method.data, head.method.length))
        else {
            return PROTO_NULL;
        };
        let options = match Options::new(options) {
            Ok(options) => options,
            Err(error) => return error,
        };
        set(protocol, proto_bytes::EMPTY);
        match options.read(method, lines.iter().map(|field| (field.name, field.value))) {
            Ok(response) => {
                let fields: Vec<_> = response.fields().collect();
                if let Err(misuse) = connection.switch(101, fields.as_slice(), &mut out) {
                    return error::http_misuse(misuse);
                }
                let chosen = response.chosen_protocol();
                set(
                    protocol,
                    chosen.map_or(proto_bytes::EMPTY, |name| name.as_bytes().into()),
                );
                PROTO_OK
            }
            Err(rejection) => match connection.respond(rejection.status(), rejection.fields(), b"", None, &mut out) {
                Ok(()) => error::ws_rejection(rejection),
                Err(misuse) => error::http_misuse(misuse),
            },
        }
    }
}

/// Writes the 28 bytes of the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key, for programs that write the 101 themselves.
/// `PROTO_WS_REJECT_KEY` if it is no key.
///
/// The caller promises: `key` points to `length` bytes, `accept` to room for 28.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_accept(key: *const u8, length: usize, accept: *mut u8) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let Some(key) = bytes(key, length) else {
            return PROTO_NULL;
        };
        if accept.is_null() {
            return PROTO_NULL;
        }
        match core::str::from_utf8(key) {
            Ok(key) if Key::is_valid(key) => {
                let value = Accept::new(key);
                accept.copy_from_nonoverlapping(value.as_str().as_ptr(), value.as_str().len());
                PROTO_OK
            }
            _ => error::PROTO_WS_REJECT_KEY,
        }
    }
}

/// Appends a client's request. `nonce` is 16 random bytes, used once; `proto_ws_verify` needs them again. `list` holds further
/// fields, such as `Origin` or `Cookie`.
///
/// The caller promises: The texts point to as many bytes, `nonce` to 16, the lists to as many members; `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_request(
    host: *const u8,
    host_length: usize,
    target: *const u8,
    target_length: usize,
    nonce: *const u8,
    protocols: *const proto_bytes,
    protocol_count: usize,
    list: *const proto_field,
    count: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(nonce), Some(list), Some(mut out)) =
            (nonce.cast::<[u8; 16]>().as_ref(), fields(list, count), Out::new(out))
        else {
            return PROTO_NULL;
        };
        if let Err(misuse) = list.check() {
            return error::http_misuse(misuse);
        }
        let (host, target, protocols) = match (
            text(host, host_length),
            text(target, target_length),
            texts(protocols, protocol_count),
        ) {
            (Ok(host), Ok(target), Ok(protocols)) => (host, target, protocols),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return error,
        };
        let list: Result<Vec<_>, _> = list
            .iter()
            .map(|(name, value)| {
                Ok((
                    core::str::from_utf8(name.as_ref())?,
                    core::str::from_utf8(value.as_ref())?,
                ))
            })
            .collect::<Result<_, core::str::Utf8Error>>();
        let Ok(list) = list else { return error::PROTO_NOT_UTF8 };
        let mut head = BytesMut::new();
        let request = client::Request::new(host, target).protocols(&protocols).fields(&list);
        match request.write(&Key::new(*nonce), &mut head) {
            Err(bad) => error::ws_bad_request(bad),
            Ok(()) => out.put(&head).map_or(PROTO_NO_SPACE, |()| PROTO_OK),
        }
    }
}

/// Checks the server's answer to `proto_ws_request`, read by `proto_http_response_parse`: `PROTO_OK` if the connection is open,
/// else `PROTO_WS_REFUSED_`: drop the connection. Skip informational responses other than 101 before. `protocol`, which may be NULL,
/// gets the one of `protocols` that the server has chosen.
///
/// The caller promises: `head` was written by this library, and its input is still there; `nonce` points to 16 bytes, `protocols` to as many texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_verify(
    head: *const proto_http_head,
    nonce: *const u8,
    protocols: *const proto_bytes,
    protocol_count: usize,
    protocol: *mut proto_bytes,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(head), Some(nonce)) = (head.as_ref(), nonce.cast::<[u8; 16]>().as_ref()) else {
            return PROTO_NULL;
        };
        let Some(lines) = view(&raw const head.fields) else {
            return PROTO_NULL;
        };
        let protocols = match texts(protocols, protocol_count) {
            Ok(protocols) => protocols,
            Err(error) => return error,
        };
        set(protocol, proto_bytes::EMPTY);
        let lines = lines.iter().map(|field| (field.name, field.value));
        let request = client::Request::new("", "/").protocols(&protocols);
        match request.verify(&Key::new(*nonce), head.status, lines) {
            Err(refusal) => error::ws_refusal(refusal),
            Ok(granted) => {
                set(
                    protocol,
                    granted
                        .protocol
                        .map_or(proto_bytes::EMPTY, |name| name.as_bytes().into()),
                );
                PROTO_OK
            }
        }
    }
}
