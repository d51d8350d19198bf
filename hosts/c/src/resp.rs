//! RESP 2 and 3: a flat stream of events, both ways.

use core::mem::MaybeUninit;

use proto_resp::{Aggregate, Bulk, Decoder, Encoder, Event, Null, Rules, Version};

use crate::buffer::{Out, bytes, holds, proto_buffer, proto_bytes, set, status};
use crate::error::{self, PROTO_ARGUMENT, PROTO_EVENT, PROTO_MORE, PROTO_NULL};

/// What an item of a RESP stream is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum proto_resp_kind {
    /// `+`, in `data`.
    PROTO_RESP_KIND_SIMPLE = 0,
    /// `-`, in `data`; the first word is a code such as `ERR`.
    PROTO_RESP_KIND_ERROR = 1,
    /// `:`, in `integer`.
    PROTO_RESP_KIND_INTEGER = 2,
    /// `,`, in `number`. RESP3.
    PROTO_RESP_KIND_DOUBLE = 3,
    /// `#`: `integer` is 1 or 0. RESP3.
    PROTO_RESP_KIND_BOOLEAN = 4,
    /// `(`: digits, in `data`. RESP3.
    PROTO_RESP_KIND_BIG_NUMBER = 5,
    /// Null; `form` says which.
    PROTO_RESP_KIND_NULL = 6,
    /// A whole string, in `data`; `form` says which.
    PROTO_RESP_KIND_BULK = 7,
    /// The next bytes of a string that is not complete in the input; `integer` bytes follow them, -1 if that is unknown.
    PROTO_RESP_KIND_PART = 8,
    /// An aggregate begins; `form` says which. `integer` is the number of its elements or pairs, -1 if it is streamed.
    PROTO_RESP_KIND_BEGIN = 9,
    /// An aggregate has ended. `integer` is 1 if the stream says so by `.`, else 0.
    PROTO_RESP_KIND_END = 10,
}

/// The form of an item: the byte that it begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum proto_resp_form {
    /// No form.
    PROTO_RESP_FORM_NONE = 0,
    /// `$`: a string, or a null string of RESP2.
    PROTO_RESP_FORM_STRING = 36,
    /// `!`: an error with any bytes in it. RESP3.
    PROTO_RESP_FORM_ERROR = 33,
    /// `=`: text in an `encoding`. RESP3.
    PROTO_RESP_FORM_VERBATIM = 61,
    /// `_`: the null of RESP3.
    PROTO_RESP_FORM_NULL = 95,
    /// `*`: an array, or a null array of RESP2.
    PROTO_RESP_FORM_ARRAY = 42,
    /// `%`: pairs. RESP3.
    PROTO_RESP_FORM_MAP = 37,
    /// `~`: elements in no order. RESP3.
    PROTO_RESP_FORM_SET = 126,
    /// `>`: out-of-band data. RESP3.
    PROTO_RESP_FORM_PUSH = 62,
    /// `|`: pairs that describe the next item. RESP3.
    PROTO_RESP_FORM_ATTRIBUTE = 124,
}

/// An item, or a part of one. `data` lies in the input.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_resp_event {
    /// What it is: a `proto_resp_kind`.
    pub kind: u32,
    /// Its form: a `proto_resp_form`.
    pub form: u32,
    /// As the kind says.
    pub data: proto_bytes,
    /// As the kind says.
    pub integer: i64,
    /// As the kind says.
    pub number: f64,
    /// Of a verbatim string, such as `txt`.
    pub encoding: [u8; 3],
}

impl From<Event<'_>> for proto_resp_event {
    fn from(event: Event<'_>) -> Self {
        use proto_resp_form::*;
        use proto_resp_kind::*;
        let none = proto_resp_event {
            kind: PROTO_RESP_KIND_NULL as u32,
            form: PROTO_RESP_FORM_NONE as u32,
            data: proto_bytes::EMPTY,
            integer: 0,
            number: 0.0,
            encoding: [0; 3],
        };
        let of = |kind, form| proto_resp_event {
            kind: kind as u32,
            form,
            ..none
        };
        let string = |kind, bulk, data: &[u8], integer| {
            let (form, encoding) = match bulk {
                Bulk::String => (PROTO_RESP_FORM_STRING, [0; 3]),
                Bulk::Error => (PROTO_RESP_FORM_ERROR, [0; 3]),
                Bulk::Verbatim(encoding) => (PROTO_RESP_FORM_VERBATIM, encoding),
            };
            proto_resp_event {
                data: data.into(),
                integer,
                encoding,
                ..of(kind, form as u32)
            }
        };
        let text = |kind, data: &[u8]| proto_resp_event {
            data: data.into(),
            ..of(kind, 0)
        };
        let whole = |kind, integer| proto_resp_event { integer, ..of(kind, 0) };
        match event {
            Event::Simple(data) => text(PROTO_RESP_KIND_SIMPLE, data),
            Event::Error(data) => text(PROTO_RESP_KIND_ERROR, data),
            Event::Integer(integer) => whole(PROTO_RESP_KIND_INTEGER, integer),
            Event::Double(number) => proto_resp_event {
                number,
                ..of(PROTO_RESP_KIND_DOUBLE, 0)
            },
            Event::Boolean(value) => whole(PROTO_RESP_KIND_BOOLEAN, value.into()),
            Event::BigNumber(digits) => text(PROTO_RESP_KIND_BIG_NUMBER, digits.as_bytes()),
            Event::Null(null) => of(
                PROTO_RESP_KIND_NULL,
                match null {
                    Null::Null => PROTO_RESP_FORM_NULL,
                    Null::Bulk => PROTO_RESP_FORM_STRING,
                    Null::Array => PROTO_RESP_FORM_ARRAY,
                } as u32,
            ),
            Event::Bulk(bulk, data) => string(PROTO_RESP_KIND_BULK, bulk, data, 0),
            Event::Part { of, bytes, left } => {
                // Lengths are limited to far less than 2^63.
                let left = left.map_or(-1, |left| i64::try_from(left).unwrap_or(i64::MAX));
                string(PROTO_RESP_KIND_PART, of, bytes, left)
            }
            Event::Begin { kind, len } => proto_resp_event {
                integer: len.map_or(-1, i64::from),
                ..of(PROTO_RESP_KIND_BEGIN, u32::from(kind.byte()))
            },
            Event::End { kind, streamed } => proto_resp_event {
                integer: streamed.into(),
                ..of(PROTO_RESP_KIND_END, u32::from(kind.byte()))
            },
            _ => none,
        }
    }
}

impl proto_resp_event {
    /// # Safety
    ///
    /// `data` is readable for `'a`.
    unsafe fn event<'a>(&self) -> Result<Event<'a>, i32> {
        // SAFETY: as promised.
        let data = unsafe { self.data.get() }.ok_or(PROTO_NULL)?;
        let form = u8::try_from(self.form).map_err(|_| PROTO_ARGUMENT)?;
        let bulk = || match form {
            b'$' => Ok(Bulk::String),
            b'!' => Ok(Bulk::Error),
            b'=' => Ok(Bulk::Verbatim(self.encoding)),
            _ => Err(PROTO_ARGUMENT),
        };
        let aggregate = || match form {
            b'*' => Ok(Aggregate::Array),
            b'%' => Ok(Aggregate::Map),
            b'~' => Ok(Aggregate::Set),
            b'>' => Ok(Aggregate::Push),
            b'|' => Ok(Aggregate::Attribute),
            _ => Err(PROTO_ARGUMENT),
        };
        Ok(match self.kind {
            0 => Event::Simple(data),
            1 => Event::Error(data),
            2 => Event::Integer(self.integer),
            3 => Event::Double(self.number),
            4 => Event::Boolean(self.integer != 0),
            5 => Event::BigNumber(core::str::from_utf8(data).map_err(|_| error::PROTO_RESP_MISUSE_BIG_NUMBER)?),
            6 => Event::Null(match form {
                b'$' => Null::Bulk,
                b'*' => Null::Array,
                b'_' | 0 => Null::Null,
                _ => return Err(PROTO_ARGUMENT),
            }),
            7 => Event::Bulk(bulk()?, data),
            8 => Event::Part {
                of: bulk()?,
                bytes: data,
                left: u64::try_from(self.integer).ok(),
            },
            9 => Event::Begin {
                kind: aggregate()?,
                len: match self.integer {
                    -1 => None,
                    len => Some(u32::try_from(len).map_err(|_| error::PROTO_RESP_MISUSE_TOO_LARGE)?),
                },
            },
            10 => Event::End {
                kind: aggregate()?,
                streamed: self.integer != 0,
            },
            _ => return Err(PROTO_ARGUMENT),
        })
    }
}

/// Limits on a RESP peer, and what is tolerated. Fill it by `proto_resp_rules_strict` or `proto_resp_rules_replies`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_resp_rules {
    /// Bytes of one string. 16 MiB.
    pub bulk: u64,
    /// Bytes of one reply. 64 MiB.
    pub reply: u64,
    /// Elements of one reply, on all levels. 1,048,576.
    pub items: u32,
    /// Bytes of a line. 16 KiB.
    pub line: u32,
    /// Bytes of one command. 1 MiB.
    pub command: u32,
    /// Arguments of one command, its name among them. 65,536.
    pub arguments: u32,
    /// Aggregates inside each other. 32, at most 128.
    pub depth: u8,
    /// Whether push data may stand inside a reply, as Redis 7.0 sends it.
    pub nested_push: bool,
    /// Whether doubles that are not numbers may be written as old servers write them.
    pub any_nan: bool,
}

impl proto_resp_rules {
    fn of(rules: &Rules) -> Self {
        proto_resp_rules {
            bulk: rules.limits.bulk,
            reply: rules.limits.reply,
            items: rules.limits.items,
            line: rules.limits.line,
            command: rules.limits.command,
            arguments: rules.limits.arguments,
            depth: rules.limits.depth,
            nested_push: rules.leniency.nested_push,
            any_nan: rules.leniency.any_nan,
        }
    }

    pub(crate) fn rules(&self) -> Rules {
        let mut rules = Rules::DEFAULT;
        rules.limits.bulk = self.bulk;
        rules.limits.reply = self.reply;
        rules.limits.items = self.items;
        rules.limits.line = self.line;
        rules.limits.command = self.command;
        rules.limits.arguments = self.arguments;
        rules.limits.depth = self.depth;
        rules.leniency.nested_push = self.nested_push;
        rules.leniency.any_nan = self.any_nan;
        rules
    }
}

/// Writes the default rules: finite limits, nothing lenient.
///
/// The caller promises: `rules` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_rules_strict(rules: *mut proto_resp_rules) {
    // SAFETY: as promised.
    unsafe { set(rules, proto_resp_rules::of(&Rules::DEFAULT)) }
}

/// Writes the rules for a client: finite limits, and the mistakes of old servers.
///
/// The caller promises: `rules` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_rules_replies(rules: *mut proto_resp_rules) {
    // SAFETY: as promised.
    unsafe { set(rules, proto_resp_rules::of(&Rules::REPLIES)) }
}

fn version(version: u32) -> Option<Version> {
    match version {
        2 => Some(Version::Resp2),
        3 => Some(Version::Resp3),
        _ => None,
    }
}

/// Decodes replies and pushes. Owns no memory. `proto_resp_decoder_init` begins it.
#[repr(C)]
#[derive(Debug)]
pub struct proto_resp_decoder {
    /// Not for programs.
    pub opaque: [MaybeUninit<u64>; 77],
}
holds!(proto_resp_decoder, Decoder);

/// Begins a decoder for a peer that speaks version 2 or 3. `rules` may be NULL: those of `proto_resp_rules_replies`.
///
/// The caller promises: `decoder` is NULL or may be written; `rules` is NULL or points to rules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_decoder_init(
    decoder: *mut proto_resp_decoder,
    of: u32,
    rules: *const proto_resp_rules,
) -> i32 {
    let Some(version) = version(of) else {
        return PROTO_ARGUMENT;
    };
    // SAFETY: as promised.
    unsafe {
        let rules = rules.as_ref().map_or(Rules::REPLIES, proto_resp_rules::rules);
        proto_resp_decoder::put(decoder, Decoder::new(version, rules))
    }
}

/// Changes the version, as HELLO has negotiated it; the reply to HELLO is in the new one.
///
/// The caller promises: `decoder` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_decoder_set_version(decoder: *mut proto_resp_decoder, of: u32) -> i32 {
    // SAFETY: as promised.
    match (unsafe { proto_resp_decoder::state(decoder) }, version(of)) {
        (None, _) => PROTO_NULL,
        (_, None) => PROTO_ARGUMENT,
        (Some(decoder), Some(version)) => {
            decoder.set_version(version);
            error::PROTO_OK
        }
    }
}

/// Takes the next event off `data`. Sets `used` to the bytes that it took, with `PROTO_MORE` too. `PROTO_EVENT`, `PROTO_MORE`, or a violation, which every
/// later call repeats: close the connection.
///
/// The caller promises: `decoder` was begun; `data` points to `length` bytes; `used` and `event` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_decoder_next(
    decoder: *mut proto_resp_decoder,
    data: *const u8,
    length: usize,
    used: *mut usize,
    event: *mut proto_resp_event,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(decoder), Some(mut input)) = (proto_resp_decoder::state(decoder), bytes(data, length)) else {
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
            Err(violation) => error::resp_violation(violation),
        };
        set(used, length - input.len());
        code
    }
}

/// Whether no reply is under way: the last event has ended a reply or a push, or there was none. False for NULL.
///
/// The caller promises: `decoder` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_decoder_is_between(decoder: *const proto_resp_decoder) -> bool {
    // SAFETY: as promised.
    unsafe { proto_resp_decoder::state(decoder.cast_mut()) }.is_some_and(|decoder| decoder.is_between())
}

/// Encodes events, and checks that they make whole replies. Owns no memory. `proto_resp_encoder_init` begins it.
#[repr(C)]
#[derive(Debug)]
pub struct proto_resp_encoder {
    /// Not for programs.
    pub opaque: [MaybeUninit<u64>; 69],
}
holds!(proto_resp_encoder, Encoder);

/// Begins an encoder for a peer that speaks version 2 or 3. For version 2 it turns maps into arrays, nulls into null strings and so on.
///
/// The caller promises: `encoder` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_encoder_init(encoder: *mut proto_resp_encoder, of: u32) -> i32 {
    let Some(version) = version(of) else {
        return PROTO_ARGUMENT;
    };
    // SAFETY: as promised.
    unsafe { proto_resp_encoder::put(encoder, Encoder::new(version)) }
}

/// Appends an event. Aggregates with a length end by themselves.
///
/// The caller promises: `encoder` was begun; `event` points to an event whose data is there; `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_encoder_write(
    encoder: *mut proto_resp_encoder,
    event: *const proto_resp_event,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(encoder), Some(event), Some(mut out)) =
            (proto_resp_encoder::state(encoder), event.as_ref(), Out::new(out))
        else {
            return PROTO_NULL;
        };
        match event.event() {
            Err(error) => error,
            Ok(event) => status(encoder.event(&event, &mut out), error::resp_misuse),
        }
    }
}

/// Whether the output consists of whole replies. False for NULL.
///
/// The caller promises: `encoder` is NULL or was begun.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_encoder_is_between(encoder: *const proto_resp_encoder) -> bool {
    // SAFETY: as promised.
    unsafe { proto_resp_encoder::state(encoder.cast_mut()) }.is_some_and(|encoder| encoder.is_between())
}
