//! The server's side of a connection, as a protocol for the drivers.

use std::sync::Arc;
use std::time::Instant;

use core::fmt;

use protocol::{Cx, Deadline, Input, Protocol, Reason, Switch, Upgrade};

use super::timer::passed;
use super::{Handler, Responder, ServerConfig, Timer};
use crate::state::State;
use crate::{Fields, Misuse, Request, ServerConnection, ServerEvent, Violation};

/// The response to a request for a resource that needs an upgrade, when the request asks for none.
const UNASKED: &str = "This resource speaks another protocol. A request for it has no content, is of HTTP/1.1, and says \
    \"Connection: Upgrade\" beside an Upgrade field (RFC 9110 section 7.8), or is a CONNECT.\n";

/// Serves HTTP/1.1 on one connection: reads requests, asks its [`Handler`] for answers, and handles everything else.
///
/// Runs on any driver.
#[derive(Debug)]
pub struct Server<H: Handler> {
    core: Core,
    handler: H,
}

/// The state of a server without its handler.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<ServerConfig>,
    pub(super) connection: ServerConnection,
    deadline: Deadline<Timer>,
    /// Bytes of an unwanted body that were read and dropped.
    dropped: u32,
    pub(super) paused_by_handler: bool,
    /// Pipelined requests wait in the input until the current answer is complete.
    held: bool,
    /// The server runs in a [`Switch`], so the connection can be upgraded.
    pub(super) can_switch: bool,
    /// A request was cut short: the handler learns this when the connection is closed.
    cut_short: bool,
}

/// Why a server's connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// The client broke the protocol.
    Violation(Violation),
    /// The handler used the [`Responder`] in a way that is not allowed.
    Misuse(Misuse),
    /// The client, or for [`Timer::Answer`] the handler, took too long.
    TimedOut(Timer),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Violation(violation) => violation.fmt(f),
            ServerError::Misuse(misuse) => write!(f, "the handler failed: {misuse}"),
            ServerError::TimedOut(timer) => write!(f, "timed out: {timer:?}"),
        }
    }
}

impl core::error::Error for ServerError {}

impl<H: Handler> Server<H> {
    /// A server for one connection whose handler never [upgrades](Responder::upgrade).
    pub fn new(config: Arc<ServerConfig>, handler: H) -> Self {
        Self {
            core: Core {
                config,
                connection: ServerConnection::new(),
                deadline: Deadline::new(Timer::FirstByte),
                dropped: 0,
                paused_by_handler: false,
                held: false,
                can_switch: false,
                cut_short: false,
            },
            handler,
        }
    }

    /// A server for one connection that becomes another protocol when its handler [upgrades](Responder::upgrade) or
    /// [tunnels](Responder::tunnel).
    pub fn switching(config: Arc<ServerConfig>, handler: H) -> Switch<Self> {
        let mut server = Self::new(config, handler);
        server.core.can_switch = true;
        Switch::new(server)
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Answers the requests in `rest`.
    #[inline(always)]
    fn serve(&mut self, cx: &mut Cx<'_>, rest: &mut &[u8]) -> Result<(), ServerError> {
        let mut requests = 0;
        loop {
            match self.core.connection.next(&self.core.config.rules, rest) {
                Ok(Some(ServerEvent::Request(ref request))) => {
                    requests += 1;
                    if requests >= self.core.config.pipelined {
                        self.core.connection.close_after();
                    }
                    self.request(cx, request)?;
                }
                Ok(Some(ServerEvent::Data(data))) => self.data(cx, data)?,
                Ok(Some(ServerEvent::End(trailers))) => {
                    if self.core.answering() {
                        self.call(cx, |handler, responder| handler.end(trailers, responder))?;
                    }
                    // The next head gets its own deadline.
                    passed(&mut self.core.deadline);
                }
                Ok(None | Some(ServerEvent::Paused)) => return Ok(()),
                Ok(Some(ServerEvent::Closed)) => {
                    cx.close();
                    return Ok(());
                }
                Err(violation) => return Err(self.refuse(cx, violation.status(), ServerError::Violation(violation))),
            }
            if self.core.connection.must_close() {
                cx.close();
                return Ok(());
            }
            if cx.is_congested() || self.core.body_paused() || (rest.is_empty() && self.core.connection.is_idle()) {
                return Ok(());
            }
        }
    }

    #[inline]
    fn request(&mut self, cx: &mut Cx<'_>, request: &Request<'_>) -> Result<(), ServerError> {
        passed(&mut self.core.deadline);
        self.core.dropped = 0;
        self.core.paused_by_handler = false;
        self.call(cx, |handler, responder| handler.request(request, responder))?;
        if self.core.answering() {
            if request.body().is_empty() {
                return self.call(cx, |handler, responder| handler.end(Fields::EMPTY, responder));
            }
            self.proceed(cx)?;
        }
        Ok(())
    }

    /// Sends the 100 that the client waits for, unless the handler does not want the body yet.
    fn proceed(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        let connection = &self.core.connection;
        if connection.can_respond() && !self.core.body_paused() && !connection.withholds_continue() {
            return self.call(cx, |_, responder| responder.proceed());
        }
        Ok(())
    }

    fn data(&mut self, cx: &mut Cx<'_>, data: &[u8]) -> Result<(), ServerError> {
        let timeouts = &self.core.config.timeouts;
        let (pause, rate) = (timeouts.body, timeouts.body_rate);
        self.core
            .deadline
            .prolong(cx.now(), Timer::Body, data.len(), pause, rate);
        if self.core.answering() {
            return self.call(cx, |handler, responder| handler.data(data, responder));
        }
        self.core.dropped = self
            .core
            .dropped
            .saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        if u64::from(self.core.dropped) > self.core.config.drain {
            self.core.connection.close_after();
        }
        Ok(())
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
            // The client is at fault: it gets an answer that says so, and the connection goes on.
            Err(Misuse::SwitchUnasked) if self.core.connection.can_respond() => {
                let text = &[("Content-Type", "text/plain")];
                let _ = Responder::new(&mut self.core, cx).send(400, text, UNASKED.as_bytes());
                Ok(())
            }
            Err(misuse) => Err(self.refuse(cx, 500, ServerError::Misuse(misuse))),
        }
    }

    /// Ends the connection. If no answer has begun, sends one with `status`; otherwise resets the connection, so that the client cannot
    /// take the answer for complete.
    #[cold]
    fn refuse(&mut self, cx: &mut Cx<'_>, status: u16, error: ServerError) -> ServerError {
        self.core.cut_short = self.core.answering();
        self.core.connection.close_after();
        if self.core.connection.can_respond() {
            // Cannot fail: the status is valid, and there are no fields.
            let _ = Responder::new(&mut self.core, cx).send(status, &(), b"");
        } else if self.core.connection.ends_by_close() {
            cx.abort();
        }
        self.core.deadline.disarm();
        error
    }

    /// Tells the handler the end of the request if all of its body was consumed before a pause: no input follows then that would show
    /// the end.
    #[cold]
    fn end_body(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        match self.core.connection.end_of_body(&self.core.config.rules) {
            Ok(Some(ServerEvent::End(trailers))) => {
                if self.core.answering() {
                    self.call(cx, |handler, responder| handler.end(trailers, responder))?;
                }
                passed(&mut self.core.deadline);
                if self.core.connection.must_close() {
                    cx.close();
                }
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(violation) => Err(self.refuse(cx, violation.status(), ServerError::Violation(violation))),
        }
    }

    /// Updates the connection after a call of the handler outside of `received`.
    fn settle(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        if self.core.connection.must_close() {
            cx.close();
            return Ok(());
        }
        if self.core.connection.request_state() == State::Body {
            self.proceed(cx)?;
            if !self.core.body_paused() && !cx.is_congested() && !self.core.held {
                self.end_body(cx)?;
            }
        }
        if self.core.held && !self.core.waiting() {
            self.core.held = false;
        }
        self.core.pause(cx);
        self.core.set_deadline(cx, false);
        Ok(())
    }
}

impl<H: Handler> Protocol for Server<H> {
    type Message = H::Message;
    type Error = ServerError;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        let first_byte = self.core.config.timeouts.first_byte;
        self.core.deadline.arm(cx.now(), Timer::FirstByte, first_byte);
        Ok(())
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ServerError> {
        let mut rest = input.as_slice();
        let result = self.serve(cx, &mut rest);
        let (left, used) = (rest.len(), input.len() - rest.len());
        input.consume(used);
        result?;
        if (left > 0 && self.core.waiting()) || self.core.body_paused() {
            self.core.held = left > 0 && self.core.waiting();
            self.core.pause(cx);
        }
        self.core.set_deadline(cx, left > 0);
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        // All requests have been read: the contract reports the end after the input.
        self.core.connection.eof();
        self.core.connection.close_after();
        match self.core.connection.request_state() {
            // The request is incomplete. An incomplete head has no handler; of an incomplete body, the handler is told.
            State::Body => match self.core.connection.next(&self.core.config.rules, &mut &[][..]) {
                Err(violation) => Err(self.refuse(cx, violation.status(), ServerError::Violation(violation))),
                Ok(_) => {
                    cx.close();
                    Ok(())
                }
            },
            // The answer to a complete request is still sent; then the connection closes.
            _ if self.core.answering() && self.core.config.half_closed => Ok(()),
            _ => {
                cx.close();
                Ok(())
            }
        }
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        self.core.deadline.at()
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        let timer = self.core.deadline.timer();
        let error = ServerError::TimedOut(timer);
        match timer {
            Timer::FirstByte | Timer::Idle => {
                self.core.deadline.disarm();
                cx.close();
                Ok(())
            }
            Timer::Head => {
                self.core.connection.give_up();
                Err(self.refuse(cx, 408, error))
            }
            Timer::Body => Err(self.refuse(cx, 408, error)),
            Timer::Answer => Err(self.refuse(cx, 503, error)),
        }
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        if self.core.answering() {
            self.call(cx, |handler, responder| handler.drained(responder))?;
        }
        self.settle(cx)
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: H::Message) -> Result<(), ServerError> {
        self.call(cx, |handler, responder| handler.posted(message, responder))?;
        self.settle(cx)
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.core.connection.close_after();
        if self.core.connection.is_idle() {
            if self.core.shorten(cx.now()) {
                cx.close();
            }
            return Ok(());
        }
        if self.core.answering() {
            self.call(cx, |handler, responder| handler.stop(responder))?;
            return self.settle(cx);
        }
        Ok(())
    }

    fn closed(&mut self, _: Reason) {
        let unanswered = self.core.cut_short || self.core.answering();
        self.handler.closed(unanswered);
    }
}

impl<H: Handler> Upgrade for Server<H> {
    type Next = H::Next;

    #[inline(always)]
    fn take_next(&mut self, cx: &mut Cx<'_>) -> Result<Option<H::Next>, Self::Error> {
        if self.core.connection.request_state() != State::Switched {
            return Ok(None);
        }
        match self.handler.switched() {
            Some(next) => Ok(Some(next)),
            None => {
                cx.abort();
                Err(ServerError::Misuse(Misuse::NoSuccessor))
            }
        }
    }
}

impl Core {
    /// Whether the handler's answer is missing or incomplete.
    #[inline]
    fn answering(&self) -> bool {
        matches!(self.connection.response_state(), State::Respond | State::Body)
    }

    /// Whether the handler has paused the body. After the answer, the rest of the body is dropped in any case.
    #[inline]
    fn body_paused(&self) -> bool {
        self.paused_by_handler && self.answering()
    }

    /// Whether the request is complete and its answer is not: later input has to wait.
    #[inline]
    fn waiting(&self) -> bool {
        self.answering() && self.connection.request_state() != State::Body
    }

    /// Before a whole answer is sent: keeps the connection only if little is left of the request (RFC 9112 section 9.3).
    #[inline]
    pub(super) fn before_whole_answer(&mut self) {
        if self.connection.request_state() == State::Body
            && self
                .connection
                .body_remaining()
                .is_some_and(|left| left > self.config.drain)
        {
            self.connection.close_after();
        }
    }

    /// Resets the connection, so that the client cannot take the answer for complete.
    pub(super) fn abort(&mut self, cx: &mut Cx<'_>) {
        if !self.answering() {
            return;
        }
        self.cut_short = true;
        self.connection.give_up();
        if self.connection.can_respond() || self.connection.ends_by_close() {
            cx.abort();
        } else {
            cx.close();
        }
    }

    /// Limits the wait for the next request to [`ServerTimeouts::stop`](super::ServerTimeouts::stop), counted from the start of the wait.
    /// Returns whether that time has already passed.
    fn shorten(&mut self, now: Instant) -> bool {
        let (timeouts, at) = (&self.config.timeouts, self.deadline.at());
        let timer = self.deadline.timer();
        let whole = match timer {
            Timer::FirstByte => timeouts.first_byte,
            Timer::Idle => timeouts.idle,
            // Part of a head has arrived.
            _ => return false,
        };
        let began = at.zip(whole).and_then(|(at, whole)| at.checked_sub(whole));
        let end = began.unwrap_or(now).checked_add(timeouts.stop);
        let at = at.into_iter().chain(end).min();
        self.deadline.set(timer, at);
        at.is_some_and(|end| end <= now)
    }

    fn pause(&self, cx: &mut Cx<'_>) {
        cx.pause(self.held || self.body_paused());
    }

    /// Sets the timer. `partial` says that part of a head has arrived.
    #[inline(always)]
    fn set_deadline(&mut self, cx: &Cx<'_>, partial: bool) {
        let (now, timeouts) = (cx.now(), &self.config.timeouts);
        match self.connection.request_state() {
            // Nothing is read now; the driver limits how long the client may refuse output.
            _ if cx.is_congested() => self.deadline.disarm(),
            State::Switched => self.deadline.disarm(),
            State::Idle if !partial => self.deadline.arm(now, Timer::Idle, timeouts.idle),
            // A head has one deadline, no matter in how many pieces it arrives.
            State::Idle => self.deadline.keep(now, Timer::Head, timeouts.head),
            State::Body if self.body_paused() || self.connection.withholds_continue() => {
                self.deadline.arm(now, Timer::Answer, timeouts.answer)
            }
            State::Body => self.deadline.keep(now, Timer::Body, timeouts.body),
            _ => self.deadline.arm(now, Timer::Answer, timeouts.answer),
        }
    }
}
