//! The handler of a connection or a stream.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use proto_http::{BodyLength, Fields, Handler, KeptRequest, Misuse, NoUpgrade, Request, Responder};
use protocol::{Sender, Waking, Woken};

use crate::answer::{Answer, Kind, Later};
use crate::app::{Found, Shared};
use crate::{Call, IntoReply, Problem};

/// Answers the requests of one connection, or of one stream of HTTP/2, by the functions of an [`App`](crate::App).
pub struct AppHandler {
    app: Arc<Shared>,
    remote: Option<SocketAddr>,
    sender: Sender<Woken>,
    state: State,
    /// Made for the first future.
    waking: Option<Waking<Woken>>,
}

/// What the current request waits for.
enum State {
    Idle,
    /// The rest of its body.
    Body(Box<Pending>),
    /// A future.
    Later(Later),
}

struct Pending {
    found: Found,
    head: KeptRequest,
    body: BytesMut,
}

impl AppHandler {
    pub(crate) fn new(app: Arc<Shared>, remote: Option<SocketAddr>, sender: Sender<Woken>) -> Self {
        Self {
            app,
            remote,
            sender,
            state: State::Idle,
            waking: None,
        }
    }

    /// Calls the function of a whole request.
    fn call(
        &mut self,
        found: Found,
        head: KeptRequest,
        body: BytesMut,
        responder: &mut Responder<'_, '_>,
    ) -> Result<(), Misuse> {
        let call = Call::new(head, body.freeze(), found.params, self.remote);
        let Answer(kind) = (found.function)(call);
        match kind {
            Kind::Now(reply) => reply.send(responder),
            Kind::Later(future) => {
                self.state = State::Later(future);
                self.poll(responder)
            }
        }
    }

    /// Polls the future, if there is one.
    fn poll(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let State::Later(future) = &mut self.state else {
            return Ok(());
        };
        let waker = self
            .waking
            .get_or_insert_with(|| Waking::new(self.sender.clone()))
            .waker();
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => Ok(()),
            Poll::Ready(reply) => {
                self.state = State::Idle;
                reply.send(responder)
            }
        }
    }
}

fn too_long(limit: usize, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
    let problem = Problem::new(413, format!("the body is longer than {limit} bytes"));
    problem.into_reply().send(responder)
}

impl Handler for AppHandler {
    type Message = Woken;
    type Next = NoUpgrade<Woken>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let found = match self.app.find(request) {
            Ok(found) => found,
            Err(reply) => return reply.send(responder),
        };
        match request.body() {
            BodyLength::Length(length) if length > self.app.limit as u64 => too_long(self.app.limit, responder),
            body if body.is_empty() => self.call(found, request.keep(), BytesMut::new(), responder),
            _ => {
                self.state = State::Body(Box::new(Pending {
                    found,
                    head: request.keep(),
                    body: BytesMut::new(),
                }));
                Ok(())
            }
        }
    }

    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let State::Body(pending) = &mut self.state else {
            return Ok(());
        };
        if data.len() > self.app.limit.saturating_sub(pending.body.len()) {
            self.state = State::Idle;
            return too_long(self.app.limit, responder);
        }
        pending.body.extend_from_slice(data);
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Body(pending) => {
                let Pending { found, head, body } = *pending;
                self.call(found, head, body, responder)
            }
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    fn posted(&mut self, _: Woken, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if let Some(waking) = &self.waking {
            waking.heard();
        }
        self.poll(responder)
    }

    fn closed(&mut self, _: bool) {
        self.state = State::Idle;
    }
}

impl fmt::Debug for AppHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppHandler").finish_non_exhaustive()
    }
}
