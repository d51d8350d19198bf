//! Numbers in text form, with the bytes around them.

/// Room for a Content-Length line and the empty line after it.
pub(super) struct LengthLine([u8; 40]);

impl LengthLine {
    const NAME: &'static [u8; 16] = b"Content-Length: ";

    #[inline]
    pub(super) const fn new() -> Self {
        Self(*b"Content-Length: 00000000000000000000\r\n\r\n")
    }

    #[inline]
    pub(super) fn format(&mut self, length: u64) -> &[u8] {
        let mut rest = length;
        let mut start = 36;
        loop {
            start -= 1;
            self.0[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 || start == Self::NAME.len() {
                break;
            }
        }
        // The name is moved directly in front of its number.
        let line = start - Self::NAME.len();
        if let Some(place) = self.0.get_mut(line..start) {
            place.copy_from_slice(Self::NAME);
        }
        self.0.get(line..).unwrap_or_default()
    }
}

/// Room for a chunk-size line.
pub(super) struct Hex([u8; 18]);

impl Hex {
    pub(super) const fn new() -> Self {
        Self(*b"0000000000000000\r\n")
    }

    pub(super) fn format(&mut self, mut number: u64) -> &[u8] {
        let mut start = 15;
        for (at, digit) in self.0.iter_mut().enumerate().take(16).rev() {
            let nibble = (number & 15) as u8;
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            number >>= 4;
            start = at;
            if number == 0 {
                break;
            }
        }
        self.0.get(start..).unwrap_or_default()
    }
}
