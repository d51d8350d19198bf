//! The bytes that a protocol wants to send.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Up to this many bytes, copying is cheaper than sharing: a shared piece costs a reference count and a slot in the vectored write.
const COPY_MAX: usize = 1024;

/// Above this capacity an emptied tail gives its memory back instead of keeping it for the next call.
const KEEP_MAX: usize = 256 * 1024;

/// Bytes waiting to be sent, in order: small writes are copied into one growing buffer, large ones are shared.
///
/// A [`Bytes`] value pushed into many outputs is stored once. `Output` implements [`Buf`], with
/// [`chunks_vectored`](Buf::chunks_vectored). So a driver sends the output with one `send` if all bytes were copied, and
/// with one vectored write otherwise.
///
/// An `Output` does not touch a socket: the driver sends the content after the protocol's method has returned, and bounds
/// how much may wait (see [`Limits`](crate::Limits)).
///
/// ```
/// use bytes::{Buf, Bytes};
///
/// let mut output = protocol::Output::new();
/// output.extend_from_slice(b"head ");
/// output.push(Bytes::from(vec![b'x'; 4096]));
/// output.extend_from_slice(b" tail");
/// assert_eq!(output.len(), 5 + 4096 + 5);
/// assert_eq!(output.chunk(), b"head ");
/// ```
#[derive(Debug, Default, Clone)]
pub struct Output {
    /// All copied bytes, in order.
    tail: BytesMut,
    /// The shared pieces, each with the number of copied bytes between it and the previous piece.
    shared: VecDeque<Shared>,
    /// Bytes in `shared`.
    shared_len: usize,
    /// Copied bytes in front of the last shared piece: the sum of all `Shared::before`.
    placed: usize,
}

#[derive(Debug, Clone)]
struct Shared {
    before: usize,
    bytes: Bytes,
}

impl Output {
    /// An empty output; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of waiting bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.tail.len() + self.shared_len
    }

    /// Whether no bytes wait.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.shared_len == 0
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Appends `bytes` without copying them, unless they are so few (up to 1 KiB) that copying is cheaper.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_MAX {
            return self.extend_from_slice(&bytes);
        }
        let before = self.tail.len() - self.placed;
        self.placed += before;
        self.shared_len += bytes.len();
        self.shared.push_back(Shared { before, bytes });
    }

    /// The buffer for copied bytes, for encoders that write in place.
    ///
    /// Only append to this buffer: the bytes already in it may be partly sent, or belong in front of shared bytes.
    #[inline]
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Drops all waiting bytes.
    pub fn clear(&mut self) {
        self.tail.clear();
        self.shared.clear();
        self.shared_len = 0;
        self.placed = 0;
        if self.tail.capacity() > KEEP_MAX {
            self.tail = BytesMut::new();
        }
    }

    /// Moves the content into a new output of just its size. `self` keeps its memory for the next call. If that memory is too large to
    /// keep, it moves along, so that a large output for a slow peer is not copied for each piece that the peer takes.
    pub(crate) fn split(&mut self) -> Output {
        if self.tail.capacity() > KEEP_MAX {
            return core::mem::take(self);
        }
        let parked = Output {
            tail: BytesMut::from(&self.tail[..]),
            shared: core::mem::take(&mut self.shared),
            shared_len: self.shared_len,
            placed: self.placed,
        };
        self.clear();
        parked
    }

    /// The content, in order, as the contiguous pieces that store it.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut copied: &[u8] = &self.tail;
        let pieces = self.shared.iter().flat_map(move |piece| {
            let (before, rest) = copied.split_at(piece.before.min(copied.len()));
            copied = rest;
            [before, &piece.bytes]
        });
        let behind = self.tail.get(self.placed..).unwrap_or_default();
        pieces.chain([behind]).filter(|chunk| !chunk.is_empty())
    }

    /// Moves the content of `other` to the end of `self`.
    pub fn append(&mut self, other: &mut Output) {
        let mut copied: &[u8] = &other.tail;
        for piece in core::mem::take(&mut other.shared) {
            let (before, rest) = copied.split_at(piece.before.min(copied.len()));
            self.extend_from_slice(before);
            self.push(piece.bytes);
            copied = rest;
        }
        self.extend_from_slice(copied);
        other.clear();
    }

    /// Whether a buffer is allocated.
    pub(crate) fn has_memory(&self) -> bool {
        self.tail.capacity() > 0
    }

    /// Whether one contiguous slice holds everything.
    fn is_flat(&self) -> bool {
        self.shared.is_empty()
    }

    /// Drops `n` bytes at the front, wherever they are.
    fn advance_part(&mut self, mut n: usize) {
        assert!(n <= self.len(), "cannot advance past the end of the output");
        while let Some(front) = self.shared.front_mut() {
            let copied = front.before.min(n);
            front.before -= copied;
            self.placed -= copied;
            n -= copied;
            self.tail.advance(copied);
            let taken = front.bytes.len().min(n);
            self.shared_len -= taken;
            if front.before > 0 || taken < front.bytes.len() {
                front.bytes.advance(taken);
                return;
            }
            n -= taken;
            self.shared.pop_front();
        }
        self.advance_tail(n);
        if self.is_empty() && self.tail.capacity() > KEEP_MAX {
            self.tail = BytesMut::new();
        }
    }

    /// Drops `n` copied bytes at the front.
    fn advance_tail(&mut self, n: usize) {
        if n == self.tail.len() {
            // `clear` keeps the start of the buffer in place; `advance` would shrink the buffer.
            self.tail.clear();
        } else {
            self.tail.advance(n);
        }
    }
}

impl Buf for Output {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        match self.shared.front() {
            None => &self.tail,
            Some(front) if front.before == 0 => &front.bytes,
            Some(front) => self.tail.get(..front.before).unwrap_or(&self.tail),
        }
    }

    /// # Panics
    ///
    /// If `n` is more than [`len`](Output::len), as [`Buf`] demands.
    #[inline(always)]
    fn advance(&mut self, n: usize) {
        // The usual case: everything was copied, and everything was sent.
        if self.is_flat() && n == self.tail.len() && self.tail.capacity() <= KEEP_MAX {
            self.tail.clear();
        } else {
            self.advance_part(n);
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        if self.is_flat() {
            return match slices.first_mut() {
                Some(first) if !self.tail.is_empty() => {
                    *first = IoSlice::new(&self.tail);
                    1
                }
                _ => 0,
            };
        }
        let mut slots = slices.iter_mut();
        let mut filled = 0;
        let mut fill = |bytes: &'a [u8]| -> bool {
            if bytes.is_empty() {
                return true;
            }
            let Some(slot) = slots.next() else { return false };
            *slot = IoSlice::new(bytes);
            filled += 1;
            true
        };
        let mut copied: &[u8] = &self.tail;
        for piece in &self.shared {
            let (head, tail) = copied.split_at(piece.before.min(copied.len()));
            copied = tail;
            if !fill(head) || !fill(&piece.bytes) {
                return filled;
            }
        }
        fill(copied);
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while output.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 3];
            let n = output.chunks_vectored(&mut slices);
            assert!(n > 0);
            let joined: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
            assert_eq!(&slices[0][..], output.chunk());
            let n = joined.len().min(step);
            all.extend_from_slice(&joined[..n]);
            output.advance(n);
        }
        assert!(output.is_empty());
        assert_eq!(output.len(), 0);
        all
    }

    #[test]
    fn what_is_written_in_place_is_output() {
        let mut output = Output::new();
        output.extend_from_slice(b"in ");
        output.tail().extend_from_slice(b"place");
        assert_eq!(drain(&mut output, 100), b"in place");
    }

    /// Memory is kept up to a bound, and freed beyond it.
    #[test]
    fn clearing_keeps_little_memory() {
        for (size, kept) in [(KEEP_MAX / 2, true), (KEEP_MAX * 2, false)] {
            let mut output = Output::new();
            output.tail().reserve(size);
            output.tail().extend_from_slice(b"x");
            output.clear();
            assert!(output.is_empty());
            assert_eq!(output.tail().capacity() > 0, kept, "{size}");
        }
    }

    #[test]
    fn order_is_kept_for_every_step() {
        for step in [1, 2, 3, 1023, 1024, 1025, 5000, 100_000] {
            let mut output = Output::new();
            let mut expected = Vec::new();
            for (i, size) in [10, 2000, 0, 1, 1500, 3000, 7].into_iter().enumerate() {
                let piece = vec![b'a' + i as u8; size];
                expected.extend_from_slice(&piece);
                if size > 5 {
                    output.push(Bytes::from(piece))
                } else {
                    output.extend_from_slice(&piece)
                }
            }
            assert_eq!(output.len(), expected.len());
            assert_eq!(drain(&mut output, step), expected, "step {step}");
            output.extend_from_slice(b"again");
            assert_eq!(drain(&mut output, step), b"again");
        }
    }

    #[test]
    fn splitting_moves_the_content_and_keeps_the_memory() {
        let mut output = Output::new();
        output.extend_from_slice(b"copied");
        output.push(Bytes::from(vec![1; 2000]));
        let capacity = output.tail.capacity();
        let mut parked = output.split();
        assert!(output.is_empty());
        assert_eq!(output.tail.capacity(), capacity);
        assert_eq!(drain(&mut parked, 100).len(), 2006);
    }

    #[test]
    fn appending_keeps_the_order() {
        let mut all = Output::new();
        let mut expected = Vec::new();
        for round in 0..3u8 {
            let mut output = Output::new();
            for (i, size) in [10, 2000, 7].into_iter().enumerate() {
                let piece = vec![b'a' + round * 3 + i as u8; size];
                expected.extend_from_slice(&piece);
                output.push(Bytes::from(piece));
            }
            all.append(&mut output);
            assert!(output.is_empty());
        }
        assert_eq!(all.chunks().collect::<Vec<_>>().concat(), expected);
        assert_eq!(drain(&mut all, 100), expected);
    }

    #[test]
    fn splitting_copies_little() {
        let mut output = Output::new();
        output.extend_from_slice(&[b'x'; 10 * KEEP_MAX]);
        let start = output.chunk().as_ptr();
        for _ in 0..8 {
            output.advance(KEEP_MAX);
            output = output.split();
        }
        assert_eq!(output.chunk().as_ptr(), start.wrapping_add(8 * KEEP_MAX));
        assert_eq!(output.len(), 2 * KEEP_MAX);
    }

    #[test]
    fn sharing_copies_nothing() {
        let bytes = Bytes::from(vec![7; 10_000]);
        let mut output = Output::new();
        output.push(bytes.clone());
        assert_eq!(output.chunk().as_ptr(), bytes.as_ptr());
    }
}
