//! Instants on a timing wheel with ticks of a millisecond.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use timing_wheel::{Key, Ticks, Wheel};

/// The resolution of `epoll_wait`.
const TICKS: Ticks = Ticks::MILLISECOND;

/// Deadlines rounded up to the next millisecond, so that none fires early.
#[derive(Debug)]
pub(crate) struct Timers {
    wheel: Wheel<Owner>,
    start: Instant,
}

/// An owner plus one, so that the wheel's `Option` of it takes 8 bytes instead of 16. No owner is `u64::MAX`.
type Owner = NonZeroU64;

impl Timers {
    pub(crate) fn new(now: Instant) -> Self {
        Timers {
            wheel: Wheel::new(0),
            start: now,
        }
    }

    pub(crate) fn insert(&mut self, deadline: Instant, owner: u64) -> Key {
        let owner = Owner::MIN.saturating_add(owner);
        self.wheel.insert(self.tick(deadline), owner)
    }

    pub(crate) fn reset(&mut self, key: Key, deadline: Instant) -> bool {
        self.wheel.reset(key, self.tick(deadline))
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.wheel.cancel(key);
    }

    /// Advances to `now` and appends the owners of due timers to `due`. Does at most `budget` steps of work.
    pub(crate) fn expire(&mut self, now: Instant, budget: usize, due: &mut Vec<u64>) {
        let now = TICKS.elapsed(now.saturating_duration_since(self.start));
        due.extend(self.wheel.poll(now, budget).map(|(_, owner)| owner.get() - 1));
    }

    /// Time from `now` until the next call of [`expire`](Timers::expire) is useful; `None` if no timer is set.
    pub(crate) fn sleep(&self, now: Instant) -> Option<Duration> {
        let wake = self.wheel.next_wake()?;
        Some(match self.start.checked_add(TICKS.duration(wake)) {
            Some(wake) => wake.saturating_duration_since(now),
            None => Duration::MAX,
        })
    }

    fn tick(&self, deadline: Instant) -> u64 {
        TICKS.deadline(deadline.saturating_duration_since(self.start))
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
        let mut due = Vec::new();
        timers.expire(start + Duration::from_micros(2999), 10, &mut due);
        assert_eq!(due, []);
        let sleep = timers.sleep(start + Duration::from_micros(2999)).unwrap();
        assert_eq!(sleep, Duration::from_micros(1));
        timers.expire(start + Duration::from_millis(3), 10, &mut due);
        assert_eq!(due, [7]);
        assert_eq!(timers.sleep(start), None);
    }
}
