//! Sorts messages by connection, so that each connection receives all its messages at once.

use crate::slab::Key;

/// The most messages sorted together. More would mean even fewer writes, but sorting them would delay the loop: this many take about a
/// millisecond.
const MOST: usize = 64 * 1024;
/// Messages whose memory is kept from batch to batch.
const KEPT: usize = 4 * 1024;

/// Waiting messages. A batch is first filled, then emptied connection by connection.
#[derive(Debug)]
pub(crate) struct Batch<M> {
    /// The messages in the order of arrival; taken out one by one.
    messages: Vec<Option<M>>,
    /// The receiver of each message, and its index. Sorting these moves 16 bytes, however large a message is.
    order: Vec<(Key, usize)>,
    /// The entries before this one were taken out.
    at: usize,
    /// Whether some were taken out early.
    has_holes: bool,
}

impl<M> Default for Batch<M> {
    fn default() -> Self {
        Batch {
            messages: Vec::new(),
            order: Vec::new(),
            at: 0,
            has_holes: false,
        }
    }
}

impl<M> Batch<M> {
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.order.len() >= MOST
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn push(&mut self, key: Key, message: M) {
        self.order.push((key, self.messages.len()));
        self.messages.push(Some(message));
    }

    /// Takes out the messages of `key` before the batch is sorted, in the order in which they came.
    pub(crate) fn take_early(&mut self, key: Key) -> impl Iterator<Item = M> {
        self.has_holes = true;
        let mut at = 0;
        core::iter::from_fn(move || {
            while let Some((next, index)) = self.order.get(at) {
                at += 1;
                if *next == key
                    && let Some(message) = self.messages.get_mut(*index)?.take()
                {
                    return Some(message);
                }
            }
            None
        })
    }

    /// Sorts the messages; called once the batch is filled.
    pub(crate) fn sort(&mut self) {
        if core::mem::take(&mut self.has_holes) {
            let messages = &self.messages;
            self.order
                .retain(|(_, index)| messages.get(*index).is_some_and(Option::is_some));
        }
        self.order.sort_unstable();
    }

    /// The next connection with messages. `None` when all messages are taken; the batch can then be filled again.
    pub(crate) fn next_key(&mut self) -> Option<Key> {
        let next = self.order.get(self.at).map(|(key, _)| *key);
        if next.is_none() {
            self.order.clear();
            self.order.shrink_to(KEPT);
            self.messages.clear();
            self.messages.shrink_to(KEPT);
            self.at = 0;
        }
        next
    }

    /// Takes out the messages of `key`, the next connection, in the order of arrival.
    pub(crate) fn take(&mut self, key: Key) -> impl Iterator<Item = M> {
        core::iter::from_fn(move || {
            let (_, index) = self.order.get(self.at).filter(|(next, _)| *next == key)?;
            self.at += 1;
            self.messages.get_mut(*index)?.take()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_gets_its_messages_together_and_in_order() {
        let mut batch = Batch::default();
        for _ in 0..2 {
            for n in 0..100_u64 {
                batch.push(n % 7, n);
            }
            batch.sort();
            let mut seen = Vec::new();
            while let Some(key) = batch.next_key() {
                assert!(!batch.is_empty() && !seen.contains(&key), "{key}");
                seen.push(key);
                // Takes a part of the messages: the others must stay.
                let mut messages: Vec<u64> = batch.take(key).take(3).collect();
                assert_eq!(batch.next_key(), Some(key));
                messages.extend(batch.take(key));
                assert_eq!(messages, (0..100).filter(|n| n % 7 == key).collect::<Vec<_>>());
            }
            assert_eq!(seen.len(), 7);
            assert!(batch.is_empty());
        }
    }

    #[test]
    fn what_is_taken_early_is_not_told_again() {
        let mut batch = Batch::default();
        for _ in 0..2 {
            for n in 0..100_u64 {
                batch.push(n % 7, n);
            }
            assert_eq!(batch.take_early(3).take(2).collect::<Vec<_>>(), [3, 10]);
            assert_eq!(batch.take_early(5).count(), 14);
            assert_eq!(batch.take_early(5).count(), 0);
            batch.push(5, 100);
            batch.sort();
            let mut seen = Vec::new();
            while let Some(key) = batch.next_key() {
                seen.push((key, batch.take(key).collect::<Vec<_>>()));
            }
            assert_eq!(seen.len(), 7);
            assert_eq!(seen[3].1, (17..100).step_by(7).collect::<Vec<_>>());
            assert_eq!(seen[5], (5, vec![100]));
        }
        batch.push(1, 0);
        assert_eq!(batch.take_early(1).count(), 1);
        batch.sort();
        assert_eq!(batch.next_key(), None);
        assert!(batch.messages.is_empty());
    }

    #[test]
    fn it_is_bounded_and_gives_memory_back() {
        let mut batch = Batch::default();
        while !batch.is_full() {
            batch.push(1, ());
        }
        batch.sort();
        assert_eq!(batch.take(1).count(), MOST);
        assert_eq!(batch.next_key(), None);
        assert!(batch.order.capacity() <= 2 * KEPT);
    }
}
