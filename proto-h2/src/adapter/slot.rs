//! One stream of a server: its handler or tunnel, and what the stream waits for.

use std::sync::Arc;
use std::time::Instant;

use proto_http::{Fields, Handler, Misuse, Responder};
use protocol::driver::Connection;
use protocol::{Cx, Deadline, Protocol, Reason};

use super::ServerConfig;
use super::exchange::{Exchange, Held, Io};
use super::tunnel::Tunnel;
use crate::{ErrorCode, ServerConnection};

/// The response to a request for a resource that needs an upgrade, when the request asks for none.
const UNASKED: &str =
    "This resource speaks another protocol. A request for it is an extended CONNECT for websocket (RFC 8441).\n";

/// What a stream waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The request's content.
    Body,
    /// Flow-control credit for the response.
    Window,
    /// The handler's answer.
    Answer,
    /// The deadline of the protocol in the tunnel.
    Tunnel,
}

/// Who owns a stream.
pub(super) enum Owner<H: Handler> {
    Nobody,
    Handler(H),
    Tunnel(Box<Connection<H::Next>>),
}

pub(super) struct Slot<H: Handler> {
    pub(super) id: u32,
    pub(super) owner: Owner<H>,
    pub(super) io: Io,
    pub(super) wait: Deadline<Wait>,
}

impl<H: Handler> Slot<H> {
    pub(super) fn new(id: u32, owner: Owner<H>) -> Self {
        Self {
            id,
            owner,
            io: Io::default(),
            wait: Deadline::new(Wait::Answer),
        }
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self.owner, Owner::Nobody)
    }
}

/// The state of a server without its streams' handlers.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) connection: ServerConnection,
    pub(super) config: Arc<ServerConfig>,
    /// Some tunnel opened since the last time without a stream has a protocol that reads while its output is congested.
    pub(super) keeps_reading: bool,
    /// Some stream has [`unsettled`](Io::unsettled) messages.
    pub(super) unsettled: bool,
    /// The earliest deadline of all streams and of the connection.
    pub(super) due: Option<Instant>,
    /// Memory was freed, and no stream has opened since.
    pub(super) tidy: bool,
    /// The client sends nothing more.
    pub(super) eof: bool,
    /// The deadline for the acknowledgement of our SETTINGS.
    pub(super) settings: Option<Instant>,
    /// When points of the client's budget were last returned.
    pub(super) replenished: Option<Instant>,
}

impl Core {
    pub(super) fn new(config: Arc<ServerConfig>) -> Self {
        Self {
            connection: ServerConnection::new(),
            config,
            keeps_reading: false,
            unsettled: false,
            due: None,
            tidy: false,
            eof: false,
            settings: None,
            replenished: None,
        }
    }

    /// Calls a handler. If the handler fails, answers in its place. Then performs an upgrade if the handler agreed to one.
    #[inline]
    pub(super) fn call<H: Handler>(
        &mut self,
        cx: &mut Cx<'_>,
        slot: &mut Slot<H>,
        call: impl FnOnce(&mut H, &mut Responder<'_, '_>) -> Result<(), Misuse>,
    ) {
        let Owner::Handler(handler) = &mut slot.owner else {
            return;
        };
        let mut exchange = Exchange {
            connection: &mut self.connection,
            config: &self.config,
            cx,
            stream: slot.id,
            io: &mut slot.io,
        };
        if let Err(misuse) = call(handler, &mut Responder::over(&mut exchange)) {
            refuse(&mut exchange, misuse);
        }
        if slot.io.switching {
            self.switch(cx, slot);
        }
    }

    /// Turns the stream into a tunnel: the handler has agreed to an upgrade.
    #[cold]
    fn switch<H: Handler>(&mut self, cx: &mut Cx<'_>, slot: &mut Slot<H>) {
        slot.io.switching = false;
        let Owner::Handler(handler) = &mut slot.owner else {
            return;
        };
        match handler.switched() {
            Some(next) => {
                self.keeps_reading |= next.keeps_reading();
                slot.owner = Owner::Tunnel(Box::new(Connection::new(next)));
                slot.io.reads = true;
                self.tunnel(cx, slot, |tunnel| {
                    tunnel.turn(|turn| turn.connected());
                    tunnel.resume();
                });
            }
            None => self.fail(cx, slot, ErrorCode::INTERNAL_ERROR),
        }
    }

    /// Calls `act` with the tunnel, if the stream is one.
    pub(super) fn tunnel<H: Handler>(
        &mut self,
        cx: &mut Cx<'_>,
        slot: &mut Slot<H>,
        act: impl FnOnce(&mut Tunnel<'_, '_, H::Next>),
    ) {
        if let Owner::Tunnel(inner) = &mut slot.owner {
            act(&mut Tunnel {
                connection: &mut self.connection,
                config: &self.config,
                cx,
                stream: slot.id,
                io: &mut slot.io,
                inner,
            });
        }
    }

    /// Resets a stream.
    pub(super) fn fail<H: Handler>(&mut self, cx: &mut Cx<'_>, slot: &mut Slot<H>, code: ErrorCode) {
        slot.io.failed = true;
        let out = cx.output().tail();
        let _ = self.connection.reset(slot.id, code, &self.config.limits, out);
    }

    /// Content of a stream has arrived.
    pub(super) fn data<H: Handler>(&mut self, cx: &mut Cx<'_>, slot: &mut Slot<H>, data: &[u8]) {
        match slot.owner {
            Owner::Tunnel(_) => return self.tunnel(cx, slot, |tunnel| tunnel.data(data)),
            // Held content is bounded by the window: it is not credited.
            Owner::Handler(_) if self.holds_back(&slot.io) || slot.io.held.is_some() => {
                slot.io.held.get_or_insert_default().content.extend_from_slice(data);
                return;
            }
            _ => {}
        }
        self.buy_time(cx.now(), slot, data.len(), Wait::Body);
        // Credit first: the call may end the stream, and its uncredited bytes with it.
        let out = cx.output().tail();
        let limits = &self.config.limits;
        let _ = self.connection.consume(slot.id, data.len(), limits, out);
        self.call(cx, slot, |handler, responder| handler.data(data, responder));
    }

    /// Whether the handler gets no content now: it has paused, or too much of its response is queued.
    fn holds_back(&self, io: &Io) -> bool {
        io.paused || io.backs_up(self.config.high_water)
    }

    /// The client has ended its half of a stream.
    pub(super) fn end<H: Handler>(&mut self, cx: &mut Cx<'_>, slot: &mut Slot<H>, trailers: Fields<'_>) {
        slot.io.requested = true;
        match (&slot.owner, &mut slot.io.held) {
            (Owner::Tunnel(_), _) => self.tunnel(cx, slot, |tunnel| tunnel.end()),
            (_, Some(held)) => held.end = Some(trailers.as_bytes().to_vec()),
            _ => self.call(cx, slot, |handler, responder| handler.end(trailers, responder)),
        }
    }

    /// Passes held content to the handler, if it has resumed.
    fn resume<H: Handler>(&mut self, cx: &mut Cx<'_>, slot: &mut Slot<H>) {
        while !self.holds_back(&slot.io)
            && matches!(slot.owner, Owner::Handler(_))
            && let Some(held) = slot.io.held.take()
        {
            let Held { content, end } = *held;
            if !content.is_empty() && self.connection.is_open(slot.id) {
                let out = cx.output().tail();
                let limits = &self.config.limits;
                let _ = self.connection.consume(slot.id, content.len(), limits, out);
                self.call(cx, slot, |handler, responder| handler.data(&content, responder));
            }
            if let Some(lines) = end {
                if self.holds_back(&slot.io) {
                    slot.io.held = Some(Box::new(Held {
                        content: Vec::new(),
                        end: Some(lines),
                    }));
                } else if self.connection.is_open(slot.id) {
                    let trailers = proto_http::Assembled::trailers(&lines);
                    self.call(cx, slot, |handler, responder| handler.end(trailers, responder));
                }
            }
        }
    }

    /// A window has grown, or the output has drained.
    pub(super) fn flush<H: Handler>(&mut self, cx: &mut Cx<'_>, slot: &mut Slot<H>) {
        if let Owner::Tunnel(_) = slot.owner {
            return self.tunnel(cx, slot, |tunnel| {
                tunnel.turn(|turn| turn.writable());
                tunnel.resume();
            });
        }
        if let Some(queue) = &slot.io.queue {
            let before = queue.output.len();
            let mut exchange = Exchange {
                connection: &mut self.connection,
                config: &self.config,
                cx,
                stream: slot.id,
                io: &mut slot.io,
            };
            if exchange.flush().is_err() {
                exchange.fail(ErrorCode::INTERNAL_ERROR);
            }
            let left = slot.io.queue.as_ref().map_or(0, |queue| queue.output.len());
            self.buy_time(cx.now(), slot, before - left.min(before), Wait::Window);
        }
        if slot.io.congested && slot.io.queue.is_none() && !slot.io.ended && !cx.is_congested() {
            slot.io.congested = false;
            self.call(cx, slot, |handler, responder| handler.drained(responder));
        }
    }

    /// `bytes` were transferred: the deadline moves by their share of the minimum rate, but no further than the timeout for a pause.
    fn buy_time<H: Handler>(&mut self, now: Instant, slot: &mut Slot<H>, bytes: usize, wait: Wait) {
        let timeouts = &self.config.timeouts;
        let (pause, rate) = match wait {
            Wait::Window => (timeouts.window, timeouts.body_rate),
            _ => (timeouts.body, timeouts.body_rate),
        };
        slot.wait.prolong(now, wait, bytes, pause, rate);
    }

    /// After each call of a stream: passes on held content, and sets the deadline. Returns false if the stream is over.
    #[inline]
    pub(super) fn settle<H: Handler>(&mut self, cx: &mut Cx<'_>, slot: &mut Slot<H>) -> bool {
        if slot.io.held.is_some() {
            self.resume(cx, slot);
        }
        if slot.io.failed {
            self.fail(cx, slot, ErrorCode::INTERNAL_ERROR);
        }
        if !self.connection.is_open(slot.id) {
            return false;
        }
        let waits_for_content = !slot.io.requested && !slot.io.paused;
        let withheld = slot.io.withheld && self.connection.expects_continue(slot.id);
        if waits_for_content && !withheld && self.connection.expects_continue(slot.id) {
            let out = cx.output().tail();
            let _ = self.connection.send_informational(slot.id, 100, &(), out);
        }
        if !slot.io.congested && matches!(slot.owner, Owner::Handler(_)) {
            slot.io.congested = slot.io.queue.is_some() || cx.is_congested();
        }
        let (now, timeouts) = (cx.now(), &self.config.timeouts);
        match &slot.owner {
            Owner::Tunnel(inner) => slot.wait.set(Wait::Tunnel, inner.deadline()),
            _ if slot.io.queue.is_some() => slot.wait.keep(now, Wait::Window, timeouts.window),
            _ if waits_for_content && !withheld => slot.wait.keep(now, Wait::Body, timeouts.body),
            _ => slot.wait.arm(now, Wait::Answer, timeouts.answer),
        }
        self.wake_at(slot.wait.at());
        true
    }

    /// Notes a deadline at `at`.
    #[inline]
    pub(super) fn wake_at(&mut self, at: Option<Instant>) {
        if let Some(at) = at
            && self.due.is_none_or(|due| at < due)
        {
            self.due = Some(at);
        }
    }
}

/// The handler broke a rule, or agreed to an upgrade that the client did not ask for: answers in its place.
#[cold]
fn refuse(exchange: &mut Exchange<'_, '_>, misuse: Misuse) {
    use proto_http::Backend;
    let answer: &[u8] = match misuse {
        Misuse::SwitchUnasked => UNASKED.as_bytes(),
        _ => b"",
    };
    let status = if misuse == Misuse::SwitchUnasked { 400 } else { 500 };
    let answered = exchange.is_due() && exchange.send(status, &[("content-type", "text/plain")], answer).is_ok();
    if misuse != Misuse::SwitchUnasked {
        exchange.io.failed |= !answered;
    }
    if !answered {
        exchange.fail(ErrorCode::INTERNAL_ERROR);
    }
}

/// Tells the owner of a stream that the stream is over.
pub(super) fn close<H: Handler>(slot: &mut Slot<H>, reason: Reason) {
    match std::mem::replace(&mut slot.owner, Owner::Nobody) {
        Owner::Nobody => {}
        Owner::Handler(mut handler) => {
            let whole = slot.io.ended && slot.io.queue.is_none() && !slot.io.failed;
            handler.closed(!whole);
        }
        Owner::Tunnel(mut inner) => inner.closed(reason),
    }
    slot.io = Io::default();
    slot.wait.disarm();
}
