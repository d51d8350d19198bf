#![doc = include_str!("../README.md")]

/// The front page of the project, whose program must compile.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../../README.md")]
struct FrontPage;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use drivers::{Driver, Running, Server};
use processes::Signals;
use protocol::{Peer, Protocol};

/// The flags of every example that serves.
#[derive(Debug, Parser)]
pub struct Options {
    /// Which driver: epoll or tokio.
    #[arg(long, default_value_t)]
    pub driver: Driver,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// How many threads serve.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
}

/// Serves the protocols that `factory` makes until SIGINT or SIGTERM.
///
/// # Errors
///
/// When the address cannot be bound or a thread fails.
pub fn serve<P, F>(factory: F) -> io::Result<()>
where
    P: Protocol + 'static,
    P::Message: Send + 'static,
    F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
{
    let options = Options::parse();
    // Before threads are started, and before whoever reads the address may send one.
    let signals = Signals::catch()?;
    let server = Server::on(options.driver)
        .threads(options.threads)
        .serve(options.listen, factory)?;
    if let Some(address) = server.local_addr() {
        println!("listening on {address}");
    }
    until(signals, server)
}

/// Waits for one of the caught signals, or for the end, and drains.
///
/// # Errors
///
/// When a thread fails.
pub fn until<P>(signals: Signals, running: Running<P>) -> io::Result<()>
where
    P: Protocol + 'static,
    P::Message: Send,
{
    signals.then_stop(running, Duration::from_secs(5)).map(drop)
}
