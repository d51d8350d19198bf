//! The result of a run.

use std::fmt;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::drain::Drain;
use super::part::{LONGEST, Outcome};
use super::publisher::Published;
use super::server::Usage;

/// The result of a run. Times are in milliseconds, unless noted otherwise.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subscribers: usize,
    connect_seconds: f64,
    published: u64,
    publish_seconds: f64,
    received: u64,
    lost: u64,
    problems: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_problem: Option<String>,
    /// Time from publishing to receiving, over all subscribers and publications.
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
    /// Time from publishing until the last subscriber received the publication.
    last_p50: f64,
    last_p99: f64,
    processes: usize,
    /// Growth of the server's memory since it was idle, in bytes per connection.
    bytes_per_connection: f64,
    /// Memory of the subscribers' processes, in bytes per subscriber.
    bytes_per_subscriber: f64,
    /// The server's processor time, in microseconds per delivered message.
    cpu_per_message: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<Drain>,
}

impl Report {
    pub(super) fn new(
        wanted: usize,
        connecting: Duration,
        published: &Published,
        outcomes: Vec<Outcome>,
        [idle, before, after]: [Usage; 3],
        drain: Option<Drain>,
    ) -> io::Result<Self> {
        let mut latencies = histogram()?;
        let mut last = vec![0; usize::try_from(published.count).unwrap_or(0)];
        let mut sum = Outcome::default();
        for outcome in outcomes {
            sum.subscribers += outcome.subscribers;
            sum.received += outcome.received;
            sum.lost += outcome.lost;
            sum.problems += outcome.problems;
            sum.memory += outcome.memory;
            sum.first_problem = sum.first_problem.or(outcome.first_problem);
            for (value, count) in outcome.latencies {
                latencies.saturating_record_n(value, count);
            }
            for (all, part) in last.iter_mut().zip(outcome.slowest) {
                *all = part.max(*all);
            }
        }
        let mut slowest = histogram()?;
        for value in last {
            slowest.saturating_record(value);
        }
        let at = |histogram: &Histogram<u64>, part| histogram.value_at_quantile(part) as f64 / 1000.0;
        let per = |number: u64, of: u64| number as f64 / of.max(1) as f64;
        Ok(Report {
            subscribers: sum.subscribers,
            connect_seconds: connecting.as_secs_f64(),
            published: published.count,
            publish_seconds: published.time.as_secs_f64(),
            received: sum.received,
            lost: sum.lost + (wanted - sum.subscribers.min(wanted)) as u64 * published.count,
            problems: sum.problems,
            first_problem: sum.first_problem,
            p50: at(&latencies, 0.5),
            p99: at(&latencies, 0.99),
            p999: at(&latencies, 0.999),
            max: latencies.max() as f64 / 1000.0,
            last_p50: at(&slowest, 0.5),
            last_p99: at(&slowest, 0.99),
            processes: after.processes,
            bytes_per_connection: per(
                before.memory.saturating_sub(idle.memory),
                before.connections.saturating_sub(idle.connections),
            ),
            bytes_per_subscriber: per(sum.memory, sum.subscribers as u64),
            cpu_per_message: per(after.cpu.saturating_sub(before.cpu) * 1000, sum.received),
            drain,
        })
    }

    /// Whether every message reached every subscriber, without other problems, and the server stopped properly.
    pub(super) fn is_good(&self) -> bool {
        let drained = self.drain.as_ref().is_none_or(|drain| drain.is_good(self.subscribers));
        self.is_complete() && drained
    }

    fn is_complete(&self) -> bool {
        self.lost == 0 && self.problems == 0
    }
}

fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST, 3).map_err(io::Error::other)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            subscribers,
            published,
            received,
            ..
        } = self;
        writeln!(
            f,
            "{subscribers} subscribers after {:.1} s, on {} process{} of the server",
            self.connect_seconds,
            self.processes,
            if self.processes == 1 { "" } else { "es" }
        )?;
        writeln!(
            f,
            "{published} publications in {:.1} s: {received} messages came, {:.0} a second",
            self.publish_seconds,
            *received as f64 / self.publish_seconds
        )?;
        writeln!(
            f,
            "latency: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms",
            self.p50, self.p99, self.p999, self.max
        )?;
        writeln!(
            f,
            "until the last subscriber had it: p50 {:.2} ms, p99 {:.2} ms",
            self.last_p50, self.last_p99
        )?;
        writeln!(
            f,
            "the server: {:.0} bytes of memory for each connection, {:.2} us of processor time for each message",
            self.bytes_per_connection, self.cpu_per_message
        )?;
        if let Some(drain) = &self.drain {
            writeln!(f, "{drain}")?;
        }
        if self.is_complete() {
            return writeln!(f, "every message came to every subscriber");
        }
        let problem = self.first_problem.as_deref().unwrap_or("nothing else is known");
        writeln!(f, "LOST: {} messages; {} problems: {problem}", self.lost, self.problems)
    }
}
