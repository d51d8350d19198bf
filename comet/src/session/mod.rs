//! One WebSocket client.

mod centrifugo;
mod client;
mod dialect;
mod joins;
mod news;
mod proxied;
mod socket;
mod wire;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::Sender;

use self::client::ToClient;
use crate::app::{App, Rights};
use crate::backend::Event;
use crate::broker::{Done, Member, Trouble};
use crate::bucket::Bucket;
use crate::channel::Name;
use crate::edge::Ticket;
use crate::messages::{Code, Failure, Id, Reply, Request, check_data};
use crate::node::{Answer, Begin, Cursor, Feed, Outcome, Post};
use crate::publication::{Draft, Epoch, Position};
use crate::rule::Rule;
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
    dialect: Dialect,
    /// For languages in which clients first say who they are.
    is_connected: bool,
    /// Whether the client was asked for a sign of life, and has not given one.
    waits_for_pong: bool,
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
    /// Whether the client has not asked for it in a request of its own.
    by_server: bool,
    /// Whether the client gets deltas, and whether it has the publication before.
    delta: bool,
    has_base: bool,
}

// The flags need no memory: they fill padding.
const _: () = assert!(size_of::<Subscription>() == size_of::<(Cursor, Option<Box<Asked>>)>() + 8);

struct Asked {
    id: Id,
    since: Option<Position>,
    limit: usize,
    /// Whether the client takes deltas.
    delta: bool,
    /// The number of the broker request made for it.
    round: Option<u64>,
    /// Whether the server has asked for the client.
    by_server: bool,
}

impl Session {
    /// A client with the connection `me` and the rights of its token. `ticket` is returned when the client leaves.
    pub(crate) fn new(
        app: Arc<App>,
        me: Sender<Post>,
        dialect: Dialect,
        claims: Option<Claims>,
        ticket: Option<Ticket>,
    ) -> Self {
        let number = app.number();
        if dialect != Dialect::Comet {
            app.node.clients.is_pinged(number, me.clone());
        }
        app.node.clients.idles(number, me.clone());
        Session {
            number,
            rights: claims.map(|claims| Box::new(app.rights(claims, &me))),
            app,
            me,
            subscriptions: Vec::new(),
            requests: Bucket::new(),
            reading: 0,
            dialect,
            is_connected: dialect == Dialect::Comet,
            waits_for_pong: false,
            ticket,
        }
    }

    /// Tells the back end what this client has done.
    fn tell(&self, event: Event, channel: Option<&Name>) {
        let user = self.claims().and_then(|claims| claims.user.as_deref());
        self.app.tell(event, self.number, user, channel);
    }

    fn user(&self) -> Option<Arc<str>> {
        self.claims()?.user.clone()
    }

    /// How long the rights last, if they end.
    fn left(&self) -> Option<Duration> {
        self.claims()?.left(SystemTime::now(), self.app.leeway())
    }

    fn claims(&self) -> Option<&Claims> {
        self.rights.as_ref().map(|rights| &rights.claims)
    }

    fn serve(&mut self, out: &mut impl Wire, id: &Id, request: Request<'_>) -> Result<(), Failure> {
        match request {
            Request::Subscribe {
                channel,
                since,
                limit,
                delta,
            } => {
                let asked = Asked {
                    id: id.clone(),
                    since,
                    limit,
                    delta,
                    // A position with an invalid epoch needs no request to the broker.
                    round: since.filter(|since| since.epoch == Epoch::NONE).map(|_| 0),
                    by_server: false,
                };
                match self.must_ask(|rule| rule.subscribe, &channel, Claims::may_subscribe) {
                    Some(proxy) => self.ask_to_subscribe(&proxy, channel, asked)?,
                    None => self.subscribe(out, &channel, asked)?,
                }
            }
            Request::Unsubscribe { channel } => {
                if !self.cancel(out, &channel) {
                    let index = self.find_asked(&channel).ok_or(NOT_SUBSCRIBED)?;
                    if let Some(asked) = self.end_one(index) {
                        self.dialect.fail(out, &asked.id, ENDED);
                    }
                }
                let gone = Reply::Unsubscribed {
                    id: Some(id),
                    channel: &channel,
                    code: None,
                    reason: None,
                    number: ENDED_FOR_GOOD,
                };
                self.dialect.reply(out, &gone);
            }
            Request::Publish { channel, data, key } => {
                if let Some(proxy) = self.must_ask(|rule| rule.publish, &channel, Claims::may_publish) {
                    return self.ask_to_publish(&proxy, id, channel, data, key);
                }
                let rule = self.app.may_publish(&channel, self.claims())?;
                check_data(data)?;
                let mut draft = Draft::new(channel.clone(), self.user(), data);
                draft.key = key;
                let done = self.answer(id, channel, Outcome::Published);
                self.app.publish(draft, &rule, Some(self.number), done);
            }
            Request::History { channel, part, limit } => {
                let mut keep = self.may_look(&channel)?.keep;
                keep.publications = keep.publications.min(limit);
                self.may_read(out)?;
                let done = self.answer(id, channel.clone(), Outcome::Snapshot);
                self.app.node.broker().snapshot(&channel, part, keep, done);
            }
            Request::Presence { channel } => {
                if !self.may_look(&channel)?.presence {
                    return Err(Failure::new(
                        Code::NotAvailable,
                        "this channel tells nobody who is there",
                    ));
                }
                self.may_read(out)?;
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
                    client: &self.app.client(self.number),
                    left: self.left(),
                };
                self.dialect.reply(out, &authorized);
                self.drop_what_is_forbidden(out, user == user_before);
                self.subscribe_to_own(out);
                if user != user_before {
                    self.tell(Event::Authorize, None);
                    self.tell_who_it_is();
                }
            }
            Request::Ping => self.dialect.reply(out, &Reply::Pong { id }),
        }
        Ok(())
    }

    /// Counts one more outstanding long answer, if permitted.
    fn may_read(&mut self, out: &impl Wire) -> Result<(), Failure> {
        if self.reading >= READING || out.is_congested() {
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
    fn drop_what_is_forbidden(&mut self, out: &mut impl Wire, is_same_user: bool) {
        let mut index = 0;
        while index < self.subscriptions.len() {
            if !self.drop_if_forbidden(out, index, is_same_user) {
                index += 1;
            }
        }
    }

    /// Ends a subscription that the client's rights or the rules do not permit. Returns whether it has ended.
    fn drop_if_forbidden(&mut self, out: &mut impl Wire, index: usize, is_same_user: bool) -> bool {
        let Some(subscription) = self.subscriptions.get(index) else {
            return false;
        };
        let channel = subscription.cursor.channel().clone();
        if channel.joined().is_some() || self.may_keep(&channel, is_same_user) {
            return false;
        }
        if let Some(asked) = self.end_one(index) {
            let failure = Failure::new(Code::Forbidden, "no token names this channel");
            self.dialect.fail(out, &asked.id, failure);
            return true;
        }
        let gone = Reply::Unsubscribed {
            id: None,
            channel: &channel,
            code: Some(Code::Forbidden),
            reason: None,
            number: ENDED_FOR_GOOD,
        };
        self.dialect.reply(out, &gone);
        true
    }

    /// Updates the client's user in the presence of its channels.
    fn tell_who_it_is(&self) {
        for subscription in self.subscriptions.iter().filter(|subscription| subscription.present) {
            let broker = self.app.node.broker();
            broker.enter(subscription.cursor.channel(), self.member());
        }
    }

    fn subscribe(&mut self, out: &mut impl Wire, channel: &Name, asked: Asked) -> Result<(), Failure> {
        let rule = self.app.may_subscribe(channel, self.claims())?;
        self.begin(out, channel, asked, &rule)
    }

    /// Subscribes to a channel that the client may read.
    fn begin(&mut self, out: &mut impl Wire, channel: &Name, mut asked: Asked, rule: &Rule) -> Result<(), Failure> {
        if rule.latest && asked.since == Some(Position::NOTHING) {
            // How clients of Centrifugo ask for the latest publication.
            (asked.since, asked.round) = (None, None);
        }
        let (present, joins) = (rule.presence, rule.join_leave);
        let is_by_server = asked.by_server;
        if let Some(index) = self.find(channel) {
            // A client of comet's own language may give its position in a channel that the server has subscribed it to.
            let is_of_server = self.subscriptions.get(index).is_some_and(|one| one.by_server);
            if !is_of_server || is_by_server || self.dialect != Dialect::Comet {
                return Err(Failure::new(Code::AlreadySubscribed, "subscribed already"));
            }
            self.end_one(index);
        }
        let limit = self.app.settings().limits.subscriptions;
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
        let delta = rule.delta && asked.delta;
        self.add(Subscription {
            cursor,
            delta,
            has_base: false,
            asked: Some(Box::new(asked)),
            present,
            joins,
            joined: false,
            by_server: is_by_server,
        });
        if joins {
            self.follow_joins(out, channel)?;
        }
        if let Some(index) = self.find(channel) {
            self.start(out, index);
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
    fn start(&mut self, out: &mut impl Wire, index: usize) {
        let Some(subscription) = self.subscriptions.get_mut(index) else {
            return;
        };
        let Some(asked) = &mut subscription.asked else {
            return self.start_joins(index);
        };
        let (since, limit) = (asked.since, asked.limit);
        let mut begin = subscription
            .cursor
            .start(since, limit, asked.round, !out.is_congested());
        if let Begin::Ask = begin {
            asked.round = Some(self.app.node.verify(&subscription.cursor));
            begin = subscription
                .cursor
                .start(since, limit, asked.round, !out.is_congested());
        }
        let Begin::Start(start) = begin else { return };
        match start.recovered {
            Some(true) => self.app.node.counters.recovered.add(1),
            Some(false) => {
                self.app.node.counters.unrecovered.add(1);
                let (number, channel) = (self.number, subscription.cursor.channel());
                tracing::debug!(number, %channel, "a client came back too late to get everything");
            }
            None => {}
        }
        self.dialect.reply(
            out,
            &Reply::Subscribed {
                id: (!subscription.by_server).then_some(&asked.id),
                channel: subscription.cursor.channel(),
                epoch: start.position.epoch,
                offset: start.position.offset,
                recovered: start.recovered,
                publications: &start.publications,
                delta: subscription.delta,
            },
        );
        subscription.asked = None;
        subscription.has_base = !start.publications.is_empty();
        let user = self.rights.as_ref().and_then(|rights| rights.claims.user.as_deref());
        self.app
            .tell(Event::Subscribe, self.number, user, Some(subscription.cursor.channel()));
        let mut client = ToClient {
            app: &self.app,
            dialect: self.dialect,
            number: self.number,
            out,
            delta: subscription.delta.then_some(&mut subscription.has_base),
        };
        let outcome = subscription.cursor.drained(&mut client);
        if subscription.joins {
            let channel = subscription.cursor.channel().clone();
            self.join(&channel);
        }
        self.settle(out, index, outcome);
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
    fn end_subscription(&mut self, index: usize) -> Option<Box<Asked>> {
        let subscription = self.subscriptions.remove(index);
        let channel = subscription.cursor.channel();
        if subscription.asked.is_none() && channel.joined().is_none() {
            self.tell(Event::Unsubscribe, Some(channel));
        }
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
        let asked = self.end_subscription(index);
        if self.subscriptions.is_empty() {
            self.app.node.clients.idles(self.number, self.me.clone());
        }
        asked
    }

    fn end_all(&mut self) {
        while let Some(last) = self.subscriptions.len().checked_sub(1) {
            let _ = self.end_subscription(last);
        }
    }

    /// Ends the connection.
    pub(crate) fn end(&mut self, out: &mut EventsWire<'_, '_, '_>, closing: Closing) {
        self.end_all();
        self.dialect.close(out, closing);
    }

    /// Ends the connection if its token has expired. Another token may have been sent before.
    fn is_over(&mut self, out: &mut impl Wire) -> bool {
        if !self.app.has_ended(self.rights.as_deref()) {
            return false;
        }
        self.dialect.close(out, Closing::Expired);
        self.end_all();
        true
    }
}

impl Drop for Session {
    /// Also runs if a panic has prevented `closed` from being called.
    fn drop(&mut self) {
        self.end_all();
        if let Some(proxy) = self.app.proxy() {
            proxy.forget(self.number);
        }
        if self.is_connected {
            self.tell(Event::Disconnect, None);
        }
        self.app.node.clients.left(self.number);
        self.app.edge.leave(self.ticket.take());
    }
}

pub(crate) use centrifugo::{Connect, push_of, push_of_delta};
pub(crate) use client::failure;
pub(crate) use dialect::{Closing, Dialect};
pub(crate) use wire::Events as EventsWire;
use wire::Wire;

/// Centrifugo's code for subscriptions that the server ends for good.
pub(crate) const ENDED_FOR_GOOD: u16 = 2000;
const ENDED: Failure = Failure::new(Code::Unsubscribed, "the client has ended this subscription");
const NOT_SUBSCRIBED: Failure = Failure::new(Code::NotSubscribed, "not subscribed");
