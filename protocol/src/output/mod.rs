//! The bytes that a protocol wants to send.

mod files;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use crate::{FilePiece, Load};

/// Up to this many bytes, copying is cheaper than sharing: a shared piece costs a reference count and a slot in the vectored write.
const COPY_MAX: usize = 1024;

/// Above this capacity an emptied tail gives its memory back instead of keeping it for the next call.
const KEEP_MAX: usize = 256 * 1024;

/// Bytes waiting to be sent, in order: small writes are copied into one growing buffer, large ones are shared, and
/// [pieces of files](FilePiece) stay on the disk until they are sent.
///
/// A [`Bytes`] value pushed into many outputs is stored once. `Output` implements [`Buf`], with
/// [`chunks_vectored`](Buf::chunks_vectored). So a driver sends the output with one `send` if all bytes were copied, and
/// with one vectored write otherwise.
///
/// As a [`Buf`], and in [`chunks`](Output::chunks), an output ends in front of its first piece of a file that is not in memory;
/// [`len`](Output::len) and [`is_empty`](Output::is_empty) speak of everything. [`load`](Output::load) reads pieces of files into
/// memory.
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
    /// The pieces that are not copied, each with the number of copied bytes between it and the previous piece.
    pieces: VecDeque<Piece>,
    /// Bytes in `pieces`.
    pieces_len: u64,
    /// Copied bytes in front of the last piece: the sum of all `Piece::before`.
    placed: usize,
    /// Pieces that are not in memory.
    unread: usize,
    /// Bytes of pieces that are not in memory.
    unread_len: u64,
}

#[derive(Debug, Clone)]
struct Piece {
    before: usize,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Bytes(Bytes),
    File(FilePiece),
    /// A piece of a file that is being read.
    Loading(Arc<Load>),
    /// A piece of a file in the output of a layer's inner protocol, which is to be read when the output has come to here. It has
    /// no length.
    Asked(Arc<Load>, bool),
}

/// One piece of an [`Output`]: [`Output::pieces`].
#[derive(Debug, Clone, Copy)]
pub enum OutputPiece<'a> {
    /// Bytes in memory; not empty.
    Bytes(&'a [u8]),
    /// A piece of a file; not empty.
    File(&'a FilePiece),
}

impl What {
    fn len(&self) -> u64 {
        match self {
            What::Bytes(bytes) => bytes.len() as u64,
            What::File(file) => file.len(),
            What::Loading(load) => load.piece().len(),
            What::Asked(..) => 0,
        }
    }

    /// The bytes, if they are in memory.
    fn bytes(&self) -> &[u8] {
        match self {
            What::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    fn is_unread(&self) -> bool {
        !matches!(self, What::Bytes(_))
    }

    fn as_piece(&self) -> Option<OutputPiece<'_>> {
        match self {
            What::Bytes(bytes) => Some(OutputPiece::Bytes(bytes)),
            What::File(file) => Some(OutputPiece::File(file)),
            What::Loading(load) => Some(OutputPiece::File(load.piece())),
            What::Asked(..) => None,
        }
    }
}

/// Bytes of pieces that are counted at most, so that sums of such counts do not overflow. Files together are longer only where
/// their pieces are absurd.
const COUNTED_MAX: u64 = usize::MAX as u64 >> 3;

/// A counted length as a length in memory.
#[inline(always)]
fn in_memory(length: u64) -> usize {
    length as usize
}

impl Output {
    /// An empty output; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of waiting bytes, those of files included.
    #[inline]
    pub fn len(&self) -> usize {
        self.tail.len() + in_memory(self.pieces_len)
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.pieces.is_empty()
    }

    /// The number of waiting bytes that are held in memory: all but those of files.
    pub fn held(&self) -> usize {
        self.tail.len() + in_memory(self.pieces_len.saturating_sub(self.unread_len))
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
        self.push_piece(What::Bytes(bytes));
    }

    /// Appends a piece of a file, which is read when the output before it has been sent.
    ///
    /// The piece counts as waiting output in full, so a longer one makes the connection congested, but it is not held in memory and
    /// does not count for [`Limits::max_output`](crate::Limits::max_output).
    pub fn push_file(&mut self, file: FilePiece) {
        if !file.is_empty() {
            self.push_piece(What::File(file));
        }
    }

    fn push_piece(&mut self, what: What) {
        let before = self.tail.len() - self.placed;
        self.placed += before;
        self.count(&what);
        self.pieces.push_back(Piece { before, what });
    }

    /// Counts a piece that is there now.
    fn count(&mut self, what: &What) {
        self.pieces_len = self.pieces_len.saturating_add(what.len()).min(COUNTED_MAX);
        if what.is_unread() {
            self.unread += 1;
            self.unread_len = self.unread_len.saturating_add(what.len()).min(COUNTED_MAX);
        }
    }

    /// Counts a piece that is there no more.
    fn discount(&mut self, what: &What) {
        self.pieces_len = self.pieces_len.saturating_sub(what.len());
        if what.is_unread() {
            self.unread -= 1;
            self.unread_len = self.unread_len.saturating_sub(what.len());
        }
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
        if !self.pieces.is_empty() {
            self.pieces.clear();
            self.pieces_len = 0;
            self.placed = 0;
            self.unread = 0;
            self.unread_len = 0;
        }
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
            pieces: core::mem::take(&mut self.pieces),
            pieces_len: core::mem::take(&mut self.pieces_len),
            placed: core::mem::take(&mut self.placed),
            unread: core::mem::take(&mut self.unread),
            unread_len: core::mem::take(&mut self.unread_len),
        };
        self.clear();
        parked
    }

    /// The content up to the first piece of a file that is not in memory, in order, as the contiguous pieces that store it.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces().map_while(|piece| match piece {
            OutputPiece::Bytes(bytes) => Some(bytes),
            OutputPiece::File(_) => None,
        })
    }

    /// The content, in order.
    pub fn pieces(&self) -> impl Iterator<Item = OutputPiece<'_>> {
        let mut copied: &[u8] = &self.tail;
        let pieces = self.pieces.iter().flat_map(move |piece| {
            let (before, rest) = copied.split_at(piece.before.min(copied.len()));
            copied = rest;
            [Some(OutputPiece::Bytes(before)), piece.what.as_piece()]
        });
        let behind = self.tail.get(self.placed..).unwrap_or_default();
        pieces
            .chain([Some(OutputPiece::Bytes(behind))])
            .flatten()
            .filter(|piece| !matches!(piece, OutputPiece::Bytes(bytes) if bytes.is_empty()))
    }

    /// Moves the content of `other` to the end of `self`.
    pub fn append(&mut self, other: &mut Output) {
        let mut copied: &[u8] = &other.tail;
        for piece in core::mem::take(&mut other.pieces) {
            let (before, rest) = copied.split_at(piece.before.min(copied.len()));
            self.extend_from_slice(before);
            match piece.what {
                What::Bytes(bytes) => self.push(bytes),
                what => self.push_piece(what),
            }
            copied = rest;
        }
        self.extend_from_slice(copied);
        *other = Output {
            tail: core::mem::take(&mut other.tail),
            ..Output::default()
        };
        other.clear();
    }

    /// Whether a buffer is allocated.
    pub(crate) fn has_memory(&self) -> bool {
        self.tail.capacity() > 0
    }

    /// Whether one contiguous slice holds everything.
    #[inline(always)]
    pub(crate) fn is_flat(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Everything, if one contiguous slice holds it.
    #[inline(always)]
    pub(crate) fn flat(&self) -> Option<&[u8]> {
        self.is_flat().then_some(&self.tail)
    }

    /// Drops `n` bytes at the front, wherever they are.
    fn advance_part(&mut self, mut n: usize) {
        assert!(n <= self.len(), "cannot advance past the end of the output");
        while let Some(front) = self.pieces.front_mut() {
            let copied = front.before.min(n);
            front.before -= copied;
            self.placed -= copied;
            n -= copied;
            self.tail.advance(copied);
            let length = front.what.len();
            let taken = length.min(n as u64);
            if front.before > 0 || (n == 0 && length == 0) {
                return;
            }
            if taken < length {
                return self.advance_front(taken);
            }
            n -= in_memory(taken);
            if let Some(gone) = self.pieces.pop_front() {
                self.discount(&gone.what);
            }
        }
        self.advance_tail(n);
        if self.is_empty() && self.tail.capacity() > KEEP_MAX {
            self.tail = BytesMut::new();
        }
    }

    /// Drops `n` bytes of the front piece, which is longer.
    fn advance_front(&mut self, n: u64) {
        let Some(front) = self.pieces.front_mut() else { return };
        self.pieces_len = self.pieces_len.saturating_sub(n);
        match &mut front.what {
            What::Bytes(bytes) => return bytes.advance(in_memory(n)),
            What::File(file) => file.advance(n),
            What::Loading(load) if n > 0 => {
                let mut file = load.piece().clone();
                file.advance(n);
                front.what = What::File(file);
            }
            What::Loading(_) | What::Asked(..) => {}
        }
        self.unread_len = self.unread_len.saturating_sub(n);
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
        if self.unread == 0 {
            self.len()
        } else {
            self.before_unread()
        }
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        match self.pieces.front() {
            None => &self.tail,
            Some(front) if front.before == 0 => front.what.bytes(),
            Some(front) => self.tail.get(..front.before).unwrap_or(&self.tail),
        }
    }

    /// Bytes of a file at the front, which were sent from the file itself, are dropped like others.
    ///
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
        for piece in &self.pieces {
            let (head, tail) = copied.split_at(piece.before.min(copied.len()));
            copied = tail;
            if !fill(head) || piece.what.is_unread() || !fill(piece.what.bytes()) {
                return filled;
            }
        }
        fill(copied);
        filled
    }
}

#[cfg(test)]
mod tests;
