//! The exact bytes that are written, and the calls that are refused.
#![cfg(feature = "alloc")]

use bytes::BytesMut;
use proto_ws::{
    CloseCode, Config, Connection, Entropy, Event, Kind, Masked, Message, Misuse, PreparedMessage, State, Writer,
};

struct Fixed;

impl Entropy for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&[1, 2, 3, 4]);
    }
}

fn server() -> Writer {
    Connection::server(Default::default()).writer
}

fn client() -> Writer<Masked<Fixed>> {
    Connection::client(Default::default(), Fixed).writer
}

#[test]
fn frames_of_both_roles() {
    let mut out = BytesMut::new();
    let mut writer = server();
    writer.text(&mut out, "hi").unwrap();
    writer.binary(&mut out, b"").unwrap();
    writer.ping(&mut out, b"p").unwrap();
    writer.pong(&mut out, b"q").unwrap();
    writer.close(&mut out, CloseCode::AWAY, "bye").unwrap();
    assert_eq!(&out[..], b"\x81\x02hi\x82\x00\x89\x01p\x8a\x01q\x88\x05\x03\xe9bye");
    out.clear();
    client().text(&mut out, "hello").unwrap();
    assert_eq!(
        &out[..],
        [0x81, 0x85, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1]
    );
}

#[test]
fn messages_in_parts_and_control_frames_between() {
    let mut out = BytesMut::new();
    let mut writer = server();
    writer.part(&mut out, Message::Text("a"), false).unwrap();
    assert_eq!(
        writer.part(&mut out, Message::Binary(b"b"), false),
        Err(Misuse::KindChanged)
    );
    assert_eq!(writer.text(&mut out, "b"), Err(Misuse::MessageUnfinished));
    assert_eq!(
        writer.prepared(&PreparedMessage::text("b")),
        Err(Misuse::MessageUnfinished)
    );
    assert_eq!(writer.header(Kind::Text, 1), Err(Misuse::MessageUnfinished));
    writer.ping(&mut out, b"").unwrap();
    writer.part(&mut out, Message::Text("b"), false).unwrap();
    writer.part(&mut out, Message::Text(""), true).unwrap();
    writer.text(&mut out, "c").unwrap();
    assert_eq!(&out[..], b"\x01\x01a\x89\x00\x00\x01b\x80\x00\x81\x01c");
}

#[test]
fn long_messages_in_fragments() {
    let mut config = Config::default();
    config.fragment = std::num::NonZeroUsize::new(3);
    let mut writer = Connection::server(config.into()).writer;
    let mut out = BytesMut::new();
    writer.binary(&mut out, b"abcdefg").unwrap();
    writer.binary(&mut out, b"abc").unwrap();
    assert_eq!(&out[..], b"\x02\x03abc\x00\x03def\x80\x01g\x82\x03abc");
    assert_eq!(writer.header(Kind::Binary, 4), Ok(None));
}

#[test]
fn nothing_follows_a_close_frame() {
    let mut writer = server();
    let mut out = BytesMut::new();
    assert_eq!(
        writer.close(&mut out, CloseCode::ABNORMAL, ""),
        Err(Misuse::CloseCode(1006))
    );
    assert_eq!(
        writer.close(&mut out, CloseCode::NORMAL, &"x".repeat(124)),
        Err(Misuse::ControlTooLong)
    );
    assert_eq!(writer.ping(&mut out, &[0; 126]), Err(Misuse::ControlTooLong));
    assert_eq!((&out[..], writer.state()), (&b""[..], State::Open));
    writer.close(&mut out, CloseCode::NO_STATUS, "").unwrap();
    assert_eq!((&out[..], writer.state()), (&b"\x88\x00"[..], State::Closing));
    for outcome in [
        writer.text(&mut out, ""),
        writer.part(&mut out, Message::Text(""), true),
        writer.ping(&mut out, b""),
        writer.pong(&mut out, b""),
        writer.close(&mut out, CloseCode::NORMAL, ""),
    ] {
        assert_eq!(outcome, Err(Misuse::Closed));
    }
    assert_eq!(out.len(), 2);
}

#[test]
fn a_close_frame_that_crosses_ours() {
    let Connection { mut reader, mut writer } = Connection::client(Default::default(), Fixed);
    let mut out = BytesMut::new();
    writer.close(&mut out, CloseCode::NORMAL, "").unwrap();
    let sent = out.len();
    let mut bytes = *b"\x89\x00\x81\x01a\x88\x02\x0f\xa0\x81\x01b";
    let mut input = &mut bytes[..];
    assert_eq!(
        reader.next(&mut writer, &mut input, &mut out),
        Ok(Some(Event::Ping(b"")))
    );
    let data = reader.next(&mut writer, &mut input, &mut out);
    assert_eq!(data, Ok(Some(Event::Message(Message::Text("a")))));
    let Ok(Some(Event::Close(reason))) = reader.next(&mut writer, &mut input, &mut out) else {
        panic!()
    };
    assert_eq!(reason.code.get(), 4000);
    assert_eq!(reader.next(&mut writer, &mut input, &mut out), Ok(None));
    assert!(input.is_empty(), "input behind the Close frame must be dropped");
    assert_eq!(out.len(), sent, "neither a Pong nor a second Close frame follows ours");
    assert!(writer.end());
}

#[test]
fn one_prepared_message_for_both_roles() {
    let prepared = PreparedMessage::binary(&[7; 300]);
    assert_eq!((prepared.kind(), prepared.payload()), (Kind::Binary, &[7; 300][..]));
    let (one, two) = (
        server().prepared(&prepared).unwrap(),
        server().prepared(&prepared).unwrap(),
    );
    assert_eq!(one.as_ptr(), two.as_ptr(), "servers share the bytes");
    assert_eq!(&one[..5], b"\x82\x7e\x01\x2c\x07");
    let masked = client().prepared(&prepared).unwrap();
    assert_eq!(&masked[..9], [0x82, 0xfe, 1, 0x2c, 1, 2, 3, 4, 6]);
}

#[test]
fn memory_is_given_back_between_messages() {
    let Connection { mut reader, mut writer } = Connection::client(Default::default(), Fixed);
    let mut out = BytesMut::new();
    let message = "x".repeat(100_000);
    let mut frames = BytesMut::new();
    server().text(&mut frames, &message).unwrap();
    let (front, back) = frames.split_at_mut(50_000);
    let mut input = front;
    assert_eq!(reader.next(&mut writer, &mut input, &mut out), Ok(None));
    assert!(reader.is_inside_message() && input.is_empty());
    let mut input = back;
    let whole = reader.next(&mut writer, &mut input, &mut out);
    assert_eq!(whole, Ok(Some(Event::Message(Message::Text(&message)))));
    assert_eq!(reader.next(&mut writer, &mut input, &mut out), Ok(None));
    assert!(format!("{reader:?}").contains("aside: None"), "{reader:?}");
}
