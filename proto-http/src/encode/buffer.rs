//! Where encoders write to.

use crate::Misuse;

/// Where an encoder appends. Implemented for `Vec<u8>`, for `bytes::BytesMut`, and for plain memory by [`SliceBuffer`].
pub trait Buffer {
    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`] where they do not fit.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Misuse>;

    /// Bytes in the buffer.
    fn position(&self) -> usize;

    /// Drops what was appended since `position` was read.
    fn rewind(&mut self, position: usize);

    /// What was appended since `position` was read, to look at or to change.
    fn appended(&mut self, position: usize) -> &mut [u8];
}

#[cfg(feature = "alloc")]
impl Buffer for alloc::vec::Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Misuse> {
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
    fn put(&mut self, bytes: &[u8]) -> Result<(), Misuse> {
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

    /// What was written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl Buffer for SliceBuffer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Misuse> {
        let end = self.length.saturating_add(bytes.len());
        self.memory
            .get_mut(self.length..end)
            .ok_or(Misuse::NoSpace)?
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
