//! Serves from several processes; greets each connection with the id of the process that serves it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use drivers::{Driver, Server};
use processes::{Prefork, Role, Signals};
use protocol::{Cx, Input, Protocol};

/// Greets each connection with the id of the process that serves it.
#[derive(Parser)]
struct Options {
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The number of processes that serve.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// One accept queue for each process: even shares, but the connections of a process that is down wait for it.
    #[arg(long)]
    queue_per_worker: bool,
}

struct Greeter;

impl Protocol for Greeter {
    type Message = Infallible;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(format!("{}\n", std::process::id()).as_bytes());
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        cx.send(input.take_all());
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let mut prefork = Prefork::new(options.workers);
    if options.queue_per_worker {
        prefork = prefork.queue_per_worker();
    }
    match prefork.run(options.listen, |address| println!("listening on {address}"))? {
        Role::Worker { places, .. } => {
            let signals = Signals::catch()?;
            let server = Server::on(options.driver).serve_all(places, |_| Some(Greeter))?;
            signals.then_stop(server, Duration::from_secs(5)).map(drop)
        }
        Role::Parent { restarts } => {
            eprintln!("all workers have ended; {restarts} were started again");
            Ok(())
        }
    }
}
