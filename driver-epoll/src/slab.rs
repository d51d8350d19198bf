//! Connections by index. Each index has a generation, so that stale events and messages reach no connection.

/// Identifies one entry: generation in the high half, index in the low. A key repeats only after 2^31 uses of its index.
pub(crate) type Key = u64;

/// Generations stay below this, so that no key has the highest bit, which marks other events.
const GENERATIONS: u32 = 1 << 31;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// Head of the list of free slots; `slots.len()` if there is none.
    free: usize,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Free { next: usize },
    Used(T),
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Slab {
            slots: Vec::new(),
            free: 0,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(index(key))? {
            Slot {
                generation,
                state: State::Used(value),
            } if *generation == generation_of(key) => Some(value),
            _ => None,
        }
    }

    /// The key of the next insertion.
    pub(crate) fn next_key(&self) -> Key {
        key(self.slots.get(self.free).map_or(0, |slot| slot.generation), self.free)
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        let at = self.next_key();
        match self.slots.get_mut(self.free) {
            Some(slot) => {
                if let State::Free { next } = slot.state {
                    self.free = next;
                }
                slot.state = State::Used(value);
            }
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    state: State::Used(value),
                });
                self.free = self.slots.len();
            }
        }
        self.len += 1;
        at
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        let next = self.free;
        let slot = self.slots.get_mut(index(key))?;
        slot.generation = (slot.generation + 1) % GENERATIONS;
        let State::Used(value) = core::mem::replace(&mut slot.state, State::Free { next }) else {
            return None;
        };
        self.free = index(key);
        self.len -= 1;
        Some(value)
    }

    /// The keys of all entries.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let used = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| matches!(slot.state, State::Used(_)));
        used.map(|(index, slot)| key(slot.generation, index)).collect()
    }
}

fn key(generation: u32, index: usize) -> Key {
    // Descriptors are `i32`, so an index never reaches 2^32.
    (u64::from(generation) << 32) | index as u64
}

fn index(key: Key) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

fn generation_of(key: Key) -> u32 {
    (key >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t03_a_stale_key_finds_nobody() {
        let mut slab = Slab::new();
        let a = slab.insert('a');
        let b = slab.insert('b');
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        let predicted = slab.next_key();
        let c = slab.insert('c');
        assert_eq!(c, predicted);
        assert_eq!(index(a), index(c));
        assert_eq!(slab.get_mut(a), None);
        assert_eq!(slab.get_mut(c), Some(&mut 'c'));
        assert_eq!(slab.get_mut(b), Some(&mut 'b'));
        assert_eq!(slab.len(), 2);
        assert_eq!(slab.keys(), vec![c, b]);
    }

    #[test]
    fn indices_are_used_again_and_generations_leave_the_top_bit_free() {
        let mut slab = Slab::new();
        for _ in 0..1000 {
            let key = slab.insert(());
            assert_eq!(index(key), 0);
            assert_eq!(key >> 63, 0);
            slab.remove(key);
        }
        assert!(slab.is_empty());
        slab.slots[0].generation = GENERATIONS - 1;
        let last = slab.insert(());
        slab.remove(last);
        assert_eq!(slab.next_key(), 0);
    }
}
