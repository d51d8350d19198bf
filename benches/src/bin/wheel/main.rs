//! The timing wheel beside other timer collections, on the same sequences of operations.
//!
//! `cargo run --release -p benches --features peers --bin wheel [--quick]` prints a table of medians per number of timers, followed by the
//! bars that the wheel must meet. All collections take turns within a round, so that other activity of the machine affects all alike, and
//! every turn is a separate process, so that none inherits another's heap.

mod memory;
mod peers;
mod report;
mod scenarios;

use std::process::{Command, ExitCode};
use std::{env, io};

use peers::{Contestant, contestants};
use report::Report;
use scenarios::Row;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn main() -> ExitCode {
    let mut rounds = 5;
    let mut sizes = vec![10_000, 100_000, 1_000_000];
    let mut contestants = contestants();
    for argument in env::args().skip(1) {
        match argument.split_once('=').unwrap_or((&argument, "")) {
            ("--quick", "") => (rounds, sizes) = (2, vec![10_000, 100_000]),
            ("--rounds", count) if count.parse().is_ok_and(|count: usize| count > 0) => {
                rounds = count.parse().unwrap_or(rounds)
            }
            ("--only", name) => contestants.retain(|contestant| contestant.name == name),
            ("--turn", size) => return turn(&contestants, size),
            _ => {
                eprintln!("usage: wheel [--quick] [--rounds=N] [--only=NAME]");
                return ExitCode::from(2);
            }
        }
    }

    let mut report = Report::default();
    for round in 1..=rounds {
        for &size in &sizes {
            for contestant in &contestants {
                eprintln!("round {round} of {rounds}: {size} timers, {}", contestant.name);
                if let Err(error) = measure(contestant, size, &mut report) {
                    eprintln!("{}: {error}", contestant.name);
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    report.print(
        &sizes,
        &contestants.iter().map(|contestant| contestant.name).collect::<Vec<_>>(),
    );
    ExitCode::SUCCESS
}

/// Runs a contestant's turn in a separate process.
fn measure(contestant: &Contestant, size: u32, report: &mut Report) -> io::Result<()> {
    let output = Command::new(env::current_exe()?)
        .args([format!("--only={}", contestant.name), format!("--turn={size}")])
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let measured = line
            .split_once(": ")
            .and_then(|(row, value)| Some((Row::of(row)?, value.parse().ok()?)));
        let (row, value) = measured.ok_or_else(|| io::Error::other(format!("no measurement: {line}")))?;
        report.add(size, row, contestant.name, value);
    }
    Ok(())
}

/// Runs the selected contestant and prints the measurements.
fn turn(contestants: &[Contestant], size: &str) -> ExitCode {
    let (Ok(size), [contestant]) = (size.parse(), contestants) else {
        return ExitCode::from(2);
    };
    (contestant.run)(size, &mut |row, value| println!("{row}: {value}"));
    ExitCode::SUCCESS
}
