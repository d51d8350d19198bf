//! The bytes a driver lends to a protocol.

use core::fmt;

/// A cursor over received bytes, lent for one call and mutable in place.
///
/// The memory belongs to the driver, which reads into one buffer per thread: unmasking or decryption may happen in
/// place, but nothing may be kept. What is not consumed when the call returns stays with the connection and comes back,
/// in one contiguous slice, in front of newer bytes.
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

    /// Whether nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes that are left.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.rest
    }

    /// The bytes that are left, to change in place.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.rest
    }

    /// Moves past `n` bytes, or past all of them where fewer are left.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.take(n);
    }

    /// Consumes `n` bytes, or all where fewer are left, and hands them out for as long as the driver lends them.
    #[inline]
    pub fn take(&mut self, n: usize) -> &'a mut [u8] {
        let rest = core::mem::take(&mut self.rest);
        let (head, tail) = rest.split_at_mut(n.min(rest.len()));
        self.rest = tail;
        head
    }

    /// Consumes all that is left.
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
