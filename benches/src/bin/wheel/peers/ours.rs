//! The wheel.

use std::num::NonZeroU32;

use timing_wheel::{Key, Wheel};

use super::{Ids, Timers};

/// The value is the id plus one: a value that is never zero needs no byte for `None`.
pub(crate) struct Ours {
    wheel: Wheel<NonZeroU32>,
    keys: Vec<Option<Key>>,
}

impl Timers for Ours {
    fn new(ids: u32, capacity: u32) -> Self {
        Self {
            wheel: Wheel::with_capacity(0, capacity as usize),
            keys: vec![None; ids as usize],
        }
    }

    fn insert(&mut self, id: u32, deadline: u64) {
        self.keys[id as usize] = Some(self.wheel.insert(deadline, NonZeroU32::MIN.saturating_add(id)));
    }

    fn reset(&mut self, id: u32, deadline: u64) {
        if let Some(key) = self.keys[id as usize] {
            self.wheel.reset(key, deadline);
        }
    }

    fn cancel(&mut self, id: u32) {
        if let Some(key) = self.keys[id as usize] {
            self.wheel.cancel(key);
        }
    }

    fn poll(&mut self, now: u64, budget: usize, fired: &mut Ids) {
        fired.extend(self.wheel.poll(now, budget).map(|(_, id)| id.get() - 1));
    }

    fn next_wake(&mut self) -> Option<u64> {
        self.wheel.next_wake()
    }
}
