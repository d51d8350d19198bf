//! One run of a schedule: nodes, clients, the simulated Redis, and the steps that a theme can take.

mod end;
mod faults;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use proto_resp::{Client as RespClient, Server as RespServer, ServerConfig};
use protocol::Limits;
use protocol::testing::{Sim, Weather};

use super::judge::Published;
use super::listener::Listener;
use super::redis::World;
use super::session::{Post, Session};
use super::shape::{Chance, Shape};
use super::{Shared, lock};
use crate::broker::{Broker, Inbox, RedisDialect, Refusal, Role, Speaker, Upstream, UpstreamLink, Wake, client_config};
use crate::channel::Name;
use crate::clock::by_hand;
use crate::publication::Draft;
use crate::tests::Rig;

const RULES: &str = "[[channel]]\nname = \"*\"\npublish = \"anyone\"\nhistory = 1000\npresence = true";
/// The virtual time of one step.
const STEP: Duration = Duration::from_millis(20);
/// The most attempts to publish with a key.
const ATTEMPTS: usize = 4;

/// A connection to make: the start of its node, the upstream, the role and the generation.
type Connecting = (usize, Arc<Upstream>, Role, u64);

/// Requests of connections to the simulation.
#[derive(Default)]
pub(super) struct Requests {
    connect: Vec<Connecting>,
    wake: Vec<(usize, Wake)>,
}

struct Link(usize, Shared<Requests>);

impl UpstreamLink for Link {
    fn wake(&self, wake: Wake) {
        lock(&self.1).wake.push((self.0, wake));
    }
}

/// One node.
struct Stage {
    /// The number of the node's start. Requests of killed nodes are dropped by this number.
    start: usize,
    database: u32,
    /// Whether the node cannot reach Redis.
    is_apart: bool,
    /// The delay of publications to this node.
    lag: Duration,
}

pub(super) struct Play {
    sim: Sim<RespClient<Speaker>, RespServer<Session>>,
    pub(super) world: Shared<World>,
    requests: Shared<Requests>,
    begun: Instant,
    tick: Duration,
    shape: Shape,
    nodes: Vec<Rig>,
    stages: Vec<Stage>,
    starts: usize,
    /// The start of the node and the role, for each connection opened so far.
    links: Vec<(usize, Role)>,
    pub(super) listeners: Vec<Listener>,
    published: Vec<Published>,
    /// The times of the last loss, and of the last kill of a node.
    lost: Option<Duration>,
    killed: Option<Duration>,
    pub(super) history: Vec<String>,
    chance: Chance,
}

impl Play {
    pub(super) fn new(seed: u64, shape: Shape) -> Self {
        let mut play = Play {
            sim: Sim::new(Weather::default(), Limits::default(), seed),
            world: Arc::default(),
            requests: Arc::default(),
            begun: Instant::now(),
            tick: Duration::ZERO,
            nodes: Vec::new(),
            stages: Vec::new(),
            starts: 0,
            links: Vec::new(),
            listeners: Vec::new(),
            published: Vec::new(),
            lost: None,
            killed: None,
            history: Vec::new(),
            chance: Chance(seed),
            shape,
        };
        by_hand::set(Some(play.begun));
        for index in 0..play.shape.nodes.len() {
            let node = play.start(index);
            play.nodes.push(node);
            play.stages.push(Stage {
                start: play.starts,
                database: play.shape.nodes[index],
                is_apart: false,
                lag: Duration::ZERO,
            });
        }
        for (node, channel) in play.shape.listeners.clone() {
            let name = play.shape.channels[channel].0.clone();
            play.listeners.push(Listener::new(node, channel, name));
        }
        play
    }

    /// Starts a node for the place `index`.
    fn start(&mut self, index: usize) -> Rig {
        self.starts += 1;
        let start = self.starts;
        let database = self.shape.nodes[index];
        let (requests, bounds) = (Arc::clone(&self.requests), self.shape.bounds);
        let mut rig = Rig::started(
            RULES,
            &start.to_string(),
            move |inbox: Weak<dyn Inbox>, _| -> Box<dyn Broker> {
                let connect = move |upstream: Arc<Upstream>, role, generation| {
                    lock(&requests).connect.push((start, upstream, role, generation));
                };
                let dialect = RedisDialect::new("c:".to_owned(), database, format!("n{start}"));
                Box::new(Upstream::bounded(dialect, bounds, inbox, Box::new(connect)))
            },
        );
        rig.limits = rig.limits.max_output(self.shape.output);
        rig
    }

    // Chance, and time.

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.chance.below(end)
    }

    /// True once in `times` calls, on average.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A random time between two numbers of milliseconds.
    pub(super) fn between(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    pub(super) fn some_node(&mut self) -> usize {
        self.below(self.nodes.len() as u64) as usize
    }

    pub(super) fn some_channel(&mut self) -> usize {
        self.below(self.shape.channels.len() as u64) as usize
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn channels(&self) -> usize {
        self.shape.channels.len()
    }

    pub(super) fn at(&self) -> Duration {
        self.sim.elapsed()
    }

    pub(super) fn digest(&self) -> u64 {
        self.sim.digest()
    }

    /// Records a step for the report of a fault.
    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.history.push(format!("{:?}: {}", self.at(), what.into()));
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.at() + time;
        while self.at() < until {
            self.step();
        }
    }

    /// Runs until every publication has a result, or for `most`.
    pub(super) fn run_until_answered(&mut self, most: Duration) {
        let until = self.at() + most;
        while self.at() < until && self.published.iter().any(|published| !published.is_answered()) {
            self.step();
        }
    }

    /// Advances the time by one step, and carries out requests.
    pub(super) fn step(&mut self) {
        lock(&self.world).now = 1_000_000 + self.at().as_millis() as u64;
        self.sim.run(STEP, |_| {});
        let now = self.begun + self.at();
        by_hand::set(Some(now));
        self.do_requests();
        if self.at() >= self.tick {
            self.tick += Duration::from_secs(1);
            for node in &self.nodes {
                node.node.look_after(now);
            }
        }
        for node in &self.nodes {
            node.node.mend(now);
        }
        let at = self.at();
        for listener in &mut self.listeners {
            listener.listen(&self.nodes, at);
        }
        self.try_again();
    }

    fn do_requests(&mut self) {
        let Requests { connect, wake } = core::mem::take(&mut *lock(&self.requests));
        for (start, upstream, role, generation) in connect {
            let Some(stage) = self.stages.iter().find(|stage| stage.start == start) else {
                continue;
            };
            if stage.is_apart {
                upstream.is_down(role, generation, Refusal::Now("nobody listens".to_owned()));
                continue;
            }
            let mut config = client_config(1 << 16);
            // As many as it means to send, and none that it does not.
            config.rules.limits.outstanding = self.shape.bounds.window as u32;
            let speaker = Speaker::new(Arc::clone(&upstream), role, generation);
            let client = RespClient::new(Arc::new(config), speaker);
            let session = Session::new(Arc::clone(&self.world), self.links.len(), stage.database);
            let server = RespServer::new(Arc::new(ServerConfig::default()), session);
            let id = self.sim.open(Duration::ZERO, client, server);
            self.links.push((start, role));
            upstream.linked(role, generation, Box::new(Link(id, Arc::clone(&self.requests))));
        }
        for (id, wake) in wake {
            self.sim.message_a(Duration::ZERO, id, wake);
        }
        let told = core::mem::take(&mut lock(&self.world).outbox);
        for (id, push) in told {
            let start = self.links[id].0;
            let stage = self.stages.iter().find(|stage| stage.start == start);
            let lag = stage.map_or(Duration::ZERO, |stage| stage.lag);
            self.sim.message_b(lag, id, Post::Push(push));
        }
    }

    // What clients do.

    pub(super) fn publish(&mut self, node: usize, channel: usize) {
        let number = self.published.len();
        // One in three has a key, by which it is tried again where nobody knows what became of it.
        let key: Option<Arc<str>> = self.once_in(3).then(|| format!("k{number}").into());
        let data = match self.shape.padding {
            0 => number.to_string(),
            padding => format!("\"{number}{:>padding$}\"", ""),
        };
        let published = Published::new(channel, data, self.at(), key, node);
        self.published.push(published);
        self.attempt(number, node);
    }

    fn attempt(&mut self, number: usize, node: usize) {
        let published = &mut self.published[number];
        let name: Name = self.shape.channels[published.channel].0.parse().unwrap();
        let draft = Draft {
            channel: name.clone(),
            user: None,
            data: published.data.clone().into(),
            key: published.key.clone(),
        };
        let done = published.attempt();
        let node = &self.nodes[node].node;
        let keep = node.config.rules.of(&name).unwrap().keep;
        node.broker().publish(draft, keep, done);
    }

    /// Publishes again, through the next node, what has a key and no acknowledgement.
    fn try_again(&mut self) {
        let at = self.at();
        for number in 0..self.published.len() {
            let published = &self.published[number];
            if published.wants_another(at, ATTEMPTS) {
                let next = (published.node + published.attempts()) % self.nodes.len();
                let database = self.shape.channels[published.channel].1;
                let is_of_it = self.stages[next].database == database;
                self.attempt(number, if is_of_it { next } else { published.node });
            }
        }
    }

    /// Publishes in a random channel of the node's database.
    pub(super) fn publish_by(&mut self, node: usize) {
        let database = self.stages[node].database;
        let channel = loop {
            let channel = self.some_channel();
            if self.shape.channels[channel].1 == database {
                break channel;
            }
        };
        self.publish(node, channel);
    }

    /// Publishes `from` to `to` times, in random channels through random nodes.
    pub(super) fn publish_some(&mut self, from: u64, to: u64) {
        for _ in 0..from + self.below(to - from + 1) {
            let node = self.some_node();
            self.publish_by(node);
            self.step();
        }
    }

    /// Disconnects a client, which reconnects to `node` after a time.
    pub(super) fn move_listener(&mut self, index: usize, after: Duration, node: usize) {
        let until = self.at() + after;
        self.listeners[index].stay_away(until, node);
    }
}
