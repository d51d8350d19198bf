//! Answers HTTP requests with the help of futures: `/localhost` looks up that name. Only on driver-tokio.
//!
//! The handler spawns a future for each request, and gets its result as a message. Backpressure: a connection has at most one look-up,
//! because later requests wait in its input; and a semaphore bounds the look-ups of all connections. No queue grows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Parser;
use driver_tokio::Server as Driver;
use proto_http::{Handler, Misuse, NoUpgrade, Request, Responder, Server, ServerConfig};
use protocol::Sender;
use tokio::sync::Semaphore;

/// Looks up names.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// Concurrent look-ups, over all connections of a thread.
const LOOKUPS: usize = 100;

struct Lookup {
    sender: Sender<String>,
    permits: Arc<Semaphore>,
}

impl Handler for Lookup {
    type Message = String;
    type Next = NoUpgrade<String>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return responder.send(503, &[("Retry-After", "1")], b"");
        };
        let name = request.path().trim_start_matches('/').to_owned();
        let sender = self.sender.clone();
        tokio::task::spawn_local(async move {
            let found = match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(addresses) => addresses.map(|address| format!("{}\n", address.ip())).collect(),
                Err(error) => format!("{name:?}: {error}\n"),
            };
            // The client may have disconnected.
            let _ = sender.send(found);
            drop(permit);
        });
        Ok(())
    }

    fn posted(&mut self, found: String, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if responder.is_due() {
            responder.send(200, &[("Content-Type", "text/plain")], found.as_bytes())?;
        }
        Ok(())
    }
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let config = Arc::new(ServerConfig::new(SystemTime::now));
    let permits = Arc::new(Semaphore::new(LOOKUPS));
    let server = Driver::new().serve(options.listen, move |peer| {
        let lookup = Lookup {
            sender: peer.sender(),
            permits: Arc::clone(&permits),
        };
        Some(Server::new(Arc::clone(&config), lookup))
    })?;
    if let Some(address) = server.local_addr() {
        println!("listening on {address}");
    }
    // Runs until it is killed; the other examples show how to drain after a signal.
    server.join().map(drop)
}
