//! The Huffman code of RFC 7541 section 5.2 and appendix B, in both directions.
//!
//! The code is canonical: codes of the same length ascend with their symbols. The lengths therefore define the code, and the tables are
//! computed from them at compile time.

use alloc::vec::Vec;

/// Code length of each byte in bits, and of EOS at the end (appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const LONGEST: usize = 30;
const EOS: u16 = 256;
/// Bits that one table lookup takes.
const PEEK: u32 = 12;

/// Symbols by length, then by value: the order of their codes.
const SORTED: [u16; 257] = {
    let mut sorted = [0; 257];
    let (mut length, mut at) = (1, 0);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                sorted[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    sorted
};

/// For each length: the code after the last one of this length, aligned left in 32 bits; the place in [`SORTED`] of its first symbol; and
/// its first code.
const STEPS: [(u64, u16, u32); LONGEST + 1] = {
    let mut steps = [(0, 0, 0); LONGEST + 1];
    let (mut code, mut place, mut length) = (0_u32, 0_u16, 1);
    while length <= LONGEST {
        code <<= 1;
        let (first, start) = (code, place);
        while (place as usize) < 257 && LENGTHS[SORTED[place as usize] as usize] as usize == length {
            code += 1;
            place += 1;
        }
        steps[length] = ((code as u64) << (32 - length), start, first);
        length += 1;
    }
    steps
};

/// The code of each symbol, aligned right.
const CODES: [u32; 257] = {
    let mut codes = [0; 257];
    let mut place = 0;
    while place < 257 {
        let symbol = SORTED[place] as usize;
        let (_, start, first) = STEPS[LENGTHS[symbol] as usize];
        codes[symbol] = first + (place as u32 - start as u32);
        place += 1;
    }
    codes
};

/// The one or two symbols whose codes fit in 12 bits. First symbol in the lowest byte, second in the next; eight times their number in the
/// third byte; the length of their codes in the highest. 0 if the code of the first symbol is longer than 12 bits.
static PAIRS: [u32; 1 << PEEK] = {
    let mut pairs = [0; 1 << PEEK];
    let mut bits = 0;
    while bits < 1 << PEEK {
        if let Some((first, length)) = short((bits as u32) << (32 - PEEK), PEEK) {
            pairs[bits] = length << 24 | 8 << 16 | first as u32;
            if let Some((second, more)) = short(((bits as u64) << (32 - PEEK + length)) as u32, PEEK - length) {
                pairs[bits] = (length + more) << 24 | 16 << 16 | (second as u32) << 8 | first as u32;
            }
        }
        bits += 1;
    }
    pairs
};

/// The first symbol of `bits`, and its length, if the length is at most `room`.
const fn short(bits: u32, room: u32) -> Option<(u8, u32)> {
    let (symbol, length) = first(bits);
    if length <= room {
        Some((symbol as u8, length))
    } else {
        None
    }
}

/// The first symbol of `bits`, and its length.
const fn first(bits: u32) -> (u16, u32) {
    let mut length = 5;
    while length < LONGEST && bits as u64 >= STEPS[length].0 {
        length += 1;
    }
    let (_, start, first) = STEPS[length];
    let place = start as u32 + (bits >> (32 - length)) - first;
    let symbol = if place < 257 { SORTED[place as usize] } else { EOS };
    (symbol, length as u32)
}

/// The string breaks RFC 7541 section 5.2: it contains EOS, or its padding is longer than 7 bits or not all ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Decodes `input` and appends the result to `out`.
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    let start = out.len();
    // The shortest code has 5 bits. Symbols are written eight bytes at a time.
    out.resize(start + input.len() * 8 / 5 + 8, 0);
    let written = decode_into(input, out.get_mut(start..).unwrap_or_default());
    out.truncate(start + written.unwrap_or(0));
    written.map(|_| ()).ok_or(Invalid)
}

/// Up to four lookups in [`PAIRS`]: the symbols as bytes; eight times their number; the length of their codes in bits. The last value is 0
/// if a code longer than one lookup follows.
#[inline(always)]
fn pairs(bits: u64) -> (u64, u32, u32, u32) {
    let (mut bits, mut symbols, mut filled, mut used, mut pair) = (bits, 0, 0, 0, 0);
    for _ in 0..4 {
        pair = PAIRS[(bits >> (64 - PEEK)) as usize];
        symbols |= u64::from(pair & 0xffff) << filled;
        filled += pair >> 16 & 0xff;
        used += pair >> 24;
        bits <<= pair >> 24;
    }
    (symbols, filled, used, pair)
}

fn decode_into(input: &[u8], out: &mut [u8]) -> Option<usize> {
    // `bits` holds `count` unused bits, aligned left.
    let (mut rest, mut bits, mut count, mut at) = (input, 0_u64, 0_u32, 0_usize);
    while let Some(word) = rest.first_chunk::<8>() {
        bits |= u64::from_be_bytes(*word) >> count;
        rest = rest.get(((63 - count) >> 3) as usize..)?;
        count |= 56;
        let (symbols, filled, used, last) = pairs(bits);
        let place: &mut [u8; 8] = out.get_mut(at..)?.first_chunk_mut()?;
        *place = symbols.to_le_bytes();
        at += (filled >> 3) as usize;
        bits <<= used;
        count -= used;
        if last == 0 && count >= LONGEST as u32 {
            let (symbol, length) = first((bits >> 32) as u32);
            *out.get_mut(at)? = u8::try_from(symbol).ok()?;
            at += 1;
            bits <<= length;
            count -= length;
        }
    }
    // Fewer than eight octets are left. If `input` has eight or more, they are the end of its last eight.
    let last = match input.last_chunk::<8>() {
        Some(word) if !rest.is_empty() => u64::from_be_bytes(*word) << (64 - 8 * rest.len()),
        Some(_) => 0,
        None => rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)) << ((64 - 8 * rest.len()) % 64),
    };
    let bits = u128::from(bits) << 64 | (u128::from(last) << 64) >> count;
    finish(bits, count + 8 * rest.len() as u32, out, at)
}

/// Decodes the last `count` bits, aligned left in `bits`, and checks the padding.
fn finish(bits: u128, mut count: u32, out: &mut [u8], mut at: usize) -> Option<usize> {
    // The bits behind the end count as ones. Ones after a symbol begin no code that a lookup finds, and if they complete a code, the
    // padding was not all ones.
    let mut zeros = !bits & !(u128::MAX >> count);
    loop {
        let (symbols, filled, used, last) = pairs(!((zeros >> 64) as u64));
        let place: &mut [u8; 8] = out.get_mut(at..)?.first_chunk_mut()?;
        *place = symbols.to_le_bytes();
        at += (filled >> 3) as usize;
        zeros <<= used;
        count = count.checked_sub(used)?;
        if last != 0 {
            continue;
        }
        if count < 8 && zeros == 0 {
            return Some(at);
        }
        let (symbol, length) = first(!((zeros >> 96) as u32));
        *out.get_mut(at)? = u8::try_from(symbol).ok()?;
        at += 1;
        zeros <<= length;
        count = count.checked_sub(length)?;
    }
}

/// The number of bytes that [`encode`] produces for `text`.
pub(crate) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum();
    bits.div_ceil(8)
}

/// Passes the code of `text` to `put`, in pieces.
pub(crate) fn encode<E>(text: &[u8], mut put: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let (mut bits, mut count) = (0_u64, 0_u32);
    for &byte in text {
        let (code, length) = (CODES[usize::from(byte)], u32::from(LENGTHS[usize::from(byte)]));
        bits = bits << length | u64::from(code);
        count += length;
        if count >= 32 {
            count -= 32;
            put(&((bits >> count) as u32).to_be_bytes())?;
        }
    }
    let bytes = count.div_ceil(8);
    // The padding is the start of EOS, which is all ones.
    let padded = (bits << (bytes * 8 - count)) as u32 | ((1 << (bytes * 8 - count)) - 1);
    let word = u64::from(padded) << 32 >> (bytes * 8);
    put((word as u32).to_be_bytes().get(..bytes as usize).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = encode(text, |piece| {
            out.extend_from_slice(piece);
            Ok::<_, ()>(())
        });
        assert_eq!(out.len(), encoded_len(text));
        out
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = b"x".to_vec();
        decode(bytes, &mut out)?;
        Ok(out[1..].to_vec())
    }

    #[test]
    fn the_examples_of_appendix_c() {
        for (text, code) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("private", "aec3771a4b"),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                "d07abe941054d444a8200595040b8166e082a62d1bff",
            ),
            ("", ""),
        ] {
            let hex: String = encoded(text.as_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(hex, code, "{text}");
            assert_eq!(decoded(&encoded(text.as_bytes())).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn every_byte_at_every_place_comes_back() {
        for byte in 0..=255_u8 {
            for before in 0..20 {
                for behind in 0..10 {
                    let mut text = vec![b'a'; before];
                    text.push(byte);
                    text.extend(vec![b'Z'; behind]);
                    assert_eq!(decoded(&encoded(&text)).unwrap(), text);
                }
            }
        }
    }

    #[test]
    fn bad_padding_and_eos_are_refused() {
        // 5 bits of "a" (00011), then padding.
        assert_eq!(decoded(&[0b0001_1111]), Ok(b"a".to_vec()));
        assert_eq!(decoded(&[0b0001_1110]), Err(Invalid));
        assert_eq!(decoded(&[0b0001_1111, 0xff]), Err(Invalid));
        assert_eq!(decoded(&[0xff]), Err(Invalid));
        assert_eq!(decoded(&[0xff; 4]), Err(Invalid));
        assert_eq!(decoded(&[0xff; 40]), Err(Invalid));
        let mut long = encoded(b"aaaaaaaaaaaaaaaaaaaaaaaa");
        long.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoded(&long), Err(Invalid));
    }
}
