//! Streams of events in Centrifugo's protocol (`uni_sse`): the client says who it is and what it wants with its request, and then listens.

use std::sync::Arc;

use proto_http::{Misuse, Request, Responder};

use super::cors::Readers;
use super::{Visitor, api, parameter, too_many};
use crate::backend::Head;
use crate::edge::Ticket;
use crate::messages::{Code, Failure};
use crate::node::Post;
use crate::session::{Closing, Connect, Dialect, EventsWire, Session};

/// A stream, which begins when the request is complete.
pub(super) struct OneWay {
    body: Vec<u8>,
    ticket: Option<Ticket>,
    /// The request, if the back end will be asked.
    head: Option<Head>,
    readers: Readers,
    session: Option<Box<Session>>,
}

const MALFORMED: Failure = Failure::new(
    Code::BadRequest,
    "the body, or the parameter cf_connect, is an object as in Centrifugo's connect command",
);

impl OneWay {
    /// A stream for a request. `None` if the request is already answered.
    pub(super) fn new(
        visitor: &Visitor,
        request: &Request<'_>,
        answer: &mut Responder<'_, '_>,
    ) -> Result<Option<Self>, Misuse> {
        let readers = Readers::of(request, &visitor.app().settings());
        let body = match request.method() {
            "GET" => parameter(request, "cf_connect").unwrap_or_else(|| "{}".to_owned()),
            "POST" => String::new(),
            _ => return api::wrong_method(answer, &readers, "GET, POST, OPTIONS").map(|()| None),
        };
        let forwarded = visitor.site.forwarded(request);
        let Ok(ticket) = visitor.site.enter(forwarded.as_ref()) else {
            return too_many(answer, &readers).map(|()| None);
        };
        Ok(Some(OneWay {
            body: body.into_bytes(),
            ticket,
            head: visitor.app().proxy().map(|_| Head::of(request)),
            readers,
            session: None,
        }))
    }

    pub(super) fn data(&mut self, data: &[u8]) {
        self.body.extend_from_slice(data);
    }

    /// The request is complete: begins the stream.
    pub(super) fn begin(&mut self, visitor: &VisitorParts<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let body = core::mem::take(&mut self.body);
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let connect = serde_json::from_slice::<Connect<'_>>(&body).ok().filter(|_| is_object);
        let Some(connect) = connect else {
            return api::fail(answer, &self.readers, 400, MALFORMED);
        };
        let (app, me) = (Arc::clone(visitor.0), visitor.1.clone());
        let mut session = Box::new(Session::new(app, me, Dialect::Events, None, self.ticket.take()));
        session.came_with(self.head.take());
        answer.start(200, &(super::events::FIELDS, self.readers.fields()), None)?;
        let mut out = EventsWire(answer);
        if let Err(failure) = session.connect_one_way(&mut out, &connect) {
            let closing = match failure.code {
                Code::TokenExpired => Closing::Expired,
                _ => Closing::Again,
            };
            session.end(&mut out, closing);
        }
        self.session = Some(session);
        Ok(())
    }

    pub(super) fn posted(&mut self, post: Post, answer: &mut Responder<'_, '_>) {
        if let Some(session) = self.session.as_mut().filter(|_| answer.is_open()) {
            session.receive(&mut EventsWire(answer), post);
        }
    }

    pub(super) fn drained(&mut self, answer: &mut Responder<'_, '_>) {
        if let Some(session) = self.session.as_mut().filter(|_| answer.is_open()) {
            session.drain(&mut EventsWire(answer));
        }
    }

    /// The server stops: the client should come back, perhaps to another server.
    pub(super) fn stop(&mut self, answer: &mut Responder<'_, '_>) {
        if let Some(session) = self.session.as_mut().filter(|_| answer.is_open()) {
            session.end(&mut EventsWire(answer), Closing::Leave);
        }
    }

    /// The ticket, if the stream has not begun.
    pub(super) fn ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }
}

/// The parts of a visitor that a stream needs.
pub(super) struct VisitorParts<'v>(
    pub(super) &'v Arc<crate::app::App>,
    pub(super) &'v protocol::Sender<Post>,
);
