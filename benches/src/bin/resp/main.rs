//! proto-resp beside other crates for RESP, on the same bytes from memory.
//!
//! `cargo run --release -p benches --features peers --bin resp [--rounds=N] [--only=TEXT] [--contestant=NAME]` prints nanoseconds per reply
//! or command (medians), allocations for each, and the ratios to the best other crates. All contestants take turns within a round, so that
//! other activity of the machine affects all alike. Under callgrind, select one contestant and subtract the instructions of two runs with
//! different numbers of rounds.

use benches::turns::{self, Counting, Figures, Job};

mod cases;
mod ours;
mod peers;

use cases::{Case, cases};

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

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn measure(case: &Case, rounds: usize, contestant: &str) -> Vec<Option<Figures>> {
    let chosen = |name: &str| contestant.is_empty() || name == contestant;
    let mut jobs: Vec<Option<Job>> = CONTESTANTS
        .iter()
        .map(|(name, make)| chosen(name).then(|| make(case)).flatten())
        .collect();
    turns::measure(&mut jobs, case.batch, rounds)
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
                Some(figure) => print!("{:>10.1} ({:>5.1})", figure.nanos, figure.allocations),
                None => print!("{:>18}", "-"),
            }
        }
        let best = |names: &[&str]| {
            let chosen = CONTESTANTS
                .iter()
                .zip(&figures)
                .filter(|((name, _), _)| names.contains(name));
            let times = chosen.filter_map(|(_, figure)| figure.map(|figure| figure.nanos));
            times.fold(f64::INFINITY, f64::min)
        };
        // Owned values are compared with owned values, borrowed with borrowed.
        let owning = best(&["Value", "Connection"]) / best(&["redis", "rp-bytes", "rp-owned"]);
        let borrowing = best(&["Decoder"]) / best(&["rp-range"]);
        println!("{owning:>8.2}{borrowing:>10.2}");
    }
}
