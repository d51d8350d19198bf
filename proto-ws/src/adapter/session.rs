//! The common part of both adapters: the clock, the message kept for a slow consumer, and the calls of the handler.

use alloc::boxed::Box;
use core::time::Duration;
use std::time::Instant;

use protocol::{Cx, Input, Intent};

use super::{Handler, ServerError, Socket};
use crate::close::State;
use crate::{CloseCode, Connection, Event, Misuse, PreparedMessage, Reader, Role, Side, Violation, Writer};

/// A time as milliseconds since a session's base.
pub(super) type Ticks = u32;

/// Marks an unset time.
const NEVER: Ticks = Ticks::MAX;

/// The interval at which the peer's budget of control frames is refilled, in milliseconds.
const WINDOW: Ticks = 60_000;

/// The prefix of a keep-alive Ping's payload, in front of its time.
const PING: [u8; 4] = *b"rtt ";

/// A connection as its handler's [`Socket`] sees it.
#[derive(Debug)]
pub(super) struct Session<S> {
    pub(super) writer: Writer<S>,
    /// The message to send when the output of a slow consumer has drained.
    pub(super) latest: Option<Box<PreparedMessage>>,
    /// The time at which the connection opened; `None` before.
    base: Option<Instant>,
    /// The time of the last input.
    heard: Ticks,
    /// The time at which our keep-alive Ping or our Close frame was sent.
    since: Ticks,
    /// The time at which the current message began.
    message: Ticks,
    /// The time at which the budget of control frames was last refilled.
    window: Ticks,
    /// The number of messages dropped because the peer was slow.
    pub(super) dropped: u32,
    /// A keep-alive Ping was sent, and no input has arrived since.
    pinged: bool,
    /// The handler was told that the connection is over.
    told: bool,
}

impl<S: Side> Session<S> {
    /// Makes a session and its reader. The clock starts with [`open`](Self::open).
    pub(super) fn new(connection: Connection<S>) -> (Self, Reader) {
        let Connection { reader, writer } = connection;
        let session = Session {
            writer,
            latest: None,
            base: None,
            heard: 0,
            since: 0,
            message: NEVER,
            window: 0,
            dropped: 0,
            pinged: false,
            told: false,
        };
        (session, reader)
    }

    /// The connection is open.
    pub(super) fn open<H: Handler<S>>(&mut self, cx: &mut Cx<'_>, handler: &mut H) -> Result<(), ServerError> {
        self.base = Some(cx.now());
        let result = handler.opened(&mut Socket::new(self, cx));
        self.judge(result, cx, handler)
    }

    /// Passes the messages in `input` to the handler, until the output is congested.
    #[inline]
    pub(super) fn received<H: Handler<S>>(
        &mut self,
        reader: &mut Reader,
        cx: &mut Cx<'_>,
        input: &mut Input<'_>,
        handler: &mut H,
    ) -> Result<(), ServerError> {
        self.hear(cx.now());
        let mut rest = input.as_mut_slice();
        let len = rest.len();
        let outcome = loop {
            // A client goes on reading even if congested, because its server may have stopped reading until the client does.
            if (S::ROLE == Role::Server && cx.is_congested()) || cx.paused() || cx.intent() != Intent::Continue {
                break Ok(());
            }
            match reader.next(&mut self.writer, &mut rest, cx.output().tail()) {
                Ok(Some(event)) => {
                    if let Err(misuse) = self.dispatch(cx, handler, event)
                        && let Err(error) = self.misused(misuse, cx, handler)
                    {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(violation) => break Err(self.failed(violation, handler)),
            }
        };
        let used = len - rest.len();
        input.consume(used);
        if reader.is_inside_message() {
            if self.message == NEVER {
                self.message = self.ticks(cx.now());
            }
        } else {
            self.message = NEVER;
        }
        outcome
    }

    #[inline]
    fn dispatch<H: Handler<S>>(&mut self, cx: &mut Cx<'_>, handler: &mut H, event: Event<'_>) -> Result<(), Misuse> {
        match event {
            Event::Message(message) => {
                self.message = NEVER;
                handler.message(message, &mut Socket::new(self, cx))
            }
            Event::Part { part, last } => {
                if last {
                    self.message = NEVER;
                }
                handler.part(part, last, &mut Socket::new(self, cx))
            }
            Event::Pong(payload) => {
                let round_trip = self.round_trip(cx.now(), payload);
                handler.pong(payload, round_trip, &mut Socket::new(self, cx))
            }
            Event::Close(reason) => {
                self.since = self.ticks(cx.now());
                self.tell(handler, reason.code, reason.reason);
                // The server ends the stream first (RFC 6455 section 7.1.1).
                if S::ROLE == Role::Server {
                    cx.close();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The peer has half-closed.
    pub(super) fn eof<H: Handler<S>>(&mut self, cx: &mut Cx<'_>, handler: &mut H) {
        self.writer.end();
        self.tell(handler, CloseCode::ABNORMAL, "");
        cx.close();
    }

    /// The time at which to call [`timeout`](Self::timeout).
    #[inline]
    pub(super) fn deadline(&self) -> Option<Instant> {
        let config = self.writer.config();
        if self.writer.state() != State::Open {
            return self.after(self.since, config.close_timeout);
        }
        let alive = if self.pinged {
            self.after(self.since, config.pong_timeout)
        } else {
            config
                .ping_interval
                .and_then(|interval| self.after(self.heard, interval))
        };
        if self.message == NEVER {
            return alive;
        }
        let message = self.after(self.message, config.message_timeout);
        alive.into_iter().chain(message).min()
    }

    /// A deadline has passed; checks all of them.
    pub(super) fn timeout<H: Handler<S>>(&mut self, cx: &mut Cx<'_>, handler: &mut H) -> Result<(), ServerError> {
        let now = cx.now();
        let config = self.writer.config();
        if self.writer.state() != State::Open {
            if self.is_over(now, self.since, config.close_timeout) {
                self.writer.end();
                self.tell(handler, CloseCode::ABNORMAL, Violation::CloseTimeout.as_str());
                cx.abort();
            }
        } else if self.message != NEVER && self.is_over(now, self.message, config.message_timeout) {
            return Err(self.fail(cx, Violation::MessageTimeout, handler));
        } else if self.pinged {
            if self.is_over(now, self.since, config.pong_timeout) {
                return Err(self.fail(cx, Violation::PongTimeout, handler));
            }
        } else if config
            .ping_interval
            .is_some_and(|interval| self.is_over(now, self.heard, interval))
        {
            self.ping(cx);
        }
        Ok(())
    }

    /// Another thread has posted a message.
    #[inline]
    pub(super) fn posted<H: Handler<S>>(
        &mut self,
        cx: &mut Cx<'_>,
        handler: &mut H,
        message: H::Message,
    ) -> Result<(), ServerError> {
        let result = handler.posted(message, &mut Socket::new(self, cx));
        self.judge(result, cx, handler)
    }

    /// The output has drained.
    pub(super) fn drained<H: Handler<S>>(&mut self, cx: &mut Cx<'_>, handler: &mut H) -> Result<(), ServerError> {
        let mut socket = Socket::new(self, cx);
        socket.send_latest();
        let result = handler.drained(&mut socket);
        self.judge(result, cx, handler)
    }

    /// The driver stops: sends a Close frame with 1001, which the peer must answer within [`Config::close_timeout`](crate::Config).
    pub(super) fn stop(&mut self, cx: &mut Cx<'_>) {
        // Fails only if a Close frame was already sent.
        let _ = Socket::new(self, cx).close(CloseCode::AWAY, "");
    }

    /// The connection has ended.
    pub(super) fn closed<H: Handler<S>>(&mut self, handler: &mut H) {
        self.writer.end();
        self.tell(handler, CloseCode::ABNORMAL, "");
    }

    /// Our Close frame was just written.
    pub(super) fn closing(&mut self, now: Instant) {
        self.since = self.ticks(now);
        self.latest = None;
    }

    fn fail<H: Handler<S>>(&mut self, cx: &mut Cx<'_>, violation: Violation, handler: &mut H) -> ServerError {
        self.writer.fail(violation, cx.output().tail());
        self.failed(violation, handler)
    }

    #[cold]
    fn failed<H: Handler<S>>(&mut self, violation: Violation, handler: &mut H) -> ServerError {
        self.tell(handler, violation.close_code(), violation.as_str());
        ServerError::Violation(violation)
    }

    #[inline]
    fn judge<H: Handler<S>>(
        &mut self,
        result: Result<(), Misuse>,
        cx: &mut Cx<'_>,
        handler: &mut H,
    ) -> Result<(), ServerError> {
        match result {
            Ok(()) => Ok(()),
            Err(misuse) => self.misused(misuse, cx, handler),
        }
    }

    /// Fails the connection because its handler returned an error. Does nothing if the connection is already closing, because then sending
    /// cannot succeed.
    #[cold]
    fn misused<H: Handler<S>>(&mut self, misuse: Misuse, cx: &mut Cx<'_>, handler: &mut H) -> Result<(), ServerError> {
        if self.writer.state() != State::Open {
            return Ok(());
        }
        // Cannot fail: the state is open, and the reason is short.
        let _ = Socket::new(self, cx).close(CloseCode::INTERNAL, "");
        self.tell(handler, CloseCode::INTERNAL, "");
        Err(ServerError::Misuse(misuse))
    }

    fn tell<H: Handler<S>>(&mut self, handler: &mut H, code: CloseCode, reason: &str) {
        if !core::mem::replace(&mut self.told, true) {
            self.latest = None;
            handler.closed(code, reason);
        }
    }

    /// Sends a Ping with its own time as payload, so that measuring the round trip needs no memory.
    fn ping(&mut self, cx: &mut Cx<'_>) {
        let mut payload = [0; 12];
        let since = self
            .base
            .map_or(Duration::ZERO, |base| cx.now().saturating_duration_since(base));
        let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let [a, b, c, d, time @ ..] = &mut payload;
        [*a, *b, *c, *d] = PING;
        *time = since.to_be_bytes();
        // Cannot fail: the payload is short, and the state is open.
        let _ = self.writer.ping(cx.output().tail(), &payload);
        self.since = self.ticks(cx.now());
        self.pinged = true;
    }

    fn round_trip(&self, now: Instant, payload: &[u8]) -> Option<Duration> {
        let time: [u8; 8] = payload.strip_prefix(&PING)?.try_into().ok()?;
        let sent = self.base?.checked_add(Duration::from_nanos(u64::from_be_bytes(time)))?;
        now.checked_duration_since(sent)
    }

    /// Input has arrived.
    #[inline]
    fn hear(&mut self, now: Instant) {
        self.heard = self.ticks(now);
        self.pinged = false;
        if self.heard.wrapping_sub(self.window) >= WINDOW {
            self.window = self.heard;
            self.writer.refill(u32::MAX);
        }
    }

    /// Milliseconds since the base. Moves the base before the number gets too large.
    #[inline]
    fn ticks(&mut self, now: Instant) -> Ticks {
        let since = self
            .base
            .map_or(Duration::ZERO, |base| now.saturating_duration_since(base))
            .as_millis();
        match Ticks::try_from(since) {
            Ok(ticks) if ticks < NEVER / 2 => ticks,
            _ => {
                self.base = Some(now);
                (self.heard, self.since, self.window) = (0, 0, 0);
                if self.message != NEVER {
                    self.message = 0;
                }
                0
            }
        }
    }

    /// The time `time` after `ticks`; `None` if the clock cannot express it, which means never.
    fn after(&self, ticks: Ticks, time: Duration) -> Option<Instant> {
        self.base?
            .checked_add(Duration::from_millis(u64::from(ticks)).checked_add(time)?)
    }

    fn is_over(&self, now: Instant, ticks: Ticks, time: Duration) -> bool {
        self.after(ticks, time).is_some_and(|deadline| now >= deadline)
    }
}
