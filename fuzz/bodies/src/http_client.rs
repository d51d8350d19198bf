//! A client's connection. The first byte chooses the requests, the rest is what the server sends. The events are the same however the input
//! is cut, and no more than its bytes; content never exceeds the announced length; a failed connection stays failed.

use proto_http::{BodyLength, ClientConnection, ClientEvent, Rules, Violation, ViolationKind};

use crate::cuts::{arrive, cuts, whole};
use crate::request_head::rules;

/// Runs the target.
pub fn run(data: &[u8]) {
    let Some((&ask, stream)) = data.split_first() else {
        return;
    };
    // Ends the last line: the client reports every fault at the end of a line at the latest.
    let stream = [stream, b"\r\n\r\n\r\n"].concat();
    for rules in rules() {
        let expected = read(ask, &stream, &whole(&stream), &rules);
        for ends in cuts(&stream) {
            assert_eq!(read(ask, &stream, &ends, &rules), expected);
        }
    }
}

/// Sends the request that two bits of `ask` choose; false when no further request is allowed.
fn send(connection: &mut ClientConnection, ask: &mut u8) -> bool {
    let mut out = Vec::new();
    let method = match *ask & 3 {
        0 | 3 => "GET",
        1 => "HEAD",
        _ => "CONNECT",
    };
    let target = if method == "CONNECT" { "a:1" } else { "/" };
    let upgrade = [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "x")];
    let fields = if *ask & 3 == 3 { &upgrade[..] } else { &upgrade[..1] };
    *ask >>= 2;
    connection
        .send_request(method, target, &fields, BodyLength::Empty, &mut out)
        .is_ok()
}

/// The text for a failure. Where a narrow limit is exceeded and there is another fault, the cuts decide which of the two is named.
fn failed(violation: Violation, rules: &Rules) -> String {
    if *rules == Rules::DEFAULT {
        format!("failed {}", violation.status())
    } else {
        "failed".to_owned()
    }
}

/// The events in order, with pieces of content joined.
fn read(mut ask: u8, stream: &[u8], ends: &[usize], rules: &Rules) -> Vec<String> {
    let mut connection = ClientConnection::new();
    let mut seen = Vec::new();
    let mut content = String::new();
    let flush = |content: &mut String, seen: &mut Vec<String>| {
        if !content.is_empty() {
            seen.push(std::mem::take(content));
        }
    };
    assert!(send(&mut connection, &mut ask));
    let mut over = false;
    // Every event takes a byte or changes the state; each cut may cost one call without an event, and split one piece of content.
    let mut looks = 2 * (stream.len() + ends.len() + 2);
    arrive(stream, ends, |rest| {
        while !over {
            looks = looks.checked_sub(1).expect("events without input do not end");
            let event = match connection.next(rules, rest) {
                Ok(None) => break,
                Ok(Some(ClientEvent::Data(data))) => {
                    assert!(!data.is_empty(), "an empty piece of content");
                    content.extend(data.iter().map(|&byte| char::from(byte)));
                    continue;
                }
                Ok(Some(ClientEvent::Switched | ClientEvent::Closed)) => {
                    over = true;
                    break;
                }
                Ok(Some(ClientEvent::Response(head))) => {
                    format!("{} {:?} {:?}", head.status(), head.reason(), head.fields().as_bytes())
                }
                Ok(Some(ClientEvent::Informational(head))) => format!("({})", head.status()),
                Ok(Some(ClientEvent::End(trailers))) => {
                    if connection.is_idle() {
                        assert!(send(&mut connection, &mut ask), "an idle connection refuses a request");
                    }
                    format!("end {:?}", trailers.as_bytes())
                }
                Err(violation) => {
                    over = true;
                    if violation.kind() == ViolationKind::BodyTooLarge {
                        // How much of the content was handed out before the failure depends on the cuts.
                        content.clear();
                    }
                    assert_eq!(
                        connection.next(rules, rest),
                        Ok(Some(ClientEvent::Closed)),
                        "an event after a violation"
                    );
                    failed(violation, rules)
                }
            };
            flush(&mut content, &mut seen);
            seen.push(event);
        }
    });
    connection.eof();
    if !over {
        // The result at the end of the stream depends only on the bytes left over, which are the same for all cuts.
        let mut nothing: &[u8] = b"";
        let event = match connection.next(rules, &mut nothing) {
            Ok(Some(ClientEvent::End(_))) => "end at the end of the stream".to_owned(),
            Ok(event) => format!("{event:?}"),
            Err(violation) => failed(violation, rules),
        };
        flush(&mut content, &mut seen);
        seen.push(event);
    }
    seen
}
