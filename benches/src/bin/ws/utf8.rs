//! The UTF-8 check of text alone: ours through a client's decoder, whose frames need no unmasking.

use std::hint::black_box;
use std::sync::Arc;

use benches::turns::Job;
use bytes::BytesMut;
use proto_ws::{Connection, Decoder, Event, Limits, Message, Role};

use crate::frames::Content;
use benches::suite::{Row, Suite};

const MAKE: [fn(Vec<u8>) -> Job; 4] = [
    |text| {
        let mut to = vec![0; text.len()];
        over(text, move |text| {
            to.copy_from_slice(text);
            black_box(&to);
        })
    },
    decoder,
    |text| over(text, |text| assert!(std::str::from_utf8(text).is_ok())),
    |text| over(text, |text| assert!(simdutf8::basic::from_utf8(text).is_ok())),
];

pub(crate) fn suite() -> Suite {
    let mut rows = Vec::new();
    for (content, kind) in [(Content::Ascii, "ASCII"), (Content::MultiByte, "multi-byte")] {
        for (len, size) in [(16, "16 B"), (125, "125 B"), (1024, "1 KiB"), (65536, "64 KiB")] {
            rows.push(Row {
                name: format!("utf-8: {size} {kind}"),
                bar: None,
                batch: 2_000_000 / (len / 4 + 8),
                check: Box::new(move || check(content.payload(len))),
                job: Box::new(move |index| Some(MAKE[index](content.payload(len)))),
            });
        }
    }
    Suite {
        contestants: &["memcpy", "Decoder", "std", "simdutf8"],
        ours: "Decoder",
        rivals: &["std", "simdutf8"],
        rows,
    }
}

fn over(text: Vec<u8>, mut look: impl FnMut(&[u8]) + 'static) -> Job {
    Box::new(move |count| {
        for _ in 0..count {
            look(black_box(&text));
        }
        count
    })
}

/// A server's text frame, with any payload.
fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    let mut writer = Connection::server(Arc::default()).writer;
    writer.binary(&mut frame, text).unwrap();
    frame[0] ^= 0x82 ^ 0x81;
    frame.into()
}

fn decoder(text: Vec<u8>) -> Job {
    let mut frame = frame(&text);
    let mut decoder = Decoder::new(Role::Client, Limits::default());
    Box::new(move |count| {
        for _ in 0..count {
            let mut input = black_box(&mut frame[..]);
            black_box(decoder.next(&mut input)).unwrap();
        }
        count
    })
}

/// Checks that the decoder examines the text: accepts it unchanged, and refuses it with an invalid byte appended.
fn check(text: Vec<u8>) {
    let next = |text: &[u8]| {
        let mut frame = frame(text);
        let mut decoder = Decoder::new(Role::Client, Limits::default());
        let event = decoder.next(&mut &mut frame[..]);
        matches!(event, Ok(Some(Event::Message(Message::Text(taken)))) if taken.as_bytes() == text)
    };
    assert!(next(&text));
    assert!(!next(&[&text[1..], &[0xff]].concat()));
}
