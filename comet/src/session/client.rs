//! Messages to a client, and the client as a reader of channels.

use std::convert::Infallible;

use proto_ws::CloseCode;

use super::Out;
use crate::app::App;
use crate::broker::Trouble;
use crate::channel::Name;
use crate::messages::{Code, Failure, Id, Reply};
use crate::node::Reader;
use crate::publication::{Position, Publication};

/// The client, as a reader of channels.
pub(super) struct ToClient<'s, 'a, 'c> {
    app: &'s App,
    socket: &'s mut Out<'a, 'c>,
    /// Whether the client was too slow and is being disconnected.
    pub(super) closed: bool,
}

impl<'s, 'a, 'c> ToClient<'s, 'a, 'c> {
    pub(super) fn new(app: &'s App, socket: &'s mut Out<'a, 'c>) -> Self {
        ToClient {
            app,
            socket,
            closed: false,
        }
    }

    fn begin_anew(&mut self, channel: &Name, Position { epoch, offset }: Position, recovered: bool) {
        let reset = Reply::Reset {
            channel,
            epoch,
            offset,
            recovered,
        };
        reply(self.socket, &reset);
    }
}

impl Reader for ToClient<'_, '_, '_> {
    type Error = Infallible;

    fn is_congested(&self) -> bool {
        self.socket.is_congested()
    }

    fn publication(&mut self, publication: &Publication) -> Result<(), Infallible> {
        // Fails only while closing, when the client no longer listens.
        let _ = self
            .socket
            .prepared(publication.message(&self.app.node.config.encoding));
        Ok(())
    }

    fn missed(&mut self, channel: &Name, from: u64, to: u64) -> Result<(), Infallible> {
        if let Some(channel) = channel.joined() {
            reply(self.socket, &Reply::JoinsMissed { channel });
            return Ok(());
        }
        self.app.node.counters.missed.add(to - from + 1);
        reply(self.socket, &Reply::Missed { channel, from, to });
        Ok(())
    }

    fn turned(&mut self, channel: &Name, position: Position) -> Result<(), Infallible> {
        if channel.joined().is_some() {
            return Ok(());
        }
        self.begin_anew(channel, position, true);
        Ok(())
    }

    fn reset(&mut self, channel: &Name, position: Position) -> Result<(), Infallible> {
        if let Some(channel) = channel.joined() {
            reply(self.socket, &Reply::JoinsMissed { channel });
            return Ok(());
        }
        self.begin_anew(channel, position, false);
        Ok(())
    }

    fn too_slow(&mut self) -> Result<(), Infallible> {
        self.app.node.counters.too_slow.add(1);
        // Fails only while closing.
        let _ = self.socket.close(CloseCode::TRY_AGAIN, "too slow");
        self.closed = true;
        Ok(())
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

/// Fails only while closing, when the client no longer listens.
pub(super) fn reply(socket: &mut Out<'_, '_>, reply: &Reply<'_>) {
    let _ = socket.text(&reply.to_json());
}

pub(super) fn fail(socket: &mut Out<'_, '_>, id: &Id, Failure { code, reason }: Failure) {
    reply(socket, &Reply::Error { id, code, reason });
}
