//! A WebSocket connection: whole messages, answers to Pings, the closing handshake.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::num::NonZeroUsize;

#[cfg(feature = "random")]
use ::proto_ws::entropy::PerThread;
use ::proto_ws::{CloseCode, Config, Connection, Masked, Message, Misuse, Role, State, Unmasked, Writer};
use bytes::{Buf, BytesMut};

use crate::buffer::{bytes, bytes_mut, proto_bytes, set, status, text};
use crate::error::{self, PROTO_ARGUMENT, PROTO_EVENT, PROTO_MORE, PROTO_NULL};
use crate::ws_frame::{proto_ws_event, proto_ws_limits, role};

/// The settings of a connection. Fill it by `proto_ws_config_default`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_ws_config {
    /// Limits on the peer.
    pub limits: proto_ws_limits,
    /// Whether messages that are not complete in the input come in parts, in place of being assembled. False.
    pub parts: bool,
    /// Longer messages are sent in frames of this size, so that Pings can pass between them. 0, the default: one frame each.
    pub fragment: usize,
}

/// Writes the default settings.
///
/// The caller promises: `config` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_config_default(config: *mut proto_ws_config) {
    // SAFETY: as promised.
    unsafe {
        let Some(config) = config.as_mut() else { return };
        crate::ws_frame::proto_ws_limits_default(&raw mut config.limits);
        config.parts = false;
        config.fragment = 0;
    }
}

/// A WebSocket connection after its opening handshake. It holds messages that are not complete, and the output that waits:
/// `proto_ws_output`. From the heap: `proto_ws_new` and `proto_ws_free`.
pub struct proto_ws {
    side: Side,
    out: BytesMut,
}

#[cfg(not(feature = "random"))]
#[cfg_attr(target_arch = "wasm32", link(wasm_import_module = "env"))]
unsafe extern "C" {
    /// Fills `length` bytes with what no peer can predict. The program provides it.
    fn proto_random(bytes: *mut u8, length: usize);
}

/// Random bytes of the program.
#[cfg(not(feature = "random"))]
struct PerThread;

#[cfg(not(feature = "random"))]
impl ::proto_ws::Entropy for PerThread {
    fn fill(&mut self, bytes: &mut [u8]) {
        // SAFETY: the bytes are there.
        unsafe { proto_random(bytes.as_mut_ptr(), bytes.len()) }
    }
}

enum Side {
    Server(Connection<Unmasked>),
    Client(Connection<Masked<PerThread>>),
}

impl proto_ws {
    fn write(&mut self, write: impl FnOnce(&mut dyn Writes, &mut BytesMut) -> Result<(), Misuse>) -> i32 {
        let writer: &mut dyn Writes = match &mut self.side {
            Side::Server(connection) => &mut connection.writer,
            Side::Client(connection) => &mut connection.writer,
        };
        status(write(writer, &mut self.out), error::ws_misuse)
    }
}

/// What both roles write.
trait Writes {
    fn message(&mut self, out: &mut BytesMut, message: Message<'_>) -> Result<(), Misuse>;
    fn part(&mut self, out: &mut BytesMut, part: Message<'_>, last: bool) -> Result<(), Misuse>;
    fn ping(&mut self, out: &mut BytesMut, payload: &[u8]) -> Result<(), Misuse>;
    fn pong(&mut self, out: &mut BytesMut, payload: &[u8]) -> Result<(), Misuse>;
    fn close(&mut self, out: &mut BytesMut, code: CloseCode, reason: &str) -> Result<(), Misuse>;
}

impl<S: ::proto_ws::Side> Writes for Writer<S> {
    fn message(&mut self, out: &mut BytesMut, message: Message<'_>) -> Result<(), Misuse> {
        Writer::message(self, out, message)
    }

    fn part(&mut self, out: &mut BytesMut, part: Message<'_>, last: bool) -> Result<(), Misuse> {
        Writer::part(self, out, part, last)
    }

    fn ping(&mut self, out: &mut BytesMut, payload: &[u8]) -> Result<(), Misuse> {
        Writer::ping(self, out, payload)
    }

    fn pong(&mut self, out: &mut BytesMut, payload: &[u8]) -> Result<(), Misuse> {
        Writer::pong(self, out, payload)
    }

    fn close(&mut self, out: &mut BytesMut, code: CloseCode, reason: &str) -> Result<(), Misuse> {
        Writer::close(self, out, code, reason)
    }
}

/// The progress of the closing handshake.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum proto_ws_state {
    /// Messages go both ways.
    PROTO_WS_OPEN = 0,
    /// A Close frame was sent; messages may still arrive.
    PROTO_WS_CLOSING = 1,
    /// Both Close frames have passed: end the stream when the output was sent. A client waits for the server to end it.
    PROTO_WS_CLOSED = 2,
    /// The peer broke the protocol, or the stream ended early: send the output, then end the stream.
    PROTO_WS_FAILED = 3,
}

/// Makes a connection for `at`, a `proto_ws_role`. `config` may be NULL. Returns NULL for another role. Aborts the process if no
/// memory is left, as all functions of a `proto_ws` do.
///
/// The caller promises: `config` is NULL or points to settings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_new(at: u32, config: *const proto_ws_config) -> *mut proto_ws {
    let mut settings = Config::default();
    // SAFETY: as promised.
    if let Some(config) = unsafe { config.as_ref() } {
        settings.limits = config.limits.limits();
        settings.parts = config.parts;
        settings.fragment = NonZeroUsize::new(config.fragment);
    }
    let settings = Arc::new(settings);
    let side = match role(at) {
        Some(Role::Server) => Side::Server(Connection::server(settings)),
        Some(Role::Client) => Side::Client(Connection::client(settings, PerThread)),
        None => return core::ptr::null_mut(),
    };
    let out = BytesMut::new();
    Box::into_raw(Box::new(proto_ws { side, out }))
}

/// Frees a connection. NULL is ignored.
///
/// The caller promises: `ws` is NULL or from `proto_ws_new`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_free(ws: *mut proto_ws) {
    if !ws.is_null() {
        // SAFETY: as promised.
        drop(unsafe { Box::from_raw(ws) });
    }
}

/// Takes the next event off `data`, which is unmasked in place. Sets `used` to the bytes that it took, with `PROTO_MORE` too; at most 130 are left over.
/// Pings are answered and Close frames echoed by themselves: whatever this returns, output may wait. `PROTO_EVENT`, `PROTO_MORE`,
/// or a violation: the Close frame that reports it is in the output; send it, then end the stream.
///
/// The caller promises: `ws` is from `proto_ws_new`; `data` points to `length` bytes that may be written; `used` and `event` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_next(
    ws: *mut proto_ws,
    data: *mut u8,
    length: usize,
    used: *mut usize,
    event: *mut proto_ws_event,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(ws), Some(mut input)) = (ws.as_mut(), bytes_mut(data, length)) else {
            return PROTO_NULL;
        };
        if used.is_null() || event.is_null() {
            return PROTO_NULL;
        }
        let out = &mut ws.out;
        let next = match &mut ws.side {
            Side::Server(Connection { reader, writer }) => reader.next(writer, &mut input, out),
            Side::Client(Connection { reader, writer }) => reader.next(writer, &mut input, out),
        };
        let code = match next {
            Ok(Some(found)) => {
                set(event, found.into());
                PROTO_EVENT
            }
            Ok(None) => PROTO_MORE,
            Err(violation) => error::ws_violation(violation),
        };
        set(used, length - input.len());
        code
    }
}

/// The bytes that wait to be sent; valid until the next call with `ws`. Empty for NULL.
///
/// The caller promises: `ws` is NULL or from `proto_ws_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_output(ws: *const proto_ws) -> proto_bytes {
    // SAFETY: as promised.
    unsafe { ws.as_ref() }.map_or(proto_bytes::EMPTY, |ws| ws.out.as_ref().into())
}

/// Removes the first `count` bytes of the output, which were sent.
///
/// The caller promises: `ws` is NULL or from `proto_ws_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_sent(ws: *mut proto_ws, count: usize) {
    // SAFETY: as promised.
    if let Some(ws) = unsafe { ws.as_mut() } {
        ws.out.advance(count.min(ws.out.len()));
        if ws.out.is_empty() {
            ws.out.clear();
        }
    }
}

/// # Safety
///
/// `data` points to `length` bytes that live for `'a`.
unsafe fn message<'a>(is_text: bool, data: *const u8, length: usize) -> Result<Message<'a>, i32> {
    // SAFETY: as promised.
    unsafe {
        if is_text {
            text(data, length).map(Message::Text)
        } else {
            bytes(data, length).map(Message::Binary).ok_or(PROTO_NULL)
        }
    }
}

/// Sends a message, of text or bytes. Text must be UTF-8.
///
/// The caller promises: `ws` is from `proto_ws_new`; `data` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_message(ws: *mut proto_ws, is_text: bool, data: *const u8, length: usize) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let Some(ws) = ws.as_mut() else { return PROTO_NULL };
        match message(is_text, data, length) {
            Err(error) => error,
            Ok(message) => ws.write(|writer, out| writer.message(out, message)),
        }
    }
}

/// Sends the next part of a message as a frame, the `last` one with FIN. Parts of text end between characters.
///
/// The caller promises: As for `proto_ws_message`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_part(
    ws: *mut proto_ws,
    is_text: bool,
    last: bool,
    data: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let Some(ws) = ws.as_mut() else { return PROTO_NULL };
        match message(is_text, data, length) {
            Err(error) => error,
            Ok(part) => ws.write(|writer, out| writer.part(out, part, last)),
        }
    }
}

/// Sends a Ping of at most 125 bytes.
///
/// The caller promises: As for `proto_ws_message`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_ping(ws: *mut proto_ws, data: *const u8, length: usize) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(ws), Some(payload)) = (ws.as_mut(), bytes(data, length)) else {
            return PROTO_NULL;
        };
        ws.write(|writer, out| writer.ping(out, payload))
    }
}

/// Sends a Pong that nobody asked for, of at most 125 bytes.
///
/// The caller promises: As for `proto_ws_message`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_pong(ws: *mut proto_ws, data: *const u8, length: usize) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(ws), Some(payload)) = (ws.as_mut(), bytes(data, length)) else {
            return PROTO_NULL;
        };
        ws.write(|writer, out| writer.pong(out, payload))
    }
}

/// Begins the closing handshake with a code that may be sent (RFC 6455 section 7.4) and a reason of at most 123 bytes of UTF-8. A
/// code of 1005 sends a frame without a code.
///
/// The caller promises: As for `proto_ws_message`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_close(ws: *mut proto_ws, code: u16, reason: *const u8, length: usize) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let Some(ws) = ws.as_mut() else { return PROTO_NULL };
        let reason = match text(reason, length) {
            Ok(reason) => reason,
            Err(error) => return error,
        };
        let code = match code {
            1005 => CloseCode::NO_STATUS,
            code => match CloseCode::new(code) {
                Some(code) => code,
                None => return PROTO_ARGUMENT,
            },
        };
        ws.write(|writer, out| writer.close(out, code, reason))
    }
}

/// The stream has ended. Returns whether the closing handshake was complete; else the peer went away (1006). False for NULL.
///
/// The caller promises: `ws` is NULL or from `proto_ws_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_eof(ws: *mut proto_ws) -> bool {
    // SAFETY: as promised.
    match unsafe { ws.as_mut() }.map(|ws| &mut ws.side) {
        None => false,
        Some(Side::Server(connection)) => connection.writer.end(),
        Some(Side::Client(connection)) => connection.writer.end(),
    }
}

/// Lets the peer send `frames` more control frames, up to the limit. The owner of the clock calls it, some times a second.
///
/// The caller promises: `ws` is NULL or from `proto_ws_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_refill(ws: *mut proto_ws, frames: u32) {
    // SAFETY: as promised.
    match unsafe { ws.as_mut() }.map(|ws| &mut ws.side) {
        None => {}
        Some(Side::Server(connection)) => connection.writer.refill(frames),
        Some(Side::Client(connection)) => connection.writer.refill(frames),
    }
}

/// The progress of the closing handshake: a `proto_ws_state`. Failed for NULL.
///
/// The caller promises: `ws` is NULL or from `proto_ws_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_get_state(ws: *const proto_ws) -> proto_ws_state {
    // SAFETY: as promised.
    let state = match unsafe { ws.as_ref() }.map(|ws| &ws.side) {
        None => State::Failed,
        Some(Side::Server(connection)) => connection.writer.state(),
        Some(Side::Client(connection)) => connection.writer.state(),
    };
    match state {
        State::Open => proto_ws_state::PROTO_WS_OPEN,
        State::Closing => proto_ws_state::PROTO_WS_CLOSING,
        State::Closed => proto_ws_state::PROTO_WS_CLOSED,
        State::Failed => proto_ws_state::PROTO_WS_FAILED,
    }
}
