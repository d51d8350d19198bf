//! Frame headers (RFC 6455 section 5.2): conversion between bytes and fields. This module does not check roles, states or
//! limits; [`Decoder`](crate::Decoder) does.

use crate::Violation;

/// This endpoint's side of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends without masks, accepts only masked frames.
    Server,
    /// Masks every frame, accepts only frames without masks.
    Client,
}

/// The type of a frame (section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// Continues a message.
    Continuation = 0x0,
    /// Begins a text message.
    Text = 0x1,
    /// Begins a binary message.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Asks for a Pong.
    Ping = 0x9,
    /// Answers a Ping, or arrives unasked.
    Pong = 0xa,
}

impl Opcode {
    /// The opcode in the low four bits of a frame's first byte.
    #[inline]
    pub const fn new(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return Err(Violation::ReservedOpcode(bits)),
        })
    }

    /// Whether the frame is a Close, Ping or Pong.
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The three reserved bits, in their place in the first byte.
pub const RSV: u8 = 0x70;
/// The bit that marks a compressed message (RFC 7692 section 6).
pub const RSV1: u8 = 0x40;

/// A complete frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The reserved bits, in their place in the first byte: a subset of [`RSV`].
    pub rsv: u8,
    /// The type of the frame.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload; at most 2^63 - 1.
    pub len: u64,
}

/// The longest header: 2 bytes, a 64-bit length and a key.
pub const MAX_HEADER: usize = 14;

/// A header as bytes, on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderBytes {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

#[cfg(feature = "alloc")]
impl HeaderBytes {
    /// Appends the header, and reserves room for `more` bytes after it.
    #[inline]
    pub(crate) fn append(&self, more: usize, out: &mut bytes::BytesMut) {
        let end = out.len() + usize::from(self.len);
        // A copy of constant length that is truncated afterwards needs no call; a copy of the right length would.
        out.reserve(MAX_HEADER + more);
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

impl core::ops::Deref for HeaderBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Header {
    /// Reads a header from the front of `bytes`. Returns the header and its length, or `None` if the header is incomplete.
    ///
    /// # Errors
    ///
    /// A reserved opcode; a length with its highest bit set or not in its shortest form.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        let opcode = Opcode::new(first & 0x0f)?;
        let Some((len, at)) = length(bytes, second)? else {
            return Ok(None);
        };
        let (mask, end) = if second & 0x80 == 0 {
            (None, at)
        } else {
            let Some(key) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
                return Ok(None);
            };
            (Some(*key), at + 4)
        };
        Ok(Some((
            Header {
                fin: first & 0x80 != 0,
                rsv: first & RSV,
                opcode,
                mask,
                len,
            },
            end,
        )))
    }

    /// Writes the header. Bits of `rsv` outside [`RSV`], and the highest bit of `len`, are dropped.
    #[inline]
    pub fn encode(&self) -> HeaderBytes {
        let mut bytes = [0; MAX_HEADER];
        let first = u8::from(self.fin) << 7 | (self.rsv & RSV) | self.opcode as u8;
        let masked = u8::from(self.mask.is_some()) << 7;
        let mut len = if self.len < 126 {
            [bytes[0], bytes[1]] = [first, masked | self.len as u8];
            2
        } else if let Ok(short) = u16::try_from(self.len) {
            let [high, low] = short.to_be_bytes();
            [bytes[0], bytes[1], bytes[2], bytes[3]] = [first, masked | 126, high, low];
            4
        } else {
            let [a, b, c, d, e, f, g, h] = (self.len & !(1 << 63)).to_be_bytes();
            bytes = [first, masked | 127, a, b, c, d, e, f, g, h, 0, 0, 0, 0];
            10
        };
        if let (Some(key), Some(place)) = (self.mask, bytes.get_mut(len..).and_then(|rest| rest.first_chunk_mut())) {
            *place = key;
            len += 4;
        }
        HeaderBytes { bytes, len: len as u8 }
    }
}

/// The payload length and the offset after it; `None` if it is incomplete.
#[inline]
pub(crate) fn length(bytes: &[u8], second: u8) -> Result<Option<(u64, usize)>, Violation> {
    match second & 0x7f {
        126 => {
            let [_, _, high, low, ..] = *bytes else { return Ok(None) };
            let len = u16::from_be_bytes([high, low]);
            if len < 126 {
                Err(Violation::NonMinimalLength)
            } else {
                Ok(Some((u64::from(len), 4)))
            }
        }
        127 => {
            let [_, _, a, b, c, d, e, f, g, h, ..] = *bytes else {
                return Ok(None);
            };
            let len = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            if len >> 63 != 0 {
                Err(Violation::LengthOverflow)
            } else if len <= u64::from(u16::MAX) {
                Err(Violation::NonMinimalLength)
            } else {
                Ok(Some((len, 10)))
            }
        }
        short => Ok(Some((u64::from(short), 2))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_section_5_7() {
        let unmasked = [0x81, 0x05, b'H', b'e', b'l', b'l', b'o'];
        let header = Header {
            fin: true,
            rsv: 0,
            opcode: Opcode::Text,
            mask: None,
            len: 5,
        };
        assert_eq!(Header::decode(&unmasked), Ok(Some((header, 2))));
        assert_eq!(&*header.encode(), &unmasked[..2]);

        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let header = Header {
            mask: Some([0x37, 0xfa, 0x21, 0x3d]),
            ..header
        };
        assert_eq!(Header::decode(&masked), Ok(Some((header, 6))));
        assert_eq!(&*header.encode(), &masked[..6]);

        let long = [0x82, 0x7e, 0x01, 0x00];
        let header = Header {
            fin: true,
            rsv: 0,
            opcode: Opcode::Binary,
            mask: None,
            len: 256,
        };
        assert_eq!(Header::decode(&long), Ok(Some((header, 4))));
        assert_eq!(&*header.encode(), &long);

        let longer = [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
        let header = Header { len: 65536, ..header };
        assert_eq!(Header::decode(&longer), Ok(Some((header, 10))));
        assert_eq!(&*header.encode(), &longer);
    }

    #[test]
    fn decode_then_encode_is_the_identity() {
        for opcode in [0u8, 1, 2, 8, 9, 10] {
            for first in [0u8, 0x80, 0x40, 0xf0] {
                for len in [0u64, 1, 125, 126, 127, 65535, 65536, u64::MAX >> 1] {
                    for mask in [None, Some([1, 2, 3, 4])] {
                        let header = Header {
                            fin: first & 0x80 != 0,
                            rsv: first & RSV,
                            opcode: Opcode::new(opcode).unwrap(),
                            mask,
                            len,
                        };
                        let bytes = header.encode();
                        assert_eq!(Header::decode(&bytes), Ok(Some((header, bytes.len()))));
                        for cut in 0..bytes.len() {
                            assert_eq!(Header::decode(&bytes[..cut]), Ok(None));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_no_header_has_is_dropped() {
        let header = Header {
            fin: false,
            rsv: 0xff,
            opcode: Opcode::Continuation,
            mask: None,
            len: u64::MAX,
        };
        let sent = Header {
            rsv: RSV,
            len: u64::MAX >> 1,
            ..header
        };
        assert_eq!(Header::decode(&header.encode()), Ok(Some((sent, 10))));
    }

    #[test]
    fn opcodes() {
        let known: Vec<u8> = (0..16).filter(|&bits| Opcode::new(bits).is_ok()).collect();
        assert_eq!(known, [0, 1, 2, 8, 9, 10]);
        let control = known.iter().filter(|&&bits| Opcode::new(bits).unwrap().is_control());
        assert!(control.eq(&[8, 9, 10]));
    }
}
