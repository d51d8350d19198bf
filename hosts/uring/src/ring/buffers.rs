//! Buffers that the kernel chooses from when bytes arrive, so that a connection that waits has none.

#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The number of buffers, a power of two.
const COUNT: u16 = 256;
/// Bytes of one buffer.
const SIZE: usize = 16 * 1024;
/// The kernel wants its ring at the start of a page.
const PAGE: usize = 4096;

/// The buffers, and the ring in which those stand that the kernel may use.
pub(super) struct Buffers {
    ring: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: Cell<u16>,
}

/// Received bytes, in a buffer that the kernel has lent. Dropping them gives the buffer back.
pub(crate) struct Lent {
    buffers: Rc<Buffers>,
    /// `None` if there are no bytes.
    buffer: Option<u16>,
    len: usize,
}

fn layouts() -> (Layout, Layout) {
    let ring = Layout::array::<BufRingEntry>(usize::from(COUNT)).and_then(|ring| ring.align_to(PAGE));
    let memory = Layout::from_size_align(usize::from(COUNT) * SIZE, PAGE);
    (
        ring.expect("a constant size is valid"),
        memory.expect("a constant size is valid"),
    )
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: neither layout is empty.
    let memory = unsafe { alloc::alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

impl Buffers {
    /// The group's number; the ring has one group.
    pub(super) const GROUP: u16 = 0;

    pub(super) fn new(uring: &IoUring) -> io::Result<Rc<Self>> {
        let (ring, memory) = layouts();
        let buffers = Buffers {
            ring: allocate(ring).cast(),
            memory: allocate(memory),
            tail: Cell::new(0),
        };
        // SAFETY: the memory holds `COUNT` entries, begins at a page, and lives until the kernel has completed all operations.
        unsafe {
            uring
                .submitter()
                .register_buf_ring_with_flags(buffers.ring.as_ptr() as u64, COUNT, Self::GROUP, 0)?;
        }
        (0..COUNT).for_each(|buffer| buffers.give(buffer));
        Ok(Rc::new(buffers))
    }

    /// The first `len` bytes of `buffer`, which the kernel has just lent; a completion says so once.
    pub(super) fn lent(self: &Rc<Self>, buffer: Option<u16>, len: usize) -> Lent {
        Lent {
            buffers: Rc::clone(self),
            buffer: buffer.map(|buffer| buffer % COUNT),
            len: len.min(SIZE),
        }
    }

    /// Gives a buffer to the kernel.
    fn give(&self, buffer: u16) {
        let tail = self.tail.get();
        // SAFETY: the entry is inside of the ring, and the kernel reads it only after the tail has moved past it. The tail overlaps a
        // field of the first entry that `set_*` does not write.
        unsafe {
            let entry = self.ring.add(usize::from(tail % COUNT)).as_mut();
            entry.set_addr(self.memory.as_ptr().add(usize::from(buffer) * SIZE) as u64);
            entry.set_len(SIZE as u32);
            entry.set_bid(buffer);
            let tail = tail.wrapping_add(1);
            self.tail.set(tail);
            AtomicU16::from_ptr(BufRingEntry::tail(self.ring.as_ptr()).cast_mut()).store(tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        let (ring, memory) = layouts();
        // SAFETY: allocated with these layouts; `Ring` keeps the buffers while the kernel may use them.
        unsafe {
            alloc::dealloc(self.ring.as_ptr().cast(), ring);
            alloc::dealloc(self.memory.as_ptr(), memory);
        }
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some(buffer) = self.buffer else { return &[] };
        // SAFETY: the range is inside of the memory, which began as zeros, and the buffer belongs to this value until its drop.
        unsafe { std::slice::from_raw_parts(self.buffers.memory.as_ptr().add(usize::from(buffer) * SIZE), self.len) }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut [u8] {
        let Some(buffer) = self.buffer else { return &mut [] };
        // SAFETY: as above.
        unsafe {
            std::slice::from_raw_parts_mut(self.buffers.memory.as_ptr().add(usize::from(buffer) * SIZE), self.len)
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer {
            self.buffers.give(buffer);
        }
    }
}
