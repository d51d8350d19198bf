//! A connection that speaks HTTP/1.1.

use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method};
use proto_http::{
    BodyLength, Caller, ClientError, Fields, Misuse, NoUpgrade, Requester, Response, Unanswered, Unframed,
};
use protocol::{FilePiece, Reason};

use crate::agent::{Agent, Outcome, Verdict};
use crate::body::Kind;
use crate::line::{Command, Line, Nudge, Task, one_error};
use crate::pipe::Piece;
use crate::{Error, Phase};

/// Bytes of a body written at once.
pub(crate) const PIECE: usize = 64 * 1024;
/// Bytes of an answer that are read and dropped, so that its connection can be used again.
pub(crate) const SKIP: usize = 64 * 1024;

/// Sends the requests of one connection.
pub(crate) struct One {
    agent: Arc<Agent>,
    line: Arc<Line>,
    waker: Waker,
    current: Option<Current>,
    begun: bool,
}

struct Current {
    task: Task,
    left: Kind,
    /// The answer is not passed on: a redirect follows.
    skips: Option<usize>,
    paused: bool,
    /// Why the request has failed on this side.
    failed: Option<Error>,
    /// The end of the answer, which is told when the pool has the connection back: else the next request would open another one.
    end: Option<Result<HeaderMap, Error>>,
}

impl One {
    pub(crate) fn new(agent: Arc<Agent>, line: Arc<Line>) -> Self {
        One {
            agent,
            waker: line.waker(),
            line,
            current: None,
            begun: false,
        }
    }

    /// Looks at the commands, and at the content on its way.
    fn look(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        while let Some(command) = self.line.next() {
            match command {
                Command::Start(task) => self.start(task, requester),
                Command::Cancel(job) => {
                    if self.current.as_ref().is_some_and(|current| current.task.job == job) {
                        requester.abort();
                    }
                }
                Command::Close if self.current.is_none() => requester.close(),
                Command::Close => {}
            }
        }
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        if current.paused && current.task.exchange.content.has_room(&self.waker) {
            current.paused = false;
            requester.pause(false);
        }
        self.pump(requester)
    }

    fn start(&mut self, task: Task, requester: &mut Requester<'_, '_>) {
        let plan = &task.plan;
        let left = plan.body.0.clone();
        let length = match &left {
            // These methods have a body, if an empty one (RFC 9110 section 8.6).
            Kind::Empty if matches!(plan.method, Method::POST | Method::PUT | Method::PATCH) => BodyLength::Length(0),
            Kind::Empty => BodyLength::Empty,
            Kind::Bytes(bytes) => BodyLength::Length(bytes.len() as u64),
            Kind::File { length, .. } => BodyLength::Length(*length),
            Kind::Stream { length: None, .. } => BodyLength::Chunked,
            Kind::Stream {
                length: Some(length), ..
            } => BodyLength::Length(*length),
        };
        let headers = Unframed(&plan.headers);
        match requester.start(plan.method.as_str(), &plan.target, &headers, length) {
            Ok(()) => {
                self.current = Some(Current {
                    task,
                    left,
                    skips: None,
                    paused: false,
                    failed: None,
                    end: None,
                });
            }
            Err(misuse) => {
                let refused = Outcome::Failed {
                    error: Error::Request(misuse),
                    repeatable: false,
                };
                self.agent.finished(Some(self.line.id), task.job, refused);
            }
        }
    }

    /// Sends as much of the body as the connection takes.
    fn pump(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        while !requester.is_congested() {
            match &mut current.left {
                Kind::Empty => return Ok(()),
                Kind::Bytes(bytes) => {
                    let piece = bytes.split_to(bytes.len().min(PIECE));
                    let done = bytes.is_empty();
                    if !piece.is_empty() {
                        requester.write_shared(piece)?;
                    }
                    if done {
                        current.left = Kind::Empty;
                        end(requester, &HeaderMap::new())?;
                    }
                }
                Kind::File { file, length } => {
                    let piece = FilePiece::new(Arc::clone(file), 0, *length);
                    if *length > 0 {
                        requester.write_file(piece)?;
                    }
                    current.left = Kind::Empty;
                    end(requester, &HeaderMap::new())?;
                }
                Kind::Stream { pipe, begun, .. } => {
                    begun.store(true, std::sync::atomic::Ordering::Relaxed);
                    match pipe.read(&self.waker) {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(Ok(Piece::Content(content))) => requester.write_shared(content)?,
                        Poll::Ready(Ok(Piece::End(trailers))) => {
                            current.left = Kind::Empty;
                            end(requester, &trailers)?;
                        }
                        Poll::Ready(Err(error)) => {
                            current.left = Kind::Empty;
                            current.failed = Some(error);
                            requester.abort();
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Ends the request, unless its framing has ended it.
fn end(requester: &mut Requester<'_, '_>, trailers: &HeaderMap) -> Result<(), Misuse> {
    match requester.finish_with(trailers) {
        Err(Misuse::OutOfTurn) => Ok(()),
        other => other,
    }
}

impl Caller for One {
    type Message = Nudge;
    type Next = NoUpgrade<Nudge>;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        match self.current.take() {
            Some(current) => {
                self.agent
                    .finished(Some(self.line.id), current.task.job, Outcome::Complete);
                current
                    .end
                    .into_iter()
                    .for_each(|end| current.task.exchange.content.finish(end));
            }
            None if !self.begun => {
                self.begun = true;
                self.agent.established(self.line.id, 1);
            }
            None => {}
        }
        self.look(requester)
    }

    fn response(&mut self, response: &Response<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        match http::Response::try_from(response) {
            Ok(head) => match self.agent.head(current.task.job, head.into_parts().0) {
                Verdict::Deliver => {}
                Verdict::Skip => current.skips = Some(SKIP),
                Verdict::Drop => requester.abort(),
            },
            Err(error) => {
                current.failed = Some(Error::Protocol(error.to_string()));
                requester.abort();
            }
        }
        Ok(())
    }

    fn data(&mut self, data: &[u8], requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        match &mut current.skips {
            Some(left) if data.len() > *left => requester.abort(),
            Some(left) => *left -= data.len(),
            None => {
                let content = Bytes::copy_from_slice(data);
                if current.task.exchange.content.write(content, &self.waker) {
                    current.paused = true;
                    requester.pause(true);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, trailers: Fields<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        if current.skips.is_none() {
            let trailers = HeaderMap::try_from(trailers).map_err(|error| Error::Protocol(error.to_string()));
            if requester.is_idle() {
                current.end = Some(trailers);
            } else {
                current.task.exchange.content.finish(trailers);
            }
        }
        if !matches!(current.left, Kind::Empty) {
            // The server has answered without reading all of the body: nobody needs the rest.
            requester.abort();
        }
        Ok(())
    }

    fn drained(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.pump(requester)
    }

    fn posted(&mut self, _: Nudge, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.look(requester)
    }

    fn closed(&mut self, error: Option<ClientError>, reason: Reason, unanswered: Unanswered) {
        let Some(mut current) = self.current.take() else { return };
        current
            .end
            .take()
            .into_iter()
            .for_each(|end| current.task.exchange.content.finish(end));
        let outcome = if current.task.exchange.content.is_finished() && current.failed.is_none() {
            Outcome::Complete
        } else {
            let error = current.failed.or(error.map(one_error)).unwrap_or_else(|| ended(reason));
            Outcome::Failed {
                error,
                repeatable: unanswered == Unanswered::Repeatable,
            }
        };
        self.agent.finished(None, current.task.job, outcome);
    }
}

/// What the end of a connection means for its request.
pub(crate) fn ended(reason: Reason) -> Error {
    match reason {
        Reason::Io(kind) => Error::Closed { kind: Some(kind) },
        Reason::File(_) => Error::Body,
        Reason::WriteTimeout => Error::Timeout(Phase::Body),
        Reason::Stopped => Error::Stopped,
        _ => Error::Closed { kind: None },
    }
}
