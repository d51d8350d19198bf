//! Serving.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use drivers::{Running, Server};
use listenfd::ListenFd;
use protocol::Peer;

use crate::app::App;
use crate::broker::Memory;
use crate::node::{Node, NodeConfig, Post};
use crate::settings::{BrokerUrl, Settings};
use crate::web::{Connection, Site};

/// Serves until a signal comes and all connections have ended.
///
/// # Errors
///
/// When it cannot begin, or the system makes it fail.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let seed = random()?;
    let config = NodeConfig {
        server: format!("{:08x}", seed as u32).into(),
        worker: 0,
        rules: settings.rules.clone(),
        encoding: settings.encoding.clone(),
        max_channels: settings.limits.channels,
    };
    let channels = settings.limits.channels;
    let node = Node::new(config, |inbox| match settings.broker {
        BrokerUrl::Memory => Box::new(Memory::new(inbox, channels, seed)),
    });
    let app = Arc::new(App::new(Arc::clone(&node), settings.clone()));
    let site = Arc::new(Site::new(Arc::clone(&app)).map_err(io::Error::other)?);
    node.start()?;
    let server = listen(settings, &site)?;
    let handle = server.handle();
    node.serves(move || handle.stats_by_loop());
    if let Some(address) = server.local_addr() {
        app.serves_at(address);
        println!("listening on http://{address}");
    }
    // A service manager that waits for it learns that clients may come. Without one this does nothing.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    server.until_signal(settings.drain).map(drop)
}

fn listen(settings: &Settings, site: &Arc<Site>) -> io::Result<Running<Connection>> {
    let site = Arc::clone(site);
    let factory = move |peer: &Peer<'_, Post>| Some(site.connection(peer.sender()));
    let limits = settings.limits;
    let server = Server::new(settings.driver)
        .threads(settings.threads)
        .configure(|config| {
            config.max_connections = limits.connections;
            config.max_per_address = limits.per_address;
            config.limits = config.limits.high_water(limits.high_water);
        });
    // A service manager may have bound the socket already.
    if let Some(listener) = ListenFd::from_env().take_tcp_listener(0)? {
        return server.serve_on(listener, factory);
    }
    let address = settings.listen.first().map_or("", String::as_str);
    server
        .serve(address, factory)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {}", explain(&error))))
}

/// Random bits that no other node has.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "another program listens there".into(),
        ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        ErrorKind::PermissionDenied => "not permitted".into(),
        _ => error.to_string(),
    }
}
