#![doc = include_str!("../README.md")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use drivers::{Driver, Running, Server};
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
    let server = Server::new(options.driver)
        .threads(options.threads)
        .serve(options.listen, factory)?;
    if let Some(address) = server.local_addr() {
        println!("listening on {address}");
    }
    until_signal(server)
}

/// Waits for SIGINT or SIGTERM, or for the end, and drains.
///
/// # Errors
///
/// When a thread fails.
pub fn until_signal<P>(running: Running<P>) -> io::Result<()>
where
    P: Protocol + 'static,
    P::Message: Send,
{
    running.until_signal(Duration::from_secs(5)).map(drop)
}
