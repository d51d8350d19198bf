//! The client's side of a connection on the contract.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use proto_http::{FieldLines, Fields, Misuse, Response};
use protocol::{Cx, Deadline, Input, Output, Protocol, Reason};

use super::{ClientConfig, with_scratch};
use crate::{ClientConnection, ClientEvent, ErrorCode, Head, Scratch, Violation};

/// Sends requests on one connection, any number at once, and gets their responses as they come.
///
/// Requests are sent through the [`Requester`] that each method is lent: in [`ready`](Self::ready), or at any time while
/// [`Requester::can_request`]. Each has the number of its stream, which [`Requester::send`] returns.
pub trait Caller {
    /// What other threads and connections may send here.
    type Message;

    /// The connection is established, or the server permits more requests than before.
    ///
    /// # Errors
    ///
    /// What went wrong, usually straight from the [`Requester`]; the connection closes.
    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// The head of a final response.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn response(
        &mut self,
        stream: u32,
        response: &Response<'_>,
        requester: &mut Requester<'_, '_>,
    ) -> Result<(), Misuse>;

    /// An informational response. After a 100 a request that waited for it may send its content.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn informational(
        &mut self,
        stream: u32,
        response: &Response<'_>,
        requester: &mut Requester<'_, '_>,
    ) -> Result<(), Misuse> {
        let _ = (stream, response, requester);
        Ok(())
    }

    /// Some content of a response; never empty.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn data(&mut self, stream: u32, data: &[u8], requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// A response is complete.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn end(&mut self, stream: u32, trailers: Fields<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (stream, trailers, requester);
        Ok(())
    }

    /// A request has no response, or not all of it. Where the failure is [repeatable](Failure::is_repeatable), the server has not looked at
    /// the request: send it again, on this connection if it still [can](Requester::can_request), else on another.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn failed(&mut self, stream: u32, failure: Failure, requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// What a stream has to send is no longer [congested](Requester::is_congested).
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn drained(&mut self, stream: u32, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (stream, requester);
        Ok(())
    }

    /// A message has come.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn posted(&mut self, message: Self::Message, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (message, requester);
        Ok(())
    }

    /// The connection is over: by `error`, or for `reason` of the driver. Requests on the streams `unanswered` have no response; what the server
    /// has done for them is not known, unless [`failed`](Self::failed) has said so before. Called once and last.
    fn closed(&mut self, error: Option<ClientError>, reason: Reason, unanswered: &[u32]) {
        let _ = (error, reason, unanswered);
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The server has reset the stream.
    Reset(ErrorCode),
    /// The server goes away, and has not looked at the request (RFC 9113 section 6.8).
    Goaway(ErrorCode),
    /// The server broke the protocol on this stream.
    Violation(Violation),
    /// The server took too long.
    TimedOut,
}

impl Failure {
    /// Whether the server has done nothing for the request (RFC 9113 section 8.7), so that even one that is not idempotent may be sent again.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        matches!(self, Failure::Goaway(_) | Failure::Reset(ErrorCode::REFUSED_STREAM))
    }
}

/// Why a client's connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The server broke the protocol.
    Violation(Violation),
    /// The caller broke a rule of this crate.
    Misuse(Misuse),
    /// The server took too long for its preface, or a frame.
    TimedOut,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Violation(violation) => violation.fmt(f),
            ClientError::Misuse(misuse) => write!(f, "the caller failed: {misuse}"),
            ClientError::TimedOut => f.write_str("timed out: the server has sent part of a frame, or no SETTINGS"),
        }
    }
}

impl std::error::Error for ClientError {}

/// A request under way.
#[derive(Debug)]
struct Call {
    stream: u32,
    /// Content that waits for the window.
    queue: Output,
    /// The request ends behind it.
    end: bool,
    congested: bool,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Core {
    config: Arc<ClientConfig>,
    connection: ClientConnection,
    calls: Vec<Call>,
}

/// How a caller sends requests.
///
/// Every method that writes returns [`Misuse`], with nothing written, for what may not be sent or not now.
#[derive(Debug)]
pub struct Requester<'a, 'c> {
    core: &'a mut Core,
    cx: &'a mut Cx<'c>,
}

impl Requester<'_, '_> {
    /// Whether a request may be sent now: the server permits one more, and neither side goes away.
    #[must_use]
    pub fn can_request(&self) -> bool {
        self.core.connection.can_request()
    }

    /// Sends a whole request, and returns its stream.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::OutOfTurn`] where [`can_request`](Self::can_request) is false, [`Misuse::NoSpace`] where `body` is more
    /// than [`ClientConfig::max_queued`]: send such content in pieces.
    pub fn send(&mut self, head: Head<'_>, fields: &(impl FieldLines + ?Sized), body: &[u8]) -> Result<u32, Misuse> {
        if body.len() > self.core.config.max_queued {
            return Err(Misuse::NoSpace);
        }
        if !body.is_empty() {
            let stream = self.start(head, fields, Some(body.len() as u64))?;
            self.write(stream, body)?;
            self.finish(stream)?;
            return Ok(stream);
        }
        let limits = &self.core.config.limits;
        let stream = self
            .core
            .connection
            .request(head, fields, limits, self.cx.output().tail())?;
        self.begin(stream);
        Ok(stream)
    }

    /// Sends the head of a request whose content follows with [`write`](Self::write) and ends with [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn start(
        &mut self,
        head: Head<'_>,
        fields: &(impl FieldLines + ?Sized),
        length: Option<u64>,
    ) -> Result<u32, Misuse> {
        let limits = &self.core.config.limits;
        let out = self.cx.output().tail();
        let stream = self.core.connection.start_request(head, fields, length, limits, out)?;
        self.begin(stream);
        Ok(stream)
    }

    fn begin(&mut self, stream: u32) {
        let answer = self.core.config.timeouts.answer;
        self.core.calls.push(Call {
            stream,
            queue: Output::new(),
            end: false,
            congested: false,
            due: answer.and_then(|answer| self.cx.now().checked_add(answer)),
        });
    }

    /// Sends some content. What the window does not take yet waits.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::NoSpace`] where `data`, and what waits, are more than [`ClientConfig::max_queued`].
    pub fn write(&mut self, stream: u32, data: &[u8]) -> Result<(), Misuse> {
        let limits = self.core.config.limits;
        let max = self.core.config.max_queued;
        let call = self.core.calls.iter_mut().find(|call| call.stream == stream);
        let call = call.filter(|call| !call.end).ok_or(Misuse::OutOfTurn)?;
        // Whatever the window takes of it: an error is to have written nothing.
        if data.len() > max.saturating_sub(call.queue.len()) {
            return Err(Misuse::NoSpace);
        }
        let mut rest = data;
        if call.queue.is_empty() {
            let out = self.cx.output().tail();
            let sent = self.core.connection.send_data(stream, data, false, &limits, out)?;
            rest = data.get(sent..).unwrap_or_default();
        }
        if rest.is_empty() {
            return Ok(());
        }
        call.congested = true;
        call.queue.push(Bytes::copy_from_slice(rest));
        Ok(())
    }

    /// Ends a request.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn finish(&mut self, stream: u32) -> Result<(), Misuse> {
        let limits = self.core.config.limits;
        let call = self.core.calls.iter_mut().find(|call| call.stream == stream);
        let call = call.filter(|call| !call.end).ok_or(Misuse::OutOfTurn)?;
        call.end = true;
        if call.queue.is_empty() {
            self.core
                .connection
                .finish(stream, &(), &limits, self.cx.output().tail())?;
        }
        Ok(())
    }

    /// Gives a request up: the server is told to stop ([`CANCEL`](ErrorCode::CANCEL)). Nothing more is heard of it.
    pub fn cancel(&mut self, stream: u32) {
        let limits = self.core.config.limits;
        let out = self.cx.output().tail();
        let _ = self.core.connection.reset(stream, ErrorCode::CANCEL, &limits, out);
        self.core.calls.retain(|call| call.stream != stream);
    }

    /// Whether content of a stream waits, so that a streamed request should stop until [`drained`](Caller::drained).
    #[must_use]
    pub fn is_congested(&self, stream: u32) -> bool {
        self.cx.is_congested()
            || self
                .core
                .calls
                .iter()
                .any(|call| call.stream == stream && !call.queue.is_empty())
    }

    /// Requests under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.core.calls.len()
    }

    /// Sends no more requests, and closes when those under way have their responses.
    pub fn close(&mut self) {
        let _ = self
            .core
            .connection
            .goaway(ErrorCode::NO_ERROR, self.cx.output().tail());
    }

    /// The time of this call.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.cx.now()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Frame,
    Idle,
    Streams,
}

/// Speaks HTTP/2 to one server: sends what its [`Caller`] asks for, many requests at once, and hands it what comes.
#[derive(Debug)]
pub struct Client<C> {
    core: Core,
    caller: C,
    wait: Deadline<Phase>,
    settings: Option<Instant>,
    error: Option<ClientError>,
    /// Requests were possible when the caller was last asked.
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

    /// A request is over: forgets it. False where it was given up before.
    fn forget(&mut self, stream: u32) -> bool {
        let before = self.core.calls.len();
        self.core.calls.retain(|call| call.stream != stream);
        self.core.calls.len() < before
    }

    fn failed(&mut self, cx: &mut Cx<'_>, stream: u32, failure: Failure) -> Result<(), ClientError> {
        if self.forget(stream) {
            return self.call(cx, |caller, requester| caller.failed(stream, failure, requester));
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
                    self.prolong(cx, stream);
                    self.call(cx, |caller, requester| {
                        caller.informational(stream, &response, requester)
                    })?;
                }
                Some(ClientEvent::Response { stream, response, end }) => {
                    self.prolong(cx, stream);
                    if end {
                        self.forget(stream);
                    }
                    self.call(cx, |caller, requester| caller.response(stream, &response, requester))?;
                    if end {
                        self.call(cx, |caller, requester| caller.end(stream, Fields::EMPTY, requester))?;
                    }
                }
                Some(ClientEvent::Data { stream, data }) => {
                    self.prolong(cx, stream);
                    let out = cx.output().tail();
                    let _ = self.core.connection.consume(stream, data.len(), &limits, out);
                    self.call(cx, |caller, requester| caller.data(stream, data, requester))?;
                }
                Some(ClientEvent::End { stream, trailers }) => {
                    self.forget(stream);
                    self.call(cx, |caller, requester| caller.end(stream, trailers, requester))?;
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

    /// Something of a response has come.
    fn prolong(&mut self, cx: &Cx<'_>, stream: u32) {
        let due = self
            .core
            .config
            .timeouts
            .answer
            .and_then(|answer| cx.now().checked_add(answer));
        if let Some(call) = self.core.calls.iter_mut().find(|call| call.stream == stream) {
            call.due = due;
        }
    }

    /// Sends what waits on `stream`, or on all of them.
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
                    drained.push(call.stream);
                }
            }
        }
        for stream in drained {
            self.call(cx, |caller, requester| caller.drained(stream, requester))?;
        }
        Ok(())
    }

    /// After each call: asks for more requests, and whether the connection is to end.
    fn conclude(&mut self, cx: &mut Cx<'_>, partial: bool) -> Result<(), ClientError> {
        let ready = self.core.connection.can_request();
        if ready && !self.was_ready {
            self.was_ready = true;
            self.call(cx, |caller, requester| caller.ready(requester))?;
        }
        self.was_ready = self.core.connection.can_request();
        let (now, connection) = (cx.now(), &self.core.connection);
        let none_left = self.core.calls.is_empty() && !connection.can_request() && connection.is_settled();
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
        // A server is trusted to talk: its frames cost nothing as long as requests are under way.
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
        calls.chain(self.wait.at()).chain(self.settings).min()
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
        let unanswered: Vec<u32> = self.core.calls.iter().map(|call| call.stream).collect();
        self.caller.closed(self.error.take(), reason, &unanswered);
    }
}
