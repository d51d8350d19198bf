#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

use core::fmt;

/// A buffer of fixed size has no room for all the bytes to append. Nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoSpace;

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the buffer is full")
    }
}

impl core::error::Error for NoSpace {}

/// The output of an encoder. Implemented for `Vec<u8>`, for `bytes::BytesMut`, and for a slice of memory by [`SliceBuffer`].
pub trait Buffer {
    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] if `bytes` do not fit: nothing is appended then.
    fn put(&mut self, bytes: &[u8]) -> Result<(), NoSpace>;

    /// The number of bytes in the buffer.
    fn position(&self) -> usize;

    /// Removes the bytes appended since `position` was read.
    fn rewind(&mut self, position: usize);

    /// The bytes appended since `position` was read, which may be changed; empty if `position` is beyond the end.
    fn appended(&mut self, position: usize) -> &mut [u8];
}

#[cfg(feature = "alloc")]
impl Buffer for alloc::vec::Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.len()
    }

    #[inline]
    fn rewind(&mut self, position: usize) {
        self.truncate(position);
    }

    #[inline]
    fn appended(&mut self, position: usize) -> &mut [u8] {
        self.get_mut(position..).unwrap_or_default()
    }
}

#[cfg(feature = "bytes")]
impl Buffer for bytes::BytesMut {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn position(&self) -> usize {
        self.len()
    }

    #[inline]
    fn rewind(&mut self, position: usize) {
        self.truncate(position);
    }

    #[inline]
    fn appended(&mut self, position: usize) -> &mut [u8] {
        self.get_mut(position..).unwrap_or_default()
    }
}

/// A [`Buffer`] over memory of fixed size, for use without an allocator.
#[derive(Debug)]
pub struct SliceBuffer<'a> {
    memory: &'a mut [u8],
    length: usize,
}

impl<'a> SliceBuffer<'a> {
    /// An empty buffer over `memory`.
    #[must_use]
    pub const fn new(memory: &'a mut [u8]) -> Self {
        Self { memory, length: 0 }
    }

    /// The bytes written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl Buffer for SliceBuffer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        let end = self.length.saturating_add(bytes.len());
        self.memory
            .get_mut(self.length..end)
            .ok_or(NoSpace)?
            .copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    fn position(&self) -> usize {
        self.length
    }

    fn rewind(&mut self, position: usize) {
        self.length = self.length.min(position);
    }

    fn appended(&mut self, position: usize) -> &mut [u8] {
        self.memory.get_mut(position..self.length).unwrap_or_default()
    }
}

/// Runs `write`. If it fails, removes what it has appended.
///
/// # Errors
///
/// The error of `write`.
#[inline]
pub fn all_or_nothing<B: Buffer + ?Sized, E>(
    out: &mut B,
    write: impl FnOnce(&mut B) -> Result<(), E>,
) -> Result<(), E> {
    let position = out.position();
    let result = write(out);
    if result.is_err() {
        out.rewind(position);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The behaviour that all buffers share.
    fn behaves(out: &mut dyn Buffer) {
        out.put(b"abc").unwrap();
        let position = out.position();
        out.put(b"def").unwrap();
        out.appended(position)[0] = b'D';
        assert_eq!(out.appended(0), b"abcDef");
        assert_eq!(out.appended(7), b"");
        let failed = all_or_nothing(out, |out| out.put(b"gh").and(Err(NoSpace)));
        assert_eq!((failed, out.position()), (Err(NoSpace), 6));
        out.rewind(position);
        // Rewinding beyond the end does nothing.
        out.rewind(100);
        assert_eq!(out.appended(0), b"abc");
    }

    #[test]
    fn memory_of_fixed_size_is_a_buffer() {
        let mut memory = [0; 8];
        let mut out = SliceBuffer::new(&mut memory);
        behaves(&mut out);
        assert_eq!(out.put(b"123456"), Err(NoSpace));
        assert_eq!(out.as_slice(), b"abc");
        out.put(b"12345").unwrap();
        assert_eq!(out.as_slice(), b"abc12345");
    }

    #[cfg(feature = "bytes")]
    #[test]
    fn vectors_are_buffers() {
        behaves(&mut alloc::vec::Vec::new());
        behaves(&mut bytes::BytesMut::new());
    }
}
