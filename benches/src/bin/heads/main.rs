//! proto-http's head parser beside httparse, on the same bytes in memory.
//!
//! `cargo run --release -p benches --features peers --bin heads [--rounds=N] [--only=TEXT] [--contestant=NAME]` prints nanoseconds per head
//! (medians), allocations per head, and the ratio of ours to httparse plus the checks that httparse leaves to its user and ours includes:
//! the framing of a head, and that it is unambiguous.

use std::process::ExitCode;

use benches::heads;
use benches::suite::{Options, Row, Suite};
use benches::turns::{Counting, Job};

mod ours;
mod peers;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The kind of a head.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Request,
    Response,
}

type Make = fn(Side, Vec<u8>) -> Job;

const MAKE: [Make; 4] = [ours::memcpy, ours::parse, peers::httparse, peers::httparse_checked];

fn main() -> ExitCode {
    let Some(options) = Options::from_arguments(std::env::args().skip(1)) else {
        eprintln!("usage: heads [--rounds=N] [--only=TEXT] [--contestant=NAME]");
        return ExitCode::from(2);
    };
    let requests = heads::requests().into_iter().map(|head| (Side::Request, head));
    let responses = heads::responses().into_iter().map(|head| (Side::Response, head));
    let suite = Suite {
        contestants: &["memcpy", "proto-http", "httparse", "httparse, checked"],
        ours: "proto-http",
        rivals: &["httparse, checked"],
        rows: requests
            .chain(responses)
            .map(|(side, (name, head))| row(side, name, head))
            .collect(),
    };
    suite.run(&options);
    ExitCode::SUCCESS
}

fn row(side: Side, name: &str, head: Vec<u8>) -> Row {
    let kind = if side == Side::Request { "request" } else { "response" };
    let copy = head.clone();
    Row {
        name: format!("{kind}: {name}, {} bytes", head.len()),
        bar: None,
        batch: 20_000,
        check: Box::new(move || {
            let lines = copy.split(|byte| *byte == b'\n').count();
            let fields = [ours::fields(side, &copy), peers::fields(side, &copy)];
            // Without the start line, the empty line, and the part after it.
            assert_eq!(fields, [lines - 3; 2]);
        }),
        job: Box::new(move |index| Some(MAKE[index](side, head.clone()))),
    }
}
