//! The open aggregates, and the number of items that each still lacks: four bytes a level, for decoder and encoder alike.

use crate::{Aggregate, MAX_DEPTH};

/// Storage for all levels but the innermost.
pub(crate) trait Below {
    fn slot(&mut self, level: usize) -> Option<&mut u32>;
}

/// Inline storage, without an allocator.
#[derive(Debug, Clone)]
pub(crate) struct Inline([u32; MAX_DEPTH as usize]);

impl Default for Inline {
    fn default() -> Self {
        Inline([0; MAX_DEPTH as usize])
    }
}

impl Below for Inline {
    #[inline]
    fn slot(&mut self, level: usize) -> Option<&mut u32> {
        self.0.get_mut(level)
    }
}

/// Heap storage, allocated with the second level, which most replies do not reach.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, Default)]
pub(crate) struct Spilled(alloc::vec::Vec<u32>);

#[cfg(feature = "alloc")]
impl Below for Spilled {
    #[inline]
    fn slot(&mut self, level: usize) -> Option<&mut u32> {
        if level >= self.0.len() && level < usize::from(MAX_DEPTH) {
            self.0.resize((level + 1).next_power_of_two().max(4), 0);
        }
        self.0.get_mut(level)
    }
}

/// The open levels: the innermost in a field, the others in `S`.
///
/// A level is one number: whether it is streamed, its kind, and how many items it lacks (if streamed: whether their number so far is odd).
/// If no aggregate is open, the innermost level looks like a stream, which never ends by count.
#[derive(Debug, Clone)]
pub(crate) struct Frames<S> {
    top: u32,
    depth: u8,
    below: S,
}

const STREAM: u32 = 1 << 31;
const KIND: u32 = 28;
/// The most items a level can lack.
pub(crate) const COUNT: u32 = (1 << KIND) - 1;

impl<S: Default> Default for Frames<S> {
    fn default() -> Self {
        Frames {
            top: STREAM,
            depth: 0,
            below: S::default(),
        }
    }
}

impl<S: Below> Frames<S> {
    #[inline]
    pub(crate) fn depth(&self) -> u8 {
        self.depth
    }

    /// Whether the innermost aggregate has all its items.
    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.top & (STREAM | COUNT) == 0
    }

    /// Whether the innermost aggregate is streamed.
    #[inline]
    pub(crate) fn is_streamed(&self) -> bool {
        self.top & STREAM != 0 && self.depth > 0
    }

    /// The kind of the innermost aggregate, and whether it is streamed.
    #[inline]
    pub(crate) fn innermost(&self) -> Option<(Aggregate, bool)> {
        (self.depth > 0).then(|| (kind(self.top), self.top & STREAM != 0))
    }

    /// Whether the innermost aggregate, a stream, has a key without a value.
    pub(crate) fn is_odd(&self) -> bool {
        self.top & 1 != 0 && kind(self.top).width() == 2
    }

    /// Opens an aggregate of `items` items, or a stream. Returns false if it would be too deep. `items` is at most [`COUNT`].
    #[inline]
    pub(crate) fn push(&mut self, kind: Aggregate, items: Option<u32>) -> bool {
        if self.depth >= MAX_DEPTH {
            return false;
        }
        // The level below the first needs no storage.
        if self.depth > 0
            && let Some(slot) = self.below.slot(usize::from(self.depth) - 1)
        {
            *slot = self.top;
        }
        self.depth += 1;
        self.top = (kind as u32) << KIND | items.map_or(STREAM, |items| items & COUNT);
        true
    }

    /// Whether push data is open.
    #[cold]
    pub(crate) fn has_push(&mut self) -> bool {
        let outer = usize::from(self.depth).saturating_sub(1);
        kind(self.top) == Aggregate::Push
            || (0..outer).any(|level| {
                self.below
                    .slot(level)
                    .is_some_and(|slot| kind(*slot) == Aggregate::Push)
            })
    }

    /// Closes the innermost aggregate. It counts as an item of the next level, unless it is an attribute or push data. Returns whether it
    /// was an attribute.
    #[inline]
    pub(crate) fn pop(&mut self) -> bool {
        let closed = kind(self.top);
        let attribute = closed == Aggregate::Attribute;
        self.depth = self.depth.saturating_sub(1);
        self.top = match usize::from(self.depth).checked_sub(1) {
            Some(level) => self.below.slot(level).map_or(STREAM, |slot| *slot),
            None => STREAM,
        };
        if !attribute && closed != Aggregate::Push {
            self.item();
        }
        attribute
    }

    /// Counts a complete item.
    #[inline]
    pub(crate) fn item(&mut self) {
        if self.top & STREAM != 0 {
            self.top ^= 1;
        } else {
            self.top = self.top.wrapping_sub(1);
        }
    }
}

#[inline]
fn kind(level: u32) -> Aggregate {
    match level >> KIND & 7 {
        1 => Aggregate::Map,
        2 => Aggregate::Set,
        3 => Aggregate::Push,
        4 => Aggregate::Attribute,
        _ => Aggregate::Array,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deep<S: Below + Default>() {
        let mut frames = Frames::<S>::default();
        for level in 0..u32::from(MAX_DEPTH) {
            assert!(frames.push(Aggregate::Map, Some(2 * level + 2)));
        }
        assert!(!frames.push(Aggregate::Array, Some(1)));
        for level in (0..u32::from(MAX_DEPTH)).rev() {
            // The level above counted as one.
            for _ in 0..=2 * level {
                assert!(!frames.is_complete());
                frames.item();
            }
            if level + 1 == u32::from(MAX_DEPTH) {
                frames.item();
            }
            assert!(frames.is_complete());
            assert!(!frames.pop());
        }
        assert_eq!(frames.innermost(), None);
        assert!(!frames.is_complete());
    }

    #[test]
    fn every_level_is_kept() {
        deep::<Inline>();
        #[cfg(feature = "alloc")]
        deep::<Spilled>();
    }

    #[test]
    fn an_attribute_is_no_item() {
        let mut frames = Frames::<Inline>::default();
        frames.push(Aggregate::Set, Some(1));
        frames.push(Aggregate::Attribute, Some(0));
        assert!(frames.is_complete());
        assert!(frames.pop());
        assert!(!frames.is_complete());
        assert_eq!(frames.innermost(), Some((Aggregate::Set, false)));
    }

    #[test]
    fn a_stream_counts_whether_it_is_odd() {
        let mut frames = Frames::<Inline>::default();
        frames.push(Aggregate::Map, None);
        frames.item();
        assert!(frames.is_odd() && !frames.is_complete());
        frames.item();
        assert!(!frames.is_odd());
    }
}
