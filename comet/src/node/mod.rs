//! This process's part of the whole: the channels its connections listen to, fed by the broker.

mod counters;
mod cursor;
mod feed;
mod post;
mod sample;
mod ticker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use protocol::{Sender, Stats};

use crate::broker::{Broker, Inbox, Snapshot, Trouble};
use crate::channel::Name;
use crate::publication::{Encoding, Publication};
use crate::rule::Rules;

pub(crate) use counters::Counters;
pub(crate) use cursor::{Cursor, Reader};
pub(crate) use feed::{Feed, News, Start};
pub(crate) use post::{Answer, Outcome, Post};
pub(crate) use sample::Sample;

/// How long a feed outlasts its last listener, who may come back.
const LINGER: Duration = Duration::from_secs(30);
/// How long listeners wait for a feed to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a node is told when it is made.
#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    /// The server's name, different from those of all others.
    pub(crate) server: Arc<str>,
    /// Which of the processes of the server, from 0.
    pub(crate) worker: usize,
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
    started: Instant,
    /// What the driver counts, once there is one.
    stats: OnceLock<Box<dyn Fn() -> Vec<Stats> + Send + Sync>>,
    broker: Box<dyn Broker>,
    feeds: RwLock<HashMap<Name, Arc<Feed>>>,
    /// What the nodes have told last, by name.
    peers: Mutex<HashMap<String, (Instant, Sample)>>,
    /// Who looks after what is due from time to time.
    ticker: Mutex<Option<Thread>>,
}

impl Node {
    /// A node on the broker that `broker` makes, and whose inbox it is.
    pub(crate) fn new(config: NodeConfig, broker: impl FnOnce(Weak<dyn Inbox>) -> Box<dyn Broker>) -> Arc<Self> {
        Arc::new_cyclic(|node: &Weak<Node>| Node {
            name: format!("{}.{}", config.server, config.worker),
            config,
            counters: Counters::default(),
            started: Instant::now(),
            stats: OnceLock::new(),
            broker: broker(node.clone()),
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

    /// Whether it serves, and reaches its broker.
    pub(crate) fn is_ready(&self) -> bool {
        self.stats.get().is_some() && self.broker.is_connected()
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

    /// The feed of a channel, and whether it was made now.
    fn feed(&self, channel: &Name) -> Result<(Arc<Feed>, bool), Trouble> {
        if let Some(feed) = self.read().get(channel) {
            return Ok((Arc::clone(feed), false));
        }
        let rule = self.config.rules.of(channel).ok_or(Trouble::TooManyChannels)?;
        let mut feeds = self.write();
        if feeds.len() >= self.config.max_channels && !feeds.contains_key(channel) {
            return Err(Trouble::TooManyChannels);
        }
        let mut is_new = false;
        let feed = feeds.entry(channel.clone()).or_insert_with(|| {
            is_new = true;
            Arc::new(Feed::new(channel.clone(), Arc::clone(rule)))
        });
        Ok((Arc::clone(feed), is_new))
    }

    /// The channels listened to here, each with its number of listeners.
    pub(crate) fn channels(&self) -> Vec<(Name, usize)> {
        let feeds = self.read();
        let listened = feeds.iter().map(|(name, feed)| (name.clone(), feed.listeners()));
        listened.filter(|(_, listeners)| *listeners > 0).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Name, Arc<Feed>>> {
        self.feeds.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Name, Arc<Feed>>> {
        self.feeds.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox for Node {
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
            News::Torn => self.wake(),
        }
    }
}
