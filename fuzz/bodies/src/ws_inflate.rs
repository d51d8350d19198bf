//! A connection with permessage-deflate and any frames: messages and failures are the same however the input is cut. Memory never exceeds
//! what the limit of a message allows, however large the inflated bytes would be. Inflated messages are the same as miniz's, and messages
//! that miniz deflates can be inflated.

use std::sync::Arc;

use bytes::BytesMut;
use proto_ws::deflate::Parameters;
use proto_ws::frame::{Header, RSV1};
use proto_ws::{Config, Connection, Event, Message, Opcode, mask};

use crate::cuts::{cuts, whole};
use crate::memory;
use crate::miniz::{Deflating, Inflating};

/// The maximum size of a message here, in bytes.
const MESSAGE: usize = 64 * 1024;

/// Runs the target: the first byte says what was negotiated, and whether the rest is frames, the content of one compressed message, or a
/// message for miniz to deflate.
pub fn run(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else {
        return;
    };
    let parameters = Parameters {
        server_no_context_takeover: choice & 1 != 0,
        client_no_context_takeover: choice & 2 != 0,
        server_max_window_bits: 15,
        client_max_window_bits: 8 + (choice >> 2) % 8,
    };
    let opcode = if choice & 0x40 == 0 {
        Opcode::Text
    } else {
        Opcode::Binary
    };
    let forgets = parameters.client_no_context_takeover;
    match choice & 0xa0 {
        // A stored message, as large as a message may be.
        0xa0 if rest.len() < MESSAGE => {
            let (mut stream, mut digest) = (Vec::new(), 0);
            let mut context = Deflating::default();
            for message in [rest, &rest[rest.len() / 2..]] {
                stream.extend(frame(Opcode::Binary, &context.message(message)));
                digest = mix(digest, Message::Binary(message));
                if forgets {
                    context = Deflating::default();
                }
            }
            assert_eq!(
                receive_cut(parameters, &stream),
                (digest, 2, false),
                "a message deflated by miniz does not inflate"
            );
        }
        0x80 => {
            // Sent twice, as the second message may refer to the first.
            let seen = receive_cut(parameters, &frame(opcode, rest).repeat(2));
            // zlib refuses more than miniz, for example a table without an end of block.
            if !seen.2
                && let Some(theirs) = miniz_reads(forgets, opcode, rest)
            {
                assert_eq!(seen, theirs, "miniz disagrees");
            }
        }
        _ => {
            receive_cut(parameters, rest);
        }
    }
}

/// The result for `stream`, which must be the same for all cuts.
fn receive_cut(parameters: Parameters, stream: &[u8]) -> (u64, usize, bool) {
    let expected = receive(parameters, stream, &whole(stream));
    for ends in cuts(stream) {
        assert_eq!(receive(parameters, stream, &ends), expected);
    }
    expected
}

/// The result for the content of one message sent twice, when miniz inflates both and neither exceeds a limit.
fn miniz_reads(forgets: bool, opcode: Opcode, payload: &[u8]) -> Option<(u64, usize, bool)> {
    let mut context = Inflating::strict(4 * MESSAGE);
    let (mut digest, mut count) = (0, 0);
    for _ in 0..2 {
        let bytes = context.message(payload).filter(|bytes| bytes.len() <= MESSAGE)?;
        let message = match opcode {
            Opcode::Text => match std::str::from_utf8(&bytes) {
                Ok(text) => Message::Text(text),
                Err(_) => return Some((digest, count, true)),
            },
            _ => Message::Binary(&bytes),
        };
        digest = mix(digest, message);
        count += 1;
        if forgets {
            context = Inflating::strict(4 * MESSAGE);
        }
    }
    Some((digest, count, false))
}

/// Adds a message to the digest.
fn mix(digest: u64, message: Message<'_>) -> u64 {
    let fold = |digest: u64, &byte: &u8| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let digest = message.as_bytes().iter().fold(digest, fold);
    digest ^ u64::from(matches!(message, Message::Text(_)))
}

/// A compressed message of a client in one frame.
fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let header = Header {
        fin: true,
        rsv: RSV1,
        opcode,
        mask: Some(key),
        len: payload.len() as u64,
    };
    let mut frame = header.encode().to_vec();
    let from = frame.len();
    frame.extend_from_slice(payload);
    mask::Mask::new(key).apply(&mut frame[from..]);
    frame
}

/// A digest of the messages, their number, and whether the connection failed.
fn receive(parameters: Parameters, stream: &[u8], ends: &[usize]) -> (u64, usize, bool) {
    let mut config = Config::default();
    config.limits.message = MESSAGE as u64;
    let config = Arc::new(config);
    let mut waiting = Vec::with_capacity(stream.len());
    // The inflater with its window, a message in a buffer that has doubled, and replies to control frames.
    memory::within(2 * MESSAGE + (160 << 10) + 2 * stream.len(), || {
        let Connection { mut reader, mut writer } = Connection::server(config).deflate(parameters);
        let mut out = BytesMut::new();
        let (mut digest, mut count) = (0, 0);
        let mut start = 0;
        for &end in ends {
            waiting.extend_from_slice(&stream[start..end]);
            start = end;
            let mut rest = &mut waiting[..];
            loop {
                match reader.next(&mut writer, &mut rest, &mut out) {
                    Ok(Some(Event::Message(message))) => {
                        assert!(message.as_bytes().len() <= MESSAGE, "a message exceeds the limit");
                        digest = mix(digest, message);
                        count += 1;
                    }
                    Ok(Some(Event::Close(_))) => return (digest, count, false),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return (digest, count, true),
                }
            }
            let left = rest.len();
            waiting.drain(..waiting.len() - left);
        }
        (digest, count, false)
    })
}
