//! Messages from one connection to another, in either role: messages arrive as they were sent and in order, however they are fragmented and
//! cut. tungstenite reads them too, and miniz the compressed ones. Pings are answered by Pongs, and a Close frame by a Close frame.

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use bytes::BytesMut;
use proto_ws::deflate::Parameters;
use proto_ws::frame::{Header, RSV1};
use proto_ws::{
    CloseCode, Config, Connection, Entropy, Event, Message, Opcode, PreparedMessage, Reader, Role, Side, State, Writer,
    mask,
};

use crate::cuts::{cuts, whole};
use crate::memory;
use crate::miniz::Inflating;
use crate::ws_frames::{Seen, tungstenite_reads};

#[derive(Debug, Arbitrary)]
struct Talk {
    from_client: bool,
    fragment: Option<u8>,
    parts: bool,
    key: [u8; 4],
    steps: Vec<Step>,
    close: Option<(u16, String)>,
    /// permessage-deflate with these windows, and with contexts kept or not.
    deflate: Option<(u8, u8, bool, bool)>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    Text(String),
    Binary(Vec<u8>),
    /// One byte repeated this often.
    Long(u8, u16),
    Prepared(String),
    Parts(Vec<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let Ok(talk) = Talk::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let mut config = Config::default();
    // A low threshold, so that short messages are compressed too.
    config.deflate.threshold = 3;
    config.fragment = talk.fragment.and_then(|size| usize::from(size).try_into().ok());
    config.parts = talk.parts;
    config.limits.control_frames = u32::MAX;
    config.limits.fragments = u32::MAX;
    config.limits.empty_fragments = u32::MAX;
    let config = Arc::new(config);
    let server = || talk.negotiated(Connection::server(Arc::clone(&config)));
    let client = || talk.negotiated(Connection::client(Arc::clone(&config), Seeded(talk.key)));
    if talk.from_client {
        exchange(&talk, client().writer, server);
    } else {
        exchange(&talk, server().writer, client);
    }
}

impl Talk {
    fn negotiated<S: Side>(&self, connection: Connection<S>) -> Connection<S> {
        match self.parameters() {
            Some(parameters) => connection.deflate(parameters),
            None => connection,
        }
    }

    fn parameters(&self) -> Option<Parameters> {
        let (server, client, server_forgets, client_forgets) = self.deflate?;
        Some(Parameters {
            server_no_context_takeover: server_forgets,
            client_no_context_takeover: client_forgets,
            server_max_window_bits: 8 + server % 8,
            client_max_window_bits: 8 + client % 8,
        })
    }

    /// The size of all messages in bytes, or a little more.
    fn len(&self) -> usize {
        let len = |step: &Step| match step {
            Step::Long(_, len) => usize::from(*len),
            Step::Text(text) | Step::Prepared(text) => text.len(),
            Step::Binary(bytes) | Step::Ping(bytes) | Step::Pong(bytes) => bytes.len(),
            Step::Parts(parts) => parts.iter().map(Vec::len).sum::<usize>() + 1,
        };
        self.steps.iter().map(len).sum()
    }
}

fn exchange<A: Side, B: Side>(talk: &Talk, writer: Writer<A>, peer: impl Fn() -> Connection<B>) {
    let mut stream = BytesMut::new();
    let (mut expected, pongs) = send(talk, writer, &mut stream);
    for ends in cuts(&stream).into_iter().chain([whole(&stream)]) {
        let Connection { reader, writer } = peer();
        // Bytes that wait, messages being joined, and messages received.
        let limit = (512 << 10) + 8 * stream.len() + 8 * talk.len();
        let seen = memory::within(limit, || receive(reader, writer, &stream, &ends, &pongs));
        assert_eq!(seen, expected);
    }
    if matches!(expected.last(), Some(Seen::Close(..))) {
        expected.pop();
    }
    match talk.parameters() {
        Some(parameters) => assert_eq!(miniz_reads(A::ROLE, parameters, &stream), expected),
        None => assert_eq!(tungstenite_reads(B::ROLE, &stream), (expected, false)),
    }
}

/// Sends the messages of `talk`. Returns what must be received, and the payload of the last Ping.
fn send<S: Side>(talk: &Talk, mut writer: Writer<S>, out: &mut BytesMut) -> (Vec<Seen>, Option<Vec<u8>>) {
    let mut expected = Vec::new();
    let mut pinged = None;
    for step in &talk.steps {
        match step {
            Step::Text(text) => {
                writer.text(out, text).unwrap();
                expected.push(Seen::Text(text.as_bytes().to_vec()));
            }
            Step::Binary(bytes) => {
                writer.binary(out, bytes).unwrap();
                expected.push(Seen::Binary(bytes.clone()));
            }
            Step::Long(byte, len) => {
                let bytes = vec![*byte; usize::from(*len)];
                writer.binary(out, &bytes).unwrap();
                expected.push(Seen::Binary(bytes));
            }
            Step::Prepared(text) => {
                let frame = writer.prepared(&PreparedMessage::new(Message::Text(text))).unwrap();
                out.extend_from_slice(&frame);
                expected.push(Seen::Text(text.as_bytes().to_vec()));
            }
            Step::Parts(parts) => {
                for part in parts {
                    writer.part(out, Message::Binary(part), false).unwrap();
                    assert!(writer.text(out, "").is_err(), "a message was accepted inside another");
                }
                writer.part(out, Message::Binary(b"."), true).unwrap();
                expected.push(Seen::Binary([&parts.concat()[..], b"."].concat()));
            }
            Step::Ping(payload) => {
                let before = out.len();
                if writer.ping(out, payload).is_ok() {
                    expected.push(Seen::Ping(payload.clone()));
                    pinged = Some(payload.clone());
                } else {
                    assert!(payload.len() > 125 && out.len() == before);
                }
            }
            Step::Pong(payload) => {
                if writer.pong(out, payload).is_ok() {
                    expected.push(Seen::Pong(payload.clone()));
                }
            }
        }
    }
    if let Some((code, reason)) = &talk.close
        && let Some(code) = CloseCode::new(*code)
        && writer.close(out, code, reason).is_ok()
    {
        expected.push(Seen::Close(code.get(), reason.clone()));
        let before = out.len();
        assert!(
            writer.text(out, "more").is_err() && out.len() == before,
            "a message was accepted after a Close frame"
        );
    }
    (expected, pinged)
}

/// The messages of `stream`. Checks the replies.
fn receive<S: Side>(
    mut reader: Reader,
    mut writer: Writer<S>,
    stream: &[u8],
    ends: &[usize],
    pinged: &Option<Vec<u8>>,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut partial: Option<Seen> = None;
    let mut answers = BytesMut::new();
    let mut waiting = Vec::new();
    let mut start = 0;
    for &end in ends {
        waiting.extend_from_slice(&stream[start..end]);
        start = end;
        let mut rest = &mut waiting[..];
        while let Some(event) = reader.next(&mut writer, &mut rest, &mut answers).unwrap() {
            match event {
                Event::Message(message) => seen.push(message.into()),
                Event::Part { part, last } => {
                    match (&mut partial, part) {
                        (None, _) => partial = Some(part.into()),
                        (Some(Seen::Text(all)), Message::Text(_)) | (Some(Seen::Binary(all)), Message::Binary(_)) => {
                            all.extend_from_slice(part.as_bytes());
                        }
                        other => panic!("the kind changed within a message: {other:?}"),
                    }
                    if last {
                        seen.extend(partial.take());
                    }
                }
                Event::Ping(payload) => seen.push(Seen::Ping(payload.to_vec())),
                Event::Pong(payload) => seen.push(Seen::Pong(payload.to_vec())),
                Event::Close(reason) => seen.push(Seen::Close(reason.code.get(), reason.reason.to_owned())),
                other => panic!("{other:?}"),
            }
        }
        let left = rest.len();
        waiting.drain(..waiting.len() - left);
    }
    let closed = matches!(seen.last(), Some(Seen::Close(..)));
    assert_eq!(writer.state(), if closed { State::Closed } else { State::Open });
    let (answers, failed) = tungstenite_reads(
        if S::ROLE == proto_ws::Role::Server {
            proto_ws::Role::Client
        } else {
            proto_ws::Role::Server
        },
        &answers,
    );
    assert!(!failed);
    assert!(answers.iter().all(|answer| matches!(answer, Seen::Pong(_))));
    assert_eq!(
        answers.last(),
        pinged.clone().map(Seen::Pong).as_ref(),
        "the last Pong does not answer the last Ping"
    );
    seen
}

/// What `sender` has sent up to its Close frame, inflated by miniz.
fn miniz_reads(sender: Role, parameters: Parameters, stream: &[u8]) -> Vec<Seen> {
    let (forgets, bits) = match sender {
        Role::Server => (parameters.server_no_context_takeover, parameters.server_max_window_bits),
        Role::Client => (parameters.client_no_context_takeover, parameters.client_max_window_bits),
    };
    let mut context = Inflating::within(bits);
    let mut seen = Vec::new();
    let mut message: Option<(Header, Vec<u8>)> = None;
    let mut rest = stream;
    while let Some((header, length)) = Header::decode(rest).unwrap() {
        let (payload, behind) = rest[length..].split_at(header.len as usize);
        rest = behind;
        let mut payload = payload.to_vec();
        mask::Mask::new(header.mask.unwrap_or_default()).apply(&mut payload);
        match header.opcode {
            Opcode::Ping => seen.push(Seen::Ping(payload)),
            Opcode::Pong => seen.push(Seen::Pong(payload)),
            Opcode::Close => break,
            Opcode::Text | Opcode::Binary => message = Some((header, payload)),
            Opcode::Continuation => message.as_mut().unwrap().1.extend(payload),
        }
        if !header.fin || header.opcode.is_control() {
            continue;
        }
        let (first, mut payload) = message.take().unwrap();
        if first.rsv == RSV1 {
            payload = context.message(&payload).expect("miniz inflates the message");
            if forgets {
                context = Inflating::within(bits);
            }
        }
        seen.push(match first.opcode {
            Opcode::Text => Seen::Text(payload),
            _ => Seen::Binary(payload),
        });
    }
    seen
}

/// Masking keys that follow from a seed.
struct Seeded([u8; 4]);

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            let next = &mut self.0[i % 4];
            *next = next.wrapping_mul(5).wrapping_add(1);
            *byte = *next;
        }
    }
}
