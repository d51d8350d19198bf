//! The testbed on both drivers beside other servers: `cargo run --release -p benches --features peers --bin compare`.
//!
//! Builds the servers, starts each on one core and loads it from another, in interleaved rounds, so that other activity of the machine
//! affects all alike. The best turn counts, among those in which the server was busy. Prints Markdown, with the ratio to the floor (the
//! same driver's bare loop) and to the best peer, and the bar, beside each figure.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod chart;
#[cfg(target_os = "linux")]
mod contestants;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod table;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("compare: needs Linux");
    ExitCode::from(2)
}
