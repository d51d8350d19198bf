//! The last publications of a channel.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::publication::{Epoch, Position, Publication};

/// Ends of earlier epochs that are remembered, so that readers of those epochs can continue.
const TURNS: usize = 16;

/// How much of a channel's history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    /// Number of publications.
    pub(crate) publications: usize,
    /// Memory of all publications, in bytes. At least one publication is kept.
    pub(crate) bytes: usize,
    /// The age up to which publications are kept.
    pub(crate) time: Duration,
}

/// The shortest time for which the key of a publication is remembered.
const SHORTEST_WISH: Duration = Duration::from_secs(120);

impl Keep {
    /// How long the key of a publication is remembered, so that a repeated request gets the same answer: as long as the publication may
    /// stay in the history.
    pub(crate) fn wish(&self) -> Duration {
        self.time.max(SHORTEST_WISH)
    }
}

/// A channel's position, and the stored publications before it, without gaps up to the position.
///
/// A channel's epoch may change without loss, at a turn: the offsets continue. The log remembers where earlier epochs ended, so that it can
/// tell whether a position of an earlier epoch belongs to this history or to one that was lost.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    position: Position,
    kept: VecDeque<Arc<Publication>>,
    bytes: usize,
    /// The last positions of earlier epochs, oldest first.
    turns: Vec<Position>,
}

/// The publications after a position.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// How many publications after the position are no longer stored.
    pub(crate) missed: u64,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// Whether there are more publications.
    pub(crate) more: bool,
    /// The position at the end of all publications.
    pub(crate) end: Option<Position>,
}

impl Tail {
    /// Keeps the first publications up to `bytes`, at least one.
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

    /// The position before the first stored publication.
    pub(crate) fn start(&self) -> Position {
        let offset = self.position.offset - self.kept.len() as u64;
        // In the current epoch as far as readers are concerned: they continue from here.
        let epoch = self
            .kept
            .front()
            .map_or(self.position.epoch, |first| first.position.epoch);
        Position { epoch, offset }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether `position` belongs to this history, or precedes it in the same line.
    pub(crate) fn knows(&self, position: Position) -> bool {
        if position.epoch == self.position.epoch {
            return position.offset <= self.position.offset;
        }
        let mut turns = self.turns.iter();
        turns.any(|end| end.epoch == position.epoch && position.offset <= end.offset)
    }

    /// Appends the next publication. Refuses one that does not follow the last.
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

    /// The newest publication, if it is kept.
    pub(crate) fn newest(&self) -> Option<&Arc<Publication>> {
        self.kept.back()
    }

    /// Notes that an earlier epoch ended at `end`, and that this history continues after it.
    pub(crate) fn turn(&mut self, end: Position) {
        if end.epoch == Epoch::NONE {
            // No reader can have this position.
            return;
        }
        if self.turns.len() == TURNS {
            self.turns.remove(0);
        }
        self.turns.push(end);
    }

    /// Whether the last position is the predecessor that `publication` names.
    fn precedes(&self, publication: &Publication) -> bool {
        let began = publication.previous == Epoch::NONE && publication.offset() == 1;
        publication.previous == self.position.epoch
            // An empty channel followed by its first publication: the empty channel's position precedes it.
            || began && self.position.is_start() && self.position.epoch.0 < publication.position.epoch.0
    }

    /// Drops publications that are too old.
    pub(crate) fn expire(&mut self, now: Instant, keep: &Keep) {
        while self
            .kept
            .front()
            .is_some_and(|first| now.saturating_duration_since(first.at) > keep.time)
        {
            self.drop_first();
        }
    }

    /// The first `limit` publications after `offset`; none if `offset` is the last.
    pub(crate) fn after(&self, offset: u64, limit: usize) -> Tail {
        let behind = self.position.offset.saturating_sub(offset);
        let there = (self.kept.len() as u64).min(behind);
        // At most the number of stored publications.
        let first = self.kept.len() - there as usize;
        Tail {
            missed: behind - there,
            publications: self.part(first..first + limit.min(there as usize)),
            more: there > limit as u64,
            end: Some(self.position),
        }
    }

    /// The position before the last `count` publications.
    pub(crate) fn before_last(&self, count: usize) -> Position {
        let count = count.min(self.kept.len());
        match self.kept.len() - count {
            0 => self.start(),
            // The last publication that is left out.
            rest => self
                .kept
                .get(rest - 1)
                .map_or(self.position, |left_out| left_out.position),
        }
    }

    /// The last publications, at most `count`.
    pub(crate) fn last(&self, count: usize) -> Vec<Arc<Publication>> {
        self.part(self.kept.len().saturating_sub(count)..self.kept.len())
    }

    /// The stored publications before an offset, if one is given, newest first.
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
        // From another epoch, without naming this one as its predecessor.
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
        // Offset 3 of the previous epoch differs from offset 3 now.
        assert!(!log.knows(at(1, 3)) && !log.knows(at(5, 4)) && !log.knows(at(4, 1)));
        assert_eq!(offsets(&log.after(1, 9).publications), [2, 3]);
    }

    #[test]
    fn a_channel_that_begins_goes_on_from_where_there_was_none() {
        let (mut log, now) = (Log::new(at(3, 0)), Instant::now());
        assert!(!log.push(now, Arc::new(of_epoch(2, 1).behind(Epoch::NONE)), &KEEP));
        assert!(log.push(now, Arc::new(of_epoch(4, 1).behind(Epoch::NONE)), &KEEP));
        assert!(log.knows(at(3, 0)) && !log.knows(at(3, 1)));
        // A channel does not begin twice.
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
        // Dropping stops at the first publication that is kept, so there are no gaps.
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
