//! Each leniency lets pass what its documentation says, and nothing else; without it that is refused.

use proto_http::{Leniency, Parsed, Request, Response, Rules, ServerConnection, ServerEvent, ViolationKind};

fn lenient(set: impl Fn(&mut Leniency)) -> Rules {
    let mut rules = Rules::DEFAULT;
    set(&mut rules.leniency);
    rules
}

/// The content of the one request in `bytes`, or why there is none, and whether the connection persists behind it.
fn content(rules: &Rules, bytes: &str) -> Result<(String, bool), ViolationKind> {
    let (mut connection, mut input, mut content) = (ServerConnection::new(), bytes.as_bytes(), String::new());
    loop {
        match connection
            .next_event(rules, &mut input)
            .map_err(|violation| violation.kind())?
        {
            ServerEvent::Data(data) => content.push_str(std::str::from_utf8(data).unwrap()),
            ServerEvent::Request(_) => {}
            ServerEvent::End(_) => break,
            other => panic!("{other:?}"),
        }
    }
    connection.respond(200, &(), b"", None, &mut Vec::new()).unwrap();
    Ok((content, !connection.must_close()))
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")
}

#[test]
fn bare_status() {
    let rules = lenient(|leniency| leniency.bare_status = true);
    let bytes = b"HTTP/1.1 200\r\nX: y\r\n\r\n";
    assert_eq!(
        Response::parse(bytes, &Rules::DEFAULT).map_err(|v| v.kind()),
        Err(ViolationKind::StatusLine)
    );
    let Ok(Parsed::Complete { head, length }) = Response::parse(bytes, &rules) else {
        panic!()
    };
    assert_eq!(
        (head.status(), head.reason(), head.fields().get_str("x"), length),
        (200, &b""[..], Some("y"), bytes.len())
    );
    assert_eq!(
        Response::parse(b"HTTP/1.1 200X\r\n\r\n", &rules).map_err(|v| v.kind()),
        Err(ViolationKind::StatusLine)
    );
}

#[test]
fn repeated_content_length() {
    let rules = lenient(|leniency| leniency.repeated_content_length = true);
    for same in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5,5\r\nContent-Length: 5",
    ] {
        assert!(content(&Rules::DEFAULT, &post(same, "hello")).is_err());
        assert_eq!(
            content(&rules, &post(same, "hello")),
            Ok(("hello".into(), true)),
            "{same}"
        );
    }
    for bad in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: 5,",
        "Content-Length: +5, +5",
    ] {
        assert!(content(&rules, &post(bad, "hello")).is_err(), "{bad}");
    }
}

#[test]
fn length_beside_chunked() {
    let rules = lenient(|leniency| leniency.length_beside_chunked = true);
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    for both in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        assert_eq!(
            content(&Rules::DEFAULT, &post(both, chunks)),
            Err(ViolationKind::LengthAndCoding)
        );
        // The chunks count, and the connection closes.
        assert_eq!(
            content(&rules, &post(both, chunks)),
            Ok(("hello".into(), false)),
            "{both}"
        );
    }
    assert_eq!(
        content(&rules, &post("Content-Length: 5", "hello")),
        Ok(("hello".into(), true))
    );
    assert!(content(&rules, &post("Content-Length: 3\r\nTransfer-Encoding: gzip", chunks)).is_err());
}

#[test]
fn padded_chunk_size() {
    let rules = lenient(|leniency| leniency.padded_chunk_size = true);
    let chunked = |line: &str| post("Transfer-Encoding: chunked", &format!("{line}\r\nhello\r\n0\r\n\r\n"));
    for padded in ["5 ", "5\t", "5   "] {
        assert_eq!(
            content(&Rules::DEFAULT, &chunked(padded)),
            Err(ViolationKind::ChunkSize)
        );
        assert_eq!(
            content(&rules, &chunked(padded)),
            Ok(("hello".into(), true)),
            "{padded:?}"
        );
    }
    for bad in [" 5", "5 5", "5;a ", "5 x"] {
        assert!(content(&rules, &chunked(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn all_of_it_keeps_lines_and_names_strict() {
    let rules = lenient(|leniency| {
        *leniency = Leniency::default();
        leniency.bare_status = true;
        leniency.repeated_content_length = true;
        leniency.length_beside_chunked = true;
        leniency.padded_chunk_size = true;
    });
    for bad in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    ] {
        assert!(Request::parse(bad.as_bytes(), &rules).is_err(), "{bad:?}");
    }
}
