//! The vectors of `vectors/http1.tsv`, whole and cut at every byte.

use std::fmt::Write;

#[path = "vectors/reader.rs"]
mod reader;

use proto_http::{
    BodyLength, ClientConnection, ClientEvent, HeadScanner, Parsed, Request, Rules, ServerConnection, ServerEvent,
    Version, ViolationKind,
};
use protocol::testing::splits;
use reader::{Vector, vectors};

/// Feeds pieces to a reader that takes what it can from the front of its buffer.
fn feed(pieces: &[&[u8]], mut read: impl FnMut(&mut &[u8])) {
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut rest = &buffer[..];
        read(&mut rest);
        let used = buffer.len() - rest.len();
        buffer.drain(..used);
    }
}

/// What a server reads from `pieces`.
fn serve(pieces: &[&[u8]]) -> String {
    let (mut connection, mut done, mut ended) = (ServerConnection::new(), Vec::new(), None);
    let mut head = String::new();
    let mut body: Option<String> = None;
    let mut out = Vec::new();
    feed(pieces, |rest| {
        while ended.is_none() {
            let mut complete = None;
            match connection.next(&Rules::DEFAULT, rest) {
                Ok(Some(ServerEvent::Request(request))) => {
                    let version = if request.version() == Version::Http10 {
                        "1.0"
                    } else {
                        "1.1"
                    };
                    head = format!("{} {} {version} ", request.method(), request.target());
                    if connection.expects_continue() {
                        head.push_str("100 ");
                        connection.send_informational(100, &(), &mut out).unwrap();
                    }
                    body = Some(String::new());
                    if request.body().is_empty() {
                        complete = Some(0);
                    }
                }
                Ok(Some(ServerEvent::Data(data))) => {
                    body.as_mut().unwrap().push_str(std::str::from_utf8(data).unwrap())
                }
                Ok(Some(ServerEvent::End(trailers))) => complete = Some(trailers.iter().count()),
                Ok(None) => break,
                Ok(Some(ServerEvent::Paused | ServerEvent::Closed)) => ended = Some("close".to_owned()),
                Err(violation) => {
                    assert_eq!(connection.next(&Rules::DEFAULT, rest), Ok(Some(ServerEvent::Closed)));
                    assert!(connection.can_respond());
                    body = None;
                    ended = Some(format!("{} {}", violation.status(), violation.kind().name()));
                }
            }
            if let Some(trailers) = complete {
                let mut line = format!("{head}\"{}\"", body.take().unwrap());
                if trailers > 0 {
                    write!(line, " +{trailers}").unwrap();
                }
                done.push(line);
                let status = if head.starts_with("CONNECT") { 403 } else { 200 };
                connection.respond(status, &(), b"", None, &mut out).unwrap();
                if connection.must_close() {
                    ended = Some("close".into());
                }
            }
        }
    });
    if let Some(body) = body {
        done.push(format!("{head}\"{body}.."));
    }
    done.push(ended.unwrap_or_else(|| "more".into()));
    done.join("; ")
}

/// What a client reads from `pieces`.
fn call(method: &str, pieces: &[&[u8]], eof: bool) -> String {
    let mut connection = ClientConnection::new();
    let target = if method == "CONNECT" { "h:1" } else { "/" };
    connection
        .send_request(method, target, &[("Host", "h")], BodyLength::Empty, &mut Vec::new())
        .unwrap();
    let (mut line, mut open, mut complete, mut ended) = (String::new(), false, false, None);
    // Reads one event; the next head must be unfolded before it is read.
    let mut read = |connection: &mut ClientConnection, rest: &mut &[u8]| {
        if ended.is_none() {
            match connection.next(&Rules::RESPONSES, rest) {
                Ok(Some(ClientEvent::Informational(head))) => write!(line, "({}) ", head.status()).unwrap(),
                Ok(Some(ClientEvent::Response(head))) => {
                    write!(line, "{} ", head.status()).unwrap();
                    if connection.response_state() != proto_http::state::State::Switched {
                        line.push('"');
                        open = true;
                    }
                }
                Ok(Some(ClientEvent::Data(data))) => line.push_str(std::str::from_utf8(data).unwrap()),
                Ok(Some(ClientEvent::End(trailers))) => {
                    line.push('"');
                    (open, complete) = (false, true);
                    if !trailers.is_empty() {
                        write!(line, " +{}", trailers.iter().count()).unwrap();
                    }
                    if connection.must_close() {
                        ended = Some("close".to_owned());
                    }
                }
                Ok(Some(ClientEvent::Switched)) => ended = Some("switched".into()),
                Ok(None) => return false,
                Ok(Some(ClientEvent::Closed)) => ended = Some("close".into()),
                Err(violation) => ended = Some(format!("error {}", violation.kind().name())),
            }
            return true;
        }
        false
    };
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            connection.unfold(&mut buffer);
            let mut rest = &buffer[..];
            let more = read(&mut connection, &mut rest);
            let used = buffer.len() - rest.len();
            buffer.drain(..used);
            if !more {
                break;
            }
        }
    }
    if eof {
        connection.eof();
        while read(&mut connection, &mut &buffer[..]) {}
    }
    if open {
        line.push_str("..");
    }
    let ended = ended.unwrap_or_else(|| {
        if connection.is_idle() {
            "keep".into()
        } else {
            "more".into()
        }
    });
    match (complete || open, line.is_empty()) {
        (true, _) => format!("{line}; {ended}"),
        (false, true) => ended,
        (false, false) => format!("{}{ended}", line),
    }
}

fn outcome(vector: &Vector, pieces: &[&[u8]]) -> String {
    match vector.kind.split(' ').collect::<Vec<_>>()[..] {
        ["request"] => serve(pieces),
        ["response", method] => call(method, pieces, false),
        ["response", method, "eof"] => call(method, pieces, true),
        _ => panic!("unknown kind {}", vector.kind),
    }
}

#[test]
fn every_vector_has_its_outcome() {
    let vectors = vectors();
    assert!(vectors.len() >= 200);
    let mut wrong = Vec::new();
    for vector in &vectors {
        assert!(vector.section.starts_with("RFC"), "{}", vector.name);
        let found = outcome(vector, &[&vector.bytes]);
        if found != vector.outcome {
            wrong.push(format!("{}: {found}\n  instead of {}", vector.name, vector.outcome));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_cut_changes_an_outcome() {
    let mut wrong = Vec::new();
    for vector in vectors() {
        // Long vectors are cut only near their ends.
        for pieces in splits(&vector.bytes) {
            let first = pieces.first().map_or(0, |piece| piece.len());
            if vector.bytes.len() > 500 && pieces.len() == 2 && (40..vector.bytes.len() - 40).contains(&first) {
                continue;
            }
            let found = outcome(&vector, &pieces);
            if found != vector.outcome {
                wrong.push(format!(
                    "{} at {first}: {found}\n  instead of {}",
                    vector.name, vector.outcome
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every kind of violation a peer can cause by bytes alone is shown by a vector.
#[test]
fn every_violation_is_shown() {
    let vectors = vectors();
    for kind in ViolationKind::ALL {
        assert!(
            vectors.iter().any(|vector| vector.outcome.ends_with(kind.name())),
            "{}",
            kind.name()
        );
    }
}

/// httparse accepts every head that we accept, and reads the same.
#[test]
fn heads_look_to_httparse_as_they_do_to_us() {
    let mut seen = 0;
    for vector in vectors().iter().filter(|vector| vector.kind == "request") {
        let Ok(Parsed::Complete { head, length }) = Request::parse(&vector.bytes, &Rules::DEFAULT) else {
            continue;
        };
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut theirs = httparse::Request::new(&mut headers);
        match theirs.parse(&vector.bytes) {
            Ok(httparse::Status::Complete(end)) => assert_eq!(end, length, "{}", vector.name),
            // httparse knows no minor versions above 1.
            Err(httparse::Error::Version) => continue,
            other => panic!("{}: {other:?}", vector.name),
        }
        assert_eq!(
            (theirs.method, theirs.path),
            (Some(head.method()), Some(head.target())),
            "{}",
            vector.name
        );
        let ours: Vec<_> = head.fields().iter().map(|field| (field.name, field.value)).collect();
        let theirs: Vec<_> = theirs
            .headers
            .iter()
            .map(|header| (header.name, header.value))
            .collect();
        assert_eq!(ours, theirs, "{}", vector.name);
        seen += 1;
    }
    assert!(seen > 50);
}

#[test]
fn a_scanner_is_ready_once_until_the_end() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let mut scanner = HeadScanner::new();
    let ready = (1..=head.len())
        .filter(|&end| scanner.ready(&head[..end], &Rules::DEFAULT.limits))
        .collect::<Vec<_>>();
    assert_eq!(ready, [1, head.len()]);
}
