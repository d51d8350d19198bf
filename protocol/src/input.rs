//! The bytes that a driver lends to a protocol.

use core::fmt;

/// A cursor over received bytes. The bytes are lent for one call and may be changed in place.
///
/// The memory belongs to the driver, which reads into one buffer per thread. So a protocol may unmask or decrypt the bytes
/// in place, but cannot keep them. Bytes that are not consumed when the call returns stay with the connection. They are
/// shown again, in one contiguous slice, in front of newer bytes.
///
/// ```
/// let mut bytes = *b"ping pong";
/// let mut input = protocol::Input::new(&mut bytes);
/// assert_eq!(input.take(4), b"ping");
/// input.consume(1);
/// assert_eq!(input.as_slice(), b"pong");
/// ```
pub struct Input<'a> {
    rest: &'a mut [u8],
}

impl<'a> Input<'a> {
    /// A cursor at the start of `bytes`.
    #[inline]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Input { rest: bytes }
    }

    /// How many bytes are left.
    #[inline]
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether no bytes are left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes that are left.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.rest
    }

    /// The bytes that are left, for changes in place.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.rest
    }

    /// Moves past `n` bytes, or past all of them if fewer are left.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.take(n);
    }

    /// Consumes `n` bytes, or all of them if fewer are left, and returns them for as long as the driver lends them.
    #[inline]
    pub fn take(&mut self, n: usize) -> &'a mut [u8] {
        let rest = core::mem::take(&mut self.rest);
        let (head, tail) = rest.split_at_mut(n.min(rest.len()));
        self.rest = tail;
        head
    }

    /// Consumes and returns all bytes that are left.
    #[inline]
    pub fn take_all(&mut self) -> &'a mut [u8] {
        core::mem::take(&mut self.rest)
    }
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("len", &self.len()).finish()
    }
}
