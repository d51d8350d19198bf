//! Byte classes over a block of a few bytes.
//!
//! Each function returns a mask. The lowest set bit marks the first byte that belongs to the class; bits above it are undefined.
//! [`PER_BYTE`] bits stand for each byte.

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
pub(super) use sse2::*;

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
pub(super) use word::*;

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8, _mm_sub_epi8,
    };

    pub(in crate::scan) const BYTES: usize = 16;
    pub(in crate::scan) const PER_BYTE: u32 = 1;
    pub(in crate::scan) type Mask = u32;

    macro_rules! classes {
        ($($(#[$doc:meta])* $name:ident($bytes:ident) $mask:expr;)*) => {$(
            $(#[$doc])*
            #[inline(always)]
            #[allow(unsafe_code)]
            pub(in crate::scan) fn $name(bytes: &[u8; BYTES]) -> Mask {
                #[inline]
                #[target_feature(enable = "sse2")]
                fn mask(bytes: &[u8; BYTES]) -> u32 {
                    let $bytes = load(bytes);
                    $mask
                }
                // SAFETY: this module is compiled only if SSE2 is available to the whole program.
                unsafe { mask(bytes) }
            }
        )*};
    }

    classes! {
        /// Controls, including HTAB.
        controls(bytes) mask_of(_mm_or_si128(within(bytes, 0, 0x1f), equal(bytes, 0x7f)));
        /// Everything but visible ASCII without `#`.
        not_target(bytes) mask_of(_mm_andnot_si128(equal(bytes, b'#'), within(bytes, b'!', b'~'))) ^ 0xffff;
        /// Everything but letters and `-`, of which most field names consist.
        not_word(bytes) mask_of(_mm_or_si128(letters(bytes), equal(bytes, b'-'))) ^ 0xffff;
        /// Everything but letters, digits, `-` and `.`, of which most hosts consist.
        not_host(bytes) {
            let others = _mm_andnot_si128(equal(bytes, b'/'), within(bytes, b'-', b'9'));
            mask_of(_mm_or_si128(letters(bytes), others)) ^ 0xffff
        };
        line_feeds(bytes) mask_of(equal(bytes, b'\n'));
        question_marks(bytes) mask_of(equal(bytes, b'?'));
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; BYTES]) -> __m128i {
        let both = u128::from_le_bytes(*bytes);
        _mm_set_epi64x((both >> 64) as i64, both as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equal(bytes: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn within(bytes: __m128i, first: u8, last: u8) -> __m128i {
        let offset = _mm_sub_epi8(bytes, _mm_set1_epi8(first as i8));
        _mm_cmpeq_epi8(_mm_min_epu8(offset, _mm_set1_epi8((last - first) as i8)), offset)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn letters(bytes: __m128i) -> __m128i {
        within(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), b'a', b'z')
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn mask_of(lanes: __m128i) -> u32 {
        _mm_movemask_epi8(lanes) as u32
    }
}

/// The same classes in one machine word, for other targets.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
pub(super) mod word {
    pub(in crate::scan) const BYTES: usize = 8;
    pub(in crate::scan) const PER_BYTE: u32 = 8;
    pub(in crate::scan) type Mask = u64;
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;

    /// Controls, including HTAB.
    #[inline]
    pub(in crate::scan) const fn controls(bytes: &[u8; BYTES]) -> Mask {
        let word = u64::from_le_bytes(*bytes);
        within(word, 0, 0x1f) | within(word, 0x7f, 0x7f)
    }

    /// Everything but visible ASCII without `#`.
    #[inline]
    pub(in crate::scan) const fn not_target(bytes: &[u8; BYTES]) -> Mask {
        let word = u64::from_le_bytes(*bytes);
        !within(word, b'!', b'~') & HIGHS | within(word, b'#', b'#')
    }

    /// Everything but letters and `-`.
    #[inline]
    pub(in crate::scan) const fn not_word(bytes: &[u8; BYTES]) -> Mask {
        let word = u64::from_le_bytes(*bytes);
        !(letters(word) | within(word, b'-', b'-')) & HIGHS
    }

    /// Everything but letters, digits, `-` and `.`.
    #[inline]
    pub(in crate::scan) const fn not_host(bytes: &[u8; BYTES]) -> Mask {
        let word = u64::from_le_bytes(*bytes);
        !(letters(word) | within(word, b'-', b'.') | within(word, b'0', b'9')) & HIGHS
    }

    #[inline]
    pub(in crate::scan) const fn line_feeds(bytes: &[u8; BYTES]) -> Mask {
        within(u64::from_le_bytes(*bytes), b'\n', b'\n')
    }

    #[inline]
    pub(in crate::scan) const fn question_marks(bytes: &[u8; BYTES]) -> Mask {
        within(u64::from_le_bytes(*bytes), b'?', b'?')
    }

    #[inline]
    const fn letters(word: u64) -> u64 {
        within(word | (ONES * 0x20), b'a', b'z')
    }

    /// The high bit of each byte from `first` to `last`, both below 0x80. The sums cannot carry, because the high bits are cleared.
    #[inline]
    const fn within(word: u64, first: u8, last: u8) -> u64 {
        let low = word & !HIGHS;
        let from = low + ONES * (0x80 - first) as u64;
        let beyond = low + ONES * (0x7f - last) as u64;
        from & !beyond & !word & HIGHS
    }
}

#[cfg(test)]
mod tests {
    /// Checks that each class finds the bytes for which `is` returns true, at every place.
    macro_rules! check {
        ($from:path, $($class:ident: $is:expr;)*) => {{
            use $from as block;
            $(for byte in 0..=255_u8 {
                let is: fn(u8) -> bool = $is;
                for place in 0..block::BYTES {
                    let mut bytes = [b'a'; block::BYTES];
                    if stringify!($class) == "controls" || stringify!($class) == "line_feeds" {
                        // The bytes in front belong to another class.
                        bytes = [0x80; block::BYTES];
                    }
                    bytes[place] = byte;
                    let found = block::$class(&bytes).trailing_zeros() / block::PER_BYTE;
                    let found = (found as usize).min(block::BYTES);
                    let expected = if is(byte) { place } else { block::BYTES };
                    assert_eq!(found, expected, "{} {byte} at {place}", stringify!($class));
                }
            })*
        }};
    }

    macro_rules! check_all {
        ($from:path) => {
            check!($from,
                controls: |byte| byte.is_ascii_control();
                not_target: |byte| !byte.is_ascii_graphic() || byte == b'#';
                not_word: |byte| !byte.is_ascii_alphabetic() && byte != b'-';
                not_host: |byte| !byte.is_ascii_alphanumeric() && byte != b'-' && byte != b'.';
                line_feeds: |byte| byte == b'\n';
                question_marks: |byte| byte == b'?';
            )
        };
    }

    #[test]
    fn words_see_what_bytes_are() {
        check_all!(super::word);
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    fn vectors_see_what_bytes_are() {
        check_all!(super::sse2);
    }
}
