//! Response heads: the checks of request heads, compared with httparse.

use proto_http::{HeadScanner, Parsed, Response, Rules, Version};

use crate::cuts::cuts;
use crate::request_head::rules;

/// Runs the target.
pub fn run(data: &[u8]) {
    for rules in rules() {
        check(data, &rules);
    }
}

fn check(data: &[u8], rules: &Rules) {
    let whole = Response::parse(data, rules);
    for end in cuts(data).into_iter().skip(1).flatten() {
        match (Response::parse(&data[..end], rules), whole) {
            (Ok(Parsed::Incomplete), _) => {}
            (Ok(complete), whole) => {
                assert_eq!(whole, Ok(complete), "more input changed the result of a complete head")
            }
            (Err(violation), whole) => assert_eq!(
                whole.map_err(|violation| violation.kind()).err(),
                Some(violation.kind()),
                "more input changed the violation"
            ),
        }
    }
    let Ok(Parsed::Complete { head, length }) = whole else {
        return;
    };
    let mut scanner = HeadScanner::new();
    let mut in_vain = 0;
    let ready = (1..=data.len()).find(|&end| {
        let ready = scanner.ready(&data[..end], &rules.limits);
        let parsed = ready && Response::parse(&data[..end], rules) != Ok(Parsed::Incomplete);
        in_vain += usize::from(ready && !parsed);
        parsed
    });
    assert!(
        in_vain <= 8,
        "the scanner asked {in_vain} times to parse an incomplete head"
    );
    assert!(
        ready.is_some_and(|end| end <= length),
        "the scanner missed the end of the head"
    );

    let minor = if head.version() == Version::Http10 { 0 } else { 1 };
    let line = format!("HTTP/1.{minor} {} ", head.status());
    let again = [
        line.as_bytes(),
        head.reason(),
        b"\r\n",
        head.fields().as_bytes(),
        b"\r\n",
    ]
    .concat();
    let Ok(Parsed::Complete { head: second, length }) = Response::parse(&again, &crate::request_head::rules()[2])
    else {
        panic!("a head written from its parts does not parse");
    };
    assert_eq!(length, again.len());
    assert_eq!(
        (second.status(), second.reason(), second.fields()),
        (head.status(), head.reason(), head.fields())
    );
    for method in ["GET", "HEAD", "CONNECT"] {
        assert_eq!(second.body(method), head.body(method));
    }
    differs_from_httparse(data, &head);
}

/// Panics when httparse reads the head differently. It knows only the minor versions 0 and 1, and drops a reason that is not ASCII.
fn differs_from_httparse(data: &[u8], head: &Response<'_>) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Response::new(&mut fields);
    match theirs.parse(data) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::Version) => return,
        other => panic!("httparse: {other:?}"),
    }
    assert_eq!(theirs.code, Some(head.status()));
    assert_eq!(theirs.version == Some(0), head.version() == Version::Http10);
    if head.reason().is_ascii() {
        assert_eq!(theirs.reason.map(str::as_bytes), Some(head.reason()));
    }
    let ours: Vec<_> = head.fields().iter().map(|field| (field.name, field.value)).collect();
    let theirs: Vec<_> = theirs.headers.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(ours, theirs);
}
