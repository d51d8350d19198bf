//! Tokens that the API has revoked. Every node follows a channel whose history is the list.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Node, Order, What};
use crate::broker::{Done, Snapshot, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position, Publication};
use crate::table::Table;
use crate::token::{Claims, Date};

/// How much of the list is kept.
pub(crate) const KEPT: Keep = Keep {
    publications: 10_000,
    bytes: 4 << 20,
    time: Duration::from_secs(30 * 24 * 3600),
};

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Revocation {
    /// All tokens of a user that were issued until this time, and those that do not say when they were issued.
    User(Arc<str>, Date),
    /// The token with this id (`jti`).
    Token(Arc<str>),
}

impl Revocation {
    /// Of all tokens of `user` until now.
    pub(crate) fn of_user(user: Arc<str>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Revocation::User(user, Date(now))
    }
}

/// The list.
#[derive(Default)]
pub(crate) struct Revoked(RwLock<State>);

#[derive(Default)]
struct State {
    /// The entries in their order, and since when they are in the list.
    entries: VecDeque<(Instant, Position, Revocation)>,
    users: Table<Arc<str>, Date>,
    tokens: Table<Arc<str>, Position>,
}

impl Revoked {
    /// Whether a token with these claims is revoked.
    pub(crate) fn has(&self, claims: &Claims) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let by_user = claims.user.as_ref().and_then(|user| state.users.get(user));
        let was_issued = |until: &Date| claims.issued.is_none_or(|issued| issued <= *until);
        by_user.is_some_and(was_issued) || claims.id.as_ref().is_some_and(|id| state.tokens.contains_key(id))
    }

    /// Adds an entry. Returns false if the list has it already.
    fn add(&self, at: Instant, position: Position, revocation: Revocation) -> bool {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut latest = state.entries.iter().rev();
        if latest.any(|(_, known, _)| *known == position) {
            return false;
        }
        match &revocation {
            Revocation::User(user, until) => drop(state.users.insert(Arc::clone(user), *until)),
            Revocation::Token(id) => drop(state.tokens.insert(Arc::clone(id), position)),
        }
        state.entries.push_back((at, position, revocation));
        if state.entries.len() > KEPT.publications {
            state.drop_first();
        }
        true
    }

    /// Drops entries that are too old.
    pub(super) fn expire(&self, now: Instant) {
        let is_old = |state: &State| {
            let first = state.entries.front();
            first.is_some_and(|(at, ..)| now.saturating_duration_since(*at) > KEPT.time)
        };
        if !is_old(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        while is_old(&state) {
            state.drop_first();
        }
    }
}

impl State {
    /// Drops the first entry, unless a later one has replaced it.
    fn drop_first(&mut self) {
        match self.entries.pop_front() {
            Some((_, _, Revocation::User(user, until))) if self.users.get(&user) == Some(&until) => {
                self.users.remove(&user);
            }
            Some((_, position, Revocation::Token(id))) if self.tokens.get(&id) == Some(&position) => {
                self.tokens.remove(&id);
            }
            _ => {}
        }
    }
}

impl Node {
    /// Revokes tokens on all nodes. `done` is told when every node will hear of it.
    pub(crate) fn revoke(&self, revocation: &Revocation, done: Done<Position>) {
        let channel = Name::revoked();
        let Ok(data) = serde_json::value::to_raw_value(revocation) else {
            return done.tell(Err(Trouble::Unavailable));
        };
        self.broker().publish(Draft::new(channel, None, &data), KEPT, done);
    }

    /// The list, or what of it was missed.
    pub(super) fn revocations(&self, snapshot: &Snapshot) {
        for publication in &snapshot.publications {
            self.revoked_by(publication);
        }
    }

    /// An entry of the list has arrived: connections with such tokens end.
    pub(super) fn revoked_by(&self, publication: &Publication) {
        let Ok(revocation) = serde_json::from_slice::<Revocation>(&publication.data) else {
            return;
        };
        let user = match &revocation {
            Revocation::User(user, _) => Some(Arc::clone(user)),
            Revocation::Token(_) => None,
        };
        if !self.revoked.add(publication.at, publication.position, revocation) {
            return;
        }
        let order = Arc::new(Order {
            user: user.clone(),
            client: None,
            what: What::Recheck,
        });
        match user {
            Some(user) => drop(self.clients.order_user(&user, &order)),
            None => self.clients.order_all(&order),
        }
    }
}
