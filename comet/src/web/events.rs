//! Server-sent events, for readers without WebSocket (WHATWG HTML, section 9.2).

use std::sync::Arc;

use proto_http::{Misuse, Request, Responder};
use protocol::Sender;

use super::{Visitor, api, cors, parameter};
use crate::app::{App, Rights};
use crate::backend::Event;
use crate::channel::Name;
use crate::edge::Ticket;
use crate::messages::{Code, Failure, MOST};
use crate::node::{Begin, Cursor, Order, Post, Reader, What};
use crate::publication::{Epoch, Position, Publication};
use crate::session::failure;
use crate::token::BadToken;

pub(super) const FIELDS: &[(&str, &str)] = &[
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    // Proxies that buffer answers would delay the events.
    ("X-Accel-Buffering", "no"),
];

/// The publications of one channel, as a stream of events.
pub(super) struct Events {
    number: u64,
    cursor: Cursor,
    since: Option<Position>,
    /// At most [`MOST`].
    limit: u32,
    /// Counts the client, as for a WebSocket; whoever drops the stream returns the ticket.
    pub(super) ticket: Option<Ticket>,
    /// The number of the broker request made for it.
    round: Option<u64>,
    me: Sender<Post>,
    rights: Option<Rights>,
}

/// An invalid position, which counts as one of an earlier life.
const NOWHERE: Position = Position {
    epoch: Epoch::NONE,
    offset: u64::MAX,
};

impl Events {
    /// Begins a stream. `None` if the request is already answered.
    pub(super) fn open(
        visitor: &Visitor,
        request: &Request<'_>,
        answer: &mut Responder<'_, '_>,
    ) -> Result<Option<Self>, Misuse> {
        if !matches!(request.method(), "GET" | "HEAD") {
            return api::wrong_method(answer, "GET, HEAD, OPTIONS").map(|()| None);
        }
        let claims = match visitor.claims(request) {
            Ok(claims) => claims,
            Err(bad) => return api::unauthorized(answer, bad.reason()).map(|()| None),
        };
        let app = visitor.app();
        let asks = |app: &App| app.proxy().is_some_and(|proxy| proxy.urls.connect.is_some());
        if claims.is_none() && asks(visitor.app()) {
            return api::unauthorized(
                answer,
                "the back end decides who may connect, and is not asked about event streams",
            )
            .map(|()| None);
        }
        let channel = parameter(request, "channel").and_then(|name| name.parse::<Name>().ok());
        let channel = channel.ok_or(Failure::new(
            Code::BadRequest,
            "the parameter channel is not the name of one",
        ));
        let channel = channel.and_then(|channel| app.may_subscribe(&channel, claims.as_ref()).map(|_| channel));
        let mut fields = FIELDS.to_vec();
        fields.extend(cors::fields(request, &app.settings.origins));
        let number = app.number();
        let cursor = match channel {
            // The head of the answer to a GET, without content.
            Ok(_) if request.method() == "HEAD" => return answer.send(200, &fields[..], b"").map(|()| None),
            Ok(channel) => app
                .node
                .subscribe(&channel, &visitor.sender, number, true)
                .map_err(failure),
            Err(failure) => Err(failure),
        };
        let cursor = match cursor {
            Ok(cursor) => cursor,
            Err(failure) => {
                let status = match failure.code {
                    Code::BadRequest => 400,
                    Code::NoSuchChannel => 404,
                    Code::Forbidden => 403,
                    _ => 503,
                };
                return api::fail(answer, status, failure).map(|()| None);
            }
        };
        let last = request.fields().get_str("last-event-id").map(str::to_owned);
        let since = last.filter(|id| !id.is_empty()).or_else(|| parameter(request, "since"));
        let since = since.map(|id| id.parse().unwrap_or(NOWHERE));
        let limit = parameter(request, "limit").and_then(|limit| limit.parse::<usize>().ok());
        let mut events = Events {
            number,
            cursor,
            since,
            limit: limit.unwrap_or(0).min(MOST) as u32,
            ticket: None,
            round: (since == Some(NOWHERE)).then_some(0),
            me: visitor.sender.clone(),
            rights: claims.map(|claims| app.rights(claims, &visitor.sender)),
        };
        answer.start(200, &fields[..], None)?;
        answer.write(b": comet\n\n")?;
        events.start(app, answer)?;
        Ok(Some(events))
    }

    /// Tells the back end that the reader has come or gone.
    pub(super) fn tell(&self, app: &App, events: [Event; 2]) {
        let user = self.rights.as_ref().and_then(|rights| rights.claims.user.as_deref());
        for event in events {
            let channel = matches!(event, Event::Subscribe | Event::Unsubscribe);
            app.tell(event, self.number, user, channel.then(|| self.cursor.channel()));
        }
    }

    /// Whether the reader's token has expired, which ends the stream.
    fn is_over(&self, app: &App, answer: &mut Responder<'_, '_>) -> Result<bool, Misuse> {
        if !app.has_ended(self.rights.as_ref()) {
            return Ok(false);
        }
        answer.finish()?;
        Ok(true)
    }

    pub(super) fn posted(&mut self, app: &Arc<App>, post: Post, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if !answer.is_open() || self.is_over(app, answer)? {
            return Ok(());
        }
        match post {
            Post::Publication(publication) if publication.channel == *self.cursor.channel() => {
                self.cursor.receive(&publication, &mut Stream { app, answer })
            }
            Post::Position(feed) | Post::Look(feed) if self.cursor.is_of(&feed) => {
                if self.cursor.is_waiting() {
                    return self.start(app, answer);
                }
                self.cursor.look(&mut Stream { app, answer })
            }
            // The reader reconnects by itself.
            Post::NoFeed(feed) if self.cursor.is_of(&feed) && self.cursor.is_waiting() => answer.finish(),
            Post::Leave => answer.finish(),
            Post::Order(order) => self.obey(app, &order, answer),
            Post::Expired => {
                // Not expired by the time of day.
                if let Some(rights) = self.rights.as_mut().filter(|rights| rights.end()) {
                    app.renew(rights, &self.me);
                }
                Ok(())
            }
            Post::Heartbeat => answer.write(b":\n\n"),
            _ => Ok(()),
        }
    }

    pub(super) fn drained(&mut self, app: &Arc<App>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if answer.is_open() && !self.is_over(app, answer)? {
            return self.cursor.drained(&mut Stream { app, answer });
        }
        Ok(())
    }

    /// Carries out an order of the API, if it is for this reader, who has no name. The reader is told, and the stream ends.
    fn obey(&mut self, app: &App, order: &Order, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let user = self.rights.as_ref().and_then(|rights| rights.claims.user.as_deref());
        if !order.is_for(&app.client(self.number), user) {
            return Ok(());
        }
        if let What::Recheck = order.what {
            let claims = self.rights.as_ref().map(|rights| &rights.claims);
            if !claims.is_some_and(|claims| app.node.revoked.has(claims)) {
                return Ok(());
            }
        }
        let revoked = Arc::from(BadToken::Revoked.reason());
        let (event, code, reason) = match &order.what {
            What::Recheck => ("disconnected", 3500, &revoked),
            What::Disconnect { code, reason } => ("disconnected", *code, reason),
            What::Unsubscribe { channel, code, reason } if channel == self.cursor.channel() => {
                ("unsubscribed", *code, reason)
            }
            What::Unsubscribe { .. } => return Ok(()),
        };
        let data = serde_json::json!({ "code": code, "reason": reason });
        answer.write(format!("event: {event}\ndata: {data}\n\n").as_bytes())?;
        answer.finish()
    }

    fn start(&mut self, app: &Arc<App>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let limit = self.limit as usize;
        let mut begin = self.cursor.start(self.since, limit, self.round, true);
        if let Begin::Ask = begin {
            self.round = Some(app.node.verify(&self.cursor));
            begin = self.cursor.start(self.since, limit, self.round, true);
        }
        let Begin::Start(start) = begin else { return Ok(()) };
        let mut stream = Stream { app, answer };
        match start.recovered {
            Some(true) => app.node.counters.recovered.add(1),
            Some(false) => {
                app.node.counters.unrecovered.add(1);
                stream.reset(self.cursor.channel(), start.from)?;
            }
            None => {}
        }
        for publication in &start.publications {
            stream.publication(publication)?;
        }
        if start.publications.is_empty() && !start.more {
            // From here on a reader that reconnects can resume, even if no publication has arrived.
            stream.answer.write(format!("id: {}\n\n", start.position).as_bytes())?;
        }
        self.cursor.drained(&mut stream)
    }
}

/// The stream as a reader of its channel.
struct Stream<'s, 'a, 'c> {
    app: &'s App,
    answer: &'s mut Responder<'a, 'c>,
}

impl Reader for Stream<'_, '_, '_> {
    type Error = Misuse;

    fn is_congested(&self) -> bool {
        self.answer.is_congested()
    }

    fn publication(&mut self, publication: &Publication) -> Result<(), Misuse> {
        self.answer.write_shared(publication.event().clone())
    }

    fn missed(&mut self, _: &Name, from: u64, to: u64) -> Result<(), Misuse> {
        self.app.node.counters.missed.add(to - from + 1);
        let event = format!("event: missed\ndata: {{\"from\":{from},\"to\":{to}}}\n\n");
        self.answer.write(event.as_bytes())
    }

    /// Not sent: each event contains its epoch.
    fn turned(&mut self, _: &Name, _: Position) -> Result<(), Misuse> {
        Ok(())
    }

    fn reset(&mut self, _: &Name, position: Position) -> Result<(), Misuse> {
        let Position { epoch, offset } = position;
        let event = format!("event: reset\nid: {position}\ndata: {{\"epoch\":\"{epoch}\",\"offset\":{offset}}}\n\n");
        self.answer.write(event.as_bytes())
    }

    fn too_slow(&mut self) -> Result<(), Misuse> {
        self.app.node.counters.too_slow.add(1);
        self.answer.finish()
    }
}
