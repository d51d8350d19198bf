//! What the back end decides about a client.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::RawValue;

use super::dialect::{Closing, Dialect};
use super::wire::Wire;
use super::{Asked, ENDED, Session};
use crate::backend::{Head, Pending, Proxy, Question, UNANSWERED, Verdict};
use crate::broker::{Done, Trouble};
use crate::channel::Name;
use crate::messages::Reply;
use crate::messages::{Code, Failure, Id, check_data};
use crate::node::{Answer, Outcome, Post};
use crate::publication::{Draft, Epoch, Position};
use crate::rule::{Access, Rule};
use crate::token::Claims;

impl Session {
    /// The proxy to ask, if the back end decides about `channel` and the client's token does not name the channel.
    pub(super) fn must_ask(
        &self,
        access: impl Fn(&Rule) -> Access,
        channel: &Name,
        is_named: impl Fn(&Claims, &Name) -> bool,
    ) -> Option<Arc<Proxy>> {
        let rule = self.app.rule(channel).ok()?;
        if access(&rule) != Access::Proxy || self.claims().is_some_and(|claims| is_named(claims, channel)) {
            return None;
        }
        self.app.proxy().cloned()
    }

    /// The rule of a channel whose history and presence the client may see. Where the back end decides, subscribers may.
    pub(super) fn may_look(&self, channel: &Name) -> Result<Arc<Rule>, Failure> {
        let is_subscribed = || {
            let index = self.find_asked(channel)?;
            self.subscriptions.get(index)?.asked.is_none().then_some(())
        };
        match self.app.rule(channel)? {
            rule if rule.subscribe == Access::Proxy && is_subscribed().is_some() => Ok(rule),
            _ => self.app.may_subscribe(channel, self.claims()),
        }
    }

    /// Whether the client keeps its subscription when it has shown another token. What the back end has allowed was allowed to its user.
    pub(super) fn may_keep(&self, channel: &Name, is_same_user: bool) -> bool {
        let is_proxied = self.app.rule(channel).is_ok_and(|rule| rule.subscribe == Access::Proxy);
        is_same_user && is_proxied || self.app.may_subscribe(channel, self.claims()).is_ok()
    }

    /// Keeps the request of the client, if the back end will be asked whether the client may connect.
    pub(crate) fn came_with(&self, head: Option<Head>) {
        let proxy = self.app.proxy().filter(|proxy| proxy.urls.connect.is_some());
        if let Some((proxy, head)) = proxy.zip(head).filter(|_| self.rights.is_none()) {
            proxy.keep(self.number, head);
        }
    }

    /// Asks the back end whether a client without a token may connect. `subs` are the channels that the client wants as it connects. Returns
    /// false if there is nobody to ask.
    pub(super) fn ask_to_connect(
        &mut self,
        id: &Id,
        data: Option<&RawValue>,
        subs: Vec<(Name, Option<Position>)>,
    ) -> Result<bool, Failure> {
        let proxy = self
            .app
            .proxy()
            .filter(|proxy| proxy.urls.connect.is_some() && self.rights.is_none());
        let Some((proxy, url)) = proxy.and_then(|proxy| Some((proxy, proxy.urls.connect.as_ref()?))) else {
            return Ok(false);
        };
        let client = self.app.client(self.number);
        let head = proxy.head(self.number);
        let question = Question {
            client: Some(&client),
            data,
            head,
            ..Question::default()
        };
        let (me, id, nowhere) = (self.me.clone(), id.clone(), Name::nodes());
        let done = Done::new(move |verdict| {
            let answer = Answer {
                to: id,
                channel: nowhere,
                outcome: Outcome::MayConnect(subs, verdict),
            };
            let _ = me.send(Post::Answer(Box::new(answer)));
        });
        proxy.ask(url, Some(self.number), &question, done).map(|()| true)
    }

    /// The back end has answered whether the client may connect.
    pub(super) fn admitted(
        &mut self,
        out: &mut impl Wire,
        id: &Id,
        subs: Vec<(Name, Option<Position>)>,
        verdict: Result<Verdict, Trouble>,
    ) {
        if self.is_connected {
            // The client has asked twice.
            return;
        }
        match verdict {
            Ok(verdict) if !verdict.allow => {
                let client = self.app.client(self.number);
                tracing::debug!(client, reason = verdict.reason(), "the back end refuses a client");
                out.close(verdict.code(), verdict.reason());
            }
            Ok(mut verdict) => {
                let data = verdict.data.take();
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let claims = verdict.claims(now);
                self.rights = Some(Box::new(self.app.rights(claims, &self.me)));
                self.is_connected = true;
                if let Some(closing) = self.welcome(out, id, data.as_deref(), subs) {
                    self.end_all();
                    self.dialect.close(out, closing);
                }
            }
            Err(_) => self.not_admitted(out, id, UNANSWERED),
        }
    }

    /// Nobody can say whether the client may connect: it should try again.
    pub(super) fn not_admitted(&self, out: &mut impl Wire, id: &Id, failure: Failure) {
        match self.dialect {
            Dialect::Centrifugo => self.dialect.fail(out, id, failure),
            Dialect::Comet | Dialect::Events => self.dialect.close(out, Closing::TryAgain),
        }
    }

    pub(super) fn ask_to_subscribe(&mut self, proxy: &Arc<Proxy>, channel: Name, asked: Asked) -> Result<(), Failure> {
        if self.find(&channel).is_some() || proxy.waits(self.number, &channel) {
            return Err(Failure::new(Code::AlreadySubscribed, "subscribed already"));
        }
        let Some(url) = &proxy.urls.subscribe else {
            return Err(UNANSWERED);
        };
        let user = self.user();
        let client = self.app.client(self.number);
        let question = Question {
            client: Some(&client),
            user: user.as_deref(),
            channel: Some(&channel),
            ..Question::default()
        };
        let pending = Pending {
            channel: channel.clone(),
            user: user.clone(),
            id: asked.id,
            since: asked.since,
            limit: asked.limit,
            delta: asked.delta,
        };
        // Before the question: the answer may come at once.
        let round = proxy.remember(self.number, pending);
        let (me, to) = (self.me.clone(), channel.clone());
        let done = Done::new(move |verdict| {
            let answer = Answer {
                to: Id::NONE,
                channel: to,
                outcome: Outcome::MaySubscribe(round, verdict),
            };
            let _ = me.send(Post::Answer(Box::new(answer)));
        });
        proxy.ask(url, Some(self.number), &question, done).inspect_err(|_| {
            let _ = proxy.recall(self.number, round);
        })
    }

    /// The back end has answered about a subscription.
    pub(super) fn judged(&mut self, out: &mut impl Wire, round: u64, verdict: Result<Verdict, Trouble>) {
        let pending = self.app.proxy().and_then(|proxy| proxy.recall(self.number, round));
        // The client has ended the subscription meanwhile, and was told.
        let Some(pending) = pending else { return };
        let Pending {
            channel,
            user,
            id,
            since,
            limit,
            delta,
        } = pending;
        let outcome = match verdict {
            Ok(verdict) if !verdict.allow => {
                let (code, reason) = (Code::Forbidden, verdict.reason());
                return self.dialect.reply(out, &Reply::Error { id: &id, code, reason });
            }
            Ok(_) if user != self.user() => Err(Failure::new(
                Code::Forbidden,
                "the client has shown another token meanwhile",
            )),
            Ok(_) => {
                let asked = Asked {
                    id: id.clone(),
                    since,
                    limit,
                    delta,
                    round: since.filter(|since| since.epoch == Epoch::NONE).map(|_| 0),
                    by_server: false,
                };
                let rule = self.app.rule(&channel);
                rule.and_then(|rule| self.begin(out, &channel, asked, &rule))
            }
            Err(_) => Err(UNANSWERED),
        };
        if let Err(failure) = outcome {
            self.dialect.fail(out, &id, failure);
        }
    }

    /// Ends a subscription that the back end was asked about. Returns false if there is none.
    pub(super) fn cancel(&self, out: &mut impl Wire, channel: &Name) -> bool {
        let pending = self.app.proxy().and_then(|proxy| proxy.cancel(self.number, channel));
        if let Some(pending) = &pending {
            self.dialect.fail(out, &pending.id, ENDED);
        }
        pending.is_some()
    }

    pub(super) fn ask_to_publish(
        &self,
        proxy: &Arc<Proxy>,
        id: &Id,
        channel: Name,
        data: &RawValue,
        key: Option<Arc<str>>,
    ) -> Result<(), Failure> {
        check_data(data)?;
        let Some(url) = &proxy.urls.publish else {
            return Err(UNANSWERED);
        };
        let rule = self.app.rule(&channel)?;
        let user = self.user();
        let client = self.app.client(self.number);
        let question = Question {
            client: Some(&client),
            user: user.as_deref(),
            channel: Some(&channel),
            data: Some(data),
            ..Question::default()
        };
        let mut draft = Draft::new(channel.clone(), user.clone(), data);
        draft.key = key;
        let (app, me, number, id) = (Arc::clone(&self.app), self.me.clone(), self.number, id.clone());
        let to = channel.clone();
        let done = Done::new(move |verdict: Result<Verdict, Trouble>| {
            let refused = match verdict {
                Ok(verdict) if verdict.allow => match changed(draft, verdict) {
                    Ok(draft) => {
                        let done = Answer::to(me, id, to, Outcome::Published);
                        return app.publish(draft, &rule, Some(number), done);
                    }
                    Err(failure) => (failure.code, failure.reason.to_owned()),
                },
                Ok(verdict) => (Code::Forbidden, verdict.reason().to_owned()),
                Err(_) => (UNANSWERED.code, UNANSWERED.reason.to_owned()),
            };
            let answer = Answer {
                to: id,
                channel: to,
                outcome: Outcome::Refused(refused.0, refused.1),
            };
            let _ = me.send(Post::Answer(Box::new(answer)));
        });
        proxy.ask(url, Some(self.number), &question, done)
    }
}

/// What the back end makes of a publication.
fn changed(draft: Draft, verdict: Verdict) -> Result<Draft, Failure> {
    let user = verdict.user.or(draft.user);
    let Some(data) = verdict.data else {
        return Ok(Draft { user, ..draft });
    };
    check_data(&data)?;
    let key = draft.key;
    Ok(Draft {
        key,
        ..Draft::new(draft.channel, user, &data)
    })
}
