//! Deadlines of connections, on a timing wheel with ticks of a millisecond.

use std::time::{Duration, Instant};

use timing_wheel::{Key, Ticks, Wheel};

const TICKS: Ticks = Ticks::MILLISECOND;

pub(crate) struct Timers {
    wheel: Wheel<u64>,
    start: Instant,
}

impl Timers {
    pub(crate) fn new(start: Instant) -> Self {
        Timers {
            wheel: Wheel::new(0),
            start,
        }
    }

    /// Sets `timer`, or a new one of `owner`.
    pub(crate) fn set(&mut self, timer: Option<Key>, deadline: Instant, owner: u64) -> Key {
        // Rounded up, so that no deadline fires early.
        let tick = TICKS.deadline(deadline.saturating_duration_since(self.start));
        match timer {
            Some(timer) if self.wheel.reset(timer, tick) => timer,
            _ => self.wheel.insert(tick, owner),
        }
    }

    pub(crate) fn cancel(&mut self, timer: Key) {
        self.wheel.cancel(timer);
    }

    /// The owners of at most `budget` deadlines that have passed at `now`.
    pub(crate) fn expire(&mut self, now: Instant, budget: usize) -> Vec<u64> {
        let tick = TICKS.elapsed(now.saturating_duration_since(self.start));
        self.wheel.poll(tick, budget).map(|(_, owner)| owner).collect()
    }

    /// The time until the next deadline; `None` if there is none.
    pub(crate) fn sleep(&self, now: Instant) -> Option<Duration> {
        let wake = TICKS.duration(self.wheel.next_wake()?);
        let at = self.start.checked_add(wake);
        Some(at.map_or(Duration::MAX, |at| at.saturating_duration_since(now)))
    }
}
