//! From the path of a request to the name of a file below the root.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// What a segment of a path (RFC 3986 section 3.3) may not hold as it is.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The file or directory that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// The segments, decoded, with a slash between each two; empty for the root. None of them is empty, `.` or `..`, or has a
    /// slash or a NUL in it.
    pub(crate) path: Vec<u8>,
    /// Whether the path ends as that of a directory.
    pub(crate) is_folder: bool,
}

/// Why a path names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No file can have this path: 400.
    Malformed,
    /// The name is hidden: 404.
    Hidden,
}

impl Name {
    /// Reads the path of a request, without its query. Dot segments are resolved (RFC 3986 section 5.2.4), empty segments are
    /// ignored.
    pub(crate) fn parse(path: &str, dotfiles: bool) -> Result<Self, Refused> {
        let rest = path.strip_prefix('/').ok_or(Refused::Malformed)?;
        let mut name = Name {
            path: Vec::with_capacity(rest.len() + 16),
            is_folder: true,
        };
        for segment in rest.split('/') {
            let decoded: Cow<'_, [u8]> = percent_decode_str(segment).into();
            name.is_folder = true;
            match &*decoded {
                b"" | b"." => {}
                b".." => name.pop()?,
                decoded if decoded.iter().any(|byte| matches!(byte, b'/' | 0)) => return Err(Refused::Malformed),
                decoded => {
                    if !name.path.is_empty() {
                        name.path.push(b'/');
                    }
                    name.path.extend_from_slice(decoded);
                    name.is_folder = false;
                }
            }
        }
        let mut segments = name.path.split(|byte| *byte == b'/').enumerate();
        let hidden = |(at, segment): (usize, &[u8])| {
            segment.starts_with(b".") && !dotfiles && !(at == 0 && segment == b".well-known")
        };
        if segments.any(hidden) {
            return Err(Refused::Hidden);
        }
        Ok(name)
    }

    /// Drops the last segment.
    fn pop(&mut self) -> Result<(), Refused> {
        if self.path.is_empty() {
            return Err(Refused::Malformed);
        }
        let end = self.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.path.truncate(end);
        Ok(())
    }

    /// The name of a file in this directory.
    pub(crate) fn join(&self, file: &str) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(file.as_bytes());
        path
    }

    /// The path of this directory, as a request names it.
    pub(crate) fn location(&self, query: Option<&str>) -> String {
        let mut location = String::from("/");
        for segment in self
            .path
            .split(|byte| *byte == b'/')
            .filter(|segment| !segment.is_empty())
        {
            location.extend(percent_encode(segment, SEGMENT));
            location.push('/');
        }
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        location
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'a> = (&'a str, Result<(&'a str, bool), Refused>);

    /// RFC 3986 sections 2.1, 5.2.4 and 6.2.2, RFC 8615.
    #[test]
    fn paths() {
        use Refused::{Hidden, Malformed};
        let cases: &[Case<'_>] = &[
            ("/", Ok(("", true))),
            ("/a", Ok(("a", false))),
            ("/a/", Ok(("a", true))),
            ("/a/b.txt", Ok(("a/b.txt", false))),
            ("//a///b", Ok(("a/b", false))),
            ("/a%20b", Ok(("a b", false))),
            ("/%61", Ok(("a", false))),
            ("/%e4", Ok(("\u{fffd}", false))),
            ("/a%zz", Ok(("a%zz", false))),
            ("/a%", Ok(("a%", false))),
            ("/a\\b", Ok(("a\\b", false))),
            ("/a/./b", Ok(("a/b", false))),
            ("/a/../b", Ok(("b", false))),
            ("/a/b/..", Ok(("a", true))),
            ("/a/.", Ok(("a", true))),
            ("/a/%2e%2E/b", Ok(("b", false))),
            ("/a/..", Ok(("", true))),
            ("/..", Err(Malformed)),
            ("/../etc/passwd", Err(Malformed)),
            ("/a/../../etc/passwd", Err(Malformed)),
            ("/%2e%2e/etc/passwd", Err(Malformed)),
            ("/a/%2e./%2e./x", Err(Malformed)),
            ("/..%2fetc/passwd", Err(Malformed)),
            ("/a%2fb", Err(Malformed)),
            ("/a%00b", Err(Malformed)),
            ("/%252e%252e/x", Ok(("%2e%2e/x", false))),
            ("a", Err(Malformed)),
            ("", Err(Malformed)),
            ("*", Err(Malformed)),
            ("/.git/config", Err(Hidden)),
            ("/a/.htaccess", Err(Hidden)),
            ("/%2egit/config", Err(Hidden)),
            ("/...", Err(Hidden)),
            (
                "/.well-known/acme-challenge/x",
                Ok((".well-known/acme-challenge/x", false)),
            ),
            ("/.well-known/.x", Err(Hidden)),
            ("/a/.well-known/x", Err(Hidden)),
        ];
        for (path, expected) in cases {
            let name = Name::parse(path, false);
            let seen = name.map(|name| (String::from_utf8_lossy(&name.path).into_owned(), name.is_folder));
            let expected = expected.map(|(path, folder)| (path.to_owned(), folder));
            assert_eq!(seen, expected, "{path}");
        }
        assert_eq!(Name::parse("/.git", true).unwrap().path, b".git");
    }

    /// A redirect stays on its host, whatever the path says, and adds no line.
    #[test]
    fn locations() {
        for (path, expected) in [
            ("/a", "/a/"),
            ("//evil.example", "/evil.example/"),
            ("/%2e/%5cevil.example", "/%5Cevil.example/"),
            ("/a%0d%0ab/c%3fd", "/a%0D%0Ab/c%3Fd/"),
            ("/\u{20}", "/%20/"),
        ] {
            assert_eq!(Name::parse(path, false).unwrap().location(None), expected, "{path}");
        }
        assert_eq!(Name::parse("/a", false).unwrap().location(Some("b=c")), "/a/?b=c");
    }
}
