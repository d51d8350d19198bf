//! The client's side of a connection, as a protocol for the drivers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use proto_http::{Fields, Misuse};
use protocol::{Cx, Deadline, Input, Protocol, Reason};

use super::requester::{Core, Kept, Waiting};
use super::{Caller, ClientConfig, ClientError, Failure, Requester, with_scratch};
use crate::{ClientConnection, ClientEvent, ErrorCode, Scratch};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Frame,
    Idle,
    Streams,
}

/// An HTTP/2 connection to one server: sends the requests of its [`Caller`], many at once, and passes the responses to it.
#[derive(Debug)]
pub struct Client<C> {
    core: Core,
    caller: C,
    wait: Deadline<Phase>,
    settings: Option<Instant>,
    error: Option<ClientError>,
    /// Requests were possible at the caller's last call.
    was_ready: bool,
}

impl<C: Caller> Client<C> {
    /// A client of one connection.
    pub fn new(config: Arc<ClientConfig>, caller: C) -> Self {
        Self {
            core: Core {
                config,
                connection: ClientConnection::new(),
                calls: Vec::new(),
                waiting: VecDeque::new(),
                returned: None,
            },
            caller,
            wait: Deadline::new(Phase::Frame),
            settings: None,
            error: None,
            was_ready: false,
        }
    }

    /// The caller.
    pub fn caller(&self) -> &C {
        &self.caller
    }

    fn call(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut C, &mut Requester<'_, '_>) -> Result<(), Misuse>,
    ) -> Result<(), ClientError> {
        let mut requester = Requester {
            core: &mut self.core,
            cx,
        };
        call(&mut self.caller, &mut requester).map_err(|misuse| self.fail(ClientError::Misuse(misuse)))
    }

    fn fail(&mut self, error: ClientError) -> ClientError {
        self.error = Some(error);
        error
    }

    /// The request of `stream` has failed: waits to be sent again, or tells the caller.
    fn failed(&mut self, cx: &mut Cx<'_>, stream: u32, failure: Failure) -> Result<(), ClientError> {
        let Some(call) = self.core.forget(stream) else {
            return Ok(());
        };
        let mut kept = call.kept.filter(|_| failure.is_repeatable());
        let can_help = matches!(failure, Failure::Reset(_)) && !self.core.connection.is_closing();
        if can_help && let Some(mut again) = kept.take_if(|kept| kept.left > 0) {
            again.left -= 1;
            self.core.waiting.push_back(Waiting {
                name: call.name,
                kept: again,
                due: call.due,
            });
            return Ok(());
        }
        self.tell(cx, call.name, failure, kept)
    }

    /// Tells the caller that a request has failed, and offers the kept request to it.
    fn tell(
        &mut self,
        cx: &mut Cx<'_>,
        name: u32,
        failure: Failure,
        kept: Option<Box<Kept>>,
    ) -> Result<(), ClientError> {
        self.core.returned = kept.map(|kept| kept.request);
        let told = self.call(cx, |caller, requester| caller.failed(name, failure, requester));
        self.core.returned = None;
        told
    }

    /// Sends refused requests again, or returns them to the caller if that is impossible.
    fn send_again(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        while !self.core.waiting.is_empty() {
            let closing = self.core.connection.is_closing();
            if !closing && !self.core.connection.can_request() {
                return Ok(());
            }
            let Some(Waiting { name, kept, due }) = self.core.waiting.pop_front() else {
                return Ok(());
            };
            let refused = Failure::Reset(ErrorCode::REFUSED_STREAM);
            if closing {
                self.tell(cx, name, refused, Some(kept))?;
            } else if let Err((_, kept)) = self.core.send_kept(cx, Some(name), due, kept) {
                self.tell(cx, name, refused, Some(kept))?;
            }
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Cx<'_>, rest: &mut &[u8], scratch: &mut Scratch) -> Result<(), ClientError> {
        loop {
            let limits = self.core.config.limits;
            let event = self.core.connection.next(&limits, rest, scratch, cx.output().tail());
            match event.map_err(|violation| self.fail(ClientError::Violation(violation)))? {
                None => return Ok(()),
                Some(ClientEvent::Informational { stream, response }) => {
                    let stream = self.answered(cx, stream);
                    self.call(cx, |caller, requester| {
                        caller.informational(stream, &response, requester)
                    })?;
                }
                Some(ClientEvent::Response { stream, response, end }) => {
                    let of = stream;
                    let stream = self.answered(cx, stream);
                    if end {
                        self.core.forget(of);
                    }
                    self.call(cx, |caller, requester| caller.response(stream, &response, requester))?;
                    if end {
                        self.call(cx, |caller, requester| caller.end(stream, Fields::EMPTY, requester))?;
                    }
                }
                Some(ClientEvent::Data { stream, data }) => {
                    let of = stream;
                    let stream = self.answered(cx, stream);
                    let call = self.core.calls.iter_mut().find(|call| call.stream == of);
                    match call.filter(|call| call.paused) {
                        Some(call) => call.owed += data.len(),
                        None => {
                            let out = cx.output().tail();
                            let _ = self.core.connection.consume(of, data.len(), &limits, out);
                        }
                    }
                    self.call(cx, |caller, requester| caller.data(stream, data, requester))?;
                }
                Some(ClientEvent::End { stream, trailers }) => {
                    let name = self.core.name_of(stream);
                    self.core.forget(stream);
                    self.call(cx, |caller, requester| caller.end(name, trailers, requester))?;
                }
                Some(ClientEvent::Reset { stream, code }) => self.failed(cx, stream, Failure::Reset(code))?,
                Some(ClientEvent::Failed(violation)) => {
                    self.failed(cx, violation.stream_id(), Failure::Violation(violation))?;
                }
                Some(ClientEvent::Goaway { last, code }) => {
                    while let Some(call) = self.core.calls.iter().find(|call| call.stream > last) {
                        self.failed(cx, call.stream, Failure::Goaway(code))?;
                    }
                }
                Some(ClientEvent::Window { stream }) => self.flush(cx, stream)?,
                Some(ClientEvent::Pong(_)) => {}
            }
        }
    }

    /// Part of a response has arrived: the request is not sent again. Returns the number by which the caller knows the request.
    fn answered(&mut self, cx: &Cx<'_>, stream: u32) -> u32 {
        let due = self
            .core
            .config
            .timeouts
            .answer
            .and_then(|answer| cx.now().checked_add(answer));
        match self.core.calls.iter_mut().find(|call| call.stream == stream) {
            Some(call) => {
                (call.due, call.kept) = (due.filter(|_| !call.paused), None);
                call.name
            }
            None => stream,
        }
    }

    /// Sends queued content of `stream`, or of all streams if `stream` is 0.
    fn flush(&mut self, cx: &mut Cx<'_>, stream: u32) -> Result<(), ClientError> {
        let limits = self.core.config.limits;
        let mut drained = Vec::new();
        for call in &mut self.core.calls {
            if !call.congested || stream != 0 && call.stream != stream {
                continue;
            }
            while !call.queue.is_empty() && !cx.is_congested() {
                let out = cx.output().tail();
                let connection = &mut self.core.connection;
                match connection.send_data(call.stream, call.queue.chunk(), false, &limits, out) {
                    Ok(sent) if sent > 0 => call.queue.advance(sent),
                    _ => break,
                }
            }
            if call.queue.is_empty() && !cx.is_congested() {
                call.congested = false;
                if call.end {
                    let out = cx.output().tail();
                    let _ = self.core.connection.finish(call.stream, &(), &limits, out);
                } else {
                    drained.push(call.name);
                }
            }
        }
        for stream in drained {
            self.call(cx, |caller, requester| caller.drained(stream, requester))?;
        }
        Ok(())
    }

    /// After each call: lets the caller send more requests, and decides whether the connection ends.
    fn conclude(&mut self, cx: &mut Cx<'_>, partial: bool) -> Result<(), ClientError> {
        self.send_again(cx)?;
        let ready = self.core.connection.can_request();
        if ready && !self.was_ready {
            self.was_ready = true;
            self.call(cx, |caller, requester| caller.ready(requester))?;
        }
        self.was_ready = self.core.connection.can_request();
        let (now, connection) = (cx.now(), &self.core.connection);
        // `send_again` has already returned the waiting requests to the caller.
        let none_left = self.core.calls.is_empty() && connection.is_closing() && connection.is_settled();
        if connection.is_over() || none_left {
            cx.close();
            return Ok(());
        }
        if !connection.is_settled() || partial || connection.is_inside() {
            self.wait.keep(now, Phase::Frame, self.core.config.timeouts.frame);
        } else if self.core.calls.is_empty() {
            self.wait.keep(now, Phase::Idle, self.core.config.timeouts.idle);
        } else {
            self.wait.set(Phase::Streams, None);
        }
        if !connection.awaits_settings() {
            self.settings = None;
        }
        Ok(())
    }
}

impl<C: Caller> Protocol for Client<C> {
    type Message = C::Message;
    type Error = ClientError;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        let config = Arc::clone(&self.core.config);
        let _ = self.core.connection.start(&config.limits, cx.output().tail());
        self.settings = config.timeouts.frame.and_then(|after| cx.now().checked_add(after));
        self.conclude(cx, false)
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ClientError> {
        // A client trusts its server: while requests are under way, frames cost no points.
        if !self.core.calls.is_empty() {
            self.core.connection.replenish(u32::MAX);
        }
        let mut rest = input.as_slice();
        let result = with_scratch(|scratch| self.read(cx, &mut rest, scratch));
        let (left, used) = (rest.len(), input.len() - rest.len());
        input.consume(used);
        result?;
        self.conclude(cx, left > 0)
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        cx.close();
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let calls = self.core.calls.iter().filter_map(|call| call.due);
        let waiting = self.core.waiting.iter().filter_map(|waiting| waiting.due);
        calls.chain(waiting).chain(self.wait.at()).chain(self.settings).min()
    }

    fn keeps_reading(&self) -> bool {
        true
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        let now = cx.now();
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if passed(self.settings) {
            let violation = self.core.connection.fail_settings(cx.output().tail());
            return Err(self.fail(ClientError::Violation(violation)));
        }
        if passed(self.wait.at()) {
            let out = cx.output().tail();
            let _ = self.core.connection.goaway(ErrorCode::NO_ERROR, out);
            if self.wait.timer() == Phase::Idle {
                cx.close();
                return Ok(());
            }
            return Err(self.fail(ClientError::TimedOut));
        }
        while let Some(call) = self.core.calls.iter().find(|call| passed(call.due)) {
            let (stream, limits) = (call.stream, self.core.config.limits);
            let out = cx.output().tail();
            let _ = self.core.connection.reset(stream, ErrorCode::CANCEL, &limits, out);
            self.failed(cx, stream, Failure::TimedOut)?;
        }
        while let Some(place) = self.core.waiting.iter().position(|waiting| passed(waiting.due)) {
            if let Some(late) = self.core.waiting.remove(place) {
                self.tell(cx, late.name, Failure::TimedOut, None)?;
            }
        }
        self.conclude(cx, false)
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        self.flush(cx, 0)?;
        self.conclude(cx, false)
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: C::Message) -> Result<(), ClientError> {
        self.call(cx, |caller, requester| caller.posted(message, requester))?;
        self.conclude(cx, false)
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        let _ = self.core.connection.goaway(ErrorCode::NO_ERROR, cx.output().tail());
        self.conclude(cx, false)
    }

    fn closed(&mut self, reason: Reason) {
        let calls = self.core.calls.iter().map(|call| call.name);
        let waiting = self.core.waiting.iter().map(|waiting| waiting.name);
        let unanswered: Vec<u32> = calls.chain(waiting).collect();
        self.caller.closed(self.error.take(), reason, &unanswered);
    }
}
