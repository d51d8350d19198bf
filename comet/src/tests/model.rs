//! A simulated Redis and network for real nodes and clients: thousands of schedules of faults, each of which follows from its seed.
//! `COMET_MODEL_SEED=42 cargo test -p comet model` repeats one, `COMET_MODEL_RUNS=5000` sets the number of schedules.
//!
//! The simulated Redis implements the scripts in Rust. `ci/comet_faults.py` compares comet with a real Redis.

mod judge;
mod redis;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use proto_resp::{Client as RespClient, ClientConfig, Server as RespServer, ServerConfig};
use protocol::Limits;
use protocol::testing::{Sim, Weather};

use self::judge::{Listener, Published, judge};
use self::redis::{Post, Session, World};
use crate::broker::{Broker, Inbox, RedisDialect, Refusal, Role, Speaker, Upstream, UpstreamLink, Wake};
use crate::channel::Name;
use crate::publication::Draft;
use crate::tests::Rig;

const RULES: &str = "[[channel]]\nname = \"*\"\npublish = \"anyone\"\nhistory = 1000\npresence = true";
/// The last channel has a single listener that is often away: then no node follows the channel, and only the node that acknowledged a lost
/// publication can detect the loss.
const CHANNELS: [&str; 3] = ["one", "two", "three"];
const NODES: usize = 2;
/// The virtual time of one step.
const STEP: Duration = Duration::from_millis(20);

/// Random numbers that follow from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }
}

/// Requests of connections to the simulation.
#[derive(Default)]
struct Requests {
    connect: Vec<(Arc<Upstream>, Role, u64)>,
    wake: Vec<(usize, Wake)>,
}

type Shared<T> = Arc<Mutex<T>>;

fn lock<T>(shared: &Shared<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Link(usize, Shared<Requests>);

impl UpstreamLink for Link {
    fn wake(&self, wake: Wake) {
        lock(&self.1).wake.push((self.0, wake));
    }
}

struct Model {
    sim: Sim<RespClient<Speaker>, RespServer<Session>>,
    world: Shared<World>,
    requests: Shared<Requests>,
    begun: Instant,
    nodes: Vec<Rig>,
    started: usize,
    listeners: Vec<Listener>,
    published: Vec<Published>,
    /// The number of connections opened so far.
    opened: usize,
    /// Whether Redis is unreachable.
    down: bool,
}

impl Model {
    fn new(seed: u64) -> Self {
        let weather = Weather::default();
        let mut model = Model {
            sim: Sim::new(weather, Limits::default(), seed),
            world: Arc::default(),
            requests: Arc::default(),
            begun: Instant::now(),
            nodes: Vec::new(),
            started: 0,
            listeners: Vec::new(),
            published: Vec::new(),
            opened: 0,
            down: false,
        };
        for _ in 0..NODES {
            let node = model.node();
            model.nodes.push(node);
        }
        model
    }

    fn node(&mut self) -> Rig {
        self.started += 1;
        let name = format!("n{}", self.started);
        let requests = Arc::clone(&self.requests);
        Rig::on(RULES, move |inbox: Weak<dyn Inbox>, _| -> Box<dyn Broker> {
            let connect = move |upstream: Arc<Upstream>, role, generation| {
                lock(&requests).connect.push((upstream, role, generation));
            };
            Box::new(Upstream::new(
                RedisDialect::new("c:".to_owned(), 0, name),
                inbox,
                Box::new(connect),
            ))
        })
    }

    fn now(&self) -> Instant {
        self.begun + self.sim.elapsed()
    }

    /// Advances the time by one step, and carries out requests.
    fn step(&mut self, ticks: bool) {
        lock(&self.world).now = 1_000_000 + self.sim.elapsed().as_millis() as u64;
        self.sim.run(STEP, |_| {});
        let Requests { connect, wake } = core::mem::take(&mut *lock(&self.requests));
        for (upstream, role, generation) in connect {
            if self.down {
                upstream.is_down(role, generation, Refusal::Now("nobody listens".to_owned()));
                continue;
            }
            let mut config = ClientConfig::default();
            config.timeouts.reply = Some(Duration::from_secs(8));
            config.timeouts.ping = Some(Duration::from_secs(5));
            config.timeouts.pong = Some(Duration::from_secs(8));
            let client = RespClient::new(Arc::new(config), Speaker::new(Arc::clone(&upstream), role, generation));
            let session = Session::new(Arc::clone(&self.world), self.opened);
            let server = RespServer::new(Arc::new(ServerConfig::default()), session);
            let id = self.sim.open(Duration::ZERO, client, server);
            self.opened = id + 1;
            upstream.linked(role, generation, Box::new(Link(id, Arc::clone(&self.requests))));
        }
        for (id, wake) in wake {
            self.sim.message_a(Duration::ZERO, id, wake);
        }
        let told = core::mem::take(&mut lock(&self.world).outbox);
        for (id, push) in told {
            self.sim.message_b(Duration::ZERO, id, Post::Push(push));
        }
        if ticks {
            for node in &self.nodes {
                node.node.look_after(self.begun + self.sim.elapsed());
            }
        }
        for node in &self.nodes {
            node.node.mend(self.now());
        }
        let at = self.sim.elapsed();
        for listener in &mut self.listeners {
            listener.listen(&self.nodes, at);
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.sim.elapsed() + time;
        let mut tick = self.sim.elapsed();
        while self.sim.elapsed() < until {
            let ticks = self.sim.elapsed() >= tick;
            if ticks {
                tick += Duration::from_secs(1);
            }
            self.step(ticks);
        }
    }

    fn publish(&mut self, node: usize, channel: usize) {
        let name: Name = CHANNELS[channel].parse().unwrap();
        let data = self.published.len().to_string();
        let draft = Draft {
            channel: name.clone(),
            user: None,
            data: data.clone().into(),
            key: None,
        };
        let published = Published::new(channel, data, self.sim.elapsed());
        let done = published.done();
        self.published.push(published);
        let node = &self.nodes[node].node;
        let keep = node.config.rules.of(&name).unwrap().keep;
        node.broker().publish(draft, keep, done);
    }

    /// Ends every connection to Redis.
    fn cut_all(&mut self) {
        for id in 0..self.opened {
            self.sim.message_b(Duration::ZERO, id, Post::Die);
        }
        lock(&self.world).followers.clear();
    }

    fn restart_node(&mut self, index: usize) {
        // Its connections are dropped with it, which the other ends notice.
        let node = self.node();
        for listener in self.listeners.iter_mut().filter(|listener| listener.node == index) {
            listener.leave();
        }
        self.nodes[index] = node;
    }

    /// Applies a random fault.
    fn fault(&mut self, chance: &mut Chance) -> &'static str {
        match chance.below(12) {
            0 => {
                lock(&self.world).restart();
                self.cut_all();
                "Redis is restarted with all it had"
            }
            1 | 2 => {
                let back = chance.below(8) as usize;
                lock(&self.world).roll_back(back);
                self.cut_all();
                "Redis comes back from an older dump"
            }
            3 => {
                lock(&self.world).flush();
                "FLUSHALL"
            }
            4 => {
                for _ in 0..4 {
                    let id = chance.below(self.opened.max(1) as u64) as usize;
                    self.sim.message_b(Duration::ZERO, id, Post::Die);
                }
                "CLIENT KILL"
            }
            5 => {
                let index = chance.below(NODES as u64) as usize;
                self.restart_node(index);
                "a node is killed"
            }
            6 => {
                let state = chance.below(2) == 0;
                lock(&self.world).refuses = state;
                "out of memory, or not any more"
            }
            7 => {
                self.down = chance.below(2) == 0;
                if self.down {
                    self.cut_all();
                }
                "Redis is out of reach, or not any more"
            }
            8..=10 => {
                // Every second time it is the listener that is alone.
                let index = chance.below(2 * self.listeners.len() as u64) as usize;
                let index = index.min(self.listeners.len() - 1);
                let until = self.sim.elapsed() + Duration::from_millis(chance.below(6000));
                let node = chance.below(NODES as u64) as usize;
                if let Some(listener) = self.listeners.get_mut(index) {
                    listener.stay_away(until, node);
                }
                "a client moves"
            }
            _ => {
                lock(&self.world).evict(chance.below(CHANNELS.len() as u64) as usize);
                "Redis drops a channel"
            }
        }
    }
}

/// Runs one schedule. Returns the problems found, and a digest of all events.
fn schedule(seed: u64) -> (Vec<String>, u64) {
    let (mut model, mut chance) = (Model::new(seed), Chance(seed));
    let mut history = Vec::new();
    for index in 0..4 {
        model.listeners.push(Listener::new(index % NODES, index / NODES));
    }
    model.listeners.push(Listener::new(0, CHANNELS.len() - 1));
    model.run(Duration::from_secs(2));
    let (mut rolled_back, mut killed) = (None::<Duration>, None::<Duration>);
    for _ in 0..14 {
        for _ in 0..4 + chance.below(6) {
            let (node, channel) = (
                chance.below(NODES as u64) as usize,
                chance.below(CHANNELS.len() as u64) as usize,
            );
            model.publish(node, channel);
            model.step(false);
        }
        lock(&model.world).back_up();
        let at = model.sim.elapsed();
        let kind = model.fault(&mut chance);
        history.push(format!("{at:?}: {kind}"));
        if kind.starts_with("Redis comes back") || kind.starts_with("FLUSHALL") || kind.starts_with("Redis drops") {
            rolled_back = Some(at);
        }
        let forgets = rolled_back == Some(at);
        if kind.starts_with("a node") {
            killed = Some(at);
        }
        // If a node stops at about the same time as a rollback, what only this node knew is lost; see README.md.
        let both = rolled_back
            .zip(killed)
            .is_some_and(|(back, killed)| back.abs_diff(killed) < Duration::from_secs(12));
        if both && (forgets || killed == Some(at)) {
            for listener in &mut model.listeners {
                listener.is_told_nothing(at);
            }
        }
        let pause = 50 + chance.below(3000);
        model.run(Duration::from_millis(pause));
    }
    model.down = false;
    lock(&model.world).refuses = false;
    model.run(Duration::from_secs(30));
    let before = model.published.len();
    for _ in 0..5 {
        for channel in 0..CHANNELS.len() {
            for node in 0..NODES {
                model.publish(node, channel);
            }
        }
        model.run(Duration::from_secs(4));
    }
    model.run(Duration::from_secs(10));
    let mut faults = judge(&model.listeners, &model.published, before);
    if !faults.is_empty() {
        faults.extend(history);
    }
    (faults, model.sim.digest())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_schedule_follows_from_its_seed() {
    assert_eq!(schedule(5).1, schedule(5).1);
}

#[test]
fn no_schedule_of_faults_loses_anything_in_silence() {
    let runs = number("COMET_MODEL_RUNS").unwrap_or(if cfg!(debug_assertions) { 40 } else { 400 });
    let seeds = match number("COMET_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + runs,
    };
    for seed in seeds {
        let (faults, _) = schedule(seed);
        assert!(faults.is_empty(), "COMET_MODEL_SEED={seed}\n{}", faults.join("\n"));
    }
}
