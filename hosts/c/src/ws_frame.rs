//! WebSocket frames, without a connection.

use core::mem::MaybeUninit;

use proto_http::Buffer;
use proto_ws::frame::{Header, Opcode, RSV};
use proto_ws::mask::Mask;
use proto_ws::{Decoder, Event, Kind, Limits, Message, Role};

use crate::buffer::{Out, bytes, bytes_mut, holds, proto_buffer, proto_bytes, set};
use crate::error::{self, PROTO_ARGUMENT, PROTO_EVENT, PROTO_MORE, PROTO_NO_SPACE, PROTO_NULL, PROTO_OK};

/// This side of a WebSocket connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum proto_ws_role {
    /// Takes masked frames, sends unmasked ones.
    PROTO_WS_SERVER = 0,
    /// Takes unmasked frames, sends masked ones.
    PROTO_WS_CLIENT = 1,
}

/// What an event of WebSocket is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum proto_ws_event_kind {
    /// A whole message, in `data`.
    PROTO_WS_MESSAGE = 0,
    /// A part of a message that is not complete in the input. Parts of text end between characters; a part may be empty.
    PROTO_WS_PART = 1,
    /// A Ping, whose payload is in `data`. A `proto_ws_decoder` leaves the answer to the program, a `proto_ws` has answered.
    PROTO_WS_PING = 2,
    /// A Pong.
    PROTO_WS_PONG = 3,
    /// A Close frame: `code`, and the reason in `data`. No event follows.
    PROTO_WS_CLOSE = 4,
}

/// An event of WebSocket. `data` lies in the input, or in the state: it is valid until the next call with either.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_ws_event {
    /// What it is.
    pub kind: proto_ws_event_kind,
    /// Messages and parts: whether it is text, which was checked to be UTF-8.
    pub text: bool,
    /// Parts: whether it is the last of its message.
    pub last: bool,
    /// Close: the code, 1005 if the frame had none (RFC 6455 section 7.4).
    pub code: u16,
    /// The payload.
    pub data: proto_bytes,
}

impl From<Event<'_>> for proto_ws_event {
    #[inline]
    fn from(event: Event<'_>) -> Self {
        let of = |kind, message: Message<'_>, last| proto_ws_event {
            kind,
            text: message.kind() == Kind::Text,
            last,
            code: 0,
            data: message.as_bytes().into(),
        };
        match event {
            Event::Message(message) => of(proto_ws_event_kind::PROTO_WS_MESSAGE, message, true),
            Event::Part { part, last } => of(proto_ws_event_kind::PROTO_WS_PART, part, last),
            Event::Ping(payload) => of(proto_ws_event_kind::PROTO_WS_PING, Message::Binary(payload), true),
            Event::Close(reason) => proto_ws_event {
                code: reason.code.get(),
                ..of(proto_ws_event_kind::PROTO_WS_CLOSE, Message::Text(reason.reason), true)
            },
            Event::Pong(payload) => of(proto_ws_event_kind::PROTO_WS_PONG, Message::Binary(payload), true),
            // Only for decoders of compressed messages, which this library does not make.
            _ => of(proto_ws_event_kind::PROTO_WS_PART, Message::Binary(b""), false),
        }
    }
}

/// Limits on a WebSocket peer. Fill it by `proto_ws_limits_default`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_ws_limits {
    /// Bytes of one frame. 1 MiB.
    pub frame: u64,
    /// Bytes of one message. 1 MiB.
    pub message: u64,
    /// Frames of one message. 16,384.
    pub fragments: u32,
    /// Frames without payload in one message. 16.
    pub empty_fragments: u32,
    /// Pings and unasked Pongs before `proto_ws_refill`. 256. Only a `proto_ws` enforces it.
    pub control_frames: u32,
}

impl proto_ws_limits {
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.frame = self.frame;
        limits.message = self.message;
        limits.fragments = self.fragments;
        limits.empty_fragments = self.empty_fragments;
        limits.control_frames = self.control_frames;
        limits
    }
}

/// Writes the default limits.
///
/// The caller promises: `limits` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_limits_default(limits: *mut proto_ws_limits) {
    let default = Limits::default();
    let value = proto_ws_limits {
        frame: default.frame,
        message: default.message,
        fragments: default.fragments,
        empty_fragments: default.empty_fragments,
        control_frames: default.control_frames,
    };
    // SAFETY: as promised.
    unsafe { set(limits, value) }
}

/// Decodes frames into messages and parts, without allocating: a reader of frames, a packet-capture tool, a small machine. It
/// answers nothing; `proto_ws` is the whole connection. `proto_ws_decoder_init` begins it. Owns no memory.
#[repr(C)]
#[derive(Debug)]
pub struct proto_ws_decoder {
    /// Not for programs.
    pub opaque: [MaybeUninit<u64>; 11],
}
holds!(proto_ws_decoder, Decoder);

pub(crate) fn role(role: u32) -> Option<Role> {
    match role {
        0 => Some(Role::Server),
        1 => Some(Role::Client),
        _ => None,
    }
}

/// Begins a decoder of the frames that arrive at `role`, a `proto_ws_role`. `limits` may be NULL.
///
/// The caller promises: `decoder` is NULL or may be written; `limits` is NULL or points to limits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_decoder_init(
    decoder: *mut proto_ws_decoder,
    at: u32,
    limits: *const proto_ws_limits,
) -> i32 {
    let Some(role) = role(at) else { return PROTO_ARGUMENT };
    // SAFETY: as promised.
    unsafe {
        let limits = limits.as_ref().map_or_else(Limits::default, proto_ws_limits::limits);
        proto_ws_decoder::put(decoder, Decoder::new(role, limits))
    }
}

/// Takes the next event off `data`, which is unmasked in place. Sets `used` to the bytes that it took, with `PROTO_MORE` too; at most 130 are left
/// over. `PROTO_EVENT`, `PROTO_MORE`, or a violation, which every later call repeats: send a Close frame with
/// `proto_error_close_code`.
///
/// The caller promises: `decoder` was begun; `data` points to `length` bytes that may be written; `used` and `event` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_decoder_next(
    decoder: *mut proto_ws_decoder,
    data: *mut u8,
    length: usize,
    used: *mut usize,
    event: *mut proto_ws_event,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(decoder), Some(mut input)) = (proto_ws_decoder::state(decoder), bytes_mut(data, length)) else {
            return PROTO_NULL;
        };
        if used.is_null() || event.is_null() {
            return PROTO_NULL;
        }
        let code = match decoder.next(&mut input) {
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

/// The header of a frame (RFC 6455 section 5.2).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_ws_header {
    /// Bytes of payload, at most 2^63 - 1.
    pub length: u64,
    /// 0 continuation, 1 text, 2 binary, 8 Close, 9 Ping, 10 Pong.
    pub opcode: u8,
    /// The reserved bits, in their place in the first byte: a part of 0x70.
    pub rsv: u8,
    /// Whether it is the last frame of its message.
    pub fin: bool,
    /// Whether the payload is masked.
    pub masked: bool,
    /// The masking key.
    pub key: [u8; 4],
}

/// Reads a header. `PROTO_EVENT`: `header` was written, and it takes `used` bytes. `PROTO_MORE`: it is not complete. A violation:
/// a reserved opcode, or a length that is not in its shortest form. Checks no roles and limits.
///
/// The caller promises: `data` points to `length` bytes; `header` and `used` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_header_read(
    data: *const u8,
    length: usize,
    header: *mut proto_ws_header,
    used: *mut usize,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let Some(input) = bytes(data, length) else {
            return PROTO_NULL;
        };
        if header.is_null() || used.is_null() {
            return PROTO_NULL;
        }
        match Header::decode(input) {
            Ok(None) => PROTO_MORE,
            Err(violation) => error::ws_violation(violation),
            Ok(Some((found, took))) => {
                let value = proto_ws_header {
                    length: found.len,
                    opcode: found.opcode as u8,
                    rsv: found.rsv,
                    fin: found.fin,
                    masked: found.mask.is_some(),
                    key: found.mask.unwrap_or_default(),
                };
                set(header, value);
                set(used, took);
                PROTO_EVENT
            }
        }
    }
}

/// Appends a frame: the header, with `payload_length` in place of its length, and the payload, masked if the header says so. With
/// `payload` NULL only the header, with its own length; the payload is then sent by other means.
///
/// The caller promises: `header` is NULL or points to a header; `payload` is NULL or points to as many bytes; `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_frame_write(
    header: *const proto_ws_header,
    payload: *const u8,
    payload_length: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(header), Some(mut out)) = (header.as_ref(), Out::new(out)) else {
            return PROTO_NULL;
        };
        let alone = payload.is_null() && payload_length == 0;
        let Some(payload) = bytes(payload, payload_length) else {
            return PROTO_NULL;
        };
        let Ok(opcode) = Opcode::new(header.opcode) else {
            return PROTO_ARGUMENT;
        };
        let length = if alone { header.length } else { payload.len() as u64 };
        if header.rsv & !RSV != 0 || length >> 63 != 0 {
            return PROTO_ARGUMENT;
        }
        let head = Header {
            fin: header.fin,
            rsv: header.rsv,
            opcode,
            mask: header.masked.then_some(header.key),
            len: length,
        };
        let start = out.position();
        if out.put(&head.encode()).is_err() {
            return PROTO_NO_SPACE;
        }
        let body = out.position();
        if out.put(payload).is_err() {
            out.rewind(start);
            return PROTO_NO_SPACE;
        }
        if header.masked {
            Mask::new(header.key).apply(out.appended(body));
        }
        PROTO_OK
    }
}

/// Masks or unmasks a payload in place with the 4 bytes at `key`. `offset` is the place of its first byte in the frame's payload,
/// for payloads that come in pieces.
///
/// The caller promises: `key` points to 4 bytes, `payload` to `length` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_ws_mask(key: *const u8, offset: u64, payload: *mut u8, length: usize) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(key), Some(payload)) = (key.cast::<[u8; 4]>().as_ref(), bytes_mut(payload, length)) else {
            return PROTO_NULL;
        };
        Mask::new(*key).advanced((offset % 4) as usize).apply(payload);
        PROTO_OK
    }
}
