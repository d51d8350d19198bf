//! One WebSocket client.

mod client;
mod joins;

use std::sync::Arc;

use proto_ws::{CloseCode, Handler, Message, Misuse, Socket};
use protocol::Sender;

use self::client::{ToClient, fail, reply};
use crate::app::{App, Rights};
use crate::broker::{Done, Member, Trouble};
use crate::bucket::Bucket;
use crate::channel::Name;
use crate::edge::Ticket;
use crate::messages::{Code, Failure, Id, Reply, Request, check_data};
use crate::node::{Answer, Begin, Cursor, Feed, Order, Outcome, Post, What};
use crate::publication::{Draft, Epoch, Position, Publication};
use crate::token::Claims;

/// The most clients in an answer about presence.
const MOST_CLIENTS: usize = 1000;
/// Outstanding answers about history or presence per client: these answers are long, and are stored for the client.
const READING: u8 = 2;

/// A client: its rights and its subscriptions.
pub(crate) struct Session {
    app: Arc<App>,
    me: Sender<Post>,
    number: u64,
    rights: Option<Box<Rights>>,
    subscriptions: Vec<Subscription>,
    requests: Bucket,
    /// Outstanding long answers.
    reading: u8,
    /// Counts the client, if it came through a trusted proxy and clients are limited.
    ticket: Option<Ticket>,
}

// The ticket needs no memory: it fills padding.
const _: () = assert!(
    size_of::<Session>()
        == size_of::<(
            Arc<App>,
            Sender<Post>,
            u64,
            Option<Box<Rights>>,
            Vec<Subscription>,
            Bucket
        )>() + 8
);

struct Subscription {
    cursor: Cursor,
    /// The subscription request, until it is answered.
    asked: Option<Box<Asked>>,
    /// Whether the client appears in the channel's presence.
    present: bool,
    /// Whether the channel tells of clients that come and leave, and whether it was told of this one.
    joins: bool,
    joined: bool,
}

// The flags need no memory: they fill padding.
const _: () = assert!(size_of::<Subscription>() == size_of::<(Cursor, Option<Box<Asked>>)>() + 8);

struct Asked {
    id: Id,
    since: Option<Position>,
    limit: usize,
    /// The number of the broker request made for it.
    round: Option<u64>,
}

type Out<'a, 'c> = Socket<'a, 'c>;

impl Session {
    /// A client with the connection `me` and the rights of its token. `ticket` is returned when the client leaves.
    pub(crate) fn new(app: Arc<App>, me: Sender<Post>, claims: Option<Claims>, ticket: Option<Ticket>) -> Self {
        let number = app.number();
        app.node.clients.idles(number, me.clone());
        Session {
            number,
            rights: claims.map(|claims| Box::new(app.rights(claims, &me))),
            app,
            me,
            subscriptions: Vec::new(),
            requests: Bucket::new(),
            reading: 0,
            ticket,
        }
    }

    fn user(&self) -> Option<Arc<str>> {
        self.claims()?.user.clone()
    }

    fn claims(&self) -> Option<&Claims> {
        self.rights.as_ref().map(|rights| &rights.claims)
    }

    fn serve(&mut self, socket: &mut Out<'_, '_>, id: &Id, request: Request<'_>) -> Result<(), Failure> {
        match request {
            Request::Subscribe { channel, since, limit } => {
                let asked = Asked {
                    id: id.clone(),
                    since,
                    limit,
                    // A position with an invalid epoch needs no request to the broker.
                    round: since.filter(|since| since.epoch == Epoch::NONE).map(|_| 0),
                };
                self.subscribe(socket, &channel, asked)?;
            }
            Request::Unsubscribe { channel } => {
                let index = self.find_asked(&channel).ok_or(NOT_SUBSCRIBED)?;
                self.end_one(index);
                let gone = Reply::Unsubscribed {
                    id: Some(id),
                    channel: &channel,
                    code: None,
                    reason: None,
                };
                reply(socket, &gone);
            }
            Request::Publish { channel, data, key } => {
                let keep = self.app.may_publish(&channel, self.claims())?.keep;
                check_data(data)?;
                let mut draft = Draft::new(channel.clone(), self.user(), data);
                draft.key = key;
                let done = self.answer(id, channel, Outcome::Published);
                self.app.node.counters.published.add(1);
                self.app.node.broker().publish(draft, keep, done);
            }
            Request::History { channel, part, limit } => {
                let mut keep = self.app.may_subscribe(&channel, self.claims())?.keep;
                keep.publications = keep.publications.min(limit);
                self.may_read(socket)?;
                let done = self.answer(id, channel.clone(), Outcome::Snapshot);
                self.app.node.broker().snapshot(&channel, part, keep, done);
            }
            Request::Presence { channel } => {
                if !self.app.may_subscribe(&channel, self.claims())?.presence {
                    return Err(Failure::new(Code::Forbidden, "this channel tells nobody who is there"));
                }
                self.may_read(socket)?;
                let done = self.answer(id, channel.clone(), Outcome::Presence);
                self.app.node.broker().presence(&channel, MOST_CLIENTS, done);
            }
            Request::Auth { token } => {
                let claims = self.app.claims(&token);
                let claims = claims.map_err(|bad| Failure::new(Code::Forbidden, bad.reason()))?;
                let user_before = self.user();
                self.rights = Some(Box::new(self.app.rights(claims, &self.me)));
                let user = self.user();
                let authorized = Reply::Authorized {
                    id,
                    user: user.as_deref(),
                };
                reply(socket, &authorized);
                self.drop_what_is_forbidden(socket);
                if user != user_before {
                    self.tell_who_it_is();
                }
            }
            Request::Ping => reply(socket, &Reply::Pong { id }),
        }
        Ok(())
    }

    /// Counts one more outstanding long answer, if permitted.
    fn may_read(&mut self, socket: &Out<'_, '_>) -> Result<(), Failure> {
        if self.reading >= READING || socket.is_congested() {
            self.app.node.counters.limited.add(1);
            return Err(Failure::new(
                Code::TooMany,
                "read the answers to earlier requests first",
            ));
        }
        self.reading += 1;
        Ok(())
    }

    /// Ends the subscriptions that the client's new rights do not permit.
    fn drop_what_is_forbidden(&mut self, socket: &mut Out<'_, '_>) {
        let mut index = 0;
        while let Some(subscription) = self.subscriptions.get(index) {
            let channel = subscription.cursor.channel().clone();
            if channel.joined().is_some() || self.app.may_subscribe(&channel, self.claims()).is_ok() {
                index += 1;
                continue;
            }
            if let Some(asked) = self.end_one(index) {
                fail(
                    socket,
                    &asked.id,
                    Failure::new(Code::Forbidden, "no token names this channel"),
                );
                continue;
            }
            let gone = Reply::Unsubscribed {
                id: None,
                channel: &channel,
                code: Some(Code::Forbidden),
                reason: None,
            };
            reply(socket, &gone);
        }
    }

    /// Updates the client's user in the presence of its channels.
    fn tell_who_it_is(&self) {
        for subscription in self.subscriptions.iter().filter(|subscription| subscription.present) {
            let broker = self.app.node.broker();
            broker.enter(subscription.cursor.channel(), self.member());
        }
    }

    fn subscribe(&mut self, socket: &mut Out<'_, '_>, channel: &Name, asked: Asked) -> Result<(), Failure> {
        let rule = self.app.may_subscribe(channel, self.claims())?;
        let (present, joins) = (rule.presence, rule.join_leave);
        if self.find(channel).is_some() {
            return Err(Failure::new(Code::AlreadySubscribed, "subscribed already"));
        }
        let limit = self.app.settings.limits.subscriptions;
        if self.subscriptions.len() >= limit && self.asked_for() >= limit {
            return Err(Failure::new(
                Code::TooMany,
                "as many subscriptions as one client may have",
            ));
        }
        let node = &self.app.node;
        let cursor = node.subscribe(channel, &self.me, self.number, false).map_err(failure)?;
        node.clients.idles_no_more(self.number);
        if present {
            self.app.node.broker().enter(channel, self.member());
        }
        self.add(Subscription {
            cursor,
            asked: Some(Box::new(asked)),
            present,
            joins,
            joined: false,
        });
        if joins {
            self.follow_joins(socket, channel)?;
        }
        if let Some(index) = self.find(channel) {
            self.start(socket, index);
        }
        Ok(())
    }

    fn add(&mut self, subscription: Subscription) {
        // Most clients have one or two subscriptions, and there are very many clients.
        self.subscriptions.reserve_exact(1);
        let index = self.first_of(subscription.cursor.tag());
        self.subscriptions.insert(index, subscription);
    }

    /// The number of subscriptions that the client has asked for.
    fn asked_for(&self) -> usize {
        let asked = |subscription: &&Subscription| subscription.cursor.channel().joined().is_none();
        self.subscriptions.iter().filter(asked).count()
    }

    /// Answers a subscription request, once its feed has begun.
    fn start(&mut self, socket: &mut Out<'_, '_>, index: usize) {
        let Some(subscription) = self.subscriptions.get_mut(index) else {
            return;
        };
        let Some(asked) = &mut subscription.asked else {
            return self.start_joins(index);
        };
        let (since, limit) = (asked.since, asked.limit);
        let mut begin = subscription
            .cursor
            .start(since, limit, asked.round, !socket.is_congested());
        if let Begin::Ask = begin {
            asked.round = Some(self.app.node.verify(&subscription.cursor));
            begin = subscription
                .cursor
                .start(since, limit, asked.round, !socket.is_congested());
        }
        let Begin::Start(start) = begin else { return };
        match start.recovered {
            Some(true) => self.app.node.counters.recovered.add(1),
            Some(false) => self.app.node.counters.unrecovered.add(1),
            None => {}
        }
        reply(
            socket,
            &Reply::Subscribed {
                id: &asked.id,
                channel: subscription.cursor.channel(),
                epoch: start.position.epoch,
                offset: start.position.offset,
                recovered: start.recovered,
                publications: &start.publications,
            },
        );
        subscription.asked = None;
        let mut client = ToClient::new(&self.app, socket);
        let Ok(()) = subscription.cursor.drained(&mut client);
        if subscription.joins {
            let channel = subscription.cursor.channel().clone();
            self.join(&channel);
        }
    }

    fn publication(&mut self, socket: &mut Out<'_, '_>, publication: &Publication) {
        let mut closed = false;
        let index = self.find_tagged(publication.tag, &publication.channel);
        if let Some(subscription) = index.and_then(|index| self.subscriptions.get_mut(index)) {
            let mut client = ToClient::new(&self.app, socket);
            let Ok(()) = subscription.cursor.receive(publication, &mut client);
            closed = client.closed;
        }
        if closed {
            self.end_all();
        }
    }

    /// The feed has begun, begun anew, or lost publications.
    fn news(&mut self, socket: &mut Out<'_, '_>, feed: &Arc<Feed>) {
        let Some(index) = self.find_feed(feed) else { return };
        let Some(subscription) = self.subscriptions.get_mut(index) else {
            return;
        };
        if subscription.cursor.is_waiting() {
            return self.start(socket, index);
        }
        let Ok(()) = subscription.cursor.look(&mut ToClient::new(&self.app, socket));
    }

    /// The feed could not begin.
    fn no_feed(&mut self, socket: &mut Out<'_, '_>, feed: &Arc<Feed>) {
        let Some(index) = self.find_feed(feed) else { return };
        let is_asked = self
            .subscriptions
            .get(index)
            .is_some_and(|subscription| subscription.asked.is_some());
        if is_asked && let Some(asked) = self.end_one(index) {
            fail(socket, &asked.id, failure(Trouble::Unavailable));
        }
    }

    fn answered(&mut self, socket: &mut Out<'_, '_>, answer: Answer) {
        let Answer {
            to: id,
            channel,
            outcome,
        } = answer;
        let id = &id;
        if matches!(outcome, Outcome::Snapshot(_) | Outcome::Presence(_)) {
            self.reading = self.reading.saturating_sub(1);
        }
        let outcome = match &outcome {
            Outcome::Said(_) | Outcome::All(_) => return,
            Outcome::Published(outcome) => outcome.as_ref().map(|position| Reply::Published {
                id,
                epoch: position.epoch,
                offset: position.offset,
            }),
            Outcome::Snapshot(outcome) => outcome.as_ref().map(|snapshot| Reply::History {
                id,
                channel: &channel,
                epoch: snapshot.position.epoch,
                offset: snapshot.position.offset,
                publications: &snapshot.publications,
                more: snapshot.more,
            }),
            Outcome::Presence(outcome) => outcome.as_ref().map(|presence| Reply::Presence {
                id,
                channel: &channel,
                total: presence.total,
                clients: &presence.clients,
            }),
        };
        match outcome {
            Ok(answer) => reply(socket, &answer),
            Err(trouble) => fail(socket, id, failure(*trouble)),
        }
    }

    /// Carries out an order of the API, if it is for this client.
    fn obey(&mut self, socket: &mut Out<'_, '_>, order: &Order) {
        let client = self.app.client(self.number);
        if !order.is_for(&client, self.user().as_deref()) {
            return;
        }
        match &order.what {
            What::Disconnect { code, reason } => {
                // Fails only while closing.
                let _ = socket.close(CloseCode::new(*code).unwrap_or(CloseCode::POLICY), reason);
                self.end_all();
            }
            What::Unsubscribe { channel, reason, .. } => {
                let Some(index) = self.find_asked(channel) else { return };
                if let Some(asked) = self.end_one(index) {
                    return fail(socket, &asked.id, ENDED);
                }
                let gone = Reply::Unsubscribed {
                    id: None,
                    channel,
                    code: Some(ENDED.code),
                    reason: Some(reason),
                };
                reply(socket, &gone);
            }
        }
    }

    /// An outcome that posts the broker's answer, for the request with this id, to this client.
    fn answer<T: 'static>(&self, id: &Id, channel: Name, outcome: fn(Result<T, Trouble>) -> Outcome) -> Done<T> {
        Answer::to(self.me.clone(), id.clone(), channel, outcome)
    }

    fn member(&self) -> Member {
        let who = self.rights.as_ref().and_then(|rights| rights.who.clone());
        Member::new(self.app.client(self.number).into(), who)
    }

    fn find(&self, channel: &Name) -> Option<usize> {
        self.find_tagged(channel.tag(), channel)
    }

    /// Finds a subscription that the client has asked for.
    fn find_asked(&self, channel: &Name) -> Option<usize> {
        self.find(channel).filter(|_| channel.joined().is_none())
    }

    fn find_tagged(&self, tag: u16, channel: &Name) -> Option<usize> {
        self.find_by(tag, |cursor| cursor.channel() == channel)
    }

    fn find_feed(&self, feed: &Arc<Feed>) -> Option<usize> {
        self.find_by(feed.name.tag(), |cursor| cursor.is_of(feed))
    }

    /// Finds a subscription by its tag and `is_it`. A binary search, because a client may have many subscriptions.
    fn find_by(&self, tag: u16, is_it: impl Fn(&Cursor) -> bool) -> Option<usize> {
        let first = self.first_of(tag);
        let tagged = self.subscriptions.get(first..)?.iter();
        let index = tagged
            .take_while(|subscription| subscription.cursor.tag() == tag)
            .position(|subscription| is_it(&subscription.cursor))?;
        Some(first + index)
    }

    /// The index of the first subscription with this tag, or where it would be.
    fn first_of(&self, tag: u16) -> usize {
        self.subscriptions
            .partition_point(|subscription| subscription.cursor.tag() < tag)
    }

    /// Ends a subscription. Returns its request if that is unanswered.
    fn end(&mut self, index: usize) -> Option<Box<Asked>> {
        let subscription = self.subscriptions.remove(index);
        let channel = subscription.cursor.channel();
        if subscription.present {
            let client = self.app.client(self.number);
            self.app.node.broker().leave(channel, &client);
        }
        if subscription.joins {
            let events = channel.joins();
            if let Some(index) = self.find(&events) {
                self.subscriptions.remove(index);
            }
            if subscription.joined {
                self.tell_of_me(&events, "leave");
            }
        }
        subscription.asked
    }

    /// Ends a subscription of a client that stays.
    fn end_one(&mut self, index: usize) -> Option<Box<Asked>> {
        let asked = self.end(index);
        if self.subscriptions.is_empty() {
            self.app.node.clients.idles(self.number, self.me.clone());
        }
        asked
    }

    fn end_all(&mut self) {
        while let Some(last) = self.subscriptions.len().checked_sub(1) {
            let _ = self.end(last);
        }
    }

    /// Ends the connection if its token has expired. Another token may have been sent before.
    fn is_over(&mut self, socket: &mut Out<'_, '_>) -> bool {
        if !self.app.has_ended(self.rights.as_deref()) {
            return false;
        }
        // Fails only while the connection is closing.
        let _ = socket.close(CloseCode::POLICY, "the token's time is over");
        self.end_all();
        true
    }
}

impl Handler for Session {
    type Message = Post;

    fn opened(&mut self, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        let user = self.user();
        let welcome = Reply::Welcome {
            client: &self.app.client(self.number),
            node: &self.app.node.name,
            worker: self.app.node.config.worker,
            user: user.as_deref(),
        };
        reply(socket, &welcome);
        Ok(())
    }

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        if self.is_over(socket) {
            return Ok(());
        }
        let (id, outcome) = match message {
            Message::Text(text) => Request::read(text),
            Message::Binary(_) => (Id::NONE, Err(Failure::new(Code::BadRequest, "messages are text"))),
        };
        let outcome = if self.requests.take(socket.now(), self.app.settings.limits.requests) {
            outcome.and_then(|request| self.serve(socket, &id, request))
        } else {
            self.app.node.counters.limited.add(1);
            Err(Failure::new(Code::TooMany, "too many requests; slower"))
        };
        if let Err(failure) = outcome {
            fail(socket, &id, failure);
        }
        Ok(())
    }

    fn posted(&mut self, post: Post, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        if self.is_over(socket) {
            return Ok(());
        }
        match post {
            Post::Publication(publication) => self.publication(socket, &publication),
            Post::Position(feed) | Post::Look(feed) => self.news(socket, &feed),
            Post::NoFeed(feed) => self.no_feed(socket, &feed),
            Post::Answer(answer) => self.answered(socket, *answer),
            Post::Order(order) => self.obey(socket, &order),
            Post::Leave => {
                self.end_all();
                socket.close(CloseCode::RESTART, "come back")?;
            }
            Post::Expired => {
                // Not expired by the time of day: the clock was set back, or another token was sent meanwhile.
                let (app, me) = (&self.app, &self.me);
                if let Some(rights) = self.rights.as_deref_mut().filter(|rights| rights.end()) {
                    app.renew(rights, me);
                }
            }
            // WebSocket has Pings of its own.
            Post::Heartbeat => {}
        }
        Ok(())
    }

    fn pong(&mut self, _: &[u8], _: Option<std::time::Duration>, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        self.is_over(socket);
        Ok(())
    }

    fn drained(&mut self, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        if self.is_over(socket) {
            return Ok(());
        }
        for subscription in &mut self.subscriptions {
            let Ok(()) = subscription.cursor.drained(&mut ToClient::new(&self.app, socket));
        }
        Ok(())
    }

    fn closed(&mut self, _: CloseCode, _: &str) {
        self.end_all();
    }
}

impl Drop for Session {
    /// Also runs if a panic has prevented `closed` from being called.
    fn drop(&mut self) {
        self.end_all();
        self.app.node.clients.idles_no_more(self.number);
        self.app.edge.leave(self.ticket.take());
    }
}

pub(crate) use client::failure;

const ENDED: Failure = Failure::new(Code::Unsubscribed, "the server has ended this subscription");
const NOT_SUBSCRIBED: Failure = Failure::new(Code::NotSubscribed, "not subscribed");
