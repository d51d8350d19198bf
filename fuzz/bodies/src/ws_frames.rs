//! Frames for either role: events and end are the same however the input is cut. At most 130 bytes are left in the input. Headers are
//! written as they were read. A failure is final, and comes with the byte that shows the fault. A plain reading gives the same result, and
//! so does tungstenite where it does not fail.

use std::io::{self, Read, Write};

use proto_ws::frame::Header;
use proto_ws::{Decoder, Event, Kind, Limits, Message, Role, Violation};
use tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};

use crate::cuts::{cuts, whole};
use crate::memory;
use crate::plain_frames::{self, Plain};

/// An event, with its bytes copied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

impl From<Message<'_>> for Seen {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Seen::Text(text.into()),
            Message::Binary(bytes) => Seen::Binary(bytes.into()),
        }
    }
}

/// Runs the target: the first byte says which role receives, and whether compressed frames are allowed.
pub fn run(data: &[u8]) {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let compressed = choice & 2 != 0;
    let mut narrow = Limits::default();
    narrow.frame = 40;
    narrow.message = 60;
    narrow.fragments = 4;
    narrow.empty_fragments = 2;
    for limits in [Limits::default(), narrow] {
        let decoder = Decoder::new(role, limits);
        let decoder = if compressed { decoder.compressed() } else { decoder };
        let expected = memory::within((1 << 16) + 512 * stream.len(), || {
            let expected = decode(&decoder, stream, &whole(stream));
            for ends in cuts(stream) {
                assert_eq!(decode(&decoder, stream, &ends), expected);
            }
            expected
        });
        if !compressed && limits == Limits::default() {
            if let Some(plain) = plain_frames::read(role, stream) {
                compare_plainly(&decoder, stream, &expected, &plain);
            }
            compare(role, stream, expected);
        }
    }
    if let Ok(Some((header, len))) = Header::decode(stream) {
        assert_eq!(&*header.encode(), &stream[..len]);
    }
}

/// The messages of `stream`, joined from their pieces; the last one, if it is incomplete; and the failure.
fn decode(decoder: &Decoder, stream: &[u8], ends: &[usize]) -> (Vec<Seen>, Option<Seen>, Option<Violation>) {
    let mut decoder = decoder.clone();
    let mut seen = Vec::new();
    let mut partial: Option<Seen> = None;
    let mut waiting = Vec::new();
    let mut start = 0;
    for &end in ends {
        waiting.extend_from_slice(&stream[start..end]);
        start = end;
        let mut rest = &mut waiting[..];
        loop {
            let event = match decoder.next(&mut rest) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(
                        decoder.next(&mut &mut [0x80_u8, 0][..]),
                        Err(error),
                        "a failed decoder continued"
                    );
                    return (seen, None, Some(error));
                }
            };
            let (kind, bytes, last) = match event {
                Event::Message(message) => {
                    assert!(partial.is_none(), "a message began inside another");
                    seen.push(message.into());
                    continue;
                }
                Event::Part { part, last } => (part.kind(), part.as_bytes(), last),
                Event::Compressed { kind, bytes, last } => (kind, bytes, last),
                Event::Ping(payload) => {
                    seen.push(Seen::Ping(payload.to_vec()));
                    continue;
                }
                Event::Pong(payload) => {
                    seen.push(Seen::Pong(payload.to_vec()));
                    continue;
                }
                Event::Close(reason) => {
                    seen.push(Seen::Close(reason.code.get(), reason.reason.to_owned()));
                    // No further event follows; more input is not tested here.
                    return (seen, None, None);
                }
                other => panic!("{other:?}"),
            };
            let empty = match kind {
                Kind::Text => Seen::Text(Vec::new()),
                Kind::Binary => Seen::Binary(Vec::new()),
            };
            match (partial.get_or_insert(empty), kind) {
                (Seen::Text(all), Kind::Text) | (Seen::Binary(all), Kind::Binary) => all.extend_from_slice(bytes),
                other => panic!("the kind changed within a message: {other:?}"),
            }
            if last {
                seen.extend(partial.take());
            }
        }
        let left = rest.len();
        assert!(left <= 130, "the decoder left {left} bytes in the input");
        waiting.drain(..waiting.len() - left);
        assert!(partial.is_none() || decoder.is_inside_message());
    }
    (seen, partial, None)
}

/// Panics when a plain reading of the RFC gives another result, or finds the fault earlier.
fn compare_plainly(
    decoder: &Decoder,
    stream: &[u8],
    ours: &(Vec<Seen>, Option<Seen>, Option<Violation>),
    plain: &Plain,
) {
    let (seen, _, error) = ours;
    assert_eq!(
        (seen, error.is_some()),
        (&plain.seen, plain.fault.is_some()),
        "{plain:?}"
    );
    let Some(fault) = plain.fault else { return };
    assert_eq!(*error == Some(Violation::Utf8), fault.text);
    // The decoder fails with exactly the byte that shows the fault (RFC 6455 section 8.1 requires only that it fails).
    let fails = |end: usize| decode(decoder, &stream[..end], &[end]).2.is_some();
    assert!(
        fails(fault.at) && !fails(fault.at - 1),
        "the decoder does not fail exactly at {fault:?}"
    );
}

/// Panics when tungstenite reads differently. It accepts lengths that are not in their shortest form, and fails late on invalid text.
fn compare(role: Role, stream: &[u8], (mut ours, _, error): (Vec<Seen>, Option<Seen>, Option<Violation>)) {
    let closed = matches!(ours.last(), Some(Seen::Close(..)));
    if closed {
        ours.pop();
    }
    let (theirs, failed) = tungstenite_reads(role, stream);
    if closed || error.is_some() {
        assert!(theirs.starts_with(&ours), "{ours:?} is not the beginning of {theirs:?}");
    } else {
        assert_eq!(ours, theirs);
        assert!(!failed, "tungstenite failed");
    }
}

/// The messages and control frames before a Close frame, a failure or the end; and whether tungstenite failed.
pub(crate) fn tungstenite_reads(role: Role, stream: &[u8]) -> (Vec<Seen>, bool) {
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default()
        .max_frame_size(Some(1 << 20))
        .max_message_size(Some(1 << 20))
        .read_buffer_size(4096);
    let mut socket = WebSocket::from_raw_socket(Wire(stream), role, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(tungstenite::Message::Text(text)) => Seen::Text(text.as_bytes().to_vec()),
            Ok(tungstenite::Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(tungstenite::Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(tungstenite::Message::Pong(payload)) => Seen::Pong(payload.to_vec()),
            Ok(_) => return (seen, false),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (seen, false),
            Err(_) => return (seen, true),
        });
    }
}

/// A stream with bytes to read that ignores writes.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.0.read(to)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
