//! Orders of the API to clients, wherever they are connected. Every node follows a channel of orders, and carries each out once.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Node;
use crate::broker::{Done, Snapshot, Trouble};
use crate::channel::Name;
use crate::publication::{Draft, Position, Publication};

/// An order to some clients, or to nodes. For clients, at least one of `user` and `client` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<Arc<str>>,
    pub(crate) what: What,
}

/// What the clients are to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// The connection ends with this code and reason.
    Disconnect { code: u16, reason: Arc<str> },
    /// The connection ends if its token is revoked. Nodes give this order to their own clients only.
    #[serde(skip)]
    Recheck,
    /// Another rule is in force for a channel: subscriptions that it forbids end. Nodes give this order to their own clients only.
    #[serde(skip)]
    Rules { channel: Name },
    /// An order to nodes: those with this name, or of the server with this name; without a name, all. They ask their clients to come back,
    /// evenly over so many seconds, unless they are to be ready again.
    Drain {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<Arc<str>>,
        seconds: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ready: Option<bool>,
    },
    /// The subscription to the channel ends.
    Unsubscribe { channel: Name, code: u16, reason: Arc<str> },
}

impl Order {
    /// Whether the order is for the client with this name and user.
    pub(crate) fn is_for(&self, client: &str, user: Option<&str>) -> bool {
        self.client.as_deref().is_none_or(|named| named == client)
            && self.user.as_deref().is_none_or(|named| Some(named) == user)
    }
}

impl Node {
    /// Gives an order to the clients of all nodes. `done` is told when every node will hear of the order.
    pub(crate) fn order(&self, order: &Order, done: Done<Position>) {
        let channel = Name::orders();
        let rule = self.rule(&channel);
        let data = serde_json::value::to_raw_value(order).ok();
        let Some((rule, data)) = rule.zip(data) else {
            return done.tell(Err(Trouble::Unavailable));
        };
        self.broker().publish(Draft::new(channel, None, &data), rule.keep, done);
    }

    /// The channel of orders is followed from here on: orders before it were for clients that had not come yet.
    pub(super) fn orders_begin(&self, snapshot: &Snapshot) {
        let mut last = self.last_order();
        let Some(known) = *last else {
            *last = Some(snapshot.position);
            return;
        };
        drop(last);
        for missed in &snapshot.publications {
            if missed.position.is_after(known) {
                self.ordered(missed);
            }
        }
    }

    /// An order has arrived.
    pub(super) fn ordered(&self, publication: &Publication) {
        let mut last = self.last_order();
        if last.is_some_and(|last| !publication.position.is_after(last)) {
            return;
        }
        *last = Some(publication.position);
        drop(last);
        let Ok(order) = serde_json::from_slice::<Order>(&publication.data) else {
            return;
        };
        if let What::Drain { node, seconds, ready } = &order.what {
            return self.drain(node.as_deref(), *seconds, *ready);
        }
        let order = Arc::new(order);
        match (&order.user, &order.client) {
            (Some(user), _) => drop(self.clients.order_user(user, &order)),
            (None, Some(client)) => self.order_client(client, &order),
            (None, None) => {}
        }
    }

    /// Carries out an order to drain, if it is for this node.
    fn drain(&self, node: Option<&str>, seconds: u32, ready: Option<bool>) {
        if node.is_some_and(|node| node != self.name && *node != *self.config.server) {
            return;
        }
        if let Some(ready) = ready {
            self.set_held(!ready);
        }
        if ready != Some(true) {
            let clients = self.shed(Duration::from_secs(seconds.into()));
            tracing::info!(
                "the API drains this node: {clients} subscriptions are asked to come back, over {seconds} s"
            );
        }
    }

    /// Gives an order to a client of this node, if it is one.
    fn order_client(&self, client: &str, order: &Arc<Order>) {
        let number = client
            .strip_prefix(self.instance.as_str())
            .and_then(|rest| rest.strip_prefix('-'));
        let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
            return;
        };
        self.clients.order_idle(number, order);
        // A client of several channels gets the order several times, and carries out the first.
        let senders: Vec<_> = self
            .all_feeds()
            .iter()
            .flat_map(|feed| feed.senders_of(number as u32))
            .collect();
        self.clients.order(senders, order);
    }
}
