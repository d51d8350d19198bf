//! The server's last words to an attacker.

/// The start and the end of the input: a status is first, a Close frame last.
#[derive(Default)]
pub(super) struct Heard {
    first: Vec<u8>,
    last: Vec<u8>,
}

/// `HTTP/1.1 400`.
const FIRST: usize = 12;
/// The longest Close frame.
const LAST: usize = 127;

impl Heard {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let room = FIRST - self.first.len();
        self.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(LAST)..]);
        self.last.drain(..self.last.len().saturating_sub(LAST));
    }

    /// The status of the first response, if it is HTTP.
    pub(super) fn status(&self) -> Option<u16> {
        let status = self.first.strip_prefix(b"HTTP/1.")?.get(2..5)?;
        std::str::from_utf8(status).ok()?.parse().ok()
    }

    /// The code of the last Close frame, if there was one.
    pub(super) fn close_code(&self) -> Option<u16> {
        let frames = (0..self.last.len()).map(|from| &self.last[from..]);
        let mut codes = frames.filter_map(|frame| match *frame {
            [0x88, length, high, low, ..] if usize::from(length) == frame.len() - 2 => {
                Some(u16::from_be_bytes([high, low]))
            }
            _ => None,
        });
        codes.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_first_however_it_arrives() {
        let mut heard = Heard::default();
        assert_eq!(heard.status(), None);
        for byte in b"HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n" {
            heard.add(&[*byte]);
        }
        assert_eq!(heard.status(), Some(431));
        assert_eq!(heard.close_code(), None);
    }

    #[test]
    fn a_closing_frame_is_last_however_it_arrives() {
        let mut heard = Heard::default();
        heard.add(&[0x82, 4, 0x88, 2, 3, 0xe8].repeat(1000));
        heard.add(&[0x88, 5, 3]);
        assert_eq!(heard.close_code(), None);
        heard.add(&[0xf0, b'w', b'h', b'y']);
        assert_eq!(heard.close_code(), Some(1008));
        assert_eq!(heard.status(), None);
    }
}
