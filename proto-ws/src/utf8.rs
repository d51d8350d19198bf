//! Incremental UTF-8 validation (RFC 3629): fails at the first piece that cannot become valid, and stores at most 3 bytes.

/// Text shorter than this is validated by the standard library, which has no set-up cost.
const SHORT: usize = 64;

/// The start of a character that the end of a piece has cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Utf8 {
    cut: [u8; 3],
    len: u8,
}

/// The bytes are not UTF-8, and cannot become UTF-8 with further bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Validates a whole text.
#[inline]
pub(crate) fn whole(bytes: &[u8]) -> Result<&str, Invalid> {
    if bytes.len() < SHORT {
        core::str::from_utf8(bytes).map_err(|_| Invalid)
    } else {
        simdutf8::basic::from_utf8(bytes).map_err(|_| Invalid)
    }
}

impl Utf8 {
    /// Whether the text could end here.
    #[inline]
    pub(crate) fn is_complete(self) -> bool {
        self.len == 0
    }

    /// The number of bytes that the cut character lacks; `u64::MAX` if there is none.
    #[inline]
    pub(crate) fn missing(self) -> u64 {
        if self.is_complete() {
            u64::MAX
        } else {
            (width(self.cut[0]) as u64).saturating_sub(u64::from(self.len))
        }
    }

    /// Accepts the next piece of a text. Returns the character that it completes, if the previous piece ended inside one,
    /// and the whole characters after it. Bytes of a character cut by the end of `piece` are kept.
    pub(crate) fn push<'a>(&mut self, piece: &'a [u8]) -> Result<(Option<char>, &'a str), Invalid> {
        let (first, rest) = self.complete(piece)?;
        if !self.is_complete() {
            return Ok((first, ""));
        }
        let (body, cut) = rest.split_at(rest.len() - cut_length(rest));
        self.keep(cut)?;
        Ok((first, whole(body)?))
    }

    /// Joins the stored bytes with the front of `piece`.
    fn complete<'a>(&mut self, piece: &'a [u8]) -> Result<(Option<char>, &'a [u8]), Invalid> {
        if self.is_complete() {
            return Ok((None, piece));
        }
        let mut joined = [0; 4];
        let kept = usize::from(self.len);
        let want = width(self.cut[0]);
        for (to, from) in joined
            .iter_mut()
            .zip(self.cut.iter().take(kept).chain(piece).take(want))
        {
            *to = *from;
        }
        let have = want.min(kept + piece.len());
        let joined = joined.get(..have).unwrap_or_default();
        if have < want {
            self.keep(joined)?;
            return Ok((None, &[]));
        }
        let first = core::str::from_utf8(joined).map_err(|_| Invalid)?.chars().next();
        self.len = 0;
        Ok((first, piece.get(want - kept..).unwrap_or_default()))
    }

    /// Stores the start of a character. Fails if no character begins with these bytes.
    fn keep(&mut self, cut: &[u8]) -> Result<(), Invalid> {
        if core::str::from_utf8(cut).is_err_and(|e| e.error_len().is_some()) {
            return Err(Invalid);
        }
        for (to, from) in self.cut.iter_mut().zip(cut) {
            *to = *from;
        }
        self.len = cut.len() as u8;
        Ok(())
    }
}

/// The length of a character with this first byte; 1 for bytes that begin no character.
const fn width(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}

/// The number of bytes at the end that belong to an incomplete character.
fn cut_length(bytes: &[u8]) -> usize {
    let back = bytes.iter().rev().take(3).position(|byte| *byte & 0xc0 != 0x80);
    match back {
        Some(back)
            if bytes
                .get(bytes.len() - back - 1)
                .is_some_and(|first| width(*first) > back + 1) =>
        {
            back + 1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8], cuts: &[usize]) -> Result<String, Invalid> {
        let mut text = String::new();
        let mut utf8 = Utf8::default();
        let mut from = 0;
        for &to in cuts.iter().chain([&bytes.len()]) {
            let (first, rest) = utf8.push(&bytes[from..to])?;
            text.extend(first);
            text.push_str(rest);
            from = to;
        }
        if utf8.is_complete() { Ok(text) } else { Err(Invalid) }
    }

    #[test]
    fn every_two_cuts_agree_with_the_standard_library() {
        let samples: [&[u8]; 12] = [
            "κόσμε".as_bytes(),
            "a\u{10ffff}b€ü".as_bytes(),
            b"\xf4\x90\x80\x80",
            b"\xed\xa0\x80",
            b"\xe0\x80\x80",
            b"\xc0\xaf",
            b"abc\xff",
            b"abc\xe2\x82",
            b"\x80",
            b"\xf0\x9f\x98\x80\xf0\x9f\x98",
            b"\xe2\x28\xa1",
            b"\xf5\x80\x80\x80",
        ];
        for bytes in samples {
            let expected = core::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Invalid);
            for a in 0..=bytes.len() {
                for b in a..=bytes.len() {
                    assert_eq!(pieces(bytes, &[a, b]), expected, "{bytes:x?} cut at {a} and {b}");
                }
            }
        }
    }

    #[test]
    fn fails_at_the_first_byte_that_cannot_be_right() {
        // Autobahn 6.4: a surrogate and a code point above U+10FFFF, invalid from their second byte on.
        for bytes in [b"\xed\xa0", b"\xf4\x90"] {
            let mut utf8 = Utf8::default();
            assert_eq!(utf8.push(&bytes[..1]), Ok((None, "")));
            assert_eq!(utf8.push(&bytes[1..]), Err(Invalid));
            assert_eq!(Utf8::default().push(bytes), Err(Invalid));
        }
    }
}
