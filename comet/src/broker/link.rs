//! The link to a broker by our own codec, on any driver.

use std::sync::Arc;

use proto_resp::{Caller, ClientError, Misuse, Push, Requester, Unanswered, Value};
use protocol::{Reason, Sender};

use super::order::{Command, Dialect, Order, Ticket};
use super::upstream::{Link, Upstream};

/// Speaks a dialect on one connection.
pub(crate) struct Speaker<D> {
    dialect: D,
    upstream: Arc<Upstream>,
}

impl<D: Dialect> Speaker<D> {
    pub(crate) fn new(dialect: D, upstream: Arc<Upstream>) -> Self {
        Speaker { dialect, upstream }
    }
}

type Out<'a, 'c> = Requester<'a, 'c, Ticket>;

fn send(commands: Vec<Command>, out: &mut Out<'_, '_>) -> Result<(), Misuse> {
    for (arguments, ticket) in commands {
        match out.command(ticket, &arguments[..]) {
            // With the ticket, those who wait are told.
            Err(Misuse::Outstanding) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

impl<D: Dialect> Caller for Speaker<D> {
    type Message = Order;
    type Ticket = Ticket;

    fn ready(&mut self, _: Value, out: &mut Out<'_, '_>) -> Result<(), Misuse> {
        let wanted = self.upstream.is_up();
        send(self.dialect.ready(&wanted), out)
    }

    fn reply(&mut self, ticket: Ticket, reply: Value, _: &mut Out<'_, '_>) -> Result<(), Misuse> {
        self.upstream.note(self.dialect.reply(ticket, &reply));
        Ok(())
    }

    fn push(&mut self, push: Push, _: &mut Out<'_, '_>) -> Result<(), Misuse> {
        self.upstream.note(self.dialect.push(push.kind(), push.data()));
        Ok(())
    }

    fn message(&mut self, order: Order, out: &mut Out<'_, '_>) -> Result<(), Misuse> {
        if !out.is_ready() {
            return Ok(());
        }
        send(self.dialect.order(order), out)
    }

    fn closed(&mut self, error: Option<ClientError>, reason: Reason, _: Unanswered<'_, Ticket>) {
        let why = match (error, reason) {
            (Some(error), _) => Err(error.to_string()),
            // In order, as when this side stops.
            (None, Reason::Closed | Reason::Stopped) => Ok(()),
            (None, reason) => Err(reason.to_string()),
        };
        self.upstream.note(why);
        self.upstream.is_down();
    }
}

impl Link for Sender<Order> {
    fn send(&self, order: Order) {
        // One that does not fit is dropped, which those who wait learn.
        let _ = Sender::send(self, order);
    }
}
