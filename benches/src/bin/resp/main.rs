//! proto-resp beside other crates for RESP, on the same bytes from memory.
//!
//! `cargo run --release -p benches --features peers --bin resp [--rounds=N] [--only=TEXT] [--contestant=NAME]` prints
//! nanoseconds per reply or command (medians), allocations for each, and the ratios to the best other crates. All contestants
//! take turns within a round, so that what else the machine does hits them alike; under callgrind, one is chosen, and two
//! numbers of rounds give the instructions of the difference.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

mod cases;
mod ours;
mod peers;

use cases::{Case, cases};

/// Handles at least so many replies or commands and says how many.
type Job = Box<dyn FnMut(usize) -> usize>;

type Make = fn(&Case) -> Option<Job>;

const CONTESTANTS: [(&str, Make); 8] = [
    ("memcpy", ours::memcpy),
    ("Decoder", ours::decoder),
    ("Value", ours::value),
    ("Connection", ours::connection),
    ("redis", peers::redis),
    ("rp-range", peers::range),
    ("rp-bytes", peers::bytes),
    ("rp-owned", peers::owned),
];

/// Counts allocations.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: all calls go to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Nanoseconds and allocations for each: medians over the rounds.
type Figures = Option<(f64, f64)>;

fn measure(case: &Case, rounds: usize, contestant: &str) -> Vec<Figures> {
    let chosen = |name: &str| contestant.is_empty() || name == contestant;
    let mut jobs: Vec<Option<Job>> = CONTESTANTS
        .iter()
        .map(|(name, make)| chosen(name).then(|| make(case)).flatten())
        .collect();
    for job in jobs.iter_mut().flatten() {
        job(case.batch / 4);
    }
    let mut figures = vec![(Vec::new(), Vec::new()); jobs.len()];
    for _ in 0..rounds {
        for (job, (times, allocations)) in jobs.iter_mut().zip(&mut figures) {
            let Some(job) = job else { continue };
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let start = Instant::now();
            let count = job(case.batch) as f64;
            times.push(start.elapsed().as_nanos() as f64 / count);
            allocations.push((ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / count);
        }
    }
    figures
        .into_iter()
        .map(|(times, allocations)| Some((median(times)?, median(allocations)?)))
        .collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn main() {
    let (mut rounds, mut only, mut contestant) = (15, String::new(), String::new());
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--rounds", count)) => rounds = count.parse().expect("--rounds=N"),
            Some(("--only", text)) => only = text.to_owned(),
            Some(("--contestant", name)) => contestant = name.to_owned(),
            _ => {
                eprintln!("usage: resp [--rounds=N] [--only=TEXT] [--contestant=NAME]");
                std::process::exit(2);
            }
        }
    }
    print!("{:<40}", "ns each (allocations)");
    for (name, _) in CONTESTANTS {
        print!("{name:>18}");
    }
    println!("{:>8}{:>10}", "owning", "borrowing");
    for case in cases().iter().filter(|case| case.name.contains(&only)) {
        ours::check(case);
        let figures = measure(case, rounds, &contestant);
        print!("{:<40}", case.name);
        for figure in &figures {
            match figure {
                Some((time, allocations)) => print!("{time:>10.1} ({allocations:>5.1})"),
                None => print!("{:>18}", "-"),
            }
        }
        let best = |names: &[&str]| {
            let chosen = CONTESTANTS
                .iter()
                .zip(&figures)
                .filter(|((name, _), _)| names.contains(name));
            let times = chosen.filter_map(|(_, figure)| figure.map(|(time, _)| time));
            times.fold(f64::INFINITY, f64::min)
        };
        // What owns its values beside what does, and what borrows them beside what does.
        let owning = best(&["Value", "Connection"]) / best(&["redis", "rp-bytes", "rp-owned"]);
        let borrowing = best(&["Decoder"]) / best(&["rp-range"]);
        println!("{owning:>8.2}{borrowing:>10.2}");
    }
}
