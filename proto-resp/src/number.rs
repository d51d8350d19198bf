//! Numbers in text form, with the bytes around them.

use core::fmt::{self, Write};

use crate::{Buffer, Misuse};

/// Room for a header: the CRLF of the previous line, a type byte, a number with its sign, and CRLF.
pub(crate) struct Header([u8; 26]);

impl Header {
    #[inline]
    pub(crate) fn new() -> Self {
        let mut room = [0; 26];
        room[24] = b'\r';
        room[25] = b'\n';
        Header(room)
    }

    /// A line with the type `byte` and `number`.
    #[inline]
    pub(crate) fn line(&mut self, byte: u8, number: u64) -> &[u8] {
        let at = self.digits(number);
        self.begin(at, byte)
    }

    /// The CRLF of the previous line, then a line with the type `byte` and `number`.
    #[inline]
    pub(crate) fn next_line(&mut self, byte: u8, number: u64) -> &[u8] {
        let at = self.digits(number) - 1;
        for (at, byte) in [(at, byte), (at - 1, b'\n'), (at - 2, b'\r')] {
            self.set(at, byte);
        }
        self.0.get(at - 2..).unwrap_or_default()
    }

    /// A line with the type `byte` and `number`.
    #[inline]
    pub(crate) fn signed_line(&mut self, byte: u8, number: i64) -> &[u8] {
        let mut at = self.digits(number.unsigned_abs());
        if number < 0 {
            at -= 1;
            self.set(at, b'-');
        }
        self.begin(at, byte)
    }

    /// The number without a type byte.
    pub(crate) fn signed(&mut self, number: i64) -> &[u8] {
        let mut at = self.digits(number.unsigned_abs());
        if number < 0 {
            at -= 1;
            self.set(at, b'-');
        }
        self.0.get(at..24).unwrap_or_default()
    }

    /// The number without a type byte.
    pub(crate) fn unsigned(&mut self, number: u64) -> &[u8] {
        let at = self.digits(number);
        self.0.get(at..24).unwrap_or_default()
    }

    #[inline]
    fn begin(&mut self, at: usize, byte: u8) -> &[u8] {
        self.set(at - 1, byte);
        self.0.get(at - 1..).unwrap_or_default()
    }

    /// Writes the digits, at most 20, in front of the CRLF. Returns where they begin.
    #[inline]
    fn digits(&mut self, number: u64) -> usize {
        let mut rest = number;
        let mut at = 24;
        loop {
            at -= 1;
            self.set(at, b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 || at == 4 {
                return at;
            }
        }
    }

    #[inline]
    fn set(&mut self, at: usize, byte: u8) {
        if let Some(slot) = self.0.get_mut(at) {
            *slot = byte;
        }
    }
}

/// The shortest text of a double that reads back as the same value; with an exponent if the value is far from 1.
pub(crate) struct Double {
    text: [u8; 32],
    len: usize,
}

impl Double {
    pub(crate) fn new(value: f64) -> Self {
        let mut double = Double { text: [0; 32], len: 0 };
        let size = value.abs();
        // 32 bytes suffice: 17 digits, and their point, zeros, exponent and signs.
        let _ = if value.is_nan() {
            double.write_str("nan")
        } else if value.is_infinite() {
            double.write_str(if value > 0.0 { "inf" } else { "-inf" })
        } else if size == 0.0 || (1e-5..1e17).contains(&size) {
            write!(double, "{value}")
        } else {
            write!(double, "{value:e}")
        };
        double
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

impl Write for Double {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.text
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Writes a bulk string: its header, bytes, and CRLF.
#[inline]
pub(crate) fn put_bulk<B: Buffer + ?Sized>(out: &mut B, byte: u8, bytes: &[u8]) -> Result<(), Misuse> {
    // Short headers have a constant size, so that they need no call to copy memory.
    match bytes.len() {
        len @ 0..10 => out.put(&[byte, b'0' + len as u8, b'\r', b'\n'])?,
        len => out.put(Header::new().line(byte, len as u64))?,
    }
    out.put(bytes)?;
    Ok(out.put(b"\r\n")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_hold_all_numbers() {
        for number in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(Header::new().line(b'$', number), format!("${number}\r\n").as_bytes());
            assert_eq!(
                Header::new().next_line(b'$', number),
                format!("\r\n${number}\r\n").as_bytes()
            );
            assert_eq!(Header::new().unsigned(number), number.to_string().as_bytes());
        }
        for number in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(
                Header::new().signed_line(b':', number),
                format!(":{number}\r\n").as_bytes()
            );
            assert_eq!(Header::new().signed(number), number.to_string().as_bytes());
        }
    }

    #[test]
    fn doubles_read_back() {
        for value in [
            0.0,
            -0.0,
            1.5,
            -1.0 / 3.0,
            1e16,
            1e17,
            1.234_567_890_123_456_7e-5,
            9.999_999_999_999_999e-6,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            -1.797_693_134_862_315_5e-308,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            let double = Double::new(value);
            let back = crate::scan::double(double.as_bytes(), false);
            assert_eq!(
                back.map(f64::to_bits),
                Some(value.to_bits()),
                "{}",
                double.as_bytes().escape_ascii()
            );
        }
        assert_eq!(Double::new(-f64::NAN).as_bytes(), b"nan");
        assert_eq!(Double::new(3.25).as_bytes(), b"3.25");
        assert_eq!(Double::new(1e300).as_bytes(), b"1e300");
    }
}
