//! The client as a reader of channels.

use super::dialect::{Closing, Dialect};
use super::wire::Wire;
use crate::app::App;
use crate::broker::Trouble;
use crate::channel::Name;
use crate::messages::{Code, Failure, Reply};
use crate::node::Reader;
use crate::publication::{Position, Publication};

/// The client, as a reader of channels.
pub(super) struct ToClient<'s, W> {
    pub(super) app: &'s App,
    pub(super) dialect: Dialect,
    /// The client's number.
    pub(super) number: u64,
    pub(super) out: &'s mut W,
    /// If the client takes deltas: whether it has the publication before.
    pub(super) delta: Option<&'s mut bool>,
}

/// Why a client is told no more of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The connection ends.
    Closed,
    /// The subscription ends, because its language cannot tell what happened. The client subscribes again, and learns it then.
    Again,
}

impl<W: Wire> ToClient<'_, W> {
    fn begin_anew(
        &mut self,
        channel: &Name,
        Position { epoch, offset }: Position,
        recovered: bool,
    ) -> Result<(), Stop> {
        if self.dialect != Dialect::Comet {
            return Err(Stop::Again);
        }
        let reset = Reply::Reset {
            channel,
            epoch,
            offset,
            recovered,
        };
        self.dialect.reply(self.out, &reset);
        Ok(())
    }

    fn joins_missed(&mut self, channel: &str) -> Result<(), Stop> {
        self.dialect.reply(self.out, &Reply::JoinsMissed { channel });
        Ok(())
    }
}

impl<W: Wire> Reader for ToClient<'_, W> {
    type Error = Stop;

    fn is_congested(&self) -> bool {
        self.out.is_congested()
    }

    fn publication(&mut self, publication: &Publication) -> Result<(), Stop> {
        let encoding = &self.app.node.config.encoding;
        let has_base = self
            .delta
            .as_deref_mut()
            .map(|has_base| core::mem::replace(has_base, true));
        self.out.publication(publication, self.dialect, encoding, has_base);
        Ok(())
    }

    fn missed(&mut self, channel: &Name, from: u64, to: u64) -> Result<(), Stop> {
        if let Some(channel) = channel.joined() {
            return self.joins_missed(channel);
        }
        if self.dialect != Dialect::Comet {
            return Err(Stop::Again);
        }
        self.app.node.counters.missed.add(to - from + 1);
        self.app.is_slow(self.number, channel, to - from + 1, false);
        self.dialect.reply(self.out, &Reply::Missed { channel, from, to });
        Ok(())
    }

    fn turned(&mut self, channel: &Name, position: Position) -> Result<(), Stop> {
        match channel.joined() {
            Some(_) => Ok(()),
            None => self.begin_anew(channel, position, true),
        }
    }

    fn reset(&mut self, channel: &Name, position: Position) -> Result<(), Stop> {
        match channel.joined() {
            Some(channel) => self.joins_missed(channel),
            None => self.begin_anew(channel, position, false),
        }
    }

    fn too_slow(&mut self, channel: &Name) -> Result<(), Stop> {
        self.app.is_slow(self.number, channel, 0, true);
        self.app.node.counters.too_slow.add(1);
        self.dialect.close(self.out, Closing::TooSlow);
        Err(Stop::Closed)
    }
}

pub(crate) fn failure(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Unavailable => Failure::new(Code::Unavailable, "the broker takes no requests now; try again later"),
        Trouble::Unknown => Failure::new(
            Code::Unknown,
            "the broker has not answered: whether this was done is not known",
        ),
        Trouble::TooManyChannels => Failure::new(Code::TooMany, "as many channels as there may be"),
    }
}
