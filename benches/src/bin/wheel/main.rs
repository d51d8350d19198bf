//! The timing wheel beside other timer collections, on the same sequences of operations.
//!
//! `cargo run --release -p benches --features peers --bin wheel [--quick]` prints a table of medians per number of timers, and below them each
//! bar the wheel has to meet. All collections take turns within a round, so that what else the machine does hits them alike.

mod memory;
mod peers;
mod report;
mod scenarios;

use peers::{Contestant, contestants};
use report::Report;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn main() {
    let mut rounds = 5;
    let mut sizes = vec![10_000, 100_000, 1_000_000];
    let mut only = None;
    for argument in std::env::args().skip(1) {
        match argument.split_once('=').unwrap_or((&argument, "")) {
            ("--quick", "") => (rounds, sizes) = (2, vec![10_000, 100_000]),
            ("--only", name) => only = Some(name.to_owned()),
            ("--rounds", count) if count.parse().is_ok_and(|count: usize| count > 0) => {
                rounds = count.parse().unwrap_or(rounds)
            }
            _ => {
                eprintln!("usage: wheel [--quick] [--rounds=N] [--only=NAME]");
                std::process::exit(2);
            }
        }
    }
    let contestants: Vec<Contestant> = contestants()
        .into_iter()
        .filter(|contestant| only.as_deref().is_none_or(|only| contestant.name == only))
        .collect();

    let mut report = Report::default();
    for round in 0..rounds {
        for &size in &sizes {
            for contestant in &contestants {
                eprintln!("round {} of {rounds}: {size} timers, {}", round + 1, contestant.name);
                (contestant.run)(size, &mut |row, value| report.add(size, row, contestant.name, value));
            }
        }
    }
    report.print(
        &sizes,
        &contestants.iter().map(|contestant| contestant.name).collect::<Vec<_>>(),
    );
}
