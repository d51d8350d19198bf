//! The key that identifies a timer.

use core::num::{NonZeroU32, NonZeroU64};

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

    /// The key as a number, for interfaces that cannot hold a `Key`, such as those of other languages. Never 0.
    #[must_use]
    pub const fn to_bits(self) -> NonZeroU64 {
        // The generation is in the upper half and never 0, so the fallback is never used.
        match NonZeroU64::new((self.generation.get() as u64) << 32 | self.index as u64) {
            Some(bits) => bits,
            None => NonZeroU64::MIN,
        }
    }

    /// The key that [`to_bits`](Self::to_bits) has returned as `bits`. `None` if no key has these bits. Any other number is
    /// a key that may be stale.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match NonZeroU32::new((bits >> 32) as u32) {
            Some(generation) => Some(Self {
                index: bits as u32,
                generation,
            }),
            None => None,
        }
    }

    pub(crate) fn generation(self) -> u32 {
        self.generation.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_make_the_same_key() {
        for (index, generation) in [(0, 1), (u32::MAX, 1), (7, u32::MAX)] {
            let key = Key::new(index, generation);
            assert_eq!(Key::from_bits(key.to_bits().get()), Some(key));
        }
        assert_eq!(Key::from_bits(0), None);
        assert_eq!(Key::from_bits(u64::from(u32::MAX)), None, "no generation is 0");
    }

    #[test]
    fn the_bits_of_a_stale_key_are_stale() {
        let mut wheel = crate::Wheel::new(0);
        let bits = wheel.insert(5, "a").to_bits().get();
        assert_eq!(Key::from_bits(bits).and_then(|key| wheel.cancel(key)), Some("a"));
        assert_eq!(Key::from_bits(bits).and_then(|key| wheel.cancel(key)), None);
        wheel.insert(5, "b");
        assert_eq!(Key::from_bits(bits).and_then(|key| wheel.cancel(key)), None);
    }
}
