//! Serves, in one process or in several.

mod prefork;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use drivers::{Listening, Running, Server};
use processes::{Prefork, Signals};
use protocol::{Either, Peer, Protocol};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::broker::{Broker, Inbox, Memory};
use crate::edge::Edge;
use crate::handover::{Gift, Given, copies};
use crate::node::{Node, NodeConfig};
use crate::place::{self, Opened, SocketFile, cannot_listen};
use crate::reload::{Hangup, Live, Reload, Source};
use crate::settings::{BrokerUrl, Settings};
use crate::tls::{self, Certificates, Inside};
use crate::web::{Site, ToConnection};
use crate::{admin, logging, machine};

/// How long a process that ends waits for the back end to take the last events.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// Serves until a signal arrives and all connections have ended.
///
/// # Errors
///
/// Everything that is wrong with the settings; or why serving cannot begin, or which system call failed.
pub(crate) fn run(source: Source) -> Result<(), Vec<String>> {
    machine::raise_descriptor_limit();
    let said = |error: io::Error| vec![error.to_string()];
    if Prefork::is_worker() {
        return prefork::work().map_err(said);
    }
    let options = source.read()?;
    logging::begin(&options);
    let settings = Settings::new(options.clone())?;
    for line in settings.idle() {
        tracing::warn!("{line}");
    }
    let reload = Arc::new(Reload::new(source, options));
    let outcome = match settings.prefork {
        None => alone(&settings, reload),
        Some(workers) => prefork::run(&settings, workers, reload),
    };
    outcome.map_err(said)
}

/// Serves in this process.
fn alone(settings: &Settings, reload: Arc<Reload>) -> io::Result<()> {
    let (signals, hangup) = (Signals::catch()?, Hangup::catch()?);
    let (channels, seed) = (settings.limits.channels, random()?);
    let node = node(settings, std::process::id(), 0, |inbox, name| match &settings.broker {
        BrokerUrl::Memory => Box::new(Memory::new(inbox, channels, seed)),
        BrokerUrl::Redis(url) => Box::new(
            url.clone()
                .broker(settings.driver, inbox, name, settings.limits.message),
        ),
    })?;
    let server = server(settings);
    let mut given = Given::here(settings)?;
    let mut places = core::mem::take(&mut given.places);
    let mut files = Files::taken(settings, &given);
    if places.is_empty() {
        for place in &settings.listen {
            places.push(files.open(&server, settings, place)?);
        }
    }
    let sockets: Vec<OwnedFd> = copies(places.iter().flat_map(Listening::as_fds))?;
    let certificates = match &settings.tls {
        Some(tls) => Some(Certificates::read(tls, given.keys.take())?),
        None => None,
    };
    let port = places.iter().find_map(Listening::local_addr).map(|here| here.port());
    let mut gift = Gift {
        keys: certificates
            .as_ref()
            .map(|certificates| certificates.acceptor().tickets().clone()),
        ..Gift::default()
    };
    let redirecting = redirect(&server, settings, port, &mut given, &mut gift)?;
    let admin = admin::listen(settings)?;
    let (admin, admin_file) = admin.map_or((None, None), |opened| (Some(opened.listening), opened.file));
    let admin_address = admin.as_ref().and_then(Listening::local_addr);
    let Served { server, admin, live } = serve(&server, settings, &node, places, certificates, admin)?;
    let (live_too, reload_too) = (live.clone(), Arc::clone(&reload));
    hangup.then(move || reload_too.run(|change| live_too.apply(&change.settings)))?;
    let stop = server.stopper();
    announce(
        settings,
        server.local_addrs(),
        &files,
        redirecting.as_deref(),
        admin_address,
    );
    let stop_redirecting = redirecting.as_ref().map(|redirecting| Arc::new(redirecting.stopper()));
    let redirecting_too = stop_redirecting.clone();
    let (is_succeeded, app) = (Arc::clone(&files.are_taken), Arc::clone(&live.app));
    let offer = given.hand_on(settings.handover.as_deref(), &sockets, gift, move || {
        is_succeeded.store(true, Ordering::Release);
        let drain = app.settings().drain;
        if let Some(redirecting) = redirecting_too {
            redirecting(drain);
        }
        stop(drain);
    })?;
    // While this process drains, a socket without an acceptor would block its address.
    drop(sockets);
    let leave = move |drain| {
        if let Some(offer) = offer {
            offer.withdraw();
        }
        if let Some(redirecting) = stop_redirecting {
            redirecting(drain);
        }
    };
    let ended = server.until(signals, &live.app, Box::new(leave));
    node.ends(LAST_EVENTS);
    // Up to here, so that the drain can be watched.
    drop((admin, admin_file));
    ended
}

/// The files of the Unix sockets that are served. Dropping them removes the files, unless a successor serves the sockets.
#[derive(Default)]
pub(crate) struct Files {
    files: Vec<SocketFile>,
    pub(crate) are_taken: Arc<AtomicBool>,
}

impl Files {
    /// The files of the sockets that were taken over from a predecessor.
    pub(crate) fn taken(settings: &Settings, given: &Given) -> Self {
        let paths = settings.listen.iter().filter_map(|place| place::path(place));
        let files = paths.filter(|_| given.is_successor()).filter_map(SocketFile::at);
        Files {
            files: files.collect(),
            are_taken: Arc::default(),
        }
    }

    /// Listens on a place, and keeps its file if it is a Unix socket.
    pub(crate) fn open(&mut self, server: &Server, settings: &Settings, place: &str) -> io::Result<Listening> {
        let Opened { listening, file } = place::open(server, settings, place)?;
        self.files.extend(file);
        Ok(listening)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.are_taken.load(Ordering::Acquire) {
            self.files.drain(..).for_each(SocketFile::leave);
        }
    }
}

/// A running server, with or without TLS and proxies.
pub(crate) trait Serving {
    fn local_addrs(&self) -> &[SocketAddr];

    /// A handle that stops the server.
    fn stopper(&self) -> Stopper;

    /// Shows the server's counters to `node`.
    fn report(&self, node: &Node);

    /// Serves until a signal arrives, drains as the settings of `app` say, and calls `leave` with the drain time as it begins to.
    fn until(self: Box<Self>, signals: Signals, app: &Arc<App>, leave: Leave) -> io::Result<()>;
}

pub(crate) type Leave = Box<dyn FnOnce(Duration) + Send>;

/// The server, that of administration if there is one, and what settings are put in force in.
struct Served {
    server: Box<dyn Serving>,
    admin: Option<Box<dyn Serving>>,
    live: Live,
}

pub(crate) type Stopper = Box<dyn Fn(Duration) + Send + Sync>;

impl<P: Protocol<Message: Send> + 'static> Serving for Running<P> {
    fn local_addrs(&self) -> &[SocketAddr] {
        Running::local_addrs(self)
    }

    fn stopper(&self) -> Stopper {
        let handle = self.handle();
        Box::new(move |drain| handle.stop(drain))
    }

    fn report(&self, node: &Node) {
        let handle = self.handle();
        node.serves(move || handle.stats_by_thread());
    }

    fn until(self: Box<Self>, signals: Signals, app: &Arc<App>, leave: Leave) -> io::Result<()> {
        let handle = self.handle();
        let ending = Ending {
            connections: Box::new(move || handle.stats().active),
            app: Arc::clone(app),
            leave: Some(leave),
        };
        signals.then_stop_as(*self, ending).map(drop)
    }
}

/// The end of a server: first it is no longer ready, then it drains.
struct Ending {
    connections: Box<dyn Fn() -> u64 + Send>,
    app: Arc<App>,
    leave: Option<Leave>,
}

impl processes::Ending for Ending {
    fn leave(&mut self) -> Duration {
        self.app.node.set_leaving(true);
        let delay = self.app.settings().drain_delay;
        if !delay.is_zero() {
            let limit = humantime::format_duration(delay);
            tracing::info!(
                "leaving: not ready any more, and accepting connections for {limit}, or until the next signal"
            );
        }
        delay
    }

    fn drain(&mut self) -> Duration {
        let drain = self.app.settings().drain;
        let connections = (self.connections)();
        let limit = humantime::format_duration(drain);
        tracing::info!("draining {connections} connections, for {limit} at most");
        if let Some(leave) = self.leave.take() {
            leave(drain);
        }
        drain
    }
}

/// The node of this process: worker number `worker` of the server whose first process has the id `pid`.
fn node(
    settings: &Settings,
    pid: u32,
    worker: usize,
    broker: impl FnOnce(Weak<dyn Inbox>, &str) -> Box<dyn Broker>,
) -> io::Result<Arc<Node>> {
    let config = NodeConfig {
        server: name(pid).into(),
        worker,
        start: format!("{:08x}", random()? as u32).into(),
        rules: settings.rules.clone(),
        encoding: settings.encoding.clone(),
        max_channels: settings.limits.channels,
    };
    Ok(Node::new(config, broker))
}

fn server(settings: &Settings) -> Server {
    let (limits, proxied) = (settings.limits, settings.proxies.are_used());
    Server::on(settings.driver)
        .threads(settings.threads)
        .configure(|config| {
            config.max_connections = limits.connections;
            // The drivers see only the addresses of proxies.
            config.max_per_address = limits.per_address.filter(|_| !proxied);
            config.limits = config.limits.high_water(limits.high_water);
        })
}

fn serve(
    server: &Server,
    settings: &Settings,
    node: &Arc<Node>,
    places: Vec<Listening>,
    certificates: Option<Arc<Certificates>>,
    admin: Option<Listening>,
) -> io::Result<Served> {
    let app = Arc::new(App::new(Arc::clone(node), settings.clone())?);
    let site = Arc::new(Site::new(Arc::clone(&app)).map_err(io::Error::other)?);
    node.start()?;
    let admin = admin.map(|place| admin::serve(settings, &site, place)).transpose()?;
    // Clients wait in the accept queues meanwhile.
    node.wait_for_broker().map_err(io::Error::other)?;
    let live = Live {
        app: Arc::clone(&app),
        certificates: certificates.clone(),
    };
    let Some(acceptor) = certificates.map(|certificates| certificates.acceptor().clone()) else {
        let factory = move |peer: &Peer<'_, ToConnection>| Some(site.connection(peer));
        let running = admit(server, places, &app.edge, factory)?;
        // A demonstration connects to the server itself from its own machine, without a header.
        let announcing = &app.edge.proxies.announcing;
        let is_plain = |address: &&SocketAddr| {
            let here = [address.ip(), Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            !here.iter().any(|&here| announcing.contains(Some(here)))
        };
        if let Some(&address) = running.local_addrs().first().filter(is_plain) {
            app.serves_at(address);
        }
        running.report(node);
        return Ok(Served {
            server: running,
            admin,
            live,
        });
    };
    let running = admit(server, places, &app.edge, acceptor.accept(Inside(site)))?;
    node.encrypts(move || acceptor.stats());
    running.report(node);
    Ok(Served {
        server: running,
        admin,
        live,
    })
}

/// Serves what `factory` makes, through the proxies that are configured. Without proxies, nothing stands between.
pub(crate) fn admit<P, F>(
    server: &Server,
    places: Vec<Listening>,
    edge: &Arc<Edge>,
    factory: F,
) -> io::Result<Box<dyn Serving>>
where
    P: Protocol<Message: Send> + Send + 'static,
    F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
{
    if !edge.proxies.are_used() {
        return Ok(Box::new(server.serve_all(places, factory)?));
    }
    let edge = Arc::clone(edge);
    let announcing = edge.proxies.announcing.clone();
    let mut config = proto_proxy::Config::new(announcing.networks.iter().copied());
    config.trust_unix = announcing.unix;
    let counted = {
        let edge = Arc::clone(&edge);
        // `is_client`: not the proxy's own connection.
        move |peer: &Peer<'_, P::Message>, is_client: bool| {
            let client = peer.remote().filter(|_| is_client);
            edge.admit(client.map(|client| client.ip()), || factory.clone()(peer))
        }
    };
    let direct = counted.clone();
    let mut announced = config.accept(move |peer: &Peer<'_, P::Message>, header: &proto_proxy::Header<'_>| {
        counted(
            peer,
            header.command() == proto_proxy::Command::Proxy && header.source().is_some(),
        )
    });
    let factory = move |peer: &Peer<'_, P::Message>| match announcing.contains(peer.remote().map(|peer| peer.ip())) {
        true => announced(peer).map(Either::Left),
        false => direct(peer, true).map(Either::Right),
    };
    Ok(Box::new(server.serve_all(places, factory)?))
}

/// Redirects plain HTTP to `port`, if configured: on the predecessor's sockets, if it redirected too.
fn redirect(
    server: &Server,
    settings: &Settings,
    port: Option<u16>,
    given: &mut Given,
    gift: &mut Gift,
) -> io::Result<Option<Box<dyn Serving>>> {
    let mut places = core::mem::take(&mut given.redirecting);
    let address = settings.tls.as_ref().and_then(|tls| tls.redirect.as_ref());
    let Some((address, port)) = address.zip(port) else {
        return Ok(None);
    };
    if places.is_empty() {
        places.push(
            server
                .listen(address.as_str())
                .map_err(|error| cannot_listen(address, &error))?,
        );
    }
    gift.redirecting = copies(places.iter().flat_map(Listening::as_fds))?;
    admit(server, places, &Arc::new(settings.edge()), tls::redirect(port)).map(Some)
}

fn announce(
    settings: &Settings,
    addresses: &[SocketAddr],
    files: &Files,
    redirecting: Option<&dyn Serving>,
    admin: Option<SocketAddr>,
) {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    for address in addresses {
        println!("listening on {scheme}://{address}");
    }
    for file in &files.files {
        println!("listening on {scheme}, unix:{}", file.path().display());
    }
    for from in redirecting.map(Serving::local_addrs).unwrap_or_default() {
        println!("redirecting http://{from} to https");
    }
    if let Some(here) = admin {
        println!("administration on http://{here}");
    } else if let Some(place) = &settings.admin_listen {
        println!("administration on http, {place}");
    }
    // Tells a service manager that clients may connect. Does nothing without one.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// A name for this server that no other has and its processes share: made of the machine, its boot, and the first process.
fn name(pid: u32) -> String {
    let mut hash = Sha256::new();
    for path in ["/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/etc/hostname"] {
        hash.update(std::fs::read(path).unwrap_or_default());
    }
    hash.update(pid.to_be_bytes());
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// Random bits.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_ne_bytes(bytes))
}
