//! Server-sent events, for readers without WebSocket (WHATWG HTML, section 9.2).

mod ids;

use std::sync::Arc;

use proto_http::{Misuse, Request, Responder};
use protocol::Sender;
use serde_json::json;

use self::ids::{Key, Last, NOWHERE};
use super::cors::Readers;
use super::{Visitor, api, parameter, parameters};
use crate::app::{App, Rights};
use crate::backend::Event;
use crate::channel::Name;
use crate::edge::{Forwarded, Ticket};
use crate::messages::{Code, Failure, MOST};
use crate::node::{Begin, Cursor, Order, Post, Reader, What};
use crate::publication::{Position, Publication};
use crate::session::{ENDED_FOR_GOOD, failure};
use crate::token::BadToken;

pub(super) const FIELDS: &[(&str, &str)] = &[
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    // Proxies that buffer answers would delay the events.
    ("X-Accel-Buffering", "no"),
];
/// The most channels of a stream. Each event's id has a position in each, of 50 bytes at most.
const MOST_CHANNELS: usize = 32;

/// The publications of one channel or several, as a stream of events.
pub(super) struct Events {
    number: u64,
    /// At least one until the stream is finished.
    channels: Vec<Followed>,
    /// Whether events name their channel, because the reader has asked for several.
    names: bool,
    /// Counts the client, as for a WebSocket; whoever drops the stream returns the ticket.
    pub(super) ticket: Option<Ticket>,
    me: Sender<Post>,
    rights: Option<Rights>,
}

/// A channel of a stream.
struct Followed {
    cursor: Cursor,
    key: Key,
    /// What the reader has asked for, until the channel begins.
    asked: Option<Box<Asked>>,
}

struct Asked {
    since: Option<Position>,
    /// At most [`MOST`].
    limit: usize,
    /// The number of the broker request made for it.
    round: Option<u64>,
}

/// Why a channel cannot be followed.
type Refused = (u16, Failure, Option<Name>);

const NO_CHANNEL: Failure = Failure::new(Code::BadRequest, "the parameter channel is not the name of one");
const TOO_MANY: Failure = Failure::new(Code::TooMany, "more channels than a stream may have");

/// The channels that a request names, each once.
fn channels(request: &Request<'_>, most: usize) -> Result<Vec<Name>, Refused> {
    let mut channels: Vec<Name> = Vec::new();
    for name in parameters(request, "channel") {
        let channel = name.parse().map_err(|_| (400, NO_CHANNEL, None))?;
        if channels.contains(&channel) {
            continue;
        }
        if channels.len() == most {
            return Err((400, TOO_MANY, None));
        }
        channels.push(channel);
    }
    if channels.is_empty() {
        return Err((400, NO_CHANNEL, None));
    }
    Ok(channels)
}

fn status(failure: Failure) -> u16 {
    match failure.code {
        Code::BadRequest => 400,
        Code::NoSuchChannel => 404,
        Code::Forbidden => 403,
        _ => 503,
    }
}

impl Events {
    /// Begins a stream. `None` if the request is already answered.
    pub(super) fn open(
        visitor: &Visitor,
        request: &Request<'_>,
        forwarded: Option<&Forwarded<'_>>,
        answer: &mut Responder<'_, '_>,
    ) -> Result<Option<Self>, Misuse> {
        let app = visitor.app();
        let settings = app.settings();
        let readers = Readers::of(request, &settings);
        if !matches!(request.method(), "GET" | "HEAD") {
            return api::wrong_method(answer, &readers, "GET, HEAD, OPTIONS").map(|()| None);
        }
        let claims = match visitor.claims(request, forwarded) {
            Ok(claims) => claims,
            Err(bad) => return api::unauthorized(answer, &readers, bad.reason()).map(|()| None),
        };
        if claims.is_none() && app.proxy().is_some_and(|proxy| proxy.urls.connect.is_some()) {
            let why = "the back end decides who may connect, and is not asked about event streams";
            return api::unauthorized(answer, &readers, why).map(|()| None);
        }
        let channels = channels(request, settings.limits.subscriptions.min(MOST_CHANNELS));
        let channels = channels.and_then(|channels| {
            for channel in &channels {
                let allowed = app.may_subscribe(channel, claims.as_ref());
                allowed.map_err(|failure| (status(failure), failure, Some(channel.clone())))?;
            }
            Ok(channels)
        });
        let number = app.number();
        let followed = channels.and_then(|channels| {
            // The head of the answer to a GET, without content.
            if request.method() == "HEAD" {
                return Ok(Vec::new());
            }
            Self::follow(visitor, request, number, &channels)
        });
        let followed = match followed {
            Ok(followed) => followed,
            Err((status, failure, Some(channel))) => {
                return api::fail_in(answer, &readers, status, failure, &channel).map(|()| None);
            }
            Err((status, failure, None)) => return api::fail(answer, &readers, status, failure).map(|()| None),
        };
        let fields = (FIELDS, readers.fields());
        if request.method() == "HEAD" {
            return answer.send(200, &fields, b"").map(|()| None);
        }
        let mut events = Events {
            number,
            names: followed.len() > 1,
            channels: followed,
            ticket: None,
            me: visitor.sender.clone(),
            rights: claims.map(|claims| app.rights(claims, &visitor.sender)),
        };
        answer.start(200, &fields, None)?;
        answer.write(b": comet\n\n")?;
        for index in 0..events.channels.len() {
            if answer.is_open() {
                events.start(app, answer, index)?;
            }
        }
        Ok(Some(events))
    }

    /// Subscribes to channels, from the position that the request names.
    fn follow(
        visitor: &Visitor,
        request: &Request<'_>,
        number: u64,
        channels: &[Name],
    ) -> Result<Vec<Followed>, Refused> {
        let last = request.fields().get_str("last-event-id").map(str::to_owned);
        let last = last.filter(|id| !id.is_empty()).or_else(|| parameter(request, "since"));
        let last = Last::read(last.as_deref());
        let limit = parameter(request, "limit").and_then(|limit| limit.parse::<usize>().ok());
        let one = |channel: &Name| {
            let since = last.of(channel, channels.len() == 1);
            let cursor = visitor.app().node.subscribe(channel, &visitor.sender, number, true);
            let cursor = cursor.map_err(|trouble| {
                let failure = failure(trouble);
                (status(failure), failure, Some(channel.clone()))
            })?;
            Ok(Followed {
                cursor,
                key: Key::of(channel),
                asked: Some(Box::new(Asked {
                    since,
                    limit: limit.unwrap_or(0).min(MOST),
                    round: (since == Some(NOWHERE)).then_some(0),
                })),
            })
        };
        channels.iter().map(one).collect()
    }

    /// Tells the back end that the reader has come or gone.
    pub(super) fn tell(&self, app: &App, events: [Event; 2]) {
        for event in events {
            if matches!(event, Event::Subscribe | Event::Unsubscribe) {
                for followed in &self.channels {
                    self.tell_one(app, event, Some(followed.cursor.channel()));
                }
            } else {
                self.tell_one(app, event, None);
            }
        }
    }

    fn tell_one(&self, app: &App, event: Event, channel: Option<&Name>) {
        let user = self.rights.as_ref().and_then(|rights| rights.claims.user.as_deref());
        app.tell(event, self.number, user, channel);
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
            Post::Publication(publication) => {
                let is_it =
                    |cursor: &Cursor| cursor.tag() == publication.tag && *cursor.channel() == publication.channel;
                let Some(index) = self.find(is_it) else { return Ok(()) };
                self.read(app, answer, index, |cursor, stream| {
                    cursor.receive(&publication, stream)
                })
            }
            Post::Position(feed) | Post::Look(feed) => match self.find(|cursor| cursor.is_of(&feed)) {
                Some(index) if self.is_waiting(index) => self.start(app, answer, index),
                Some(index) => self.read(app, answer, index, |cursor, stream| cursor.look(stream)),
                None => Ok(()),
            },
            // The reader reconnects by itself.
            Post::NoFeed(feed) => match self.find(|cursor| cursor.is_of(&feed)) {
                Some(index) if self.is_waiting(index) => answer.finish(),
                _ => Ok(()),
            },
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
            Post::Answer(_) => Ok(()),
        }
    }

    pub(super) fn drained(&mut self, app: &Arc<App>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if !answer.is_open() || self.is_over(app, answer)? {
            return Ok(());
        }
        for index in 0..self.channels.len() {
            // A channel may have ended the stream, because its reader is too slow.
            if answer.is_open() {
                self.read(app, answer, index, |cursor, stream| cursor.drained(stream))?;
            }
        }
        Ok(())
    }

    fn find(&self, is_it: impl Fn(&Cursor) -> bool) -> Option<usize> {
        self.channels.iter().position(|followed| is_it(&followed.cursor))
    }

    fn is_waiting(&self, index: usize) -> bool {
        self.channels
            .get(index)
            .is_some_and(|followed| followed.cursor.is_waiting())
    }

    /// Lets the reader of one channel read.
    fn read<'a, 'c>(
        &mut self,
        app: &App,
        answer: &mut Responder<'a, 'c>,
        index: usize,
        read: impl FnOnce(&mut Cursor, &mut Stream<'_, 'a, 'c>) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        let others = self.others(index);
        match self.channels.get_mut(index) {
            Some(Followed { cursor, key, .. }) => read(
                cursor,
                &mut Stream {
                    app,
                    number: self.number,
                    answer,
                    named: others.map(|others| (others, *key)),
                },
            ),
            None => Ok(()),
        }
    }

    /// The part of an id that stands for all channels but one, if ids have several parts.
    fn others(&self, index: usize) -> Option<String> {
        use std::fmt::Write;
        let mut others = String::new();
        for (at, Followed { cursor, key, asked }) in self.channels.iter().enumerate() {
            let asked = || asked.as_ref().and_then(|asked| asked.since);
            if at != index
                && let Some(position) = cursor.position().or_else(asked)
            {
                // Cannot fail: the text grows.
                let _ = write!(others, "{key}:{position},");
            }
        }
        self.names.then_some(others)
    }

    /// Carries out an order of the API, if it is for this reader, who has no name. The reader is told. The stream ends with its last channel.
    fn obey(&mut self, app: &App, order: &Order, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let user = self.rights.as_ref().and_then(|rights| rights.claims.user.as_deref());
        if !order.is_for(&app.client(self.number), user) {
            return Ok(());
        }
        match &order.what {
            What::Recheck => {
                let claims = self.rights.as_ref().map(|rights| &rights.claims);
                if !claims.is_some_and(|claims| app.node.revoked.has(claims)) {
                    return Ok(());
                }
                disconnect(3500, BadToken::Revoked.reason(), answer)
            }
            What::Disconnect { code, reason } => disconnect(*code, reason, answer),
            What::Drain { .. } => Ok(()),
            What::Rules { channel } => self.drop_if_forbidden(app, channel, answer),
            What::Unsubscribe { channel, code, reason } => match self.find(|cursor| cursor.channel() == channel) {
                Some(index) => self.unsubscribe(index, *code, reason, answer),
                None => Ok(()),
            },
        }
    }

    /// Ends a channel's part of the stream, if the rule of the channel no longer permits it.
    fn drop_if_forbidden(&mut self, app: &App, channel: &Name, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let claims = self.rights.as_ref().map(|rights| &rights.claims);
        let index = self.find(|cursor| cursor.channel() == channel);
        match (index, app.may_subscribe(channel, claims)) {
            (Some(index), Err(failure)) => self.unsubscribe(index, ENDED_FOR_GOOD, failure.reason, answer),
            _ => Ok(()),
        }
    }

    /// Ends a channel's part of the stream, and the stream with the last channel.
    fn unsubscribe(
        &mut self,
        index: usize,
        code: u16,
        reason: &str,
        answer: &mut Responder<'_, '_>,
    ) -> Result<(), Misuse> {
        let channel = self.channels.remove(index).cursor.channel().clone();
        let data = match self.names {
            true => json!({ "channel": channel, "code": code, "reason": reason }),
            false => json!({ "code": code, "reason": reason }),
        };
        answer.write(format!("event: unsubscribed\ndata: {data}\n\n").as_bytes())?;
        if self.channels.is_empty() {
            answer.finish()?;
        }
        Ok(())
    }

    /// Begins a channel, if its feed has begun.
    fn start(&mut self, app: &Arc<App>, answer: &mut Responder<'_, '_>, index: usize) -> Result<(), Misuse> {
        let Some(Followed { cursor, asked, .. }) = self.channels.get_mut(index) else {
            return Ok(());
        };
        let Some(wanted) = asked else { return Ok(()) };
        let (since, limit) = (wanted.since, wanted.limit);
        let mut begin = cursor.start(since, limit, wanted.round, true);
        if let Begin::Ask = begin {
            wanted.round = Some(app.node.verify(cursor));
            begin = cursor.start(since, limit, wanted.round, true);
        }
        let Begin::Start(start) = begin else { return Ok(()) };
        *asked = None;
        match start.recovered {
            Some(true) => app.node.counters.recovered.add(1),
            Some(false) => app.node.counters.unrecovered.add(1),
            None => {}
        }
        self.read(app, answer, index, |cursor, stream| {
            if start.recovered == Some(false) {
                stream.reset(cursor.channel(), start.from)?;
            }
            for publication in &start.publications {
                stream.publication(publication)?;
            }
            if start.publications.is_empty() && !start.more {
                // From here on a reader that reconnects can resume, even if no publication has arrived.
                let id = stream.id(start.position);
                stream.answer.write(format!("id: {id}\n\n").as_bytes())?;
            }
            cursor.drained(stream)
        })
    }
}

/// Tells the reader that the stream ends, and ends it.
fn disconnect(code: u16, reason: &str, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
    let data = json!({ "code": code, "reason": reason });
    answer.write(format!("event: disconnected\ndata: {data}\n\n").as_bytes())?;
    answer.finish()
}

/// The stream as a reader of one channel.
struct Stream<'s, 'a, 'c> {
    app: &'s App,
    /// The reader's number as a client.
    number: u64,
    answer: &'s mut Responder<'a, 'c>,
    /// In a stream of several channels: the part of ids that stands for the others, and the key of this one.
    named: Option<(String, Key)>,
}

impl Stream<'_, '_, '_> {
    /// The id of an event at this position.
    fn id(&self, position: Position) -> String {
        match &self.named {
            Some((others, key)) => format!("{others}{key}:{position}"),
            None => position.to_string(),
        }
    }
}

impl Reader for Stream<'_, '_, '_> {
    type Error = Misuse;

    fn is_congested(&self) -> bool {
        self.answer.is_congested()
    }

    fn publication(&mut self, publication: &Publication) -> Result<(), Misuse> {
        if self.named.is_none() {
            return self.answer.write_shared(publication.event().clone());
        }
        let (id, data) = (self.id(publication.position), publication.with_channel());
        self.answer.write(format!("id: {id}\ndata: {data}\n\n").as_bytes())
    }

    fn missed(&mut self, channel: &Name, from: u64, to: u64) -> Result<(), Misuse> {
        self.app.node.counters.missed.add(to - from + 1);
        self.app.is_slow(self.number, channel, to - from + 1, false);
        let data = match self.named {
            Some(_) => json!({ "channel": channel, "from": from, "to": to }),
            None => json!({ "from": from, "to": to }),
        };
        self.answer.write(format!("event: missed\ndata: {data}\n\n").as_bytes())
    }

    /// Not sent: each event contains its epoch.
    fn turned(&mut self, _: &Name, _: Position) -> Result<(), Misuse> {
        Ok(())
    }

    fn reset(&mut self, channel: &Name, position: Position) -> Result<(), Misuse> {
        let (id, Position { epoch, offset }) = (self.id(position), position);
        let data = match self.named {
            Some(_) => json!({ "channel": channel, "epoch": epoch, "offset": offset }),
            None => json!({ "epoch": epoch, "offset": offset }),
        };
        let event = format!("event: reset\nid: {id}\ndata: {data}\n\n");
        self.answer.write(event.as_bytes())
    }

    fn too_slow(&mut self, channel: &Name) -> Result<(), Misuse> {
        self.app.is_slow(self.number, channel, 0, true);
        self.app.node.counters.too_slow.add(1);
        self.answer.finish()
    }
}
