//! proto-ws beside other WebSocket crates, on the same bytes from memory.
//!
//! `cargo run --release -p benches --features peers --bin ws [--rounds=N] [--only=TEXT] [--contestant=NAME]` prints
//! nanoseconds per message (medians), allocations per message, and the ratio of ours to the best rival: frames and whole
//! messages, permessage-deflate beside its engine alone, masking and UTF-8 by themselves. All contestants take turns
//! within a round, so that other activity of the machine affects all alike. Under callgrind, choose one contestant, and
//! run it with two numbers of rounds: the difference gives the instructions per round.

use std::process::ExitCode;

use benches::suite::Options;
use benches::turns::Counting;

mod deflate;
mod feed;
mod frames;
mod mask;
mod utf8;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let Some(options) = Options::from_arguments(std::env::args().skip(1)) else {
        eprintln!("usage: ws [--rounds=N] [--only=TEXT] [--contestant=NAME]");
        return ExitCode::from(2);
    };
    for suite in [frames::suite(), deflate::suite(), mask::suite(), utf8::suite()] {
        suite.run(&options);
    }
    ExitCode::SUCCESS
}
