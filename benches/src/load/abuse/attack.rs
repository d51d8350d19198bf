//! The attacks: what each sends, how fast, and whether it reads.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proto_ws::deflate::Parameters;
use proto_ws::{Config, Connection};

use crate::load::Plan;
use crate::load::websocket::{frame, opening};
use crate::random::Xorshift;

/// An attack; the names are those of docs/security.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "verbatim")]
pub enum Abuse {
    /// Chunks with long extensions, without end. The server must close.
    H07,
    /// A head that never ends, byte by byte, as fast as they go. The server must close.
    H12,
    /// A head with 10,000 fields. The server must close.
    H13,
    /// Content that never ends, to a resource that takes none. The server must close.
    H14,
    /// A head that never ends, one byte a second. The server must close.
    H16,
    /// A message in fragments of one byte that never ends. The server must close.
    W03,
    /// A message in empty fragments that never ends. The server must close.
    W04,
    /// Pings without end, nothing read. The server must close, or at least not grow.
    W05,
    /// Compressed messages a thousand times as large as they look. The server must close.
    W06,
    /// Messages to an echo, nothing read. The server must close, or at least not grow.
    W09,
    /// Small messages to an echo as fast as they go, all echoes read. The server must go on serving others.
    W15,
}

/// What a server must do about an attack, besides serving others and not growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defence {
    /// Close every attacker's connection.
    Close,
    /// Nothing further: the server may close, or wait.
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As fast as the server reads.
    Flood,
    /// One byte at each interval, after the start.
    Bytes(Duration),
}

/// The behaviour of an attacker.
pub(super) struct Script {
    /// Sent first; the attacker waits for the answer.
    pub(super) handshake: Vec<u8>,
    /// Sent next.
    pub(super) start: Vec<u8>,
    /// Sent repeatedly after that; empty for nothing.
    pub(super) again: Vec<u8>,
    pub(super) pace: Pace,
    pub(super) reads: bool,
}

impl Abuse {
    pub(super) fn defence(self) -> Defence {
        match self {
            Abuse::W05 | Abuse::W09 | Abuse::W15 => Defence::Hold,
            _ => Defence::Close,
        }
    }

    /// Whether the attack uses permessage-deflate.
    pub(super) fn compresses(self) -> bool {
        self == Abuse::W06
    }

    pub(super) fn script(self, plan: &Plan) -> Script {
        const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);
        let path = |default| plan.path.as_deref().unwrap_or(default);
        let slow = || format!("GET {} HTTP/1.1\r\nHost: x\r\nX-Slow: ", path("/"));
        let chunked = |default| {
            let path = path(default);
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        };
        let http = |start: String, again: Vec<u8>, pace| Script {
            handshake: Vec::new(),
            start: start.into_bytes(),
            again,
            pace,
            reads: true,
        };
        let websocket = |start: Vec<u8>, again: Vec<u8>, reads| Script {
            handshake: opening(plan),
            start,
            again,
            pace: Pace::Flood,
            reads,
        };
        match self {
            Abuse::H07 => {
                let chunk = format!("1;{}\r\nx\r\n", "e".repeat(900));
                http(chunked("/echo"), chunk.into_bytes(), Pace::Flood)
            }
            Abuse::H12 => http(slow(), vec![b'a'], Pace::Bytes(Duration::ZERO)),
            Abuse::H13 => {
                let mut head = format!("GET {} HTTP/1.1\r\nHost: x\r\n", path("/"));
                for number in 0..10_000 {
                    let _ = write!(head, "a{number}:\r\n");
                }
                http(head + "\r\n", Vec::new(), Pace::Flood)
            }
            Abuse::H14 => {
                let chunk = format!("4000\r\n{}\r\n", "c".repeat(0x4000));
                http(chunked("/"), chunk.into_bytes(), Pace::Flood)
            }
            Abuse::H16 => http(slow(), vec![b'a'], Pace::Bytes(Duration::from_secs(1))),
            Abuse::W03 => websocket(frame(0x02, b"x", KEY), frame(0x00, b"x", KEY).repeat(1000), true),
            Abuse::W04 => websocket(frame(0x02, b"", KEY), frame(0x00, b"", KEY).repeat(1000), true),
            Abuse::W05 => websocket(Vec::new(), frame(0x89, &[b'p'; 125], KEY).repeat(100), false),
            Abuse::W06 => {
                let mut plan = plan.clone();
                plan.path.get_or_insert_with(|| "/ws/deflate".to_owned());
                let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover";
                plan.fields.push(offer.to_owned());
                Script {
                    handshake: opening(&plan),
                    start: Vec::new(),
                    again: bomb(),
                    pace: Pace::Flood,
                    reads: true,
                }
            }
            Abuse::W09 => {
                let len = NonZeroUsize::new(plan.payload).map_or(1024, NonZeroUsize::get);
                websocket(Vec::new(), frame(0x82, &vec![b'm'; len], KEY), false)
            }
            Abuse::W15 => websocket(Vec::new(), frame(0x82, &[b'm'; 16], KEY).repeat(1000), true),
        }
    }
}

/// 64 MiB of zeros in one frame of 64 KiB.
fn bomb() -> Vec<u8> {
    let mut config = Config::default();
    config.deflate.level = 9;
    let parameters = Parameters {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let mut writer = Connection::client(Arc::new(config), Xorshift::default())
        .deflate(parameters)
        .writer;
    let mut frame = BytesMut::new();
    // A new connection accepts any message.
    let _ = writer.binary(&mut frame, &vec![0; 64 << 20]);
    frame.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto_ws::{Decoder, Event, Limits, Role, Violation};

    /// Passes the attack after the handshake to a server's decoder until it fails.
    fn refused(abuse: Abuse) -> Violation {
        let target = std::net::SocketAddr::from(([127, 0, 0, 1], 8080));
        let script = abuse.script(&Plan::new(target, crate::load::Mode::WebSocket));
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        let mut bytes = script.start;
        for _ in 0..100 {
            bytes.extend_from_slice(&script.again);
            let mut input = &mut bytes[..];
            loop {
                match decoder.next(&mut input) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => return error,
                }
            }
            let left = input.len();
            bytes.drain(..bytes.len() - left);
        }
        panic!("{abuse:?} is taken");
    }

    #[test]
    fn fragments_are_valid_frames_and_too_many() {
        assert_eq!(refused(Abuse::W03), Violation::TooManyFragments);
        assert_eq!(refused(Abuse::W04), Violation::TooManyEmptyFragments);
    }

    #[test]
    fn a_bomb_is_a_valid_message_for_who_has_room() {
        let mut bomb = bomb();
        assert!(bomb.len() < 256 * 1024, "{}", bomb.len());
        let mut config = Config::default();
        config.limits.message = 64 << 20;
        config.limits.inflate_ratio = 2000;
        let Connection { mut reader, mut writer } = Connection::server(Arc::new(config)).deflate(Parameters {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        });
        let event = reader.next(&mut writer, &mut &mut bomb[..], &mut BytesMut::new());
        assert!(matches!(event, Ok(Some(Event::Message(message))) if message.as_bytes().len() == 64 << 20));
    }

    #[test]
    fn heads_are_beyond_the_default_limits() {
        let target = std::net::SocketAddr::from(([127, 0, 0, 1], 8080));
        let script = Abuse::H13.script(&Plan::new(target, crate::load::Mode::Http));
        let rules = proto_http::Rules::DEFAULT;
        assert!(proto_http::Request::parse(&script.start, &rules).is_err());
    }
}
