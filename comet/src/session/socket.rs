//! The session on its connection.

use std::time::Duration;

use proto_ws::{CloseCode, Handler, Message, Misuse, Socket};
use serde_json::value::RawValue;

use super::Session;
use super::client::ToClient;
use super::dialect::{Closing, Dialect};
use super::wire::Wire;
use crate::backend::Event;
use crate::channel::Name;
use crate::messages::{Code, Failure, Id, Reply, Request};
use crate::node::Post;
use crate::publication::Position;

impl Session {
    /// Handles a message of comet's own language.
    fn hear(&mut self, out: &mut impl Wire, now: std::time::Instant, message: Message<'_>) {
        let (id, outcome) = match message {
            Message::Text(text) => Request::read(text),
            Message::Binary(_) => (Id::NONE, Err(Failure::new(Code::BadRequest, "messages are text"))),
        };
        let outcome = self
            .may_ask(now)
            .and_then(|()| self.must_be_connected())
            .and_then(|()| outcome.and_then(|request| self.serve(out, &id, request)));
        if let Err(failure) = outcome {
            self.dialect.fail(out, &id, failure);
        }
    }

    fn must_be_connected(&self) -> Result<(), Failure> {
        match self.is_connected {
            true => Ok(()),
            false => Err(Failure::new(
                Code::Unavailable,
                "the back end is asked whether this client may connect: wait for the welcome",
            )),
        }
    }

    /// Counts a request.
    pub(super) fn may_ask(&mut self, now: std::time::Instant) -> Result<(), Failure> {
        if self.requests.take(now, self.app.requests()) {
            return Ok(());
        }
        self.app.node.counters.limited.add(1);
        let client = self.app.client(self.number);
        let notice = &self.app.notices.limits;
        notice.say(|| format!("client {client} makes more requests than max_requests: one was refused"));
        Err(Failure::new(Code::TooFast, "too many requests; slower"))
    }

    /// Handles a message from the node.
    pub(crate) fn receive(&mut self, out: &mut impl Wire, post: Post) {
        if self.is_over(out) {
            return;
        }
        match post {
            Post::Publication(publication) => self.publication(out, &publication),
            Post::Position(feed) | Post::Look(feed) => self.news(out, &feed),
            Post::NoFeed(feed) => self.no_feed(out, &feed),
            Post::Answer(answer) => self.answered(out, *answer),
            Post::Order(order) => self.obey(out, &order),
            Post::Leave => {
                self.end_all();
                self.dialect.close(out, Closing::Leave);
            }
            Post::Expired => {
                // Not expired by the time of day: the clock was set back, or another token was sent meanwhile.
                let (app, me) = (&self.app, &self.me);
                if let Some(rights) = self.rights.as_deref_mut().filter(|rights| rights.end()) {
                    app.renew(rights, me);
                }
            }
            Post::Heartbeat => self.beat(out),
        }
    }

    /// The client can take more again.
    pub(crate) fn drain(&mut self, out: &mut impl Wire) {
        if self.is_over(out) {
            return;
        }
        let mut index = 0;
        while let Some(subscription) = self.subscriptions.get_mut(index) {
            let mut client = ToClient {
                app: &self.app,
                dialect: self.dialect,
                number: self.number,
                out,
                delta: subscription.delta.then_some(&mut subscription.has_base),
            };
            let outcome = subscription.cursor.drained(&mut client);
            let is_over = outcome.is_err();
            self.settle(out, index, outcome);
            if !is_over {
                index += 1;
            }
        }
    }

    /// Says who the client is, with `data` of the back end, and subscribes it to the channels that it and its token name. Returns why the
    /// connection must end, if it must.
    pub(super) fn welcome(
        &mut self,
        out: &mut impl Wire,
        id: &Id,
        data: Option<&RawValue>,
        subs: Vec<(Name, Option<Position>)>,
    ) -> Option<Closing> {
        let user = self.user();
        let welcome = Reply::Welcome {
            id,
            left: self.left(),
            client: &self.app.client(self.number),
            node: &self.app.node.name,
            worker: self.app.node.config.worker,
            user: user.as_deref(),
            data,
        };
        self.dialect.reply(out, &welcome);
        self.tell(Event::Connect, None);
        if self.dialect == Dialect::Comet {
            self.subscribe_to_own(out);
            return None;
        }
        self.subscribe_by_server(out, subs)
    }
}

impl Handler for Session {
    type Message = Post;

    fn opened(&mut self, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        if self.dialect == Dialect::Comet {
            match self.ask_to_connect(&Id::NONE, None, Vec::new()) {
                Ok(true) => self.is_connected = false,
                Ok(false) => drop(self.welcome(socket, &Id::NONE, None, Vec::new())),
                Err(failure) => {
                    self.is_connected = false;
                    self.not_admitted(socket, &Id::NONE, failure);
                }
            }
        }
        Ok(())
    }

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        if self.is_over(socket) {
            return Ok(());
        }
        let now = socket.now();
        match (self.dialect, message) {
            (Dialect::Comet, message) => self.hear(socket, now, message),
            (_, Message::Text(text)) => self.commands(socket, now, text),
            (_, Message::Binary(_)) => self.dialect.close(socket, Closing::BadRequest),
        }
        Ok(())
    }

    fn posted(&mut self, post: Post, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        self.receive(socket, post);
        Ok(())
    }

    fn pong(&mut self, _: &[u8], _: Option<Duration>, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        self.is_over(socket);
        Ok(())
    }

    fn drained(&mut self, socket: &mut Socket<'_, '_>) -> Result<(), Misuse> {
        self.drain(socket);
        Ok(())
    }

    fn closed(&mut self, _: CloseCode, _: &str) {
        self.end_all();
    }
}
