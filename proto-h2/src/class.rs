//! Byte classes of field names and values.

/// Bytes of a token (RFC 9110 section 5.6.2), without capital letters.
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

/// Whether `name` is a valid field name: a token without capital letters (RFC 9113 section 8.2.1).
#[inline]
pub(crate) fn is_name(name: &[u8]) -> bool {
    // Most names consist of small letters, digits and hyphens.
    let unusual = any(name, |word| {
        let gap = below(word, b'a') & !below(word, b'9' + 1);
        below(word, b'0') & !equal(word, b'-') | gap | !below(word, b'z' + 1)
    });
    !name.is_empty() && (!unusual || name.iter().all(|&byte| NAME[usize::from(byte)]))
}

/// Whether `name` equals `small`, which has no capital letters, ignoring ASCII case.
#[inline]
pub(crate) fn is_same(name: &[u8], small: &[u8]) -> bool {
    if name.len() != small.len() {
        return false;
    }
    let (mut names, mut smalls) = (name, small);
    while let (Some((a, behind)), Some((b, rest))) = (names.split_first_chunk::<8>(), smalls.split_first_chunk::<8>()) {
        if !is_same_word(u64::from_le_bytes(*a), u64::from_le_bytes(*b)) {
            return false;
        }
        (names, smalls) = (behind, rest);
    }
    match (name.last_chunk::<8>(), small.last_chunk::<8>()) {
        (Some(a), Some(b)) => is_same_word(u64::from_le_bytes(*a), u64::from_le_bytes(*b)),
        _ => names.eq_ignore_ascii_case(smalls),
    }
}

#[inline(always)]
const fn is_same_word(name: u64, small: u64) -> bool {
    let different = name ^ small;
    // The two differ at most in the case bit, and only where `name` has a capital letter.
    let capitals = !below(name, b'A') & below(name, b'Z' + 1);
    different == 0 || different & !(ONES * 0x20) == 0 && (different << 2) & !capitals & HIGHS == 0
}

/// Whether `value` is a valid field value: no control character but HTAB, and no space or HTAB at either end (RFC 9113 section 8.2.1, RFC
/// 9110 section 5.5).
#[inline]
pub(crate) fn is_value(value: &[u8]) -> bool {
    if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
        return false;
    }
    !any(value, |word| below(word, 0x20) | equal(word, 0x7f))
        || value.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control())
}

/// Whether all of `text` is visible ASCII.
#[inline]
pub(crate) fn is_visible(text: &[u8]) -> bool {
    !any(text, |word| below(word, 0x21) | equal(word, 0x7f) | word & HIGHS)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Whether `flags` marks any byte of `text`. Looks at eight bytes at a time.
#[inline(always)]
fn any(text: &[u8], flags: impl Fn(u64) -> u64) -> bool {
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        if flags(u64::from_le_bytes(*word)) & HIGHS != 0 {
            return true;
        }
        rest = behind;
    }
    if rest.is_empty() {
        return false;
    }
    let mut word = *b"aaaaaaaa";
    match text.last_chunk::<8>() {
        Some(last) => word = *last,
        None => word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from),
    }
    flags(u64::from_le_bytes(word)) & HIGHS != 0
}

/// Returns the high bit of each byte below `bound`, which is at most 0x80. Bytes from 0x80 up are never marked. The addition cannot carry
/// from byte to byte, because the high bits are cleared first.
#[inline(always)]
const fn below(word: u64, bound: u8) -> u64 {
    !((word & !HIGHS) + ONES * (0x80 - bound) as u64) & !word & HIGHS
}

#[inline(always)]
const fn equal(word: u64, byte: u8) -> u64 {
    let different = word ^ (ONES * byte as u64);
    !((different & !HIGHS) + ONES * 0x7f) & !different & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_see_what_bytes_are() {
        for byte in 0..=255_u8 {
            for length in 1..20 {
                for place in 0..length {
                    let mut name = vec![b'x'; length];
                    name[place] = byte;
                    assert_eq!(is_name(&name), NAME[usize::from(byte)], "{byte} at {place} of {length}");
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    let edge = place == 0 || place == length - 1;
                    let value = match byte {
                        b' ' | b'\t' => !edge,
                        _ => !byte.is_ascii_control(),
                    };
                    assert_eq!(is_value(&text), value, "{byte} at {place} of {length}");
                    assert_eq!(
                        is_visible(&text),
                        byte.is_ascii_graphic(),
                        "{byte} at {place} of {length}"
                    );
                }
            }
        }
        for a in 0..=255_u8 {
            for b in (0..=255_u8).filter(|byte| !byte.is_ascii_uppercase()) {
                for (length, place) in [(1, 0), (8, 0), (8, 7), (11, 9)] {
                    let (mut name, mut small) = (vec![b'Q'; length], vec![b'q'; length]);
                    (name[place], small[place]) = (a, b);
                    assert_eq!(is_same(&name, &small), a.eq_ignore_ascii_case(&b), "{a} {b} {length}");
                }
            }
        }
        assert!(!is_same(b"a", b"ab"));
        assert!(is_value(b"") && is_name(b"x-a") && !is_name(b"") && !is_name(b"X") && !is_name(b"a b"));
    }
}
