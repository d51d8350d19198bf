//! A connection that speaks HTTP/2.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONNECTION, HOST, HeaderName, TE, UPGRADE};
use proto_h2::{Caller, ClientError, Failure, Head, Requester};
use proto_http::{Fields, Misuse, Response, Unframed};
use protocol::{FilePiece, Reason};

use crate::agent::{Agent, Outcome, Verdict};
use crate::body::Kind;
use crate::line::{Command, Line, Nudge, Task, two_error};
use crate::one::{PIECE, ended};
use crate::pipe::Piece;
use crate::pool::JobId;
use crate::{Error, Phase};

/// Requests on one connection at the same time. Servers permit 100 or more (RFC 9113 section 6.5.2).
const STREAMS: usize = 100;

/// Sends the requests of one connection.
pub(crate) struct Two {
    agent: Arc<Agent>,
    line: Arc<Line>,
    waker: Waker,
    streams: HashMap<u32, Current>,
    /// Requests for which the server permits no stream yet.
    waiting: VecDeque<Task>,
    begun: bool,
    /// Whether an answer was complete.
    served: bool,
}

struct Current {
    task: Task,
    left: Kind,
    offset: u64,
    skips: bool,
    paused: bool,
    heard: bool,
}

impl Two {
    pub(crate) fn new(agent: Arc<Agent>, line: Arc<Line>) -> Self {
        Two {
            agent,
            waker: line.waker(),
            line,
            streams: HashMap::new(),
            waiting: VecDeque::new(),
            begun: false,
            served: false,
        }
    }

    fn look(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        while let Some(command) = self.line.next() {
            match command {
                Command::Start(task) => self.waiting.push_back(task),
                Command::Cancel(job) => self.cancel(job, requester),
                Command::Close if self.streams.is_empty() && self.waiting.is_empty() => requester.close(),
                Command::Close => {}
            }
        }
        while requester.can_request()
            && let Some(task) = self.waiting.pop_front()
        {
            self.start(task, requester);
        }
        for (&stream, current) in &mut self.streams {
            if current.paused && current.task.exchange.content.has_room(&self.waker) {
                current.paused = false;
                requester.pause(stream, false);
            }
        }
        let streams: Vec<u32> = self.streams.keys().copied().collect();
        streams.into_iter().try_for_each(|stream| self.pump(stream, requester))
    }

    fn cancel(&mut self, job: JobId, requester: &mut Requester<'_, '_>) {
        if let Some(at) = self.waiting.iter().position(|task| task.job == job) {
            self.waiting.remove(at);
            return self.agent.finished(Some(self.line.id), job, Outcome::Complete);
        }
        let found = self.streams.iter().find(|(_, current)| current.task.job == job);
        if let Some((&stream, _)) = found {
            requester.cancel(stream);
            self.over(stream, Outcome::Complete);
        }
    }

    fn start(&mut self, task: Task, requester: &mut Requester<'_, '_>) {
        let plan = &task.plan;
        let mut headers = plan.headers.clone();
        // Fields of a connection of HTTP/1.1 (RFC 9113 section 8.2.2); the authority stands in the place of Host.
        for name in [HOST, CONNECTION, UPGRADE, TE] {
            headers.remove(name);
        }
        headers.remove(HeaderName::from_static("keep-alive"));
        headers.remove(HeaderName::from_static("proxy-connection"));
        let head = Head::new(plan.method.as_str(), plan.scheme, &plan.authority, &plan.path);
        let left = plan.body.0.clone();
        let started = match &left {
            Kind::Empty => requester.send(head, &Unframed(&headers), b""),
            Kind::Bytes(bytes) => requester.start(head, &Unframed(&headers), Some(bytes.len() as u64)),
            Kind::File { length, .. } => requester.start(head, &Unframed(&headers), Some(*length)),
            Kind::Stream { length, .. } => requester.start(head, &Unframed(&headers), *length),
        };
        match started {
            Ok(stream) => {
                let current = Current {
                    task,
                    left,
                    offset: 0,
                    skips: false,
                    paused: false,
                    heard: false,
                };
                self.streams.insert(stream, current);
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

    fn pump(&mut self, stream: u32, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let Some(current) = self.streams.get_mut(&stream) else {
            return Ok(());
        };
        let mut failed = None;
        while !requester.is_congested(stream) {
            match &mut current.left {
                Kind::Empty => break,
                Kind::Bytes(bytes) => {
                    let piece = bytes.split_to(bytes.len().min(PIECE));
                    let done = bytes.is_empty();
                    if !piece.is_empty() {
                        requester.write(stream, &piece)?;
                    }
                    if done {
                        current.left = Kind::Empty;
                        requester.finish(stream)?;
                    }
                }
                Kind::File { file, length } => {
                    let rest = *length - current.offset;
                    if rest == 0 {
                        current.left = Kind::Empty;
                        requester.finish(stream)?;
                        break;
                    }
                    // Frames are made in memory; the page cache usually has what is read.
                    let piece = FilePiece::new(Arc::clone(file), current.offset, rest.min(PIECE as u64));
                    match piece.read_all() {
                        Ok(bytes) => {
                            current.offset += bytes.len() as u64;
                            requester.write(stream, &bytes)?;
                        }
                        Err(_) => failed = Some(Error::Body),
                    }
                }
                Kind::Stream { pipe, begun, .. } => {
                    begun.store(true, std::sync::atomic::Ordering::Relaxed);
                    match pipe.read(&self.waker) {
                        Poll::Pending => break,
                        Poll::Ready(Ok(Piece::Content(content))) => requester.write(stream, &content)?,
                        Poll::Ready(Ok(Piece::End(_))) => {
                            current.left = Kind::Empty;
                            requester.finish(stream)?;
                        }
                        Poll::Ready(Err(error)) => failed = Some(error),
                    }
                }
            }
            if let Some(error) = failed {
                requester.cancel(stream);
                let failed = Outcome::Failed {
                    error,
                    repeatable: false,
                };
                self.over(stream, failed);
                break;
            }
        }
        Ok(())
    }

    /// The request on `stream` is over.
    fn over(&mut self, stream: u32, outcome: Outcome) {
        if let Some(current) = self.streams.remove(&stream) {
            self.agent.finished(Some(self.line.id), current.task.job, outcome);
        }
    }
}

impl Caller for Two {
    type Message = Nudge;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        if !self.begun {
            self.begun = true;
            self.agent.established(self.line.id, STREAMS);
        }
        self.look(requester)
    }

    fn response(
        &mut self,
        stream: u32,
        response: &Response<'_>,
        requester: &mut Requester<'_, '_>,
    ) -> Result<(), Misuse> {
        let Some(current) = self.streams.get_mut(&stream) else {
            return Ok(());
        };
        current.heard = true;
        match http::Response::try_from(response) {
            Ok(head) => match self.agent.head(current.task.job, head.into_parts().0) {
                Verdict::Deliver => {}
                Verdict::Skip => current.skips = true,
                Verdict::Drop => {
                    requester.cancel(stream);
                    self.over(stream, Outcome::Complete);
                }
            },
            Err(error) => {
                requester.cancel(stream);
                let failed = Outcome::Failed {
                    error: Error::Protocol(error.to_string()),
                    repeatable: false,
                };
                self.over(stream, failed);
            }
        }
        Ok(())
    }

    fn data(&mut self, stream: u32, data: &[u8], requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let Some(current) = self.streams.get_mut(&stream) else {
            return Ok(());
        };
        if current.skips {
            // The content of a redirect: a stream costs nothing, unlike a connection.
            requester.cancel(stream);
            self.over(stream, Outcome::Complete);
            return Ok(());
        }
        let full = current
            .task
            .exchange
            .content
            .write(Bytes::copy_from_slice(data), &self.waker);
        if full && !current.paused {
            current.paused = true;
            requester.pause(stream, true);
        }
        Ok(())
    }

    fn end(&mut self, stream: u32, trailers: Fields<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let Some(current) = self.streams.get_mut(&stream) else {
            return Ok(());
        };
        let trailers = HeaderMap::try_from(trailers).map_err(|error| Error::Protocol(error.to_string()));
        let told = (!current.skips).then(|| Arc::clone(&current.task.exchange));
        if !matches!(current.left, Kind::Empty) {
            requester.cancel(stream);
        }
        self.served = true;
        self.over(stream, Outcome::Complete);
        // Told when the pool knows that the stream is free.
        told.into_iter()
            .for_each(|exchange| exchange.content.finish(trailers.clone()));
        self.look(requester)
    }

    fn failed(&mut self, stream: u32, failure: Failure, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let error = match failure {
            Failure::Reset(code) => Error::Reset(code.0),
            Failure::Violation(violation) => Error::Protocol(violation.to_string()),
            Failure::TimedOut => match self.streams.get(&stream).is_some_and(|current| current.heard) {
                true => Error::Timeout(Phase::Body),
                false => Error::Timeout(Phase::Answer),
            },
            _ => Error::Closed { kind: None },
        };
        if matches!(failure, Failure::Goaway(_)) {
            self.agent.retire(self.line.id);
        }
        let failed = Outcome::Failed {
            error,
            repeatable: failure.is_repeatable(),
        };
        self.over(stream, failed);
        self.look(requester)
    }

    fn drained(&mut self, stream: u32, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.pump(stream, requester)
    }

    fn posted(&mut self, _: Nudge, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.look(requester)
    }

    fn closed(&mut self, error: Option<ClientError>, reason: Reason, _: &[u32]) {
        for task in self.waiting.drain(..) {
            self.agent.finished(None, task.job, Outcome::NotSent);
        }
        for (_, current) in self.streams.drain() {
            let idempotent = current.task.plan.method.is_idempotent();
            // As for a kept connection of HTTP/1.1 (RFC 9112 section 9.3.1).
            let kept = self.served && !current.heard && idempotent && error.is_none();
            let failed = Outcome::Failed {
                error: error.map_or_else(|| ended(reason), two_error),
                repeatable: kept && matches!(reason, Reason::Closed | Reason::Io(_)),
            };
            self.agent.finished(None, current.task.job, failed);
        }
    }
}
