//! The server's side of a connection, as a protocol for the drivers.

use std::sync::Arc;
use std::time::Instant;

use core::fmt;

use protocol::{Cx, Deadline, Input, Intent, Protocol, Reason};

use super::greet::{self, Greeting};
use super::{Handler, Responder, ServerConfig, Timer};
use crate::{Command, CommandReader, Limits, Misuse, ReplyWriter, Rules, ServerConnection, Version, Violation};

/// Serves RESP on one connection: reads commands, asks its [`Handler`] for replies, and handles everything else.
#[derive(Debug)]
pub struct Server<H> {
    core: Core,
    handler: H,
}

/// The state of a server without its handler.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<ServerConfig>,
    pub(super) connection: ServerConnection,
    deadline: Deadline<Timer>,
    pub(super) authenticated: bool,
    /// No more commands are read; the connection closes when the current reply is complete.
    pub(super) closing: bool,
    /// Commands wait in the input until the current reply is complete, or until the output has drained.
    held: bool,
    /// The client has half-closed: the connection closes when all its commands are answered.
    ended: bool,
}

/// Why a server's connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// The client broke the protocol.
    Violation(Violation),
    /// The handler used the [`Responder`](super::Responder) in a way that is not allowed.
    Misuse(Misuse),
    /// The client, or for [`Timer::Answer`] the handler, took too long.
    TimedOut(Timer),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Violation(violation) => write!(f, "the client sent {violation}"),
            ServerError::Misuse(misuse) => write!(f, "the handler failed: {misuse}"),
            ServerError::TimedOut(timer) => write!(f, "timed out: {timer:?}"),
        }
    }
}

impl core::error::Error for ServerError {}

/// Limits of arguments and bytes for commands of clients that have not authenticated.
const STRANGERS: (u32, u32) = (16, 4096);

impl<H: Handler> Server<H> {
    /// A server of one connection.
    pub fn new(config: Arc<ServerConfig>, handler: H) -> Self {
        Self {
            core: Core {
                config,
                connection: ServerConnection::new(),
                deadline: Deadline::new(Timer::Idle),
                authenticated: false,
                closing: false,
                held: false,
                ended: false,
            },
            handler,
        }
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Answers the commands in `rest`. Returns whether there was a complete command.
    #[inline]
    fn serve(&mut self, cx: &mut Cx<'_>, rest: &mut &[u8]) -> Result<bool, ServerError> {
        // The reader lends commands, so it leaves the core meanwhile.
        let mut reader = core::mem::take(&mut self.core.connection.reader);
        let result = self.serve_from(&mut reader, cx, rest);
        self.core.connection.reader = reader;
        result
    }

    #[inline]
    fn serve_from(
        &mut self,
        reader: &mut CommandReader,
        cx: &mut Cx<'_>,
        rest: &mut &[u8],
    ) -> Result<bool, ServerError> {
        let mut served = false;
        let mut strangers = None;
        loop {
            if self.core.closing || cx.is_congested() || cx.intent() != Intent::Continue {
                return Ok(served);
            }
            let rules = if self.core.is_strange() {
                &*strangers.insert(self.core.strangers_rules())
            } else {
                &self.core.config.rules
            };
            match reader.next(&mut self.core.connection.writer, rules, rest) {
                Ok(Some(command)) => {
                    served = true;
                    self.command(cx, &command)?;
                }
                Ok(None) => return Ok(served),
                Err(violation) => {
                    let text = format!("ERR Protocol error: {violation}");
                    return Err(self.refuse(cx, &text, ServerError::Violation(violation)));
                }
            }
        }
    }

    #[inline]
    fn command(&mut self, cx: &mut Cx<'_>, command: &Command<'_>) -> Result<(), ServerError> {
        match command.name().len() {
            5 if command.is("HELLO") => self.greet(cx, command, greet::hello(command), true),
            4 if command.is("AUTH") => self.greet(cx, command, greet::auth(command), false),
            _ if self.core.is_strange() => self.reply(cx, |writer, cx| {
                writer.error("NOAUTH Authentication required.", cx.output().tail())
            }),
            _ => self.call(cx, |handler, responder| handler.command(command, responder)),
        }
    }

    /// Answers HELLO or AUTH.
    #[cold]
    fn greet(
        &mut self,
        cx: &mut Cx<'_>,
        command: &Command<'_>,
        greeting: Result<Greeting<'_>, &'static str>,
        hello: bool,
    ) -> Result<(), ServerError> {
        let error = match greeting {
            Err(error) => Some(error),
            Ok(Greeting { credentials, .. }) => match credentials {
                Some((username, password)) if self.handler.authenticate(username, password) => {
                    self.core.authenticated = true;
                    None
                }
                Some(_) => Some("WRONGPASS invalid username-password pair or user is disabled."),
                None if self.core.is_strange() => {
                    Some("NOAUTH HELLO must be called with the client already authenticated.")
                }
                None => None,
            },
        };
        let version = greeting.ok().and_then(|greeting| greeting.version);
        let (server, software) = (self.core.config.server, self.core.config.version);
        let _ = command;
        self.reply(cx, |writer, cx| {
            let out = cx.output().tail();
            if let Some(error) = error {
                return writer.error(error, out);
            } else if !hello {
                return writer.simple("OK", out);
            }
            if let Some(version) = version {
                writer.set_version(version);
            }
            let proto = if writer.version() == Version::Resp3 { 3 } else { 2 };
            writer.map(6, out)?;
            for (key, value) in [("server", server), ("version", software)] {
                writer.bulk(key.as_bytes(), out)?;
                writer.bulk(value.as_bytes(), out)?;
            }
            writer.bulk(b"proto", out)?;
            writer.integer(proto, out)?;
            for (key, value) in [("mode", "standalone"), ("role", "master")] {
                writer.bulk(key.as_bytes(), out)?;
                writer.bulk(value.as_bytes(), out)?;
            }
            writer.bulk(b"modules", out)?;
            writer.array(0, out)
        })
    }

    /// Replies on behalf of the handler.
    fn reply(
        &mut self,
        cx: &mut Cx<'_>,
        reply: impl FnOnce(&mut ReplyWriter, &mut Cx<'_>) -> Result<(), Misuse>,
    ) -> Result<(), ServerError> {
        reply(&mut self.core.connection.writer, cx).map_err(ServerError::Misuse)
    }

    /// Calls the handler. If the handler fails, answers in its place.
    #[inline]
    fn call(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut H, &mut Responder<'_, '_>) -> Result<(), Misuse>,
    ) -> Result<(), ServerError> {
        match call(&mut self.handler, &mut Responder::new(&mut self.core, cx)) {
            Ok(()) => Ok(()),
            Err(misuse) => Err(self.refuse(cx, "ERR internal error", ServerError::Misuse(misuse))),
        }
    }

    /// Ends the connection. If no reply has begun, sends an error; otherwise resets the connection, so that the client cannot take the
    /// reply for complete.
    #[cold]
    fn refuse(&mut self, cx: &mut Cx<'_>, text: &str, error: ServerError) -> ServerError {
        let writer = &mut self.core.connection.writer;
        if writer.is_open() {
            cx.abort();
        } else {
            // A protocol error is answered although no command waits for a reply.
            writer.due = true;
            // Cannot fail: the texts have no line breaks.
            let _ = writer.error(text, cx.output().tail());
        }
        self.core.deadline.disarm();
        error
    }

    /// Updates the connection after a call of the handler outside of `received`, or after all input was handled. `active` says that
    /// something was received or sent, `partial` that part of a command has arrived.
    fn settle(&mut self, cx: &mut Cx<'_>, active: bool, partial: bool) {
        let core = &mut self.core;
        let due = core.connection.writer.is_due();
        if !due && (core.closing || (core.ended && !core.held)) {
            cx.close();
            return;
        }
        cx.pause(core.held && due);
        let (now, timeouts) = (cx.now(), &core.config.timeouts);
        if cx.is_congested() {
            // Nothing is read now; the driver limits how long the client may refuse output.
            core.deadline.disarm();
        } else if due {
            if active {
                core.deadline.arm(now, Timer::Answer, timeouts.answer);
            } else {
                core.deadline.keep(now, Timer::Answer, timeouts.answer);
            }
        } else if partial {
            // A command has one deadline, no matter in how many pieces it arrives.
            core.deadline.keep(now, Timer::Command, timeouts.command);
        } else if active {
            core.deadline.arm(now, Timer::Idle, timeouts.idle);
        } else {
            core.deadline.keep(now, Timer::Idle, timeouts.idle);
        }
    }
}

impl Core {
    /// Whether the client must still authenticate.
    #[inline]
    fn is_strange(&self) -> bool {
        self.config.authentication && !self.authenticated
    }

    #[cold]
    fn strangers_rules(&self) -> Rules {
        let limits = self.config.rules.limits;
        Rules {
            limits: Limits {
                arguments: limits.arguments.min(STRANGERS.0),
                command: limits.command.min(STRANGERS.1),
                ..limits
            },
            ..self.config.rules
        }
    }
}

impl<H: Handler> Protocol for Server<H> {
    type Message = H::Message;
    type Error = ServerError;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.settle(cx, true, false);
        Ok(())
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ServerError> {
        let mut rest = input.as_slice();
        let len = rest.len();
        let result = self.serve(cx, &mut rest);
        let left = rest.len();
        input.consume(len - left);
        let served = result?;
        self.core.held = left > 0 && (cx.is_congested() || self.core.connection.writer.is_due());
        let partial = left > 0 || self.core.connection.reader.is_inside_command();
        if served && self.core.deadline.timer() == Timer::Command {
            // The previous command is complete; the remaining bytes belong to another one.
            self.core.deadline.disarm();
        }
        self.settle(cx, true, partial);
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        // Complete commands are still answered; an incomplete one is dropped.
        self.core.ended = true;
        self.settle(cx, false, false);
        Ok(())
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        self.core.deadline.at()
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        let timer = self.core.deadline.timer();
        let error = ServerError::TimedOut(timer);
        match timer {
            Timer::Command => Err(self.refuse(cx, "ERR the command did not end in time", error)),
            Timer::Answer => Err(self.refuse(cx, "ERR no reply in time", error)),
            _ => {
                self.core.deadline.disarm();
                cx.close();
                Ok(())
            }
        }
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.call(cx, Handler::drained)?;
        self.settle(cx, true, self.core.connection.reader.is_inside_command());
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: H::Message) -> Result<(), ServerError> {
        let before = cx.output().len();
        self.call(cx, |handler, responder| handler.posted(message, responder))?;
        let sent = cx.output().len() > before;
        self.settle(cx, sent, self.core.connection.reader.is_inside_command());
        Ok(())
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.core.closing = true;
        self.settle(cx, false, false);
        Ok(())
    }

    fn closed(&mut self, _: Reason) {
        self.handler.closed(self.core.connection.writer.is_due());
    }
}
