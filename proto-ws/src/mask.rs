//! Masking (RFC 6455 section 5.3), in place or while copying. The position in the key carries over from one piece of a payload to the next.
//!
//! Short payloads are masked in 8-byte words with an overlapping tail, so that 16 bytes take a handful of instructions; long payloads are
//! masked in blocks, which the compiler vectorizes.

#[cfg(feature = "alloc")]
use core::mem::MaybeUninit;

/// A masking key together with its position in the payload. Advancing is a rotation, so no counter is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mask(u32);

/// From this length on, the vector code is worth the check of which one to call.
const WIDE: usize = 192;

/// Bytes of one step of the vector code: two 64-byte registers or four 32-byte ones.
const BLOCK: usize = 128;

/// Bytes of a cache line.
const LINE: usize = 64;

impl Mask {
    /// The mask for the first byte of a payload, from the frame's `key`.
    #[inline]
    pub const fn new(key: [u8; 4]) -> Self {
        Mask(u32::from_le_bytes(key))
    }

    /// The key, rotated to the current position: byte 0 applies to the next byte of the payload.
    #[inline]
    pub const fn key(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// The mask at `bytes` further on in the payload.
    #[inline]
    #[must_use]
    pub const fn advanced(self, bytes: usize) -> Self {
        Mask(self.0.rotate_right(8 * (bytes % 4) as u32))
    }

    /// Masks or unmasks `payload` in place, and advances by its length.
    #[inline(always)]
    pub fn apply(&mut self, payload: &mut [u8]) {
        let key = *self;
        *self = key.advanced(payload.len());
        if payload.len() >= WIDE {
            wide::apply(payload, key);
        } else {
            key.words(payload);
        }
    }

    /// Appends `payload` to `out`, masked in the same pass, and advances by its length.
    #[cfg(feature = "alloc")]
    #[inline]
    #[allow(unsafe_code)]
    pub fn append(&mut self, payload: &[u8], out: &mut bytes::BytesMut) {
        let (key, len) = (*self, payload.len());
        *self = key.advanced(len);
        if len < WIDE {
            let from = out.len();
            out.extend_from_slice(payload);
            return key.words(out.get_mut(from..).unwrap_or_default());
        }
        out.reserve(len);
        let Some(room) = out.spare_capacity_mut().get_mut(..len) else {
            return;
        };
        wide::copy(payload, room, key);
        let end = out.len() + len;
        // SAFETY: `copy` has initialized the `len` bytes after the old end, which are within the capacity.
        unsafe { out.set_len(end) };
    }

    /// The key twice, as a word of 8 bytes.
    #[inline(always)]
    const fn word(self) -> u64 {
        (self.0 as u64) << 32 | self.0 as u64
    }

    /// Masks 8-byte words. The last word overlaps the one before, so it is read before and written after that one.
    #[inline(always)]
    fn words(self, payload: &mut [u8]) {
        let len = payload.len();
        if let Some(&last) = payload.last_chunk::<8>() {
            let last = u64::from_le_bytes(last) ^ self.advanced(len).word();
            let (words, _) = payload.as_chunks_mut::<8>();
            for word in words {
                *word = (u64::from_le_bytes(*word) ^ self.word()).to_le_bytes();
            }
            if let Some(end) = payload.last_chunk_mut() {
                *end = last.to_le_bytes();
            }
        } else if let Some(&last) = payload.last_chunk::<4>() {
            let last = u32::from_le_bytes(last) ^ self.advanced(len).0;
            if let Some(start) = payload.first_chunk_mut::<4>() {
                *start = (u32::from_le_bytes(*start) ^ self.0).to_le_bytes();
            }
            if let Some(end) = payload.last_chunk_mut() {
                *end = last.to_le_bytes();
            }
        } else {
            for (byte, key) in payload.iter_mut().zip(self.key()) {
                *byte ^= key;
            }
        }
    }
}

/// Masks in place, in blocks. Compiled once for each instruction set.
#[inline(always)]
fn in_place(payload: &mut [u8], key: Mask) {
    // Stores across cache lines cost more than the few bytes before the first whole line.
    let (front, rest) = payload.split_at_mut(payload.as_ptr().align_offset(LINE).min(payload.len()));
    key.words(front);
    let key = key.advanced(front.len());
    let word = key.word();
    let (blocks, rest) = rest.as_chunks_mut::<BLOCK>();
    for block in blocks {
        let (words, _) = block.as_chunks_mut::<8>();
        for bytes in words {
            *bytes = (u64::from_le_bytes(*bytes) ^ word).to_le_bytes();
        }
    }
    key.words(rest);
}

/// Masks from `from` to `to`, which has the same length, in blocks.
#[cfg(feature = "alloc")]
#[inline(always)]
fn copying(from: &[u8], to: &mut [MaybeUninit<u8>], key: Mask) {
    let word = key.word();
    let (from_blocks, from_rest) = from.as_chunks::<BLOCK>();
    let (to_blocks, to_rest) = to.as_chunks_mut::<BLOCK>();
    for (from, to) in from_blocks.iter().zip(to_blocks) {
        let mut block = *from;
        let (words, _) = block.as_chunks_mut::<8>();
        for bytes in words {
            *bytes = (u64::from_le_bytes(*bytes) ^ word).to_le_bytes();
        }
        *to = block.map(MaybeUninit::new);
    }
    for ((from, to), key) in from_rest.iter().zip(to_rest).zip(key.key().iter().cycle()) {
        to.write(from ^ key);
    }
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[allow(unsafe_code)]
mod wide {
    use std::arch::is_x86_feature_detected;

    use super::{Mask, MaybeUninit, copying, in_place};

    #[inline]
    pub(super) fn apply(payload: &mut [u8], key: Mask) {
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor supports AVX2, as just checked; the function needs nothing else.
            unsafe { apply_avx2(payload, key) }
        } else {
            in_place(payload, key);
        }
    }

    #[inline]
    pub(super) fn copy(from: &[u8], to: &mut [MaybeUninit<u8>], key: Mask) {
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor supports AVX2, as just checked; the function needs nothing else.
            unsafe { copy_avx2(from, to, key) }
        } else {
            copying(from, to, key);
        }
    }

    #[target_feature(enable = "avx2")]
    fn apply_avx2(payload: &mut [u8], key: Mask) {
        in_place(payload, key);
    }

    #[target_feature(enable = "avx2")]
    fn copy_avx2(from: &[u8], to: &mut [MaybeUninit<u8>], key: Mask) {
        copying(from, to, key);
    }
}

#[cfg(not(all(feature = "std", target_arch = "x86_64")))]
mod wide {
    // On other targets, the loops are already compiled for the vector registers of the baseline (NEON on AArch64).
    #[cfg(feature = "alloc")]
    pub(super) use super::copying as copy;
    pub(super) use super::in_place as apply;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 section 5.3, literally.
    fn reference(payload: &mut [u8], key: [u8; 4]) {
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[i % 4];
        }
    }

    #[test]
    fn every_length_and_split_agrees_with_the_rfc() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for len in (0..70).chain(180..210).chain(250..270).chain([1000, 4099]) {
            let data: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
            let mut expected = data.clone();
            reference(&mut expected, key);
            for split in [0, 1, 2, 3, 5, 8, 33, len / 2, len]
                .into_iter()
                .filter(|split| *split <= len)
            {
                let mut got = data.clone();
                let mut mask = Mask::new(key);
                let (front, back) = got.split_at_mut(split);
                mask.apply(front);
                mask.apply(back);
                assert_eq!(got, expected, "length {len} split at {split}");
                assert_eq!(mask, Mask::new(key).advanced(len));
                #[cfg(feature = "alloc")]
                {
                    let mut out = bytes::BytesMut::from(&b"before"[..]);
                    let mut mask = Mask::new(key);
                    mask.append(&data[..split], &mut out);
                    mask.append(&data[split..], &mut out);
                    assert_eq!(out, [b"before", &expected[..]].concat());
                    assert_eq!(mask, Mask::new(key).advanced(len));
                }
            }
        }
    }
}
