//! The name a timer is known by.

use core::num::NonZeroU32;

/// Names one timer of one [`Wheel`](crate::Wheel): eight bytes, and `Option<Key>` is eight bytes too.
///
/// A key holds the place of the timer and the generation of that place. When the timer has fired or was cancelled the generation moves on,
/// so an old key is stale for good: every method that takes it answers `false` or `None`, and it never reaches a timer that was
/// inserted later. A key handed to another wheel than its own is not detected: it is stale there or names an unrelated timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: NonZeroU32,
}

impl Key {
    pub(crate) fn new(index: u32, generation: u32) -> Self {
        // Generations count from one; the fallback is never taken.
        Self {
            index,
            generation: NonZeroU32::new(generation).unwrap_or(NonZeroU32::MIN),
        }
    }

    pub(crate) fn index(self) -> u32 {
        self.index
    }

    pub(crate) fn generation(self) -> u32 {
        self.generation.get()
    }
}
