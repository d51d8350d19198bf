//! A simulated Redis and network under real nodes and clients: thousands of schedules of faults, each of which follows from its
//! seed. `COMET_MODEL_SEED=42 cargo test -p comet model` repeats one, `COMET_MODEL_RUNS=5000` makes so many.
//!
//! The Redis here does what the scripts say, in Rust: it is the model that `ci/comet_faults.py` holds against a real one.
//! `ci/model_mutants.py` takes mends out of comet and looks whether the model finds the faults again.

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

/// Runs one schedule. Returns what was wrong with it, and a number that follows from all that happened.
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
    // What is dropped looks at the clock, too.
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

/// The seeds that are asked for, or so many.
fn seeds(few: u64, many: u64) -> std::ops::Range<u64> {
    let runs = number("COMET_MODEL_RUNS").unwrap_or(if cfg!(debug_assertions) { few } else { many });
    number("COMET_MODEL_SEED").map_or(1..1 + runs, |seed| seed..seed + 1)
}

/// Stops at the first fault; with `COMET_MODEL_ALL=1` it goes on, and says which schedules have one.
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
