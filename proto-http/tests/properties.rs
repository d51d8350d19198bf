//! Properties that hold for all inputs: round trips between both roles, independence of cuts, and no panic on random bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use proto_http::{
    BodyLength, ClientConnection, ClientEvent, Fields, Parsed, Request, Rules, ServerConnection, ServerEvent,
};

type Field = (String, Vec<u8>);

fn fields() -> impl Strategy<Value = Vec<Field>> {
    // With a prefix, no name is that of a field with a meaning for the connection.
    let name = "x-[!#$%&'*+.^_`|~0-9A-Za-z-]{0,20}";
    let value = vec(
        prop_oneof![Just(b'\t'), Just(b' '), 0x21..=0x7eu8, 0x80..=0xffu8],
        0..60,
    )
    .prop_map(|mut value| {
        while value.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            value.remove(0);
        }
        while value.last().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            value.pop();
        }
        value
    });
    vec((name, value), 0..10)
}

fn own(fields: Fields<'_>) -> Vec<Field> {
    fields
        .iter()
        .map(|field| (field.name.to_owned(), field.value.to_owned()))
        .collect()
}

#[derive(Clone, Debug)]
enum Content {
    None,
    Length(Vec<Vec<u8>>),
    Chunks(Vec<Vec<u8>>, Vec<Field>),
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Content::None => Vec::new(),
            Content::Length(pieces) | Content::Chunks(pieces, _) => pieces.concat(),
        }
    }
}

fn content() -> impl Strategy<Value = Content> {
    let pieces = || vec(vec(any::<u8>(), 0..300), 0..6);
    prop_oneof![
        Just(Content::None),
        pieces().prop_map(Content::Length),
        (pieces(), fields()).prop_map(|(pieces, trailers)| Content::Chunks(pieces, trailers)),
    ]
}

#[derive(Clone, Debug)]
struct Message {
    method: &'static str,
    target: String,
    status: u16,
    fields: Vec<Field>,
    content: Content,
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let message = (
        prop_oneof![Just("GET"), Just("POST"), Just("M-SEARCH"), Just("DELETE")],
        "/[!$-~]{0,40}",
        200u16..1000,
        fields(),
        content(),
    )
        .prop_map(|(method, target, status, fields, content)| Message {
            method,
            target,
            status,
            fields,
            content,
        });
    vec(message, 1..4)
}

/// Cuts `bytes` at random places and shows them as a connection sees them arrive.
fn arrive(bytes: &[u8], cuts: &[usize], mut read: impl FnMut(&mut &[u8])) {
    let mut ends: Vec<_> = cuts
        .iter()
        .map(|cut| cut % (bytes.len() + 1))
        .chain([bytes.len()])
        .collect();
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        let mut rest = &bytes[start..end];
        read(&mut rest);
        start = end - rest.len();
    }
    assert_eq!(start, bytes.len(), "bytes were left over");
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    line: String,
    fields: Vec<Field>,
    body: Vec<u8>,
    trailers: Vec<Field>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn requests_and_responses_make_the_trip(messages in messages(), cuts in vec(any::<usize>(), 0..12)) {
        for message in &messages {
            // The request, from our client to our server.
            let (mut client, mut server) = (ClientConnection::new(), ServerConnection::new());
            let mut wire = Vec::new();
            let mut sent = vec![("Host".to_owned(), b"h".to_vec())];
            sent.extend(message.fields.clone());
            let length = match &message.content {
                Content::None => BodyLength::Empty,
                Content::Length(_) => BodyLength::Length(message.content.bytes().len() as u64),
                Content::Chunks(..) => BodyLength::Chunked,
            };
            client.send_request(message.method, &message.target, &sent[..], length, &mut wire).unwrap();
            let trailers = match &message.content {
                Content::Chunks(_, trailers) => trailers.clone(),
                _ => Vec::new(),
            };
            if !length.is_empty() {
                let (Content::Length(pieces) | Content::Chunks(pieces, _)) = &message.content else { unreachable!() };
                for piece in pieces {
                    client.send_data(piece, &mut wire).unwrap();
                }
                client.finish(&trailers[..], &mut wire).unwrap();
            }
            let mut seen = Seen::default();
            let mut complete = false;
            arrive(&wire, &cuts, |rest| loop {
                match server.next(&Rules::DEFAULT, rest).unwrap() {
                    Some(ServerEvent::Request(head)) => {
                        seen.line = format!("{} {}", head.method(), head.target());
                        seen.fields = own(head.fields());
                        complete = head.body().is_empty();
                    }
                    Some(ServerEvent::Data(data)) => seen.body.extend_from_slice(data),
                    Some(ServerEvent::End(trailers)) => {
                        seen.trailers = own(trailers);
                        complete = true;
                    }
                    _ => break,
                }
            });
            prop_assert!(complete);
            seen.fields.retain(|(name, _)| !matches!(&**name, "Content-Length" | "Transfer-Encoding"));
            let expect = Seen {
                line: format!("{} {}", message.method, message.target),
                fields: sent,
                body: message.content.bytes(),
                trailers: trailers.clone(),
            };
            prop_assert_eq!(seen, expect);

            // The response, back.
            let mut wire = Vec::new();
            let length = matches!(message.content, Content::None | Content::Length(_)).then(|| message.content.bytes().len() as u64);
            server.send_response(message.status, &message.fields[..], length, None, &mut wire).unwrap();
            if let Content::Length(pieces) | Content::Chunks(pieces, _) = &message.content {
                for piece in pieces {
                    server.send_data(piece, &mut wire).unwrap();
                }
            }
            server.finish(&trailers[..], &mut wire).unwrap();
            prop_assert!(server.is_idle());
            let mut seen = Seen::default();
            arrive(&wire, &cuts, |rest| loop {
                match client.next(&Rules::DEFAULT, rest).unwrap() {
                    Some(ClientEvent::Response(head)) => {
                        seen.line = head.status().to_string();
                        seen.fields = own(head.fields());
                    }
                    Some(ClientEvent::Data(data)) => seen.body.extend_from_slice(data),
                    Some(ClientEvent::End(trailers)) => seen.trailers = own(trailers),
                    _ => break,
                }
            });
            seen.fields.retain(|(name, _)| !matches!(&**name, "Content-Length" | "Transfer-Encoding"));
            let bodiless = matches!(message.status, 204 | 205 | 304);
            let expect = Seen {
                line: message.status.to_string(),
                fields: message.fields.clone(),
                body: if bodiless { Vec::new() } else { message.content.bytes() },
                trailers: if bodiless { Vec::new() } else { trailers },
            };
            prop_assert_eq!(seen, expect);
            prop_assert!(client.is_idle());
        }
    }

    /// Random bytes, and messages with some bytes changed: no panic, and the same result for all cuts.
    #[test]
    fn nothing_panics_and_cuts_change_nothing(
        start in prop_oneof![
            Just(&b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"[..]),
            Just(&b"GET http://a:1/b?c HTTP/1.1\r\nHost: [::1]:8\r\nConnection: close, upgrade\r\nUpgrade: x\r\n\r\n"[..]),
            Just(&b"\r\nPUT /x HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabcHEAD / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
            Just(&b""[..]),
        ],
        changes in vec((any::<usize>(), any::<u8>()), 0..4),
        noise in vec(any::<u8>(), 0..20),
        cuts in vec(any::<usize>(), 0..10),
    ) {
        let mut bytes = start.to_vec();
        for (at, byte) in changes {
            let length = bytes.len();
            if length > 0 {
                bytes[at % length] = byte;
            }
        }
        bytes.extend_from_slice(&noise);
        // Ends the last line: every fault is reported at the end of a line at the latest.
        bytes.extend_from_slice(b"\r\n\r\n\r\n\r\n\r\n");
        prop_assert_eq!(read(&bytes, &cuts), read(&bytes, &[]));
    }

    #[test]
    fn what_is_parsed_parses_again(target in "/[!$-~]{0,20}", fields in fields()) {
        let mut bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        for (name, value) in &fields {
            bytes.extend_from_slice(&[name.as_bytes(), b":", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        let Ok(Parsed::Complete { head, length }) = Request::parse(&bytes, &Rules::DEFAULT) else { panic!() };
        prop_assert_eq!(length, bytes.len());
        prop_assert_eq!(head.to_vec(), bytes);
    }
}

/// The content of the requests that a server reads from `bytes`, and how it ended. Only the status of a refusal counts, because which of
/// two faults is named may depend on the cuts.
fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, Option<u16>) {
    let mut connection = ServerConnection::new();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut status = None;
    let mut ends: Vec<_> = cuts
        .iter()
        .map(|cut| cut % (bytes.len() + 1))
        .chain([bytes.len()])
        .collect();
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        let mut rest = &bytes[start..end];
        loop {
            let complete = match connection.next(&Rules::DEFAULT, &mut rest) {
                Ok(Some(ServerEvent::Request(head))) => {
                    seen.push([head.method().as_bytes(), b" ", head.target().as_bytes(), b" "].concat());
                    head.body().is_empty()
                }
                Ok(Some(ServerEvent::Data(data))) => {
                    seen.last_mut().unwrap().extend_from_slice(data);
                    false
                }
                Ok(Some(ServerEvent::End(_))) => true,
                Ok(_) => break,
                Err(violation) => {
                    status = Some(violation.status());
                    false
                }
            };
            if complete {
                let _ = connection.respond(200, &(), b"", None, &mut Vec::new());
            }
        }
        start = end - rest.len();
    }
    (seen, status)
}
