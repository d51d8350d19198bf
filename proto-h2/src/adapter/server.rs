//! The server's side of a connection, as a protocol for the drivers.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto_http::{Fields, Handler, Request};

use protocol::{Cx, Deadline, Input, Peer, Protocol, Reason};

use super::origin::{Origin, StreamMessage};
use super::slot::{Core, Owner, Slot, Wait, close};
use super::{ServerConfig, with_scratch};
use crate::{ErrorCode, Scratch, ServerEvent, Violation};

/// Serves HTTP/2 on one connection: reads requests, and sends the answers of each stream's [`Handler`].
///
/// `F` makes a handler for each stream, as a driver's factory makes one for each connection: `Fn(&Peer<'_, H::Message>) -> Option<H>`. The
/// [`Peer`] is the connection's peer, but messages sent through its [`sender`](Peer::sender) reach only the handler of this stream. `None`
/// refuses the stream.
///
/// After a handler's [upgrade](proto_http::Responder::upgrade), its stream carries [`Handler::Next`].
pub struct Server<H: Handler, F> {
    core: Box<Core>,
    factory: F,
    origin: Arc<Origin<H::Message>>,
    slots: Vec<Slot<H>>,
    wait: Deadline<Phase>,
    /// Start of the time without a stream.
    idle: Option<Instant>,
}

impl<H: Handler, F> fmt::Debug for Server<H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("connection", &self.core.connection)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// How long a connection without a stream keeps its memory for streams.
const TIDY: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Preface,
    Frame,
    Streams,
    Stop,
}

/// Why a server's connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// The client broke the protocol.
    Violation(Violation),
    /// The client took too long for its preface or for a frame.
    TimedOut,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Violation(violation) => violation.fmt(f),
            ServerError::TimedOut => f.write_str("timed out: the preface or a frame of the client is incomplete"),
        }
    }
}

impl std::error::Error for ServerError {}

impl<H, F> Server<H, F>
where
    H: Handler,
    H::Message: Send + 'static,
    F: Fn(&Peer<'_, H::Message>) -> Option<H>,
{
    /// A server for one connection to `peer`, with handlers from `factory`.
    pub fn new(config: Arc<ServerConfig>, factory: F, peer: &Peer<'_, StreamMessage<H::Message>>) -> Self {
        Self::from_origin(config, factory, Origin::new(peer))
    }

    pub(super) fn from_origin(config: Arc<ServerConfig>, factory: F, origin: Arc<Origin<H::Message>>) -> Self {
        Self {
            core: Box::new(Core::new(config)),
            factory,
            origin,
            slots: Vec::new(),
            wait: Deadline::new(Phase::Preface),
            idle: None,
        }
    }

    /// Handles all events in `rest`.
    #[inline]
    fn serve(&mut self, cx: &mut Cx<'_>, rest: &mut &[u8], scratch: &mut Scratch) -> Result<(), ServerError> {
        loop {
            if cx.is_congested() && !self.core.keeps_reading {
                return Ok(());
            }
            let limits = &self.core.config.limits;
            let event = self
                .core
                .connection
                .next(limits, rest, scratch, cx.output().tail())
                .map_err(ServerError::Violation)?;
            match event {
                None => return Ok(()),
                Some(ServerEvent::Request { stream, request, end }) => self.request(cx, stream, &request, end),
                Some(ServerEvent::Data { stream, data }) => {
                    self.with(cx, stream, |core, cx, slot| core.data(cx, slot, data))
                }
                Some(ServerEvent::End { stream, trailers }) => {
                    self.with(cx, stream, |core, cx, slot| core.end(cx, slot, trailers));
                }
                Some(ServerEvent::Window { stream: 0 }) => self.flush_all(cx),
                Some(ServerEvent::Window { stream }) => self.with(cx, stream, Core::flush),
                Some(ServerEvent::Reset { stream, .. }) => self.gone(cx, stream),
                Some(ServerEvent::Failed(violation)) => self.gone(cx, violation.stream_id()),
                Some(ServerEvent::Pong(_) | ServerEvent::Goaway(_)) => {}
            }
        }
    }

    #[inline]
    fn request(&mut self, cx: &mut Cx<'_>, stream: u32, request: &Request<'_>, end: bool) {
        let Some(handler) = self.origin.show(stream, |peer| (self.factory)(peer)) else {
            let out = cx.output().tail();
            let limits = &self.core.config.limits;
            let _ = self
                .core
                .connection
                .reset(stream, ErrorCode::REFUSED_STREAM, limits, out);
            return;
        };
        let place = self.core.connection.slot(stream).unwrap_or(0);
        let mut slot = Slot::new(stream, Owner::Handler(handler));
        slot.io.requested = end;
        self.core
            .call(cx, &mut slot, |handler, responder| handler.request(request, responder));
        if end && !slot.io.ended && self.core.connection.is_open(stream) {
            self.core.call(cx, &mut slot, |handler, responder| {
                handler.end(Fields::EMPTY, responder)
            });
        }
        if !self.core.settle(cx, &mut slot) {
            close(&mut slot, Reason::Closed);
            return;
        }
        self.store(place, slot);
    }

    /// Stores a stream that was not answered at once.
    #[inline(never)]
    fn store(&mut self, place: usize, slot: Slot<H>) {
        while self.slots.len() <= place {
            self.slots.push(Slot::new(0, Owner::Nobody));
        }
        if let Some(free) = self.slots.get_mut(place) {
            debug_assert!(free.is_free(), "the previous stream of this slot was closed");
            *free = slot;
        }
    }

    /// Calls `act` with a stored stream, and then settles the stream.
    fn with(&mut self, cx: &mut Cx<'_>, stream: u32, act: impl FnOnce(&mut Core, &mut Cx<'_>, &mut Slot<H>)) {
        // The codec may have forgotten the stream before its last event.
        let place = self.core.connection.slot(stream);
        let slot = match place.and_then(|place| self.slots.get_mut(place)) {
            Some(slot) if slot.id == stream => slot,
            _ => match self.slots.iter_mut().find(|slot| slot.id == stream && !slot.is_free()) {
                Some(slot) => slot,
                None => return,
            },
        };
        act(&mut self.core, cx, slot);
        if !self.core.settle(cx, slot) {
            close(slot, Reason::Closed);
        }
    }

    /// The client has reset a stream.
    fn gone(&mut self, cx: &mut Cx<'_>, stream: u32) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == stream && !slot.is_free()) {
            slot.io.failed = true;
            self.core.tunnel(cx, slot, |tunnel| tunnel.broken());
            close(slot, Reason::Io(std::io::ErrorKind::ConnectionReset));
        }
    }

    /// Sends queued output, the most urgent streams first (RFC 9218 section 10).
    fn flush_all(&mut self, cx: &mut Cx<'_>) {
        let waits = |slot: &Slot<H>| {
            !slot.is_free() && (slot.io.queue.is_some() || slot.io.congested || matches!(slot.owner, Owner::Tunnel(_)))
        };
        if !self.slots.iter().any(waits) {
            return;
        }
        for urgency in 0..8 {
            for slot in &mut self.slots {
                if !waits(slot) || self.core.connection.priority(slot.id).urgency != urgency {
                    continue;
                }
                self.core.flush(cx, slot);
                if !self.core.settle(cx, slot) {
                    close(slot, Reason::Closed);
                }
            }
        }
    }

    #[inline(never)]
    fn settle_posted(&mut self, cx: &mut Cx<'_>) {
        self.core.unsettled = false;
        for slot in self.slots.iter_mut().filter(|slot| slot.io.unsettled) {
            self.core.tunnel(cx, slot, |tunnel| {
                tunnel.turn(|_| {});
                tunnel.resume();
            });
            if !self.core.settle(cx, slot) {
                close(slot, Reason::Closed);
            }
        }
        self.conclude(cx, false);
    }

    /// Sets the deadline of the connection. `partial` says that part of a frame has arrived.
    #[inline]
    fn set_deadline(&mut self, cx: &Cx<'_>, partial: bool) {
        let (now, timeouts) = (cx.now(), &self.core.config.timeouts);
        let connection = &self.core.connection;
        if self.wait.timer() == Phase::Stop {
            // The stop timer keeps running.
        } else if !connection.has_begun() {
            self.wait.keep(now, Phase::Preface, timeouts.preface);
        } else if (partial || connection.is_inside()) && !cx.is_congested() {
            self.wait.keep(now, Phase::Frame, timeouts.frame);
        } else {
            self.wait.set(Phase::Streams, None);
        }
        if connection.streams() > 0 || !connection.has_begun() {
            (self.idle, self.core.tidy) = (None, false);
        } else {
            self.core.keeps_reading = false;
            // Frames that arrive meanwhile do not extend the idle time.
            let since = *self.idle.get_or_insert(now);
            let after = match timeouts.idle {
                Some(idle) if self.core.tidy || idle < TIDY => Some(idle),
                None if self.core.tidy => None,
                _ => Some(TIDY),
            };
            self.core.wake_at(after.and_then(|after| since.checked_add(after)));
        }
        let connection = &self.core.connection;
        if self.core.settings.is_some() && !connection.awaits_settings() {
            self.core.settings = None;
        }
        let (wait, settings) = (self.wait.at(), self.core.settings);
        self.core.wake_at(wait);
        self.core.wake_at(settings);
    }

    /// After each call: decides whether the connection ends.
    #[inline]
    fn conclude(&mut self, cx: &mut Cx<'_>, partial: bool) {
        let connection = &self.core.connection;
        if connection.is_over() || self.core.eof && connection.streams() == 0 {
            cx.close();
            return;
        }
        self.set_deadline(cx, partial);
    }

    /// Returns points of the client's budget as time passes.
    #[inline]
    fn replenish(&mut self, now: Instant) {
        const POINT: Duration = Duration::from_millis(100);
        if self.core.connection.spent() == 0 {
            self.core.replenished = Some(now);
            return;
        }
        let since = self.core.replenished.get_or_insert(now);
        let points = now.saturating_duration_since(*since).as_millis() / POINT.as_millis();
        if points > 0 {
            *since = now;
            self.core
                .connection
                .replenish(u32::try_from(points).unwrap_or(u32::MAX));
        }
    }

    /// No stream was open for a while: frees memory, and later ends the connection.
    fn idle_timeout(&mut self, cx: &mut Cx<'_>) {
        let Some(since) = self.idle else {
            return;
        };
        let idle = cx.now().saturating_duration_since(since);
        if idle >= TIDY && !self.core.tidy {
            self.core.tidy = true;
            self.core.connection.give_back();
            self.slots = Vec::new();
        }
        if self.core.config.timeouts.idle.is_some_and(|most| idle >= most) {
            let out = cx.output().tail();
            let _ = self.core.connection.goaway(ErrorCode::NO_ERROR, out);
        }
    }

    /// The deadline of a stream has passed.
    fn stream_timeout(&mut self, cx: &mut Cx<'_>, place: usize) {
        let Some(slot) = self.slots.get_mut(place) else {
            return;
        };
        match slot.wait.timer() {
            Wait::Tunnel => self.core.tunnel(cx, slot, |tunnel| {
                tunnel.turn(|turn| turn.timeout());
                tunnel.resume();
            }),
            wait => {
                let status = if wait == Wait::Body { 408 } else { 503 };
                let limits = self.core.config.limits;
                let connection = &mut self.core.connection;
                let out = cx.output().tail();
                if wait != Wait::Window && connection.can_respond(slot.id) {
                    let _ = connection.respond(slot.id, status, &(), b"", None, &limits, out);
                }
                let code = if wait == Wait::Answer {
                    ErrorCode::INTERNAL_ERROR
                } else {
                    ErrorCode::CANCEL
                };
                self.core.fail(cx, slot, code);
            }
        }
        if !self.core.settle(cx, slot) {
            close(slot, Reason::Closed);
        }
    }
}

impl<H, F> Protocol for Server<H, F>
where
    H: Handler,
    H::Message: Send + 'static,
    F: Fn(&Peer<'_, H::Message>) -> Option<H>,
{
    type Message = StreamMessage<H::Message>;
    type Error = ServerError;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        let limits = self.core.config.limits;
        // The output grows as needed: this cannot fail.
        let _ = self.core.connection.start(&limits, cx.output().tail());
        let (now, timeouts) = (cx.now(), self.core.config.timeouts);
        self.wait.arm(now, Phase::Preface, timeouts.preface);
        self.core.settings = timeouts.settings.and_then(|after| now.checked_add(after));
        self.set_deadline(cx, false);
        Ok(())
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ServerError> {
        self.replenish(cx.now());
        let mut rest = input.as_slice();
        let result = with_scratch(|scratch| self.serve(cx, &mut rest, scratch));
        let (left, used) = (rest.len(), input.len() - rest.len());
        input.consume(used);
        result?;
        self.conclude(cx, left > 0);
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.core.eof = true;
        // Complete requests are still answered; incomplete ones fail.
        for slot in &mut self.slots {
            let cut = match slot.owner {
                Owner::Handler(_) => !slot.io.requested,
                Owner::Tunnel(_) => true,
                Owner::Nobody => false,
            };
            if cut {
                self.core.fail(cx, slot, ErrorCode::CANCEL);
                close(slot, Reason::Closed);
            }
        }
        self.conclude(cx, false);
        Ok(())
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        self.core.due
    }

    /// True while a protocol in a tunnel asks for it.
    fn keeps_reading(&self) -> bool {
        self.core.keeps_reading
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        let now = cx.now();
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.core.due = None;
        if passed(self.core.settings) {
            let violation = self.core.connection.fail_settings(cx.output().tail());
            return Err(ServerError::Violation(violation));
        }
        if passed(self.wait.at()) {
            let out = cx.output().tail();
            match self.wait.timer() {
                Phase::Preface if !self.core.connection.has_begun() => {
                    cx.close();
                    return Ok(());
                }
                Phase::Frame => {
                    let _ = self.core.connection.goaway(ErrorCode::NO_ERROR, out);
                    return Err(ServerError::TimedOut);
                }
                Phase::Stop => {
                    let _ = self.core.connection.goaway(ErrorCode::NO_ERROR, out);
                    self.wait.set(Phase::Streams, None);
                }
                Phase::Preface | Phase::Streams => {}
            }
        }
        self.idle_timeout(cx);
        for place in 0..self.slots.len() {
            let due = self.slots.get(place).and_then(|slot| slot.wait.at());
            if passed(due) {
                self.stream_timeout(cx, place);
            } else {
                self.core.wake_at(due);
            }
        }
        self.conclude(cx, false);
        Ok(())
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.flush_all(cx);
        self.conclude(cx, false);
        Ok(())
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        for slot in &mut self.slots {
            if std::mem::take(&mut slot.io.again) {
                self.core.tunnel(cx, slot, |tunnel| {
                    tunnel.turn(|turn| turn.again());
                    tunnel.resume();
                });
                if !self.core.settle(cx, slot) {
                    close(slot, Reason::Closed);
                }
            }
        }
        self.conclude(cx, false);
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: StreamMessage<H::Message>) -> Result<(), ServerError> {
        let StreamMessage { stream, message } = message;
        self.with(cx, stream, |core, cx, slot| match slot.owner {
            Owner::Tunnel(_) => {
                core.unsettled = true;
                core.tunnel(cx, slot, |tunnel| tunnel.posted(message));
            }
            _ => core.call(cx, slot, |handler, responder| handler.posted(message, responder)),
        });
        self.conclude(cx, false);
        Ok(())
    }

    /// Before the driver looks at the output: sends what posted messages produced in tunnels, once for all messages.
    #[inline]
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        if self.core.unsettled {
            self.settle_posted(cx);
        }
        Ok(())
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        let _ = self.core.connection.shutdown(cx.output().tail());
        let stop = self.core.config.timeouts.stop;
        self.wait.arm(cx.now(), Phase::Stop, Some(stop));
        for slot in &mut self.slots {
            match slot.owner {
                Owner::Nobody => continue,
                Owner::Handler(_) => self.core.call(cx, slot, |handler, responder| handler.stop(responder)),
                Owner::Tunnel(_) => self.core.tunnel(cx, slot, |tunnel| tunnel.turn(|turn| turn.stop())),
            }
            if !self.core.settle(cx, slot) {
                close(slot, Reason::Closed);
            }
        }
        self.conclude(cx, false);
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        for slot in &mut self.slots {
            slot.io.failed = true;
            close(slot, reason);
        }
    }
}
