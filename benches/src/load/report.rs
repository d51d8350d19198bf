//! The results of a run, as text and as JSON.

use std::fmt;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::generator::Tally;
use super::{Plan, Sample};

/// What [`run`](super::run) measured.
#[derive(Debug, Clone)]
pub struct Report {
    /// Right answers while measuring.
    pub answers: u64,
    /// How long the measurement took.
    pub elapsed: Duration,
    /// Latencies from request to answer, in nanoseconds.
    pub latencies: Histogram<u64>,
    /// Wrong and missing answers, and connections that failed.
    pub errors: u64,
    /// The first of these errors.
    pub first_error: Option<String>,
    /// The server's processor time per answer.
    pub cpu_per_answer: Option<Duration>,
    /// The same in nanoseconds, with fractions.
    pub cpu_nanos: Option<f64>,
    /// The growth of the server's memory per connection, in bytes.
    pub bytes_per_connection: Option<f64>,
}

impl Report {
    pub(super) fn new(plan: &Plan, tallies: Vec<io::Result<Tally>>, samples: [Option<Sample>; 3]) -> io::Result<Self> {
        let tallies = tallies.into_iter().collect::<io::Result<Vec<_>>>()?;
        let mut tallies = tallies.into_iter();
        let first = tallies.next().ok_or_else(|| io::Error::other("no threads"))?;
        let total = tallies.try_fold(first, |mut total, tally| {
            total.answers += tally.answers;
            total.elapsed = total.elapsed.max(tally.elapsed);
            total.latencies.add(&tally.latencies).map_err(io::Error::other)?;
            total.errors += tally.errors;
            total.first_error = total.first_error.or(tally.first_error);
            io::Result::Ok(total)
        })?;
        let [first, before, after] = samples;
        let nanos = before.zip(after).filter(|_| total.answers > 0).map(|(before, after)| {
            let spent = after.cpu.saturating_sub(before.cpu);
            spent.as_nanos() as f64 / total.answers as f64
        });
        Ok(Report {
            answers: total.answers,
            elapsed: total.elapsed,
            latencies: total.latencies,
            errors: total.errors,
            first_error: total.first_error,
            cpu_per_answer: nanos.map(|nanos| Duration::from_nanos(nanos as u64)),
            cpu_nanos: nanos,
            bytes_per_connection: first
                .zip(after)
                .map(|(first, after)| (after.rss as f64 - first.rss as f64) / plan.connections as f64),
        })
    }

    /// Right answers per second.
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that the fraction `q` (0 to 1) of the answers did not exceed.
    pub fn quantile(&self, q: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(q))
    }

    /// The report as one JSON object; times are in microseconds.
    pub fn to_json(&self) -> String {
        let micros = |time: Duration| format!("{:.1}", time.as_nanos() as f64 / 1000.0);
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|q| micros(self.quantile(q)));
        let number = |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value:.3}"));
        format!(
            "{{\"answers\":{},\"seconds\":{:.3},\"per_second\":{:.0},\"p50\":{p50},\"p99\":{p99},\"p99.9\":{p999},\
             \"max\":{max},\"errors\":{},\"first_error\":{},\"server_cpu\":{},\"server_bytes_per_connection\":{}}}",
            self.answers,
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.errors,
            quoted(self.first_error.as_deref()),
            number(self.cpu_nanos.map(|nanos| nanos / 1000.0)),
            number(self.bytes_per_connection),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            f,
            "{} answers in {seconds:.2} s: {:.0} a second",
            self.answers,
            self.rate()
        )?;
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|q| self.quantile(q));
        writeln!(
            f,
            "latency: p50 {p50:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?}, max {max:.1?}"
        )?;
        if let Some(nanos) = self.cpu_nanos {
            writeln!(f, "server: {:.3} us of processor time per answer", nanos / 1000.0)?;
        }
        if let Some(bytes) = self.bytes_per_connection {
            writeln!(f, "server: {bytes:.0} bytes of memory per connection, under load")?;
        }
        failures(f, self.errors, self.first_error.as_deref())
    }
}

/// What [`idle`](super::idle) measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Idle {
    /// Connections opened.
    pub connections: usize,
    /// The number of these that ended during the run.
    pub lost: usize,
    /// The growth of the server's memory per connection after one exchange, in bytes.
    pub bytes_per_connection: Option<f64>,
    /// Wrong answers and connections that failed.
    pub errors: u64,
    /// The first of these errors.
    pub first_error: Option<String>,
}

impl Idle {
    /// The result as one JSON object.
    pub fn to_json(&self) -> String {
        let bytes = self
            .bytes_per_connection
            .map_or("null".to_owned(), |bytes| format!("{bytes:.1}"));
        format!(
            "{{\"connections\":{},\"lost\":{},\"server_bytes_per_connection\":{bytes},\"errors\":{},\"first_error\":{}}}",
            self.connections,
            self.lost,
            self.errors,
            quoted(self.first_error.as_deref()),
        )
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} connections held, {} lost", self.connections, self.lost)?;
        if let Some(bytes) = self.bytes_per_connection {
            writeln!(f, "server: {bytes:.0} bytes of memory per idle connection")?;
        }
        failures(f, self.errors, self.first_error.as_deref())
    }
}

pub(super) fn failures(f: &mut fmt::Formatter<'_>, errors: u64, first: Option<&str>) -> fmt::Result {
    match first {
        None => write!(f, "no errors"),
        Some(first) => write!(f, "{errors} ERRORS; the first: {first}"),
    }
}

/// Quotes `text` for JSON. Error texts are plain words; only quotes and backslashes need to be escaped.
pub(super) fn quoted(text: Option<&str>) -> String {
    text.map_or("null".to_owned(), |text| {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    })
}
