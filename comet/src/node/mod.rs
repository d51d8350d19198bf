//! This process's part of the whole: the channels its connections listen to, fed by the broker.

mod counters;
mod cursor;
mod expiry;
mod feed;
mod post;
mod sample;
mod ticker;

use std::collections::{BTreeMap, HashMap};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use drivers::Stats;
use protocol::Sender;

use crate::broker::{Broker, Inbox, Snapshot, Trouble};
use crate::channel::Name;
use crate::clock;
use crate::publication::{Encoding, Position, Publication};
use crate::rule::Rules;
use crate::table::Table;

pub(crate) use counters::Counters;
pub(crate) use cursor::{Cursor, Reader};
pub(crate) use expiry::{Expiries, Expiry};
pub(crate) use feed::{Begin, Feed, News};
pub(crate) use post::{Answer, Outcome, Post};
pub(crate) use sample::{GAUGES, Sample};

/// How long a feed outlasts its last listener, who may come back.
const LINGER: Duration = Duration::from_secs(30);
/// Channels that are looked at for one that can make room for another.
const SOME: usize = 1024;
/// How long listeners wait for a feed to begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what the node publishes of itself may go without an answer until it counts as unable to publish.
const UNANSWERED: Duration = Duration::from_secs(3);

/// What a node is told when it is made.
#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    /// The server's name, different from those of all others.
    pub(crate) server: Arc<str>,
    /// Which of the processes of the server, from 0.
    pub(crate) worker: usize,
    /// Tells the starts of a worker apart.
    pub(crate) start: Arc<str>,
    pub(crate) rules: Rules,
    pub(crate) encoding: Encoding,
    /// Channels it follows at most.
    pub(crate) max_channels: usize,
}

/// One process of a server.
pub(crate) struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) counters: Counters,
    /// Its name, different from those of all others.
    pub(crate) name: String,
    /// Its name for its clients, different from those of all that were ever started.
    pub(crate) instance: String,
    pub(crate) expiries: Arc<Expiries>,
    /// Channels in which something is missing.
    torn: Mutex<Vec<Arc<Feed>>>,
    /// The parent, where this is one of several processes, and what all of them count.
    parent: Mutex<Option<UnixStream>>,
    crew: Mutex<BTreeMap<usize, Sample>>,
    /// How publishing goes, as what the node tells of itself shows.
    health: Mutex<Health>,
    started: Instant,
    /// What the driver counts, once there is one.
    stats: OnceLock<Box<dyn Fn() -> Vec<Stats> + Send + Sync>>,
    /// What TLS counts, where there is TLS.
    tls: OnceLock<Box<dyn Fn() -> proto_tls::Stats + Send + Sync>>,
    broker: Box<dyn Broker>,
    feeds: RwLock<Table<Name, Arc<Feed>>>,
    /// What the nodes have told last, by name.
    peers: Mutex<HashMap<String, (Instant, Sample)>>,
    /// Who looks after what is due from time to time.
    ticker: Mutex<Option<Thread>>,
}

/// Whether publications go through.
#[derive(Debug, Default)]
struct Health {
    /// When one was sent that has no answer yet.
    sent: Option<Instant>,
    /// Whether the last failed.
    failed: bool,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.expiries.end();
    }
}

impl Node {
    /// A node on the broker that `broker` makes, and whose inbox it is.
    pub(crate) fn new(config: NodeConfig, broker: impl FnOnce(Weak<dyn Inbox>, &str) -> Box<dyn Broker>) -> Arc<Self> {
        let instance = format!("{}.{}.{}", config.server, config.worker, config.start);
        Arc::new_cyclic(|node: &Weak<Node>| Node {
            name: format!("{}.{}", config.server, config.worker),
            expiries: Arc::default(),
            torn: Mutex::default(),
            parent: Mutex::default(),
            crew: Mutex::default(),
            health: Mutex::default(),
            config,
            counters: Counters::default(),
            started: Instant::now(),
            stats: OnceLock::new(),
            tls: OnceLock::new(),
            broker: broker(node.clone(), &instance),
            instance,
            feeds: RwLock::default(),
            peers: Mutex::default(),
            ticker: Mutex::default(),
        })
    }

    /// From now on connections are served; `stats` tells what each of the threads counts.
    pub(crate) fn serves(&self, stats: impl Fn() -> Vec<Stats> + Send + Sync + 'static) {
        // Set once, when serving begins.
        let _ = self.stats.set(Box::new(stats));
    }

    /// From now on what TLS counts is among what it counts.
    pub(crate) fn encrypts(&self, stats: impl Fn() -> proto_tls::Stats + Send + Sync + 'static) {
        // Set once, when serving begins.
        let _ = self.tls.set(Box::new(stats));
    }

    /// Whether it serves, and what is published goes through.
    pub(crate) fn is_ready(&self) -> bool {
        self.stats.get().is_some() && self.broker.is_connected() && self.can_publish(Instant::now())
    }

    /// Whether what the node last published of itself went through, or may still.
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

    /// What each of the driver's threads counts.
    fn stats(&self) -> Vec<Stats> {
        self.stats.get().map(|stats| stats()).unwrap_or_default()
    }

    /// Listens to what the nodes tell of themselves.
    fn follow_nodes(&self) {
        let nodes = Name::nodes();
        // There is always room for the first channel.
        if let Ok((feed, true)) = self.feed(&nodes) {
            self.broker.follow(&nodes, feed.rule.keep);
        }
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

    /// A place in `channel` for the connection of `sender`, which the rules allow. With `beats` it gets signs of life.
    pub(crate) fn subscribe(&self, channel: &Name, sender: &Sender<Post>, beats: bool) -> Result<Cursor, Trouble> {
        loop {
            let (feed, is_new) = self.feed(channel)?;
            let cursor = Cursor::enter(Arc::clone(&feed), sender.clone(), beats);
            if is_new {
                self.broker.follow(channel, feed.rule.keep);
            }
            if let Some(cursor) = cursor {
                return Ok(cursor);
            }
        }
    }

    /// Asks the broker how the channel of `cursor` stands. Returns the number of the question.
    pub(crate) fn verify(&self, cursor: &Cursor) -> u64 {
        let feed = cursor.feed();
        self.broker.follow(&feed.name, feed.rule.keep)
    }

    /// The feed of a channel, and whether it was made now.
    fn feed(&self, channel: &Name) -> Result<(Arc<Feed>, bool), Trouble> {
        if let Some(feed) = self.read().get(channel) {
            return Ok((Arc::clone(feed), false));
        }
        let rule = self.config.rules.of(channel).ok_or(Trouble::TooManyChannels)?;
        let mut retired = None;
        let mut feeds = self.write();
        if feeds.len() >= self.config.max_channels && !feeds.contains_key(channel) {
            // One that only outlasts its last listener makes room.
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
            Arc::new(Feed::new(channel.clone(), Arc::clone(rule)))
        });
        let feed = Arc::clone(feed);
        drop(feeds);
        if let Some(retired) = retired {
            // Without the lock, which the broker may wait for.
            self.broker.forget(&retired.name);
        }
        Ok((feed, is_new))
    }

    /// The channels listened to here, each with its number of listeners.
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

impl Inbox for Node {
    fn position(&self, channel: &Name) -> Option<Position> {
        let feed = self.read().get(channel).map(Arc::clone)?;
        feed.position()
    }

    fn snapshot(&self, channel: &Name, snapshot: Snapshot) {
        let Some(feed) = self.read().get(channel).map(Arc::clone) else {
            return;
        };
        if feed.snapshot(snapshot) {
            self.counters.resets.add(1);
        }
    }

    fn publication(&self, publication: &Arc<Publication>) {
        if publication.channel == Name::nodes() {
            self.heard(publication);
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
