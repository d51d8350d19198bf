//! Publishes at a given rate.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::part::{Stamped, now};
use super::server::Server;

/// The number of publishing connections; each waits for an answer before its next publication.
const PUBLISHERS: u32 = 16;
const PUBLISH: &str = "/api/publish";
/// Bytes of a publication's data other than padding.
const STAMP: usize = 40;

/// What to publish, and where.
pub(super) struct Publishing<'a> {
    pub(super) server: &'a Server,
    pub(super) channel: &'a str,
    /// Publications per second.
    pub(super) rate: f64,
    pub(super) time: Duration,
    pub(super) payload: usize,
    /// One connection publishes, and does not wait for answers.
    pub(super) pipelined: bool,
}

/// The result of publishing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Published {
    pub(super) count: u64,
    pub(super) time: Duration,
}

impl Publishing<'_> {
    /// Publishes, and reports progress now and then.
    pub(super) fn run(&self, tell: impl Fn(u64) + Sync) -> io::Result<Published> {
        // At least one is published, however low the rate.
        let count = ((self.rate * self.time.as_secs_f64()).round() as u64).max(1);
        let (next, begun) = (AtomicU64::new(0), Instant::now());
        let turn = || {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let due = begun + Duration::from_secs_f64(number as f64 / self.rate);
            (number < count).then(|| {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if number.is_multiple_of(100) {
                    tell(number);
                }
                self.publication()
            })
        };
        if self.pipelined {
            self.server.client()?.pipeline("POST", PUBLISH, turn, check)?;
            return Ok(Published {
                count,
                time: begun.elapsed(),
            });
        }
        let publishers = u64::from(PUBLISHERS).min(count);
        thread::scope(|scope| {
            let publish = || -> io::Result<()> {
                let mut client = self.server.client()?;
                while let Some(publication) = turn() {
                    let (status, content) = client.ask("POST", PUBLISH, &publication)?;
                    check(status, content)?;
                }
                Ok(())
            };
            let threads: Vec<_> = (0..publishers).map(|_| scope.spawn(publish)).collect();
            threads.into_iter().try_for_each(|thread| {
                let ended = thread.join();
                ended.unwrap_or_else(|_| Err(io::Error::other("a publisher panicked")))
            })
        })?;
        Ok(Published {
            count,
            time: begun.elapsed(),
        })
    }

    fn publication(&self) -> Vec<u8> {
        let stamped = Stamped {
            t: now(),
            pad: "x".repeat(self.payload.saturating_sub(STAMP)),
        };
        let body = serde_json::json!({ "channel": self.channel, "data": stamped });
        body.to_string().into_bytes()
    }
}

fn check(status: u16, content: Vec<u8>) -> io::Result<()> {
    match status {
        200 => Ok(()),
        _ => Err(io::Error::other(format!(
            "publishing was answered with {status}: {}",
            String::from_utf8_lossy(&content)
        ))),
    }
}
