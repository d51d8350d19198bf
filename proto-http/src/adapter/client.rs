//! The client's side of a connection, as a protocol for the drivers.

use std::sync::Arc;
use std::time::Instant;

use core::fmt;

use bytes::Bytes;
use protocol::{Cx, Deadline, FilePiece, Input, Intent, Protocol, Reason, Switch, Upgrade};

use super::timer::passed;
use super::{ClientConfig, Timer};
use crate::state::State;
use crate::{
    BodyLength, ClientConnection, ClientEvent, FieldLines, Fields, Misuse, Response, Violation, ViolationKind,
};

/// Sends the requests of one connection and gets their responses, one exchange after the other.
///
/// Requests are sent through the [`Requester`] that each method receives: when the connection is [`ready`](Self::ready), or
/// at any time between two exchanges, for instance in [`posted`](Self::posted).
pub trait Caller {
    /// The type of messages from other threads and connections.
    type Message;
    /// The protocol that may take over the connection; [`NoUpgrade`](super::NoUpgrade) if there is none.
    type Next: Protocol<Message = Self::Message>;

    /// The connection is established, or an exchange is complete and another may begin.
    ///
    /// # Errors
    ///
    /// The error, usually returned by the [`Requester`]; the connection then closes.
    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// The head of the final response.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn response(&mut self, response: &Response<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// An informational response. After a 100 a request that waited for it may send its body.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn informational(&mut self, response: &Response<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (response, requester);
        Ok(())
    }

    /// Some content of the response; never empty.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn data(&mut self, data: &[u8], requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// The response is complete. [`ready`](Self::ready) follows if the connection persists and the request is complete too.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn end(&mut self, trailers: Fields<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (trailers, requester);
        Ok(())
    }

    /// The server switches protocols with this response, as the request asked. Returns the protocol that takes over the
    /// connection; `None` closes the connection.
    fn switched(&mut self, response: &Response<'_>) -> Option<Self::Next> {
        let _ = response;
        None
    }

    /// The output is no longer [congested](Requester::is_congested): a streamed body may continue.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn drained(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = requester;
        Ok(())
    }

    /// A message has arrived.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn posted(&mut self, message: Self::Message, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (message, requester);
        Ok(())
    }

    /// The connection is over: because of `error`, or for the driver's `reason`. `unanswered` says what happened to the
    /// current request and to the requests pipelined after it.
    fn closed(&mut self, error: Option<ClientError>, reason: Reason, unanswered: Unanswered) {
        let _ = (error, reason, unanswered);
    }
}

/// What happened to requests that have no response when their connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unanswered {
    /// There are no such requests.
    Nothing,
    /// All may be sent again on another connection: see [`ClientConnection::is_repeatable`]. `error` is `None`, because kept
    /// connections end in this way.
    Repeatable,
    /// The server may have carried out the requests, or part of a response has arrived.
    Uncertain,
}

/// Speaks HTTP/1.1 to one server: sends the requests of its [`Caller`], and passes the responses to it.
///
/// Runs on any driver.
#[derive(Debug)]
pub struct Client<H: Caller> {
    core: Core,
    next: Option<Box<H::Next>>,
    caller: H,
}

#[derive(Debug)]
struct Core {
    config: Arc<ClientConfig>,
    connection: ClientConnection,
    deadline: Deadline<Timer>,
    error: Option<Box<ClientError>>,
    paused: bool,
    /// The client runs in a [`Switch`], so the connection can be upgraded.
    can_switch: bool,
}

/// Why a client's connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The server broke the protocol.
    Violation(Violation),
    /// The caller used the [`Requester`] in a way that is not allowed.
    Misuse(Misuse),
    /// The server took too long.
    TimedOut(Timer),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Violation(violation) => violation.fmt(f),
            ClientError::Misuse(misuse) => write!(f, "the caller failed: {misuse}"),
            ClientError::TimedOut(timer) => write!(f, "timed out: {timer:?}"),
        }
    }
}

impl core::error::Error for ClientError {}

/// The handle by which a caller sends requests.
///
/// Every method that writes returns [`Misuse`], with nothing written, if the data may not be sent, or not now.
#[derive(Debug)]
pub struct Requester<'a, 'c> {
    core: &'a mut Core,
    cx: &'a mut Cx<'c>,
}

impl Requester<'_, '_> {
    /// Whether a request may be sent now.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.core.connection.is_idle()
    }

    /// Sends a whole request; for an empty `body` no content is announced. `fields` must have one Host.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        fields: &(impl FieldLines + ?Sized),
        body: &[u8],
    ) -> Result<(), Misuse> {
        if body.is_empty() {
            return self.start(method, target, fields, BodyLength::Empty);
        }
        self.start(method, target, fields, BodyLength::Length(body.len() as u64))?;
        self.write(body)?;
        self.finish()
    }

    /// Sends a whole request before the earlier responses have arrived, up to [`ClientConfig::pipeline`] requests in all;
    /// see [`ClientConnection::pipeline`]. Off unless configured.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::OutOfTurn`] if the configured number of requests is outstanding.
    pub fn pipeline(&mut self, method: &str, target: &str, fields: &(impl FieldLines + ?Sized)) -> Result<(), Misuse> {
        let connection = &mut self.core.connection;
        let under_way = usize::from(!connection.is_idle()) + connection.pipelined();
        if under_way >= self.core.config.pipeline {
            return Err(Misuse::OutOfTurn);
        }
        connection.pipeline(method, target, fields, self.cx.output().tail())
    }

    /// Sends a request head; with a `body` that is not empty, content follows with [`write`](Self::write) and ends with
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn start(
        &mut self,
        method: &str,
        target: &str,
        fields: &(impl FieldLines + ?Sized),
        body: BodyLength,
    ) -> Result<(), Misuse> {
        self.core
            .connection
            .send_request(method, target, fields, body, self.cx.output().tail())
    }

    /// Sends some content. It is copied.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Misuse> {
        self.core.connection.send_data(data, self.cx.output().tail())
    }

    /// Sends some content, shared instead of copied, unless the content is small.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn write_shared(&mut self, data: Bytes) -> Result<(), Misuse> {
        if self.core.connection.begin_data(data.len(), self.cx.output().tail())? {
            self.cx.output().push(data);
            self.core.connection.end_data(self.cx.output().tail())?;
        }
        Ok(())
    }

    /// Sends some content from a file, which the driver sends or reads when the content is due: see [`FilePiece`]. A long piece makes
    /// the connection [congested](Self::is_congested) until most of it is sent.
    ///
    /// If the file is then shorter than `file` says, the connection ends, so that the server cannot take what it has received for a
    /// complete request.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::NoSpace`] for more bytes than memory has addresses.
    pub fn write_file(&mut self, file: FilePiece) -> Result<(), Misuse> {
        let length = usize::try_from(file.len()).map_err(|_| Misuse::NoSpace)?;
        if self.core.connection.begin_data(length, self.cx.output().tail())? {
            self.cx.output().push_file(file);
            self.core.connection.end_data(self.cx.output().tail())?;
        }
        Ok(())
    }

    /// Ends a request.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn finish(&mut self) -> Result<(), Misuse> {
        self.finish_with(&())
    }

    /// Ends a request in chunks with trailer fields.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn finish_with(&mut self, trailers: &(impl FieldLines + ?Sized)) -> Result<(), Misuse> {
        self.core.connection.finish(trailers, self.cx.output().tail())
    }

    /// Stops (`true`) or resumes (`false`) the content of the response, for a caller that cannot keep up.
    pub fn pause(&mut self, pause: bool) {
        self.core.paused = pause;
    }

    /// Whether so much output waits that a streamed body should stop until [`drained`](Caller::drained).
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.cx.is_congested()
    }

    /// Closes the connection. An exchange in progress is cut short.
    pub fn close(&mut self) {
        self.cx.close();
    }

    /// Resets the connection: nothing that waits is sent. For an exchange that is no longer wanted.
    pub fn abort(&mut self) {
        self.cx.abort();
    }

    /// The time of this call.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.cx.now()
    }
}

impl<H: Caller> Client<H> {
    /// A client of one connection that is never upgraded.
    pub fn new(config: Arc<ClientConfig>, caller: H) -> Self {
        Self {
            core: Core {
                config,
                connection: ClientConnection::new(),
                deadline: Deadline::new(Timer::Idle),
                error: None,
                paused: false,
                can_switch: false,
            },
            next: None,
            caller,
        }
    }

    /// A client of one connection that may become another protocol: when the server grants an upgrade or a tunnel and [`Caller::switched`]
    /// returns the protocol.
    pub fn switching(config: Arc<ClientConfig>, caller: H) -> Switch<Self> {
        let mut client = Self::new(config, caller);
        client.core.can_switch = true;
        Switch::new(client)
    }

    /// The caller.
    pub fn caller(&self) -> &H {
        &self.caller
    }

    fn call(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut H, &mut Requester<'_, '_>) -> Result<(), Misuse>,
    ) -> Result<(), ClientError> {
        let result = call(
            &mut self.caller,
            &mut Requester {
                core: &mut self.core,
                cx,
            },
        );
        result.map_err(|misuse| self.fail(ClientError::Misuse(misuse)))
    }

    /// Calls the caller outside of `received`. During this call, the caller may end a request whose response is already complete.
    fn call_between(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut H, &mut Requester<'_, '_>) -> Result<(), Misuse>,
    ) -> Result<(), ClientError> {
        let answered = self.core.connection.response_state() == State::Done;
        let was_paused = self.core.paused;
        self.call(cx, call)?;
        if answered {
            self.next_exchange(cx)?;
        }
        if was_paused && !self.core.paused {
            // All of the content may have been consumed before the pause. Then no input follows that would show its end.
            self.read(cx, &mut [], &mut 0)?;
        }
        self.settle(cx);
        Ok(())
    }

    fn fail(&mut self, error: ClientError) -> ClientError {
        self.core.deadline.disarm();
        self.core.error = Some(Box::new(error));
        error
    }

    /// Passes the content of `input` to the caller; `used` counts the bytes consumed.
    fn read(&mut self, cx: &mut Cx<'_>, input: &mut [u8], used: &mut usize) -> Result<(), ClientError> {
        loop {
            let rest = input.get_mut(*used..).unwrap_or_default();
            self.core.connection.unfold(rest);
            let (mut rest, len) = (&*rest, rest.len());
            let event = self.core.connection.next(&self.core.config.rules, &mut rest);
            *used += len - rest.len();
            match event.map_err(|violation| self.fail(ClientError::Violation(violation)))? {
                Some(ClientEvent::Informational(head)) => {
                    self.call(cx, |caller, requester| caller.informational(&head, requester))?;
                }
                Some(ClientEvent::Response(head)) if self.core.connection.response_state() == State::Switched => {
                    match self.caller.switched(&head) {
                        Some(_) if !self.core.can_switch => {
                            cx.abort();
                            return Err(self.fail(ClientError::Misuse(Misuse::CannotSwitch)));
                        }
                        Some(next) => self.next = Some(Box::new(next)),
                        None => cx.close(),
                    }
                    return Ok(());
                }
                Some(ClientEvent::Response(head)) => {
                    passed(&mut self.core.deadline);
                    self.call(cx, |caller, requester| caller.response(&head, requester))?;
                }
                Some(ClientEvent::Data(data)) => {
                    let timeouts = &self.core.config.timeouts;
                    let (pause, rate) = (timeouts.body, timeouts.body_rate);
                    self.core
                        .deadline
                        .prolong(cx.now(), Timer::Body, data.len(), pause, rate);
                    self.call(cx, |caller, requester| caller.data(data, requester))?;
                }
                Some(ClientEvent::End(trailers)) => {
                    passed(&mut self.core.deadline);
                    self.call(cx, |caller, requester| caller.end(trailers, requester))?;
                    self.next_exchange(cx)?;
                }
                None | Some(ClientEvent::Switched) => return Ok(()),
                Some(ClientEvent::Closed) => {
                    cx.close();
                    return Ok(());
                }
            }
            // After the caller has closed the connection, further input is irrelevant.
            let closing = self.core.connection.must_close() || cx.intent() != Intent::Continue;
            if self.core.paused || closing {
                return Ok(());
            }
        }
    }

    /// Begins the next exchange, or closes the connection if there can be none.
    fn next_exchange(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        if self.core.connection.must_close() {
            cx.close();
        } else if self.core.connection.is_idle() {
            return self.call(cx, Caller::ready);
        }
        Ok(())
    }

    fn set_deadline(&mut self, cx: &Cx<'_>) {
        let (now, timeouts) = (cx.now(), &self.core.config.timeouts);
        let deadline = &mut self.core.deadline;
        match (
            self.core.connection.request_state(),
            self.core.connection.response_state(),
        ) {
            // The driver limits how long the server may refuse output.
            _ if cx.is_congested() || self.core.paused => deadline.disarm(),
            (State::Switched, _) => deadline.disarm(),
            (_, State::Idle) => deadline.arm(now, Timer::Idle, timeouts.idle),
            (_, State::Body) => deadline.keep(now, Timer::Body, timeouts.body),
            // While the request is being sent, the wait for its response starts anew.
            (State::Body, _) => deadline.arm(now, Timer::Answer, timeouts.answer),
            _ if deadline.timer() == Timer::Idle => deadline.arm(now, Timer::Answer, timeouts.answer),
            _ => deadline.keep(now, Timer::Answer, timeouts.answer),
        }
    }

    /// After a call of the caller: sets the deadline.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        cx.pause(self.core.paused);
        self.set_deadline(cx);
    }
}

impl<H: Caller> Protocol for Client<H> {
    type Message = H::Message;
    type Error = ClientError;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        self.call(cx, Caller::ready)?;
        self.settle(cx);
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ClientError> {
        let mut used = 0;
        let result = self.read(cx, input.as_mut_slice(), &mut used);
        input.consume(used);
        result?;
        self.settle(cx);
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        self.core.connection.eof();
        self.read(cx, &mut [], &mut 0)?;
        cx.close();
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.core.deadline.at()
    }

    /// Always true: a server may stop reading until its responses are read.
    fn keeps_reading(&self) -> bool {
        true
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        let timer = self.core.deadline.timer();
        if timer == Timer::Idle {
            self.core.deadline.disarm();
            cx.close();
            return Ok(());
        }
        // No further output for this server is useful.
        cx.abort();
        Err(self.fail(ClientError::TimedOut(timer)))
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        self.call_between(cx, Caller::drained)
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: H::Message) -> Result<(), ClientError> {
        self.call_between(cx, |caller, requester| caller.posted(message, requester))
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), ClientError> {
        if self.core.connection.is_idle() {
            cx.close();
        } else {
            self.core.connection.close_after();
        }
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        let connection = &self.core.connection;
        let under_way = matches!(connection.response_state(), State::Respond | State::Body | State::Error)
            || connection.pipelined() > 0;
        let error = self.core.error.take().map(|error| *error);
        let ended = matches!(reason, Reason::Closed | Reason::Io(_));
        let (unanswered, error) = match error {
            _ if !under_way => (Unanswered::Nothing, error),
            None if ended && connection.is_repeatable() => (Unanswered::Repeatable, None),
            Some(ClientError::Violation(violation))
                if violation.kind() == ViolationKind::Truncated && connection.is_repeatable() =>
            {
                (Unanswered::Repeatable, None)
            }
            _ => (Unanswered::Uncertain, error),
        };
        self.caller.closed(error, reason, unanswered);
    }
}

impl<H: Caller> Upgrade for Client<H> {
    type Next = H::Next;

    #[inline(always)]
    fn take_next(&mut self, _: &mut Cx<'_>) -> Result<Option<H::Next>, Self::Error> {
        Ok(self.next.take().map(|next| *next))
    }
}
