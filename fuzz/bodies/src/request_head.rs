//! Request heads: more input never changes the result for its beginning. The scanner finds the same end. An accepted head is accepted by
//! httparse and by a plain reading of the RFC with the same parts, and its parts can be written and parsed again.

use proto_http::{HeadScanner, Parsed, Request, Rules, Version};

use crate::cuts::cuts;

/// Runs the target.
pub fn run(data: &[u8]) {
    for rules in rules() {
        check(data, &rules);
    }
    if let Some(expected) = plain(data) {
        let accepted = matches!(Request::parse(data, &Rules::DEFAULT), Ok(Parsed::Complete { .. }));
        assert_eq!(accepted, expected, "the plain reader disagrees");
    }
}

/// The default rules, rules with narrow limits, and lenient rules.
pub(crate) fn rules() -> [Rules; 3] {
    let mut narrow = Rules::DEFAULT;
    narrow.limits.request_line = 32;
    narrow.limits.fields = 3;
    narrow.limits.fields_bytes = 64;
    narrow.limits.leading_lines = 0;
    narrow.limits.body = Some(10);
    narrow.limits.chunk_line = 8;
    narrow.limits.chunk_extensions = 12;
    narrow.limits.trailers = 2;
    narrow.limits.trailers_bytes = 24;
    [Rules::DEFAULT, narrow, Rules::RESPONSES]
}

fn check(data: &[u8], rules: &Rules) {
    let whole = Request::parse(data, rules);
    for end in cuts(data).into_iter().skip(1).flatten() {
        match (Request::parse(&data[..end], rules), whole) {
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
    let mut scanner = HeadScanner::new();
    let mut in_vain = 0;
    let ready = (1..=data.len()).find(|&end| {
        let ready = scanner.ready(&data[..end], &rules.limits);
        let parsed = ready && Request::parse(&data[..end], rules) != Ok(Parsed::Incomplete);
        in_vain += usize::from(ready && !parsed);
        parsed
    });
    // The first call, and a few at lengths where the head is about to exceed a limit.
    assert!(
        in_vain <= 8,
        "the scanner asked {in_vain} times to parse an incomplete head"
    );
    let Ok(Parsed::Complete { head, length }) = whole else {
        return;
    };
    assert!(
        ready.is_some_and(|end| end <= length),
        "the scanner missed the end of the head"
    );
    assert!(head.fields().iter().count() <= rules.limits.fields);
    assert!(head.fields().as_bytes().len() <= rules.limits.fields_bytes);

    let again = head.to_vec();
    let Ok(Parsed::Complete { head: second, length }) = Request::parse(&again, &crate::request_head::rules()[2]) else {
        panic!("a head written from its parts does not parse");
    };
    assert_eq!(length, again.len());
    assert_eq!(
        (second.method(), second.target(), second.version()),
        (head.method(), head.target(), head.version())
    );
    assert_eq!(
        (second.fields(), second.keep_alive(), second.wants_upgrade()),
        (head.fields(), head.keep_alive(), head.wants_upgrade())
    );
    differs_from_httparse(data, &head);
}

/// Panics when httparse reads the head differently. It knows only the minor versions 0 and 1.
fn differs_from_httparse(data: &[u8], head: &Request<'_>) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Request::new(&mut fields);
    let minor = match theirs.parse(data) {
        Ok(httparse::Status::Complete(_)) => theirs.version,
        Err(httparse::Error::Version) => return,
        other => panic!("httparse: {other:?}"),
    };
    let version = if minor == Some(0) {
        Version::Http10
    } else {
        Version::Http11
    };
    assert_eq!((theirs.method, theirs.path), (Some(head.method()), Some(head.target())));
    assert_eq!(head.version(), version);
    let ours: Vec<_> = head.fields().iter().map(|field| (field.name, field.value)).collect();
    let theirs: Vec<_> = theirs.headers.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(ours, theirs);
}

/// A plain reading, line by line: whether RFC 9112 allows `data` to begin with a request that we accept. `None` where this reading does not
/// decide: targets other than paths, hosts with unusual characters, and heads near the limits.
fn plain(data: &[u8]) -> Option<bool> {
    let mut rest = data;
    for _ in 0..2 {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    let Some(end) = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Some(false);
    };
    if end > 8000 {
        return None;
    }
    let text: String = rest[..end].iter().map(|&byte| char::from(byte)).collect();
    let mut lines = text.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words[..] else {
        return Some(false);
    };
    let minor = version
        .strip_prefix("HTTP/1.")
        .filter(|minor| minor.len() == 1 && minor.chars().all(|c| c.is_ascii_digit()));
    if !is_token(method) || minor.is_none() {
        return Some(false);
    }
    if !target.starts_with('/')
        || method == "CONNECT"
        || !target
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/?&=.-_%".contains(c))
    {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Some(false);
        };
        let value = value.trim_matches([' ', '\t']);
        if !is_token(name) || value.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Some(false);
        }
        fields.push((name.to_ascii_lowercase(), value));
    }
    if fields.len() > 100 {
        return None;
    }
    let all = |wanted: &str| {
        fields
            .iter()
            .filter(|(name, _)| name == wanted)
            .map(|(_, value)| *value)
            .collect::<Vec<_>>()
    };
    let (hosts, lengths, codings) = (all("host"), all("content-length"), all("transfer-encoding"));
    let old = minor == Some("0");
    let host = match hosts[..] {
        [] => old,
        [host] if host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') => true,
        [_] => return None,
        _ => false,
    };
    let length = match lengths[..] {
        [] => Some(0),
        [length] if !length.is_empty() && length.chars().all(|c| c.is_ascii_digit()) => length.parse::<u64>().ok(),
        _ => None,
    };
    let coded = codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked") && lengths.is_empty() && !old;
    let expect = all("expect")
        .iter()
        .all(|value| value.eq_ignore_ascii_case("100-continue"));
    Some(host && length.is_some() && (codings.is_empty() || coded) && expect)
}

fn is_token(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}
