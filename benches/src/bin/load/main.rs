//! Drives an HTTP or WebSocket server, checks every byte of its answers, and tells how it did.
//!
//! The exit status is 0 when all answers were right, 1 when one was not, 2 when nothing could be measured.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod cli;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    cli::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("load: needs Linux");
    ExitCode::from(2)
}
