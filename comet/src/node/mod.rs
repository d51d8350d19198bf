//! A node: the channels that this process's connections follow, fed by the broker.

mod clients;
mod counters;
mod cursor;
mod expiry;
mod feed;
mod histogram;
mod orders;
mod post;
mod revoked;
mod sample;
mod slow;
mod ticker;

use std::collections::{BTreeMap, HashMap};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use drivers::Stats;
use protocol::Sender;

use crate::backend::{Proxy, Webhook};
use crate::broker::{Broker, Inbox, Snapshot, Trouble};
use crate::channel::Name;
use crate::clock;
use crate::publication::{Encoding, Position, Publication};
use crate::rule::{Access, Rule, Rules};
use crate::table::Table;

pub(crate) use clients::{Clients, Known};
pub(crate) use counters::Counters;
pub(crate) use cursor::{Cursor, Reader};
pub(crate) use expiry::{Expiries, Expiry};
pub(crate) use feed::{Begin, Feed, News};
pub(crate) use histogram::{Histogram, PART, SUM};
pub(crate) use orders::{Order, What};
pub(crate) use post::{Answer, Outcome, Post};
pub(crate) use revoked::{KEPT as REVOKED_KEPT, Revocation, Revoked};
pub(crate) use sample::{GAUGES, Sample};
pub(crate) use slow::{Slow, SlowOnes};
pub(crate) use ticker::BEAT;

/// How long a feed is kept after its last listener, who may return.
const LINGER: Duration = Duration::from_secs(30);
/// The most channels examined for one that can make room for another.
const SOME: usize = 1024;
/// How long listeners wait for a feed to begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the node's own publication may remain unanswered before the node counts as unable to publish.
const UNANSWERED: Duration = Duration::from_secs(3);

/// The configuration of a node.
#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    /// The server's name, which no other server has.
    pub(crate) server: Arc<str>,
    /// The number of the process within its server, from 0.
    pub(crate) worker: usize,
    /// Distinguishes the starts of a worker.
    pub(crate) start: Arc<str>,
    /// The rules at the start.
    pub(crate) rules: Rules,
    pub(crate) encoding: Encoding,
    /// The most channels that it follows.
    pub(crate) max_channels: usize,
}

/// One process of a server.
pub(crate) struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) counters: Counters,
    /// Its name, which no other node has.
    pub(crate) name: String,
    /// Its name in clients' names, which no other start of any node has.
    pub(crate) instance: String,
    pub(crate) expiries: Arc<Expiries>,
    pub(crate) clients: Arc<Clients>,
    /// The position of the last order that was carried out.
    last_order: Mutex<Option<Position>>,
    pub(crate) revoked: Revoked,
    /// Feeds that miss publications.
    torn: Mutex<Vec<Arc<Feed>>>,
    /// The connection to the parent, if there are several processes, and the counters of all of them.
    parent: Mutex<Option<UnixStream>>,
    crew: Mutex<BTreeMap<usize, Sample>>,
    /// The rules in force.
    rules: RwLock<Rules>,
    /// Whether the node is about to stop, and whether the API has said that it is not to be ready.
    leaves: AtomicBool,
    is_held: AtomicBool,
    /// Clients that have read too slowly.
    pub(crate) slow: SlowOnes,
    /// Whether publishing works, as the node's own publications show.
    health: Mutex<Health>,
    started: Instant,
    /// The driver's counters, once the driver runs.
    stats: OnceLock<Box<dyn Fn() -> Vec<Stats> + Send + Sync>>,
    /// The counters of TLS, if TLS is used.
    tls: OnceLock<Box<dyn Fn() -> proto_tls::Stats + Send + Sync>>,
    /// Tells the back end which channels have subscribers.
    webhook: OnceLock<Arc<Webhook>>,
    /// Asks the back end, which is counted.
    proxy: OnceLock<Arc<Proxy>>,
    broker: Box<dyn Broker>,
    feeds: RwLock<Table<Name, Arc<Feed>>>,
    /// The last samples of all nodes, by name.
    peers: Mutex<HashMap<String, (Instant, Sample)>>,
    /// The thread that does periodic work.
    ticker: Mutex<Option<Thread>>,
}

/// Whether publications succeed.
#[derive(Debug, Default)]
struct Health {
    /// When the unanswered publication was sent.
    sent: Option<Instant>,
    /// Whether the last one failed.
    failed: bool,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.expiries.end();
    }
}

impl Node {
    /// A node on the broker that `broker` makes. The node is the broker's inbox.
    pub(crate) fn new(config: NodeConfig, broker: impl FnOnce(Weak<dyn Inbox>, &str) -> Box<dyn Broker>) -> Arc<Self> {
        let instance = format!("{}.{}.{}", config.server, config.worker, config.start);
        Arc::new_cyclic(|node: &Weak<Node>| Node {
            name: format!("{}.{}", config.server, config.worker),
            expiries: Arc::default(),
            clients: Arc::default(),
            last_order: Mutex::default(),
            revoked: Revoked::default(),
            torn: Mutex::default(),
            parent: Mutex::default(),
            crew: Mutex::default(),
            health: Mutex::default(),
            rules: RwLock::new(config.rules.clone()),
            leaves: AtomicBool::new(false),
            is_held: AtomicBool::new(false),
            slow: SlowOnes::default(),
            config,
            counters: Counters::default(),
            started: Instant::now(),
            stats: OnceLock::new(),
            tls: OnceLock::new(),
            webhook: OnceLock::new(),
            proxy: OnceLock::new(),
            broker: broker(node.clone(), &instance),
            instance,
            feeds: RwLock::default(),
            peers: Mutex::default(),
            ticker: Mutex::default(),
        })
    }

    /// Connections are served from now on; `stats` returns the counters of each thread.
    pub(crate) fn serves(&self, stats: impl Fn() -> Vec<Stats> + Send + Sync + 'static) {
        // Set only once, when serving begins.
        let _ = self.stats.set(Box::new(stats));
    }

    /// Tells `webhook` which channels have subscribers here from now on.
    pub(crate) fn tells(&self, webhook: Arc<Webhook>) {
        // Set only once, before clients come.
        let _ = self.webhook.set(webhook);
    }

    /// Counts the questions of `proxy` from now on.
    pub(crate) fn asks(&self, proxy: Arc<Proxy>) {
        // Set only once, before clients come.
        let _ = self.proxy.set(proxy);
    }

    /// The process ends: the back end is told what it has not heard yet, for `patience` at most.
    pub(crate) fn ends(&self, patience: Duration) {
        if let Some(webhook) = self.webhook.get() {
            webhook.end(patience);
        }
    }

    /// Adds the counters of TLS.
    pub(crate) fn encrypts(&self, stats: impl Fn() -> proto_tls::Stats + Send + Sync + 'static) {
        // Set only once, when serving begins.
        let _ = self.tls.set(Box::new(stats));
    }

    /// Whether the node serves and can publish.
    pub(crate) fn is_ready(&self) -> bool {
        let is_out = self.leaves.load(Ordering::Relaxed) || self.is_held.load(Ordering::Relaxed);
        !is_out && self.stats.get().is_some() && self.broker.is_connected() && self.can_publish(Instant::now())
    }

    /// The node is not ready from now on if it `leaves`, whatever else holds.
    pub(crate) fn set_leaving(&self, leaves: bool) {
        self.leaves.store(leaves, Ordering::Relaxed);
    }

    /// Whether the node is not ready until the API says so, although it serves.
    pub(crate) fn set_held(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::Relaxed);
    }

    /// The rule of a channel now; `None` if such a channel is not permitted.
    pub(crate) fn rule(&self, channel: &Name) -> Option<Arc<Rule>> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.of(channel).cloned()
    }

    /// Puts other rules in force. Subscriptions that the new rules may forbid are checked by their clients' connections.
    pub(crate) fn change_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        for feed in self.all_feeds() {
            let is_open = match self.rule(&feed.name) {
                Some(rule) => {
                    let before = feed.set_rule(Arc::clone(&rule));
                    rule.subscribe == Access::Anyone || rule.subscribe == before.subscribe
                }
                // The feed keeps its rule until its listeners have left.
                None => false,
            };
            if !is_open {
                let order = Arc::new(Order {
                    user: None,
                    client: None,
                    what: What::Rules {
                        channel: feed.name.clone(),
                    },
                });
                self.clients.order(feed.senders(), &order);
            }
        }
    }

    /// Whether the node's own last publication succeeded, or may still succeed.
    fn can_publish(&self, now: Instant) -> bool {
        let health = self.health();
        let waits = health
            .sent
            .is_some_and(|sent| now.saturating_duration_since(sent) > UNANSWERED);
        !health.failed && !waits
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn torn(&self) -> MutexGuard<'_, Vec<Arc<Feed>>> {
        self.torn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of the driver's threads.
    fn stats(&self) -> Vec<Stats> {
        self.stats.get().map(|stats| stats()).unwrap_or_default()
    }

    /// Follows the channels on which nodes report their counters, and pass on orders.
    pub(crate) fn follow_own(&self) {
        for channel in [Name::nodes(), Name::orders(), Name::revoked()] {
            // There is always room for the first channels.
            if let Ok((feed, true)) = self.feed(&channel) {
                self.broker.follow(&channel, feed.rule().keep);
            }
        }
    }

    fn last_order(&self) -> MutexGuard<'_, Option<Position>> {
        self.last_order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<String, (Instant, Sample)>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticker(&self) -> MutexGuard<'_, Option<Thread>> {
        self.ticker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn broker(&self) -> &dyn Broker {
        self.broker.as_ref()
    }

    /// Subscribes the connection of `sender`, which is that of the client with this number, to `channel`, which the rules permit. With
    /// `beats` it gets heartbeats.
    pub(crate) fn subscribe(
        &self,
        channel: &Name,
        sender: &Sender<Post>,
        number: u64,
        beats: bool,
    ) -> Result<Cursor, Trouble> {
        loop {
            let (feed, is_new) = self.feed(channel)?;
            let cursor = Cursor::enter(Arc::clone(&feed), sender.clone(), number, beats);
            if is_new {
                self.broker.follow(channel, feed.rule().keep);
            }
            if let Some(cursor) = cursor {
                return Ok(cursor);
            }
        }
    }

    /// Requests a snapshot for the channel of `cursor`. Returns the number of the request.
    pub(crate) fn verify(&self, cursor: &Cursor) -> u64 {
        let feed = cursor.feed();
        self.broker.follow(&feed.name, feed.rule().keep)
    }

    /// The feed of a channel, and whether it was created now.
    fn feed(&self, channel: &Name) -> Result<(Arc<Feed>, bool), Trouble> {
        if let Some(feed) = self.read().get(channel) {
            return Ok((Arc::clone(feed), false));
        }
        let rule = self.rule(channel).ok_or(Trouble::TooManyChannels)?;
        let mut retired = None;
        let mut feeds = self.write();
        if feeds.len() >= self.config.max_channels && !feeds.contains_key(channel) {
            // A feed without listeners makes room.
            let mut some = feeds.values().take(SOME);
            let idle = some.find(|feed| !feed.name.is_reserved() && feed.retire(clock::now(), Duration::ZERO));
            retired = Some(Arc::clone(idle.ok_or(Trouble::TooManyChannels)?));
        }
        if let Some(retired) = &retired {
            feeds.remove(&retired.name);
        }
        let mut is_new = false;
        let feed = feeds.entry(channel.clone()).or_insert_with(|| {
            is_new = true;
            let webhook = self.webhook.get().filter(|_| rule.webhook && !channel.is_reserved());
            Arc::new(Feed::new(channel.clone(), rule, webhook.cloned()))
        });
        let feed = Arc::clone(feed);
        drop(feeds);
        if let Some(retired) = retired {
            // Without the lock, because the broker may wait for it.
            self.broker.forget(&retired.name);
        }
        Ok((feed, is_new))
    }

    /// The channels with listeners on this node, and the number of listeners.
    pub(crate) fn channels(&self) -> Vec<(Name, usize)> {
        let feeds = self.read();
        let listened = feeds.iter().map(|(name, feed)| (name.clone(), feed.listeners()));
        listened.filter(|(_, listeners)| *listeners > 0).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Table<Name, Arc<Feed>>> {
        self.feeds.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table<Name, Arc<Feed>>> {
        self.feeds.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Something was published in a channel of comet's own.
    fn heard_own(&self, publication: &Publication) {
        if publication.channel == Name::nodes() {
            self.heard(publication);
        } else if publication.channel == Name::orders() {
            self.ordered(publication);
        } else if publication.channel == Name::revoked() {
            self.revoked_by(publication);
        }
    }
}

impl Inbox for Node {
    fn position(&self, channel: &Name) -> Option<Position> {
        let feed = self.read().get(channel).map(Arc::clone)?;
        feed.position()
    }

    fn snapshot(&self, channel: &Name, snapshot: Snapshot) {
        let Some(feed) = self.read().get(channel).map(Arc::clone) else {
            return;
        };
        if *channel == Name::orders() {
            self.orders_begin(&snapshot);
        } else if *channel == Name::revoked() {
            self.revocations(&snapshot);
        }
        if feed.snapshot(snapshot) {
            self.counters.resets.add(1);
        }
    }

    fn publication(&self, publication: &Arc<Publication>) {
        if publication.channel.is_reserved() {
            self.heard_own(publication);
        }
        let Some(feed) = self.read().get(&publication.channel).map(Arc::clone) else {
            return;
        };
        match feed.publication(publication) {
            News::Told(listeners) => {
                self.counters.publications.add(1);
                self.counters.deliveries.add(listeners as u64);
            }
            News::Old => {}
            // The broker may hold locks now.
            News::Torn => {
                self.torn().push(feed);
                self.wake();
            }
        }
    }
}
