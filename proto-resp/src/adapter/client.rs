//! The client's side of a connection, as a protocol for the drivers.

use std::sync::Arc;
use std::time::Instant;

use core::fmt;

use bytes::Bytes;
use protocol::{Cx, Deadline, Input, Intent, Protocol, Reason};

use super::{Caller, ClientConfig, Requester, Timer, Unanswered};
use crate::{ClientConnection, ClientEvent, Misuse, Value, Violation};

/// An RESP connection to one server: performs the handshake, sends the commands of its [`Caller`], passes the replies to it, and sends PING
/// to detect a dead server.
#[derive(Debug)]
pub struct Client<H: Caller> {
    core: Core<H::Ticket>,
    caller: H,
}

/// The state of a client without its caller.
#[derive(Debug)]
pub(super) struct Core<T> {
    config: Arc<ClientConfig>,
    pub(super) connection: ClientConnection<T>,
    deadline: Deadline<Timer>,
    error: Option<Box<ClientError>>,
    pub(super) paused: bool,
    /// No more commands may be sent; the connection closes when all replies have arrived.
    pub(super) closing: bool,
}

/// Why a client's connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The server broke the protocol.
    Violation(Violation),
    /// The caller used the [`Requester`](super::Requester) in a way that is not allowed.
    Misuse(Misuse),
    /// The server took too long.
    TimedOut(Timer),
    /// The server refused the handshake, with this error.
    Refused(Bytes),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Violation(violation) => write!(f, "the server sent {violation}"),
            ClientError::Misuse(misuse) => write!(f, "the caller failed: {misuse}"),
            ClientError::TimedOut(timer) => write!(f, "timed out: {timer:?}"),
            ClientError::Refused(error) => write!(f, "the server refused the connection: {}", error.escape_ascii()),
        }
    }
}

impl core::error::Error for ClientError {}

impl<H: Caller> Client<H> {
    /// A client of one connection.
    pub fn new(config: Arc<ClientConfig>, caller: H) -> Self {
        Self {
            core: Core {
                connection: ClientConnection::new(config.rules),
                config,
                deadline: Deadline::new(Timer::Handshake),
                error: None,
                paused: false,
                closing: false,
            },
            caller,
        }
    }

    /// The caller.
    pub fn caller(&self) -> &H {
        &self.caller
    }

    #[inline]
    fn call(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut H, &mut Requester<'_, '_, H::Ticket>) -> Result<(), Misuse>,
    ) -> Result<(), ClientError> {
        call(&mut self.caller, &mut Requester::new(&mut self.core, cx))
            .map_err(|misuse| self.core.fail(ClientError::Misuse(misuse)))
    }

    /// Handles all of `rest`. Returns whether a reply arrived or the handshake ended.
    #[inline]
    fn read(&mut self, cx: &mut Cx<'_>, rest: &mut &[u8]) -> Result<bool, ClientError> {
        let mut replied = false;
        loop {
            if self.core.paused || cx.intent() != Intent::Continue {
                return Ok(replied);
            }
            let event = self.core.connection.next(rest, cx.output().tail());
            match event.map_err(|violation| self.core.fail(ClientError::Violation(violation)))? {
                Some(ClientEvent::Reply(ticket, reply)) => {
                    replied = true;
                    self.call(cx, |caller, requester| caller.reply(ticket, reply, requester))?;
                }
                Some(ClientEvent::Push(push)) => self.call(cx, |caller, requester| caller.push(push, requester))?,
                Some(ClientEvent::Ready(greeting)) => {
                    replied = true;
                    self.call(cx, |caller, requester| caller.ready(greeting, requester))?;
                }
                Some(ClientEvent::Refused(error)) => {
                    let text = error.as_error().map(|error| Bytes::copy_from_slice(error.text()));
                    return Err(self.core.fail(ClientError::Refused(text.unwrap_or_default())));
                }
                None => return Ok(replied),
            }
        }
    }

    /// After a call of the caller: decides whether the connection closes, and sets its deadline. `heard` says that input has arrived,
    /// `progress` that the input was part of a reply.
    fn settle(&mut self, cx: &mut Cx<'_>, heard: bool, progress: bool) {
        let core = &mut self.core;
        cx.pause(core.paused);
        if core.closing && core.connection.outstanding() == 0 {
            cx.close();
            return;
        }
        let (now, timeouts) = (cx.now(), &core.config.timeouts);
        let deadline = &mut core.deadline;
        if core.paused || cx.is_congested() {
            // Nothing is read now; the driver limits how long the server may refuse output.
            deadline.disarm();
        } else if !core.connection.is_ready() {
            deadline.keep(now, Timer::Handshake, timeouts.handshake);
        } else if core.connection.outstanding() == 0 {
            if heard {
                deadline.arm(now, Timer::Idle, timeouts.ping);
            } else {
                deadline.keep(now, Timer::Idle, timeouts.ping);
            }
        } else if core.connection.is_ping_first() {
            deadline.keep(now, Timer::Pong, timeouts.pong);
        } else if progress {
            deadline.arm(now, Timer::Reply, timeouts.reply);
        } else {
            deadline.keep(now, Timer::Reply, timeouts.reply);
        }
    }
}

impl<T> Core<T> {
    #[cold]
    fn fail(&mut self, error: ClientError) -> ClientError {
        self.deadline.disarm();
        self.error = Some(Box::new(error.clone()));
        error
    }
}

impl<H: Caller> Protocol for Client<H> {
    type Message = H::Message;
    type Error = ClientError;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        let Core { config, connection, .. } = &mut self.core;
        if let Err(misuse) = connection.hello(&config.hello, cx.output().tail()) {
            return Err(self.core.fail(ClientError::Misuse(misuse)));
        }
        if self.core.connection.is_ready() {
            self.call(cx, |caller, requester| caller.ready(Value::Null, requester))?;
        }
        self.settle(cx, true, true);
        Ok(())
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ClientError> {
        let mut rest = input.as_slice();
        let result = self.read(cx, &mut rest);
        let used = input.len() - rest.len();
        input.consume(used);
        let replied = result?;
        self.settle(cx, true, replied || self.core.connection.is_inside_value());
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.core.deadline.at()
    }

    /// Always true: a server may stop reading until its replies are read.
    fn keeps_reading(&self) -> bool {
        true
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        let timer = self.core.deadline.timer();
        if timer == Timer::Idle {
            if let Err(misuse) = self.core.connection.ping(cx.output().tail()) {
                return Err(self.core.fail(ClientError::Misuse(misuse)));
            }
            self.settle(cx, false, true);
            return Ok(());
        }
        // No further output for this server is useful.
        cx.abort();
        Err(self.core.fail(ClientError::TimedOut(timer)))
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        self.call(cx, Caller::drained)?;
        self.settle(cx, false, true);
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: H::Message) -> Result<(), ClientError> {
        self.call(cx, |caller, requester| caller.posted(message, requester))?;
        self.settle(cx, false, false);
        Ok(())
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        self.core.closing = true;
        self.settle(cx, false, false);
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        let error = self.core.error.take().map(|error| *error);
        let connection = &mut self.core.connection;
        self.caller.closed(error, reason, Unanswered { connection });
    }
}
