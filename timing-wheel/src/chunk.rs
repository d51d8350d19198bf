//! The memory of an arena, in pieces that hold up to 16384 timers each.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use crate::slots::SLOTS;

/// Timers per chunk: three allocations each.
pub(crate) const CHUNK: usize = 1 << CHUNK_BITS;
pub(crate) const CHUNK_BITS: u32 = 14;

/// Up to here the first chunk grows by doubling, so that a small wheel is small.
pub(crate) const DOUBLING: usize = 1024;

/// A tag is a generation above a slot of ten bits.
pub(crate) const SLOT_BITS: u32 = 10;
const _: () = assert!(SLOTS <= 1 << SLOT_BITS);

/// The last generation of a place. Afterwards it is retired: its tag stays at generation 0, which no key carries.
pub(crate) const LAST_GENERATION: u32 = u32::MAX >> SLOT_BITS;

/// The end of the free list; not the index of a place.
pub(crate) const NONE: u32 = u32::MAX;

/// A chunk fills two cache lines, so that finding one takes a shift.
#[derive(Clone)]
#[repr(align(128))]
pub(crate) struct Chunk<T> {
    pub(crate) hot: Vec<Hot>,
    pub(crate) links: Vec<Link>,
    pub(crate) values: Vec<Option<T>>,
    /// The generation that added places start with: none of a released chunk's keys is valid again.
    pub(crate) generation: u32,
}

/// All that a reset needs, in twelve bytes.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
pub(crate) struct Hot {
    pub(crate) deadline: u64,
    pub(crate) tag: u32,
}

/// The neighbours in a circular list with a head.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) next: u32,
    pub(crate) prev: u32,
}

impl<T> Chunk<T> {
    /// Places that can be added without more memory.
    pub(crate) fn room(&self) -> usize {
        let capacity = self.hot.capacity().min(self.links.capacity());
        capacity.min(self.values.capacity()) - self.hot.len()
    }

    pub(crate) fn try_reserve_exact(&mut self, additional: usize) -> Result<(), TryReserveError> {
        self.hot.try_reserve_exact(additional)?;
        self.links.try_reserve_exact(additional)?;
        self.values.try_reserve_exact(additional)
    }

    /// Adds a place without a timer.
    pub(crate) fn push(&mut self) {
        self.hot.push(Hot {
            deadline: 0,
            tag: self.generation << SLOT_BITS,
        });
        self.links.push(Link { next: NONE, prev: NONE });
        self.values.push(None);
    }

    /// Frees the memory of a chunk without timers, and remembers only the highest generation any of its places has come to.
    pub(crate) fn release(&mut self) {
        for hot in &self.hot {
            let retired = LAST_GENERATION + 1;
            let generation = if hot.tag == 0 { retired } else { hot.tag >> SLOT_BITS };
            self.generation = self.generation.max(generation);
        }
        self.hot = Vec::new();
        self.links = Vec::new();
        self.values = Vec::new();
    }
}
