//! HTTP without TLS on a port that expects TLS.

/// The longest method that is recognized, in bytes. The longest in use is `VERSION-CONTROL`.
const METHOD_MAX: usize = 20;

/// The response to a client that sent `http` to an `https` port.
pub(crate) const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
Content-Type: text/plain\r\n\
Content-Length: 66\r\n\
Connection: close\r\n\
\r\n\
This port expects TLS: use https:// (or wss://) instead of http://";

/// What the first bytes of a connection show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guess {
    /// HTTP: a method and a space.
    Http,
    /// Only letters so far, as in a method.
    Unclear,
    /// Anything else. A TLS record begins with a byte from 20 to 24, which is not a letter.
    Other,
}

pub(crate) fn guess(bytes: &[u8]) -> Guess {
    let is_part = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-';
    let letters = bytes.iter().take_while(|byte| is_part(byte)).count();
    match bytes.get(letters) {
        Some(b' ') if (1..=METHOD_MAX).contains(&letters) => Guess::Http,
        None if letters <= METHOD_MAX => Guess::Unclear,
        _ => Guess::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_told_from_records() {
        for http in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0", b"M-SEARCH *", b"P "] {
            assert_eq!(guess(http), Guess::Http);
        }
        for unclear in [&b""[..], b"G", b"OPTIONS"] {
            assert_eq!(guess(unclear), Guess::Unclear);
        }
        for other in [
            &b"\x16\x03\x01"[..],
            b"\x80\x2e",
            b"get /",
            b"SSH-2.0",
            b" ",
            b"AAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(guess(other), Guess::Other);
        }
    }

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let answer = core::str::from_utf8(ANSWER).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
