//! The verdicts of proto-h2.

use proto_h2::hpack::Decoder;
use proto_h2::{ClientConnection, ClientEvent, Head, Limits, Scratch, ServerConnection, ServerEvent};
use proto_http::{Fields, Request};

use crate::{Taken, escaped, fields};

/// The same limits as the other implementations', so that verdicts do not differ because of limits.
fn limits() -> Limits {
    let mut limits = Limits::DEFAULT;
    limits.connection_window = 65_535;
    limits.budget = u32::MAX;
    limits
}

fn all(given: Fields<'_>) -> String {
    fields(given.iter().map(|field| (field.name.as_bytes(), field.value)))
}

/// A request as its client has written it, without the fields that replace pseudo-header fields in HTTP/1.1.
fn request(request: &Request<'_>, extended: bool) -> String {
    let left_out: &[&str] = if extended {
        &["host", "connection", "upgrade", "sec-websocket-key"]
    } else {
        &["host"]
    };
    let lines = request.fields();
    let own = lines.iter().filter(|field| !left_out.contains(&field.name));
    format!(
        "{} {} {} {}",
        if extended { "CONNECT" } else { request.method() },
        escaped(request.path().as_bytes()),
        escaped(request.authority().unwrap_or_default().as_bytes()),
        fields(own.map(|field| (field.name.as_bytes(), field.value)))
    )
}

pub(crate) fn server(pieces: &[Vec<u8>], answering: bool) -> Vec<String> {
    let (limits, mut scratch, mut started) = (limits(), Scratch::new(), Vec::new());
    let mut connection = ServerConnection::new();
    let _ = connection.start(&limits, &mut started);
    let (mut said, mut input) = (Vec::new(), Vec::new());
    for piece in pieces {
        let (mut taken, mut out) = (Taken::default(), Vec::new());
        input.extend_from_slice(piece);
        let mut rest = &input[..];
        while let Ok(Some(event)) = connection.next(&limits, &mut rest, &mut scratch, &mut out) {
            let ended = match event {
                ServerEvent::Request {
                    stream,
                    request: head,
                    end,
                } => {
                    let extended = head.fields().iter().any(|field| field.name == "sec-websocket-key");
                    taken.push(format!("Q {stream} {}", request(&head, extended)));
                    end.then_some((stream, String::new()))
                }
                ServerEvent::Data { stream, data } => {
                    taken.data(stream, data);
                    let length = data.len();
                    let _ = connection.consume(stream, length, &limits, &mut out);
                    None
                }
                ServerEvent::End { stream, trailers } => Some((
                    stream,
                    if trailers.is_empty() {
                        String::new()
                    } else {
                        all(trailers)
                    },
                )),
                ServerEvent::Reset { stream, code } => {
                    taken.push(format!("X {stream} {}", code.0));
                    None
                }
                _ => None,
            };
            if let Some((stream, trailers)) = ended {
                if !trailers.is_empty() {
                    taken.push(format!("T {stream} {trailers}"));
                }
                taken.push(format!("E {stream}"));
                if answering && !connection.wants_tunnel(stream) {
                    let _ = connection.respond(stream, 200, &(), b"", None, &limits, &mut out);
                }
            }
        }
        let used = input.len() - rest.len();
        input.drain(..used);
        let over = taken.replied(&out);
        said.push(taken.line());
        if over {
            break;
        }
    }
    said
}

pub(crate) fn client(pieces: &[Vec<u8>]) -> Vec<String> {
    let (limits, mut scratch, mut started) = (limits(), Scratch::new(), Vec::new());
    let mut connection = ClientConnection::new();
    let _ = connection.start(&limits, &mut started);
    for method in ["GET", "HEAD"] {
        let _ = connection.request(Head::new(method, "http", "a", "/"), &(), &limits, &mut started);
    }
    let _ = connection.start_request(Head::new("POST", "http", "a", "/"), &(), None, &limits, &mut started);
    let (mut said, mut input) = (Vec::new(), Vec::new());
    for piece in pieces {
        let (mut taken, mut out) = (Taken::default(), Vec::new());
        input.extend_from_slice(piece);
        let mut rest = &input[..];
        while let Ok(Some(event)) = connection.next(&limits, &mut rest, &mut scratch, &mut out) {
            match event {
                ClientEvent::Informational { stream, response } => {
                    taken.push(format!("I {stream} {} {}", response.status(), all(response.fields())));
                }
                ClientEvent::Response { stream, response, end } => {
                    taken.push(format!("S {stream} {} {}", response.status(), all(response.fields())));
                    if end {
                        taken.push(format!("E {stream}"));
                    }
                }
                ClientEvent::Data { stream, data } => {
                    taken.data(stream, data);
                    let length = data.len();
                    let _ = connection.consume(stream, length, &limits, &mut out);
                }
                ClientEvent::End { stream, trailers } => {
                    if !trailers.is_empty() {
                        taken.push(format!("T {stream} {}", all(trailers)));
                    }
                    taken.push(format!("E {stream}"));
                }
                ClientEvent::Reset { stream, code } => taken.push(format!("X {stream} {}", code.0)),
                _ => {}
            }
        }
        let used = input.len() - rest.len();
        input.drain(..used);
        let over = taken.replied(&out);
        said.push(taken.line());
        if over {
            break;
        }
    }
    said
}

pub(crate) fn blocks(pieces: &[Vec<u8>]) -> Vec<String> {
    let (mut decoder, mut said) = (Decoder::new(4096), Vec::new());
    for piece in pieces {
        let mut shown = Vec::new();
        let decoded = decoder.decode(piece, |name, value, never| {
            let mark = if never { "!" } else { "" };
            shown.push(format!("{mark}{}={}", escaped(name), escaped(value)));
        });
        if decoded.is_err() {
            said.push("error".into());
            break;
        }
        said.push(if shown.is_empty() { "-".into() } else { shown.join("&") });
    }
    said
}
