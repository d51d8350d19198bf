//! Instants on a timing wheel of millisecond ticks.

use std::time::{Duration, Instant};

use timing_wheel::{Key, Wheel};

/// Deadlines rounded up to the next millisecond, so that none fires early.
#[derive(Debug)]
pub(crate) struct Timers {
    wheel: Wheel<u64>,
    start: Instant,
}

impl Timers {
    pub(crate) fn new(now: Instant) -> Self {
        Timers {
            wheel: Wheel::new(0),
            start: now,
        }
    }

    pub(crate) fn insert(&mut self, deadline: Instant, owner: u64) -> Key {
        self.wheel.insert(self.tick(deadline), owner)
    }

    pub(crate) fn reset(&mut self, key: Key, deadline: Instant) -> bool {
        self.wheel.reset(key, self.tick(deadline))
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.wheel.cancel(key);
    }

    /// Moves the wheel to `now`; then [`pop`](Timers::pop) gives what is due.
    pub(crate) fn advance(&mut self, now: Instant) {
        let ticks = now.saturating_duration_since(self.start).as_millis();
        self.wheel.advance(u64::try_from(ticks).unwrap_or(u64::MAX));
    }

    /// The owner of the next timer that is due.
    pub(crate) fn pop(&mut self) -> Option<u64> {
        self.wheel.pop().map(|(_, owner)| owner)
    }

    /// How long from `now` until [`advance`](Timers::advance) may find something; `None` when nothing is armed.
    pub(crate) fn sleep(&self, now: Instant) -> Option<Duration> {
        let wake = self.wheel.next_wake()?;
        Some(match self.start.checked_add(Duration::from_millis(wake)) {
            Some(wake) => wake.saturating_duration_since(now),
            None => Duration::MAX,
        })
    }

    fn tick(&self, deadline: Instant) -> u64 {
        let after = deadline.saturating_duration_since(self.start);
        // The tick at or after the deadline.
        let ticks = after.as_secs().saturating_mul(1000);
        ticks.saturating_add(u64::from(after.subsec_nanos().div_ceil(1_000_000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_early_and_at_most_a_tick_late() {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        let deadline = start + Duration::from_micros(2500);
        timers.insert(deadline, 7);
        timers.advance(start + Duration::from_micros(2999));
        assert_eq!(timers.pop(), None);
        let sleep = timers.sleep(start + Duration::from_micros(2999)).unwrap();
        assert_eq!(sleep, Duration::from_micros(1));
        timers.advance(start + Duration::from_millis(3));
        assert_eq!(timers.pop(), Some(7));
        assert_eq!(timers.sleep(start), None);
    }
}
