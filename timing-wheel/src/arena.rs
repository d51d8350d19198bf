//! Where timers live: an arena of three columns with checked keys, threaded by doubly linked lists.
//!
//! The columns are apart because they are used apart: a reset touches only [`Hot`], a walk only [`Link`]. Each column is cut in chunks, so
//! that growing never copies more than a page or two. The heads of the slots' lists are the links of chunk 0, which holds nothing else:
//! linking and unlinking need not ask whether a neighbour is a timer or a head.

use alloc::vec::Vec;

use crate::key::Key;
use crate::slots::SLOTS;

/// Timers per chunk: three allocations each.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 14;

/// Up to here the first chunk grows by doubling, so that a small wheel is small.
const DOUBLING: usize = 1024;

/// A tag is a generation above a slot of ten bits.
const SLOT_BITS: u32 = 10;
const _: () = assert!(SLOTS <= 1 << SLOT_BITS);

/// The last generation of a place. Afterwards it is retired: its tag stays at generation 0, which no key carries.
const LAST_GENERATION: u32 = u32::MAX >> SLOT_BITS;

/// No place; the end of the free list. As an index it would lie in chunk 0, among the heads.
const NONE: u32 = 0;

#[derive(Clone)]
pub(crate) struct Arena<T> {
    chunks: Vec<Chunk<T>>,
    /// The first free place, threaded through [`Link::next`].
    free: u32,
    /// The chunk that places are added to when none is free.
    growing: usize,
    len: usize,
}

#[derive(Clone)]
struct Chunk<T> {
    hot: Vec<Hot>,
    links: Vec<Link>,
    values: Vec<Option<T>>,
    /// The generation that added places start with: none of a released chunk's keys is valid again.
    generation: u32,
}

/// All that a reset needs, in twelve bytes.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct Hot {
    deadline: u64,
    tag: u32,
}

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    prev: u32,
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        let heads = (0..SLOTS).map(|slot| Link { next: slot, prev: slot }).collect();
        let heads = Chunk {
            hot: Vec::new(),
            links: heads,
            values: Vec::new(),
            generation: 1,
        };
        Self {
            chunks: Vec::from([heads]),
            free: NONE,
            growing: 1,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many timers fit into the memory there is.
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.hot.capacity()).sum()
    }

    /// Adds `count` free places, and touches their memory, so that as many inserts find it there.
    pub(crate) fn add_free(&mut self, count: usize) {
        let mut missing = count;
        while missing > 0 {
            let chunk = self.growing_chunk();
            let first = self.chunks[chunk].values.len();
            let added = missing.min(CHUNK - first);
            self.chunks[chunk].reserve_exact(added);
            for _ in 0..added {
                self.chunks[chunk].push();
            }
            for offset in (first..first + added).rev() {
                self.push_free(index(chunk, offset));
            }
            missing -= added;
        }
    }

    /// Stores a timer; the caller links it.
    pub(crate) fn insert(&mut self, deadline: u64, slot: u32, value: T) -> Key {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let chunk = &mut self.chunks[chunk_of(index)];
        let hot = &mut chunk.hot[offset_of(index)];
        let generation = hot.tag >> SLOT_BITS;
        *hot = Hot {
            deadline,
            tag: generation << SLOT_BITS | slot,
        };
        self.free = chunk.links[offset_of(index)].next;
        chunk.values[offset_of(index)] = Some(value);
        self.len += 1;
        Key::new(index, generation)
    }

    /// Takes an unlinked timer out and frees its place. `None` where there is no timer.
    pub(crate) fn remove(&mut self, index: u32) -> Option<(Key, T)> {
        let chunk = &mut self.chunks[chunk_of(index)];
        let value = chunk.values[offset_of(index)].take()?;
        let hot = &mut chunk.hot[offset_of(index)];
        let generation = hot.tag >> SLOT_BITS;
        if generation < LAST_GENERATION {
            hot.tag = (generation + 1) << SLOT_BITS;
            self.push_free(index);
        } else {
            hot.tag = 0;
        }
        self.len -= 1;
        Some((Key::new(index, generation), value))
    }

    /// The place of the timer that `key` names, unless it is stale.
    pub(crate) fn find(&self, key: Key) -> Option<u32> {
        let hot = self
            .chunks
            .get(chunk_of(key.index()))?
            .hot
            .get(offset_of(key.index()))?;
        (hot.tag >> SLOT_BITS == key.generation()).then_some(key.index())
    }

    pub(crate) fn deadline(&self, index: u32) -> u64 {
        self.chunks[chunk_of(index)].hot[offset_of(index)].deadline
    }

    /// Stores a new deadline if `key` is not stale and `stays(slot)` agrees that the timer may stay in the slot it is filed in.
    pub(crate) fn set_deadline(&mut self, key: Key, deadline: u64, stays: impl FnOnce(u32) -> bool) -> Reset {
        let chunk = self.chunks.get_mut(chunk_of(key.index()));
        let Some(hot) = chunk.and_then(|chunk| chunk.hot.get_mut(offset_of(key.index()))) else {
            return Reset::Stale;
        };
        let tag = hot.tag;
        if tag >> SLOT_BITS != key.generation() {
            return Reset::Stale;
        }
        hot.deadline = deadline;
        if stays(tag & ((1 << SLOT_BITS) - 1)) {
            Reset::Stays
        } else {
            Reset::Moves(key.index())
        }
    }

    pub(crate) fn value(&self, index: u32) -> Option<&T> {
        self.chunks.get(chunk_of(index))?.values.get(offset_of(index))?.as_ref()
    }

    pub(crate) fn value_mut(&mut self, index: u32) -> Option<&mut T> {
        self.chunks
            .get_mut(chunk_of(index))?
            .values
            .get_mut(offset_of(index))?
            .as_mut()
    }

    /// Appends an unlinked timer to the list of `slot`.
    pub(crate) fn link(&mut self, index: u32, slot: u32) {
        let last = self.links_mut(slot).prev;
        *self.links_mut(index) = Link { next: slot, prev: last };
        self.links_mut(last).next = index;
        self.links_mut(slot).prev = index;
    }

    /// Moves a timer from its list to the end of that of `slot`. As for [`unlink`](Self::unlink).
    pub(crate) fn relink(&mut self, index: u32, slot: u32) -> Option<u32> {
        let emptied = self.unlink(index);
        let hot = &mut self.chunks[chunk_of(index)].hot[offset_of(index)];
        hot.tag = hot.tag >> SLOT_BITS << SLOT_BITS | slot;
        self.link(index, slot);
        emptied
    }

    /// Takes a timer out of its list, and says which slot it leaves empty.
    pub(crate) fn unlink(&mut self, index: u32) -> Option<u32> {
        let Link { next, prev } = *self.links(index);
        self.links_mut(prev).next = next;
        self.links_mut(next).prev = prev;
        // Both neighbours are one only where both are the head.
        (next == prev).then_some(next)
    }

    /// Appends the whole list of `from` to that of `to`. Neither is empty afterwards but `from`.
    pub(crate) fn splice(&mut self, from: u32, to: u32) {
        let Link {
            next: first,
            prev: last,
        } = *self.links(from);
        let before = self.links(to).prev;
        self.links_mut(before).next = first;
        self.links_mut(first).prev = before;
        self.links_mut(last).next = to;
        self.links_mut(to).prev = last;
        *self.links_mut(from) = Link { next: from, prev: from };
    }

    /// The first timer of `slot`, whose list is not empty.
    pub(crate) fn first(&self, slot: u32) -> u32 {
        self.links(slot).next
    }

    /// The timers of `slot`, first to last.
    pub(crate) fn list(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        let step = move |&index: &u32| Some(self.links(index).next);
        core::iter::successors(step(&slot), step).take_while(move |&index| index != slot)
    }

    /// The first timer whose index is at least `from`.
    pub(crate) fn next_live(&self, from: u32) -> Option<(Key, u64, &T)> {
        let mut offset = offset_of(from);
        for (number, chunk) in self.chunks.iter().enumerate().skip(chunk_of(from)) {
            let places = chunk.hot.iter().zip(&chunk.values).enumerate().skip(offset);
            for (offset, (hot, value)) in places {
                if let Some(value) = value {
                    return Some((
                        Key::new(index(number, offset), hot.tag >> SLOT_BITS),
                        hot.deadline,
                        value,
                    ));
                }
            }
            offset = 0;
        }
        None
    }

    /// Gives the memory of chunks without a timer back.
    pub(crate) fn shrink(&mut self) {
        self.free = NONE;
        self.growing = 1;
        for number in (1..self.chunks.len()).rev() {
            if self.chunks[number].values.iter().all(Option::is_none) {
                self.chunks[number].release();
                continue;
            }
            self.chunks[number].shrink_to_fit();
            for offset in (0..self.chunks[number].values.len()).rev() {
                let chunk = &self.chunks[number];
                if chunk.values[offset].is_none() && chunk.hot[offset].tag != 0 {
                    self.push_free(index(number, offset));
                }
            }
        }
    }

    /// Adds one free place. Kept out of the way of the inserts that need none.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let number = self.growing_chunk();
        let first_chunk = number == 1;
        let chunk = &mut self.chunks[number];
        let len = chunk.values.len();
        if len == chunk.hot.capacity() {
            chunk.reserve_exact(if first_chunk && len < DOUBLING {
                len.max(16)
            } else {
                CHUNK - len
            });
        }
        chunk.push();
        self.push_free(index(number, len));
    }

    /// The chunk that the next place is added to; there is room for it.
    fn growing_chunk(&mut self) -> usize {
        while let Some(chunk) = self.chunks.get(self.growing) {
            if chunk.values.len() < CHUNK && chunk.generation <= LAST_GENERATION {
                return self.growing;
            }
            self.growing += 1;
        }
        assert!(
            self.chunks.len() < 1 << (32 - CHUNK_BITS),
            "a timing wheel holds at most 2^32 timers"
        );
        self.chunks.push(Chunk {
            hot: Vec::new(),
            links: Vec::new(),
            values: Vec::new(),
            generation: 1,
        });
        self.growing
    }

    fn push_free(&mut self, index: u32) {
        let free = self.free;
        self.links_mut(index).next = free;
        self.free = index;
    }

    fn links(&self, index: u32) -> &Link {
        &self.chunks[chunk_of(index)].links[offset_of(index)]
    }

    fn links_mut(&mut self, index: u32) -> &mut Link {
        &mut self.chunks[chunk_of(index)].links[offset_of(index)]
    }
}

/// What [`Arena::set_deadline`] found.
pub(crate) enum Reset {
    /// The key is stale; nothing was stored.
    Stale,
    /// The deadline is stored, and the timer is filed early enough for it.
    Stays,
    /// The deadline is stored, and this timer is filed too late for it.
    Moves(u32),
}

impl<T> Chunk<T> {
    fn reserve_exact(&mut self, additional: usize) {
        self.hot.reserve_exact(additional);
        self.links.reserve_exact(additional);
        self.values.reserve_exact(additional);
    }

    /// Adds a place without a timer.
    fn push(&mut self) {
        self.hot.push(Hot {
            deadline: 0,
            tag: self.generation << SLOT_BITS,
        });
        self.links.push(Link { next: NONE, prev: NONE });
        self.values.push(None);
    }

    fn shrink_to_fit(&mut self) {
        self.hot.shrink_to_fit();
        self.links.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    /// Frees the memory of a chunk without timers, and remembers only the highest generation any of its places has come to.
    fn release(&mut self) {
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

fn chunk_of(index: u32) -> usize {
    (index >> CHUNK_BITS) as usize
}

fn offset_of(index: u32) -> usize {
    index as usize % CHUNK
}

/// The index of a place; [`Arena::growing_chunk`] sees to it that the chunk's number fits.
fn index(chunk: usize, offset: usize) -> u32 {
    (chunk << CHUNK_BITS | offset) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_retired_when_its_generations_are_used_up() {
        let mut arena = Arena::new();
        let first = arena.insert(0, 0, ());
        arena.remove(first.index());
        for _ in 1..LAST_GENERATION {
            let key = arena.insert(0, 0, ());
            assert_eq!(key.index(), first.index());
            arena.remove(key.index());
        }
        let other = arena.insert(0, 0, ());
        assert_ne!(other.index(), first.index());
        assert_eq!(arena.find(first), None);
        assert_eq!(arena.find(Key::new(first.index(), LAST_GENERATION)), None);
        assert_eq!(arena.find(other), Some(other.index()));

        // A chunk with a retired place is not filled again once it was released.
        arena.remove(other.index());
        arena.shrink();
        assert_eq!(arena.capacity(), 0);
        let key = arena.insert(0, 0, ());
        assert_ne!(chunk_of(key.index()), chunk_of(first.index()));
    }

    #[test]
    fn keys_of_a_released_chunk_stay_stale() {
        let mut arena = Arena::new();
        let old: Vec<Key> = (0..100).map(|_| arena.insert(0, 0, ())).collect();
        for key in &old {
            arena.remove(key.index());
        }
        arena.shrink();
        assert_eq!(arena.capacity(), 0);
        let new: Vec<Key> = (0..100).map(|_| arena.insert(0, 0, ())).collect();
        assert!(old.iter().all(|&key| arena.find(key).is_none()));
        assert!(new.iter().all(|&key| arena.find(key).is_some()));
    }

    #[test]
    fn places_in_memory_asked_for_are_used_before_more_is_asked_for() {
        let mut arena = Arena::new();
        arena.add_free(CHUNK + 10);
        assert_eq!(arena.capacity(), CHUNK + 10);
        for expected in 0..CHUNK + 10 {
            let key = arena.insert(0, 0, ());
            // The places are handed out chunk by chunk and in order, which is how later walks find them.
            assert_eq!(
                offset_of(key.index()),
                if expected < 10 { expected } else { expected - 10 }
            );
        }
        assert_eq!(arena.capacity(), CHUNK + 10);
        assert_eq!(
            arena.chunks.iter().map(|chunk| chunk.hot.len()).sum::<usize>(),
            CHUNK + 10
        );
    }

    #[test]
    fn sizes() {
        assert_eq!(size_of::<Hot>(), 12);
        assert_eq!(size_of::<Link>(), 8);
        assert_eq!(size_of::<Key>(), 8);
        assert_eq!(size_of::<Option<Key>>(), 8);
    }
}
