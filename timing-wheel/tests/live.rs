//! Ten seconds against the real clock.

#![expect(clippy::disallowed_methods, reason = "a test in real time")]

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use timing_wheel::{Key, Wheel};

/// Timers of random lengths are set, reset and cancelled at random while a loop sleeps until each next wake. Whatever the scheduler does to
/// the loop, a timer fires at the first poll at or after its deadline.
#[test]
fn ten_seconds_of_random_intervals() {
    let start = Instant::now();
    let tick = || start.elapsed().as_millis() as u64;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut wheel = Wheel::with_capacity(0, 1000);
    let mut timers: BTreeMap<Key, u64> = BTreeMap::new();
    let mut fired = 0_u32;
    let mut polled = 0;
    let mut now = 0;
    while now < 10_000 {
        for _ in 0..random.below(20) {
            let deadline = now + random.delay();
            timers.insert(wheel.insert(deadline, ()), deadline);
        }
        let chosen: Vec<Key> = timers.keys().take(10).copied().collect();
        for key in chosen {
            if random.below(3) == 0 {
                assert_eq!(wheel.cancel(key), timers.remove(&key).map(drop));
            } else {
                let deadline = now + random.delay();
                assert!(wheel.reset(key, deadline));
                timers.insert(key, deadline);
            }
        }

        // At times the loop oversleeps, as if something else had kept it busy.
        let until = if random.below(50) == 0 {
            now + 200
        } else {
            wheel.next_wake().unwrap_or(now + 10)
        };
        sleep(Duration::from_millis(until.saturating_sub(now)));

        now = tick();
        for (key, ()) in wheel.poll(now, usize::MAX) {
            let deadline = timers
                .remove(&key)
                .expect("a timer fires once, and never after it was cancelled");
            // A delay of zero is due at the tick that was polled last.
            assert!(
                (polled..=now).contains(&deadline),
                "{deadline} fired between {polled} and {now}"
            );
            fired += 1;
        }
        assert!(
            timers.values().all(|&deadline| deadline > now),
            "a due timer did not fire by {now}"
        );
        assert!(wheel.next_wake().is_none_or(|wake| wake > now));
        polled = now;
    }
    assert!(fired > 1000, "only {fired} timers fired in ten seconds");
    assert_eq!(wheel.len(), timers.len());
}

/// An xorshift generator with a fixed seed: each run uses the same intervals.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Mostly some milliseconds, at times a second or an hour.
    fn delay(&mut self) -> u64 {
        match self.below(20) {
            0 => self.below(3_600_000),
            1..=5 => self.below(2000),
            _ => self.below(100),
        }
    }
}
