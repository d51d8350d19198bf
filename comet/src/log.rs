//! The last publications of a channel.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::publication::{Position, Publication};

/// How much of a channel's history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    /// Publications.
    pub(crate) publications: usize,
    /// Bytes of memory, of all of them. One publication is kept in any case.
    pub(crate) bytes: usize,
    /// How long.
    pub(crate) time: Duration,
}

/// A channel's position, and the publications before it that are kept: without gap, up to the position.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    position: Position,
    kept: VecDeque<(Instant, Arc<Publication>)>,
    bytes: usize,
}

/// What came behind a position.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// How many publications are no longer there, before the first of those that are.
    pub(crate) missed: u64,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// Whether there are more than these.
    pub(crate) more: bool,
}

impl Log {
    pub(crate) fn new(position: Position) -> Self {
        Log {
            position,
            kept: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The position of the last publication.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The position before the first publication that is kept.
    pub(crate) fn start(&self) -> Position {
        Position {
            offset: self.position.offset - self.kept.len() as u64,
            ..self.position
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Takes the next publication. One that is not the next is refused.
    pub(crate) fn push(&mut self, now: Instant, publication: Arc<Publication>, keep: &Keep) -> bool {
        let next = Position {
            offset: self.position.offset + 1,
            ..self.position
        };
        if publication.position != next {
            return false;
        }
        self.position = next;
        if keep.publications > 0 {
            self.bytes += publication.size();
            self.kept.push_back((now, publication));
        }
        while self.kept.len() > keep.publications || (self.bytes > keep.bytes && self.kept.len() > 1) {
            self.drop_first();
        }
        self.expire(now, keep);
        true
    }

    /// Drops what is too old.
    pub(crate) fn expire(&mut self, now: Instant, keep: &Keep) {
        while self
            .kept
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) > keep.time)
        {
            self.drop_first();
        }
    }

    /// What came behind `offset`, the first `limit` of it; nothing behind the last.
    pub(crate) fn after(&self, offset: u64, limit: usize) -> Tail {
        let behind = self.position.offset.saturating_sub(offset);
        let there = (self.kept.len() as u64).min(behind);
        // At most the number of those kept.
        let first = self.kept.len() - there as usize;
        Tail {
            missed: behind - there,
            publications: self.part(first..first + limit.min(there as usize)),
            more: there > limit as u64,
        }
    }

    /// The last publications, `count` at most.
    pub(crate) fn last(&self, count: usize) -> Vec<Arc<Publication>> {
        self.part(self.kept.len().saturating_sub(count)..self.kept.len())
    }

    fn part(&self, range: Range<usize>) -> Vec<Arc<Publication>> {
        let part = self.kept.range(range);
        part.map(|(_, publication)| Arc::clone(publication)).collect()
    }

    fn drop_first(&mut self) {
        if let Some((_, publication)) = self.kept.pop_front() {
            self.bytes -= publication.size();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::publication::{Draft, Epoch};

    /// A publication of epoch 1 whose data is its offset.
    pub(crate) fn publication(offset: u64) -> Arc<Publication> {
        let draft = Draft {
            channel: "test".parse().unwrap(),
            user: None,
            data: offset.to_string().into(),
        };
        let epoch = Epoch(1);
        Arc::new(Publication::new(draft, Position { epoch, offset }))
    }

    pub(crate) const KEEP: Keep = Keep {
        publications: 3,
        bytes: 1 << 20,
        time: Duration::from_secs(60),
    };

    pub(crate) fn start() -> Position {
        Position {
            epoch: Epoch(1),
            offset: 0,
        }
    }

    fn offsets(publications: &[Arc<Publication>]) -> Vec<u64> {
        publications.iter().map(|publication| publication.offset()).collect()
    }

    #[test]
    fn it_keeps_the_last_and_says_what_is_gone() {
        let (mut log, now) = (Log::new(start()), Instant::now());
        for offset in 1..=5 {
            assert!(log.push(now, publication(offset), &KEEP));
        }
        assert_eq!(log.position().offset, 5);
        let tail = log.after(3, 9);
        assert_eq!((tail.missed, offsets(&tail.publications)), (0, vec![4, 5]));
        let tail = log.after(0, 9);
        assert_eq!((tail.missed, offsets(&tail.publications)), (2, vec![3, 4, 5]));
        let tail = log.after(9, 9);
        assert_eq!((tail.missed, offsets(&tail.publications)), (0, vec![]));
        let tail = log.after(0, 2);
        assert!(tail.more && tail.missed == 2 && offsets(&tail.publications) == [3, 4]);
        assert_eq!(offsets(&log.last(2)), [4, 5]);
    }

    #[test]
    fn it_takes_nothing_out_of_turn() {
        let (mut log, now) = (Log::new(start()), Instant::now());
        assert!(!log.push(now, publication(2), &KEEP));
        assert!(log.push(now, publication(1), &KEEP));
        assert!(!log.push(now, publication(1), &KEEP));
        assert_eq!(log.position().offset, 1);
    }

    #[test]
    fn time_and_bytes_bound_it() {
        let (mut log, now) = (Log::new(start()), Instant::now());
        let small = Keep { bytes: 1, ..KEEP };
        for offset in 1..=3 {
            assert!(log.push(now, publication(offset), &small));
        }
        assert_eq!(offsets(&log.last(9)), [3]);
        assert!(log.push(now + Duration::from_secs(50), publication(4), &KEEP));
        log.expire(now + Duration::from_secs(61), &KEEP);
        assert_eq!(offsets(&log.last(9)), [4]);
        log.expire(now + Duration::from_secs(111), &KEEP);
        assert!(log.is_empty() && log.bytes == 0);
        assert_eq!(log.position().offset, 4);
        let none = Keep {
            publications: 0,
            ..KEEP
        };
        assert!(log.push(now, publication(5), &none));
        assert!(log.is_empty());
        assert_eq!(log.after(3, 9).missed, 2);
    }
}
