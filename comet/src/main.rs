#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod chat;
mod hub;
mod site;

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use drivers::{Driver, Server};
use listenfd::ListenFd;

use crate::hub::Hub;
use crate::site::Site;

/// A chat room over WebSocket, with its page.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Which driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// How many threads serve.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
}

/// How long connections have to end after a signal.
const DRAIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let text = error.to_string();
            eprintln!(
                "comet: {}",
                text.trim_start_matches("error: ").lines().next().unwrap_or_default()
            );
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("comet: cannot serve on {}: {}", options.listen, explain(&error));
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> std::io::Result<()> {
    let hub = Arc::new(Hub::default());
    let site = Arc::new(Site::new(Arc::clone(&hub))?);
    let serving = Arc::clone(&site);
    let factory = move |peer: &protocol::Peer<'_, chat::Post>| Some(serving.connection(peer.sender()));
    let server = Server::new(options.driver).threads(options.threads);
    // A service manager may have bound the socket already.
    let server = match ListenFd::from_env().take_tcp_listener(0)? {
        Some(listener) => server.serve_on(listener, factory)?,
        None => server.serve(options.listen.as_str(), factory)?,
    };
    site.started(server.handle());
    hub.announce_every(Duration::from_millis(250))?;
    if let Some(address) = server.local_addr() {
        println!("listening on http://{address}");
    }
    server.until_signal(DRAIN).map(drop)
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "another program listens there".into(),
        ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        ErrorKind::PermissionDenied => "not permitted".into(),
        ErrorKind::InvalidInput => "an address is HOST:PORT, such as 127.0.0.1:8080".into(),
        _ => error.to_string(),
    }
}
