//! Loads an HTTP or WebSocket server, checks every byte of its answers, and reports the results.
//!
//! The exit status is 0 if all answers were correct, 1 if one was not, 2 if nothing could be measured.

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
