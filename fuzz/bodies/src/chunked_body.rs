//! Chunked bodies: content, trailers and end are the same however the input is cut, and the same as a plain reading finds. There are no
//! more pieces of content than bytes and cuts. A body that was read can be sent and read again.

use proto_http::{BodyDecoder, BodyLength, ClientConnection, Piece, Rules, ViolationKind};

use crate::cuts::{arrive, cuts, whole};
use crate::request_head::rules;

/// The result of reading a body.
#[derive(Debug, PartialEq)]
struct Seen {
    content: Vec<u8>,
    trailers: Vec<u8>,
    /// The number of bytes used, once the body has ended.
    end: Option<usize>,
    failed: Option<ViolationKind>,
}

/// Runs the target.
pub fn run(data: &[u8]) {
    // Ends the last line: the decoder reports every fault at the end of a line at the latest.
    let mut data = data.to_vec();
    data.extend_from_slice(b"\r\n\r\n\r\n");
    for rules in rules() {
        let expected = decode(&data, &whole(&data), &rules);
        for ends in cuts(&data) {
            let seen = decode(&data, &ends, &rules);
            assert_eq!(
                (&seen.content, &seen.trailers, seen.end),
                (&expected.content, &expected.trailers, expected.end)
            );
            assert_eq!(seen.failed, expected.failed);
        }
        if rules == Rules::DEFAULT {
            compare(&data, &expected);
            sends(&expected);
        }
    }
}

fn decode(data: &[u8], ends: &[usize], rules: &Rules) -> Seen {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let mut seen = Seen {
        content: Vec::new(),
        trailers: Vec::new(),
        end: None,
        failed: None,
    };
    let mut shown = 0;
    let mut looks = data.len() + 2 * ends.len() + 2;
    arrive(data, ends, |rest| {
        shown += rest.len();
        while seen.failed.is_none() && seen.end.is_none() {
            looks = looks.checked_sub(1).expect("pieces without input do not end");
            match decoder.next(rest, rules) {
                Ok(Some(Piece::Data(piece))) => {
                    assert!(!piece.is_empty(), "an empty piece of content");
                    seen.content.extend_from_slice(piece);
                }
                Ok(Some(Piece::End(trailers))) => {
                    seen.trailers = trailers.as_bytes().to_vec();
                    seen.end = Some(shown - rest.len());
                    assert_eq!(decoder.next(rest, rules), Ok(None), "a piece after the end");
                }
                Ok(None) => break,
                Err(violation) => {
                    seen.failed = Some(violation.kind());
                    assert_ne!(violation.kind(), ViolationKind::Truncated);
                }
            }
        }
        shown -= rest.len();
    });
    seen
}

/// Panics where a plain reading of RFC 9112 section 7.1 gives another result.
fn compare(data: &[u8], ours: &Seen) {
    let mut content = Vec::new();
    let mut rest = data;
    // Whether the input has something that the plain reading does not judge.
    let mut beyond = false;
    let end = loop {
        let Some(line_end) = rest.windows(2).position(|bytes| bytes == b"\r\n") else {
            break None;
        };
        let line = &rest[..line_end];
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        beyond |= digits != line.len() || line.len() > 1000;
        let text = std::str::from_utf8(&line[..digits]).unwrap_or_default();
        let Some(size) = usize::from_str_radix(text, 16).ok().filter(|_| digits <= 16) else {
            break None;
        };
        rest = &rest[line_end + 2..];
        if size == 0 {
            if let Some(rest) = rest.strip_prefix(b"\r\n") {
                break Some(data.len() - rest.len());
            }
            beyond = true;
            break rest
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n")
                .map(|at| data.len() - rest.len() + at + 4);
        }
        let Some(chunk) = rest.get(..size) else { break None };
        content.extend_from_slice(chunk);
        let Some(behind) = rest[size..].strip_prefix(b"\r\n") else {
            break None;
        };
        rest = behind;
    };
    if ours.end.is_some() {
        assert_eq!((&ours.content, ours.end), (&content, end), "the plain reader disagrees");
    } else if !beyond && content.len() < 1 << 20 {
        assert_eq!(end, None, "the decoder refused a body that the plain reader accepts");
    }
}

/// Sends what was read in chunks, and checks that it reads the same.
fn sends(seen: &Seen) {
    let mut client = ClientConnection::new();
    let mut head = Vec::new();
    client
        .send_request("POST", "/", &[("Host", "a")], BodyLength::Chunked, &mut head)
        .unwrap();
    let mut wire = Vec::new();
    for piece in seen.content.chunks(97) {
        client.send_data(piece, &mut wire).unwrap();
    }
    client.finish(&(), &mut wire).unwrap();
    let again = decode(&wire, &whole(&wire), &Rules::DEFAULT);
    assert_eq!((again.content, again.end), (seen.content.clone(), Some(wire.len())));
}
