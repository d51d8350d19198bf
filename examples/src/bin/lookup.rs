//! Answers HTTP requests with the help of futures of tokio: `/localhost` looks up that name. Only on driver-tokio.
//!
//! Each connection polls its future in its own turns. Backpressure: a connection has at most one look-up, because later requests wait in its
//! input; and a semaphore bounds the look-ups of all connections. No queue grows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Parser;
use http_app::{App, Call, Problem, Reply, later};
use proto_http::{Server, ServerConfig};
use tokio::sync::Semaphore;

/// Looks up names.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// Concurrent look-ups, over all connections.
static PERMITS: Semaphore = Semaphore::const_new(100);

async fn lookup(call: Call) -> Result<String, Reply> {
    let Ok(_permit) = PERMITS.try_acquire() else {
        return Err(Reply::new(503).field("Retry-After", "1"));
    };
    let name = call.param("name").unwrap_or_default();
    match tokio::net::lookup_host((name, 0)).await {
        Ok(addresses) => Ok(addresses.map(|address| format!("{}\n", address.ip())).collect()),
        Err(error) => Err(Problem::new(404, format!("{name}: {error}\n")).into()),
    }
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let app = App::new()
        .get("/{name}", |call| later(lookup(call)))
        .build()
        .map_err(std::io::Error::other)?;
    let config = Arc::new(ServerConfig::new(SystemTime::now));
    let server = driver_tokio::Server::new().serve(options.listen, move |peer| {
        Some(Server::new(Arc::clone(&config), app.handler(peer)))
    })?;
    if let Some(address) = server.local_addr() {
        println!("listening on {address}");
    }
    // Runs until it is killed; the other examples show how to drain after a signal.
    server.join().map(drop)
}
