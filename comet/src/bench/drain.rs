//! How a server that is stopped disconnects its subscribers.

use std::fmt;
use std::io;
use std::time::Instant;

use serde::Serialize;

use super::server::Server;
use super::{Line, Process};

/// The largest share of subscribers that an even server disconnects in a tenth of the time: twice the average.
const EVEN: f64 = 0.2;
/// If all subscribers are disconnected within this time, in seconds, evenness is not checked.
const MOMENT: f64 = 0.2;

/// The observations of a server that was stopped.
#[derive(Debug, Serialize)]
pub(super) struct Drain {
    /// Subscribers that were disconnected with a Close frame.
    closed: usize,
    /// Time from the first to the last of them.
    seconds: f64,
    /// How many were disconnected in each tenth of that time.
    tenths: [usize; 10],
    /// Time until the server had exited.
    exit_seconds: f64,
    exit_status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Drain {
    /// Stops the server, and collects from the parts of the run how their subscribers were disconnected.
    ///
    /// # Errors
    ///
    /// If a process of the run has ended.
    pub(super) fn run(parts: &mut [Process], server: &mut Server) -> io::Result<Self> {
        for part in &mut *parts {
            part.write(&Line::Leave)?;
            let Line::Leave = part.read()? else {
                return Err(io::Error::other("a process with subscribers is not ready"));
            };
        }
        let begun = Instant::now();
        let exit_status = server.stop()?;
        let exit_seconds = begun.elapsed().as_secs_f64();
        let (mut times, mut first_problem) = (Vec::new(), None);
        for part in parts {
            match part.read()? {
                Line::Left { times: some, problem } => {
                    times.extend(some);
                    first_problem = first_problem.or(problem);
                }
                line => return Err(io::Error::other(format!("unexpected: {line:?}"))),
            }
        }
        times.sort_unstable();
        let first = times.first().copied().unwrap_or(0);
        let span = times.last().map_or(0, |last| last - first);
        let mut tenths = [0; 10];
        for time in &times {
            // At most 10 * span / (span + 1), which is below ten.
            tenths[((time - first) * 10 / (span + 1)) as usize] += 1;
        }
        Ok(Drain {
            closed: times.len(),
            seconds: span as f64 / 1e6,
            tenths,
            exit_seconds,
            exit_status,
            problem: first_problem,
        })
    }

    fn busiest(&self) -> f64 {
        let most = self.tenths.iter().max().copied().unwrap_or(0);
        most as f64 / self.closed.max(1) as f64
    }

    /// Whether all `subscribers` were disconnected, evenly, and the server exited successfully.
    pub(super) fn is_good(&self, subscribers: usize) -> bool {
        let even = self.seconds < MOMENT || self.busiest() <= EVEN;
        self.closed == subscribers && self.problem.is_none() && self.exit_status == Some(0) && even
    }
}

impl fmt::Display for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server, stopped: {} subscribers were let go in {:.2} s, {:.0} % of them in the busiest tenth of it; ",
            self.closed,
            self.seconds,
            self.busiest() * 100.0,
        )?;
        match self.exit_status {
            Some(status) => write!(f, "it ended after {:.2} s with status {status}", self.exit_seconds)?,
            None => write!(f, "it was killed")?,
        }
        match &self.problem {
            Some(problem) => write!(f, "; {problem}"),
            None => Ok(()),
        }
    }
}
