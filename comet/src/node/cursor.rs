//! A reader's position in one channel.

use std::sync::Arc;

use protocol::Sender;

use super::feed::{Begin, Start};
use super::{Feed, Post};
use crate::channel::Name;
use crate::publication::{Epoch, Position, Publication};
use crate::rule::Slow;

/// Publications taken at once for a reader that catches up: it may not read them all.
const AT_ONCE: usize = 64;

/// A subscription: a position in a feed. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Cursor {
    feed: Arc<Feed>,
    key: u32,
    /// The tag of the channel's name. A client's subscriptions are sorted by it.
    tag: u16,
    stage: Stage,
    position: Position,
}

// The tag needs no memory: it fills padding.
const _: () = assert!(size_of::<Cursor>() == size_of::<Arc<Feed>>() + 8 + size_of::<Position>());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The feed has not begun.
    Waiting,
    /// Everything up to the position was read; new publications are delivered as they arrive.
    Live,
    /// The reader was too slow: it must fetch the publications after its position.
    Behind,
}

/// The reader: one client's connection.
pub(crate) trait Reader {
    /// Why the client cannot be told anything.
    type Error;
    /// Whether so much output waits that no more should be added.
    fn is_congested(&self) -> bool;
    /// The next publication.
    fn publication(&mut self, publication: &Publication) -> Result<(), Self::Error>;
    /// The publications between two offsets are lost.
    fn missed(&mut self, channel: &Name, from: u64, to: u64) -> Result<(), Self::Error>;
    /// The channel has a new epoch from here on, and nothing is missing.
    fn turned(&mut self, channel: &Name, position: Position) -> Result<(), Self::Error>;
    /// The channel has begun anew; its present publications follow `position`.
    fn reset(&mut self, channel: &Name, position: Position) -> Result<(), Self::Error>;
    /// The client is too slow for this channel.
    fn too_slow(&mut self, channel: &Name) -> Result<(), Self::Error>;
}

impl Cursor {
    /// Subscribes the connection of `sender` to `feed`. `None` if the feed is no longer in use.
    pub(super) fn enter(feed: Arc<Feed>, sender: Sender<Post>, number: u64, beats: bool) -> Option<Self> {
        let key = feed.enter(sender, number as u32, beats)?;
        Some(Cursor {
            tag: feed.name.tag(),
            feed,
            key,
            stage: Stage::Waiting,
            position: Position {
                epoch: Epoch(0),
                offset: 0,
            },
        })
    }

    pub(crate) fn channel(&self) -> &Name {
        &self.feed.name
    }

    pub(crate) fn tag(&self) -> u16 {
        self.tag
    }

    pub(crate) fn is_of(&self, feed: &Arc<Feed>) -> bool {
        Arc::ptr_eq(&self.feed, feed)
    }

    /// The position up to which the reader has everything; `None` if the feed has not begun.
    pub(crate) fn position(&self) -> Option<Position> {
        (!self.is_waiting()).then_some(self.position)
    }

    /// Whether the feed has not begun.
    pub(crate) fn is_waiting(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// The feed of this subscription.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Begins after `since`, or with the last `limit` publications. `round` is the number of the broker request for this reader, if one was
    /// made. Without `takes`, the answer contains no publications. Those after the start are delivered by [`drained`](Cursor::drained).
    pub(crate) fn start(&mut self, since: Option<Position>, limit: usize, round: Option<u64>, takes: bool) -> Begin {
        let begin = self.feed.start(self.key, since, limit, round, takes);
        if let Begin::Start(Start { position, more, .. }) = &begin {
            self.position = *position;
            self.stage = if *more { Stage::Behind } else { Stage::Live };
        }
        begin
    }

    /// A publication of this channel has arrived.
    pub(crate) fn receive<R: Reader>(&mut self, publication: &Publication, reader: &mut R) -> Result<(), R::Error> {
        let next = self.position.offset + 1;
        let is_same = publication.position.epoch == self.position.epoch;
        if self.stage != Stage::Live || is_same && publication.offset() < next {
            return Ok(());
        }
        if reader.is_congested() {
            self.stage = Stage::Behind;
            return match self.feed.rule().slow {
                Slow::Close => reader.too_slow(&self.feed.name),
                Slow::CatchUp | Slow::Skip => Ok(()),
            };
        }
        if publication.offset() != next || !is_same && !self.precedes(publication) {
            return self.catch_up(reader);
        }
        self.pass(publication, reader)
    }

    /// Whether the position is the predecessor that `publication`, of another epoch, names.
    fn precedes(&self, publication: &Publication) -> bool {
        let began = publication.previous == Epoch::NONE && self.position.is_start();
        publication.before() == self.position || began && self.position.epoch.0 < publication.position.epoch.0
    }

    /// Delivers the next publication.
    fn pass<R: Reader>(&mut self, publication: &Publication, reader: &mut R) -> Result<(), R::Error> {
        if publication.position.epoch != self.position.epoch {
            self.turn(publication.position.epoch, publication.offset() - 1, reader)?;
        }
        self.position = publication.position;
        reader.publication(publication)
    }

    fn turn<R: Reader>(&mut self, epoch: Epoch, offset: u64, reader: &mut R) -> Result<(), R::Error> {
        self.position = Position { epoch, offset };
        reader.turned(&self.feed.name, self.position)
    }

    /// Checks for publications whose notification was lost.
    pub(crate) fn look<R: Reader>(&mut self, reader: &mut R) -> Result<(), R::Error> {
        if self.stage == Stage::Live {
            self.stage = Stage::Behind;
        }
        self.drained(reader)
    }

    /// The reader can take more again.
    pub(crate) fn drained<R: Reader>(&mut self, reader: &mut R) -> Result<(), R::Error> {
        if self.stage == Stage::Behind && !reader.is_congested() {
            return self.catch_up(reader);
        }
        Ok(())
    }

    /// Delivers the publications after the position, as far as the reader takes them.
    fn catch_up<R: Reader>(&mut self, reader: &mut R) -> Result<(), R::Error> {
        let newest_only = self.feed.rule().slow == Slow::Skip;
        loop {
            let tail = self
                .feed
                .after(self.position, if newest_only { usize::MAX } else { AT_ONCE });
            let mut tail = match tail {
                Ok(tail) => tail,
                Err(start) => {
                    self.position = start;
                    reader.reset(&self.feed.name, start)?;
                    continue;
                }
            };
            if newest_only {
                tail.publications.drain(..tail.publications.len().saturating_sub(1));
            }
            let from = self.position.offset + 1;
            let first = tail
                .publications
                .first()
                .map_or(from + tail.missed, |first| first.offset());
            if first > from {
                self.position.offset = first - 1;
                reader.missed(&self.feed.name, from, first - 1)?;
            }
            for publication in &tail.publications {
                if reader.is_congested() {
                    self.stage = Stage::Behind;
                    return Ok(());
                }
                self.pass(publication, reader)?;
            }
            if !tail.more {
                if let Some(end) = tail.end.filter(|end| end.epoch != self.position.epoch) {
                    self.turn(end.epoch, end.offset, reader)?;
                }
                self.stage = Stage::Live;
                return Ok(());
            }
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.feed.leave(self.key);
    }
}
