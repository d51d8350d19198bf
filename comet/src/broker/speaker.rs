//! One connection to a broker in another process, on any driver.

use std::sync::{Arc, OnceLock};

use proto_resp::{Caller, ClientError, Misuse, Push, Requester, Unanswered, Value};
use protocol::{Reason, Sender};

use super::dialect::{Refusal, Role, Ticket};
use super::upstream::{Link, Upstream};

/// Runs one connection: sends the requests of the [`Upstream`], within the limit of outstanding ones, and passes replies to it.
pub(crate) struct Speaker {
    upstream: Arc<Upstream>,
    role: Role,
    generation: u64,
    /// Replies to the first commands, until all have arrived.
    beginning: Vec<Value>,
    expected: usize,
    refusal: Option<Refusal>,
    /// The error of a layer beneath, such as TLS, if there was one.
    beneath: Arc<OnceLock<String>>,
}

/// A message to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// There are requests to send.
    Look,
    /// The connection is no longer needed.
    Close,
}

type Out<'a, 'c> = Requester<'a, 'c, Ticket>;

impl Speaker {
    pub(crate) fn new(upstream: Arc<Upstream>, role: Role, generation: u64) -> Self {
        Self::over(upstream, role, generation, Arc::default())
    }

    /// A connection over a layer that records its error in `beneath`.
    pub(crate) fn over(upstream: Arc<Upstream>, role: Role, generation: u64, beneath: Arc<OnceLock<String>>) -> Self {
        Speaker {
            beneath,
            upstream,
            role,
            generation,
            beginning: Vec::new(),
            expected: usize::MAX,
            refusal: None,
        }
    }

    fn is_begun(&self) -> bool {
        self.beginning.len() >= self.expected
    }

    /// Sends pending requests.
    fn send(&mut self, out: &mut Out<'_, '_>) -> Result<(), Misuse> {
        if !self.is_begun() {
            return Ok(());
        }
        while !out.is_congested()
            && let Some((words, ticket)) = self.upstream.next_command(self.role, out.outstanding())
        {
            out.command(ticket, &words[..])?;
        }
        Ok(())
    }

    fn begin(&mut self, replies: &[Value], out: &mut Out<'_, '_>) -> Result<(), Misuse> {
        let begun = self.upstream.dialect().begun(self.role, replies);
        match begun.and_then(|life| self.upstream.is_up(self.role, self.generation, life)) {
            Ok(()) => self.send(out),
            Err(refusal) => {
                self.refuse(refusal, out);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal, out: &mut Out<'_, '_>) {
        self.refusal = Some(refusal);
        out.abort();
    }
}

impl Caller for Speaker {
    type Message = Wake;
    type Ticket = Ticket;

    fn ready(&mut self, greeting: Value, out: &mut Out<'_, '_>) -> Result<(), Misuse> {
        let dialect = self.upstream.dialect();
        if let Err(refusal) = dialect.greeted(&greeting) {
            self.refuse(refusal, out);
            return Ok(());
        }
        let commands = dialect.begin(self.role);
        self.expected = commands.len();
        for words in commands {
            out.command(Ticket::Begin, &words[..])?;
        }
        if self.is_begun() {
            return self.begin(&[], out);
        }
        Ok(())
    }

    fn reply(&mut self, ticket: Ticket, reply: Value, out: &mut Out<'_, '_>) -> Result<(), Misuse> {
        if matches!(ticket, Ticket::Begin) {
            self.beginning.push(reply);
            if self.is_begun() {
                let replies = core::mem::take(&mut self.beginning);
                self.expected = 0;
                return self.begin(&replies, out);
            }
            return Ok(());
        }
        if self.upstream.replied(ticket, &reply) {
            out.abort();
            return Ok(());
        }
        self.send(out)
    }

    fn push(&mut self, push: Push, out: &mut Out<'_, '_>) -> Result<(), Misuse> {
        self.upstream.pushed(push.kind(), push.data());
        self.send(out)
    }

    fn drained(&mut self, out: &mut Out<'_, '_>) -> Result<(), Misuse> {
        self.send(out)
    }

    fn posted(&mut self, wake: Wake, out: &mut Out<'_, '_>) -> Result<(), Misuse> {
        match wake {
            Wake::Look => {
                self.upstream.looks(self.role);
                self.send(out)
            }
            Wake::Close => {
                out.abort();
                Ok(())
            }
        }
    }

    fn closed(&mut self, error: Option<ClientError>, reason: Reason, _: Unanswered<'_, Ticket>) {
        let refusal = self.refusal.take();
        let why = match (refusal, error, reason) {
            (Some(refusal), ..) => refusal,
            (None, Some(error), _) => Refusal::Now(error.to_string()),
            (None, None, reason) => {
                let beneath = self.beneath.get().cloned();
                Refusal::Now(beneath.unwrap_or_else(|| reason.to_string()))
            }
        };
        // The tickets are dropped with the connection, so that their owners learn that the result is unknown.
        self.upstream.is_down(self.role, self.generation, why);
    }
}

impl Link for Sender<Wake> {
    fn wake(&self, wake: Wake) {
        // If the mailbox is full, it already contains the same message.
        let _ = self.send(wake);
    }
}
