#![doc = include_str!("../README.md")]

/// The front page of the project, whose program must compile.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../../README.md")]
struct FrontPage;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Parser;
use drivers::{Driver, Running, Server};
use processes::Signals;
use proto_h2::{Auto, StreamMessage};
use proto_http::Handler;
use proto_tls::{Acceptor, Files, Session};
use protocol::{Limits, Peer, Protocol};

/// The flags of every example that serves.
#[derive(Debug, Parser)]
pub struct Options {
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    pub driver: Driver,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The number of threads that serve.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Serve over TLS with this certificate in PEM, followed by its issuers.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// Serves the protocols that `factory` makes, over TLS if the flags ask for it, until SIGINT or SIGTERM.
///
/// # Errors
///
/// If the address cannot be bound, the certificate cannot be used, or a thread fails.
pub fn serve<P, F>(factory: F) -> io::Result<()>
where
    P: Protocol + Send + 'static,
    P::Message: Send + 'static,
    F: Fn(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
{
    serve_with(Limits::default(), factory)
}

/// Like [`serve`], with `limits`.
///
/// # Errors
///
/// See [`serve`].
pub fn serve_with<P, F>(limits: Limits, factory: F) -> io::Result<()>
where
    P: Protocol + Send + 'static,
    P::Message: Send + 'static,
    F: Fn(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
{
    serve_options(Options::parse(), limits, &["http/1.1"], move |peer, _| factory(peer))
}

/// The same with flags that the program has read itself, and protocols that may know which of `alpn` was agreed on (RFC 7301).
///
/// # Errors
///
/// As [`serve`].
pub fn serve_options<P, F>(options: Options, limits: Limits, alpn: &[&str], factory: F) -> io::Result<()>
where
    P: Protocol + Send + 'static,
    P::Message: Send + 'static,
    F: Fn(&Peer<'_, P::Message>, Option<&[u8]>) -> Option<P> + Clone + Send + 'static,
{
    // Before threads start, and before a reader of the printed address may send a signal.
    let signals = Signals::catch()?;
    let server = Server::on(options.driver).threads(options.threads).limits(limits);
    let Some(pair) = options.tls_cert.zip(options.tls_key) else {
        return until(signals, server.serve(options.listen, move |peer| factory(peer, None))?);
    };
    let files = Files {
        pairs: vec![pair],
        client_ca: None,
    };
    let provider = proto_tls::provider().map_err(io::Error::other)?;
    let mut config = files.load(provider).map_err(io::Error::other)?;
    config.alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = Acceptor::new(config).map_err(io::Error::other)?;
    let factory =
        acceptor.accept(move |peer: &Peer<'_, P::Message>, session: Session<'_>| factory(peer, session.alpn()));
    until(signals, server.serve(options.listen, factory)?)
}

/// Serves HTTP/1.1 and HTTP/2, with the handlers that `handlers` makes: one for each connection of HTTP/1.1, one for each stream of HTTP/2.
///
/// # Errors
///
/// As [`serve`].
pub fn serve_http<H, F>(options: Options, handlers: F) -> io::Result<()>
where
    H: Handler<Next: Send> + Send + 'static,
    H::Message: Send + 'static,
    F: Fn(&Peer<'_, H::Message>) -> Option<H> + Clone + Send + 'static,
{
    let one = Arc::new(proto_http::ServerConfig::new(SystemTime::now));
    let two = Arc::new(proto_h2::ServerConfig::new(SystemTime::now));
    let connection = move |peer: &Peer<'_, StreamMessage<H::Message>>, alpn: Option<&[u8]>| {
        let (one, two, handlers) = (Arc::clone(&one), Arc::clone(&two), handlers.clone());
        match alpn {
            // Without TLS the first bytes tell.
            None => Some(Auto::new(one, two, handlers, peer)),
            alpn => Auto::negotiated(alpn, one, two, handlers, peer),
        }
    };
    serve_options(options, Limits::default(), &["h2", "http/1.1"], connection)
}

/// A datagram socket on a port of the system's choice, to talk with `peer`.
///
/// # Errors
///
/// Those of the system.
pub fn datagrams_to(peer: SocketAddr) -> io::Result<UdpSocket> {
    if peer.is_ipv4() {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
    }
}

/// Prints the address, waits for a signal or for the end, and drains.
///
/// # Errors
///
/// If a thread fails.
pub fn until<P>(signals: Signals, running: Running<P>) -> io::Result<()>
where
    P: Protocol + 'static,
    P::Message: Send,
{
    if let Some(address) = running.local_addr() {
        println!("listening on {address}");
    }
    signals.then_stop(running, Duration::from_secs(5)).map(drop)
}
