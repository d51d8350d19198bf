//! The storage of timers: an arena of three columns with checked keys, linked into doubly linked lists.
//!
//! The columns are separate because they are used separately: a reset touches only [`Hot`]. They are split into chunks, so that growing
//! copies almost nothing. The list heads of the slots are numbered from the other end of the index range: the head of slot 3 is `!3`.

use alloc::boxed::Box;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use crate::chunk::{CHUNK, CHUNK_BITS, Chunk, DOUBLING, Hot, LAST_GENERATION, Link, NONE, SLOT_BITS};
use crate::key::Key;
use crate::slots::SLOTS;

/// The most chunks, which leaves the highest indices to the list heads.
const MOST_CHUNKS: usize = (1 << (32 - CHUNK_BITS)) - 1;
const _: () = assert!(SLOTS <= CHUNK);

#[derive(Clone)]
pub(crate) struct Arena<T> {
    heads: Box<[Link; SLOTS]>,
    chunks: Vec<Chunk<T>>,
    /// The first free place; free places are linked through [`Link::next`].
    free: u32,
    /// The chunk that grows when no place is free.
    growing: usize,
    len: usize,
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        let mut heads = Box::new([Link { next: NONE, prev: NONE }; SLOTS]);
        for (head, link) in (0..).map(|slot: u32| !slot).zip(heads.iter_mut()) {
            *link = Link { next: head, prev: head };
        }
        Self {
            heads,
            chunks: Vec::new(),
            free: NONE,
            growing: 0,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number of timers that fit in the allocated memory.
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.hot.capacity()).sum()
    }

    /// Adds free places until there are `count`, and touches their memory, so that as many inserts need no page fault.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), NoMemory> {
        let places: usize = self.chunks.iter().map(|chunk| chunk.hot.len()).sum();
        let mut missing = count.saturating_sub(places - self.len);
        while missing > 0 {
            let number = self.growing_chunk()?;
            let chunk = &mut self.chunks[number];
            let first = chunk.hot.len();
            let added = missing.min(CHUNK - first);
            chunk.try_reserve_exact(added)?;
            for _ in 0..added {
                chunk.push();
            }
            for offset in (first..first + added).rev() {
                self.push_free(index(number, offset));
            }
            missing -= added;
        }
        Ok(())
    }

    /// Ensures a free place for the next insert.
    #[inline]
    pub(crate) fn make_room(&mut self) -> Result<(), NoMemory> {
        if self.free == NONE { self.grow() } else { Ok(()) }
    }

    /// Stores a timer and appends it to the list of `slot`.
    ///
    /// # Panics
    ///
    /// If there is no free place and no memory for one.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: u64, slot: u32, value: T) -> Key {
        if self.free == NONE {
            self.grow_or_panic();
        }
        let index = self.free;
        let last = core::mem::replace(&mut self.link_of_mut(!slot).prev, index);
        let chunk = &mut self.chunks[chunk_of(index)];
        let hot = &mut chunk.hot[offset_of(index)];
        let generation = hot.tag >> SLOT_BITS;
        *hot = Hot {
            deadline,
            tag: generation << SLOT_BITS | slot,
        };
        let link = &mut chunk.links[offset_of(index)];
        self.free = link.next;
        *link = Link {
            next: !slot,
            prev: last,
        };
        chunk.values[offset_of(index)] = Some(value);
        self.link_of_mut(last).next = index;
        self.len += 1;
        Key::new(index, generation)
    }

    /// Removes a timer and frees its place. `None` if there is no timer.
    #[inline(always)]
    pub(crate) fn remove(&mut self, index: u32) -> Option<Removed<T>> {
        let chunk = &mut self.chunks[chunk_of(index)];
        let hot = &mut chunk.hot[offset_of(index)];
        let link = &mut chunk.links[offset_of(index)];
        let Link { next, prev } = *link;
        let value = chunk.values[offset_of(index)].take()?;
        let generation = hot.tag >> SLOT_BITS;
        if generation < LAST_GENERATION {
            hot.tag = (generation + 1) << SLOT_BITS;
            link.next = self.free;
            self.free = index;
        } else {
            hot.tag = 0;
        }
        self.len -= 1;
        Some(Removed {
            key: Key::new(index, generation),
            value,
            emptied: self.join(prev, next),
        })
    }

    /// The place of the timer with this key, unless the key is stale.
    pub(crate) fn find(&self, key: Key) -> Option<u32> {
        let hot = self
            .chunks
            .get(chunk_of(key.index()))?
            .hot
            .get(offset_of(key.index()))?;
        (hot.tag >> SLOT_BITS == key.generation()).then_some(key.index())
    }

    /// The key of the timer at `index`.
    pub(crate) fn key(&self, index: u32) -> Key {
        Key::new(
            index,
            self.chunks[chunk_of(index)].hot[offset_of(index)].tag >> SLOT_BITS,
        )
    }

    pub(crate) fn deadline(&self, index: u32) -> u64 {
        self.chunks[chunk_of(index)].hot[offset_of(index)].deadline
    }

    /// Stores a new deadline if `key` is not stale. `stays(slot)` decides whether the timer may stay in its present slot.
    pub(crate) fn set_deadline(&mut self, key: Key, deadline: u64, stays: impl FnOnce(u32) -> bool) -> Reset {
        let chunk = self.chunks.get_mut(chunk_of(key.index()));
        let Some(hot) = chunk.and_then(|chunk| chunk.hot.get_mut(offset_of(key.index()))) else {
            return Reset::Stale;
        };
        let tag = hot.tag;
        if tag >> SLOT_BITS != key.generation() {
            return Reset::Stale;
        }
        // A deadline that is not before the old one is not before the slot's start either.
        let later = deadline >= hot.deadline;
        hot.deadline = deadline;
        if later || stays(tag & ((1 << SLOT_BITS) - 1)) {
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

    /// Moves a timer from its list to the end of the list of `slot`. Returns the slot whose list becomes empty.
    pub(crate) fn relink(&mut self, index: u32, slot: u32) -> Option<u32> {
        let hot = &mut self.chunks[chunk_of(index)].hot[offset_of(index)];
        hot.tag = hot.tag >> SLOT_BITS << SLOT_BITS | slot;
        let Link { next, prev } = *self.link_of(index);
        let emptied = self.join(prev, next);
        self.link(index, slot);
        emptied
    }

    /// Appends the whole list of `from`, which must not be empty, to the list of `to`.
    pub(crate) fn splice(&mut self, from: u32, to: u32) {
        let Link {
            next: first,
            prev: last,
        } = *self.link_of(!from);
        let before = self.link_of(!to).prev;
        self.link_of_mut(before).next = first;
        self.link_of_mut(first).prev = before;
        self.link_of_mut(last).next = !to;
        self.link_of_mut(!to).prev = last;
        *self.link_of_mut(!from) = Link {
            next: !from,
            prev: !from,
        };
    }

    /// The first timer of `slot` and its deadline.
    #[inline]
    pub(crate) fn first(&self, slot: u32) -> Option<(u32, u64)> {
        let first = self.link_of(!slot).next;
        (first != !slot).then(|| (first, self.deadline(first)))
    }

    /// The timers of `slot`, in order.
    pub(crate) fn list(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        let step = move |&index: &u32| Some(self.link_of(index).next);
        core::iter::successors(step(&!slot), step).take_while(move |&index| index != !slot)
    }

    /// The first timer whose index is at least `from`.
    pub(crate) fn next_live(&self, from: u32) -> Option<(Key, u64, &T)> {
        let mut offset = offset_of(from);
        for (number, chunk) in self.chunks.iter().enumerate().skip(chunk_of(from)) {
            for (offset, (hot, value)) in chunk.hot.iter().zip(&chunk.values).enumerate().skip(offset) {
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

    /// Frees the memory of chunks without timers.
    pub(crate) fn shrink(&mut self) {
        self.free = NONE;
        self.growing = 0;
        for number in (0..self.chunks.len()).rev() {
            let chunk = &mut self.chunks[number];
            if chunk.values.iter().all(Option::is_none) {
                chunk.release();
                continue;
            }
            chunk.hot.shrink_to_fit();
            chunk.links.shrink_to_fit();
            chunk.values.shrink_to_fit();
            for offset in (0..chunk.hot.len()).rev() {
                let chunk = &self.chunks[number];
                if chunk.values[offset].is_none() && chunk.hot[offset].tag != 0 {
                    self.push_free(index(number, offset));
                }
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn grow_or_panic(&mut self) {
        assert!(self.grow().is_ok(), "there is no memory for another timer");
    }

    /// Adds one free place. Separate, because most inserts need none.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Result<(), NoMemory> {
        let number = self.growing_chunk()?;
        let chunk = &mut self.chunks[number];
        let len = chunk.hot.len();
        if chunk.room() == 0 {
            chunk.try_reserve_exact(if number == 0 && len < DOUBLING {
                len.max(16)
            } else {
                CHUNK - len
            })?;
        }
        chunk.push();
        self.push_free(index(number, len));
        Ok(())
    }

    /// The chunk that the next place is added to; it has fewer than [`CHUNK`] places.
    fn growing_chunk(&mut self) -> Result<usize, NoMemory> {
        while let Some(chunk) = self.chunks.get(self.growing) {
            if chunk.hot.len() < CHUNK && chunk.generation <= LAST_GENERATION {
                return Ok(self.growing);
            }
            self.growing += 1;
        }
        if self.chunks.len() == MOST_CHUNKS {
            return Err(NoMemory);
        }
        self.chunks.try_reserve(1)?;
        self.chunks.push(Chunk {
            hot: Vec::new(),
            links: Vec::new(),
            values: Vec::new(),
            generation: 1,
        });
        Ok(self.growing)
    }

    fn push_free(&mut self, index: u32) {
        let free = self.free;
        self.link_of_mut(index).next = free;
        self.free = index;
    }

    /// Appends a timer that is in no list to the list of `slot`.
    fn link(&mut self, index: u32, slot: u32) {
        let last = core::mem::replace(&mut self.link_of_mut(!slot).prev, index);
        self.link_of_mut(last).next = index;
        *self.link_of_mut(index) = Link {
            next: !slot,
            prev: last,
        };
    }

    /// Makes two timers or heads neighbours. Returns the slot whose list thereby becomes empty.
    #[inline]
    fn join(&mut self, prev: u32, next: u32) -> Option<u32> {
        self.link_of_mut(prev).next = next;
        self.link_of_mut(next).prev = prev;
        // Only the head of an empty list is its own neighbour.
        (next == prev).then_some(!next)
    }

    #[inline]
    fn link_of(&self, index: u32) -> &Link {
        match self.heads.get(!index as usize) {
            Some(head) => head,
            None => &self.chunks[chunk_of(index)].links[offset_of(index)],
        }
    }

    #[inline]
    fn link_of_mut(&mut self, index: u32) -> &mut Link {
        match self.heads.get_mut(!index as usize) {
            Some(head) => head,
            None => &mut self.chunks[chunk_of(index)].links[offset_of(index)],
        }
    }
}

/// There is no memory for another timer, or no index, because 2^32 timers are set.
#[derive(Debug)]
pub(crate) struct NoMemory;

impl From<TryReserveError> for NoMemory {
    fn from(_: TryReserveError) -> Self {
        Self
    }
}

/// The timer that [`Arena::remove`] has removed.
pub(crate) struct Removed<T> {
    /// The key, which is stale now.
    pub(crate) key: Key,
    /// The value.
    pub(crate) value: T,
    /// The slot whose list became empty.
    pub(crate) emptied: Option<u32>,
}

/// The result of [`Arena::set_deadline`].
pub(crate) enum Reset {
    /// The key is stale; nothing was stored.
    Stale,
    /// The deadline is stored, and the timer stays in its slot.
    Stays,
    /// The deadline is stored, and the timer must move to an earlier slot.
    Moves(u32),
}

fn chunk_of(index: u32) -> usize {
    (index >> CHUNK_BITS) as usize
}

fn offset_of(index: u32) -> usize {
    index as usize % CHUNK
}

/// The index of a place. [`Arena::growing_chunk`] ensures that the chunk's number fits.
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

        // Nor is the place reused after the free places were relinked.
        arena.shrink();
        let third = arena.insert(0, 0, ());
        assert_ne!(third.index(), first.index());
        arena.remove(third.index());

        // A chunk with such a place is not refilled after it was released.
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
        arena.reserve(CHUNK + 10).unwrap();
        assert_eq!(arena.capacity(), CHUNK + 10);
        for expected in 0..CHUNK + 10 {
            let key = arena.insert(0, 0, ());
            // Places are handed out in order, chunk by chunk, which is the order of later walks.
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
