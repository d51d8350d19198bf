//! A simulated Redis and network for real nodes and clients: thousands of schedules of faults, each of which follows from its seed.
//! `COMET_MODEL_SEED=42 cargo test -p comet model` repeats one, `COMET_MODEL_RUNS=5000` sets the number of schedules.
//!
//! The simulated Redis implements the scripts in Rust. `ci/comet_faults.py` compares comet with a real Redis.
//! `ci/model_mutants.py` removes fixes from comet and checks that the model finds the faults again.

mod judge;
mod listener;
mod mixture;
mod play;
mod redis;
mod session;
mod shape;
mod themes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::play::Play;
use crate::clock::by_hand;

type Shared<T> = Arc<Mutex<T>>;

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one schedule. Returns the problems found, and a digest of all events.
fn schedule(seed: u64) -> (Vec<String>, u64) {
    let theme = themes::of(seed);
    let mut play = Play::new(seed, (theme.shape)());
    play.run(Duration::from_secs(2));
    (theme.play)(&mut play);
    let mut faults = play.end();
    if !faults.is_empty() {
        faults.insert(0, format!("theme: {}", theme.name));
        faults.append(&mut play.history);
    }
    let digest = play.digest();
    // Dropping the nodes reads the clock, too.
    drop(play);
    by_hand::set(None);
    (faults, digest)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_schedule_follows_from_its_seed() {
    for seed in [2, 5] {
        assert_eq!(schedule(seed).1, schedule(seed).1);
    }
}

/// Schedules that found a fault: a loss in a channel that nobody follows, a channel that begins anew, one that was lost in another
/// epoch, and clients that stay present.
const FOUND: [u64; 4] = [4, 91, 102, 134];

#[test]
fn schedules_that_found_a_fault_find_none() {
    for seed in FOUND {
        let (faults, _) = schedule(seed);
        assert!(faults.is_empty(), "COMET_MODEL_SEED={seed}\n{}", faults.join("\n"));
    }
}

/// The seeds to run: those of the environment, or `few` without optimization, or `many`.
fn seeds(few: u64, many: u64) -> std::ops::Range<u64> {
    let runs = number("COMET_MODEL_RUNS").unwrap_or(if cfg!(debug_assertions) { few } else { many });
    number("COMET_MODEL_SEED").map_or(1..1 + runs, |seed| seed..seed + 1)
}

/// Stops at the first fault. With `COMET_MODEL_ALL=1` it continues, and lists all schedules with faults.
#[test]
fn no_schedule_of_faults_loses_anything_in_silence() {
    let goes_on = number("COMET_MODEL_ALL").is_some();
    let mut faulty = Vec::new();
    for seed in seeds(60, 400) {
        let (faults, _) = schedule(seed);
        if !faults.is_empty() {
            faulty.push(format!("COMET_MODEL_SEED={seed}\n{}", faults.join("\n")));
        }
        if !goes_on && !faulty.is_empty() {
            break;
        }
    }
    assert!(faulty.is_empty(), "{}", faulty.join("\n\n"));
}
