//! Reads a channel's history in pages, from the newest publication back to the known position, and interprets the result.

use std::sync::Arc;

use super::Snapshot;
use crate::log::Keep;
use crate::publication::{Epoch, Position, Publication};

/// Approximate bytes of publications in a page, which is one reply.
pub(crate) const PAGE: usize = 256 << 10;

/// A part of a history to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// Only entries before this position; `None` starts with the newest.
    pub(crate) before: Option<Position>,
    /// Stops at this position, or at the first entry before it.
    pub(crate) down_to: Option<Position>,
    pub(crate) publications: usize,
    pub(crate) bytes: usize,
}

/// Entries of a history, newest first.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The position of a channel without entries; unused in pages after the first.
    pub(crate) empty: Option<Position>,
    pub(crate) entries: Vec<Entry>,
    /// Whether the range has more entries.
    pub(crate) more: bool,
}

/// An entry of a history.
#[derive(Debug)]
pub(crate) enum Entry {
    Publication(Arc<Publication>),
    /// The history is broken after this position: earlier knowledge does not count.
    Mark(Position),
}

impl Entry {
    fn position(&self) -> Position {
        match self {
            Entry::Publication(publication) => publication.position,
            Entry::Mark(position) => *position,
        }
    }
}

/// The state of reading a channel.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The known position when the reading began.
    known: Option<Position>,
    /// Positions that this node has acknowledged, which may be later.
    acknowledged: Vec<Position>,
    keep: Keep,
    /// The number of the question that this reading answers.
    round: u64,
    /// Whether this only checks for acknowledged publications, in a channel that is not followed.
    is_check: bool,
    empty: Option<Position>,
    entries: Vec<Entry>,
    bytes: usize,
}

/// The end of a channel that has lost publications: its last entry, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Break(pub(crate) Option<Position>);

/// The result of a reading step.
#[derive(Debug)]
pub(crate) enum Read {
    /// Another page must be read.
    More,
    /// The channel's state; and its end, if it has lost known publications and nobody has marked that yet.
    Done(Snapshot, Option<Break>),
    /// The entries make no sense.
    Unreadable,
}

impl Reading {
    pub(crate) fn new(known: Option<Position>, mut acknowledged: Vec<Position>, keep: Keep, round: u64) -> Self {
        // Within one epoch there is one history: if it contains the later position, it contains the earlier one.
        acknowledged
            .retain(|place| known.is_none_or(|known| known.epoch != place.epoch || known.offset < place.offset));
        Reading {
            known,
            acknowledged,
            keep,
            round,
            is_check: false,
            empty: None,
            entries: Vec::new(),
            bytes: 0,
        }
    }

    /// Checks a channel that is not followed for acknowledged publications.
    pub(crate) fn check(acknowledged: Vec<Position>, keep: Keep) -> Self {
        Reading {
            is_check: true,
            ..Reading::new(None, acknowledged, keep, 0)
        }
    }

    /// Whether this reading is only a check.
    pub(crate) fn is_check(&self) -> bool {
        self.is_check
    }

    /// The known and acknowledged positions when the reading began.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = Position> {
        self.acknowledged.iter().copied().chain(self.known)
    }

    pub(crate) fn keep(&self) -> Keep {
        self.keep
    }

    /// The range to read next.
    pub(crate) fn range(&self) -> Range {
        let earliest = || self.evidence().min_by_key(|place| (place.epoch.0, place.offset));
        Range {
            before: self.entries.last().map(Entry::position),
            // Down to the earliest of these positions: only the entry after it shows whether it is still part of the history. A
            // node that follows the channel and knows nothing of it reads all.
            down_to: (self.is_check || self.known.is_some()).then(earliest).flatten(),
            // At least the last entry is read, for its position.
            publications: self.keep.publications.saturating_sub(self.entries.len()).max(1),
            bytes: PAGE,
        }
    }

    /// Adds a page.
    pub(crate) fn take(&mut self, page: Page) -> Read {
        if self.entries.is_empty() {
            self.empty = page.empty;
        }
        for entry in page.entries {
            if let Entry::Publication(publication) = &entry {
                self.bytes += publication.size();
            }
            self.entries.push(entry);
        }
        let is_enough = self.entries.len() >= self.keep.publications || self.bytes >= self.keep.bytes;
        if page.more && !is_enough && !self.entries.is_empty() {
            return Read::More;
        }
        let entries = core::mem::take(&mut self.entries);
        finish(
            self.known,
            &self.acknowledged,
            self.empty,
            entries,
            page.more,
            self.round,
        )
    }
}

/// Assembles the entries, which are newest first. `known` contains the known and acknowledged positions.
pub(crate) fn finish(
    known: Option<Position>,
    acknowledged: &[Position],
    empty: Option<Position>,
    entries: Vec<Entry>,
    more: bool,
    round: u64,
) -> Read {
    let Some(position) = entries.first().map(Entry::position).or(empty) else {
        return Read::Unreadable;
    };
    let end = Break(entries.first().map(Entry::position));
    let lineage_of = |known: &Position| Lineage::of(*known, position, &entries);
    let lineage = known.as_ref().map(lineage_of);
    let is_lost = lineage == Some(Lineage::Lost) || acknowledged.iter().any(|place| lineage_of(place) == Lineage::Lost);
    let mut publications: Vec<Arc<Publication>> = Vec::with_capacity(entries.len());
    for entry in entries {
        let Entry::Publication(publication) = entry else { break };
        // Without gaps, or not at all.
        if publications
            .last()
            .is_some_and(|next| next.before() != publication.position)
        {
            break;
        }
        publications.push(publication);
    }
    publications.reverse();
    let turn = publications.last().map(|last| last.before());
    let snapshot = Snapshot {
        position,
        turn: turn.filter(|before| before.epoch != position.epoch && before.epoch != Epoch::NONE),
        publications,
        continues: lineage.map(|lineage| lineage == Lineage::Holds),
        more,
        round,
    };
    Read::Done(snapshot, is_lost.then_some(end))
}

/// How a known position relates to the entries read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lineage {
    /// The history continues from the known position.
    Holds,
    /// The history has lost the known position.
    Lost,
    /// The entries do not tell: the history began anew, or the position is too old.
    Unknown,
}

impl Lineage {
    /// Classifies. `entries` are newest first, down to `known` or the first before it, if available.
    fn of(known: Position, position: Position, entries: &[Entry]) -> Self {
        let mut next: Option<&Arc<Publication>> = None;
        for entry in entries {
            let at = entry.position();
            if at == known {
                return Lineage::Holds;
            }
            // Within one epoch there is one history.
            if at.epoch == known.epoch && at.offset > known.offset {
                return Lineage::Holds;
            }
            let is_older = (at.epoch.0, at.offset) < (known.epoch.0, known.offset);
            match entry {
                // The loss is already marked: every reader begins anew.
                Entry::Mark(_) => return if is_older { Lineage::Lost } else { Lineage::Unknown },
                Entry::Publication(_) if is_older => return Lineage::Lost,
                Entry::Publication(publication) => {
                    let before = publication.before();
                    if before == known || before.epoch == known.epoch && before.offset > known.offset {
                        return Lineage::Holds;
                    }
                    if before.epoch == Epoch::NONE && before.is_start() {
                        // The entries are the whole history: it began after the known position, which was either an empty channel or
                        // another history.
                        return if known.is_start() {
                            Lineage::Holds
                        } else {
                            Lineage::Lost
                        };
                    }
                    if next.is_some_and(|next| next.before() != at) {
                        return Lineage::Unknown;
                    }
                    next = Some(publication);
                }
            }
        }
        if !entries.is_empty() {
            return Lineage::Unknown;
        }
        // There are no entries.
        match known.is_start() {
            true if known.epoch.0 <= position.epoch.0 => Lineage::Holds,
            true => Lineage::Unknown,
            false => Lineage::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::publication::Draft;

    const KEEP: Keep = Keep {
        publications: 100,
        bytes: 1 << 20,
        time: Duration::from_secs(60),
    };

    fn at(epoch: u64, offset: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            offset,
        }
    }

    fn entry(epoch: u64, offset: u64, previous: u64) -> Entry {
        let draft = Draft {
            channel: "a".parse().unwrap(),
            user: None,
            data: "1".into(),
            key: None,
        };
        Entry::Publication(Arc::new(
            Publication::new(draft, at(epoch, offset)).behind(Epoch(previous)),
        ))
    }

    /// Whether the history continues from `known`, and whether it has lost `known`.
    fn judged(known: Position, entries: Vec<Entry>) -> (bool, bool) {
        match finish(Some(known), &[], Some(at(9, 0)), entries, false, 0) {
            Read::Done(snapshot, lost) => (snapshot.continues == Some(true), lost.is_some()),
            other => panic!("{other:?}"),
        }
    }

    const HOLDS: (bool, bool) = (true, false);
    const LOST: (bool, bool) = (false, true);
    const UNKNOWN: (bool, bool) = (false, false);

    #[test]
    fn what_goes_on_is_told_from_what_was_lost() {
        // The same epoch.
        assert_eq!(
            judged(at(1, 3), vec![entry(1, 5, 1), entry(1, 4, 1), entry(1, 3, 1)]),
            HOLDS
        );
        assert_eq!(judged(at(1, 3), vec![entry(1, 9, 1)]), HOLDS, "a gap, but one history");
        // Another epoch, without loss.
        assert_eq!(judged(at(1, 3), vec![entry(2, 4, 1)]), HOLDS);
        assert_eq!(
            judged(at(1, 3), vec![entry(2, 6, 2), entry(2, 5, 1), entry(1, 4, 1)]),
            HOLDS
        );
        assert_eq!(judged(at(1, 3), vec![entry(1, 3, 1)]), HOLDS);
        // A rollback, before and after a new publication.
        assert_eq!(judged(at(1, 3), vec![entry(1, 2, 1)]), LOST);
        assert_eq!(judged(at(1, 3), vec![entry(2, 3, 1), entry(1, 2, 1)]), LOST);
        assert_eq!(
            judged(at(1, 3), vec![entry(2, 4, 2), entry(2, 3, 1), entry(1, 2, 1)]),
            LOST
        );
        assert_eq!(judged(at(2, 3), vec![entry(1, 2, 1)]), LOST, "a whole epoch was lost");
        assert_eq!(judged(at(1, 3), vec![]), LOST, "everything was lost");
        assert_eq!(
            judged(at(1, 3), vec![entry(2, 1, 0)]),
            LOST,
            "everything was lost, and the channel began anew"
        );
        // Already marked.
        let mark = || Entry::Mark(at(3, 2));
        assert_eq!(judged(at(1, 3), vec![mark(), entry(1, 2, 1)]), UNKNOWN);
        assert_eq!(
            judged(at(1, 1), vec![entry(3, 3, 3), mark(), entry(1, 2, 1), entry(1, 1, 1)]),
            UNKNOWN
        );
        assert_eq!(judged(at(3, 2), vec![entry(3, 3, 3), mark()]), HOLDS);
        // Too long ago.
        assert_eq!(judged(at(1, 3), vec![entry(2, 9, 2)]), UNKNOWN);
    }

    /// An acknowledged position counts as known even if its publication has not arrived yet.
    #[test]
    fn what_was_acknowledged_is_missed_too() {
        let lost = |entries| match finish(Some(at(1, 2)), &[at(1, 3)], None, entries, false, 0) {
            Read::Done(snapshot, lost) => (snapshot.continues == Some(true), lost.is_some()),
            other => panic!("{other:?}"),
        };
        assert_eq!(lost(vec![entry(1, 2, 1)]), (true, true));
        assert_eq!(lost(vec![entry(1, 3, 1), entry(1, 2, 1)]), HOLDS);
    }

    #[test]
    fn a_channel_that_was_not_there_may_begin() {
        assert_eq!(judged(at(5, 0), vec![entry(6, 2, 6), entry(6, 1, 0)]), HOLDS);
        assert_eq!(judged(at(5, 0), vec![]), HOLDS);
        assert_eq!(judged(at(5, 0), vec![entry(6, 9, 6)]), UNKNOWN);
    }

    #[test]
    fn pages_are_read_up_to_what_is_kept() {
        let mut reading = Reading::new(None, Vec::new(), KEEP, 3);
        let page = |entries, more| Page {
            empty: None,
            entries,
            more,
        };
        let read = reading.take(page(vec![entry(1, 5, 1), entry(1, 4, 1)], true));
        assert!(matches!(read, Read::More), "{read:?}");
        let range = reading.range();
        assert_eq!((range.before, range.publications), (Some(at(1, 4)), 98));
        let Read::Done(snapshot, None) = reading.take(page(vec![entry(1, 3, 1), entry(1, 1, 1)], false)) else {
            panic!("no further reading is expected");
        };
        let offsets: Vec<u64> = snapshot
            .publications
            .iter()
            .map(|publication| publication.offset())
            .collect();
        assert_eq!((offsets, snapshot.round), (vec![3, 4, 5], 3), "the offsets have no gap");
    }
}
