//! proto-ws beside other WebSocket crates, on the same bytes from memory.
//!
//! `cargo run --release -p benches --features peers --bin ws [--rounds=N] [--only=TEXT]` prints nanoseconds per message
//! (medians), allocations per message, and the ratio to the best other crate. All contestants take turns within a
//! round, so that what else the machine does hits them alike.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

mod cases;
mod feed;
mod ours;
mod peers;

use cases::{Case, cases};

/// Handles at least so many messages and says how many.
type Job = Box<dyn FnMut(usize) -> usize>;

type Make = fn(&Case) -> Option<Job>;

const CONTESTANTS: [(&str, Make); 8] = [
    ("memcpy", ours::memcpy),
    ("Decoder", ours::decoder),
    ("Connection", ours::connection),
    ("sans-io", peers::websocket_sans_io),
    ("tungstenite", peers::tungstenite),
    ("fastws", peers::fastwebsockets),
    ("tokio-ws", peers::tokio_websockets),
    ("soketto", peers::soketto),
];

/// The first of [`CONTESTANTS`] that is another crate.
const PEERS: usize = 3;

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

/// Masking keys for the measurement, not for the network.
struct Xorshift(u32);

impl Default for Xorshift {
    fn default() -> Self {
        Xorshift(0x9e37_79b9)
    }
}

impl Xorshift {
    fn next(&mut self) -> [u8; 4] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.to_le_bytes()
    }
}

impl proto_ws::Entropy for Xorshift {
    fn fill(&mut self, bytes: &mut [u8]) {
        if let Some(key) = bytes.first_chunk_mut() {
            *key = self.next();
        }
    }
}

/// Nanoseconds and allocations per message: medians over the rounds.
type Figures = Option<(f64, f64)>;

fn measure(case: &Case, rounds: usize) -> Vec<Figures> {
    let mut jobs: Vec<Option<Job>> = CONTESTANTS.iter().map(|(_, make)| make(case)).collect();
    let batch = case.batch();
    for job in jobs.iter_mut().flatten() {
        job(batch / 4);
    }
    let mut figures = vec![(Vec::new(), Vec::new()); jobs.len()];
    for _ in 0..rounds {
        for (job, (times, allocations)) in jobs.iter_mut().zip(&mut figures) {
            let Some(job) = job else { continue };
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let start = Instant::now();
            let count = job(batch) as f64;
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
    let mut rounds = 15;
    let mut only = String::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--rounds", count)) => rounds = count.parse().expect("--rounds=N"),
            Some(("--only", text)) => only = text.to_owned(),
            _ => {
                eprintln!("usage: ws [--rounds=N] [--only=TEXT]");
                std::process::exit(2);
            }
        }
    }
    print!("{:<44}{:>9}", "ns per message (allocations)", "bar");
    for (name, _) in CONTESTANTS {
        print!("{name:>17}");
    }
    println!("{:>8}", "ratio");
    for case in cases().iter().filter(|case| case.name.contains(&only)) {
        ours::check(case);
        let figures = measure(case, rounds);
        print!("{:<44}{:>9}", case.name, case.bar);
        for figure in &figures {
            match figure {
                Some((time, allocations)) => print!("{time:>10.1} ({allocations:>4.2})"),
                None => print!("{:>17}", "-"),
            }
        }
        let time = |figure: &Figures| figure.map(|(time, _)| time);
        let best = figures[PEERS..].iter().filter_map(time).fold(f64::INFINITY, f64::min);
        println!("{:>8.2}", time(&figures[PEERS - 1]).unwrap_or(f64::NAN) / best);
    }
}
