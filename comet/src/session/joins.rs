//! Events about clients that come to a channel and leave it.
//!
//! They are publications of a channel beside the client's channel, to which its subscribers are subscribed as well, without having asked.

use std::collections::BTreeMap;

use super::client::failure;
use super::wire::Wire;
use super::{Session, Subscription};
use crate::broker::Done;
use crate::channel::Name;
use crate::messages::Failure;
use crate::node::Begin;
use crate::publication::Draft;

impl Session {
    /// Subscribes to the events about clients that come to `channel` and leave it.
    pub(super) fn follow_joins(&mut self, out: &mut impl Wire, channel: &Name) -> Result<(), Failure> {
        let events = channel.joins();
        let cursor = match self.app.node.subscribe(&events, &self.me, self.number, false) {
            Ok(cursor) => cursor,
            Err(trouble) => {
                if let Some(index) = self.find(channel) {
                    self.end_one(index);
                }
                return Err(failure(trouble));
            }
        };
        self.add(Subscription {
            cursor,
            asked: None,
            present: false,
            joins: false,
            joined: false,
            by_server: false,
            delta: false,
            has_base: false,
        });
        if let Some(index) = self.find(&events) {
            self.start(out, index);
        }
        Ok(())
    }

    /// Tells the subscribers of a channel that this client has come, once the client would hear so as well.
    pub(super) fn join(&mut self, channel: &Name) {
        let begun = |index: Option<usize>| {
            let subscription = self.subscriptions.get(index?)?;
            (!subscription.cursor.is_waiting() && subscription.asked.is_none()).then_some(())
        };
        let events = channel.joins();
        if begun(self.find(channel)).and(begun(self.find(&events))).is_none() {
            return;
        }
        if let Some(subscription) = self.find(channel).and_then(|index| self.subscriptions.get_mut(index))
            && subscription.joins
            && !core::mem::replace(&mut subscription.joined, true)
        {
            self.tell_of_me(&events, "join");
        }
    }

    /// Publishes an event about this client.
    pub(super) fn tell_of_me(&self, events: &Name, kind: &str) {
        let event = BTreeMap::from([(kind, self.member())]);
        let data = serde_json::value::to_raw_value(&event).ok();
        if let (Some(data), Ok(rule)) = (data, self.app.rule(events)) {
            // A broker that is not reachable loses the event. Presence is reported again when it is back.
            let draft = Draft::new(events.clone(), None, &data);
            self.app.node.broker().publish(draft, rule.keep, Done::nobody());
        }
    }

    /// Begins to hear of clients that come and leave, once the feed of these events has begun.
    pub(super) fn start_joins(&mut self, index: usize) {
        let Some(subscription) = self.subscriptions.get_mut(index) else {
            return;
        };
        if let Begin::Start(_) = subscription.cursor.start(None, 0, None, false)
            && let Some(channel) = subscription.cursor.channel().joined()
            && let Ok(channel) = channel.parse()
        {
            self.join(&channel);
        }
    }
}
