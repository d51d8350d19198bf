//! Subscribers in their own process, on a driver of this project.

use std::io::{self, BufRead, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use drivers::{Connect, Driver, Handle, Server};
use hdrhistogram::Histogram;
use proto_ws::entropy::PerThread;
use proto_ws::{Client, CloseCode, Config, Handler, Masked, Message, Misuse, Opening, Socket};
use protocol::Peer;
use serde::{Deserialize, Serialize};

use super::{Line, Plan};
use crate::machine;

/// If no input arrives for this time, publications are lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer latencies are counted as this value, in microseconds.
pub(super) const LONGEST: u64 = 100_000_000;

/// The observations of a part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) subscribers: usize,
    /// Publications that arrived in order.
    pub(super) received: u64,
    /// Publications known to be missing.
    pub(super) lost: u64,
    /// Number of other problems; only the first is reported in full.
    pub(super) problems: u64,
    pub(super) first_problem: Option<String>,
    /// Latencies from publishing to receiving in microseconds, and how often each occurred.
    pub(super) latencies: Vec<(u64, u64)>,
    /// For each publication, microseconds from publishing until the last subscriber received it.
    pub(super) slowest: Vec<u64>,
    /// Bytes of memory.
    pub(super) memory: u64,
}

/// The state that the subscribers of a part share.
struct Seen {
    state: Mutex<State>,
    news: Condvar,
}

struct State {
    /// Numbers of connections being opened, and of subscribers.
    opening: usize,
    subscribed: usize,
    /// The offset at which they began.
    start: u64,
    until: Option<u64>,
    latencies: Histogram<u64>,
    /// When the last subscriber received each publication, by the publication's number.
    slowest: Vec<u64>,
    outcome: Outcome,
    /// Whether the server is about to stop, and when it has disconnected each subscriber.
    leaving: bool,
    left: Vec<u64>,
}

pub(super) struct Part;

impl Part {
    /// Follows the instructions on standard input.
    pub(super) fn run() -> io::Result<()> {
        machine::raise_descriptor_limit();
        let mut lines = io::stdin().lock().lines();
        let mut line = || {
            lines
                .next()
                .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?
        };
        let plan: Plan = serde_json::from_str(&line()?)?;
        let latencies = Histogram::new_with_bounds(1, LONGEST, 3).map_err(io::Error::other)?;
        let seen = Arc::new(Seen {
            state: Mutex::new(State {
                opening: 0,
                subscribed: 0,
                start: 0,
                until: None,
                latencies,
                slowest: Vec::new(),
                outcome: Outcome::default(),
                leaving: false,
                left: Vec::new(),
            }),
            news: Condvar::new(),
        });
        open_all(&plan, &seen)?;
        let offset = seen.lock().start;
        tell(&Line::Ready { offset })?;
        let Line::Until { offset } = serde_json::from_str(&line()?)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        tell(&Line::Done(Box::new(seen.finish(&plan, offset))))?;
        match line().ok().and_then(|line| serde_json::from_str(&line).ok()) {
            Some(Line::Leave) => seen.leave(&plan),
            _ => Ok(()),
        }
    }
}

fn tell(line: &Line) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    writeln!(out)?;
    out.flush()
}

/// Opens all connections, a limited number at once.
fn open_all(plan: &Plan, seen: &Arc<Seen>) -> io::Result<()> {
    let driver: Driver = plan.driver.parse().map_err(io::Error::other)?;
    let mut config = Config::default();
    config.ping_interval = None;
    let (config, opening) = (
        Arc::new(config),
        Arc::new(Opening::new(plan.address.to_string(), "/ws")),
    );
    let subscribe: Arc<str> = format!(r#"{{"type":"subscribe","id":1,"channel":"{}"}}"#, plan.channel).into();
    let make = {
        let seen = Arc::clone(seen);
        move |_: &Peer<'_, std::convert::Infallible>| {
            let subscriber = Subscriber {
                seen: Arc::clone(&seen),
                subscribe: Arc::clone(&subscribe),
                next: None,
            };
            Client::new(Arc::clone(&config), Arc::clone(&opening), PerThread, subscriber)
        }
    };
    let server = Server::on(driver).configure(|config| config.connect_timeout = PATIENCE);
    let mut handle: Option<Handle<_>> = None;
    for index in 0..plan.subscribers {
        seen.wait_for_room(plan.opening)?;
        let to = connect(plan, index);
        let make = make.clone();
        match &handle {
            Some(handle) => {
                if !handle.connect(to, make) {
                    return Err(io::Error::other("the driver has ended"));
                }
            }
            None => handle = Some(server.connect(to, make)?.handle()),
        }
    }
    // Waits until none is being opened.
    seen.wait_for_room(1)
}

/// Uses one source address after the other, because each has a limited number of ports.
fn connect(plan: &Plan, index: usize) -> Connect {
    let connect = Connect::new(plan.address);
    if !plan.address.ip().is_loopback() || plan.address.is_ipv6() {
        return connect;
    }
    let number = plan.first_source + index as u32 % plan.sources;
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 0)) + number);
    connect.local(SocketAddr::new(IpAddr::V4(address), 0))
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until fewer than `most` connections are being opened, and counts one more.
    fn wait_for_room(&self, most: usize) -> io::Result<()> {
        let mut state = self.lock();
        while state.opening >= most {
            let before = (state.opening, state.subscribed);
            let (next, timeout) = self
                .news
                .wait_timeout(state, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if let Some(problem) = &state.outcome.first_problem {
                return Err(io::Error::other(problem.clone()));
            }
            if timeout.timed_out() && before == (state.opening, state.subscribed) {
                let there = state.subscribed;
                return Err(io::Error::other(format!(
                    "after {there} subscribers no more are let in"
                )));
            }
        }
        state.opening += 1;
        let subscribed = state.subscribed;
        drop(state);
        if subscribed.is_multiple_of(1000) {
            tell(&Line::Subscribed(subscribed))?;
        }
        Ok(())
    }

    /// Waits until every subscriber has read up to `offset`, as long as input arrives.
    fn finish(&self, plan: &Plan, offset: u64) -> Outcome {
        let mut state = self.lock();
        state.until = Some(offset);
        let all = plan.subscribers as u64 * (offset - state.start);
        let (mut heard, mut since) = (state.outcome.received, Instant::now());
        while state.outcome.received < all && state.outcome.problems == 0 && since.elapsed() < PATIENCE {
            (state, _) = self
                .news
                .wait_timeout(state, Duration::from_millis(100))
                .unwrap_or_else(PoisonError::into_inner);
            if state.outcome.received > heard {
                (heard, since) = (state.outcome.received, Instant::now());
            }
        }
        let mut outcome = core::mem::take(&mut state.outcome);
        outcome.subscribers = state.subscribed;
        outcome.lost = all.saturating_sub(outcome.received);
        outcome.latencies = state
            .latencies
            .iter_recorded()
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect();
        outcome.slowest = core::mem::take(&mut state.slowest);
        outcome.memory = machine::Usage::now().memory;
        outcome
    }
}

/// The end of a run.
impl Seen {
    /// Reports that it is ready, and later what it observed, once every subscriber was disconnected or nothing more happens.
    fn leave(&self, plan: &Plan) -> io::Result<()> {
        let mut state = self.lock();
        state.leaving = true;
        tell(&Line::Leave)?;
        while state.left.len() < plan.subscribers && state.outcome.first_problem.is_none() {
            let (next, timeout) = self
                .news
                .wait_timeout(state, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out() {
                break;
            }
        }
        tell(&Line::Left {
            times: core::mem::take(&mut state.left),
            problem: state.outcome.first_problem.take(),
        })
    }
}

/// One client: subscribes, and checks that publications arrive in order.
struct Subscriber {
    seen: Arc<Seen>,
    subscribe: Arc<str>,
    /// The offset of the next publication.
    next: Option<u64>,
}

/// The fields of a message that matter here.
#[derive(Deserialize)]
struct Heard<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    offset: u64,
    data: Option<Stamped>,
}

/// The data of a publication: the time, in microseconds since 1970, and padding.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stamped {
    pub(super) t: u64,
    #[serde(default, skip_deserializing)]
    pub(super) pad: String,
}

/// Microseconds since 1970.
pub(super) fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Subscriber {
    fn hear(&mut self, text: &str) -> Result<(), String> {
        let heard: Heard<'_> = serde_json::from_str(text).map_err(|_| format!("unreadable: {text}"))?;
        let mut state = self.seen.lock();
        match heard {
            Heard { kind: "welcome", .. } => {}
            Heard {
                kind: "subscribed",
                offset,
                ..
            } => {
                self.next = Some(offset + 1);
                state.subscribed += 1;
                state.opening -= 1;
                state.start = state.start.max(offset);
                self.seen.news.notify_all();
            }
            Heard {
                kind: "publication",
                offset,
                data: Some(Stamped { t, .. }),
            } if Some(offset) == self.next => {
                self.next = Some(offset + 1);
                state.received(offset, now().saturating_sub(t));
                if state.until == Some(offset) {
                    self.seen.news.notify_all();
                }
            }
            _ => return Err(format!("instead of publication {:?} came {text}", self.next)),
        }
        Ok(())
    }

    fn problem(&self, problem: String) {
        let mut state = self.seen.lock();
        state.outcome.problems += 1;
        state.outcome.first_problem.get_or_insert(problem);
        self.seen.news.notify_all();
    }
}

impl State {
    fn received(&mut self, offset: u64, latency: u64) {
        self.outcome.received += 1;
        self.latencies.saturating_record(latency);
        // The number of publications since the start is bounded.
        let index = (offset - self.start) as usize;
        if self.slowest.len() < index {
            self.slowest.resize(index, 0);
        }
        if let Some(slowest) = index.checked_sub(1).and_then(|index| self.slowest.get_mut(index)) {
            *slowest = latency.max(*slowest);
        }
    }
}

impl Handler<Masked<PerThread>> for Subscriber {
    type Message = std::convert::Infallible;

    fn opened(&mut self, socket: &mut Socket<'_, '_, Masked<PerThread>>) -> Result<(), Misuse> {
        socket.text(&self.subscribe)?;
        Ok(())
    }

    fn message(&mut self, message: Message<'_>, _: &mut Socket<'_, '_, Masked<PerThread>>) -> Result<(), Misuse> {
        let outcome = match message {
            Message::Text(text) => self.hear(text),
            Message::Binary(_) => Err("a binary message".to_owned()),
        };
        if let Err(problem) = outcome {
            self.problem(problem);
        }
        Ok(())
    }

    fn closed(&mut self, code: CloseCode, reason: &str) {
        let mut state = self.seen.lock();
        if state.leaving && code == CloseCode::AWAY {
            state.left.push(now());
            return self.seen.news.notify_all();
        }
        drop(state);
        self.problem(format!("a connection was closed: {} {reason}", code.get()));
    }
}
