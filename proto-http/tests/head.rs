//! What the parsed heads report.

use proto_http::{HeadScanner, Limits, Parsed, Request, Response, Rules, Target, Version, ViolationKind};

fn request(head: &str) -> Request<'_> {
    let Ok(Parsed::Complete { head: request, length }) = Request::parse(head.as_bytes(), &Rules::DEFAULT) else {
        panic!("{head} is refused")
    };
    assert_eq!(length, head.len());
    request
}

fn response(head: &str) -> Response<'_> {
    let Ok(Parsed::Complete { head: response, length }) = Response::parse(head.as_bytes(), &Rules::DEFAULT) else {
        panic!("{head} is refused")
    };
    assert_eq!(length, head.len());
    response
}

#[test]
fn targets_in_their_four_forms() {
    for (line, path, authority) in [
        ("GET /", "/", Some("h")),
        ("GET /a/b?c=d", "/a/b", Some("h")),
        ("GET http://a:1/b?c", "/b", Some("a:1")),
        ("CONNECT a:443", "", Some("a:443")),
        ("OPTIONS *", "*", Some("h")),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let request = request(&head);
        assert_eq!((request.path(), request.authority()), (path, authority), "{line}");
        assert_eq!(format!("{} {}", request.method(), request.target()), line);
    }
    let old = request("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.authority(), old.version()), (None, Version::Http10));
    let asking = request("GET /a?b?c HTTP/1.1\r\nHost: h\r\n\r\n");
    let form = Target::Origin {
        path: "/a",
        query: Some("b?c"),
    };
    assert_eq!((asking.target_form(), asking.version()), (form, Version::Http11));
}

#[test]
fn wishes() {
    let wishes = |fields: &str| {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let request = request(&head);
        (
            request.expects_continue(),
            request.wants_upgrade(),
            request.keep_alive(),
        )
    };
    assert_eq!(wishes(""), (false, false, true));
    assert_eq!(wishes("Connection: close\r\n"), (false, false, false));
    assert_eq!(
        wishes("Expect: 100-continue\r\nContent-Length: 1\r\n"),
        (true, false, true)
    );
    // Without a body there is nothing to continue with.
    assert_eq!(wishes("Expect: 100-continue\r\n"), (false, false, true));
    assert_eq!(wishes("Connection: upgrade\r\nUpgrade: x\r\n"), (false, true, true));
    assert_eq!(wishes("Upgrade: x\r\n"), (false, false, true));
    assert_eq!(wishes("Connection: upgrade\r\n"), (false, false, true));
}

#[test]
fn responses() {
    let found = response("HTTP/1.1 200 All  is well\r\nX: y\r\n\r\n");
    assert_eq!((found.status(), found.reason()), (200, &b"All  is well"[..]));
    assert_eq!(
        (found.fields().get_str("x"), found.version()),
        (Some("y"), Version::Http11)
    );
    assert!(found.keep_alive());
    let old = response("HTTP/1.0 404 \r\n\r\n");
    assert_eq!(
        (old.status(), old.reason(), old.version()),
        (404, &b""[..], Version::Http10)
    );
    assert!(!old.keep_alive());
}

/// The lengths at which the scanner asks to parse a head that arrives byte by byte, except for the first.
fn ready_at(input: &[u8], limits: &Limits) -> Vec<usize> {
    let mut scanner = HeadScanner::new();
    assert!(scanner.ready(&input[..1], limits));
    (2..=input.len())
        .filter(|&end| scanner.ready(&input[..end], limits))
        .collect()
}

#[test]
fn a_scanner_waits_for_the_end_or_a_limit() {
    let mut limits = Limits::DEFAULT;
    assert_eq!(ready_at(b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", &limits), [31]);
    assert_eq!(ready_at(b"GET / HTTP/1.1\nHost: h\r\n", &limits), [15]);
    limits.request_line = 20;
    limits.fields_bytes = 10;
    limits.leading_lines = 2;
    // Before the first line end it cannot tell what is a leading line: their bytes may come on top, and one for its own CR.
    let first = ready_at(&[b'a'; 40], &limits);
    assert_eq!(first, (26..=40).collect::<Vec<_>>());
    let fields = [b"GET / HTTP/1.1\r\n".to_vec(), vec![b'a'; 40]].concat();
    assert_eq!(ready_at(&fields, &limits)[0], 32);
    // In a leap as in steps.
    let mut scanner = HeadScanner::new();
    assert!(scanner.ready(b"a", &limits));
    assert!(!scanner.ready(&[b'a'; 25], &limits) && scanner.ready(&[b'a'; 27], &limits));
    // Where no empty line may lead, the first is the parser's to refuse.
    limits.leading_lines = 0;
    assert_eq!(ready_at(b"\r\n\r\n", &limits)[0], 2);
}

/// A violation stands at the first line that is one too many (RFC 9112 section 2.2), whatever the limit.
#[test]
fn lines_before_a_request_have_a_limit() {
    for limit in [0, 1, 3, 5] {
        let mut rules = Rules::DEFAULT;
        rules.limits.leading_lines = limit;
        let head = |lines: usize| ["\r\n".repeat(lines).as_str(), "GET / HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
        assert!(Request::parse(head(limit).as_bytes(), &rules).is_ok(), "{limit}");
        let violation = Request::parse(head(limit + 1).as_bytes(), &rules).unwrap_err();
        assert_eq!(violation.offset(), 2 * limit, "{violation}");
    }
}

/// A status line may be as long as a request line, and not a byte longer, however it comes.
#[test]
fn a_status_line_beyond_its_limit() {
    let mut rules = Rules::RESPONSES;
    rules.limits.request_line = 40;
    for (reason, fits) in [(27, true), (28, false), (400, false)] {
        for end in ["\r\n\r\n", ""] {
            let head = format!("HTTP/1.1 200 {}{end}", "x".repeat(reason));
            assert_eq!(head.len() - end.len(), 13 + reason);
            let mut seen = None;
            let mut scanner = HeadScanner::new();
            for end in 1..=head.len() {
                if scanner.ready(&head.as_bytes()[..end], &rules.limits) {
                    match Response::parse(&head.as_bytes()[..end], &rules) {
                        Ok(Parsed::Incomplete) => {}
                        other => {
                            seen = Some(other.map(|_| ()).map_err(|violation| violation.kind()));
                            break;
                        }
                    }
                }
            }
            let whole = Response::parse(head.as_bytes(), &rules);
            let verdict = match whole {
                Ok(Parsed::Incomplete) => None,
                other => Some(other.map(|_| ()).map_err(|violation| violation.kind())),
            };
            assert_eq!(seen, verdict, "{reason} {end:?}");
            let expect = match (fits, end.is_empty()) {
                (true, true) => None,
                (true, false) => Some(Ok(())),
                // One byte more may be the CR of the line's end.
                (false, true) if reason == 28 => None,
                (false, _) => Some(Err(ViolationKind::StatusLine)),
            };
            assert_eq!(verdict, expect, "{reason} {end:?}");
        }
    }
}
