//! A node's side of a broker in another process: what the node wants from it, and connections that may break and be replaced.
//!
//! Wanted state is kept in tables, not in queues: a new connection requests all of it again, and a connection with room takes the next
//! item. So nothing is lost for lack of room, and no queue grows without bound.

mod commands;
mod state;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use self::state::{Followed, Request, State};
use super::dialect::{Dialect, Life, Refusal, Role};
use super::speaker::Wake;
use super::{Broker, Done, Inbox, Member, Part, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::clock;
use crate::log::Keep;
use crate::publication::{Draft, Position};

/// A repeated problem is logged once in this time.
const NOTED: Duration = Duration::from_secs(10);

/// A handle to a connection.
pub(crate) trait Link: Send + Sync {
    /// Posts a message to the connection. Does not block.
    fn wake(&self, wake: Wake);
}

/// Starts to connect under a connection's number, without blocking. Reports to the upstream: [`Upstream::linked`], [`Upstream::is_up`],
/// [`Upstream::is_down`].
pub(crate) type Connect = Box<dyn Fn(Arc<Upstream>, Role, u64) + Send + Sync>;

/// Limits of what is outstanding at the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The most commands without a reply on one connection.
    pub(crate) window: usize,
    /// The most pages read at once for followed channels. Together with [`answers`](Self::answers) and the page size this bounds the
    /// data in flight from the broker.
    pub(crate) pages: usize,
    /// The most pages read at once for clients' requests.
    pub(crate) answers: usize,
    /// The most channels in one subscription command.
    pub(crate) channels: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            window: 1024,
            pages: 8,
            answers: 4,
            channels: 64,
        }
    }
}

/// A node's side of a broker in another process.
pub(crate) struct Upstream {
    dialect: Box<dyn Dialect>,
    bounds: Bounds,
    connect: Connect,
    inbox: Weak<dyn Inbox>,
    up: AtomicBool,
    state: Mutex<State>,
    own: Weak<Upstream>,
}

impl Upstream {
    pub(crate) fn new(dialect: impl Dialect, inbox: Weak<dyn Inbox>, connect: Connect) -> Arc<Self> {
        Self::bounded(dialect, Bounds::default(), inbox, connect)
    }

    /// Creates one with other limits.
    pub(crate) fn bounded(
        dialect: impl Dialect,
        bounds: Bounds,
        inbox: Weak<dyn Inbox>,
        connect: Connect,
    ) -> Arc<Self> {
        Arc::new_cyclic(|own| Upstream {
            dialect: Box::new(dialect),
            bounds,
            connect,
            inbox,
            up: AtomicBool::new(false),
            state: Mutex::new(State::new(clock::now())),
            own: Weak::clone(own),
        })
    }

    pub(crate) fn dialect(&self) -> &dyn Dialect {
        self.dialect.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Reports of connections.

    /// A connection is being established; `link` is its handle.
    pub(crate) fn linked(&self, role: Role, generation: u64, link: Box<dyn Link>) {
        let mut state = self.lock();
        let leg = state.leg(role);
        // The connection may have failed meanwhile.
        if leg.generation == generation && (leg.is_connecting || leg.is_up) {
            leg.link = Some(link);
        }
    }

    /// A connection is established, in some life of the broker.
    ///
    /// # Errors
    ///
    /// If the other connection speaks to a different broker.
    pub(crate) fn is_up(&self, role: Role, generation: u64, life: Life) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.leg(role).generation != generation {
            return Err(Refusal::Now("the connection is no longer wanted".to_owned()));
        }
        let mut is_another = false;
        match role {
            Role::Requests => {
                is_another = state.life.as_ref().is_some_and(|known| known.term != life.term);
                if is_another {
                    self.note_now(
                        &mut state,
                        "it has begun another life, perhaps with less than it had".to_owned(),
                    );
                }
                state.life = Some(life);
            }
            Role::News if state.requests.is_up && state.life.as_ref().is_some_and(|known| known.run == life.run) => {}
            Role::News => return Err(Refusal::Now("the two connections reach different brokers".to_owned())),
        }
        let now = state.now;
        let has_news_apart = self.dialect.has_news_apart();
        let leg = state.leg(role);
        (leg.is_up, leg.is_connecting) = (true, false);
        leg.since = Some(now);
        if role == Role::Requests {
            state.tell_all_present();
            if is_another {
                state.doubt_acknowledged();
            } else {
                state.look_for_acknowledged();
            }
            (state.refresh, state.refresh_presence) = (now, now);
        }
        if role == Role::News || !has_news_apart {
            state.subscribed.clear();
            state.to_subscribe = state.channels.keys().cloned().collect();
            for followed in state.channels.values_mut() {
                followed.is_queued = false;
            }
            state.to_read.clear();
            let pause = Duration::from_millis(100);
            (state.requests.pause, state.news.pause) = (pause, pause);
            // Under the lock, so that all later requests are sent.
            self.up.store(true, Ordering::Release);
            if let Some(lost) = state.lost.take() {
                let out = now.saturating_duration_since(lost).as_secs();
                state.reconnects += 1;
                self.note_now(&mut state, format!("in reach again, after {out} s"));
            }
        } else {
            drop(state);
            self.keep_connected();
        }
        Ok(())
    }

    /// A connection has ended, or could not be established.
    pub(crate) fn is_down(&self, role: Role, generation: u64, why: Refusal) {
        let mut state = self.lock();
        if state.leg(role).generation != generation {
            return;
        }
        let now = state.now;
        let was_up = self.up.swap(false, Ordering::AcqRel);
        if was_up {
            state.lost = Some(now);
        }
        let text = match &why {
            Refusal::Now(text) => text.clone(),
            Refusal::Ever(text) => {
                state.refusal = Some(text.clone());
                text.clone()
            }
        };
        self.note(&mut state, text);
        let leg = state.leg(role);
        leg.fell(now);
        let link = leg.link.take();
        let (mut other, mut dropped) = (None, None);
        if role == Role::Requests {
            dropped = Some(state.forget_requests());
            // The other connection may lead to a different broker than the next one will.
            other = state.news.link.take();
            state.news.fell(now);
            state.news.generation += 1;
        }
        drop(state);
        if let Some(other) = other {
            other.wake(Wake::Close);
        }
        drop((link, dropped));
        self.keep_connected();
    }

    /// Logs a problem, unless it was logged a moment ago.
    fn note(&self, state: &mut State, problem: String) {
        let now = state.now;
        let is_new = match &state.noted {
            Some((at, noted)) => *noted != problem || now.saturating_duration_since(*at) > NOTED,
            None => true,
        };
        if is_new {
            self.note_now(state, problem.clone());
            state.noted = Some((now, problem));
        }
    }

    fn note_now(&self, _: &mut State, text: String) {
        tracing::warn!("the broker: {text}");
    }

    // Work on behalf of connections.

    /// Opens missing connections, when their retry is due.
    fn keep_connected(&self) {
        let Some(own) = self.own.upgrade() else { return };
        let mut state = self.lock();
        if state.refusal.is_some() {
            return;
        }
        let mut wanted = Vec::new();
        for role in [Role::Requests, Role::News] {
            let is_due = role == Role::Requests || self.dialect.has_news_apart() && state.requests.is_up;
            let now = state.now;
            let leg = state.leg(role);
            if is_due && !leg.is_up && !leg.is_connecting && now >= leg.retry {
                leg.is_connecting = true;
                leg.generation += 1;
                wanted.push((role, leg.generation));
            }
        }
        drop(state);
        for (role, generation) in wanted {
            (self.connect)(Arc::clone(&own), role, generation);
        }
    }

    /// A connection begins to look for requests to send.
    pub(crate) fn looks(&self, role: Role) {
        self.lock().leg(role).is_woken = false;
    }

    fn wake(&self, state: &mut State, role: Role) {
        let role = if self.dialect.has_news_apart() {
            role
        } else {
            Role::Requests
        };
        let leg = state.leg(role);
        if let Some(link) = leg.link.as_ref().filter(|_| leg.is_up)
            && !leg.is_woken
        {
            link.wake(Wake::Look);
            leg.is_woken = true;
        }
    }

    /// Changes the wanted state, and makes the connection send it.
    fn change<T>(&self, role: Role, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        self.wake(&mut state, role);
        outcome
    }

    fn request(&self, request: Request) {
        let refused = self.change(Role::Requests, |state| state.push(request));
        // Dropped without the lock, because this calls the waiting receivers.
        drop(refused);
    }
}

impl Broker for Arc<Upstream> {
    fn follow(&self, channel: &Name, keep: Keep) -> u64 {
        let mut state = self.lock();
        state.rounds += 1;
        let round = state.rounds;
        let known = state.channels.get_mut(channel);
        match known {
            Some(followed) => {
                followed.keep = keep;
                followed.round = round;
            }
            None => {
                let followed = Followed {
                    keep,
                    round,
                    is_queued: false,
                };
                state.channels.insert(channel.clone(), followed);
            }
        }
        if self.up.load(Ordering::Acquire) {
            if state.subscribed.contains(channel) {
                state.queue_read(channel);
                self.wake(&mut state, Role::Requests);
            } else {
                state.to_subscribe.push_back(channel.clone());
                self.wake(&mut state, Role::News);
            }
        }
        round
    }

    fn forget(&self, channel: &Name) {
        let mut state = self.lock();
        state.channels.remove(channel);
        if self.up.load(Ordering::Acquire) {
            state.to_subscribe.push_back(channel.clone());
            self.wake(&mut state, Role::News);
        }
    }

    fn publish(&self, draft: Draft, keep: Keep, done: Done<Position>) {
        self.request(Request::Publish(draft, keep, done));
    }

    fn snapshot(&self, channel: &Name, part: Part, keep: Keep, done: Done<Snapshot>) {
        let question = (channel.clone(), part, keep, done);
        let refused = self.change(Role::Requests, |state| state.ask(question));
        drop(refused);
    }

    fn enter(&self, channel: &Name, member: Member) {
        let fits = self.change(Role::Requests, |state| {
            let client = Arc::clone(&member.client);
            let members = state.members.entry(channel.clone()).or_default();
            members.insert(Arc::clone(&client), member);
            state.change(channel, &client)
        });
        self.check(fits);
    }

    fn leave(&self, channel: &Name, client: &str) {
        let client: Arc<str> = client.into();
        let fits = self.change(Role::Requests, |state| {
            if let Some(members) = state.members.get_mut(channel) {
                members.remove(&client);
                if members.is_empty() {
                    state.members.remove(channel);
                }
            }
            state.change(channel, &client)
        });
        self.check(fits);
    }

    fn presence(&self, channel: &Name, limit: usize, done: Done<Presence>) {
        self.request(Request::Presence(channel.clone(), limit, done));
    }

    fn is_connected(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    fn reconnects(&self) -> u64 {
        self.lock().reconnects
    }

    fn refusal(&self) -> Option<String> {
        self.lock().refusal.clone()
    }

    fn tick(&self, now: Instant) {
        {
            let mut state = self.lock();
            state.now = state.now.max(now);
            state.forget_acknowledged();
            self.refresh(&mut state);
        }
        self.keep_connected();
    }
}

impl Upstream {
    /// Ends the connection if so many changes wait that a new connection would report them with less work.
    fn check(&self, fits: bool) {
        if !fits && let Some(link) = &self.lock().requests.link {
            link.wake(Wake::Close);
        }
    }

    /// Queues the refresh of entries that would expire.
    fn refresh(&self, state: &mut State) {
        if !state.requests.is_up {
            return;
        }
        let [channels, presence] = self.dialect.refresh_times();
        if state.now >= state.refresh && state.to_refresh.is_empty() {
            state.refresh = state.now + channels;
            state.to_refresh = state.channels.keys().cloned().collect();
        }
        if state.now >= state.refresh_presence && state.to_refresh_presence.is_empty() {
            state.refresh_presence = state.now + presence;
            state.to_refresh_presence = state.members.keys().cloned().collect();
        }
        self.wake(state, Role::Requests);
    }

    /// Translates an error reply for those who wait.
    fn trouble(&self, text: &[u8]) -> (Trouble, bool) {
        let verdict = self.dialect.judge(text);
        let mut state = self.lock();
        self.note(&mut state, String::from_utf8_lossy(text).into_owned());
        (verdict.trouble, verdict.begin_again)
    }
}
