//! An HTTP proxy: a reverse proxy with `--to`, otherwise a forward proxy. See docs/writing-a-proxy.md.

mod head;
mod inward;
mod link;
mod outward;
mod shared;
mod tunnel;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use clap::Parser;
use drivers::Server;
use processes::Signals;
use proto_http::{ClientConfig, ServerConfig};
use protocol::{Either, Switch};

use crate::head::Routes;
use crate::inward::Inward;
use crate::outward::Outward;
use crate::shared::{Resolver, Shared};

/// Forwards HTTP requests.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    serve: examples::Options,
    /// The server of a reverse proxy. Without it, clients name the server: by GET http://host/path, or by CONNECT.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<SocketAddr>,
    /// Ports permitted for CONNECT.
    #[arg(long, value_name = "PORTS", value_delimiter = ',', default_value = "443")]
    tunnels: Vec<u16>,
    /// Seconds to wait for the server's response.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
}

/// A client's connection, or a connection to a server: either may become a tunnel.
type Proxy = Either<Switch<proto_http::Server<Inward>>, Switch<proto_http::Client<Outward>>>;

fn main() -> std::io::Result<()> {
    let options = Arguments::parse();
    let patience = Duration::from_secs(options.patience);
    let mut server = ServerConfig::new(SystemTime::now);
    // Content is only forwarded; the server limits it.
    server.rules.limits.body = None;
    // Connecting takes at most 10 seconds, after which the connection to the server reports a more precise error.
    server.timeouts.answer = patience.checked_add(Duration::from_secs(20));
    let mut client = ClientConfig::default();
    client.timeouts.answer = Some(patience);
    let shared = Arc::new(Shared {
        routes: Routes {
            to: options.to,
            tunnels: options.tunnels,
        },
        resolver: Resolver::new()?,
        server: Arc::new(server),
        client: Arc::new(client),
        handle: OnceLock::new(),
        name: OnceLock::new(),
    });
    let signals = Signals::catch()?;
    let ours = Arc::clone(&shared);
    let running = Server::on(options.serve.driver).threads(options.serve.threads).serve(
        options.serve.listen,
        move |peer| -> Option<Proxy> {
            let inward = Inward::new(Arc::clone(&ours), peer.remote(), peer.sender());
            Some(Either::Left(proto_http::Server::switching(
                Arc::clone(&ours.server),
                inward,
            )))
        },
    )?;
    let address = running.local_addr().unwrap_or(options.serve.listen);
    let _ = (
        shared.name.set(address.to_string()),
        shared.handle.set(running.handle()),
    );
    examples::until(signals, running)
}
