//! The periodic work of a node.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::{Feed, LINGER, Node, PATIENCE, Post};

/// The interval of periodic work.
const TICK: Duration = Duration::from_secs(1);
/// How long a starting node waits for its broker.
const BROKER_PATIENCE: Duration = Duration::from_secs(1);
/// Ticks between two heartbeats: often enough for proxies, which give up after a minute.
pub(crate) const BEAT: u64 = 20;

impl Node {
    /// Starts the thread that does the periodic work until the node is dropped.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<()> {
        self.follow_own();
        let expiries = Arc::clone(&self.expiries);
        thread::Builder::new()
            .name("expiry".into())
            .spawn(move || expiries.run())?;
        let node = Arc::downgrade(self);
        let thread = thread::Builder::new().name("node".into()).spawn(move || run(&node))?;
        *self.ticker() = Some(thread.thread().clone());
        Ok(())
    }

    /// Waits a while for the broker: a node that serves earlier would refuse requests that could have waited.
    ///
    /// # Errors
    ///
    /// Why the broker can never be used.
    pub(crate) fn wait_for_broker(&self) -> Result<(), String> {
        let until = Instant::now() + BROKER_PATIENCE;
        while !self.broker.is_connected() && Instant::now() < until {
            if let Some(refusal) = self.broker.refusal() {
                return Err(refusal);
            }
            thread::sleep(BROKER_PATIENCE / 500);
        }
        Ok(())
    }

    /// Makes the thread work now.
    pub(super) fn wake(&self) {
        if let Some(thread) = &*self.ticker() {
            thread.unpark();
        }
    }

    /// Sends heartbeats to connections whose protocol has none of its own.
    pub(crate) fn beat(&self) {
        for feed in self.all_feeds() {
            feed.beat();
        }
        self.clients.beat();
    }

    /// Does the work that is due.
    pub(crate) fn look_after(self: &Arc<Self>, now: Instant) {
        self.broker.tick(now);
        self.clients.remind();
        self.revoked.expire(now);
        let is_connected = self.broker.is_connected();
        let mut retired = Vec::new();
        for feed in self.all_feeds() {
            feed.expire(now);
            feed.remind();
            feed.give_up(now, PATIENCE);
            if is_connected {
                feed.is_seen(now);
                if feed.asks(now) {
                    self.broker.follow(&feed.name, feed.rule().keep);
                }
            }
            if !feed.name.is_reserved() && feed.is_idle(now, LINGER) {
                let mut feeds = self.write();
                if feed.retire(now, LINGER) {
                    feeds.remove(&feed.name);
                    retired.push(feed);
                }
            }
        }
        for feed in retired {
            self.broker.forget(&feed.name);
            // A listener may have arrived between the two checks.
            if let Some(again) = self.read().get(&feed.name).map(Arc::clone) {
                self.broker.follow(&again.name, again.rule().keep);
            }
        }
        self.tell_sample(now);
    }

    /// Requests snapshots for feeds that miss publications, unless one was requested a moment ago.
    pub(crate) fn mend(&self, now: Instant) {
        let torn = core::mem::take(&mut *self.torn());
        for feed in torn {
            if feed.asks(now) {
                self.broker.follow(&feed.name, feed.rule().keep);
            }
        }
    }

    /// Asks all clients to leave and reconnect, evenly over the time `over`, in the background. Returns their number; a client of several
    /// channels is counted several times.
    pub(crate) fn shed(&self, over: Duration) -> usize {
        let mut senders: Vec<_> = self.all_feeds().iter().flat_map(|feed| feed.senders()).collect();
        senders.extend(self.clients.without_subscriptions());
        let count = senders.len();
        let leave = move || {
            let begun = Instant::now();
            for (index, sender) in senders.into_iter().enumerate() {
                let due = over.mul_f64(index as f64 / count as f64);
                // If the mailbox is full, the client stays: this is only a request.
                let _ = sender.send(Post::Leave);
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        };
        // If no thread can be started, all clients stay.
        let _ = thread::Builder::new().name("shed".into()).spawn(leave);
        count
    }

    pub(super) fn all_feeds(&self) -> Vec<Arc<Feed>> {
        self.read().values().map(Arc::clone).collect()
    }
}

fn run(node: &Weak<Node>) {
    let mut ticks = 0_u64;
    let mut due = Instant::now();
    while let Some(node) = node.upgrade() {
        let now = Instant::now();
        let on_time = due <= now;
        if on_time {
            due = now + TICK;
            ticks += 1;
        }
        if on_time && ticks.is_multiple_of(BEAT) {
            node.beat();
        }
        node.mend(now);
        if on_time {
            // First, because the reports show the parent that this process is alive.
            node.report();
            node.look_after(now);
        }
        drop(node);
        thread::park_timeout(due.saturating_duration_since(Instant::now()));
    }
}
