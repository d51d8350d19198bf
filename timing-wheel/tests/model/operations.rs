//! Operations on a wheel and a model, read from bytes. The fuzz target `wheel` includes this file.

use std::collections::{BTreeMap, BTreeSet};

use timing_wheel::{Key, Wheel};

/// Up to this many timers are all compared after each operation.
const FEW: usize = 12;

/// Runs the operations encoded in `bytes` on a wheel and a model, and compares both after each operation.
pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let now = bytes.ticks(0);
    let mut pair = Pair {
        wheel: Wheel::new(now),
        model: Model {
            now,
            ..Model::default()
        },
    };
    let mut operations = 0_u32;
    while let Some(operation) = bytes.next() {
        pair.apply(operation, &mut bytes);
        pair.compare();
        // Comparing timer by timer takes time in proportion to their number: with many, compare only now and then.
        operations += 1;
        if pair.model.timers.len() <= FEW || operations.is_multiple_of(16) {
            pair.compare_timers();
        }
    }
    pair.compare_timers();
    // At `u64::MAX` every timer is due.
    let left: BTreeSet<_> = pair.wheel.poll(u64::MAX, usize::MAX).collect();
    assert_eq!(
        left,
        pair.model.timers.iter().map(|(&key, timer)| (key, timer.id)).collect()
    );
    assert_eq!(pair.wheel.next_wake(), None);
}

struct Pair {
    wheel: Wheel<u32>,
    model: Model,
}

#[derive(Default)]
struct Model {
    now: u64,
    timers: BTreeMap<Key, Timer>,
    stale: Vec<Key>,
    inserted: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Timer {
    deadline: u64,
    id: u32,
}

impl Pair {
    fn apply(&mut self, operation: u8, bytes: &mut Bytes<'_>) {
        let Self { wheel, model } = self;
        match operation % 16 {
            0..=4 => {
                let deadline = bytes.ticks(model.now);
                let id = model.inserted;
                let key = if operation.is_multiple_of(2) {
                    wheel.insert(deadline, id)
                } else {
                    wheel.try_insert(deadline, id).expect("memory for a timer")
                };
                assert!(!model.stale.contains(&key), "a stale key became valid again");
                assert_eq!(
                    model.timers.insert(key, Timer { deadline, id }),
                    None,
                    "a valid key was returned again"
                );
                model.inserted += 1;
            }
            5..=7 => {
                if let Some(key) = model.choose(bytes) {
                    let deadline = bytes.ticks(model.now);
                    let known = model.timers.get_mut(&key).map(|timer| timer.deadline = deadline);
                    assert_eq!(wheel.reset(key, deadline), known.is_some());
                }
            }
            8..=9 => {
                if let Some(key) = model.choose(bytes) {
                    let timer = model.remove(key);
                    assert_eq!(wheel.cancel(key), timer.map(|timer| timer.id));
                }
            }
            10 => {
                let now = bytes.ticks(model.now);
                wheel.advance(now);
                model.now = model.now.max(now);
            }
            11 => {
                let due = model.due().count();
                let peeked = match operation / 16 % 2 {
                    0 => wheel.peek().map(|(key, deadline, &id)| (key, deadline, id)),
                    _ => None,
                };
                let popped = match operation / 32 % 2 {
                    0 => wheel.pop().map(|(key, id)| (key, model.deadline(key), id)),
                    _ => wheel.pop_with_deadline(),
                };
                assert!(peeked.is_none() || peeked == popped, "`peek` and `pop` disagree");
                match popped {
                    Some((key, deadline, id)) => {
                        assert_eq!(deadline, model.deadline(key));
                        model.fire(key, id);
                    }
                    None => assert_eq!(due, 0, "a due timer was not returned"),
                }
            }
            12..=13 => {
                let now = bytes.ticks(model.now);
                let budget = usize::from(bytes.next().unwrap_or(u8::MAX));
                model.now = model.now.max(now);
                let fired: Vec<_> = if operation.is_multiple_of(2) {
                    wheel.poll(now, budget).collect()
                } else {
                    let with_deadlines: Vec<_> = wheel.poll(now, budget).with_deadlines().collect();
                    for &(key, deadline, _) in &with_deadlines {
                        assert_eq!(deadline, model.deadline(key));
                    }
                    with_deadlines.into_iter().map(|(key, _, id)| (key, id)).collect()
                };
                assert!(fired.len() <= budget);
                for (key, id) in fired {
                    model.fire(key, id);
                }
                if wheel.next_wake() != Some(model.now) {
                    assert_eq!(model.due().count(), 0, "a due timer was not returned");
                }
            }
            14 => {
                if let Some(key) = model.choose(bytes) {
                    let timer = model.timers.get(&key).copied();
                    assert_eq!(wheel.contains(key), timer.is_some());
                    assert_eq!(wheel.get(key).copied(), timer.map(|timer| timer.id));
                    assert_eq!(wheel.get_mut(key).copied(), timer.map(|timer| timer.id));
                }
            }
            _ => match bytes.next().unwrap_or(0) % 8 {
                0 => {
                    wheel.clear();
                    model.stale.extend(std::mem::take(&mut model.timers).into_keys());
                }
                1..=3 => wheel.shrink_to_fit(),
                4 => {
                    let rest = u32::from(bytes.next().unwrap_or(2)) % 4;
                    let mut seen = 0;
                    wheel.retain(|key, deadline, id| {
                        seen += 1;
                        assert_eq!(model.timers.get(&key), Some(&Timer { deadline, id: *id }));
                        *id % 4 != rest
                    });
                    assert_eq!(seen, model.timers.len());
                    let gone = model.timers.iter().filter(|(_, timer)| timer.id % 4 == rest);
                    let gone: Vec<Key> = gone.map(|(&key, _)| key).collect();
                    for key in gone {
                        model.remove(key);
                    }
                }
                5 => {
                    let more = usize::from(bytes.next().unwrap_or(0));
                    wheel.reserve(more);
                    assert!(wheel.capacity() >= wheel.len() + more);
                }
                _ => *wheel = wheel.clone(),
            },
        }
    }

    fn compare(&self) {
        let Self { wheel, model } = self;
        assert_eq!(wheel.now(), model.now);
        assert_eq!(wheel.len(), model.timers.len());
        assert_eq!(wheel.is_empty(), model.timers.is_empty());
        assert!(wheel.capacity() >= wheel.len());
        for &key in model.stale.iter().rev().take(8) {
            assert_eq!(wheel.deadline(key), None);
        }

        let first = model.timers.values().map(|timer| timer.deadline).min();
        assert_eq!(wheel.next_deadline(), first);
        let wake = wheel.next_wake();
        assert_eq!(wake.is_some(), first.is_some());
        if let (Some(wake), Some(first)) = (wake, first) {
            assert!(wake >= model.now);
            assert!(
                wake <= first.max(model.now),
                "the next wake is {wake}, after the first deadline {first}"
            );
        }
    }

    fn compare_timers(&self) {
        let Self { wheel, model } = self;
        let timers: BTreeMap<_, _> = wheel
            .iter()
            .map(|(key, deadline, &id)| (key, Timer { deadline, id }))
            .collect();
        assert_eq!(timers, model.timers);
        for (&key, timer) in &model.timers {
            assert_eq!(wheel.deadline(key), Some(timer.deadline));
        }
    }
}

impl Model {
    /// Chooses a key returned earlier, valid or stale.
    fn choose(&self, bytes: &mut Bytes<'_>) -> Option<Key> {
        let chosen = usize::from(bytes.next()?) * 256 + usize::from(bytes.next()?);
        if chosen % 4 == 0 && !self.stale.is_empty() {
            return Some(self.stale[chosen / 4 % self.stale.len()]);
        }
        self.timers.keys().nth(chosen / 4 % self.timers.len().max(1)).copied()
    }

    fn remove(&mut self, key: Key) -> Option<Timer> {
        let timer = self.timers.remove(&key)?;
        self.stale.push(key);
        Some(timer)
    }

    fn deadline(&self, key: Key) -> u64 {
        self.timers.get(&key).expect("a timer fires once").deadline
    }

    fn fire(&mut self, key: Key, id: u32) {
        let timer = self
            .remove(key)
            .expect("a timer fires once, and never after it was cancelled");
        assert_eq!(timer.id, id);
        assert!(timer.deadline <= self.now, "a timer fired early");
    }

    fn due(&self) -> impl Iterator<Item = &Timer> {
        self.timers.values().filter(|timer| timer.deadline <= self.now)
    }
}

/// The operations' arguments.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A time around `now`: near or far, before or after, or at the ends of time.
    fn ticks(&mut self, now: u64) -> u64 {
        let kind = self.next().unwrap_or(0);
        let low = u64::from(self.next().unwrap_or(0));
        match kind {
            0..=99 => now.saturating_add(low),
            100..=129 => now.saturating_add(low * 64),
            130..=149 => now.saturating_add(low << 12 | low),
            150..=209 => now.saturating_add(1 << (low % 64)),
            210..=229 => now.saturating_sub(low),
            230..=239 => now.saturating_sub(1 << (low % 64)),
            240..=249 => (now | ((1 << (low % 64)) - 1)).wrapping_add(1).max(now),
            250..=252 => u64::MAX - low,
            253 => u64::MAX,
            _ => low,
        }
    }
}
