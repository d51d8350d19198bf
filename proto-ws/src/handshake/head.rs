//! Just enough of HTTP/1.1 (RFC 9112) for a handshake without an HTTP stack: strict, and linear however it trickles in.

use super::fields;

/// The message does not begin with an HTTP/1.1 head, or with too long a one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadHead {
    /// Not a head.
    Malformed,
    /// Longer than [`Head::MAX`], or of more than [`Head::MAX_FIELDS`] fields.
    TooLong,
}

impl core::fmt::Display for BadHead {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            BadHead::Malformed => "not an HTTP/1.1 head",
            BadHead::TooLong => "the head is too long",
        })
    }
}

impl core::error::Error for BadHead {}

/// The head of a request or a response: its first line and its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    first: &'a str,
    fields: &'a [u8],
}

impl<'a> Head<'a> {
    /// Bytes a head may have.
    pub const MAX: usize = 16 * 1024;
    /// Fields a head may have.
    pub const MAX_FIELDS: usize = 128;

    /// Reads the head at the front of `bytes`: it and its length with the empty line, or `None` while that is missing.
    /// `scanned` remembers how far `bytes` was searched before: 0 at first, then as left by the last call.
    ///
    /// # Errors
    ///
    /// [`BadHead`].
    pub fn read(bytes: &'a [u8], scanned: &mut usize) -> Result<Option<(Self, usize)>, BadHead> {
        let from = scanned.saturating_sub(3);
        let found = bytes
            .get(from..)
            .unwrap_or_default()
            .windows(4)
            .position(|window| window == b"\r\n\r\n");
        let Some(at) = found else {
            *scanned = bytes.len();
            return if bytes.len() > Self::MAX {
                Err(BadHead::TooLong)
            } else {
                Ok(None)
            };
        };
        let end = from + at + 4;
        if end > Self::MAX {
            return Err(BadHead::TooLong);
        }
        // Every line with its CRLF, without the empty one.
        let head = bytes.get(..end - 2).unwrap_or_default();
        let (first, fields) = line(head).ok_or(BadHead::Malformed)?;
        let first = core::str::from_utf8(first).map_err(|_| BadHead::Malformed)?;
        if !first.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(BadHead::Malformed);
        }
        let head = Head { first, fields };
        head.check().map(|()| Some((head, end)))
    }

    /// The method and the target of a request of HTTP/1.1.
    pub fn request(self) -> Option<(&'a str, &'a str)> {
        let mut words = self.first.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(method), Some(target), Some("HTTP/1.1"), None) if fields::is_token(method) && !target.is_empty() => {
                Some((method, target))
            }
            _ => None,
        }
    }

    /// The status of a response of HTTP/1.1; one that refuses may be of HTTP/1.0, as proxies send it.
    pub fn status(self) -> Option<u16> {
        status(self.first.as_bytes())
    }

    /// The status of the response at the front of `bytes`, whatever its fields are like and however many: what is left to
    /// say of one that [`read`](Self::read) fails on.
    pub fn status_alone(bytes: &[u8]) -> Option<u16> {
        let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
        status(bytes.get(..end)?)
    }

    /// Replaces folds of field lines in the response head at the front of `bytes` by spaces, as a user agent must
    /// (RFC 9112 section 5.2), before the head is [`read`](Self::read).
    pub fn unfold(bytes: &mut [u8]) {
        let mut first = true;
        let mut at = 0;
        while let Some(found) = bytes
            .get(at..)
            .and_then(|rest| rest.windows(2).position(|end| end == b"\r\n"))
        {
            let end = at + found;
            if found == 0 {
                return;
            }
            at = end + 2;
            if !first && matches!(bytes.get(at), Some(b' ' | b'\t')) {
                for byte in bytes.iter_mut().skip(end).take(2) {
                    *byte = b' ';
                }
            }
            first = false;
        }
    }

    /// The fields, in order: name and value.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, &'a [u8])> + Clone {
        let mut rest = self.fields;
        core::iter::from_fn(move || {
            let (field, after) = line(rest)?;
            rest = after;
            split(field)
        })
    }

    fn check(self) -> Result<(), BadHead> {
        let mut rest = self.fields;
        let mut count = 0;
        while !rest.is_empty() {
            let (field, after) = line(rest).ok_or(BadHead::Malformed)?;
            split(field).ok_or(BadHead::Malformed)?;
            rest = after;
            count += 1;
        }
        if count > Self::MAX_FIELDS {
            Err(BadHead::TooLong)
        } else {
            Ok(())
        }
    }
}

fn status(line: &[u8]) -> Option<u16> {
    let (rest, old) = match line.strip_prefix(b"HTTP/1.1 ") {
        Some(rest) => (rest, false),
        None => (line.strip_prefix(b"HTTP/1.0 ")?, true),
    };
    let code = rest.split(|byte| *byte == b' ').next()?;
    let code: &[u8; 3] = code.try_into().ok()?;
    let status = core::str::from_utf8(code)
        .ok()
        .filter(|_| code.iter().all(u8::is_ascii_digit))?
        .parse()
        .ok()?;
    // HTTP/1.0 has no upgrades, nor other informational responses (RFC 9110 section 15.2).
    (!old || status >= 200).then_some(status)
}

/// The first line without its CRLF, and what follows. No other control character than the tab may be in it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes
        .iter()
        .position(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)?;
    let (line, rest) = bytes.split_at(end);
    Some((line, rest.strip_prefix(b"\r\n")?))
}

/// A field line as name and value. A name is a token directly before the colon; a line that begins with white space
/// (obs-fold) has none.
fn split(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    let name = core::str::from_utf8(name).ok().filter(|name| fields::is_token(name))?;
    Some((name, value.get(1..)?.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_read_at_any_split() {
        let bytes = b"GET /chat?a HTTP/1.1\r\nHost: example\r\nX:\t y \r\n\r\nrest";
        let end = bytes.len() - 4;
        let mut scanned = 0;
        for cut in 0..end {
            assert_eq!(Head::read(&bytes[..cut], &mut scanned), Ok(None));
        }
        let (head, len) = Head::read(bytes, &mut scanned).unwrap().unwrap();
        assert_eq!(len, end);
        assert_eq!(head.request(), Some(("GET", "/chat?a")));
        assert_eq!(
            head.fields().collect::<Vec<_>>(),
            [("Host", &b"example"[..]), ("X", b"y")]
        );
    }

    #[test]
    fn what_is_not_a_head() {
        for bad in [
            "\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost\r\n\r\n",
        ] {
            let outcome = Head::read(bad.as_bytes(), &mut 0);
            let empty = matches!(outcome, Ok(Some((head, _))) if head.request().is_none());
            assert!(empty || outcome == Err(BadHead::Malformed), "{bad:?}: {outcome:?}");
        }
        let long = [b'a'; Head::MAX + 1];
        assert_eq!(Head::read(&long, &mut 0), Err(BadHead::TooLong));
    }

    #[test]
    fn folds_become_spaces() {
        let mut bytes = *b"HTTP/1.1 101 x\r\nA: b\r\n c\r\n\td\r\nE: f\r\n\r\n\x81\r\n g";
        Head::unfold(&mut bytes);
        assert_eq!(&bytes[..], b"HTTP/1.1 101 x\r\nA: b   c  \td\r\nE: f\r\n\r\n\x81\r\n g");
        // White space behind the first line folds nothing.
        let mut bytes = *b"HTTP/1.1 101 x\r\n A: b\r\n\r\n";
        Head::unfold(&mut bytes);
        assert_eq!(&bytes[..], b"HTTP/1.1 101 x\r\n A: b\r\n\r\n");
        Head::unfold(&mut []);
    }

    #[test]
    fn statuses() {
        for (line, status) in [
            ("HTTP/1.1 101 ", Some(101)),
            ("HTTP/1.1 404", Some(404)),
            ("HTTP/1.0 101 x", None),
            ("HTTP/1.0 503 x", Some(503)),
            ("HTTP/1.2 503 x", None),
            ("HTTP/1.1 +10 x", None),
            ("HTTP/1.1 1010 x", None),
            ("HTTP/1.1 10 x", None),
        ] {
            let bytes = [line, "\r\n\r\n"].concat();
            let (head, _) = Head::read(bytes.as_bytes(), &mut 0).unwrap().unwrap();
            assert_eq!(head.status(), status);
        }
    }
}
