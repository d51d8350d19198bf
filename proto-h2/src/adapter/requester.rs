//! How a client sends requests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proto_http::{FieldLines, Misuse};
use protocol::{Cx, Output};

use super::{ClientConfig, KeptRequest};
use crate::{ClientConnection, ErrorCode, Head};

/// A request under way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) stream: u32,
    /// The number by which the caller knows the request: that of its first stream.
    pub(super) name: u32,
    /// Content that waits for the window.
    pub(super) queue: Output,
    /// The request ends after the queue.
    pub(super) end: bool,
    pub(super) congested: bool,
    /// The caller has paused the response.
    pub(super) paused: bool,
    /// Bytes of the response that arrived while it was paused, for which the server has no credit yet.
    pub(super) owed: usize,
    pub(super) due: Option<Instant>,
    /// The request, as long as it may be sent again.
    pub(super) kept: Option<Box<Kept>>,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) request: KeptRequest,
    /// How often the request may still be sent again on this connection.
    pub(super) left: u8,
}

/// A refused request that waits to be sent again.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) name: u32,
    pub(super) kept: Box<Kept>,
    pub(super) due: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<ClientConfig>,
    pub(super) connection: ClientConnection,
    pub(super) calls: Vec<Call>,
    pub(super) waiting: VecDeque<Waiting>,
    /// The kept request of the failure that the caller is told of.
    pub(super) returned: Option<KeptRequest>,
}

impl Core {
    fn named(&mut self, name: u32) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.name == name)
    }

    /// The number by which the caller knows the request on `stream`.
    pub(super) fn name_of(&self, stream: u32) -> u32 {
        let call = self.calls.iter().find(|call| call.stream == stream);
        call.map_or(stream, |call| call.name)
    }

    /// Forgets a request and returns its state. `None` if the request was forgotten before.
    pub(super) fn forget(&mut self, stream: u32) -> Option<Call> {
        let place = self.calls.iter().position(|call| call.stream == stream)?;
        Some(self.calls.remove(place))
    }

    /// Sends a kept request. Content beyond the window is queued.
    pub(super) fn send_kept(
        &mut self,
        cx: &mut Cx<'_>,
        name: Option<u32>,
        due: Option<Instant>,
        kept: Box<Kept>,
    ) -> Result<u32, (Misuse, Box<Kept>)> {
        let (limits, request) = (&self.config.limits, &kept.request);
        let (head, fields, body) = (request.head(), request.fields(), request.body());
        let (out, connection) = (cx.output().tail(), &mut self.connection);
        let started = if body.is_empty() {
            connection.request(head, &fields, limits, out)
        } else {
            connection.start_request(head, &fields, Some(body.len() as u64), limits, out)
        };
        let stream = match started {
            Ok(stream) => stream,
            Err(misuse) => return Err((misuse, kept)),
        };
        let mut queue = Output::new();
        if !body.is_empty() {
            let sent = connection.send_data(stream, body, true, limits, out).unwrap_or(0);
            let rest = body.slice(sent..);
            if !rest.is_empty() {
                queue.push(rest);
            }
        }
        self.calls.push(Call {
            stream,
            name: name.unwrap_or(stream),
            end: true,
            congested: !queue.is_empty(),
            paused: false,
            owed: 0,
            queue,
            due,
            kept: Some(kept),
        });
        Ok(name.unwrap_or(stream))
    }
}

/// Sends requests on behalf of a caller.
///
/// Every method that writes returns [`Misuse`], with nothing written, for a message that is not allowed, or not now.
#[derive(Debug)]
pub struct Requester<'a, 'c> {
    pub(super) core: &'a mut Core,
    pub(super) cx: &'a mut Cx<'c>,
}

impl Requester<'_, '_> {
    /// Whether a request may be sent now: the server permits one more, and neither side is shutting down.
    #[must_use]
    pub fn can_request(&self) -> bool {
        self.core.connection.can_request()
    }

    /// Sends a whole request. Returns its stream.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::OutOfTurn`] if [`can_request`](Self::can_request) is false, [`Misuse::NoSpace`] if `body` is longer than
    /// [`ClientConfig::max_queued`]: send such content in pieces.
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

    /// Sends a whole request, and keeps it until the server answers. If the server [refuses](ErrorCode::REFUSED_STREAM) the stream, which
    /// means that the request was not processed (RFC 9113 section 8.7), it is sent again on a new stream as soon as the server permits one,
    /// at most [`ClientConfig::repeats`] times. The returned stream number identifies the request throughout. If the request cannot be sent
    /// again on this connection, as after a GOAWAY, [`failed`](super::Caller::failed) gets it back with [`take_kept`](Self::take_kept), to
    /// send it on another connection.
    ///
    /// # Errors
    ///
    /// See [`send`](Self::send).
    pub fn send_kept(&mut self, request: KeptRequest) -> Result<u32, Misuse> {
        if request.body().len() > self.core.config.max_queued {
            return Err(Misuse::NoSpace);
        }
        let due = self.due();
        let left = self.core.config.repeats;
        let kept = Box::new(Kept { request, left });
        let sent = self.core.send_kept(self.cx, None, due, kept);
        sent.map_err(|(misuse, _)| misuse)
    }

    /// In [`failed`](super::Caller::failed): returns the failed request, if it was [kept](Self::send_kept) and its failure is
    /// [repeatable](super::Failure::is_repeatable).
    pub fn take_kept(&mut self) -> Option<KeptRequest> {
        self.core.returned.take()
    }

    /// Sends the head of a request. Its content follows with [`write`](Self::write), its end with [`finish`](Self::finish).
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

    fn due(&self) -> Option<Instant> {
        let answer = self.core.config.timeouts.answer;
        answer.and_then(|answer| self.cx.now().checked_add(answer))
    }

    fn begin(&mut self, stream: u32) {
        let due = self.due();
        self.core.calls.push(Call {
            stream,
            name: stream,
            queue: Output::new(),
            end: false,
            congested: false,
            paused: false,
            owed: 0,
            due,
            kept: None,
        });
    }

    /// Sends content. Content beyond the window is queued.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::NoSpace`] if `data` and the queue together exceed [`ClientConfig::max_queued`].
    pub fn write(&mut self, stream: u32, data: &[u8]) -> Result<(), Misuse> {
        let limits = self.core.config.limits;
        let max = self.core.config.max_queued;
        let call = self.core.calls.iter_mut().find(|call| call.name == stream);
        let call = call.filter(|call| !call.end).ok_or(Misuse::OutOfTurn)?;
        // Checked for all of `data`, even if the window takes some: an error must have written nothing.
        if data.len() > max.saturating_sub(call.queue.len()) {
            return Err(Misuse::NoSpace);
        }
        let mut rest = data;
        if call.queue.is_empty() {
            let out = self.cx.output().tail();
            let sent = self.core.connection.send_data(call.stream, data, false, &limits, out)?;
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
        let call = self.core.calls.iter_mut().find(|call| call.name == stream);
        let call = call.filter(|call| !call.end).ok_or(Misuse::OutOfTurn)?;
        call.end = true;
        if call.queue.is_empty() {
            self.core
                .connection
                .finish(call.stream, &(), &limits, self.cx.output().tail())?;
        }
        Ok(())
    }

    /// Cancels a request: resets its stream with [`CANCEL`](ErrorCode::CANCEL). No more events of the request follow.
    pub fn cancel(&mut self, stream: u32) {
        let limits = self.core.config.limits;
        self.core.waiting.retain(|waiting| waiting.name != stream);
        if let Some(call) = self.core.named(stream) {
            let stream = call.stream;
            let out = self.cx.output().tail();
            let _ = self.core.connection.reset(stream, ErrorCode::CANCEL, &limits, out);
            self.core.forget(stream);
        }
    }

    /// Stops (`true`) or resumes (`false`) the content of a response, for a caller that cannot keep up. Content that the stream's window
    /// permitted before still arrives, while a response is paused; no answer is late.
    pub fn pause(&mut self, stream: u32, pause: bool) {
        let due = self.due();
        let limits = self.core.config.limits;
        let Some(call) = self.core.calls.iter_mut().find(|call| call.name == stream) else {
            return;
        };
        call.paused = pause;
        call.due = due.filter(|_| !pause);
        let owed = std::mem::take(&mut call.owed);
        if pause {
            call.owed = owed;
        } else if owed > 0 {
            let out = self.cx.output().tail();
            let _ = self.core.connection.consume(call.stream, owed, &limits, out);
        }
    }

    /// Whether content of a stream is queued: a streamed request should then pause until [`drained`](super::Caller::drained).
    #[must_use]
    pub fn is_congested(&self, stream: u32) -> bool {
        self.cx.is_congested()
            || self
                .core
                .calls
                .iter()
                .any(|call| call.name == stream && !call.queue.is_empty())
    }

    /// The number of requests under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.core.calls.len() + self.core.waiting.len()
    }

    /// Sends no more requests, and closes the connection when the requests under way have their responses.
    pub fn close(&mut self) {
        let _ = self
            .core
            .connection
            .goaway(ErrorCode::NO_ERROR, self.cx.output().tail());
    }

    /// The time of the current call.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.cx.now()
    }
}
