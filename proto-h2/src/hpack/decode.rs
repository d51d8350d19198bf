//! The decoder (RFC 7541 sections 3.2 and 6).

use alloc::vec::Vec;
use core::fmt;

use super::fixed::{self, ENTRIES, Token};
use super::huffman;
use super::integer::{self, Bad};
use super::table::{OVERHEAD, Table};
use crate::class;

/// Why a header block cannot be decoded. The compression state is lost: the connection ends with COMPRESSION_ERROR (RFC 9113 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeError {
    /// Index 0, or one past the end of the table (RFC 7541 section 2.3.3).
    Index,
    /// An integer above 32 bits, or of more than six octets (RFC 7541 section 5.1).
    Integer,
    /// The block ends inside a field (RFC 7541 section 5.2).
    Truncated,
    /// A Huffman code that contains EOS, or whose padding is too long or not all ones (RFC 7541 section 5.2).
    Huffman,
    /// A table size update that is behind a field, one too many, or above the offered size (RFC 7541 sections 4.2 and 6.3).
    TableSize,
    /// The table size update that must follow a smaller offer is missing (RFC 7541 section 4.2).
    TableSizeMissing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "an index outside the table",
            Self::Integer => "an integer over 32 bits",
            Self::Truncated => "a field that the block cuts short",
            Self::Huffman => "an invalid Huffman code",
            Self::TableSize => "a table size update that is late or too large",
            Self::TableSizeMissing => "a required table size update is missing",
        })
    }
}

impl core::error::Error for DecodeError {}

impl From<Bad> for DecodeError {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Cut => Self::Truncated,
            Bad::TooLarge => Self::Integer,
        }
    }
}

/// A decoded field. Its line is at the end of the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Where the line begins.
    pub(crate) start: usize,
    /// Bytes of the name.
    pub(crate) name: usize,
    pub(crate) token: Token,
    /// Whether HTTP allows the field: the name is a token without capital letters; the value has no control character but HTAB, and no
    /// space at either end (RFC 9113 section 8.2.1).
    pub(crate) valid: bool,
    /// The field must never be indexed (RFC 7541 section 6.2.3).
    pub(crate) never: bool,
}

/// Decodes the header blocks of one direction of a connection, in order.
///
/// ```
/// let mut decoder = proto_h2::hpack::Decoder::new(4096);
/// let mut fields = Vec::new();
/// let block = [0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
/// decoder.decode(&block, |name, value, _| fields.push((name.to_vec(), value.to_vec())))?;
/// assert_eq!(fields[3], (b":authority".to_vec(), b"www.example.com".to_vec()));
/// # Ok::<(), proto_h2::hpack::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The largest table size that the peer may choose.
    offered: u32,
    /// A smaller size was offered: the next block must begin with a table size update.
    due: bool,
}

impl Decoder {
    /// A decoder that lets the peer use a table of up to `offered` bytes, counted as in RFC 7541 section 4.1; at most 65,535. Allocates
    /// nothing until the first entry is added.
    #[must_use]
    pub fn new(offered: u32) -> Self {
        let table = Table::new(offered);
        Self {
            offered: table.max(),
            table,
            due: false,
        }
    }

    /// Sets another offered table size. Call this once the peer has acknowledged the setting (RFC 9113 section 6.5.2). At most 65,535.
    pub fn offer(&mut self, offered: u32) {
        self.offered = offered.min(super::table::LARGEST);
        self.due = self.table.max() > self.offered;
    }

    /// Decodes a whole header block, and passes each field to `visit`: the name, the value, and whether the field must never be indexed.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; no further block of the connection can be decoded.
    pub fn decode(&mut self, block: &[u8], mut visit: impl FnMut(&[u8], &[u8], bool)) -> Result<(), DecodeError> {
        let mut buffer = Vec::with_capacity(256);
        self.read(block, usize::MAX, &mut buffer, |buffer, line| {
            let text = buffer.get(line.start..).unwrap_or_default();
            let (name, rest) = text.split_at(line.name.min(text.len()));
            let value = rest.get(2..rest.len().saturating_sub(2)).unwrap_or_default();
            visit(name, value, line.never);
            buffer.truncate(line.start);
        })
        .map(|_| ())
    }

    /// Decodes a whole header block into lines at the end of `buffer`. Fields beyond `limit` bytes, counted as in RFC 9113 section 6.5.2,
    /// update the table but are left out. Returns the size of all fields.
    #[inline]
    pub(crate) fn read(
        &mut self,
        block: &[u8],
        limit: usize,
        buffer: &mut Vec<u8>,
        mut visit: impl FnMut(&mut Vec<u8>, Line),
    ) -> Result<usize, DecodeError> {
        let mut input = block;
        let mut size = 0_usize;
        if self.due || matches!(input, [0x20..0x40, ..]) {
            self.resize(&mut input)?;
        }
        while let [first, ..] = *input {
            let start = buffer.len();
            if first >= 0x80 {
                let index = integer::read(&mut input, 7)?;
                size = self.indexed(index, size, limit, buffer, &mut visit)?;
                continue;
            }
            let (prefix, indexing) = match first {
                0x40.. => (6, true),
                0x20.. => return Err(DecodeError::TableSize),
                _ => (4, false),
            };
            let (name, token) = self.name(integer::read(&mut input, prefix)?, &mut input, buffer)?;
            let name_valid = token.1;
            let token = token.0;
            buffer.extend_from_slice(b": ");
            let from = buffer.len();
            string(&mut input, buffer)?;
            let value = buffer.get(from..).unwrap_or_default();
            let valid = name_valid && class::is_value(value);
            size = size.saturating_add(name + value.len() + OVERHEAD);
            buffer.extend_from_slice(b"\r\n");
            if indexing {
                let line = buffer.get(start..).unwrap_or_default();
                self.table.insert(line, name, token, valid);
            }
            if size > limit {
                buffer.truncate(start);
                continue;
            }
            let never = first & 0xf0 == 0x10;
            visit(
                buffer,
                Line {
                    start,
                    name,
                    token,
                    valid,
                    never,
                },
            );
        }
        Ok(size)
    }

    #[inline]
    fn indexed(
        &self,
        index: u32,
        size: usize,
        limit: usize,
        buffer: &mut Vec<u8>,
        visit: &mut impl FnMut(&mut Vec<u8>, Line),
    ) -> Result<usize, DecodeError> {
        let (line, name, token, valid) = if index > fixed::COUNT {
            let place = (index - fixed::COUNT - 1) as usize;
            let (entry, line) = self.table.get(place).ok_or(DecodeError::Index)?;
            (line, usize::from(entry.name), entry.token, entry.valid)
        } else {
            let (line, name, token) = ENTRIES.get(index as usize).copied().unwrap_or((b"", 0, Token::Unknown));
            if name == 0 {
                return Err(DecodeError::Index);
            }
            (line, usize::from(name), token, true)
        };
        let size = size.saturating_add(line.len() - 4 + OVERHEAD);
        if size <= limit {
            let start = buffer.len();
            buffer.extend_from_slice(line);
            let line = Line {
                start,
                name,
                token,
                valid,
                never: false,
            };
            visit(buffer, line);
        }
        Ok(size)
    }

    /// Appends the name of a literal field: the name at `index`, or the literal name that follows if `index` is 0. Returns its length, its
    /// meaning, and whether it is valid.
    #[inline]
    fn name(&self, index: u32, input: &mut &[u8], buffer: &mut Vec<u8>) -> Result<(usize, (Token, bool)), DecodeError> {
        let start = buffer.len();
        if index == 0 {
            string(input, buffer)?;
            let name = buffer.get(start..).unwrap_or_default();
            let token = Token::of(name);
            return Ok((name.len(), (token, token.is_pseudo() || class::is_name(name))));
        }
        let (name, token, valid) = if index > fixed::COUNT {
            let place = (index - fixed::COUNT - 1) as usize;
            let (entry, line) = self.table.get(place).ok_or(DecodeError::Index)?;
            let name = line.get(..usize::from(entry.name)).unwrap_or_default();
            // The entry may be invalid because of its value alone.
            let valid = entry.valid || entry.token.is_pseudo() || class::is_name(name);
            (name, entry.token, valid)
        } else {
            let (line, name, token) = ENTRIES[index as usize];
            (line.get(..usize::from(name)).unwrap_or_default(), token, true)
        };
        buffer.extend_from_slice(name);
        Ok((name.len(), (token, valid)))
    }

    /// Frees memory that the entries do not need.
    pub(crate) fn give_back(&mut self) {
        self.table.give_back();
    }

    /// Takes table size updates off the start of a block (RFC 7541 section 4.2): one, or the lowest followed by the last.
    #[cold]
    fn resize(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        let mut changes = 0;
        while let [0x20..0x40, ..] = *input {
            changes += 1;
            let size = integer::read(input, 5)?;
            if size > self.offered || changes > 2 {
                return Err(DecodeError::TableSize);
            }
            self.table.resize(size);
        }
        if self.due && self.table.max() > self.offered {
            return Err(DecodeError::TableSizeMissing);
        }
        self.due = false;
        Ok(())
    }
}

/// Takes a string off `input` (RFC 7541 section 5.2), and appends it.
#[inline]
fn string(input: &mut &[u8], buffer: &mut Vec<u8>) -> Result<(), DecodeError> {
    let huffman = matches!(input, [0x80..=0xff, ..]);
    let length = integer::read(input, 7)? as usize;
    let (text, rest) = input.split_at_checked(length).ok_or(DecodeError::Truncated)?;
    *input = rest;
    if huffman {
        huffman::decode(text, buffer).map_err(|_| DecodeError::Huffman)
    } else {
        buffer.extend_from_slice(text);
        Ok(())
    }
}
