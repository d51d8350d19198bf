//! A load generator for HTTP/1.1 and WebSocket servers that checks every byte of every answer.
//!
//! Each thread drives many connections through epoll. The requests are made beforehand and repeated, and the answers
//! are compared with the expected bytes, so that checking costs little. A wrong byte, a missing or surplus answer and a
//! connection that ends are errors in the [`Report`].

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

/// The protocol to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// HTTP/1.1: `GET /`, or `POST /echo` when there is a payload.
    Http,
    /// WebSocket: binary messages to an echo at `/ws`.
    WebSocket,
}

/// When the measurement ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After this number of answers, counted exactly: no further request is sent.
    Requests(u64),
}

/// What to send to which server.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server's address.
    pub target: SocketAddr,
    /// The protocol it speaks.
    pub mode: Mode,
    /// Whether connections use TLS, and how. Attacks and churn do not use it.
    pub encryption: Option<Encryption>,
    /// The requested path; `None` is the default of the testbed's servers.
    pub path: Option<String>,
    /// Field lines added to each request, without their line ends.
    pub fields: Vec<String>,
    /// How many connections are open at once.
    pub connections: usize,
    /// How many requests or messages of one connection wait for their answers at once.
    pub in_flight: usize,
    /// Bytes of content of each request or message.
    pub payload: usize,
    /// The expected content of the answer to a `GET`.
    pub expect: Vec<u8>,
    /// How long to measure.
    pub length: Length,
    /// How long to send requests before the measurement begins.
    pub warm_up: Duration,
    /// Requests or messages per second over all connections. `None` sends the next request as soon as an answer comes.
    /// With a rate, latency counts from when a request was due, not from when it was sent.
    pub rate: Option<f64>,
    /// Whether never to sleep while measuring. Otherwise the server pays for waking the generator with each answer,
    /// which on virtual machines can cost more than the answer itself.
    pub spin: bool,
    /// The time over which opening the connections is spread.
    pub ramp: Duration,
    /// The number of source addresses, from 127.0.0.1 upwards, that take turns: one address has about 28,000 ports.
    pub sources: u32,
    /// The number of threads that share the connections.
    pub threads: usize,
    /// The server's process, whose processor time and memory are measured.
    pub server: Option<Process>,
}

impl Plan {
    /// A plan with one connection and one request at a time, for one second.
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

    /// The part of the plan for thread `index`.
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

/// Opens the connections, warms up, measures, and waits for the outstanding answers.
///
/// # Errors
///
/// The plan cannot be carried out: no connection could be opened, or a system call failed. Faults of the server are in
/// the report.
pub fn run(plan: &Plan) -> io::Result<Report> {
    if plan.threads == 0 || plan.connections < plan.threads || plan.in_flight == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "threads, connections per thread and in-flight must be at least 1",
        ));
    }
    let barrier = Barrier::new(plan.threads);
    // Samples of the server: before any connection, before measuring, and after it.
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
        // Every thread arrives at each barrier, even one that has failed.
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
    // Some servers soon close connections that send nothing.
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

/// Opens and ends connections at random for the plan's length. The plan's number is open at any time, and each stays
/// for `stay` on average. Most of them send requests. How each ends is random: in order, or by a half-close or reset at
/// any point.
///
/// # Errors
///
/// The plan cannot be carried out. Faults of the server are in the result.
pub fn churn(plan: &Plan, stay: Duration) -> io::Result<Churned> {
    churn::run(plan, stay)
}

/// Attacks the server for the plan's length, beside a few honest clients, and measures the effect. An attacker whose
/// connection is closed connects again.
///
/// # Errors
///
/// No connection could be opened.
pub fn abuse(plan: &Plan, abuse: Abuse) -> io::Result<Outcome> {
    abuse::run(plan, abuse)
}
