//! A plain reader of WebSocket frames, byte by byte (RFC 6455 sections 5 and 7.4): the messages, and the byte at which a stream becomes
//! invalid.

use proto_ws::Role;

use crate::ws_frames::Seen;

/// The result of a plain reading.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    /// Complete messages and control frames, up to a Close frame or the fault.
    pub(crate) seen: Vec<Seen>,
    pub(crate) fault: Option<Fault>,
}

/// The place from which no further bytes can make the stream valid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fault {
    /// The number of bytes up to and including the one that shows the fault.
    pub(crate) at: usize,
    /// Whether the fault is text that is not UTF-8.
    pub(crate) text: bool,
}

/// Reads frames that arrive at `role`; `None` where the result would depend on limits.
pub(crate) fn read(role: Role, stream: &[u8]) -> Option<Plain> {
    let mut plain = Plain::default();
    let mut message: Option<(bool, Vec<u8>)> = None;
    let mut frames = 0;
    let mut at = 0;
    while let Some(&[first, second]) = stream.get(at..at + 2) {
        let (fin, opcode, masked) = (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0);
        let wrong = first & 0x70 != 0
            || masked != (role == Role::Server)
            || match opcode {
                0 => message.is_none(),
                1 | 2 => message.is_some(),
                8..=10 => !fin || second & 0x7f > 125,
                _ => true,
            };
        if wrong {
            plain.fault = Some(Fault {
                at: at + 2,
                text: false,
            });
            return Some(plain);
        }
        at += 2;
        let (extra, least) = match second & 0x7f {
            126 => (2, 126),
            127 => (8, 65_536),
            _ => (0, 0),
        };
        let Some(extended) = stream.get(at..at + extra) else {
            break;
        };
        let long = extended
            .iter()
            .fold(0_u64, |length, &byte| length << 8 | u64::from(byte));
        if extra > 0 && (long < least || long > i64::MAX as u64) {
            plain.fault = Some(Fault {
                at: at + extra,
                text: false,
            });
            return Some(plain);
        }
        let length = if extra > 0 { long } else { u64::from(second & 0x7f) };
        at += extra;
        frames += 1;
        if length > 1 << 16 || frames > 16 {
            return None;
        }
        let key = if masked {
            let Some(key) = stream.get(at..at + 4) else { break };
            at += 4;
            [key[0], key[1], key[2], key[3]]
        } else {
            [0; 4]
        };
        let end = at + length as usize;
        let there = &stream[at..end.min(stream.len())];
        let payload: Vec<u8> = there
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect();
        let whole = end <= stream.len();
        if opcode >= 8 {
            if !whole {
                break;
            }
            match control(opcode, payload) {
                Ok(seen) => plain.seen.push(seen),
                Err(text) => {
                    plain.fault = Some(Fault { at: end, text });
                    return Some(plain);
                }
            }
            if opcode == 8 {
                return Some(plain);
            }
            at = end;
            continue;
        }
        let (text, bytes) = message.get_or_insert_with(|| (opcode == 1, Vec::new()));
        let before = bytes.len();
        bytes.extend_from_slice(&payload);
        if *text && let Some(wrong) = invalid(bytes, fin && whole) {
            // A character that is incomplete at the end of the message shows at its last byte.
            let within = wrong.saturating_sub(before).min(payload.len());
            plain.fault = Some(Fault {
                at: at + within,
                text: true,
            });
            return Some(plain);
        }
        if !whole {
            break;
        }
        at = end;
        if fin && let Some((text, bytes)) = message.take() {
            plain
                .seen
                .push(if text { Seen::Text(bytes) } else { Seen::Binary(bytes) });
        }
    }
    Some(plain)
}

/// Reads a control frame; the error says whether its fault is text that is not UTF-8.
fn control(opcode: u8, payload: Vec<u8>) -> Result<Seen, bool> {
    match (opcode, &payload[..]) {
        (9, _) => Ok(Seen::Ping(payload)),
        (10, _) => Ok(Seen::Pong(payload)),
        (_, []) => Ok(Seen::Close(1005, String::new())),
        (_, [_]) => Err(false),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            let known = matches!(code, 1000 | 1001 | 1002 | 1003 | 3000..=4999) || (1007..=1014).contains(&code);
            match String::from_utf8(reason.to_vec()) {
                _ if !known => Err(false),
                Ok(reason) => Ok(Seen::Close(code, reason)),
                Err(_) => Err(true),
            }
        }
    }
}

/// The number of bytes after which `bytes` are known not to be UTF-8. An incomplete character at the end is a fault only when they are
/// `complete`.
fn invalid(bytes: &[u8], complete: bool) -> Option<usize> {
    let from = std::str::from_utf8(bytes).err()?.valid_up_to();
    let shows = (from + 1..=bytes.len())
        .find(|&end| std::str::from_utf8(&bytes[from..end]).is_err_and(|error| error.error_len().is_some()));
    shows.or(complete.then_some(bytes.len()))
}
