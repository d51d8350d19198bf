//! A broker in another process, and the link to it, which may break and comes back.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::order::{Order, Wanted};
use super::{Broker, Done, Member, Presence, Snapshot};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Position};

/// How often what would be forgotten is refreshed.
const REFRESH: Duration = Duration::from_secs(20);
/// How long the same problem is not said again.
const NOTED: Duration = Duration::from_secs(10);
/// The longest pause between two attempts to connect.
const SLOWEST: Duration = Duration::from_secs(10);

/// Carries orders to the broker.
pub(crate) trait Link: Send + Sync {
    /// Sends an order, or drops it where that is not possible now.
    fn send(&self, order: Order);
}

/// Begins to connect. The link reports to the upstream: [`Upstream::is_up`], [`Upstream::is_down`].
pub(crate) type Connect = Box<dyn Fn(Arc<Upstream>) -> io::Result<Box<dyn Link>> + Send + Sync>;

/// A node's side of a broker in another process.
pub(crate) struct Upstream {
    connect: Connect,
    up: AtomicBool,
    state: Mutex<State>,
    own: Weak<Upstream>,
}

struct State {
    link: Option<Box<dyn Link>>,
    /// What the node wants, to be asked for again when the link is back.
    wanted: Wanted,
    /// When to try again to connect, and how long to wait after that.
    retry: Instant,
    pause: Duration,
    refresh: Instant,
    /// What went wrong last, and when that was said.
    noted: Option<(Instant, String)>,
}

impl Upstream {
    pub(crate) fn new(connect: Connect) -> Arc<Self> {
        let now = Instant::now();
        Arc::new_cyclic(|own| Upstream {
            connect,
            up: AtomicBool::new(false),
            state: Mutex::new(State {
                link: None,
                wanted: Wanted::default(),
                retry: now,
                pause: Duration::from_millis(100),
                refresh: now + REFRESH,
                noted: None,
            }),
            own: Weak::clone(own),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link stands. Returns what to ask for.
    pub(crate) fn is_up(&self) -> Wanted {
        let mut state = self.lock();
        state.pause = Duration::from_millis(100);
        // Under the lock, so that whatever is wanted from now on is sent as an order.
        self.up.store(true, Ordering::Release);
        state.wanted.clone()
    }

    /// The link is gone, or never came to be.
    pub(crate) fn is_down(&self) {
        let mut state = self.lock();
        self.up.store(false, Ordering::Release);
        let link = state.link.take();
        state.retry = Instant::now() + state.pause;
        state.pause = (state.pause * 2).min(SLOWEST);
        drop(state);
        drop(link);
    }

    /// Says what went wrong, unless it has been said a moment ago.
    pub(crate) fn note(&self, outcome: Result<(), String>) {
        let Err(problem) = outcome else { return };
        let mut state = self.lock();
        let now = Instant::now();
        let is_new = match &state.noted {
            Some((at, noted)) => *noted != problem || now.saturating_duration_since(*at) > NOTED,
            None => true,
        };
        if is_new {
            eprintln!("comet: the broker: {problem}");
            state.noted = Some((now, problem));
        }
    }

    /// Connects, if there is no link and it is time to.
    fn keep_connected(&self) {
        let mut state = self.lock();
        if state.link.is_some() || Instant::now() < state.retry {
            return;
        }
        let Some(own) = self.own.upgrade() else { return };
        match (self.connect)(own) {
            Ok(link) => state.link = Some(link),
            Err(_) => {
                drop(state);
                self.is_down();
            }
        }
    }

    /// Sends an order while the link stands; else it fails.
    fn order(&self, order: Order) {
        let state = self.lock();
        if let Some(link) = state.link.as_ref().filter(|_| self.up.load(Ordering::Acquire)) {
            link.send(order);
        }
    }

    fn want(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.lock().wanted);
    }
}

impl Broker for Arc<Upstream> {
    fn follow(&self, channel: &Name, keep: Keep) {
        self.want(|wanted| {
            wanted.channels.insert(channel.clone(), keep);
        });
        self.order(Order::Follow(channel.clone(), keep));
    }

    fn forget(&self, channel: &Name) {
        self.want(|wanted| {
            wanted.channels.remove(channel);
        });
        self.order(Order::Forget(channel.clone()));
    }

    fn publish(&self, draft: Draft, keep: Keep, done: Done<Position>) {
        self.order(Order::Publish(draft, keep, done));
    }

    fn snapshot(&self, channel: &Name, keep: Keep, done: Done<Snapshot>) {
        self.order(Order::Snapshot(channel.clone(), keep, done));
    }

    fn enter(&self, channel: &Name, member: Member) {
        self.want(|wanted| {
            let key = (channel.clone(), Arc::clone(&member.client));
            wanted.members.insert(key, member.clone());
        });
        self.order(Order::Enter(channel.clone(), member));
    }

    fn leave(&self, channel: &Name, client: &str) {
        let client: Arc<str> = client.into();
        self.want(|wanted| {
            wanted.members.remove(&(channel.clone(), Arc::clone(&client)));
        });
        self.order(Order::Leave(channel.clone(), client));
    }

    fn presence(&self, channel: &Name, limit: usize, done: Done<Presence>) {
        self.order(Order::Presence(channel.clone(), limit, done));
    }

    fn is_connected(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    fn tick(&self) {
        self.keep_connected();
        let now = Instant::now();
        let wanted = {
            let mut state = self.lock();
            if now < state.refresh || !self.up.load(Ordering::Acquire) {
                return;
            }
            state.refresh = now + REFRESH;
            Arc::new(state.wanted.clone())
        };
        self.order(Order::Refresh(wanted));
    }
}
