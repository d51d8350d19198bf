//! What this crate makes of messages: reads one a line from standard input, its kind as in `tests/vectors/http1.tsv` and its bytes in
//! hexadecimal, separated by a tab; writes one line for each. `ci/differential.py` compares them with other people's parsers.
//!
//! A line has, separated by tabs, `Q METHOD TARGET BODY` for each complete request, or `I STATUS` and `S STATUS BODY` for responses, and
//! then `more`, `close`, `switched` or `error KIND`.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufWriter, Write};

use proto_http::{BodyLength, ClientConnection, ClientEvent, Rules, ServerConnection, ServerEvent, Violation};

fn main() -> io::Result<()> {
    let mut output = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (kind, digits) = line.split_once('\t').unwrap_or((&line, ""));
        let Some(bytes) = unhex(digits) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not in hexadecimal"));
        };
        let verdict = match kind.split(' ').collect::<Vec<_>>()[..] {
            ["response", method] => call(method, &bytes, false),
            ["response", method, "eof"] => call(method, &bytes, true),
            _ => serve(&bytes),
        };
        writeln!(output, "{verdict}")?;
    }
    output.flush()
}

/// A server that answers each complete request.
fn serve(mut bytes: &[u8]) -> String {
    let mut connection = ServerConnection::new();
    let mut verdict = String::new();
    let (mut head, mut body) = (String::new(), Vec::new());
    let mut out = Vec::new();
    loop {
        let complete = match connection.next(&Rules::DEFAULT, &mut bytes) {
            Ok(Some(ServerEvent::Request(request))) => {
                head = format!("Q {} {}", request.method(), request.target());
                body.clear();
                request.body().is_empty()
            }
            Ok(Some(ServerEvent::Data(data))) => {
                body.extend_from_slice(data);
                false
            }
            Ok(Some(ServerEvent::End(_))) => true,
            Ok(None) => return verdict + "more",
            Ok(Some(ServerEvent::Paused | ServerEvent::Closed)) => return verdict + "close",
            Err(violation) => return verdict + &error(violation),
        };
        if complete {
            let _ = write!(verdict, "{head} {}\t", hex(&body));
            let status = if head.starts_with("Q CONNECT") { 403 } else { 200 };
            if connection.respond(status, &(), b"", None, &mut out).is_err() || connection.must_close() {
                return verdict + "close";
            }
        }
    }
}

/// A client that has sent one request.
fn call(method: &str, bytes: &[u8], eof: bool) -> String {
    let mut connection = ClientConnection::new();
    let target = if method == "CONNECT" { "h:1" } else { "/" };
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    let asked = connection.send_request(method, target, &[("Host", "h")], BodyLength::Empty, &mut Vec::new());
    let mut verdict = String::new();
    let (mut status, mut body, mut ended) = (0, Vec::new(), asked.is_err());
    loop {
        connection.unfold(&mut bytes[at..]);
        let mut rest = &bytes[at..];
        let event = connection.next(&Rules::RESPONSES, &mut rest);
        at = bytes.len() - rest.len();
        match event {
            Ok(Some(ClientEvent::Informational(head))) => {
                let _ = write!(verdict, "I {}\t", head.status());
            }
            Ok(Some(ClientEvent::Response(head))) => status = head.status(),
            Ok(Some(ClientEvent::Data(data))) => body.extend_from_slice(data),
            Ok(Some(ClientEvent::End(_))) => {
                let _ = write!(verdict, "S {status} {}\t", hex(&body));
            }
            Ok(Some(ClientEvent::Switched)) => return verdict + "switched",
            Ok(None) if eof && !ended => {
                ended = true;
                connection.eof();
            }
            Ok(None) => return verdict + "more",
            Ok(Some(ClientEvent::Closed)) => return verdict + "close",
            Err(violation) => return verdict + &error(violation),
        }
    }
}

fn error(violation: Violation) -> String {
    format!("error {}", violation.kind().name())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes().chunks(2);
    let pairs = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect()
}
