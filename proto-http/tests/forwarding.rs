//! What a proxy passes on: the other end's fields, lengths of content that is not sent, reason phrases and targets.

use proto_http::{
    BodyLength, ClientConnection, ClientEvent, Fields, Misuse, Parsed, Request, Response, Rules, ServerConnection,
    ServerEvent, Status,
};

fn request(head: &str) -> Request<'_> {
    match Request::parse(head.as_bytes(), &Rules::DEFAULT) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => panic!("{head}: {other:?}"),
    }
}

fn response(head: &str) -> Response<'_> {
    match Response::parse(head.as_bytes(), &Rules::RESPONSES) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => panic!("{head}: {other:?}"),
    }
}

/// A server that has read a request.
fn asked(method: &str) -> ServerConnection {
    let mut connection = ServerConnection::new();
    let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
    let event = connection.next(&Rules::DEFAULT, &mut head.as_bytes()).unwrap();
    assert!(matches!(event, Some(ServerEvent::Request(_))));
    connection
}

/// RFC 9110 section 8.6: the length that the content of a response to GET would have.
#[test]
fn the_length_of_what_is_not_sent_is_passed_on() {
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 12345\r\n\r\n"),
        (
            "HEAD",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 12345, 12345\r\n\r\n",
        ),
    ] {
        let upstream = response(head);
        assert_eq!(upstream.content_length(), Some(12345));
        let mut connection = asked(method);
        let mut out = Vec::new();
        let fields = upstream.fields().end_to_end();
        connection
            .send_response(&upstream, &fields, upstream.content_length(), None, &mut out)
            .unwrap();
        connection.finish(&(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), head.replace(", 12345", ""), "{method}");
        assert!(connection.is_idle());
    }
    // A body that is given whole does not tell the length of the content that a 304 stands for.
    let mut out = Vec::new();
    asked("GET").respond(304, &(), b"dropped", None, &mut out).unwrap();
    assert_eq!(out, b"HTTP/1.1 304 Not Modified\r\n\r\n");
    assert_eq!(response("HTTP/1.1 200 OK\r\n\r\n").content_length(), None);
    // A 204 has no length (RFC 9110 section 8.6).
    let mut out = Vec::new();
    asked("GET").send_response(204, &(), Some(5), None, &mut out).unwrap();
    assert_eq!(out, b"HTTP/1.1 204 No Content\r\n\r\n");
}

/// RFC 9112 section 4.
#[test]
fn a_reason_phrase_is_passed_on_or_refused() {
    for reason in ["Very Fine", "", "caf\u{e9}", "a\tb"] {
        let head = format!("HTTP/1.1 200 {reason}\r\nContent-Length: 0\r\n\r\n");
        let upstream = response(&head);
        let mut out = Vec::new();
        asked("GET")
            .send_response(&upstream, &upstream.fields().end_to_end(), Some(0), None, &mut out)
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), head);
        let status = Status::with_reason(200, reason.as_bytes()).unwrap();
        assert_eq!((status.code(), status.reason()), (200, reason.as_bytes()));
    }
    for reason in ["a\r\nb: c", "a\nb", "a\0b", "\u{7f}"] {
        assert_eq!(Status::with_reason(200, reason.as_bytes()), Err(Misuse::Reason));
    }
    assert_eq!(Status::from(404).reason(), b"Not Found");
}

/// RFC 9112 sections 3.2.1 to 3.2.4.
#[test]
fn what_an_origin_server_is_asked_for() {
    for (method, target, sent_on) in [
        ("GET", "/a?b?c", "/a?b?c"),
        ("GET", "http://h:1/a?b", "/a?b"),
        ("GET", "http://h", "/"),
        ("GET", "http://h?b", "/?b"),
        ("GET", "http://h/?", "/?"),
        ("GET", "http://h?", "/?"),
        ("OPTIONS", "http://h", "*"),
        ("OPTIONS", "http://h/", "/"),
        ("OPTIONS", "*", "*"),
        ("CONNECT", "h:443", ""),
    ] {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(request(&head).path_and_query(), sent_on, "{method} {target}");
    }
}

/// RFC 9110 section 6.5.1: fields not allowed in a trailer section are dropped when sending too.
#[test]
fn unusable_trailers_are_not_passed_on() {
    let mut client = ClientConnection::new();
    let mut out = Vec::new();
    client
        .send_request("GET", "/", &[("Host", "a")], BodyLength::Empty, &mut out)
        .unwrap();
    let mut input = &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\nA: 1\r\n\r\n"[..];
    let mut passed_on = Vec::new();
    let mut server = asked("GET");
    server.send_response(200, &(), None, None, &mut passed_on).unwrap();
    passed_on.clear();
    while let Some(event) = client.next(&Rules::RESPONSES, &mut input).unwrap() {
        if let ClientEvent::End(trailers) = event {
            server.finish(&trailers, &mut passed_on).unwrap();
            break;
        }
    }
    assert_eq!(String::from_utf8(passed_on).unwrap(), "0\r\nA: 1\r\n\r\n");
    assert_eq!(Fields::EMPTY.end_to_end().iter().count(), 0);
}

/// By default a client accepts content of any length.
#[test]
fn the_content_of_a_response_has_no_bound_by_default() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX / 2);
    for (rules, taken) in [
        (Rules::RESPONSES, true),
        (Rules::RESPONSES.with_body(Some(1 << 30)), false),
    ] {
        let mut client = ClientConnection::new();
        client
            .send_request("GET", "/", &[("Host", "a")], BodyLength::Empty, &mut Vec::new())
            .unwrap();
        assert_eq!(client.next(&rules, &mut head.as_bytes()).is_ok(), taken);
    }
}
