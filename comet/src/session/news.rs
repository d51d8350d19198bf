//! What reaches a client without a request of its own, and the broker's answers.

use std::sync::Arc;

use proto_ws::CloseCode;

use super::Session;
use super::client::{Stop, ToClient, failure};
use super::dialect::Closing;
use super::wire::Wire;
use crate::broker::Trouble;
use crate::channel::Name;
use crate::clock;
use crate::messages::{Code, Failure, Reply};
use crate::node::{Answer, Feed, Order, Outcome, What};
use crate::publication::Publication;

/// One delivery in so many is timed.
const MEASURED: u64 = 16;
/// Centrifugo's code for subscriptions that end so that the client subscribes again.
const AGAIN: u16 = 2500;
const ENDED: Failure = Failure::new(Code::Unsubscribed, "the server has ended this subscription");

impl Session {
    pub(super) fn publication(&mut self, out: &mut impl Wire, publication: &Publication) {
        let Some(index) = self.find_tagged(publication.tag, &publication.channel) else {
            return;
        };
        if publication.offset().wrapping_add(self.number).is_multiple_of(MEASURED) {
            let time = clock::now().saturating_duration_since(publication.at);
            self.app.node.counters.delivery.add(time);
        }
        if let Some(subscription) = self.subscriptions.get_mut(index) {
            let mut client = ToClient {
                app: &self.app,
                dialect: self.dialect,
                number: self.number,
                out,
                delta: subscription.delta.then_some(&mut subscription.has_base),
            };
            if let Err(stop) = subscription.cursor.receive(publication, &mut client) {
                self.settle(out, index, Err(stop));
            }
        }
    }

    /// Ends what cannot go on after a reader of the subscription has stopped.
    pub(super) fn settle(&mut self, out: &mut impl Wire, index: usize, outcome: Result<(), Stop>) {
        match outcome {
            Ok(()) => {}
            Err(Stop::Closed) => {
                let channel = self.subscriptions.get(index).map(|one| one.cursor.channel().clone());
                let client = self.app.client(self.number);
                self.app.notices.slow.say(|| {
                    let channel = channel.as_ref().map_or("", Name::as_str);
                    format!("client {client} reads {channel} too slowly and is disconnected")
                });
                self.end_all();
            }
            Err(Stop::Again) => {
                let Some(subscription) = self.subscriptions.get(index) else {
                    return;
                };
                let channel = subscription.cursor.channel().clone();
                if subscription.by_server {
                    // A client cannot renew a subscription that it has not asked for, except by coming back.
                    self.end_all();
                    return self.dialect.close(out, Closing::Again);
                }
                self.end_one(index);
                let gone = Reply::Unsubscribed {
                    id: None,
                    channel: &channel,
                    code: Some(Code::Unsubscribed),
                    reason: Some("insufficient state"),
                    number: AGAIN,
                };
                self.dialect.reply(out, &gone);
            }
        }
    }

    /// The feed has begun, begun anew, or lost publications.
    pub(super) fn news(&mut self, out: &mut impl Wire, feed: &Arc<Feed>) {
        let Some(index) = self.find_feed(feed) else { return };
        let Some(subscription) = self.subscriptions.get_mut(index) else {
            return;
        };
        if subscription.cursor.is_waiting() {
            return self.start(out, index);
        }
        let mut client = ToClient {
            app: &self.app,
            dialect: self.dialect,
            number: self.number,
            out,
            delta: subscription.delta.then_some(&mut subscription.has_base),
        };
        let outcome = subscription.cursor.look(&mut client);
        self.settle(out, index, outcome);
    }

    /// The feed could not begin.
    pub(super) fn no_feed(&mut self, out: &mut impl Wire, feed: &Arc<Feed>) {
        let Some(index) = self.find_feed(feed) else { return };
        let is_asked = self
            .subscriptions
            .get(index)
            .is_some_and(|subscription| subscription.asked.is_some());
        let is_by_server = self.subscriptions.get(index).is_some_and(|one| one.by_server);
        if is_asked && is_by_server {
            self.end_all();
            return self.dialect.close(out, Closing::Again);
        }
        if is_asked && let Some(asked) = self.end_one(index) {
            self.dialect.fail(out, &asked.id, failure(Trouble::Unavailable));
        }
    }

    pub(super) fn answered(&mut self, out: &mut impl Wire, answer: Answer) {
        let Answer {
            to: id,
            channel,
            outcome,
        } = answer;
        let id = &id;
        if matches!(outcome, Outcome::Snapshot(_) | Outcome::Presence(_)) {
            self.reading = self.reading.saturating_sub(1);
        }
        let outcome = match outcome {
            Outcome::MayConnect(subs, verdict) => return self.admitted(out, id, subs, verdict),
            Outcome::MaySubscribe(round, verdict) => return self.judged(out, round, verdict),
            Outcome::Refused(code, reason) => {
                let reason = &reason;
                return self.dialect.reply(out, &Reply::Error { id, code, reason });
            }
            outcome => outcome,
        };
        let outcome = match &outcome {
            Outcome::MayConnect(..)
            | Outcome::MaySubscribe(..)
            | Outcome::Refused(..)
            | Outcome::Said(_)
            | Outcome::All(_) => return,
            Outcome::Published(Err(trouble)) => {
                self.app.node.counters.publish_failures.add(1);
                let client = self.app.client(self.number);
                let notice = &self.app.notices.publications;
                notice.say(|| format!("a publication of client {client} in {channel} failed: {trouble}"));
                Err(trouble)
            }
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
            Ok(answer) => self.dialect.reply(out, &answer),
            Err(trouble) => self.dialect.fail(out, id, failure(*trouble)),
        }
    }

    /// Carries out an order of the API, if it is for this client.
    pub(super) fn obey(&mut self, out: &mut impl Wire, order: &Order) {
        let client = self.app.client(self.number);
        if !order.is_for(&client, self.user().as_deref()) {
            return;
        }
        match &order.what {
            What::Disconnect { code, reason } => {
                tracing::info!(
                    client,
                    user = self.user().as_deref(),
                    code,
                    ?reason,
                    "the API disconnects a client"
                );
                out.close(CloseCode::new(*code).unwrap_or(CloseCode::POLICY), reason);
                self.end_all();
            }
            What::Recheck => {
                if self.claims().is_some_and(|claims| self.app.node.revoked.has(claims)) {
                    tracing::info!(
                        client,
                        user = self.user().as_deref(),
                        "the token of a client is revoked"
                    );
                    self.end_all();
                    self.dialect.close(out, Closing::Revoked);
                }
            }
            What::Drain { .. } => {}
            What::Rules { channel } => {
                if let Some(index) = self.find_asked(channel) {
                    self.drop_if_forbidden(out, index, false);
                }
            }
            What::Unsubscribe { channel, code, reason } => {
                let Some(index) = self.find_asked(channel) else { return };
                tracing::info!(client, user = self.user().as_deref(), %channel, "the API ends a subscription");
                if let Some(asked) = self.end_one(index) {
                    return self.dialect.fail(out, &asked.id, ENDED);
                }
                let gone = Reply::Unsubscribed {
                    id: None,
                    channel,
                    code: Some(ENDED.code),
                    reason: Some(reason),
                    number: *code,
                };
                self.dialect.reply(out, &gone);
            }
        }
    }
}
