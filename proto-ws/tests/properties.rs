//! Properties of the codec: events do not depend on how the input is cut; what one role sends the other receives; and
//! another implementation agrees.
#![cfg(feature = "alloc")]

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;
use proto_ws::frame::Header;
use proto_ws::{
    CloseCode, Config, Connection, Decoder, Event, Kind, Limits, Message, Opcode, PreparedMessage, Role, Violation,
    mask,
};

/// A received event with owned data.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    Failed(Violation),
}

/// A frame of a client, valid or invalid.
#[derive(Debug, Clone)]
struct Frame {
    first: u8,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
}

impl Frame {
    fn encode(&self, out: &mut Vec<u8>) {
        let opcode = Opcode::new(self.first & 0xf).unwrap_or(Opcode::Text);
        let len = self.payload.len() as u64;
        let header = Header {
            fin: true,
            rsv: 0,
            opcode,
            mask: self.mask,
            len,
        }
        .encode();
        out.push(self.first);
        out.extend_from_slice(&header[1..]);
        let from = out.len();
        out.extend_from_slice(&self.payload);
        mask::Mask::new(self.mask.unwrap_or_default()).apply(&mut out[from..]);
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "\\PC{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 120usize..400).prop_map(|(byte, len)| vec![byte & 0x7f; len]),
        1 => prop::sample::select(vec![&b"\xf0\x9f"[..], b"\x98\x80", b"\xe2\x82", b"\xac", b"\xc3"]).prop_map(<[u8]>::to_vec),
    ]
}

/// Mostly valid frames, sometimes random bits.
fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let first = prop_oneof![
        10 => prop::sample::select(vec![0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]),
        1 => any::<u8>().prop_filter("Close frames have tests of their own", |first| first & 0xf != 8),
    ];
    let mask = prop_oneof![20 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
    prop::collection::vec(
        (first, mask, payload()).prop_map(|(first, mask, payload)| Frame { first, mask, payload }),
        0..12,
    )
}

/// The events of a server that receives `bytes` cut at `cuts`, and the bytes it sends.
fn receive(bytes: &[u8], cuts: &[usize], parts: bool) -> (Vec<Seen>, Vec<u8>) {
    let mut config = Config::default();
    config.parts = parts;
    let Connection { mut reader, mut writer } = Connection::server(Arc::new(config));
    let mut out = BytesMut::new();
    let mut seen = Vec::new();
    let mut part_of: Option<Seen> = None;
    let mut input = Vec::new();
    let mut from = 0;
    let mut ends: Vec<usize> = cuts
        .iter()
        .map(|cut| cut % (bytes.len() + 1))
        .chain([bytes.len()])
        .collect();
    ends.sort_unstable();
    for to in ends {
        input.extend_from_slice(&bytes[from..to]);
        from = to;
        let mut rest = &mut input[..];
        loop {
            match reader.next(&mut writer, &mut rest, &mut out) {
                Ok(Some(Event::Part { part, last })) => {
                    match (
                        part,
                        part_of.get_or_insert_with(|| owned(Message::Binary(&[]), part.kind())),
                    ) {
                        (Message::Text(text), Seen::Text(all)) => all.push_str(text),
                        (Message::Binary(bytes), Seen::Binary(all)) => all.extend_from_slice(bytes),
                        other => panic!("{other:?}"),
                    }
                    if last {
                        seen.extend(part_of.take());
                    }
                }
                Ok(Some(Event::Message(message))) => seen.push(owned(message, message.kind())),
                Ok(Some(Event::Ping(payload))) => seen.push(Seen::Ping(payload.to_vec())),
                Ok(Some(Event::Pong(payload))) => seen.push(Seen::Pong(payload.to_vec())),
                Ok(Some(Event::Close(reason))) => seen.push(Seen::Close(reason.code.get(), reason.reason.into())),
                Ok(Some(other)) => panic!("{other:?}"),
                Ok(None) => break,
                Err(error) => {
                    seen.push(Seen::Failed(error));
                    return (seen, out.to_vec());
                }
            }
        }
        let left = rest.len();
        assert!(left <= 130, "{left} bytes left in the input");
        input.drain(..input.len() - left);
    }
    (seen, out.to_vec())
}

fn owned(message: Message<'_>, kind: Kind) -> Seen {
    match (message, kind) {
        (Message::Text(text), _) => Seen::Text(text.into()),
        (Message::Binary(_), Kind::Text) => Seen::Text(String::new()),
        (Message::Binary(bytes), Kind::Binary) => Seen::Binary(bytes.to_vec()),
    }
}

/// A stream that reads from a slice and discards all writes.
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

/// The events of another implementation, and whether it failed.
fn theirs(bytes: &[u8]) -> (Vec<Seen>, bool) {
    use tungstenite::protocol::{Role, WebSocket};
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), Role::Server, None);
    let mut seen = Vec::new();
    loop {
        match socket.read() {
            Ok(tungstenite::Message::Text(text)) => seen.push(Seen::Text(text.as_str().into())),
            Ok(tungstenite::Message::Binary(bytes)) => seen.push(Seen::Binary(bytes.to_vec())),
            Ok(tungstenite::Message::Ping(payload)) => seen.push(Seen::Ping(payload.to_vec())),
            Ok(tungstenite::Message::Pong(payload)) => seen.push(Seen::Pong(payload.to_vec())),
            Ok(other) => panic!("{other}"),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (seen, false),
            Err(_) => return (seen, true),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_comes_out_does_not_depend_on_the_pieces(
        frames in frames(),
        close in prop::option::of((3000u16..5000, "\\PC{0,30}")),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        if let Some((code, reason)) = &close {
            let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
            Frame { first: 0x88, mask: Some([9, 8, 7, 6]), payload }.encode(&mut bytes);
        }
        let (whole, answer) = receive(&bytes, &[], false);
        let every: Vec<usize> = (0..bytes.len()).collect();
        for cuts in [&cuts, &every] {
            // The cuts change neither the events nor the answer.
            let (seen, answered) = receive(&bytes, cuts, false);
            prop_assert_eq!(&seen, &whole);
            prop_assert_eq!(&answered, &answer);
            let (in_parts, _) = receive(&bytes, cuts, true);
            prop_assert_eq!(&in_parts, &whole);
        }
    }

    #[test]
    fn tungstenite_agrees(frames in frames()) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let (mut ours, _) = receive(&bytes, &[], false);
        let failed = matches!(ours.last(), Some(Seen::Failed(_)));
        if failed {
            ours.pop();
        }
        let (seen, they_failed) = theirs(&bytes);
        prop_assert_eq!(&ours, &seen);
        prop_assert_eq!(failed, they_failed);
    }

    #[test]
    fn what_is_sent_comes_out(
        messages in prop::collection::vec(("\\PC{0,200}", any::<bool>(), any::<bool>()), 1..6),
        fragment in prop::option::of(1usize..50),
        seed in any::<[u8; 4]>(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let mut config = Config::default();
        config.fragment = fragment.and_then(|size| size.try_into().ok());
        let config = Arc::new(config);
        let mut out = BytesMut::new();
        let mut client = Connection::client(config, Seeded(seed));
        let mut expected = Vec::new();
        for (text, binary, prepared) in &messages {
            let message = if *binary { Message::Binary(text.as_bytes()) } else { Message::Text(text) };
            if *prepared {
                let frame = client.writer.prepared(&PreparedMessage::new(message)).unwrap();
                out.extend_from_slice(&frame);
            } else {
                client.writer.message(&mut out, message).unwrap();
            }
            client.writer.ping(&mut out, b"between").unwrap();
            expected.push(owned(message, message.kind()));
            expected.push(Seen::Ping(b"between".to_vec()));
        }
        client.writer.close(&mut out, CloseCode::NORMAL, "done").unwrap();
        expected.push(Seen::Close(1000, "done".into()));
        let (seen, _) = receive(&out, &cuts, false);
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn nothing_panics_and_failure_is_final(bytes in prop::collection::vec(any::<u8>(), 0..300), server in any::<bool>()) {
        let mut decoder = Decoder::new(if server { Role::Server } else { Role::Client }, Limits::default());
        let mut bytes = bytes;
        let mut input = &mut bytes[..];
        let outcome = loop {
            match decoder.next(&mut input) {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = outcome {
            prop_assert_eq!(decoder.next(&mut input), Err(error));
        }
    }
}

/// Produces masking keys from a seed.
struct Seeded([u8; 4]);

impl proto_ws::Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            self.0[i % 4] = self.0[i % 4].wrapping_mul(5).wrapping_add(1);
            *byte = self.0[i % 4];
        }
    }
}
