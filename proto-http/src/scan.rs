//! Byte classes, and scanners that find where a class ends.
//!
//! All functions return how many leading bytes of the available input belong to the class; the caller examines the next byte.

mod block;

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
    // unreserved / sub-delims, RFC 3986 section 2; "%" is handled separately.
    let host = b"-._~!$&'()*+,;=";
    let mut i = 0;
    while i < host.len() {
        table[host[i] as usize] |= HOST;
        i += 1;
    }
    table
};

/// Counts leading bytes up to the first that `stops` flags in a block, or for which `stop` returns true.
#[inline(always)]
fn count(bytes: &[u8], stops: impl Fn(&[u8; block::BYTES]) -> block::Mask, stop: impl Fn(u8) -> bool) -> usize {
    const HALF: usize = block::BYTES / 2;
    const HALF_BITS: u32 = HALF as u32 * block::PER_BYTE;
    let mut at = 0;
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk::<{ block::BYTES }>() {
        let flags = stops(block);
        if flags != 0 {
            return at + (flags.trailing_zeros() / block::PER_BYTE) as usize;
        }
        at += block::BYTES;
        rest = behind;
    }
    if let (Some(first), Some(last)) = (rest.first_chunk::<HALF>(), rest.last_chunk::<HALF>()) {
        // The first and the last bytes of the rest form one more block; they may overlap.
        let mut ends = [0; block::BYTES];
        ends[..HALF].copy_from_slice(first);
        ends[HALF..].copy_from_slice(last);
        let flags = stops(&ends);
        let (low, high) = (flags & ((1 << HALF_BITS) - 1), flags >> HALF_BITS);
        return at
            + if low != 0 {
                (low.trailing_zeros() / block::PER_BYTE) as usize
            } else if high != 0 {
                rest.len() - HALF + (high.trailing_zeros() / block::PER_BYTE) as usize
            } else {
                rest.len()
            };
    }
    at + rest.iter().position(|&byte| stop(byte)).unwrap_or(rest.len())
}

/// Splits off the leading bytes of `class`. Bytes that `stops` does not flag are skipped in blocks, others are checked one by one. `:`
/// belongs to no class, and is the usual next byte.
#[inline(always)]
fn split_class(bytes: &[u8], class: u8, stops: impl Fn(&[u8; block::BYTES]) -> block::Mask) -> (&[u8], &[u8]) {
    let at = count(bytes, stops, |byte| CLASS[byte as usize] & class == 0);
    match bytes.split_at(at) {
        (head, rest @ [b':', ..]) => (head, rest),
        (head, []) => (head, &[]),
        _ => bytes.split_at(count_on(bytes, at, class)),
    }
}

#[inline(never)]
fn count_on(bytes: &[u8], mut at: usize, class: u8) -> usize {
    let is_class = |byte: u8| CLASS[byte as usize] & class != 0;
    while let Some([byte, rest @ ..]) = bytes.get(at..)
        && is_class(*byte)
    {
        at += 1 + count(rest, block::not_host, |byte| !is_class(byte));
    }
    at
}

/// Splits off a token (RFC 9110 section 5.6.2); it may be empty.
#[inline(always)]
pub(crate) fn split_token(bytes: &[u8]) -> (&[u8], &[u8]) {
    split_class(bytes, TOKEN, block::not_word)
}

/// Whether all of `bytes` is one token.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && split_token(bytes).1.is_empty()
}

/// Splits off a field value (RFC 9110 section 5.5): all bytes but controls; HTAB does not count as a control. The usual next byte is a CR.
#[inline(always)]
pub(crate) fn split_value(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = count(bytes, block::controls, is_control);
    match bytes.split_at(at) {
        (value, rest @ [b'\r', ..]) => (value, rest),
        (value, rest @ [b'\t', ..]) => bytes.split_at(value.len() + count_tabbed(rest)),
        split => split,
    }
}

#[inline(never)]
fn count_tabbed(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some([b'\t', rest @ ..]) = bytes.get(at..) {
        at += 1 + count(rest, block::controls, is_control);
    }
    at
}

/// Whether `bytes` is a valid field value.
#[inline]
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    split_value(bytes).1.is_empty()
}

#[inline]
const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Splits off a request target: visible ASCII without `#` (RFC 9112 section 3.2; a fragment is never sent).
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) fn split_target(bytes: &[u8]) -> (&str, &[u8]) {
    let stop = |byte: u8| !byte.is_ascii_graphic() || byte == b'#';
    let (target, rest) = bytes.split_at(count(bytes, block::not_target, stop));
    // SAFETY: all bytes in front of the first that is not visible ASCII are ASCII, and ASCII is UTF-8.
    (unsafe { core::str::from_utf8_unchecked(target) }, rest)
}

/// The number of bytes in front of the first `?`, or of all bytes.
#[inline]
pub(crate) fn until_query(bytes: &[u8]) -> usize {
    count(bytes, block::question_marks, |byte| byte == b'?')
}

/// The number of bytes in front of the first LF, or of all bytes.
#[inline]
pub(crate) fn until_lf(bytes: &[u8]) -> usize {
    count(bytes, block::line_feeds, |byte| byte == b'\n')
}

/// `bytes` without spaces and tabs at both ends (OWS, RFC 9110 section 5.6.3).
#[inline]
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    // Usually there is one space in front and none at the end.
    let bytes = match bytes {
        [b' ', rest @ ..] => rest,
        _ => bytes,
    };
    match bytes {
        [0..=b' ', ..] | [.., 0..=b' '] => trim_all(bytes),
        _ => bytes,
    }
}

#[cold]
fn trim_all(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether a token is `name`, ignoring case. `name` consists of small letters and hyphens.
#[inline]
pub(crate) fn is_name<const LENGTH: usize>(token: &[u8], name: &[u8; LENGTH]) -> bool {
    // In a token, two bytes that differ in this bit alone are a letter and its capital; a hyphen has the bit set.
    let differs = |token: &[u8; LENGTH]| token.iter().zip(name).fold(0, |sum, (a, b)| sum | ((a | 0x20) ^ b));
    <&[u8; LENGTH]>::try_from(token).is_ok_and(|token| differs(token) == 0)
}

/// The value of a string of decimal digits (RFC 9110 section 8.6); `None` for a sign, a space, an overflow, or an empty string.
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

/// Whether `bytes` is `uri-host [ ":" port ]` (RFC 9110 section 7.2, RFC 3986 section 3.2.2). `empty` allows an empty host; `port` requires
/// a port.
#[inline(always)]
pub(crate) fn is_authority(bytes: &[u8], empty: bool, port: bool) -> bool {
    let (host, rest) = split_class(bytes, HOST, block::not_host);
    match rest {
        [] => !port && (empty || !host.is_empty()),
        [b':', digits @ ..] => !host.is_empty() && is_port(digits, port),
        _ => is_unusual_authority(bytes, port),
    }
}

/// Whether `digits` is a port (RFC 3986 section 3.2.3). An empty port is valid unless `wanted`.
#[inline]
fn is_port(digits: &[u8], wanted: bool) -> bool {
    if let Ok(four) = <&[u8; 4]>::try_from(digits) {
        return are_digits(four);
    }
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number
        && (digits.len() < 5 || decimal(digits).is_some_and(|port| port <= 65535))
        && !(wanted && digits.is_empty())
}

/// Whether all four bytes are decimal digits, 0x30 to 0x39: both the byte and the byte plus 6 have the high nibble 3.
#[inline]
fn are_digits(bytes: &[u8; 4]) -> bool {
    let word = u32::from_le_bytes(*bytes);
    let in_row = |word: u32| word & 0xf0f0_f0f0 == 0x3030_3030;
    in_row(word) && in_row(word.wrapping_add(0x0606_0606))
}

/// Checks an authority with percent-encoding or an IP literal.
#[cold]
fn is_unusual_authority(bytes: &[u8], port: bool) -> bool {
    let host_end = if bytes.starts_with(b"[") {
        bytes.iter().position(|&byte| byte == b']').map(|end| end + 1)
    } else {
        bytes.iter().position(|&byte| byte == b':')
    };
    let (host, rest) = bytes.split_at(host_end.unwrap_or(bytes.len()));
    let is_host = match host {
        [b'[', address @ .., b']'] => is_ip_literal(address),
        _ => is_reg_name(host),
    };
    let is_port = match rest {
        [] => !port,
        [b':', digits @ ..] => is_port(digits, port),
        _ => false,
    };
    is_host && !host.is_empty() && is_port
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

/// Whether `bytes` is an IPv6address or IPvFuture, without brackets.
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
                        split_value(&bytes).0.len(),
                        expect(is_control(byte) && byte != b'\t'),
                        "value {byte} {place}/{length}"
                    );
                    assert_eq!(
                        split_target(&bytes).0.len(),
                        expect(!byte.is_ascii_graphic() || byte == b'#'),
                        "target {byte}"
                    );
                    assert_eq!(
                        split_token(&bytes).0.len(),
                        expect(CLASS[byte as usize] & TOKEN == 0),
                        "token {byte}"
                    );
                    assert_eq!(until_query(&bytes), expect(byte == b'?'), "path {byte}");
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
    fn ports() {
        for byte in 0..=255u8 {
            for place in 0..4 {
                let mut port = *b"1234";
                port[place] = byte;
                assert_eq!(are_digits(&port), byte.is_ascii_digit(), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "18446744073709551616", "+5", "-5", "5 ", "5,5", "0x5", "5."] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }
}
