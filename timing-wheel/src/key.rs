//! The key that identifies a timer.

use core::num::NonZeroU32;

/// Identifies one timer of one [`Wheel`](crate::Wheel): eight bytes, and `Option<Key>` is eight bytes too.
///
/// A key holds the place of the timer and the generation of that place. When the timer has fired or was cancelled, the
/// generation increases, so the old key is stale for ever: every method returns `false` or `None` for it, and it never
/// reaches a timer that was inserted later. A key passed to another wheel than its own is not detected: it is stale there or
/// names an unrelated timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: NonZeroU32,
}

impl Key {
    pub(crate) fn new(index: u32, generation: u32) -> Self {
        // Generations count from one, so the fallback is never used.
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
