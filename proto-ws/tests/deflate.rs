//! permessage-deflate: the examples of RFC 7692 section 7.2.3, exchanges between both roles, and attacks.
#![cfg(feature = "deflate")]

use std::sync::Arc;

use bytes::BytesMut;
use proto_ws::deflate::{Parameters, Settings};
use proto_ws::{
    CloseCode, Config, Connection, Entropy, Event, Kind, Masked, Message, PreparedMessage, Reader, Side, Violation,
    Writer,
};

const TAKEOVER: Parameters = Parameters {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

#[derive(Debug, Clone, Copy)]
struct Fixed;

impl Entropy for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0x5a);
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Arc<Config> {
    let mut config = Config::default();
    config.deflate.threshold = 0;
    change(&mut config);
    Arc::new(config)
}

fn client(parameters: Parameters) -> Connection<Masked<Fixed>> {
    Connection::client(config(|_| {}), Fixed).deflate(parameters)
}

/// The messages in `bytes`.
fn receive<S: Side>(
    reader: &mut Reader,
    writer: &mut Writer<S>,
    bytes: &[u8],
) -> Result<Vec<(Kind, Vec<u8>)>, Violation> {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    let mut out = BytesMut::new();
    let mut messages = Vec::new();
    while let Some(event) = reader.next(writer, &mut input, &mut out)? {
        if let Event::Message(message) = event {
            messages.push((message.kind(), message.as_bytes().to_vec()));
        }
    }
    Ok(messages)
}

#[test]
fn the_examples_of_section_7_2_3() {
    let hello = Ok(vec![(Kind::Text, b"Hello".to_vec())]);
    for frames in [
        &[0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[0x41, 0x03, 0xf2, 0x48, 0xcd, 0x80, 0x04, 0xc9, 0xc9, 0x07, 0x00],
        // A block without compression.
        &[
            0xc1, 0x0b, 0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        // A final block before the end of the message.
        &[0xc1, 0x08, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        // Two blocks.
        &[
            0xc1, 0x0d, 0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        let Connection { mut reader, mut writer } = client(TAKEOVER);
        assert_eq!(receive(&mut reader, &mut writer, frames), hello, "{frames:x?}");
    }
    // With context takeover, the next message refers to the window of this one.
    let Connection { mut reader, mut writer } = client(TAKEOVER);
    let first = [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(receive(&mut reader, &mut writer, &first), hello);
    assert_eq!(
        receive(&mut reader, &mut writer, &[0xc1, 0x05, 0xf2, 0x00, 0x11, 0x00, 0x00]),
        hello
    );
}

#[test]
fn both_roles_talk_with_all_parameters() {
    let mut messages: Vec<Vec<u8>> = vec![vec![], b"a".to_vec()];
    let mut state = 1u32;
    for len in [10usize, 300, 5000, 70_000] {
        let mut message = Vec::new();
        while message.len() < len {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            message.extend_from_slice(format!("{{\"price\":{},", state >> 20).as_bytes());
        }
        message.truncate(len);
        messages.push(message.clone());
        messages.push(message);
    }
    for bits in [8, 9, 10, 15] {
        for forgets in [false, true] {
            let parameters = Parameters {
                server_no_context_takeover: forgets,
                client_no_context_takeover: forgets,
                server_max_window_bits: bits,
                client_max_window_bits: bits,
            };
            for level in [0, 1, 6, 9] {
                let config = config(|config| config.deflate.level = level);
                let mut server = Connection::server(config.clone()).deflate(parameters);
                let mut client = Connection::client(config, Fixed).deflate(parameters);
                for message in &messages {
                    let expected = Ok(vec![(Kind::Binary, message.clone())]);
                    let mut out = BytesMut::new();
                    server.writer.binary(&mut out, message).unwrap();
                    assert_eq!(receive(&mut client.reader, &mut client.writer, &out), expected);
                    let mut out = BytesMut::new();
                    client.writer.binary(&mut out, message).unwrap();
                    assert_eq!(receive(&mut server.reader, &mut server.writer, &out), expected);
                }
            }
        }
    }
}

#[test]
fn a_window_of_eight_bits_is_kept() {
    // Repetitions at all distances around 256: an inflater whose output has room for one byte at a time can copy only from
    // its window.
    let mut message = Vec::new();
    for distance in 240..280 {
        let block: Vec<u8> = (0..distance).map(|i| ((i * 7919 + distance * 31) >> 3) as u8).collect();
        message.extend_from_slice(&block);
        message.extend_from_slice(&block);
    }
    let parameters = Parameters {
        server_max_window_bits: 8,
        ..TAKEOVER
    };
    for level in 1..=9 {
        let config = config(|config| config.deflate.level = level);
        let mut out = BytesMut::new();
        Connection::server(config)
            .deflate(parameters)
            .writer
            .binary(&mut out, &message)
            .unwrap();
        let (header, at) = proto_ws::frame::Header::decode(&out).unwrap().unwrap();
        assert_eq!(header.rsv, proto_ws::frame::RSV1);
        let mut compressed = out[at..].to_vec();
        compressed.extend_from_slice(&[0, 0, 0xff, 0xff]);
        let mut inflate = zlib_rs::Inflate::new(false, 8);
        let mut inflated = Vec::new();
        while inflated.len() < message.len() {
            let mut byte = [0];
            let from = inflate.total_in() as usize;
            inflate
                .decompress(&compressed[from..], &mut byte, zlib_rs::InflateFlush::SyncFlush)
                .unwrap();
            inflated.push(byte[0]);
        }
        assert!(inflated == message, "level {level}");
    }
}

#[test]
fn prepared_messages_go_between_others() {
    let settings = Settings::default();
    let text = "the same words again and again ".repeat(40);
    let prepared = PreparedMessage::text(&text).compressed(&settings);
    for parameters in [
        TAKEOVER,
        Parameters {
            server_max_window_bits: 9,
            ..TAKEOVER
        },
    ] {
        let mut server = Connection::server(config(|_| {})).deflate(parameters);
        let mut client = client(parameters);
        let mut out = BytesMut::new();
        for _ in 0..3 {
            server.writer.text(&mut out, &text).unwrap();
            let frame = server.writer.prepared(&prepared).unwrap();
            assert_eq!(frame.len() < text.len(), parameters.server_max_window_bits == 15);
            out.extend_from_slice(&frame);
        }
        let expected = vec![(Kind::Text, text.clone().into_bytes()); 6];
        assert_eq!(receive(&mut client.reader, &mut client.writer, &out), Ok(expected));
    }
}

#[test]
fn what_does_not_shrink_is_sent_as_it_is() {
    let mut server = Connection::server(config(|_| {})).deflate(TAKEOVER);
    let mut client = client(TAKEOVER);
    for _ in 0..3 {
        for message in [
            &b"\x01\x7f\x33"[..],
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            let mut out = BytesMut::new();
            server.writer.binary(&mut out, message).unwrap();
            assert_eq!(out[0], if message.len() == 3 { 0x82 } else { 0xc2 });
            let received = receive(&mut client.reader, &mut client.writer, &out);
            assert_eq!(received, Ok(vec![(Kind::Binary, message.to_vec())]));
        }
    }
}

#[test]
fn w06_a_deflate_bomb() {
    let bomb = vec![0; 8 << 20];
    let mut out = BytesMut::new();
    let best = config(|config| config.deflate.level = 9);
    Connection::client(best, Fixed)
        .deflate(TAKEOVER)
        .writer
        .binary(&mut out, &bomb)
        .unwrap();
    assert!(out.len() < 10_000);
    for (limit, ratio, error) in [
        (1 << 20, u32::MAX, Violation::MessageTooLong),
        (64 << 20, 200, Violation::InflateRatio),
    ] {
        let config = config(|config| {
            config.limits.message = limit;
            config.limits.inflate_ratio = ratio;
        });
        let Connection { mut reader, mut writer } = Connection::server(config).deflate(TAKEOVER);
        let mut answer = BytesMut::new();
        let mut bytes = out.to_vec();
        let mut input = &mut bytes[..];
        let outcome = reader.next(&mut writer, &mut input, &mut answer).map(|_| ());
        assert_eq!(outcome, Err(error));
        assert_eq!(answer[2..4], CloseCode::TOO_BIG.get().to_be_bytes());
    }
}

#[test]
fn broken_streams_and_text() {
    for (frames, error) in [
        (&[0xc1, 0x02, 0x07, 0xff][..], Violation::Deflate),
        // Stored blocks of text that is not UTF-8, or ends inside a character.
        (&[0xc1, 0x07, 0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x00], Violation::Utf8),
        (&[0xc1, 0x07, 0x00, 0x01, 0x00, 0xfe, 0xff, 0xe2, 0x00], Violation::Utf8),
        // RSV1 on a continuation, and on a control frame.
        (
            &[0x41, 0x03, 0xf2, 0x48, 0xcd, 0xc0, 0x04, 0xc9, 0xc9, 0x07, 0x00],
            Violation::ReservedBit,
        ),
        (&[0xc9, 0x00], Violation::ReservedBit),
        (&[0xa1, 0x00], Violation::ReservedBit),
    ] {
        let Connection { mut reader, mut writer } = client(TAKEOVER);
        assert_eq!(receive(&mut reader, &mut writer, frames), Err(error), "{frames:x?}");
    }
}

#[test]
fn parts_of_compressed_messages() {
    let text = "caf\u{e9} \u{20ac} ".repeat(1000);
    let mut out = BytesMut::new();
    Connection::server(config(|_| {}))
        .deflate(TAKEOVER)
        .writer
        .text(&mut out, &text)
        .unwrap();
    let client_config = config(|config| config.parts = true);
    let Connection { mut reader, mut writer } = Connection::client(client_config, Fixed).deflate(TAKEOVER);
    let mut bytes = out.to_vec();
    let mut input = Vec::new();
    let mut got = String::new();
    let mut ended = false;
    for byte in bytes.drain(..) {
        input.push(byte);
        let mut rest = &mut input[..];
        while let Some(event) = reader.next(&mut writer, &mut rest, &mut BytesMut::new()).unwrap() {
            let Event::Part {
                part: Message::Text(part),
                last,
            } = event
            else {
                panic!("{event:?}")
            };
            got.push_str(part);
            ended |= last;
        }
        let left = rest.len();
        input.drain(..input.len() - left);
    }
    assert!(ended && got == text);
}

/// A stored block adds six bytes to its content. The lengths are around the length up to which a piece is copied; the block is sent whole
/// and in two frames.
#[test]
fn every_length_around_a_short_piece_inflates() {
    for len in 1000..1040u16 {
        let content: Vec<u8> = (0..len).map(|at| (at * 7 % 251) as u8).collect();
        let mut block = vec![0];
        block.extend_from_slice(&len.to_le_bytes());
        block.extend_from_slice(&(!len).to_le_bytes());
        block.extend_from_slice(&content);
        block.push(0);
        let frame = |first: u8, payload: &[u8]| {
            let mut frame = vec![first];
            match payload.len() {
                len @ ..126 => frame.push(len as u8),
                len => frame.extend([126, (len >> 8) as u8, len as u8]),
            }
            frame.extend_from_slice(payload);
            frame
        };
        for cut in [0, 1, 500, block.len() - 1, block.len()] {
            let (front, back) = block.split_at(cut);
            let frames = [frame(0x42, front), frame(0x80, back)].concat();
            let Connection { mut reader, mut writer } = client(TAKEOVER);
            let seen = receive(&mut reader, &mut writer, &frames);
            assert_eq!(seen, Ok(vec![(Kind::Binary, content.clone())]), "{len} cut at {cut}");
        }
        let Connection { mut reader, mut writer } = client(TAKEOVER);
        let seen = receive(&mut reader, &mut writer, &frame(0xc2, &block));
        assert_eq!(seen, Ok(vec![(Kind::Binary, content)]), "{len}");
    }
}

/// Beyond the first MiB a message may inflate to 200 times its compressed size at most.
#[test]
fn honest_inflation_goes_beyond_a_mebibyte() {
    let config = config(|config| {
        config.limits.message = 8 << 20;
        config.limits.frame = 8 << 20;
        config.deflate.level = 6;
    });
    let mut random = 1u32;
    // One random byte in every 150, the others equal: such a message compresses to about a hundredth of its size.
    let honest: Vec<u8> = (0..3 << 20)
        .map(|at| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if at % 150 == 0 { (random >> 24) as u8 } else { b'x' }
        })
        .collect();
    for (message, verdict) in [(honest, None), (vec![b'x'; 3 << 20], Some(Violation::InflateRatio))] {
        let mut server = Connection::server(config.clone()).deflate(TAKEOVER);
        let mut client = Connection::client(config.clone(), Fixed).deflate(TAKEOVER);
        let mut out = BytesMut::new();
        server.writer.binary(&mut out, &message).unwrap();
        let ratio = message.len() / out.len();
        assert!(
            if verdict.is_none() {
                (40..200).contains(&ratio)
            } else {
                ratio > 200
            },
            "{ratio}"
        );
        let seen = receive(&mut client.reader, &mut client.writer, &out);
        assert_eq!(seen.as_ref().err(), verdict.as_ref());
        assert!(verdict.is_some() || seen == Ok(vec![(Kind::Binary, message)]));
    }
}

/// A small message may have any ratio: a page of zeros is no attack.
#[test]
fn no_ratio_is_suspicious_up_to_a_mebibyte() {
    let config = config(|config| {
        config.limits.message = 8 << 20;
        config.limits.frame = 8 << 20;
        config.deflate.level = 6;
    });
    for (length, fits) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        let mut server = Connection::server(config.clone()).deflate(TAKEOVER);
        let mut client = Connection::client(config.clone(), Fixed).deflate(TAKEOVER);
        let mut out = BytesMut::new();
        server.writer.binary(&mut out, &vec![0; length]).unwrap();
        assert!(length / out.len() > 200);
        let seen = receive(&mut client.reader, &mut client.writer, &out);
        assert_eq!(seen.err(), (!fits).then_some(Violation::InflateRatio));
    }
}

/// A faulty message gets the same error however its bytes are cut: inflated output is checked before further input is read.
#[test]
fn one_verdict_whatever_the_cut() {
    let config = config(|config| {
        config.limits.message = 600;
        config.deflate.level = 6;
    });
    let text = "abcd\u{e9}f\u{20ac}gh ".repeat(30);
    let mut out = BytesMut::new();
    let mut server = Connection::server(config.clone()).deflate(TAKEOVER);
    server.writer.text(&mut out, &text).unwrap();
    // A stored block whose content, C3 C3, is not UTF-8.
    let stored = b"\xc1\x08\x00\x02\x00\xfd\xff\xc3\xc3\x00";
    let long = {
        let mut out = BytesMut::new();
        let mut server = Connection::server(self::config(|_| {})).deflate(TAKEOVER);
        server.writer.text(&mut out, &text.repeat(3)).unwrap();
        out
    };
    let verdict = |frame: &[u8], step: usize| {
        let Connection { mut reader, mut writer } = Connection::client(config.clone(), Fixed).deflate(TAKEOVER);
        let mut left = Vec::new();
        for piece in frame.chunks(step) {
            left.extend_from_slice(piece);
            let mut input = &mut left[..];
            loop {
                match reader.next(&mut writer, &mut input, &mut BytesMut::new()) {
                    Ok(None) => break,
                    Ok(Some(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            left = input.to_vec();
        }
        Ok(())
    };
    let mut seen = std::collections::BTreeMap::new();
    for frame in [&out[..], stored, &long] {
        for at in 0..frame.len() {
            for bit in 0..=8 {
                let mut frame = frame.to_vec();
                // Flips one bit behind the header; the ninth round flips none.
                if bit < 8 && at > 3 {
                    frame[at] ^= 1 << bit;
                }
                let whole = verdict(&frame, frame.len());
                *seen.entry(format!("{whole:?}")).or_insert(0) += 1;
                for step in [1, 3, 10] {
                    assert_eq!(verdict(&frame, step), whole, "{at} {bit} {step}");
                }
            }
        }
    }
    for kind in ["Ok(())", "Err(Utf8)", "Err(Deflate)", "Err(MessageTooLong)"] {
        assert!(seen.contains_key(kind), "{kind} among {seen:?}");
    }
}
