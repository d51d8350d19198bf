//! Integers (RFC 7541 section 5.1).

/// Why an integer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// The block ends inside the integer.
    Cut,
    /// The integer is above 2^32 - 1, or has more octets than that value needs.
    TooLarge,
}

/// Takes an integer off `input`. The low `prefix` bits of the first octet hold the integer's first bits.
#[inline(always)]
pub(crate) fn read(input: &mut &[u8], prefix: u32) -> Result<u32, Bad> {
    let (&first, rest) = input.split_first().ok_or(Bad::Cut)?;
    *input = rest;
    let full = (1_u32 << prefix) - 1;
    let value = u32::from(first) & full;
    if value < full {
        Ok(value)
    } else {
        read_more(input, full)
    }
}

#[inline(never)]
fn read_more(input: &mut &[u8], full: u32) -> Result<u32, Bad> {
    let mut value = u64::from(full);
    // Five octets of 7 bits hold 32 bits.
    for shift in [0, 7, 14, 21, 28] {
        let (&octet, rest) = input.split_first().ok_or(Bad::Cut)?;
        *input = rest;
        value += u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| Bad::TooLarge);
        }
    }
    Err(Bad::TooLarge)
}

/// An encoded integer.
pub(crate) struct Written {
    octets: [u8; 6],
    len: u8,
}

impl Written {
    /// Encodes `value`. `first` holds the bits above the prefix.
    #[inline]
    pub(crate) fn new(first: u8, prefix: u32, value: u32) -> Self {
        let full = (1_u32 << prefix) - 1;
        if value < full {
            return Self {
                octets: [first | value as u8, 0, 0, 0, 0, 0],
                len: 1,
            };
        }
        let mut octets = [first | full as u8, 0, 0, 0, 0, 0];
        let (mut rest, mut len) = (value - full, 1);
        while rest >= 0x80 && len < 5 {
            octets[len] = rest as u8 | 0x80;
            rest >>= 7;
            len += 1;
        }
        octets[len] = rest as u8;
        Self {
            octets,
            len: len as u8 + 1,
        }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for prefix in 4..=7 {
            for value in (0..70_000).chain((0..32).flat_map(|bit| [(1 << bit) - 1, 1 << bit, u32::MAX - (1 << bit)])) {
                let written = Written::new(0x80, prefix, value);
                let mut input = written.as_slice();
                assert_eq!(read(&mut input, prefix), Ok(value));
                assert!(input.is_empty());
            }
        }
        assert_eq!(Written::new(0, 5, 1337).as_slice(), [31, 154, 10]);
    }

    #[test]
    fn bounds() {
        let read = |mut input: &[u8]| read(&mut input, 7);
        assert_eq!(read(&[]), Err(Bad::Cut));
        assert_eq!(read(&[0x7f]), Err(Bad::Cut));
        assert_eq!(read(&[0x7f, 0x80]), Err(Bad::Cut));
        assert_eq!(read(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x0f]), Ok(0xf000_007f));
        assert_eq!(read(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x10]), Err(Bad::TooLarge));
        assert_eq!(read(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80]), Err(Bad::TooLarge));
        assert_eq!(read(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Bad::TooLarge));
    }
}
