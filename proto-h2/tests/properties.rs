//! Properties: encoding and decoding are inverse, cuts change nothing, streams keep their order, windows are respected.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proto_h2::hpack::{Decoder, Encoder, Indexing};
use proto_h2::{ClientConnection, ClientEvent, Head, Limits, Scratch, ServerConnection, ServerEvent};

fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        Just("date".to_owned()),
        Just("cookie".to_owned()),
        Just("authorization".to_owned()),
        Just("accept-encoding".to_owned()),
        "[a-z][a-z0-9-]{0,70}",
    ];
    let value = prop_oneof![
        Just(b"gzip, deflate".to_vec()),
        "[ -~]{0,60}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    prop::collection::vec((name, value), 0..12)
}

fn indexing() -> impl Strategy<Value = Indexing> {
    prop_oneof![
        4 => Just(Indexing::Auto),
        1 => Just(Indexing::Without),
        1 => Just(Indexing::Never),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// RFC 7541: encoded fields are decoded to the same fields, block after block, through changes of the table's size.
    #[test]
    fn hpack_is_the_identity(
        blocks in prop::collection::vec((fields(), indexing(), prop::option::of(0..8192_u32)), 1..12),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        for (fields, indexing, size) in blocks {
            if let Some(size) = size {
                decoder.offer(size);
                encoder.limit(size);
            }
            let mut block = Vec::new();
            encoder.begin(&mut block).unwrap();
            for (name, value) in &fields {
                encoder.field(name.as_bytes(), value, indexing, &mut block).unwrap();
            }
            let mut seen = Vec::new();
            decoder
                .decode(&block, |name, value, _| seen.push((String::from_utf8(name.to_vec()).unwrap(), value.to_vec())))
                .unwrap();
            prop_assert_eq!(seen, fields);
        }
    }

    /// Any bytes give an error or fields, never a panic, and twice the same.
    #[test]
    fn hpack_takes_any_bytes(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6)) {
        let run = || {
            let mut decoder = Decoder::new(300);
            let mut seen = Vec::new();
            for block in &blocks {
                if let Err(error) = decoder.decode(block, |name, value, never| seen.push((name.to_vec(), value.to_vec(), never))) {
                    return (seen, Some(error));
                }
            }
            (seen, None)
        };
        prop_assert_eq!(run(), run());
    }

    /// Many streams at once, under windows of any size, in pieces of any size: each receives its own content, in order, and none exceeds
    /// its window.
    #[test]
    fn streams_keep_their_content(
        bodies in prop::collection::vec(0..200_000_usize, 1..8),
        stream_window in 1..100_000_u32,
        connection_window in 65_535..300_000_u32,
        steps in prop::collection::vec((1..70_000_usize, 1..30_000_usize), 1..40),
    ) {
        let mut limits = Limits::DEFAULT;
        (limits.stream_window, limits.connection_window) = (stream_window, connection_window);
        limits.body = None;
        limits.budget = u32::MAX;
        let (mut client, mut server) = (ClientConnection::new(), ServerConnection::new());
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let (mut client_scratch, mut server_scratch) = (Scratch::new(), Scratch::new());
        client.start(&limits, &mut up).unwrap();
        server.start(&limits, &mut down).unwrap();
        // Requests have as much content as responses.
        let content = |stream: u32, length: usize| -> Vec<u8> { (0..length).map(|at| (at as u32 * 7 + stream) as u8).collect() };
        let mut sending: BTreeMap<u32, (Vec<u8>, usize)> = BTreeMap::new();
        for &length in &bodies {
            let id = client.start_request(Head::new("POST", "http", "a", "/"), &(), Some(length as u64), &limits, &mut up).unwrap();
            sending.insert(id, (content(id, length), 0));
        }
        let mut answering: BTreeMap<u32, (Vec<u8>, usize)> = BTreeMap::new();
        let (mut at_server, mut at_client): (BTreeMap<u32, Vec<u8>>, BTreeMap<u32, Vec<u8>>) = Default::default();
        let mut ended = 0;
        let mut steps = steps.iter().cycle();
        let mut rounds = 0;
        while ended < bodies.len() {
            rounds += 1;
            prop_assert!(rounds < 1_000_000, "all come to an end");
            let &(piece, cut) = steps.next().unwrap();
            for (&id, (body, at)) in &mut sending {
                if *at <= body.len() {
                    let end = (*at + piece).min(body.len());
                    let last = end == body.len();
                    let sent = client.send_data(id, &body[*at..end], last, &limits, &mut up).unwrap();
                    *at = if last && *at + sent == end { usize::MAX } else { *at + sent };
                }
            }
            let rest = up.split_off(cut.min(up.len()));
            let mut shown = up;
            {
                let mut input = &shown[..];
                while let Some(event) = server.next(&limits, &mut input, &mut server_scratch, &mut down).unwrap() {
                    match event {
                        ServerEvent::Data { stream, data } => {
                            at_server.entry(stream).or_default().extend_from_slice(data);
                            let length = data.len();
                            server.consume(stream, length, &limits, &mut down).unwrap();
                        }
                        ServerEvent::End { stream, .. } => {
                            let body = at_server.remove(&stream).unwrap_or_default();
                            server.send_response(stream, 200, &(), Some(body.len() as u64), None, &limits, &mut down).unwrap();
                            if !body.is_empty() {
                                answering.insert(stream, (body, 0));
                            } else {
                                // The head was all of it.
                                server.finish(stream, &(), &limits, &mut down).unwrap();
                            }
                        }
                        _ => {}
                    }
                }
                let used = shown.len() - input.len();
                shown.drain(..used);
            }
            shown.extend(rest);
            up = shown;
            for (&id, (body, at)) in &mut answering {
                if *at < body.len() {
                    let end = (*at + piece).min(body.len());
                    let sent = server.send_data(id, &body[*at..end], end == body.len(), &limits, &mut down).unwrap();
                    *at += sent;
                }
            }
            let rest = down.split_off(cut.min(down.len()));
            let mut shown = down;
            {
                let mut input = &shown[..];
                while let Some(event) = client.next(&limits, &mut input, &mut client_scratch, &mut up).unwrap() {
                    match event {
                        ClientEvent::Data { stream, data } => {
                            at_client.entry(stream).or_default().extend_from_slice(data);
                            let length = data.len();
                            client.consume(stream, length, &limits, &mut up).unwrap();
                        }
                        ClientEvent::Response { end: true, .. } => ended += 1,
                        ClientEvent::End { stream, .. } => {
                            ended += 1;
                            let got = at_client.remove(&stream).unwrap_or_default();
                            prop_assert_eq!(got, content(stream, sending[&stream].0.len()));
                        }
                        ClientEvent::Reset { .. } | ClientEvent::Failed(_) | ClientEvent::Goaway { .. } => panic!("{event:?}"),
                        _ => {}
                    }
                }
                let used = shown.len() - input.len();
                shown.drain(..used);
            }
            shown.extend(rest);
            down = shown;
        }
        prop_assert_eq!((client.streams(), server.streams()), (0, 0));
    }

    /// Any bytes behind the preface give events or violations, never a panic; and cuts change nothing.
    #[test]
    fn cuts_of_any_bytes_change_nothing(
        bytes in prop::collection::vec(frames(), 0..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], &bytes.concat()].concat();
        let whole = serve(&[&bytes]);
        let (head, tail) = bytes.split_at(cut.index(bytes.len()));
        prop_assert_eq!(serve(&[head, tail]), whole.clone());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(serve(&single), whole);
    }
}

/// A frame that is valid, nearly valid, or any bytes.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        Just(vec![0x82, 0x86, 0x84, 0x41, 0x01, b'a']),
        Just(vec![0x83, 0x86, 0x84, 0x41, 0x01, b'a']),
        Just(vec![0, 0, 0, 1]),
        Just(vec![0; 8]),
        Just(vec![0, 4, 0, 0, 0, 100]),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let likely = (
        0..18_u8,
        prop_oneof![Just(0_u8), Just(1), Just(4), Just(5), any::<u8>()],
        0..8_u32,
        payload,
    )
        .prop_map(|(kind, flags, stream, payload)| {
            let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
            frame.extend([kind, flags]);
            frame.extend(stream.to_be_bytes());
            frame.extend(payload);
            frame
        });
    prop_oneof![8 => likely, 1 => prop::collection::vec(any::<u8>(), 0..20)]
}

/// The events and the bytes sent by a server, regardless of where content is cut.
fn serve(pieces: &[&[u8]]) -> (String, Vec<u8>) {
    let limits = Limits::DEFAULT;
    let (mut connection, mut out, mut scratch) = (ServerConnection::new(), Vec::new(), Scratch::new());
    connection.start(&limits, &mut Vec::new()).unwrap();
    let (mut log, mut buffer, mut content) = (String::new(), Vec::new(), BTreeMap::<u32, usize>::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut rest = &buffer[..];
        loop {
            match connection.next(&limits, &mut rest, &mut scratch, &mut out) {
                Ok(None) => break,
                Ok(Some(ServerEvent::Data { stream, data })) => {
                    *content.entry(stream).or_default() += data.len();
                    let length = data.len();
                    connection.consume(stream, length, &limits, &mut out).unwrap();
                }
                Ok(Some(event)) => {
                    log += &format!("{event:?}\n");
                    if let ServerEvent::Request { stream, end: true, .. } | ServerEvent::End { stream, .. } = event
                        && connection.can_respond(stream)
                        && !connection.wants_tunnel(stream)
                    {
                        connection
                            .respond(stream, 204, &(), b"", None, &limits, &mut out)
                            .unwrap();
                    }
                }
                Err(violation) => {
                    log += &format!("{violation:?}\n");
                    break;
                }
            }
        }
        let used = buffer.len() - rest.len();
        buffer.drain(..used);
    }
    (format!("{log}{content:?}"), out)
}
