//! The vectors of `vectors/h2.tsv`, whole and cut at every byte.

use std::fmt::Write;

#[path = "vectors/reader.rs"]
mod reader;

use proto_h2::{ClientConnection, ClientEvent, Head, Limits, Scratch, ServerConnection, ServerEvent, ViolationKind};
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

/// The frames of `out` that show a decision.
fn told(out: &[u8]) -> String {
    let mut line = String::new();
    let mut rest = out;
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, behind) = behind.split_at(length);
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        match head[3] {
            3 => write!(line, " RST({stream} {})", proto_h2::ErrorCode(word(0))).unwrap(),
            7 => write!(line, " GOAWAY({} {})", word(0), proto_h2::ErrorCode(word(4))).unwrap(),
            6 => write!(line, " PONG").unwrap(),
            4 if head[4] == 1 => line.push_str(" ACK"),
            8 => write!(line, " CREDIT({stream} {})", word(0)).unwrap(),
            1 => write!(line, " HEAD({stream}{})", if head[4] & 1 == 1 { " end" } else { "" }).unwrap(),
            0 => write!(
                line,
                " DATA({stream} {length}{})",
                if head[4] & 1 == 1 { " end" } else { "" }
            )
            .unwrap(),
            _ => {}
        }
        rest = behind;
    }
    line
}

/// What a server reads from `pieces`. The content of a stream is joined.
fn serve(pieces: &[&[u8]]) -> String {
    let limits = Limits::DEFAULT;
    let mut connection = ServerConnection::new();
    let (mut started, mut out, mut scratch) = (Vec::new(), Vec::new(), Scratch::new());
    connection.start(&limits, &mut started).unwrap();
    let mut line = String::new();
    let mut failed = false;
    feed(pieces, |rest| {
        while !failed {
            let event = connection.next(&limits, rest, &mut scratch, &mut out);
            let mut complete = None;
            match event {
                Ok(None) => break,
                Ok(Some(ServerEvent::Request { stream, request, end })) => {
                    write!(line, " {stream}:{} {}", request.method(), request.target()).unwrap();
                    for field in request.fields() {
                        if !["content-length", "host"].contains(&field.name) {
                            write!(line, " {}={:?}", field.name, field.text().unwrap_or("?")).unwrap();
                        }
                    }
                    complete = end.then_some(stream);
                    if connection.wants_tunnel(stream) {
                        connection
                            .send_response(stream, 200, &(), None, None, &limits, &mut out)
                            .unwrap();
                    }
                }
                Ok(Some(ServerEvent::Data { stream, data })) => {
                    let length = data.len();
                    connection.consume(stream, length, &limits, &mut out).unwrap();
                    let open = format!(" {stream}+");
                    // Pieces of one body are joined, because cuts do not matter.
                    if let Some(at) = line
                        .rfind(&open)
                        .filter(|&at| line[at + open.len()..].bytes().all(|byte| byte.is_ascii_digit()))
                    {
                        let sum: usize = line[at + open.len()..].parse().unwrap();
                        line.truncate(at);
                        write!(line, "{open}{}", sum + length).unwrap();
                    } else {
                        write!(line, "{open}{length}").unwrap();
                    }
                }
                Ok(Some(ServerEvent::End { stream, trailers })) => {
                    write!(line, " {stream}.").unwrap();
                    if !trailers.is_empty() {
                        write!(line, "+{}", trailers.iter().count()).unwrap();
                    }
                    complete = Some(stream);
                }
                Ok(Some(ServerEvent::Reset { stream, code })) => write!(line, " {stream}!{code}").unwrap(),
                Ok(Some(ServerEvent::Failed(violation))) => {
                    assert!(!violation.ends_connection());
                    write!(line, " {}:{}", violation.stream_id(), violation.kind().name()).unwrap();
                }
                Ok(Some(ServerEvent::Goaway(code))) => write!(line, " goaway({code})").unwrap(),
                Ok(Some(ServerEvent::Window { .. } | ServerEvent::Pong(_))) => {}
                Err(violation) => {
                    assert!(violation.ends_connection());
                    write!(line, " {}", violation.kind().name()).unwrap();
                    assert_eq!(connection.next(&limits, rest, &mut scratch, &mut out), Ok(None));
                    failed = true;
                }
            }
            if let Some(stream) = complete {
                if connection.is_responding(stream) {
                    connection.finish(stream, &(), &limits, &mut out).unwrap();
                } else if connection.can_respond(stream) {
                    connection
                        .respond(stream, 204, &(), b"", None, &limits, &mut out)
                        .unwrap();
                }
            }
        }
    });
    format!("{} |{}", line.trim_start(), told(&out))
}

/// What a client reads from `pieces` after a GET on stream 1 (or the requests that `kind` names).
fn call(kind: &str, pieces: &[&[u8]]) -> String {
    let limits = Limits::DEFAULT;
    let mut connection = ClientConnection::new();
    let (mut started, mut out, mut scratch) = (Vec::new(), Vec::new(), Scratch::new());
    connection.start(&limits, &mut started).unwrap();
    let method = kind.split(' ').nth(1).unwrap_or("GET");
    let head = match method {
        "CONNECT" => Head::connect("a:1"),
        _ => Head::new(method, "http", "a", "/"),
    };
    if matches!(method, "POST" | "CONNECT") {
        connection
            .start_request(head, &(), None, &limits, &mut started)
            .unwrap();
    } else {
        connection.request(head, &(), &limits, &mut started).unwrap();
    }
    let mut line = String::new();
    let mut failed = false;
    let mut sum = 0;
    feed(pieces, |rest| {
        while !failed {
            match connection.next(&limits, rest, &mut scratch, &mut out) {
                Ok(None) => break,
                Ok(Some(ClientEvent::Informational { stream, response })) => {
                    write!(line, " {stream}:({})", response.status()).unwrap();
                }
                Ok(Some(ClientEvent::Response { stream, response, end })) => {
                    write!(line, " {stream}:{}{}", response.status(), if end { "." } else { "" }).unwrap();
                }
                Ok(Some(ClientEvent::Data { stream, data })) => {
                    sum += data.len();
                    let length = data.len();
                    connection.consume(stream, length, &limits, &mut out).unwrap();
                }
                Ok(Some(ClientEvent::End { stream, trailers })) => {
                    write!(line, " {stream}+{sum}.").unwrap();
                    if !trailers.is_empty() {
                        write!(line, "+{}", trailers.iter().count()).unwrap();
                    }
                }
                Ok(Some(ClientEvent::Reset { stream, code })) => write!(line, " {stream}!{code}").unwrap(),
                Ok(Some(ClientEvent::Failed(violation))) => {
                    write!(line, " {}:{}", violation.stream_id(), violation.kind().name()).unwrap();
                }
                Ok(Some(ClientEvent::Goaway { last, code })) => {
                    write!(line, " goaway({last} {code} {})", connection.streams()).unwrap();
                }
                Ok(Some(ClientEvent::Window { .. } | ClientEvent::Pong(_))) => {}
                Err(violation) => {
                    write!(line, " {}", violation.kind().name()).unwrap();
                    failed = true;
                }
            }
        }
    });
    format!("{} |{}", line.trim_start(), told(&out))
}

fn outcome(vector: &Vector, pieces: &[&[u8]]) -> String {
    if vector.kind == "server" {
        serve(pieces)
    } else {
        call(vector.kind, pieces)
    }
}

#[test]
fn vectors_have_their_outcome() {
    let mut wrong = String::new();
    for vector in vectors() {
        assert!(vector.section.starts_with("RFC"), "{}", vector.name);
        let found = outcome(&vector, &[&vector.bytes]);
        if found != vector.outcome {
            writeln!(wrong, "{}\t{found}\n    not {}", vector.name, vector.outcome).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn cuts_change_nothing() {
    for vector in vectors() {
        let whole = outcome(&vector, &[&vector.bytes]);
        for pieces in splits(&vector.bytes) {
            let cut = outcome(&vector, &pieces);
            assert_eq!(cut, whole, "{} in {} pieces", vector.name, pieces.len());
        }
    }
}

#[test]
fn names_are_unique_and_kinds_are_met() {
    let vectors = vectors();
    let mut names: Vec<_> = vectors.iter().map(|vector| vector.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    // These violations need more than a vector; other tests cover them.
    let elsewhere = [
        "SettingsTimeout",
        "Flood",
        "TooSlow",
        "WindowExceeded",
        "TooManyStreams",
        "BlockTooLarge",
        "FieldsTooLarge",
        "TooManyFields",
        "BodyTooLarge",
    ];
    for kind in ViolationKind::ALL {
        let met = vectors.iter().any(|vector| vector.outcome.contains(kind.name()));
        assert!(met || elsewhere.contains(&kind.name()), "no vector for {}", kind.name());
    }
}
