//! Serves, in one process or in several.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use drivers::{Listening, Running, Server};
use processes::{Prefork, Role, Signals};
use proto_resp::{Client, ClientConfig, ServerConfig};
use proto_tls::{Acceptor, TicketKeys};
use protocol::{Either, Peer, Protocol};
use sha2::{Digest, Sha256};

use crate::admin;
use crate::app::App;
use crate::broker::{Broker, Hub, HubDialect, HubPost, HubSession, Inbox, Memory, Refusal, Speaker, Upstream, Wake};
use crate::edge::Edge;
use crate::handover::{Gift, Given, copies};
use crate::machine;
use crate::node::{Node, NodeConfig};
use crate::settings::{BrokerUrl, Settings};
use crate::tls::{self, Inside};
use crate::watch::{self, Watch};
use crate::web::{Site, ToConnection};

/// Bytes that may wait at the hub for a process: publications while the process is busy.
const HUB_OUTPUT: usize = 256 << 20;

/// How long a process that ends waits for the back end to take the last events.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// Serves until a signal arrives and all connections have ended.
///
/// # Errors
///
/// If serving cannot begin, or a system call fails.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    machine::raise_descriptor_limit();
    match settings.prefork {
        None => alone(settings),
        Some(workers) => prefork(settings, workers),
    }
}

/// Serves in this process.
fn alone(settings: &Settings) -> io::Result<()> {
    let signals = Signals::catch()?;
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
    if places.is_empty() {
        for address in &settings.listen {
            places.push(
                server
                    .listen(address.as_str())
                    .map_err(|error| cannot_listen(address, &error))?,
            );
        }
    }
    let sockets: Vec<OwnedFd> = copies(places.iter().flat_map(Listening::as_fds))?;
    let acceptor = match &settings.tls {
        Some(tls) => Some(tls::acceptor(tls, given.keys.take())?),
        None => None,
    };
    let port = places.iter().find_map(Listening::local_addr).map(|here| here.port());
    let mut gift = Gift {
        keys: acceptor.as_ref().map(|acceptor| acceptor.tickets().clone()),
        ..Gift::default()
    };
    let redirecting = redirect(&server, settings, port, &mut given, &mut gift)?;
    let admin = admin::listen(settings)?;
    let admin_address = admin.as_ref().and_then(Listening::local_addr);
    let (server, admin) = serve(&server, settings, &node, places, acceptor, admin)?;
    let stop = server.stopper();
    announce(settings, server.local_addrs(), redirecting.as_deref(), admin_address);
    let drain = settings.drain;
    let stop_redirecting = redirecting.as_ref().map(|redirecting| Arc::new(redirecting.stopper()));
    let redirecting_too = stop_redirecting.clone();
    let offer = given.hand_on(settings.handover.as_deref(), &sockets, gift, move || {
        if let Some(redirecting) = redirecting_too {
            redirecting(drain);
        }
        stop(drain);
    })?;
    // While this process drains, a socket without an acceptor would block its address.
    drop(sockets);
    let leave = move || {
        if let Some(offer) = offer {
            offer.withdraw();
        }
        if let Some(redirecting) = stop_redirecting {
            redirecting(drain);
        }
    };
    let ended = server.until(signals, drain, Box::new(leave));
    node.ends(LAST_EVENTS);
    // Up to here, so that the drain can be watched.
    drop(admin);
    ended
}

/// A running server, with or without TLS and proxies.
pub(crate) trait Serving {
    fn local_addrs(&self) -> &[SocketAddr];

    /// A handle that stops the server.
    fn stopper(&self) -> Stopper;

    /// Shows the server's counters to `node`.
    fn report(&self, node: &Node);

    /// Serves until a signal arrives, logs the signal, and calls `leave`.
    fn until(self: Box<Self>, signals: Signals, drain: Duration, leave: Box<dyn FnOnce() + Send>) -> io::Result<()>;
}

/// The server, and that of administration if there is one.
type Both = (Box<dyn Serving>, Option<Box<dyn Serving>>);

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

    fn until(self: Box<Self>, signals: Signals, drain: Duration, leave: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let (handle, mut leave) = (self.handle(), Some(leave));
        let told = move || {
            let connections = handle.stats().active;
            let limit = humantime::format_duration(drain);
            tracing::info!("draining {connections} connections, for {limit} at most");
            if let Some(leave) = leave.take() {
                leave();
            }
        };
        signals.then_stop_telling(*self, drain, told).map(drop)
    }
}

/// Serves in several processes; this is the parent or one of them.
fn prefork(settings: &Settings, workers: usize) -> io::Result<()> {
    let (driver, channels) = (settings.driver, settings.limits.channels);
    let message = settings.limits.message;
    // Even shares: connections last long, and each worker holds part of the memory.
    let has_hub = settings.broker == BrokerUrl::Memory;
    let (hub, watch) = (Mutex::new(None), Arc::<Watch>::default());
    // A client may reconnect to another process. Set before the first process starts.
    let keys = Arc::new(OnceLock::<TicketKeys>::new());
    let for_workers = Arc::clone(&keys);
    let admin = Arc::new(OnceLock::<Listening>::new());
    let admin_for_workers = Arc::clone(&admin);
    let prefork = Prefork::new(workers).queue_per_worker().inherit(move |worker| {
        let mut given: Vec<OwnedFd> = vec![watch.starts(worker)?.into()];
        if let Some(keys) = for_workers.get() {
            given.push(tls::give(keys)?);
        }
        if let Some(place) = admin_for_workers.get() {
            given.push(admin::copy(place)?);
        }
        if has_hub {
            let mut hub = hub.lock().unwrap_or_else(PoisonError::into_inner);
            let hub = match &*hub {
                Some(hub) => Arc::clone(hub),
                None => Arc::clone(hub.insert(Hub::start(channels, random()?)?)),
            };
            let (ours, theirs) = UnixStream::pair()?;
            // Lives as long as the process holds its end.
            Server::on(driver)
                .configure(|config| config.limits = config.limits.max_output(HUB_OUTPUT))
                .adopt(ours, move |peer: &Peer<'_, HubPost>| {
                    let session = HubSession::new(hub, worker as u64, peer.sender());
                    proto_resp::Server::new(Arc::new(at_the_parent(message)), session)
                })?;
            given.push(theirs.into());
        }
        Ok(given)
    });
    let role = prefork.run_with(|parent| {
        let mut given = Given::here(settings)?;
        if settings.tls.is_some() {
            // The processes watch the files themselves.
            tls::hangup()?;
            // Set only once, here.
            let _ = keys.set(tls::keys(given.keys.take())?);
        }
        for place in core::mem::take(&mut given.places) {
            parent.accept_in(place);
        }
        if parent.sockets().is_empty() {
            for address in &settings.listen {
                parent
                    .listen(address.as_str())
                    .map_err(|error| cannot_listen(address, &error))?;
            }
        }
        if let Some(place) = admin::listen(settings)? {
            // Set only once, here.
            let _ = admin.set(place);
        }
        let here = parent.local_addrs();
        let mut gift = Gift {
            keys: keys.get().cloned(),
            ..Gift::default()
        };
        let port = here.first().map(|here| here.port());
        let redirecting = redirect(&Server::on(driver), settings, port, &mut given, &mut gift)?;
        announce(
            settings,
            &here,
            redirecting.as_deref(),
            admin.get().and_then(Listening::local_addr),
        );
        let (path, drain) = (settings.handover.as_deref(), settings.drain);
        if let Some(redirecting) = redirecting {
            let redirecting = redirecting.stopper();
            parent.when_stopped(move || redirecting(drain));
        }
        let stopper = parent.stopper();
        if let Some(offer) = given.hand_on(path, &parent.sockets(), gift, move || stopper.stop())? {
            parent.when_stopped(move || offer.withdraw());
        }
        Ok(())
    })?;
    match role {
        Role::Worker {
            number,
            places,
            inherited,
        } => worker(settings, number, places, inherited),
        Role::Parent { .. } => Ok(()),
    }
}

/// Serves as one of several processes.
fn worker(settings: &Settings, number: usize, places: Vec<Listening>, inherited: Vec<OwnedFd>) -> io::Result<()> {
    let signals = Signals::catch()?;
    let stop = Arc::new(OnceLock::new());
    let mut inherited = inherited.into_iter();
    let parent = inherited
        .next()
        .ok_or_else(|| io::Error::other("the parent has given nothing"))?;
    let acceptor = match &settings.tls {
        Some(tls) => Some(tls::acceptor(tls, inherited.next())?),
        None => None,
    };
    let admin = match settings.admin_listen {
        Some(_) => inherited.next().map(Listening::from),
        None => None,
    };
    let inherited: Vec<OwnedFd> = inherited.collect();
    let node = node(settings, parent_id(), number, |inbox, name| match &settings.broker {
        BrokerUrl::Memory => Box::new(at_the_hub(settings, inbox, inherited, Arc::clone(&stop))),
        BrokerUrl::Redis(url) => Box::new(
            url.clone()
                .broker(settings.driver, inbox, name, settings.limits.message),
        ),
    })?;
    watch::report(&node, parent.into())?;
    let (server, admin) = serve(&server(settings), settings, &node, places, acceptor, admin)?;
    // Set only once, here.
    let _ = stop.set(server.stopper());
    let ended = server.until(signals, settings.drain, Box::new(|| {}));
    node.ends(LAST_EVENTS);
    drop(admin);
    ended
}

/// The broker in the parent, over the inherited socket. When that connection ends, this process cannot serve: it exits, and the parent
/// starts another.
fn at_the_hub(
    settings: &Settings,
    inbox: Weak<dyn Inbox>,
    inherited: Vec<OwnedFd>,
    stop: Arc<OnceLock<Stopper>>,
) -> Arc<Upstream> {
    let (driver, drain) = (settings.driver, settings.drain);
    let mut config = ClientConfig::default();
    let limits = &mut config.rules.limits;
    limits.bulk = limits.bulk.max(2 * settings.limits.message as u64);
    limits.reply = limits.reply.max(4 * settings.limits.message as u64);
    let config = Arc::new(config);
    let socket = Mutex::new(inherited.into_iter().next());
    let connect = move |upstream: Arc<Upstream>, role, generation| {
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(socket) = socket else {
            if let Some(server) = stop.get() {
                server(drain);
            }
            return upstream.is_down(role, generation, Refusal::Ever("the parent is gone".to_owned()));
        };
        let (tell, told) = std::sync::mpsc::channel();
        let speaker = Speaker::new(Arc::clone(&upstream), role, generation);
        let config = Arc::clone(&config);
        let adopted = Server::on(driver)
            .configure(|config| config.limits = config.limits.max_output(HUB_OUTPUT))
            .adopt(socket, move |peer: &Peer<'_, Wake>| {
                // The receiver waits for the sender.
                let _ = tell.send(peer.sender());
                Client::new(config, speaker)
            });
        match adopted.and_then(|_| told.recv().map_err(io::Error::other)) {
            Ok(sender) => upstream.linked(role, generation, Box::new(sender)),
            Err(error) => upstream.is_down(role, generation, Refusal::Now(error.to_string())),
        }
    };
    Upstream::new(HubDialect, inbox, Box::new(connect))
}

/// The parent's settings for connections from processes, whose publications have at most `message` bytes.
fn at_the_parent(message: usize) -> ServerConfig {
    let mut config = ServerConfig::default();
    let limits = &mut config.rules.limits;
    limits.bulk = limits.bulk.max(2 * message as u64);
    let command = u32::try_from(2 * message).unwrap_or(u32::MAX);
    limits.command = limits.command.max(command.saturating_add(1 << 20));
    // The process itself probes an idle connection.
    config.timeouts.idle = None;
    config
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
    acceptor: Option<Acceptor>,
    admin: Option<Listening>,
) -> io::Result<Both> {
    let app = Arc::new(App::new(Arc::clone(node), settings.clone())?);
    let site = Arc::new(Site::new(Arc::clone(&app)).map_err(io::Error::other)?);
    node.start()?;
    let admin = admin.map(|place| admin::serve(settings, &site, place)).transpose()?;
    // Clients wait in the accept queues meanwhile.
    node.wait_for_broker().map_err(io::Error::other)?;
    let Some(acceptor) = acceptor else {
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
        return Ok((running, admin));
    };
    let running = admit(server, places, &app.edge, acceptor.accept(Inside(site)))?;
    node.encrypts(move || acceptor.stats());
    running.report(node);
    Ok((running, admin))
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
    redirecting: Option<&dyn Serving>,
    admin: Option<SocketAddr>,
) {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    for address in addresses {
        println!("listening on {scheme}://{address}");
    }
    for from in redirecting.map(Serving::local_addrs).unwrap_or_default() {
        println!("redirecting http://{from} to https");
    }
    if let Some(here) = admin {
        println!("administration on http://{here}");
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

pub(crate) fn cannot_listen(address: &str, error: &io::Error) -> io::Error {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "another program listens there".into(),
        ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        ErrorKind::PermissionDenied => "not permitted".into(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {why}"))
}
