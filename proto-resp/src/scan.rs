//! Lines and numbers.

use crate::Violation;

/// Finds a complete line: its bytes without CRLF are `..len`, and it takes `len + 2` bytes.
///
/// `scanned` is the number of bytes already searched for the line's end. It is updated, so that no byte of a slow line is searched twice.
#[inline]
pub(crate) fn line(input: &[u8], scanned: &mut u32, limit: u32) -> Result<Option<usize>, Violation> {
    let from = *scanned as usize;
    let found = from + find_break(input.get(from..).unwrap_or_default());
    if found > limit as usize {
        return Err(Violation::LineTooLong);
    }
    match input.get(found..) {
        Some([b'\r', b'\n', ..]) => Ok(Some(found)),
        Some([b'\n', ..]) => Err(Violation::BareLf),
        Some([b'\r', _, ..]) => Err(Violation::BareCr),
        _ => {
            // Bounded by the limit.
            *scanned = found as u32;
            Ok(None)
        }
    }
}

/// The position of the first CR or LF, or the length of `bytes`.
#[inline]
fn find_break(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let has = |word: u64, byte: u8| {
        let differing = word ^ ONES.wrapping_mul(u64::from(byte));
        differing.wrapping_sub(ONES) & !differing & HIGH
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // A byte above the first match may match wrongly; the first match is correct.
        let found = has(word, b'\r') | has(word, b'\n');
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let tail = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    bytes.len() - rest.len() + tail.unwrap_or(rest.len())
}

/// A number that may be incomplete, and the bytes it takes, including its CRLF.
pub(crate) type Number<T> = Result<Option<(T, usize)>, Violation>;

/// `"0" / (%x31-39 *DIGIT)` and CRLF, of at most 19 digits; `wrong` is the error for anything else.
#[inline]
pub(crate) fn unsigned(input: &[u8], wrong: Violation) -> Number<u64> {
    if let Some(word) = input.first_chunk::<8>() {
        // Most numbers have one or two digits.
        let first = word[0].wrapping_sub(b'0');
        if first <= 9 && [word[1], word[2]] == *b"\r\n" {
            return Ok(Some((u64::from(first), 3)));
        }
        let second = word[1].wrapping_sub(b'0');
        if first.wrapping_sub(1) < 9 && second <= 9 && [word[2], word[3]] == *b"\r\n" {
            return Ok(Some((u64::from(first * 10 + second), 4)));
        }
        let (value, digits) = up_to_eight(u64::from_le_bytes(*word));
        // Up to seven digits without a leading zero, if their end has arrived too.
        let end = input.get(digits..).and_then(|rest| rest.first_chunk::<2>());
        if digits.wrapping_sub(1) < 7 && end == Some(b"\r\n") && (word[0] != b'0' || digits == 1) {
            return Ok(Some((value, digits + 2)));
        }
    }
    unsigned_bytewise(input, wrong)
}

/// The number at the start of up to eight bytes, the first in the lowest byte, and its number of digits.
#[inline]
fn up_to_eight(word: u64) -> (u64, usize) {
    let values = word ^ 0x3030_3030_3030_3030;
    // A byte above 9 overflows into its highest bit, or has that bit set. A carry reaches only bytes after the first such byte.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let digits = others.trailing_zeros() / 8;
    // Leading zeros make eight digits; then neighbours are combined to pairs, fours and eights.
    let padded = values.checked_shl(64 - 8 * digits).unwrap_or(0);
    let pairs = (padded & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(10 << 8 | 1) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(100 << 16 | 1) >> 16;
    let value = (fours & 0x0000_ffff_0000_ffff).wrapping_mul(10_000 << 32 | 1) >> 32;
    (value, digits as usize)
}

/// Like [`unsigned`], for any length, also for incomplete and invalid numbers.
fn unsigned_bytewise(input: &[u8], wrong: Violation) -> Number<u64> {
    let mut value = 0u64;
    for (at, &byte) in input.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return match (byte, at) {
                (b'\r', 1..) => match input.get(at + 1) {
                    Some(b'\n') => Ok(Some((value, at + 2))),
                    Some(_) => Err(Violation::BareCr),
                    None => Ok(None),
                },
                (b'\n', _) => Err(Violation::BareLf),
                _ => Err(wrong),
            };
        }
        // A second digit after a zero, or a twentieth digit.
        if at >= 1 && (value == 0 || at >= 19) {
            return Err(wrong);
        }
        value = value * 10 + u64::from(digit);
    }
    Ok(None)
}

/// A length; `-1` means null, `?` a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Some(u64),
    Null,
    Stream,
}

/// The length after a type byte, and the bytes it takes after that byte.
#[inline]
pub(crate) fn length(input: &[u8]) -> Number<Length> {
    match input.first() {
        Some(b'-') => fixed(input, b"-1\r\n", Length::Null),
        Some(b'?') => fixed(input, b"?\r\n", Length::Stream),
        _ => Ok(unsigned(input, Violation::Length)?.map(|(length, used)| (Length::Some(length), used))),
    }
}

#[cold]
fn fixed(input: &[u8], text: &'static [u8], length: Length) -> Number<Length> {
    match expect(input, text, Violation::Length)? {
        true => Ok(Some((length, text.len()))),
        false => Ok(None),
    }
}

/// Whether `input` begins with `text`, which ends with CRLF. Returns false if more bytes are needed.
pub(crate) fn expect(input: &[u8], text: &'static [u8], wrong: Violation) -> Result<bool, Violation> {
    for (at, &want) in text.iter().enumerate() {
        match input.get(at) {
            None => return Ok(false),
            Some(&byte) if byte == want => {}
            Some(b'\n') => return Err(Violation::BareLf),
            Some(_) if want == b'\n' => return Err(Violation::BareCr),
            Some(_) => return Err(wrong),
        }
    }
    Ok(true)
}

/// `["+" / "-"] ("0" / (%x31-39 *DIGIT))` and CRLF, of at most 64 bits; `-0` is invalid.
#[inline]
pub(crate) fn integer(input: &[u8]) -> Number<i64> {
    let (negative, signed) = match input.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let digits = input.get(signed..).unwrap_or_default();
    let Some((value, used)) = unsigned(digits, Violation::Integer)? else {
        return Ok(None);
    };
    let value = if negative && value != 0 {
        0i64.checked_sub_unsigned(value)
    } else if negative {
        None
    } else {
        i64::try_from(value).ok()
    };
    value
        .map(|value| Some((value, used + signed)))
        .ok_or(Violation::Integer)
}

/// Digits with an optional sign, without leading zeros; `-0` is invalid.
pub(crate) fn is_big_number(line: &[u8]) -> bool {
    let negative = line.first() == Some(&b'-');
    let digits = match line {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    match digits {
        [] => false,
        [b'0'] => !negative,
        [b'0', ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

/// `["+" / "-"] 1*DIGIT ["." 1*DIGIT] [("e" / "E") ["+" / "-"] 1*DIGIT]`, `inf`, `-inf` or `nan`.
pub(crate) fn double(line: &[u8], any_nan: bool) -> Option<f64> {
    match line {
        b"inf" => return Some(f64::INFINITY),
        b"-inf" => return Some(f64::NEG_INFINITY),
        b"nan" => return Some(f64::NAN),
        _ if any_nan && is_any_nan(line) => return Some(f64::NAN),
        _ => {}
    }
    let unsigned = |rest: &'_ [u8]| matches!(rest.first(), Some(b'+' | b'-'));
    let digits = |rest: &[u8]| rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(unsigned(line));
    let run = |at: &mut usize| {
        let count = digits(line.get(*at..).unwrap_or_default());
        *at += count;
        count > 0
    };
    let mut well = run(&mut at);
    if line.get(at) == Some(&b'.') {
        at += 1;
        well &= run(&mut at);
    }
    if matches!(line.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(unsigned(line.get(at..).unwrap_or_default()));
        well &= run(&mut at);
    }
    if !well || at != line.len() {
        return None;
    }
    core::str::from_utf8(line).ok()?.parse().ok()
}

fn is_any_nan(line: &[u8]) -> bool {
    let unsigned = line.strip_prefix(b"-").unwrap_or(line);
    match unsigned.split_at_checked(3) {
        Some((nan, rest)) if nan.eq_ignore_ascii_case(b"nan") => match rest {
            [] => true,
            [b'(', chars @ .., b')'] => chars.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_are_found_wherever_they_are() {
        for len in 0..40 {
            assert_eq!(find_break(&[b'x'; 40][..len]), len);
            for at in 0..len {
                for end in [b'\r', b'\n'] {
                    // Neighbouring values that an incorrect word-wise search would confuse with the line end.
                    for other in [end ^ 1, end + 1, end | 0x80, 0] {
                        let mut bytes = [other; 40];
                        bytes[at] = end;
                        assert_eq!(find_break(&bytes[..len]), at, "{end} among {other} at {at} of {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_are_the_same_eight_bytes_at_a_time() {
        for text in [
            "0",
            "1",
            "9",
            "10",
            "42",
            "007",
            "00",
            "1234567",
            "9999999",
            "12345678",
            "123456789",
            "1x",
            "x",
            "/",
            ":",
            "1/",
            "1:",
            "1\u{b9}",
            "-1",
            "",
            " 1",
            "1 ",
            "1234567890123456789",
            "12345678901234567890",
        ] {
            for end in [
                "\r\n",
                "\r\n........",
                "\r",
                "\r........",
                "\n......",
                "",
                "\r\r......",
                "\0\0\0\0\0\0\0\0\0",
            ] {
                let all = format!("{text}{end}");
                assert_eq!(
                    unsigned(all.as_bytes(), Violation::Integer),
                    unsigned_bytewise(all.as_bytes(), Violation::Integer),
                    "{all:?}"
                );
            }
        }
        for number in (0..200_000u64).chain([999_999, 1_000_000, 9_999_999, 10_000_000]) {
            let text = format!("{number}\r\n......");
            let used = text.len() - 6;
            assert_eq!(unsigned(text.as_bytes(), Violation::Length), Ok(Some((number, used))));
        }
    }

    #[test]
    fn integers_are_of_64_bits() {
        let whole = |text: &str| integer(format!("{text}\r\n").as_bytes());
        for value in [0, 1, 9, 10, -1, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1] {
            let text = value.to_string();
            assert_eq!(whole(&text), Ok(Some((value, text.len() + 2))));
        }
        assert_eq!(whole("+5"), Ok(Some((5, 4))));
        for wrong in [
            "",
            "+",
            "-",
            "-0",
            "00",
            "01",
            "-01",
            "1 ",
            " 1",
            "1.0",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
        ] {
            assert_eq!(whole(wrong), Err(Violation::Integer), "{wrong:?}");
        }
        assert_eq!(integer(b"1\n"), Err(Violation::BareLf));
        assert_eq!(integer(b"1\r1"), Err(Violation::BareCr));
        assert_eq!(integer(b"-1\r"), Ok(None));
    }

    #[test]
    fn doubles_keep_to_the_grammar() {
        for (text, value) in [
            ("1.23", 1.23),
            ("10", 10.0),
            ("-0", 0.0),
            ("+1.5e-3", 1.5e-3),
            ("1E5", 1e5),
            ("007.5", 7.5),
        ] {
            assert_eq!(double(text.as_bytes(), false), Some(value), "{text}");
        }
        for wrong in [
            "", ".", ".5", "1.", "1e", "1e+", "e5", "+", "infinity", "Inf", "+inf", "NaN", "-nan", "1 ", "0x1", "1_0",
        ] {
            assert_eq!(double(wrong.as_bytes(), false), None, "{wrong}");
        }
        for nan in ["nan", "-nan", "NAN", "nan(0x1_f)", "-NaN()"] {
            assert!(double(nan.as_bytes(), true).is_some_and(f64::is_nan), "{nan}");
        }
        for wrong in ["na", "nann", "nan(", "nan(-)", "--nan"] {
            assert_eq!(double(wrong.as_bytes(), true), None, "{wrong}");
        }
    }
}
