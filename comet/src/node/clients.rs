//! The clients of a node that an order of the API can reach.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::{SendError, Sender};

use super::{Order, Post, What};
use crate::edge::{Notice, quoted};

/// The most orders that wait because the mailbox of their client was full.
const WAITING: usize = 100_000;

/// Clients by their users, and clients without subscriptions by their numbers. Clients with subscriptions are found in their feeds, so that
/// an idle subscriber needs no memory for this.
#[derive(Default)]
pub(crate) struct Clients {
    state: Mutex<State>,
    /// Tells of orders that are lost.
    lost: Notice,
}

#[derive(Default)]
struct State {
    users: BTreeMap<(Arc<str>, u64), Sender<Post>>,
    count: u64,
    idle: BTreeMap<u64, Sender<Post>>,
    /// Clients whose language has pings of its own.
    pinged: BTreeMap<u64, Sender<Post>>,
    /// Orders that did not fit in the mailbox of their client.
    waiting: Vec<(Sender<Post>, Arc<Order>)>,
}

/// A client that is known by its user; dropping it ends that.
pub(crate) struct Known {
    clients: Arc<Clients>,
    key: (Arc<str>, u64),
}

impl Clients {
    /// The connection of `sender` belongs to `user` from now on.
    pub(crate) fn is_of(self: &Arc<Self>, user: &Arc<str>, sender: Sender<Post>) -> Known {
        let mut state = self.lock();
        state.count += 1;
        let key = (Arc::clone(user), state.count);
        state.users.insert(key.clone(), sender);
        Known {
            clients: Arc::clone(self),
            key,
        }
    }

    /// The client with this number has no subscriptions.
    pub(crate) fn idles(&self, number: u64, sender: Sender<Post>) {
        self.lock().idle.insert(number, sender);
    }

    /// The client with this number has a subscription, or has left.
    pub(crate) fn idles_no_more(&self, number: u64) {
        let left = self.lock().idle.remove(&number);
        // The sender is dropped without the lock.
        drop(left);
    }

    /// The connections without subscriptions.
    pub(super) fn without_subscriptions(&self) -> Vec<Sender<Post>> {
        self.lock().idle.values().cloned().collect()
    }

    /// The client with this number gets heartbeats until it has [left](Clients::left).
    pub(crate) fn is_pinged(&self, number: u64, sender: Sender<Post>) {
        self.lock().pinged.insert(number, sender);
    }

    /// The client with this number has left.
    pub(crate) fn left(&self, number: u64) {
        let mut state = self.lock();
        let left = (state.idle.remove(&number), state.pinged.remove(&number));
        drop(state);
        drop(left);
    }

    /// Sends heartbeats to the clients that want them.
    pub(super) fn beat(&self) {
        let senders: Vec<_> = self.lock().pinged.values().cloned().collect();
        for sender in senders {
            // A client whose mailbox is full has other messages to write.
            let _ = sender.send(Post::Heartbeat);
        }
    }

    /// Gives an order to all connections of `user`. Returns their number.
    pub(super) fn order_user(&self, user: &Arc<str>, order: &Arc<Order>) -> usize {
        let state = self.lock();
        let of_user = state.users.range((Arc::clone(user), 0)..=(Arc::clone(user), u64::MAX));
        let senders: Vec<_> = of_user.map(|(_, sender)| sender.clone()).collect();
        drop(state);
        let count = senders.len();
        self.order(senders, order);
        count
    }

    /// Gives an order to all connections that have shown a token.
    pub(super) fn order_all(&self, order: &Arc<Order>) {
        let senders: Vec<_> = self.lock().users.values().cloned().collect();
        self.order(senders, order);
    }

    /// Gives an order to the client with this number, if the client has no subscriptions.
    pub(super) fn order_idle(&self, number: u64, order: &Arc<Order>) {
        let sender = self.lock().idle.get(&number).cloned();
        self.order(sender, order);
    }

    /// Gives an order to connections. An order that does not fit in a mailbox is given again by [`Clients::remind`].
    pub(super) fn order(&self, senders: impl IntoIterator<Item = Sender<Post>>, order: &Arc<Order>) {
        for sender in senders {
            if let Err(SendError::Full(_)) = sender.send(Post::Order(Arc::clone(order))) {
                let mut state = self.lock();
                // Each is for a client with a thousand unread messages.
                if state.waiting.len() < WAITING {
                    state.waiting.push((sender, Arc::clone(order)));
                    continue;
                }
                drop(state);
                self.lost.say(|| lost(order));
            }
        }
    }

    /// Gives the orders again that did not fit in a mailbox.
    pub(super) fn remind(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        for (sender, order) in waiting {
            self.order([sender], &order);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says which order a client did not get.
fn lost(order: &Order) -> String {
    let quoted = |name: &Option<Arc<str>>| name.as_deref().map(quoted);
    let whom = match (quoted(&order.client), quoted(&order.user)) {
        (Some(client), _) => format!("the client {client}"),
        (None, Some(user)) => format!("a client of the user {user}"),
        (None, None) => "a client".to_owned(),
    };
    let what = match &order.what {
        What::Disconnect { code, .. } => format!("to disconnect with {code}"),
        What::Drain { .. } => "to come back".to_owned(),
        What::Recheck => "to check a revoked token".to_owned(),
        What::Rules { channel } => format!("to check its subscription to {channel} against another rule"),
        What::Unsubscribe { channel, .. } => format!("to unsubscribe from {channel}"),
    };
    format!("an order to {whom} was lost, {what}: {WAITING} orders already wait for clients that do not read")
}

impl Drop for Known {
    fn drop(&mut self) {
        let left = self.clients.lock().users.remove(&self.key);
        // The sender is dropped without the lock.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_wait_are_bounded_and_their_loss_is_told() {
        let rig = crate::tests::Rig::new("");
        let client = rig.client("");
        let clients = &rig.node.clients;
        let sender = clients.without_subscriptions().remove(0);
        while sender.send(Post::Heartbeat).is_ok() {}
        let order = Arc::new(Order {
            user: None,
            client: None,
            what: What::Rules {
                channel: "news".parse().unwrap(),
            },
        });
        for _ in 0..WAITING {
            clients.order([sender.clone()], &order);
        }
        assert!(!clients.lost.has_said());
        clients.order([sender.clone()], &order);
        assert!(clients.lost.has_said());
        assert_eq!(clients.lock().waiting.len(), WAITING);
        drop(client);
    }

    #[test]
    fn a_lost_order_says_whose_and_what() {
        let order = |user: Option<&str>, client: Option<&str>, what| {
            lost(&Order {
                user: user.map(Into::into),
                client: client.map(Into::into),
                what,
            })
        };
        let disconnect = What::Disconnect {
            code: 3503,
            reason: "x".into(),
        };
        let line = order(Some("ann\n"), None, disconnect);
        assert!(
            line.contains("user \"ann\\n\" was lost, to disconnect with 3503"),
            "{line}"
        );
        let unsubscribe = What::Unsubscribe {
            channel: "news".parse().unwrap(),
            code: 2000,
            reason: "x".into(),
        };
        let line = order(None, Some("n.0-7"), unsubscribe);
        assert!(
            line.contains("client \"n.0-7\" was lost, to unsubscribe from news"),
            "{line}"
        );
        assert!(line.contains("100000 orders already wait"), "{line}");
    }
}
