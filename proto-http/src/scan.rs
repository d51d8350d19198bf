//! Byte classes, and scanners that find where a class ends.
//!
//! All take what is there and return how many leading bytes are of the class; the caller looks at the byte behind.

const TOKEN: u8 = 1;
const HOST: u8 = 2;

const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() {
            table[byte] = TOKEN | HOST;
        }
        byte += 1;
    }
    // tchar, RFC 9110 section 5.6.2.
    let tchar = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < tchar.len() {
        table[tchar[i] as usize] |= TOKEN;
        i += 1;
    }
    // unreserved / sub-delims, RFC 3986 section 2; "%" is looked at apart.
    let host = b"-._~!$&'()*+,;=";
    let mut i = 0;
    while i < host.len() {
        table[host[i] as usize] |= HOST;
        i += 1;
    }
    table
};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte of `word` that is below `n` (at most 128). Exact up to and including the lowest such byte.
#[inline]
const fn below(word: u64, n: u8) -> u64 {
    word.wrapping_sub(ONES * n as u64) & !word & HIGHS
}

/// The high bit of each byte of `word` that equals `byte`. Exact up to and including the lowest such byte.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

/// Counts leading bytes until `stops` flags one in a word, or `stop` says so of a single byte.
#[inline(always)]
fn count(bytes: &[u8], stops: impl Fn(u64) -> u64, stop: impl Fn(u8) -> bool) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let flags = stops(u64::from_le_bytes(*word));
        if flags != 0 {
            return at + (flags.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + tail.iter().position(|&byte| stop(byte)).unwrap_or(tail.len())
}

/// Leading bytes of a token (RFC 9110 section 5.6.2).
#[inline]
pub(crate) fn token(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| CLASS[byte as usize] & TOKEN == 0)
        .unwrap_or(bytes.len())
}

/// Whether all of `bytes` is one token.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token(bytes) == bytes.len()
}

/// Leading bytes of a field value (RFC 9110 section 5.5): everything but controls; HTAB is none.
#[inline]
pub(crate) fn value(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += count(rest, |word| below(word, 0x20) | equal(word, 0x7f), is_control);
        match bytes.get(at) {
            Some(b'\t') => at += 1,
            _ => return at,
        }
    }
}

#[inline]
const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Leading bytes of a request target: visible ASCII without `#` (RFC 9112 section 3.2; a fragment is never sent).
#[inline]
pub(crate) fn target(bytes: &[u8]) -> usize {
    count(
        bytes,
        |word| below(word, 0x21) | equal(word, 0x7f) | equal(word, b'#') | (word & HIGHS),
        |byte| !byte.is_ascii_graphic() || byte == b'#',
    )
}

/// Bytes before the first LF, or all.
#[inline]
pub(crate) fn until_lf(bytes: &[u8]) -> usize {
    count(bytes, |word| equal(word, b'\n'), |byte| byte == b'\n')
}

/// `bytes` without spaces and tabs at both ends (OWS, RFC 9110 section 5.6.3).
#[inline]
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The number a string of decimal digits names (RFC 9110 section 8.6): no sign, no space, no overflow, not empty.
#[inline]
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            None
        } else {
            number.checked_mul(10)?.checked_add(u64::from(digit))
        }
    })
}

/// Whether `bytes` is `uri-host [ ":" port ]` (RFC 9110 section 7.2, RFC 3986 section 3.2.2). The host may be empty only where
/// `empty` says so, and the port missing only where `port` does not ask for it.
pub(crate) fn is_authority(bytes: &[u8], empty: bool, port: bool) -> bool {
    let (host, rest) = if let [b'[', literal @ ..] = bytes {
        let Some(end) = literal.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let (address, rest) = literal.split_at(end);
        if !is_ip_literal(address) {
            return false;
        }
        (address, rest.get(1..).unwrap_or_default())
    } else {
        let end = bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len());
        let (host, rest) = bytes.split_at(end);
        if !is_reg_name(host) {
            return false;
        }
        (host, rest)
    };
    let port_is_valid = match rest {
        [] => !port,
        [b':', digits @ ..] => {
            digits.iter().all(u8::is_ascii_digit)
                && (!port || !digits.is_empty())
                && (digits.is_empty() || decimal(digits).is_some_and(|port| port <= 65535))
        }
        _ => false,
    };
    port_is_valid && (empty && bytes.is_empty() || !host.is_empty())
}

fn is_reg_name(mut host: &[u8]) -> bool {
    loop {
        let plain = host
            .iter()
            .position(|&byte| CLASS[byte as usize] & HOST == 0)
            .unwrap_or(host.len());
        host = match host.get(plain..) {
            None | Some([]) => return true,
            Some([b'%', high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            Some(_) => return false,
        };
    }
}

/// IPv6address or IPvFuture, without its brackets.
fn is_ip_literal(bytes: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = bytes {
        let Some(dot) = rest.iter().position(|&byte| byte == b'.') else {
            return false;
        };
        let (version, address) = rest.split_at(dot);
        let address = address.get(1..).unwrap_or_default();
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address
                .iter()
                .all(|&byte| byte == b':' || CLASS[byte as usize] & HOST != 0);
    }
    core::str::from_utf8(bytes).is_ok_and(|text| text.parse::<core::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_classed_alike() {
        for length in 1..20 {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let expect = |stop: bool| if stop { place } else { length };
                    assert_eq!(
                        value(&bytes),
                        expect(is_control(byte) && byte != b'\t'),
                        "value {byte} {place}/{length}"
                    );
                    assert_eq!(
                        target(&bytes),
                        expect(!byte.is_ascii_graphic() || byte == b'#'),
                        "target {byte}"
                    );
                    assert_eq!(token(&bytes), expect(CLASS[byte as usize] & TOKEN == 0), "token {byte}");
                    assert_eq!(until_lf(&bytes), expect(byte == b'\n'), "lf {byte}");
                }
            }
        }
    }

    #[test]
    fn authorities() {
        for good in [
            "a",
            "a.b:80",
            "127.0.0.1",
            "[::1]",
            "[::1]:8080",
            "a%20b",
            "[v1.x:y]",
            "a:",
        ] {
            assert!(is_authority(good.as_bytes(), false, false), "{good}");
        }
        for bad in [
            "a b", "u@h", "[::1", "[::g]", "a:b", "a:99999", "a/b", "%2", ":80", "a:80:80", "[::1]x", "é", "a,b c",
        ] {
            assert!(!is_authority(bad.as_bytes(), true, false), "{bad}");
        }
        assert!(is_authority(b"", true, false));
        assert!(!is_authority(b"", false, false));
        assert!(!is_authority(b"a", false, true));
        assert!(!is_authority(b"a:", false, true));
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "18446744073709551616", "+5", "-5", "5 ", "5,5", "0x5", "5."] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }
}
