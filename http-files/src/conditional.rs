//! Preconditions (RFC 9110 section 13).

use std::time::SystemTime;

use proto_http::Fields;

use crate::tag::Validators;

/// What the preconditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The file is sent.
    Serve,
    /// 304: the client has it.
    NotModified,
    /// 412: the file is not in the state that the client wants.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD, in the order of section 13.2.2.
pub(crate) fn evaluate(fields: Fields<'_>, validators: &Validators) -> Verdict {
    if fields.get("if-match").is_some() {
        // Section 13.1.1: by the strong comparison.
        if !lists(fields, "if-match", |tag| validators.strong && tag == validators.tag) {
            return Verdict::Failed;
        }
    } else if let Some(since) = date(fields, "if-unmodified-since") {
        // Section 13.1.4.
        if validators.modified > since {
            return Verdict::Failed;
        }
    }
    if fields.get("if-none-match").is_some() {
        // Section 13.1.2: by the weak comparison.
        if lists(fields, "if-none-match", |tag| opaque(tag) == opaque(&validators.tag)) {
            return Verdict::NotModified;
        }
    } else if let Some(since) = date(fields, "if-modified-since") {
        // Section 13.1.3.
        if validators.modified <= since {
            return Verdict::NotModified;
        }
    }
    Verdict::Serve
}

/// Whether `If-Range` lets the ranges of the request count (section 13.1.5): there is none, or it names exactly this state of the file.
pub(crate) fn ranges_count(fields: Fields<'_>, validators: &Validators) -> bool {
    if fields.get("if-range").is_none() {
        return true;
    }
    let Some(value) = single(fields, "if-range") else {
        return false;
    };
    let same = if value.ends_with('"') {
        value == validators.tag
    } else {
        httpdate::parse_http_date(value).is_ok_and(|date| date == validators.modified)
    };
    same && validators.strong
}

/// The value of a field that must stand alone.
pub(crate) fn single<'a>(fields: Fields<'a>, name: &str) -> Option<&'a str> {
    (fields.count(name) == 1).then(|| fields.get_str(name))?.map(str::trim)
}

/// A date. What is none, and a field that comes twice, is ignored.
fn date(fields: Fields<'_>, name: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(single(fields, name)?).ok()
}

/// Without the mark of a weak tag (section 8.8.3).
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Whether a list of entity tags has one for which `is` holds, or is `*`. What does not parse is no tag.
fn lists(fields: Fields<'_>, name: &str, is: impl Fn(&str) -> bool) -> bool {
    fields
        .get_all(name)
        .filter_map(|value| str::from_utf8(value).ok())
        .any(|value| {
            let mut rest = value.trim();
            if rest == "*" {
                return true;
            }
            loop {
                rest = rest.trim_start_matches([' ', '\t', ',']);
                let Some((tag, behind)) = next_tag(rest) else {
                    return false;
                };
                if is(tag) {
                    return true;
                }
                rest = behind;
            }
        })
}

/// The tag at the start of `text`, and what is behind it. A tag may have commas in it.
fn next_tag(text: &str) -> Option<(&str, &str)> {
    let start = if text.starts_with("W/") { 2 } else { 0 };
    let inner = text.get(start..)?.strip_prefix('"')?;
    let end = start + 1 + inner.find('"')? + 1;
    Some(text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto_http::{Parsed, Request, Rules};
    use std::time::Duration;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn validators(strong: bool) -> Validators {
        Validators {
            tag: if strong { "\"a,b\"" } else { "W/\"a,b\"" }.to_owned(),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
            strong,
        }
    }

    fn with<R>(lines: &[(&str, &str)], test: impl FnOnce(Fields<'_>) -> R) -> R {
        let mut head = String::from("GET / HTTP/1.1\r\nHost: x\r\n");
        for (name, value) in lines {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        match Request::parse(head.as_bytes(), &Rules::default()) {
            Ok(Parsed::Complete { head, .. }) => test(head.fields()),
            other => panic!("{other:?}"),
        }
    }

    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Verdict, Verdict);

    #[test]
    fn preconditions() {
        use Verdict::{Failed, NotModified, Serve};
        let (im, inm, ims, ius) = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since");
        #[rustfmt::skip]
        let cases: &[Case<'_>] = &[
            // The section of RFC 9110, the fields, and what they come to with a strong and with a weak tag.
            ("13.1", &[], Serve, Serve),
            ("13.1.1", &[(im, "\"a,b\"")], Serve, Failed),
            ("13.1.1", &[(im, "W/\"a,b\"")], Failed, Failed),
            ("13.1.1", &[(im, "\"x\", \"a,b\"")], Serve, Failed),
            ("13.1.1", &[(im, "\"x\""), (im, "\"a,b\"")], Serve, Failed),
            ("13.1.1", &[(im, "*")], Serve, Serve),
            ("13.1.1", &[(im, "\"x\"")], Failed, Failed),
            ("13.1.1", &[(im, "a,b")], Failed, Failed),
            ("13.1.2", &[(inm, "\"a,b\"")], NotModified, NotModified),
            ("13.1.2", &[(inm, "W/\"a,b\"")], NotModified, NotModified),
            ("13.1.2", &[(inm, "\"x\",,W/\"y\" ,\"a,b\"")], NotModified, NotModified),
            ("13.1.2", &[(inm, "*")], NotModified, NotModified),
            ("13.1.2", &[(inm, "\"a\"")], Serve, Serve),
            ("13.1.2", &[(inm, "\"x\" garbage \"a,b\"")], Serve, Serve),
            ("13.1.3", &[(ims, DATE)], NotModified, NotModified),
            ("13.1.3", &[(ims, AFTER)], NotModified, NotModified),
            ("13.1.3", &[(ims, BEFORE)], Serve, Serve),
            ("13.1.3", &[(ims, "yesterday")], Serve, Serve),
            ("13.1.3", &[(ims, DATE), (ims, DATE)], Serve, Serve),
            ("5.6.7", &[(ims, "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified, NotModified),
            ("5.6.7", &[(ims, "Sun Nov  6 08:49:37 1994")], NotModified, NotModified),
            ("13.1.4", &[(ius, DATE)], Serve, Serve),
            ("13.1.4", &[(ius, AFTER)], Serve, Serve),
            ("13.1.4", &[(ius, BEFORE)], Failed, Failed),
            ("13.1.4", &[(ius, "never")], Serve, Serve),
            ("13.2.2", &[(im, "\"a,b\""), (ius, BEFORE)], Serve, Failed),
            ("13.2.2", &[(im, "\"x\""), (inm, "\"a,b\"")], Failed, Failed),
            ("13.2.2", &[(im, "\"a,b\""), (inm, "\"a,b\"")], NotModified, Failed),
            ("13.2.2", &[(inm, "\"x\""), (ims, AFTER)], Serve, Serve),
            ("13.2.2", &[(ius, BEFORE), (inm, "\"a,b\"")], Failed, Failed),
            ("13.2.2", &[(ius, AFTER), (ims, AFTER)], NotModified, NotModified),
        ];
        for (section, fields, strong, weak) in cases {
            for (is_strong, expected) in [(true, strong), (false, weak)] {
                let seen = with(fields, |fields| evaluate(fields, &validators(is_strong)));
                assert_eq!(seen, *expected, "section {section}, {fields:?}, strong: {is_strong}");
            }
        }
    }

    /// RFC 9110 section 13.1.5: only the strong comparison, and only the exact date.
    #[test]
    fn if_range() {
        for (value, expected) in [
            (Some("\"a,b\""), true),
            (Some("W/\"a,b\""), false),
            (Some("\"x\""), false),
            (Some("*"), false),
            (Some(DATE), true),
            (Some(AFTER), false),
            (Some(BEFORE), false),
            (Some("garbage"), false),
            (None, true),
        ] {
            let lines: Vec<_> = value.iter().map(|value| ("If-Range", *value)).collect();
            assert_eq!(
                with(&lines, |fields| ranges_count(fields, &validators(true))),
                expected,
                "{value:?}"
            );
            let weak = with(&lines, |fields| ranges_count(fields, &validators(false)));
            assert_eq!(weak, value.is_none(), "{value:?}");
        }
    }
}
