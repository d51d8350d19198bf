//! The last publications of a channel.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::publication::{Epoch, Position, Publication};

/// Ends of earlier epochs that are remembered, so that readers of those epochs can go on.
const TURNS: usize = 16;

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
///
/// A channel's epoch may change without loss, at a turn: the offsets go on. The log remembers where earlier epochs ended, so
/// that a position of one of them is known for what it is: a place in this history, or in one that has been lost.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    position: Position,
    kept: VecDeque<Arc<Publication>>,
    bytes: usize,
    /// The last positions of earlier epochs, oldest first.
    turns: Vec<Position>,
}

/// What came behind a position.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// How many publications are no longer there, before the first of those that are.
    pub(crate) missed: u64,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// Whether there are more than these.
    pub(crate) more: bool,
    /// Where all of it ends.
    pub(crate) end: Option<Position>,
}

impl Tail {
    /// Leaves the first, as many as have so many bytes. One is left in any case.
    pub(crate) fn limit_bytes(&mut self, bytes: usize) {
        let mut sum = 0;
        let fit = self.publications.iter().take_while(|publication| {
            let fits = sum < bytes;
            sum += publication.size();
            fits
        });
        let fit = fit.count();
        self.more |= fit < self.publications.len();
        self.publications.truncate(fit);
    }
}

impl Log {
    pub(crate) fn new(position: Position) -> Self {
        Log {
            position,
            kept: VecDeque::new(),
            bytes: 0,
            turns: Vec::new(),
        }
    }

    /// The position of the last publication.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The position before the first publication that is kept.
    pub(crate) fn start(&self) -> Position {
        let offset = self.position.offset - self.kept.len() as u64;
        // Of the current epoch as far as readers are told: they go on from here.
        let epoch = self
            .kept
            .front()
            .map_or(self.position.epoch, |first| first.position.epoch);
        Position { epoch, offset }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether `position` is a place in this history, or before it in the same line.
    pub(crate) fn knows(&self, position: Position) -> bool {
        if position.epoch == self.position.epoch {
            return position.offset <= self.position.offset;
        }
        let mut turns = self.turns.iter();
        turns.any(|end| end.epoch == position.epoch && position.offset <= end.offset)
    }

    /// Takes the next publication. One that is not the next is refused.
    pub(crate) fn push(&mut self, now: Instant, publication: Arc<Publication>, keep: &Keep) -> bool {
        if publication.offset() != self.position.offset + 1 || !self.precedes(&publication) {
            return false;
        }
        if publication.position.epoch != self.position.epoch {
            self.turn(self.position);
        }
        self.position = publication.position;
        if keep.publications > 0 {
            self.bytes += publication.size();
            self.kept.push_back(publication);
        }
        while self.kept.len() > keep.publications || (self.bytes > keep.bytes && self.kept.len() > 1) {
            self.drop_first();
        }
        self.expire(now, keep);
        true
    }

    /// Remembers that an earlier epoch ended at `end`, and this history goes on behind it.
    pub(crate) fn turn(&mut self, end: Position) {
        if end.epoch == Epoch::NONE {
            // Nobody has been there.
            return;
        }
        if self.turns.len() == TURNS {
            self.turns.remove(0);
        }
        self.turns.push(end);
    }

    /// Whether this is what `publication` names as before it.
    fn precedes(&self, publication: &Publication) -> bool {
        let began = publication.previous == Epoch::NONE && publication.offset() == 1;
        publication.previous == self.position.epoch
            // A channel of which nothing was there, and then the first of it: this was a place before.
            || began && self.position.is_start() && self.position.epoch.0 < publication.position.epoch.0
    }

    /// Drops what is too old.
    pub(crate) fn expire(&mut self, now: Instant, keep: &Keep) {
        while self
            .kept
            .front()
            .is_some_and(|first| now.saturating_duration_since(first.at) > keep.time)
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
            end: Some(self.position),
        }
    }

    /// The position before the last publications, `count` at most.
    pub(crate) fn before_last(&self, count: usize) -> Position {
        let count = count.min(self.kept.len());
        match self.kept.len() - count {
            0 => self.start(),
            // The last of those that are left out.
            rest => self
                .kept
                .get(rest - 1)
                .map_or(self.position, |left_out| left_out.position),
        }
    }

    /// The last publications, `count` at most.
    pub(crate) fn last(&self, count: usize) -> Vec<Arc<Publication>> {
        self.part(self.kept.len().saturating_sub(count)..self.kept.len())
    }

    /// Those before an offset, if one is given, newest first.
    pub(crate) fn newest_first(&self, before: Option<u64>) -> impl Iterator<Item = &Arc<Publication>> {
        let newest = self.kept.iter().rev();
        newest.filter(move |publication| before.is_none_or(|before| publication.offset() < before))
    }

    fn part(&self, range: Range<usize>) -> Vec<Arc<Publication>> {
        self.kept.range(range).map(Arc::clone).collect()
    }

    fn drop_first(&mut self) {
        if let Some(publication) = self.kept.pop_front() {
            self.bytes -= publication.size();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::publication::Draft;

    /// A publication of epoch 1 whose data is its offset.
    pub(crate) fn publication(offset: u64) -> Arc<Publication> {
        Arc::new(of_epoch(1, offset))
    }

    fn of_epoch(epoch: u64, offset: u64) -> Publication {
        let draft = Draft {
            channel: "test".parse().unwrap(),
            user: None,
            data: offset.to_string().into(),
            key: None,
        };
        let epoch = Epoch(epoch);
        Publication::new(draft, Position { epoch, offset })
    }

    pub(crate) const KEEP: Keep = Keep {
        publications: 3,
        bytes: 1 << 20,
        time: Duration::from_secs(60),
    };

    pub(crate) fn start() -> Position {
        at(1, 0)
    }

    fn at(epoch: u64, offset: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            offset,
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
        // Of another epoch, which does not say that it follows this one.
        assert!(!log.push(now, Arc::new(of_epoch(2, 2)), &KEEP));
        assert!(!log.push(now, Arc::new(of_epoch(2, 2).behind(Epoch(7))), &KEEP));
        assert_eq!(log.position().offset, 1);
    }

    #[test]
    fn an_epoch_may_end_without_loss_and_its_positions_stay_known() {
        let (mut log, now) = (Log::new(start()), Instant::now());
        assert!(log.push(now, publication(1), &KEEP));
        assert!(log.push(now, publication(2), &KEEP));
        assert!(log.push(now, Arc::new(of_epoch(5, 3).behind(Epoch(1))), &KEEP));
        assert_eq!(log.position(), at(5, 3));
        assert!(log.knows(at(1, 2)) && log.knows(at(1, 0)) && log.knows(at(5, 3)));
        // What was 3 in the epoch before is not what is 3 now.
        assert!(!log.knows(at(1, 3)) && !log.knows(at(5, 4)) && !log.knows(at(4, 1)));
        assert_eq!(offsets(&log.after(1, 9).publications), [2, 3]);
    }

    #[test]
    fn a_channel_that_begins_goes_on_from_where_there_was_none() {
        let (mut log, now) = (Log::new(at(3, 0)), Instant::now());
        assert!(!log.push(now, Arc::new(of_epoch(2, 1).behind(Epoch::NONE)), &KEEP));
        assert!(log.push(now, Arc::new(of_epoch(4, 1).behind(Epoch::NONE)), &KEEP));
        assert!(log.knows(at(3, 0)) && !log.knows(at(3, 1)));
        // It does not begin twice.
        assert!(!log.push(now, Arc::new(of_epoch(5, 1).behind(Epoch::NONE)), &KEEP));
    }

    #[test]
    fn time_and_bytes_bound_it() {
        let (mut log, now) = (Log::new(start()), Instant::now());
        let small = Keep { bytes: 1, ..KEEP };
        for offset in 1..=3 {
            assert!(log.push(now, publication(offset), &small));
        }
        assert_eq!(offsets(&log.last(9)), [3]);
        let late = of_epoch(1, 4).aged(Duration::from_secs(30));
        assert!(log.push(now, Arc::new(late), &KEEP));
        log.expire(now + Duration::from_secs(29), &KEEP);
        assert_eq!(offsets(&log.last(9)), [3, 4]);
        // The first that is kept bounds the others: there are no gaps.
        log.expire(now + Duration::from_secs(61), &KEEP);
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
