//! A load generator for HTTP/1.1 and WebSocket servers that checks every byte of every answer.
//!
//! One thread drives many connections through epoll. What it sends is made beforehand and repeated, what comes back is
//! compared with what must come back, so that checking costs little and hides nothing: a wrong byte, a missing answer,
//! one too many or a connection that ends is an error of the [`Report`].

mod abuse;
mod churn;
mod generator;
mod http;
mod machine;
mod report;
mod script;
mod tls;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::Duration;

pub use abuse::{Abuse, Outcome};
pub use churn::Churned;
pub use machine::{Process, Sample, Server, pin, raise_descriptor_limit};
pub use report::{Idle, Report};
pub use tls::Encryption;

use generator::{Generator, Tally};
use script::Script;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// HTTP/1.1: `GET /`, or `POST /echo` when there is a payload.
    Http,
    /// WebSocket: binary messages to an echo at `/ws`.
    WebSocket,
}

/// When measuring ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After so long.
    Time(Duration),
    /// After so many answers, counted exactly: no request beyond them is sent.
    Requests(u64),
}

/// What to do to whom.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// What it speaks.
    pub mode: Mode,
    /// Whether that goes over TLS, and how. Attacks and churning go without.
    pub encryption: Option<Encryption>,
    /// The resource asked for; `None` takes the testbed's.
    pub path: Option<String>,
    /// Field lines added to each request, without their line ends.
    pub fields: Vec<String>,
    /// How many connections are open at once.
    pub connections: usize,
    /// How many requests or messages of one connection wait for their answers at once.
    pub in_flight: usize,
    /// Bytes of content of each request or message.
    pub payload: usize,
    /// What a `GET` must be answered with.
    pub expect: Vec<u8>,
    /// How long to measure.
    pub length: Length,
    /// The same work before, not measured.
    pub warm_up: Duration,
    /// Requests or messages per second over all connections; `None` sends the next as soon as an answer comes. With a
    /// rate, latency counts from when a request was due, not from when a slow server let it be sent.
    pub rate: Option<f64>,
    /// Never to sleep while measuring. A server whose answers wake the generator pays for that with each of them, on
    /// virtual machines more than for the answer.
    pub spin: bool,
    /// Over how long opening the connections is spread.
    pub ramp: Duration,
    /// How many source addresses, 127.0.0.1 and up, take turns: one has about 28,000 ports.
    pub sources: u32,
    /// Threads that share the connections.
    pub threads: usize,
    /// The server's process, for its processor time and memory.
    pub server: Option<Process>,
}

impl Plan {
    /// One connection with one request at a time, for one second.
    pub fn new(target: SocketAddr, mode: Mode) -> Self {
        Plan {
            target,
            mode,
            encryption: None,
            path: None,
            fields: Vec::new(),
            connections: 1,
            in_flight: 1,
            payload: 0,
            expect: b"Hello, World!".to_vec(),
            length: Length::Time(Duration::from_secs(1)),
            warm_up: Duration::ZERO,
            rate: None,
            spin: false,
            ramp: Duration::ZERO,
            sources: 1,
            threads: 1,
            server: None,
        }
    }

    /// The part of thread `index`.
    fn share(&self, index: usize) -> Plan {
        let part = |total: usize| total / self.threads + usize::from(index < total % self.threads);
        let mut plan = self.clone();
        plan.connections = part(self.connections);
        plan.rate = self.rate.map(|rate| rate / self.threads as f64);
        if let Length::Requests(requests) = self.length {
            let threads = self.threads as u64;
            plan.length = Length::Requests(requests / threads + u64::from((index as u64) < requests % threads));
        }
        plan
    }

    fn sample(&self) -> Option<Sample> {
        self.server.as_ref().and_then(|server| server.sample().ok())
    }
}

/// Opens the connections, warms up, measures, and waits for what is still under way.
///
/// # Errors
///
/// When the plan cannot be carried out at all: no connection could be opened, or this system refuses. What the server
/// does wrong is in the report.
pub fn run(plan: &Plan) -> io::Result<Report> {
    if plan.threads == 0 || plan.connections < plan.threads || plan.in_flight == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "threads, connections per thread and in-flight must be at least 1",
        ));
    }
    let barrier = Barrier::new(plan.threads);
    // The server before any connection, before measuring, after measuring.
    let samples = Mutex::new([plan.sample(), None, None]);
    let sample = |index: usize| {
        if barrier.wait().is_leader() {
            samples.lock().unwrap_or_else(PoisonError::into_inner)[index] = plan.sample();
        }
        barrier.wait();
    };
    let work = |index: usize| -> io::Result<Tally> {
        let plan = plan.share(index);
        let generator = Generator::new(&plan, Script::new(&plan), index);
        // Every thread comes to each barrier, also one that failed.
        let (mut generator, mut outcome) = match generator {
            Ok(mut generator) => {
                let opened = generator.open(plan.connections);
                (Some(generator), opened)
            }
            Err(error) => (None, Err(error)),
        };
        let mut phase = |length: Length| {
            if let (Some(generator), Ok(())) = (&mut generator, &outcome) {
                outcome = generator.drive(length);
            }
        };
        barrier.wait();
        if plan.warm_up > Duration::ZERO {
            phase(Length::Time(plan.warm_up));
        }
        sample(1);
        phase(plan.length);
        sample(2);
        outcome?;
        generator.ok_or_else(|| io::Error::other("no generator"))?.finish()
    };
    let tallies: Vec<io::Result<Tally>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads)
            .map(|index| scope.spawn(move || work(index)))
            .collect();
        let lost = || Err(io::Error::other("a thread of the generator panicked"));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| lost()))
            .collect()
    });
    let samples = samples.into_inner().unwrap_or_else(PoisonError::into_inner);
    Report::new(plan, tallies, samples)
}

/// Opens the connections, has one exchange on each, and keeps them open for `hold`.
///
/// A hundred connections come first and are not counted, so that what the server allocates once does not count either.
///
/// # Errors
///
/// As [`run`].
pub fn idle(plan: &Plan, hold: Duration) -> io::Result<Idle> {
    const FIRST: usize = 100;
    // Some servers close soon on who says nothing.
    const BATCH: usize = 500;
    let mut generator = Generator::new(plan, Script::new(plan), 0)?;
    generator.open(FIRST)?;
    generator.exchange_once()?;
    let before = plan.sample();
    for begun in (0..plan.connections).step_by(BATCH) {
        generator.open((plan.connections - begun).min(BATCH))?;
        generator.exchange_once()?;
    }
    generator.hold(hold)?;
    let after = plan.sample();
    let alive = generator.alive();
    let tally = generator.finish()?;
    Ok(Idle {
        connections: plan.connections,
        lost: (plan.connections + FIRST).saturating_sub(alive),
        bytes_per_connection: before
            .zip(after)
            .map(|(before, after)| (after.rss as f64 - before.rss as f64) / plan.connections as f64),
        errors: tally.errors,
        first_error: tally.first_error,
    })
}

/// Lets connections come and go at random for as long as the plan says, each staying for `stay` on average, with as many
/// there as the plan says. Most of them ask something; how they end is drawn by lot: orderly, or by half-closes and resets
/// at any point.
///
/// # Errors
///
/// When the plan cannot be carried out at all. What the server does wrong is in the outcome.
pub fn churn(plan: &Plan, stay: Duration) -> io::Result<Churned> {
    churn::run(plan, stay)
}

/// Attacks the server for as long as the plan says, beside a few honest clients, and tells how it took that. An attacker
/// that is closed comes again.
///
/// # Errors
///
/// When no connection could be opened.
pub fn abuse(plan: &Plan, abuse: Abuse) -> io::Result<Outcome> {
    abuse::run(plan, abuse)
}
