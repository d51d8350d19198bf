//! Stopping the connections of a thread without a burst.

use std::time::{Duration, Instant};

/// The most protocols asked to stop per second, unless asking all of them would take more than half of the drain time.
const RATE: u32 = 20_000;

/// Shutdown state of a thread: the connections not yet asked to stop, named by any value `T`, and the drain deadline. At
/// most 20,000 are asked per second, unless that would take more than half of the drain time.
#[derive(Debug)]
pub struct Stopping<T> {
    /// `None` if there is no deadline.
    deadline: Option<Instant>,
    begun: Instant,
    /// The time over which the requests to stop are spread.
    spread: Duration,
    total: usize,
    /// Connections to ask; the last one is asked first.
    waiting: Vec<T>,
}

impl<T> Stopping<T> {
    /// Starts the shutdown: `connections` are asked one after the other, from the last to the first, and have `drain` to
    /// end.
    pub fn new(now: Instant, drain: Duration, connections: Vec<T>) -> Self {
        let total = connections.len();
        let spread = Duration::from_secs(total as u64) / RATE;
        Stopping {
            deadline: now.checked_add(drain),
            begun: now,
            spread: spread.min(drain / 2),
            total,
            waiting: connections,
        }
    }

    /// Moves the deadline to `drain` from `now`, if that is sooner.
    pub fn hasten(&mut self, now: Instant, drain: Duration) {
        let Some(deadline) = now.checked_add(drain) else { return };
        let deadline = self.deadline.map_or(deadline, |before| before.min(deadline));
        self.deadline = Some(deadline);
        self.spread = self.spread.min(deadline.saturating_duration_since(self.begun) / 2);
    }

    /// Whether the connections that are left must be reset.
    pub fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The connections to ask now.
    pub fn next(&mut self, now: Instant) -> Vec<T> {
        let left = self.spread.saturating_sub(now.saturating_duration_since(self.begun));
        let keep = if left.is_zero() {
            0.0
        } else {
            left.as_secs_f64() / self.spread.as_secs_f64()
        };
        // Between 0 and the number of connections.
        let keep = (keep * self.total as f64) as usize;
        self.waiting.split_off(keep.min(self.waiting.len()))
    }

    /// Time from `now` until the next action; `None` if there is none.
    pub fn sleep(&self, now: Instant) -> Option<Duration> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(now));
        if self.waiting.is_empty() {
            return left;
        }
        let soon = Duration::from_millis(1);
        Some(left.map_or(soon, |left| left.min(soon)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_asked_evenly_and_the_last_in_time() {
        let now = Instant::now();
        let mut stopping = Stopping::new(now, Duration::from_secs(1), (0..100_000).collect());
        let mut asked = 0;
        for ms in 1..=500 {
            let batch = stopping.next(now + Duration::from_millis(ms)).len();
            assert!((199..=201).contains(&batch), "{batch}");
            asked += batch;
        }
        assert_eq!(asked, 100_000);
        assert!(!stopping.is_over(now + Duration::from_millis(999)));
        assert!(stopping.is_over(now + Duration::from_secs(1)));
    }

    #[test]
    fn few_are_asked_at_once() {
        let now = Instant::now();
        let mut stopping = Stopping::new(now, Duration::from_secs(10), vec![1, 2, 3]);
        assert_eq!(stopping.next(now + Duration::from_millis(1)), [1, 2, 3]);
        assert_eq!(stopping.sleep(now), Some(Duration::from_secs(10)));
        stopping.hasten(now, Duration::MAX);
        stopping.hasten(now, Duration::ZERO);
        assert!(stopping.is_over(now));
        let mut none = Stopping::new(now, Duration::ZERO, vec![1]);
        assert_eq!(none.next(now), [1]);
    }
}
