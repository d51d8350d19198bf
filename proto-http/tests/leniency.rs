//! Each leniency allows what its documentation says, and nothing else; without it, the same input is refused.

use proto_http::{
    BodyDecoder, BodyLength, ClientConnection, ClientEvent, Leniency, Parsed, Piece, Request, Response, Rules,
    ServerConnection, ServerEvent, ViolationKind,
};

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
            .next(rules, &mut input)
            .map_err(|violation| violation.kind())?
        {
            Some(ServerEvent::Data(data)) => content.push_str(std::str::from_utf8(data).unwrap()),
            Some(ServerEvent::Request(_)) => {}
            Some(ServerEvent::End(_)) => break,
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
        // The chunked coding decides, and the connection closes.
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

/// The statuses, content and trailers that a client receives for one GET, or the violation; and whether the connection persists.
fn got(rules: &Rules, bytes: &str) -> Result<(String, bool), ViolationKind> {
    let (mut connection, mut input, mut got) = (ClientConnection::new(), bytes.as_bytes(), String::new());
    let host = [("Host", "a")];
    connection
        .send_request("GET", "/", &host, BodyLength::Empty, &mut Vec::new())
        .unwrap();
    loop {
        match connection
            .next(rules, &mut input)
            .map_err(|violation| violation.kind())?
        {
            Some(ClientEvent::Informational(head) | ClientEvent::Response(head)) => {
                got += &format!("{} ", head.status())
            }
            Some(ClientEvent::Data(data)) => got.push_str(str::from_utf8(data).unwrap()),
            Some(ClientEvent::End(trailers)) => {
                for field in trailers {
                    got += &format!(" {}={}", field.name, field.text().unwrap());
                }
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let keeps = connection.is_idle();
    // The bytes that follow must not be taken for another response.
    connection
        .next(rules, &mut input)
        .map_err(|violation| violation.kind())?;
    Ok((got, keeps))
}

#[test]
fn lines_before_status() {
    let rules = lenient(|leniency| leniency.lines_before_status = true);
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let (before, behind) = (format!("\r\n\r\n{response}"), format!("{response}\r\n\r\n"));
    assert_eq!(got(&Rules::DEFAULT, &before), Err(ViolationKind::Version));
    assert_eq!(got(&Rules::DEFAULT, &behind), Err(ViolationKind::Unexpected));
    assert_eq!(got(&rules, &before), Ok(("200 x".into(), true)));
    assert_eq!(got(&rules, &behind), Ok(("200 x".into(), true)));
    assert_eq!(got(&rules, &format!("\r\n{before}")), Err(ViolationKind::LeadingLines));
    assert_eq!(got(&rules, &format!("{behind}\r")), Err(ViolationKind::Unexpected));
    assert_eq!(got(&rules, &format!("{response}\r\nx")), Err(ViolationKind::Unexpected));
    // The limit is that of requests, and where in a line something is wrong counts from the first byte.
    let parsed = Response::parse(b"\r\nHTTP/1.1 2x0 OK\r\n\r\n", &rules);
    assert_eq!(parsed.map_err(|violation| violation.offset()), Err(12));
    assert_eq!(Response::parse(b"\r", &rules), Ok(Parsed::Incomplete));
    assert_eq!(Response::parse(b"\r\n\r\n\r", &rules), Ok(Parsed::Incomplete));
}

#[test]
fn framing_without_content() {
    let rules = lenient(|leniency| leniency.framing_without_content = true);
    let chunked = "Transfer-Encoding: chunked";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    for head in [
        format!("HTTP/1.1 204 No Content\r\n{chunked}\r\n\r\n"),
        format!("HTTP/1.1 204 No Content\r\n{chunked}\r\nContent-Length: 4\r\n\r\n"),
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: gzip\r\n\r\n".to_string(),
    ] {
        assert!(got(&Rules::DEFAULT, &head).is_err());
        assert_eq!(got(&rules, &head), Ok(("204 ".into(), false)), "{head}");
    }
    for framing in [chunked, "Content-Length: 7"] {
        let bytes = format!("HTTP/1.1 103 Early Hints\r\n{framing}\r\n\r\n{last}");
        assert_eq!(got(&Rules::DEFAULT, &bytes), Err(ViolationKind::FramingForbidden));
        assert_eq!(got(&rules, &bytes), Ok(("103 200 x".into(), false)), "{framing}");
        // The framing behind a 101 must be beyond doubt.
        let bytes = format!("HTTP/1.1 101 Switching Protocols\r\n{framing}\r\n\r\n");
        assert_eq!(got(&rules, &bytes), Err(ViolationKind::FramingForbidden));
    }
    // The fields that a 204 may have cost nothing.
    let plain = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(got(&rules, plain), Ok(("204 ".into(), true)));
}

#[test]
fn unusable_trailers() {
    let rules = lenient(|leniency| leniency.unusable_trailers = true);
    let chunked =
        |trailers: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{trailers}\r\n");
    for (trailers, seen, refused) in [
        ("A: 1\r\nHost: a\r\nB: 2\r\n", "200 x A=1 B=2", ViolationKind::Trailer),
        ("A: 1\r\n 2\r\n\t3\r\nB: 2\r\n", "200 x B=2", ViolationKind::Folding),
        ("Content-Length: 9\r\n", "200 x", ViolationKind::Trailer),
    ] {
        assert_eq!(got(&Rules::DEFAULT, &chunked(trailers)), Err(refused));
        assert_eq!(got(&rules, &chunked(trailers)), Ok((seen.into(), true)), "{trailers}");
    }
    for (bad, kind) in [
        (" A: 1\r\n", ViolationKind::Folding),
        ("A: 1\r\n b\0\r\n", ViolationKind::FieldValue),
        ("A : 1\r\n", ViolationKind::SpaceBeforeColon),
        (
            &*format!("A: 1\r\n{}", " b\r\n".repeat(3000)),
            ViolationKind::FieldsTooLarge,
        ),
    ] {
        assert_eq!(got(&rules, &chunked(bad)), Err(kind), "{bad}");
    }
    // A lookup skips the same lines.
    let mut input = &b"0\r\nA: 1\r\n 2\r\nHost: a\r\na: 3\r\n\r\n"[..];
    let mut body = BodyDecoder::new(BodyLength::Chunked);
    let Ok(Some(Piece::End(trailers))) = body.next(&mut input, &rules) else {
        panic!()
    };
    assert_eq!(
        (trailers.get_str("a"), trailers.count("A"), trailers.get("host")),
        (Some("3"), 1, None)
    );
    assert!(!trailers.is_empty());
}

/// RFC 9112 section 5.2: a user agent replaces each fold by spaces before it reads the field.
#[test]
fn folds_become_spaces() {
    let unfolded = |bytes: &str| {
        let mut connection = ClientConnection::new();
        let host = [("Host", "a")];
        connection
            .send_request("GET", "/", &host, BodyLength::Empty, &mut Vec::new())
            .unwrap();
        let mut bytes = bytes.as_bytes().to_vec();
        connection.unfold(&mut bytes);
        String::from_utf8(bytes).unwrap()
    };
    let head = "HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\t3\r\nB: 4\r\n \r\n\r\n";
    assert_eq!(unfolded(head), "HTTP/1.1 200 OK\r\nA: 1   2  \t3\r\nB: 4   \r\n\r\n");
    for same in [
        "HTTP/1.1 200 OK\r\n A: 1\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n A: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: 1\r\n\r\n x\r\n y",
        "HTTP/1.1 200 OK\r\n\r\n x\r\n y",
        "HTTP/1.1 200 OK\r\nA: 1\n 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: 1\r\n",
        "",
    ] {
        assert_eq!(unfolded(same), same);
    }
    // Between two exchanges nothing is a head.
    let mut bytes = head.as_bytes().to_vec();
    ClientConnection::new().unfold(&mut bytes);
    assert_eq!(bytes, head.as_bytes());
}

#[test]
fn all_of_it_keeps_lines_and_names_strict() {
    let rules = Rules::RESPONSES;
    for bad in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    ] {
        assert!(Request::parse(bad.as_bytes(), &rules).is_err(), "{bad:?}");
    }
}
