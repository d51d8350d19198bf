#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod admin;
mod app;
mod backend;
mod bench;
mod broker;
mod bucket;
mod channel;
mod cli;
mod client;
mod clock;
mod delta;
mod doctor;
mod edge;
mod handover;
mod health;
mod inspect;
mod log;
mod logging;
mod machine;
mod messages;
mod node;
mod place;
mod publication;
mod reload;
mod rule;
mod serve;
mod session;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod watch;
mod web;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Cli::read().run()
}
