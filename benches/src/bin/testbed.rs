//! The server that other tools drive: tests with real clients, load generators, benchmarks, conformance suites.
//!
//! Prints `listening on ADDR` when it is ready; SIGTERM or SIGINT drains and exits with 0.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Parser;
use drivers::Driver;
use proto_http::{FieldBlock, Fields, Handler, Misuse, Request, Responder, Server, ServerConfig};
use proto_ws::handshake::server::Request as Handshake;
use proto_ws::{Message, Socket};
use protocol::{Peer, Protocol};

/// A server with a few fixed resources, on either driver.
#[derive(Parser)]
struct Options {
    /// Which driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// How many threads serve.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The number of serving processes, each with `--threads` threads; without it, this process serves.
    #[cfg(target_os = "linux")]
    #[arg(long, value_name = "N")]
    prefork: Option<usize>,
    /// How long a client may take for the head of a request, in seconds.
    #[arg(long, value_name = "SECS")]
    header_timeout: Option<u64>,
    /// How long a client may take from one request to the next, in seconds.
    #[arg(long, value_name = "SECS")]
    idle_timeout: Option<u64>,
    /// Speaks HTTP/1.1 alone. Otherwise a client that begins with the preface of HTTP/2 is served that.
    #[arg(long)]
    no_http2: bool,
    /// Networks of proxies, separated by commas: every connection begins with a PROXY header (version 1 or 2) from one of
    /// them, and connections from elsewhere are refused.
    #[arg(long, value_name = "NET[,NET...]", value_parser = proto_proxy::Config::parse)]
    proxy_protocol: Option<proto_proxy::Config>,
    /// The server's certificate in PEM, its issuers behind it: everything is served over TLS. Several for several names, each
    /// with its --tls-key.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,
    /// The key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,
    /// Authorities in PEM: clients must show a certificate of one of them.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
}

/// The path at which messages are compressed.
const DEFLATE: &str = "/ws/deflate";
/// A path as long as those of many programs, with the answer of `/`.
const ITEMS: &str = "/api/v1/items";

/// The time that connections have to end after a signal.
const DRAIN: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: cannot serve on {}: {error}", options.listen);
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let server = drivers::Server::on(options.driver).threads(options.threads);
    #[cfg(target_os = "linux")]
    if let Some(workers) = options.prefork {
        return prefork(workers, server, options);
    }
    let places = [server.listen(options.listen)?];
    serve(&server, places, options, true)
}

/// Serves until a signal, with the PROXY protocol if configured.
fn serve<I>(server: &drivers::Server, places: I, options: &Options, print: bool) -> io::Result<()>
where
    I: IntoIterator<Item = drivers::Listening>,
{
    // Before connections are accepted, because a storm of clients may take all descriptors, and catching signals needs some.
    let signals = processes::Signals::catch()?;
    let one = config(options);
    let shared = shared()?;
    let testbed = move |remote: Option<SocketAddr>| Testbed {
        shared: Arc::clone(&shared),
        remote: remote.map(|remote| (mapped(remote.ip()), remote.port())),
        echoing: false,
        next: None,
    };
    if options.no_http2 {
        let factory = move |peer: &Peer<'_, Infallible>, _: Option<&[u8]>| {
            Some(Server::switching(Arc::clone(&one), testbed(peer.remote())))
        };
        return serve_layered(server, places, options, factory, signals, print);
    }
    let mut two = proto_h2::ServerConfig::new(SystemTime::now);
    two.limits.body = None;
    two.timeouts.preface = one.timeouts.first_byte;
    two.timeouts.frame = one.timeouts.head;
    two.timeouts.idle = one.timeouts.idle;
    let two = Arc::new(two);
    let handler = move |peer: &Peer<'_, Infallible>| Some(testbed(peer.remote()));
    let factory = move |peer: &Peer<'_, proto_h2::StreamMessage<Infallible>>, alpn: Option<&[u8]>| {
        let (one, two, handler) = (Arc::clone(&one), Arc::clone(&two), handler.clone());
        match alpn {
            // Without ALPN, a client may begin with the HTTP/2 preface.
            None => Some(proto_h2::Auto::new(one, two, handler, peer)),
            alpn => proto_h2::Auto::negotiated(alpn, one, two, handler, peer),
        }
    };
    serve_layered(server, places, options, factory, signals, print)
}

/// Serves the protocols that `factory` makes for a peer and the protocol negotiated in TLS. The options add TLS and the PROXY protocol.
fn serve_layered<I, P>(
    server: &drivers::Server,
    places: I,
    options: &Options,
    factory: impl Fn(&Peer<'_, P::Message>, Option<&[u8]>) -> Option<P> + Clone + Send + Sync + 'static,
    signals: processes::Signals,
    print: bool,
) -> io::Result<()>
where
    I: IntoIterator<Item = drivers::Listening>,
    P: Protocol + Send + 'static,
    P::Message: Send + 'static,
{
    let tls = acceptor(options)?.map(|acceptor| {
        let factory = factory.clone();
        acceptor
            .accept(move |peer: &Peer<'_, P::Message>, session: proto_tls::Session<'_>| factory(peer, session.alpn()))
    });
    let plain = move |peer: &Peer<'_, P::Message>| factory(peer, None);
    match (options.proxy_protocol.clone(), tls) {
        (None, None) => until_signal(server.serve_all(places, plain)?, signals, print),
        (None, Some(tls)) => until_signal(server.serve_all(places, tls)?, signals, print),
        (Some(config), None) => {
            let behind = config.accept(move |peer: &Peer<'_, P::Message>, _: &proto_proxy::Header<'_>| plain(peer));
            until_signal(server.serve_all(places, behind)?, signals, print)
        }
        (Some(config), Some(tls)) => {
            let behind =
                config.accept(move |peer: &Peer<'_, P::Message>, _: &proto_proxy::Header<'_>| tls.clone()(peer));
            until_signal(server.serve_all(places, behind)?, signals, print)
        }
    }
}

/// The acceptor of TLS connections, if there is a certificate.
fn acceptor(options: &Options) -> io::Result<Option<proto_tls::Acceptor>> {
    if options.tls_cert.is_empty() {
        return Ok(None);
    }
    if options.tls_cert.len() != options.tls_key.len() {
        return Err(io::Error::other("each --tls-cert needs its --tls-key"));
    }
    let pairs = options.tls_cert.iter().cloned().zip(options.tls_key.iter().cloned());
    let files = proto_tls::Files {
        pairs: pairs.collect(),
        client_ca: options.tls_client_ca.clone(),
    };
    let provider = proto_tls::provider().map_err(io::Error::other)?;
    let mut config = files.load(provider).map_err(io::Error::other)?;
    if !options.no_http2 {
        config.alpn.insert(0, b"h2".to_vec());
    }
    proto_tls::Acceptor::new(config).map(Some).map_err(io::Error::other)
}

fn until_signal<P>(running: drivers::Running<P>, signals: processes::Signals, print: bool) -> io::Result<()>
where
    P: Protocol + 'static,
    P::Message: Send + 'static,
{
    if let Some(address) = running.local_addr().filter(|_| print) {
        print_address(address);
    }
    signals.then_stop(running, DRAIN).map(drop)
}

#[cfg(target_os = "linux")]
fn prefork(workers: usize, server: drivers::Server, options: &Options) -> io::Result<()> {
    use processes::{Prefork, Role};
    match Prefork::new(workers).run(options.listen, print_address)? {
        Role::Worker { places, .. } => {
            let room = connections_per_thread(options.threads);
            let server = server.configure(|config| config.max_connections = room.min(config.max_connections));
            serve(&server, places, options, false)
        }
        Role::Parent { .. } => Ok(()),
    }
}

/// As many connections as a process has descriptors for, so that a full worker leaves new connections to the others.
#[cfg(target_os = "linux")]
fn connections_per_thread(threads: usize) -> usize {
    /// For the loops, the listening sockets and the standard streams.
    const OTHERS: usize = 64;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    (limit.saturating_sub(OTHERS) / threads.max(1)).max(1)
}

fn print_address(address: SocketAddr) {
    println!("listening on {address}");
}

/// The settings of HTTP/1.1 connections.
fn config(options: &Options) -> Arc<ServerConfig> {
    let mut http = ServerConfig::new(SystemTime::now);
    // Echoed content may have any length.
    http.rules.limits.body = None;
    if let Some(seconds) = options.header_timeout {
        http.timeouts.first_byte = Some(Duration::from_secs(seconds));
        http.timeouts.head = Some(Duration::from_secs(seconds));
    }
    if let Some(seconds) = options.idle_timeout {
        http.timeouts.idle = Some(Duration::from_secs(seconds));
    }
    Arc::new(http)
}

fn shared() -> io::Result<Arc<Shared>> {
    let text = FieldBlock::new("Content-Type: text/plain\r\n").map_err(io::Error::other)?;
    Ok(Arc::new(Shared {
        ws: Arc::default(),
        text,
    }))
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The state that all connections share.
struct Shared {
    ws: Arc<proto_ws::Config>,
    /// The fields of the greeting, checked once.
    text: FieldBlock<'static>,
}

/// The resources.
struct Testbed {
    shared: Arc<Shared>,
    /// The client's address and port, in 20 bytes instead of the 32 of a `SocketAddr`.
    remote: Option<(Ipv6Addr, u16)>,
    /// Whether the content of the current request is echoed.
    echoing: bool,
    /// The protocol after an upgrade.
    next: Option<Box<proto_ws::Server<Echo>>>,
}

/// Rarely used methods are separate, so that the compiler inlines `request`, whose `GET /` is measured.
impl Testbed {
    #[inline(never)]
    fn start_echo(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let length = match request.body() {
            proto_http::BodyLength::Length(length) => Some(length),
            _ => None,
        };
        self.echoing = true;
        match request.fields().get("content-type") {
            Some(kind) => responder.start(200, &[("Content-Type", kind)], length),
            None => responder.start(200, &(), length),
        }
    }

    /// Returns the client's address. Its fields are an array: with the block that `GET /` uses, the compiler would see two callers of one
    /// function, and would not inline the measured one.
    #[inline(never)]
    fn whoami(&self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let remote = self.remote.map_or_else(
            || "unknown".into(),
            |(ip, port)| SocketAddr::from((ip.to_canonical(), port)).to_string(),
        );
        responder.send(200, &[("Content-Type", "text/plain")], remote.as_bytes())
    }

    /// Upgrades to WebSocket; with permessage-deflate if the resource has it and the client offers it.
    #[inline(never)]
    fn upgrade(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        let handshake = fields.iter().map(|field| (field.name, field.value));
        match Handshake::read(request.method(), handshake) {
            Ok(handshake) => {
                let config = Arc::clone(&self.shared.ws);
                let mut accepted = handshake.accept();
                if request.path() == DEFLATE {
                    accepted = accepted.deflate(&config.deflate);
                }
                let fields: Vec<_> = accepted.fields().collect();
                let connection = proto_ws::Connection::server(config).accepted(&accepted);
                responder.upgrade(&fields.as_slice())?;
                self.next = Some(Box::new(proto_ws::Server::with(connection, Echo)));
                Ok(())
            }
            Err(rejection) => responder.send(rejection.status(), &rejection.fields(), b""),
        }
    }
}

impl Handler for Testbed {
    type Message = Infallible;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match (request.path(), request.method()) {
            ("/" | ITEMS, "GET" | "HEAD") => responder.send(200, &self.shared.text, b"Hello, World!"),
            ("/echo", "POST") => self.start_echo(request, responder),
            ("/whoami", "GET" | "HEAD") => self.whoami(responder),
            ("/204", "GET" | "HEAD") => responder.send(204, &(), b""),
            ("/304", "GET" | "HEAD") => responder.send(304, &(), b""),
            ("/ws" | DEFLATE, "GET") => self.upgrade(request, responder),
            ("/" | ITEMS | "/whoami" | "/204" | "/304", _) => responder.send(405, &[("Allow", "GET, HEAD")], b""),
            ("/echo", _) => responder.send(405, &[("Allow", "POST")], b""),
            ("/ws" | DEFLATE, _) => responder.send(405, &[("Allow", "GET")], b""),
            _ => responder.send(404, &(), b""),
        }
    }

    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if self.echoing { responder.write(data) } else { Ok(()) }
    }

    fn end(&mut self, _: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if std::mem::take(&mut self.echoing) {
            responder.finish()
        } else {
            Ok(())
        }
    }

    fn switched(&mut self) -> Option<Self::Next> {
        self.next.take().map(|next| *next)
    }
}

/// Echoes every WebSocket message.
struct Echo;

impl proto_ws::Handler for Echo {
    type Message = Infallible;

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_>) -> Result<(), proto_ws::Misuse> {
        socket.message(message)?;
        Ok(())
    }
}
