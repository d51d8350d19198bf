//! Known attacks on WebSocket servers, one test each, against the codec. W06 and W07 are tested with permessage-deflate, W10 with the
//! adapters.

#![cfg(feature = "handshake")]

use bytes::BytesMut;
use proto_ws::handshake::server::{OriginPolicy, Rejection, Request};
use proto_ws::{Config, Connection, Decoder, Event, Limits, Message, Misuse, Reader, Role, State, Violation, Writer};

/// A client's frame, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0xfe);
            frame.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    let key = [0x11, 0xf2, 0x33, 0xd4];
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn server(change: impl FnOnce(&mut Config)) -> (Reader, Writer) {
    let mut config = Config::default();
    change(&mut config);
    let Connection { reader, writer } = Connection::server(config.into());
    (reader, writer)
}

/// The first error of a server that receives `bytes`, and the bytes it sent.
fn fails(change: impl FnOnce(&mut Config), bytes: &[u8]) -> (Option<Violation>, Vec<u8>) {
    let (mut reader, mut writer) = server(change);
    let mut out = BytesMut::new();
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    loop {
        match reader.next(&mut writer, &mut input, &mut out) {
            Ok(Some(_)) => {}
            Ok(None) => return (None, out.to_vec()),
            Err(error) => {
                assert_eq!(writer.state(), State::Failed);
                assert_eq!(writer.text(&mut out, "more"), Err(Misuse::Closed));
                // The last frame sent is a Close frame with the error's code.
                let close = out
                    .windows(4)
                    .rposition(|close| close[0] == 0x88 && close[1] >= 2)
                    .unwrap();
                assert_eq!(out[close + 2..close + 4], error.close_code().get().to_be_bytes());
                return (Some(error), out.to_vec());
            }
        }
    }
}

#[test]
fn w01_a_claimed_length_reserves_nothing() {
    // The header alone is refused, before any payload arrives.
    let header = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(fails(|_| {}, &header).0, Some(Violation::FrameTooLong));
    // An allowed frame holds only the memory of the bytes received.
    let mut bytes = [&header[..], &[0; 4], b"abc"].concat();
    let unlimited = |config: &mut Config| {
        config.limits.frame = u64::MAX;
        config.limits.message = u64::MAX;
    };
    let (mut reader, mut writer) = server(unlimited);
    let mut input = &mut bytes[..];
    assert_eq!(reader.next(&mut writer, &mut input, &mut BytesMut::new()), Ok(None));
    assert!(input.is_empty() && reader.is_inside_message());
}

#[test]
fn w02_lengths_do_not_wrap() {
    let unlimited = |config: &mut Config| {
        config.limits.frame = u64::MAX;
        config.limits.message = i64::MAX as u64;
    };
    let overflow = [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(fails(unlimited, &overflow).0, Some(Violation::LengthOverflow));
    let huge = [0x80, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let bytes = [frame(0x02, b"first"), huge.to_vec()].concat();
    assert_eq!(fails(unlimited, &bytes).0, Some(Violation::MessageTooLong));
    for long in [&[0x82, 0xfe, 0, 125][..], &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]] {
        assert_eq!(fails(unlimited, long).0, Some(Violation::NonMinimalLength));
    }
}

#[test]
fn w03_endless_fragments() {
    let tiny = |count| [frame(0x02, b"x"), frame(0x00, b"x").repeat(count)].concat();
    let fragments = |config: &mut Config| config.limits.fragments = 1000;
    assert_eq!(fails(fragments, &tiny(999)).0, None);
    assert_eq!(fails(fragments, &tiny(1000)).0, Some(Violation::TooManyFragments));
    let bytes = |config: &mut Config| config.limits.message = 1000;
    assert_eq!(fails(bytes, &tiny(999)).0, None);
    assert_eq!(fails(bytes, &tiny(1000)).0, Some(Violation::MessageTooLong));
    assert_eq!(
        fails(bytes, &frame(0x82, &[0; 1001])).0,
        Some(Violation::MessageTooLong)
    );
}

#[test]
fn w04_empty_fragments() {
    let empty = |count| [frame(0x01, b""), frame(0x00, b"").repeat(count)].concat();
    assert_eq!(fails(|_| {}, &empty(15)).0, None);
    assert_eq!(fails(|_| {}, &empty(16)).0, Some(Violation::TooManyEmptyFragments));
    // Streams end with an empty last fragment, which does not count as empty.
    assert_eq!(fails(|_| {}, &[empty(15), frame(0x80, b"")].concat()).0, None);
}

#[test]
fn w05_a_flood_of_pings() {
    // Within the budget a flood in one read is answered by a few Pongs, the last of them to the last Ping.
    let flood: Vec<u8> = (0..200u8).flat_map(|i| frame(0x89, &[i; 100])).collect();
    let (error, answer) = fails(|_| {}, &flood);
    assert_eq!(error, None);
    assert_eq!(answer.len(), 17 * 102);
    assert_eq!(answer[answer.len() - 100..], [199; 100]);
    // Beyond the budget the connection fails.
    let (error, _) = fails(|_| {}, &frame(0x89, b"").repeat(257));
    assert_eq!(error, Some(Violation::TooManyControlFrames));
    let (error, _) = fails(|_| {}, &frame(0x8a, b"").repeat(257));
    assert_eq!(error, Some(Violation::TooManyControlFrames));
    // The budget is renewed with time.
    let (mut reader, mut writer) = server(|config| config.limits.control_frames = 1);
    for _ in 0..10 {
        let mut ping = frame(0x89, b"");
        let mut input = &mut ping[..];
        assert_eq!(
            reader.next(&mut writer, &mut input, &mut BytesMut::new()),
            Ok(Some(Event::Ping(b"")))
        );
        writer.refill(1);
    }
}

#[test]
fn w08_a_peer_that_never_answers_close() {
    let (_, mut writer) = server(|_| {});
    let mut out = BytesMut::new();
    writer.close(&mut out, proto_ws::CloseCode::NORMAL, "").unwrap();
    assert_eq!(writer.state(), State::Closing);
    assert!(!writer.end(), "the deadline is the adapter's and is tested there");
    assert_eq!(writer.state(), State::Failed);
}

#[test]
fn w09_output_is_the_callers() {
    // Only Pings cause output that the caller did not ask for; 64 KiB of Pings cause 17 Pongs.
    let flood = frame(0x89, b"").repeat(65536 / 6);
    let (error, answer) = fails(|config| config.limits.control_frames = u32::MAX, &flood);
    assert_eq!((error, answer.len()), (None, 17 * 2));
}

#[test]
fn w11_cross_site_hijacking() {
    let request = |host: &'static str, origin: Option<&'static str>| {
        let fields = [
            ("Host", host),
            ("Upgrade", "websocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ];
        let fields = fields.into_iter().chain(origin.map(|origin| ("Origin", origin)));
        Request::read("GET", fields.map(|(name, value)| (name, value.as_bytes()))).unwrap()
    };
    let same = OriginPolicy::SameHost;
    for (host, origin, allowed) in [
        ("example.com", Some("https://example.com"), true),
        ("example.com:443", Some("https://EXAMPLE.com"), true),
        ("example.com", Some("http://example.com:80"), true),
        ("example.com:8080", Some("http://example.com:8080"), true),
        ("example.com", None, true),
        ("example.com", Some("https://example.com.evil.org"), false),
        ("example.com", Some("https://evil.org"), false),
        ("example.com", Some("http://example.com:8080"), false),
        ("example.com", Some("https://example.com:80"), false),
        ("example.com", Some("null"), false),
        ("example.com", Some("file://example.com"), false),
        ("example.com", Some("https://example.com/"), false),
    ] {
        let outcome = request(host, origin).check_origin(&same);
        assert_eq!(
            outcome,
            if allowed { Ok(()) } else { Err(Rejection::Origin) },
            "{origin:?} at {host}"
        );
    }
    let list = OriginPolicy::OneOf {
        origins: vec!["https://a.example".into()],
        required: true,
    };
    assert_eq!(request("b", Some("https://a.example")).check_origin(&list), Ok(()));
    assert_eq!(
        request("b", Some("https://b")).check_origin(&list),
        Err(Rejection::Origin)
    );
    assert_eq!(request("b", None).check_origin(&list), Err(Rejection::Origin));
    assert_eq!(Rejection::Origin.status(), 403);
}

#[test]
fn w12_broken_frames() {
    let long = [0x89, 0xfe, 0, 126, 0, 0, 0, 0];
    for (bytes, error) in [
        (&b"\x81\x01a"[..], Violation::Unmasked),
        (&frame(0xc1, b""), Violation::ReservedBit),
        (&frame(0xa1, b""), Violation::ReservedBit),
        (&frame(0x91, b""), Violation::ReservedBit),
        (&frame(0x83, b""), Violation::ReservedOpcode(3)),
        (&frame(0x8f, b""), Violation::ReservedOpcode(15)),
        (&long, Violation::ControlTooLong),
        (&frame(0x09, b""), Violation::FragmentedControl),
        (&frame(0x08, b""), Violation::FragmentedControl),
        (&frame(0x80, b""), Violation::NothingToContinue),
        (
            &[frame(0x01, b""), frame(0x81, b"")].concat(),
            Violation::MessageUnfinished,
        ),
        (
            &[frame(0x02, b""), frame(0x02, b"")].concat(),
            Violation::MessageUnfinished,
        ),
        (&frame(0x88, b"\x03"), Violation::CloseTooShort),
        (&frame(0x88, b"\x03\xed"), Violation::CloseCode(1005)),
        (&frame(0x88, b"\x03\xe8\xff"), Violation::Utf8),
        (&frame(0x81, b"\xc0\x80"), Violation::Utf8),
        (&frame(0x81, b"a\xe2\x82"), Violation::Utf8),
        (
            &[frame(0x01, b"a\xe2\x82"), frame(0x80, b"\x41")].concat(),
            Violation::Utf8,
        ),
        (&[frame(0x01, b"a\xe2\x82"), frame(0x80, b"")].concat(), Violation::Utf8),
    ] {
        assert_eq!(fails(|_| {}, bytes).0, Some(error), "{bytes:x?}");
    }
    let mut decoder = Decoder::new(Role::Client, Limits::default());
    assert_eq!(decoder.next(&mut &mut frame(0x81, b"a")[..]), Err(Violation::Masked));
    assert_eq!(
        decoder.next(&mut &mut b"\x81\x01a".to_vec()[..]),
        Err(Violation::Masked),
        "a failed decoder stays failed"
    );
    // Text fails at the first invalid byte, before its frame is complete.
    let bytes = frame(0x81, &[b"ok \xf4\x90".as_slice(), &[b'x'; 100]].concat());
    assert_eq!(fails(|_| {}, &bytes[..11]).0, Some(Violation::Utf8));
    assert_eq!(fails(|_| {}, &bytes[..10]).0, None);
}

#[test]
fn w13_every_byte_sent_was_given() {
    let (_, mut writer) = server(|_| {});
    for len in [0usize, 1, 125, 126, 4095, 65535, 65536, 70000] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut out = BytesMut::new();
        writer.binary(&mut out, &payload).unwrap();
        let (header, at) = proto_ws::frame::Header::decode(&out).unwrap().unwrap();
        assert_eq!((header.len, &out[at..]), (len as u64, &payload[..]));
    }
}

#[test]
fn w14_floods_of_offers() {
    let request = |name: &'static str, values: &[String]| {
        let mut fields = vec![
            ("Host", "a".to_string()),
            ("Upgrade", "websocket".into()),
            ("Connection", "Upgrade".into()),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==".into()),
            ("Sec-WebSocket-Version", "13".into()),
        ];
        fields.extend(values.iter().map(|value| (name, value.clone())));
        Request::read("GET", fields.iter().map(|(name, value)| (*name, value.as_bytes()))).map(|_| ())
    };
    for name in ["Sec-WebSocket-Protocol", "sec-websocket-extensions"] {
        let list = |count| (0..count).map(|i| format!("x{i}")).collect::<Vec<_>>().join(", ");
        assert_eq!(request(name, &[list(32)]), Ok(()));
        assert_eq!(request(name, &[list(33)]), Err(Rejection::TooManyOffers));
        assert_eq!(request(name, &vec![list(1); 4]), Ok(()));
        assert_eq!(request(name, &vec![list(1); 5]), Err(Rejection::TooManyOffers));
        // Subprotocol names that are not tokens are skipped; extensions must follow their grammar (RFC 6455 section 9.1).
        let verdict = if name == "Sec-WebSocket-Protocol" {
            Ok(())
        } else {
            Err(Rejection::Malformed)
        };
        assert_eq!(request(name, &["a b".into()]), verdict);
        assert_eq!(request(name, &["a\u{1}b".into()]), Err(Rejection::Malformed));
        // 256 KiB of input that makes backtracking parsers slow: the parser takes linear time.
        let long = format!("x; a=\"{}", "\\\"; ".repeat(65536));
        assert_eq!(request(name, &[long]), verdict);
    }
}

#[test]
fn w15_one_event_at_a_time() {
    // A call returns one event, however many are waiting, so the caller can limit the events of a turn.
    let mut bytes = frame(0x81, b"a").repeat(1000);
    let (mut reader, mut writer) = server(|_| {});
    let mut input = &mut bytes[..];
    let before = input.len();
    let event = reader.next(&mut writer, &mut input, &mut BytesMut::new());
    assert_eq!(event, Ok(Some(Event::Message(Message::Text("a")))));
    assert_eq!(input.len(), before - 7);
}

#[test]
fn requests_that_are_not_answered_by_101() {
    let good = [
        ("Host", "a"),
        ("Upgrade", "WebSocket"),
        ("Connection", "upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let read = |method: &str, fields: &[(&str, &str)]| {
        Request::read(method, fields.iter().map(|(name, value)| (*name, value.as_bytes()))).map(|_| ())
    };
    let with =
        |name: &str, value: &'static str| good.map(|field| if field.0 == name { (field.0, value) } else { field });
    let without = |name: &str| good.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>();
    let twice = |name: &str| {
        good.into_iter()
            .chain(good.into_iter().filter(|f| f.0 == name))
            .collect::<Vec<_>>()
    };
    assert_eq!(read("GET", &good), Ok(()));
    assert_eq!(read("POST", &good), Err(Rejection::Method));
    assert_eq!(read("GET", &without("Upgrade")), Err(Rejection::NotWebSocket));
    assert_eq!(read("GET", &without("Connection")), Err(Rejection::Connection));
    assert_eq!(read("GET", &without("Host")), Err(Rejection::Host));
    assert_eq!(read("GET", &without("Sec-WebSocket-Key")), Err(Rejection::Key));
    assert_eq!(read("GET", &with("Sec-WebSocket-Key", "c2hvcnQ=")), Err(Rejection::Key));
    assert_eq!(read("GET", &twice("Sec-WebSocket-Key")), Err(Rejection::Duplicate));
    assert_eq!(read("GET", &twice("Host")), Err(Rejection::Duplicate));
    assert_eq!(read("GET", &without("Sec-WebSocket-Version")), Err(Rejection::Version));
    assert_eq!(
        read("GET", &with("Sec-WebSocket-Version", "8")),
        Err(Rejection::Version)
    );
    assert_eq!(
        read("GET", &with("Connection", "upgrade\u{1}")),
        Err(Rejection::Malformed)
    );
    let mut out = BytesMut::new();
    Rejection::Version.write(&mut out);
    assert_eq!(
        &out[..],
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Connection: Upgrade, close\r\nContent-Length: 0\r\n\r\n"
    );
}

/// Offers that ws, gorilla/websocket, websockets and tungstenite accept too.
#[test]
fn offers_of_real_clients() {
    let read = |name: &'static str, value: &'static str| {
        let fields = [
            ("Host", "a"),
            ("Upgrade", "websocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ];
        let fields = fields
            .into_iter()
            .filter(move |field| field.0 != name)
            .chain([(name, value)]);
        Request::read("GET", fields.map(|(name, value)| (name, value.as_bytes())))
    };
    // Unused bits of the key's last character, and white space around the key.
    for key in ["dGhlIHNhbXBsZSBub25jZR==", " dGhlIHNhbXBsZSBub25jZQ==\t"] {
        assert!(read("Sec-WebSocket-Key", key).is_ok(), "{key}");
    }
    for key in [
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ= =",
        "dGhlIHNhbXBsZSBub25jZQ===",
    ] {
        assert_eq!(read("Sec-WebSocket-Key", key), Err(Rejection::Key), "{key}");
    }
    // Names that are not tokens, beside one that is.
    let offer = "http://a/b, {\"v\":1}, chat, a b";
    let request = read("Sec-WebSocket-Protocol", offer).unwrap();
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["chat"]);
    assert_eq!(request.accept().protocol(|_| true).chosen_protocol(), Some("chat"));
    let request = read("Sec-WebSocket-Protocol", "http://a/b").unwrap();
    assert_eq!(request.accept().protocol(|_| true).chosen_protocol(), None);
}
