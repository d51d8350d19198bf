//! The four forms of a request target (RFC 9112 section 3.2).

use crate::scan;

/// A request target, parsed. Nothing is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`, the usual form.
    Origin {
        /// From the first `/` up to the `?` or the end.
        path: &'a str,
        /// The part after the `?`.
        query: Option<&'a str>,
    },
    /// `http://host/path?query`, as sent to a proxy; every server must accept it.
    Absolute {
        /// The scheme, as sent.
        scheme: &'a str,
        /// Host and port. It overrules the Host field.
        authority: &'a str,
        /// The path; empty where none was sent, which means `/`.
        path: &'a str,
        /// The part after the `?`.
        query: Option<&'a str>,
    },
    /// `host:port`, only for CONNECT.
    Authority(&'a str),
    /// `*`, only for OPTIONS.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Parses `target`, for a request with this method. `None` if it has none of the forms that `method` allows.
    #[must_use]
    pub fn parse(method: &str, target: &'a str) -> Option<Self> {
        let bytes = target.as_bytes();
        if bytes.is_empty() || !scan::split_target(bytes).1.is_empty() {
            return None;
        }
        if method == "CONNECT" {
            return scan::is_authority(bytes, false, true).then_some(Target::Authority(target));
        }
        if target.starts_with('/') {
            return Some(Target::origin(target));
        }
        if target == "*" {
            return (method == "OPTIONS").then_some(Target::Asterisk);
        }
        let (scheme, rest) = target.split_once("://")?;
        let mut letters = scheme.bytes();
        if !letters.next()?.is_ascii_alphabetic()
            || !letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (path, query) = split_query(rest);
        scan::is_authority(authority.as_bytes(), false, false).then_some(Target::Absolute {
            scheme,
            authority,
            path,
            query,
        })
    }

    /// The origin form of a checked target.
    pub(crate) fn origin(target: &'a str) -> Self {
        let (path, query) = split_query(target);
        Target::Origin { path, query }
    }

    /// Whether `bytes` is a non-empty host with an optional port (RFC 9110 section 7.2): without userinfo, spaces or control characters.
    #[inline]
    #[must_use]
    pub fn is_authority(bytes: &[u8]) -> bool {
        scan::is_authority(bytes, false, false)
    }

    /// The path of the resource: `/` if an absolute form has none, empty for the authority form, `*` for the asterisk form.
    #[must_use]
    pub fn path(&self) -> &'a str {
        match *self {
            Target::Origin { path, .. } => path,
            Target::Absolute { path: "", .. } => "/",
            Target::Absolute { path, .. } => path,
            Target::Authority(_) => "",
            Target::Asterisk => "*",
        }
    }

    /// The part after the `?`, if there is one.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        match *self {
            Target::Origin { query, .. } | Target::Absolute { query, .. } => query,
            Target::Authority(_) | Target::Asterisk => None,
        }
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    let (path, rest) = text.split_at(scan::until_query(text.as_bytes()));
    (path, rest.strip_prefix('?'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(
            Target::parse("GET", "/a?b?c"),
            Some(Target::Origin {
                path: "/a",
                query: Some("b?c")
            })
        );
        assert_eq!(
            Target::parse("GET", "http://h:1/a?b"),
            Some(Target::Absolute {
                scheme: "http",
                authority: "h:1",
                path: "/a",
                query: Some("b")
            })
        );
        assert_eq!(
            Target::parse("GET", "http://h?b").map(|target| target.path()),
            Some("/")
        );
        assert_eq!(Target::parse("CONNECT", "h:443"), Some(Target::Authority("h:443")));
        assert_eq!(Target::parse("OPTIONS", "*"), Some(Target::Asterisk));
        for (method, bad) in [
            ("GET", "*"),
            ("GET", "h:443"),
            ("CONNECT", "/"),
            ("CONNECT", "h"),
            ("CONNECT", "http://h:1/"),
            ("GET", "a"),
            ("GET", ""),
            ("GET", "http://"),
            ("GET", "http:///a"),
            ("GET", "http://u@h/"),
            ("GET", "1http://h/"),
            ("GET", "/#f"),
            ("GET", "/ä"),
        ] {
            assert_eq!(Target::parse(method, bad), None, "{method} {bad}");
        }
    }
}
