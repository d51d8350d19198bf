//! The encoder (RFC 7541 section 6).

use proto_http::{Buffer, Misuse};

use super::fixed::{self, ENTRIES, Token};
use super::huffman;
use super::integer::Written;
use super::table::{OVERHEAD, Table};
use crate::class;

/// The largest table of our encoder, whatever the peer offers: the table takes our memory.
const OWN_MAX: u32 = 4096;

/// Values up to this length that are not indexed are sent without the Huffman code, which would save less than it costs.
const PLAIN: usize = 8;

/// Whether a field may be added to the table (RFC 7541 section 7.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Indexing {
    /// By the field's name: `authorization`, `proxy-authorization`, `set-cookie` and short cookies are never indexed; fields that change
    /// with each message, such as `:path`, `etag` and `location`, are not indexed; all others are.
    #[default]
    Auto,
    /// Not added to the table.
    Without,
    /// Never added to any table, at any hop.
    Never,
}

/// Encodes the header blocks of one direction of a connection, in order.
///
/// ```
/// use proto_h2::hpack::{Decoder, Encoder, Indexing};
///
/// let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
/// let mut block = Vec::new();
/// encoder.begin(&mut block)?;
/// encoder.field(b":status", b"200", Indexing::Auto, &mut block)?;
/// encoder.field(b"Server", b"example", Indexing::Auto, &mut block)?;
/// let mut fields = Vec::new();
/// decoder.decode(&block, |name, value, _| fields.push((name.to_vec(), value.to_vec())))?;
/// assert_eq!(fields[1], (b"server".to_vec(), b"example".to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// Table size updates for the start of the next block: the lowest size since the last block, and the current one.
    due: Option<(u16, u16)>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder with the default table of 4,096 bytes. Allocates nothing until the first entry is added.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: Table::new(OWN_MAX),
            due: None,
        }
    }

    /// Sets the table size that the peer allows (SETTINGS_HEADER_TABLE_SIZE). At most 4,096 bytes are used.
    pub fn limit(&mut self, size: u32) {
        let size = size.min(OWN_MAX);
        if size == self.table.max() {
            return;
        }
        let lowest = self.due.map_or(self.table.max(), |(lowest, _)| u32::from(lowest));
        // Neither is above 4,096.
        self.due = Some((lowest.min(size) as u16, size as u16));
        self.table.resize(size);
    }

    /// Frees memory that the entries do not need.
    pub(crate) fn give_back(&mut self) {
        self.table.give_back();
    }

    /// Begins a block: writes table size updates if there are any (RFC 7541 section 4.2).
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`] from the buffer.
    #[inline]
    pub fn begin<B: Buffer>(&mut self, out: &mut B) -> Result<(), Misuse> {
        if self.due.is_some() { self.resize(out) } else { Ok(()) }
    }

    #[cold]
    fn resize<B: Buffer>(&mut self, out: &mut B) -> Result<(), Misuse> {
        if let Some((lowest, last)) = self.due {
            if lowest < last {
                out.put(Written::new(0x20, 5, lowest.into()).as_slice())?;
            }
            out.put(Written::new(0x20, 5, last.into()).as_slice())?;
            self.due = None;
        }
        Ok(())
    }

    /// Appends a field. Capital letters of the name become small; the value is sent unchanged. Neither is checked.
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`] from the buffer. No later block of this connection can be decoded then.
    #[inline]
    pub fn field<B: Buffer>(
        &mut self,
        name: &[u8],
        value: &[u8],
        indexing: Indexing,
        out: &mut B,
    ) -> Result<(), Misuse> {
        let hash = hash(name, value);
        if indexing == Indexing::Auto
            && let Some(place) = self.table.find(name, value, hash)
        {
            return Ok(out.put(Written::new(0x80, 7, place as u32 + fixed::COUNT + 1).as_slice())?);
        }
        self.literal(name, value, hash, indexing, out)
    }

    /// Appends `:status`.
    #[inline]
    pub(crate) fn status<B: Buffer>(&mut self, status: u16, out: &mut B) -> Result<(), Misuse> {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digit = |unit: u16| b'0' + (status / unit % 10) as u8;
                return self.field(b":status", &[digit(100), digit(10), digit(1)], Indexing::Auto, out);
            }
        };
        Ok(out.put(&[0x80 | index])?)
    }

    /// Appends `content-length`, not indexed.
    #[inline]
    pub(crate) fn content_length<B: Buffer>(&mut self, length: u64, out: &mut B) -> Result<(), Misuse> {
        // Four bits for index 28, the length of the value, and up to 20 digits.
        let mut octets = [0; 23];
        let (mut rest, mut start) = (length, octets.len());
        loop {
            start -= 1;
            octets[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 || start == 3 {
                break;
            }
        }
        octets[start - 1] = (octets.len() - start) as u8;
        octets[start - 2] = 28 - 15;
        octets[start - 3] = 0x0f;
        Ok(out.put(octets.get(start - 3..).unwrap_or_default())?)
    }

    #[inline(never)]
    fn literal<B: Buffer>(
        &mut self,
        name: &[u8],
        value: &[u8],
        hash: u16,
        indexing: Indexing,
        out: &mut B,
    ) -> Result<(), Misuse> {
        let index = fixed::index_of(name);
        if index > 0 && indexing == Indexing::Auto {
            let same = ENTRIES.iter().enumerate().skip(usize::from(index)).take(7);
            for (index, (line, length, _)) in same {
                if usize::from(*length) == name.len()
                    && line.get(..name.len()).is_some_and(|own| class::is_same(name, own))
                    && line.get(name.len() + 2..line.len() - 2) == Some(value)
                {
                    return Ok(out.put(&[0x80 | index as u8])?);
                }
            }
        }
        let indexing = match indexing {
            Indexing::Auto => by_name(index, value),
            other => other,
        };
        let size = name.len() + value.len() + OVERHEAD;
        // A field that would evict most of the table is not added.
        let add = indexing == Indexing::Auto && size * 2 <= self.table.max() as usize;
        let (first, prefix) = match indexing {
            _ if add => (0x40, 6),
            Indexing::Never => (0x10, 4),
            _ => (0, 4),
        };
        let mut index = u32::from(index);
        if index == 0 {
            let entries = self.table.entries();
            let named = (0..entries.len()).find(|&place| self.has_name(place, name));
            index = named.map_or(0, |place| place as u32 + fixed::COUNT + 1);
        }
        out.put(Written::new(first, prefix, index).as_slice())?;
        if index == 0 {
            string(name, true, true, out)?;
        }
        string(value, add || value.len() > PLAIN, false, out)?;
        if add {
            self.table.insert_parts(name, value, Token::Other, hash);
        }
        Ok(())
    }

    fn has_name(&self, place: usize, name: &[u8]) -> bool {
        self.table.get(place).is_some_and(|(entry, line)| {
            usize::from(entry.name) == name.len() && line.get(..name.len()).is_some_and(|own| class::is_same(name, own))
        })
    }
}

/// The meaning of [`Indexing::Auto`] for the name at `index` of the static table.
fn by_name(index: u8, value: &[u8]) -> Indexing {
    match index {
        // authorization, proxy-authorization, set-cookie
        23 | 49 | 55 => Indexing::Never,
        // An attacker could guess a short cookie from the compressed size.
        32 if value.len() < 20 => Indexing::Never,
        // :path, age, content-length, content-range, etag, if-modified-since, if-none-match, last-modified, location
        4 | 21 | 28 | 30 | 34 | 40 | 41 | 44 | 46 => Indexing::Without,
        _ => Indexing::Auto,
    }
}

/// The hash for looking entries up: made of the last bytes of name and value.
#[inline]
fn hash(name: &[u8], value: &[u8]) -> u16 {
    let tail = match value.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => value.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    };
    let end = match name.last_chunk::<2>() {
        Some(last) => u16::from_le_bytes(*last) | 0x2020,
        None => 0,
    };
    let lengths = (name.len() as u64) << 16 ^ value.len() as u64;
    let mixed = (tail ^ lengths << 24 ^ u64::from(end)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as u16
}

/// Appends a string (RFC 7541 section 5.2), Huffman-coded if that is shorter and `code` allows it.
fn string<B: Buffer>(text: &[u8], code: bool, small: bool, out: &mut B) -> Result<(), Misuse> {
    let mut lower = [0; 64];
    if small {
        let mut rest = text;
        // Names of usual length are lower-cased first, because the length of the code depends on the case.
        if let Some(place) = lower.get_mut(..text.len()) {
            place.copy_from_slice(text);
            place.make_ascii_lowercase();
            rest = place;
        } else if text.iter().any(u8::is_ascii_uppercase) {
            out.put(Written::new(0, 7, text.len() as u32).as_slice())?;
            return Ok(text.iter().try_for_each(|byte| out.put(&[byte.to_ascii_lowercase()]))?);
        }
        return string_of(rest, code, out);
    }
    string_of(text, code, out)
}

fn string_of<B: Buffer>(text: &[u8], code: bool, out: &mut B) -> Result<(), Misuse> {
    if code {
        let length = huffman::encoded_len(text);
        if length < text.len() {
            out.put(Written::new(0x80, 7, length as u32).as_slice())?;
            return huffman::encode(text, |piece| Ok(out.put(piece)?));
        }
    }
    out.put(Written::new(0, 7, text.len() as u32).as_slice())?;
    Ok(out.put(text)?)
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::*;

    fn pass(encoder: &mut Encoder, decoder: &mut Decoder, fields: &[(&str, &str)]) -> usize {
        let (mut block, mut seen) = (Vec::new(), Vec::new());
        encoder.begin(&mut block).unwrap();
        for (name, value) in fields {
            encoder
                .field(name.as_bytes(), value.as_bytes(), Indexing::Auto, &mut block)
                .unwrap();
        }
        decoder
            .decode(&block, |name, value, _| {
                seen.push((
                    String::from_utf8(name.to_vec()).unwrap(),
                    String::from_utf8(value.to_vec()).unwrap(),
                ));
            })
            .unwrap();
        let fields: Vec<_> = fields
            .iter()
            .map(|(n, v)| (n.to_ascii_lowercase(), (*v).to_owned()))
            .collect();
        assert_eq!(seen, fields);
        block.len()
    }

    #[test]
    fn what_was_sent_once_is_one_octet() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        let fields = [
            (":status", "200"),
            ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("X-A", "b"),
            ("X-A", ""),
        ];
        assert!(pass(&mut encoder, &mut decoder, &fields) > 30);
        assert_eq!(pass(&mut encoder, &mut decoder, &fields), 4);
        assert_eq!(
            pass(&mut encoder, &mut decoder, &[("etag", "\"x\"")]),
            pass(&mut encoder, &mut decoder, &[("etag", "\"x\"")])
        );
    }

    #[test]
    fn a_smaller_table_is_told_of_lowest_and_last() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        pass(&mut encoder, &mut decoder, &[("a", "b")]);
        encoder.limit(0);
        encoder.limit(100);
        encoder.limit(100_000);
        let mut block = Vec::new();
        encoder.begin(&mut block).unwrap();
        assert_eq!(block, [0x20, 0x3f, 0xe1, 0x1f]);
        decoder.decode(&block, |_, _, _| {}).unwrap();
        pass(&mut encoder, &mut decoder, &[("a", "b")]);
        decoder.offer(50);
        encoder.limit(50);
        pass(&mut encoder, &mut decoder, &[("a", "b"), ("c", "d")]);
        pass(&mut encoder, &mut decoder, &[("a", "b"), ("c", "d")]);
    }

    #[test]
    fn numbers() {
        let mut decoder = Decoder::new(4096);
        for length in [0, 9, 13, 1234, u64::MAX] {
            let mut block = Vec::new();
            Encoder::new().content_length(length, &mut block).unwrap();
            let mut seen = Vec::new();
            decoder
                .decode(&block, |name, value, _| seen = [name, b"=", value].concat())
                .unwrap();
            assert_eq!(String::from_utf8(seen).unwrap(), format!("content-length={length}"));
        }
    }
}
