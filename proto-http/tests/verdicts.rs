//! The violation named for a message does not depend on how its bytes are cut.

use proto_http::{BodyDecoder, BodyLength, ClientConnection, ClientEvent, Piece, Rules, ServerConnection, ServerEvent};

/// Random numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) as usize % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A message of meaningful pieces, some of them in the wrong place.
    fn message(&mut self, begin: &str, pieces: &[&str]) -> Vec<u8> {
        let mut bytes = begin.as_bytes().to_vec();
        for _ in 0..self.below(10) {
            bytes.extend_from_slice(self.pick(pieces).as_bytes());
        }
        for _ in 0..self.below(3) {
            let at = self.below(bytes.len() + 1);
            let piece = self.pick(&["\r", "\n", "\r\n", " ", "\0", ";", ":", "\"", "\\", "x", "0"]);
            bytes.splice(at..at, piece.bytes());
        }
        // Ends the last line: every fault is reported at the end of a line at the latest.
        bytes.extend_from_slice(b"\r\n\r\n\r\n");
        bytes
    }
}

/// The result for `bytes` that arrive in pieces which end at `ends`.
fn run(bytes: &[u8], ends: &[usize], mut next: impl FnMut(&mut [u8], &mut usize, &mut String) -> bool) -> String {
    let (mut said, mut buffer, mut from) = (String::new(), Vec::new(), 0);
    for &end in ends {
        buffer.extend_from_slice(&bytes[from..end]);
        from = end;
        let mut used = 0;
        let mut more = true;
        while more {
            more = next(&mut buffer, &mut used, &mut said);
        }
        buffer.drain(..used);
    }
    said
}

fn body(bytes: &[u8], ends: &[usize], rules: &Rules) -> String {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let mut over = false;
    run(bytes, ends, |buffer, used, said| {
        if over {
            return false;
        }
        let mut rest = &buffer[*used..];
        let piece = decoder.next(&mut rest, rules);
        *used = buffer.len() - rest.len();
        match piece {
            Ok(Some(Piece::Data(data))) => said.push_str(&String::from_utf8_lossy(data)),
            Ok(Some(Piece::End(trailers))) => {
                *said += &format!(" end {:?}", trailers.as_bytes());
                over = true;
            }
            Ok(None) => return false,
            Err(violation) => {
                *said += &format!(" {}", violation.kind().name());
                over = true;
            }
        }
        true
    })
}

fn serve(bytes: &[u8], ends: &[usize], rules: &Rules) -> String {
    let mut connection = ServerConnection::new();
    run(bytes, ends, |buffer, used, said| {
        let mut rest = &buffer[*used..];
        let event = connection.next(rules, &mut rest);
        *used = buffer.len() - rest.len();
        let done = match event {
            Ok(Some(ServerEvent::Request(request))) => {
                *said += &format!(" {} {:?}", request.method(), request.body());
                request.body().is_empty()
            }
            Ok(Some(ServerEvent::Data(data))) => {
                said.push_str(&String::from_utf8_lossy(data));
                false
            }
            Ok(Some(ServerEvent::End(_))) => true,
            Ok(_) => return false,
            Err(violation) => {
                *said += &format!(" {}", violation.kind().name());
                return false;
            }
        };
        if done {
            connection.respond(200, &(), b"", None, &mut Vec::new()).unwrap();
        }
        true
    })
}

fn call(bytes: &[u8], ends: &[usize], rules: &Rules) -> String {
    let mut connection = ClientConnection::new();
    let host = [("Host", "a")];
    connection
        .send_request("GET", "/", &host, BodyLength::Empty, &mut Vec::new())
        .unwrap();
    run(bytes, ends, |buffer, used, said| {
        connection.unfold(&mut buffer[*used..]);
        let mut rest = &buffer[*used..];
        let event = connection.next(rules, &mut rest);
        *used = buffer.len() - rest.len();
        match event {
            Ok(Some(ClientEvent::Informational(head) | ClientEvent::Response(head))) => {
                *said += &format!(" {}", head.status())
            }
            Ok(Some(ClientEvent::Data(data))) => said.push_str(&String::from_utf8_lossy(data)),
            Ok(Some(ClientEvent::End(_))) => said.push_str(" end"),
            Ok(_) => return false,
            Err(violation) => {
                *said += &format!(" {}", violation.kind().name());
                return false;
            }
        }
        true
    })
}

fn rules() -> [Rules; 3] {
    let mut narrow = Rules::RESPONSES;
    narrow.limits.request_line = 24;
    narrow.limits.fields = 2;
    narrow.limits.fields_bytes = 40;
    narrow.limits.chunk_line = 6;
    narrow.limits.chunk_extensions = 8;
    narrow.limits.trailers = 1;
    narrow.limits.trailers_bytes = 12;
    narrow.limits.body = Some(6);
    [Rules::DEFAULT, Rules::RESPONSES, narrow]
}

fn check(name: &str, bytes: &[u8], read: fn(&[u8], &[usize], &Rules) -> String) {
    for (number, rules) in rules().iter().enumerate() {
        let whole = read(bytes, &[bytes.len()], rules);
        let every: Vec<usize> = (1..=bytes.len()).collect();
        let cuts = (1..bytes.len()).map(|at| vec![at, bytes.len()]).chain([every]);
        for ends in cuts {
            let cut = read(bytes, &ends, rules);
            assert_eq!(
                cut,
                whole,
                "{name}, rules {number}, {:?} cut at {:?}",
                bytes.escape_ascii().to_string(),
                &ends[..1]
            );
        }
    }
}

/// The number of cases: a few thousand, or the variable `CASES`.
fn cases() -> u64 {
    std::env::var("CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(3000)
}

#[test]
fn chunked_bodies() {
    let pieces = [
        "5\r\nhello\r\n",
        "1\r\nx\r\n",
        "0\r\n",
        "0",
        "A",
        "1;a",
        "1;a=b\r\nx\r\n",
        ";",
        "=",
        "\"q\\\"\"",
        "\r\n",
        " ",
        "X: y\r\n",
        "\t",
        "ff",
        "Host: a\r\n",
        "\r",
    ];
    for seed in 0..cases() {
        check("a body", &Random(seed).message("", &pieces), body);
    }
}

#[test]
fn requests() {
    let pieces = [
        "GET / HTTP/1.1\r\n",
        "POST /a HTTP/1.1\r\n",
        "Host: a\r\n",
        "Host: a b\r\n",
        "X: y\r\n",
        " folded\r\n",
        "Content-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: x\r\n",
        "X : y\r\n",
        "\r\n",
        "1\r\nx\r\n0\r\n\r\n",
        "x",
        "\r",
    ];
    for seed in 0..cases() {
        let begin =
            Random(seed ^ 1 << 40).pick(&["", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"]);
        check("a request", &Random(seed).message(begin, &pieces), serve);
    }
}

#[test]
fn responses() {
    let pieces = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 204\r\n",
        "X: y\r\n",
        " folded\r\n",
        "Content-Length: 1\r\n",
        "Content-Length:\r\n 1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X : y\r\n",
        "\r\n",
        "1 \r\nx\r\n0\r\n\r\n",
        "x",
        "\r",
        "Host: a\r\n",
    ];
    for seed in 0..cases() {
        let begin = Random(seed ^ 1 << 40).pick(&["", "HTTP/1.1 200 OK\r\n", "\r\nHTTP/1.1 204 No Content\r\n"]);
        check("a response", &Random(seed).message(begin, &pieces), call);
    }
}
