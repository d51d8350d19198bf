//! WebSocket (RFC 6455): messages to an echo server, and the frames that it must send.

use super::Plan;
use super::script::{Progress, Violation};

/// The key of the example in RFC 6455 section 1.3, and the matching Sec-WebSocket-Accept.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// The most bytes of a response head.
const MAX_HEAD: usize = 64 * 1024;
/// The number of different messages if they are small, which reveals an echo server that confuses two messages.
const VARIANTS: usize = 64;

#[derive(Debug)]
pub(super) struct WebSocket {
    pub(super) opening: Vec<u8>,
    /// The frames that the server must send, one after the other.
    expected: Vec<u8>,
    /// The length of one of these frames in bytes.
    size: usize,
}

impl WebSocket {
    /// Returns the masked messages, and the checker of their echoes.
    pub(super) fn new(plan: &Plan) -> (Vec<Vec<u8>>, Self) {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()
        };
        let variants = ((4 << 20) / plan.payload.max(1)).clamp(1, VARIANTS);
        let (mut messages, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..variants {
            let mut payload = Vec::with_capacity(plan.payload + 8);
            while payload.len() < plan.payload {
                payload.extend_from_slice(&random());
            }
            payload.truncate(plan.payload);
            expected.extend(frame(0x82, &payload, None));
            let [a, b, c, d, ..] = random();
            messages.push(frame(0x82, &payload, Some([a, b, c, d])));
        }
        let websocket = WebSocket {
            opening: opening(plan),
            size: expected.len() / variants,
            expected,
        };
        (messages, websocket)
    }

    pub(super) fn check(&mut self, progress: &mut Progress, bytes: &[u8]) -> Result<usize, Violation> {
        let mut kept = std::mem::take(&mut progress.partial);
        let mut rest = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept
        };
        if !progress.open {
            match accepted(rest)? {
                Some(head) => rest = &rest[head..],
                None => {
                    progress.partial.extend_from_slice(rest);
                    return Ok(0);
                }
            }
            progress.open = true;
        }
        let mut answers = 0;
        while let Some(first) = rest.first() {
            let into = progress.at % self.size;
            if into == 0 && *first != 0x82 {
                match control(rest, progress)? {
                    Some(length) => rest = &rest[length..],
                    None => {
                        progress.partial.extend_from_slice(rest);
                        break;
                    }
                }
                continue;
            }
            let n = rest.len().min(self.size - into);
            if rest[..n] != self.expected[progress.at..progress.at + n] {
                return Err(Violation::Content);
            }
            rest = &rest[n..];
            answers += usize::from(into + n == self.size);
            progress.at = (progress.at + n) % self.expected.len();
        }
        Ok(answers)
    }
}

/// The request that asks for the upgrade.
pub(super) fn opening(plan: &Plan) -> Vec<u8> {
    let path = plan.path.as_deref().unwrap_or("/ws");
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n",
        plan.target
    );
    for field in &plan.fields {
        request.push_str(field);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// The length of the head that accepts the handshake, once the head is complete.
pub(super) fn accepted(bytes: &[u8]) -> Result<Option<usize>, Violation> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD {
            Err(Violation::Handshake)
        } else {
            Ok(None)
        };
    };
    let text = std::str::from_utf8(&bytes[..head]).map_err(|_| Violation::Handshake)?;
    let accept = text.split("\r\n").skip(1).any(|line| {
        line.split_once(':')
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == ACCEPT)
    });
    if text.starts_with("HTTP/1.1 101 ") && accept {
        Ok(Some(head + 4))
    } else {
        Err(Violation::Handshake)
    }
}

/// Reads a control frame: answers a Ping, and skips a Pong.
fn control(bytes: &[u8], progress: &mut Progress) -> Result<Option<usize>, Violation> {
    let [first, length, ..] = *bytes else { return Ok(None) };
    let length = usize::from(length);
    if length > 125 {
        return Err(Violation::Content);
    }
    let Some(payload) = bytes.get(2..2 + length) else {
        return Ok(None);
    };
    match first {
        0x88 => return Err(Violation::Closed),
        0x89 => progress.reply.extend(frame(0x8a, payload, Some([0; 4]))),
        0x8a => {}
        _ => return Err(Violation::Content),
    }
    Ok(Some(2 + length))
}

/// One frame, masked with `key` if there is one.
pub(super) fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if key.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(masked | length as u8),
        length @ 126..65536 => {
            frame.push(masked | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let key = key.inspect(|key| frame.extend_from_slice(key)).unwrap_or_default();
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Mode;

    const ACCEPTED: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn websocket() -> WebSocket {
        let mut plan = Plan::new(([127, 0, 0, 1], 80).into(), Mode::WebSocket);
        plan.payload = 20;
        WebSocket::new(&plan).1
    }

    fn check(stream: &[u8], split: usize) -> Result<usize, Violation> {
        let (mut websocket, mut progress) = (websocket(), Progress::default());
        let first = websocket.check(&mut progress, &stream[..split])?;
        Ok(first + websocket.check(&mut progress, &stream[split..])?)
    }

    #[test]
    fn frames_are_those_of_rfc_6455_section_5_7() {
        assert_eq!(frame(0x81, b"Hello", None), b"\x81\x05Hello");
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(frame(0x81, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d])), masked);
        assert_eq!(frame(0x82, &[0; 256], None)[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(
            frame(0x82, &[0; 65536], None)[..10],
            [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]
        );
    }

    #[test]
    fn echoes_are_counted_however_they_are_split() {
        let ping = b"\x89\x02hi";
        let expected = websocket().expected;
        let stream = [ACCEPTED, &expected[..22], ping, &expected[22..]].concat();
        for split in 0..stream.len() {
            assert_eq!(check(&stream, split), Ok(VARIANTS), "split at {split}");
        }
    }

    #[test]
    fn every_wrong_byte_is_found() {
        let stream = [ACCEPTED, &websocket().expected].concat();
        for at in ACCEPTED.len()..ACCEPTED.len() + 200 {
            let mut wrong = stream.clone();
            wrong[at] ^= 1;
            assert!(check(&wrong, 0).is_err(), "byte {at}");
        }
    }

    #[test]
    fn messages_in_another_order_are_found() {
        let expected = websocket().expected;
        let stream = [ACCEPTED, &expected[22..44], &expected[..22]].concat();
        assert_eq!(check(&stream, 0), Err(Violation::Content));
    }

    #[test]
    fn a_handshake_that_is_not_accepted_is_found() {
        assert_eq!(check(b"HTTP/1.1 200 OK\r\n\r\n", 0), Err(Violation::Handshake));
        let other = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: AAAA\r\n\r\n";
        assert_eq!(check(other, 0), Err(Violation::Handshake));
    }
}
