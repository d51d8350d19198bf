//! Answers what HttpArena asks (its documentation of April 2026): sums, JSON, uploads, files and WebSocket echoes over HTTP/1.1, the same
//! over TLS, and HTTP/2 in the clear and over TLS. `benches/arena` has its image.

mod json;
mod site;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Parser;
use drivers::{Driver, Running, Server};
use processes::Signals;
use proto_h2::{Auto, StreamMessage};
use proto_tls::{Acceptor, Files, Session};
use protocol::{Limits, Peer, Protocol};
use site::{Shared, Site};

/// Answers the profiles of HttpArena.
#[derive(Parser)]
struct Options {
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
    /// Where to listen for HTTP/1.1.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where to listen for HTTP/1.1 over TLS.
    #[arg(long, value_name = "ADDRESS", requires = "tls_cert")]
    listen_tls: Option<SocketAddr>,
    /// Where to listen for HTTP/2 over TLS. Clients that agree on HTTP/1.1 get it.
    #[arg(long, value_name = "ADDRESS", requires = "tls_cert")]
    listen_h2: Option<SocketAddr>,
    /// Where to listen for HTTP/2 in the clear; HTTP/1.1 is refused there.
    #[arg(long, value_name = "ADDRESS")]
    listen_h2c: Option<SocketAddr>,
    /// The number of threads for each address.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// A directory with `dataset.json`, and the files of `/static/` in `static`.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The certificate in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// The largest upload is 20 MB.
const LARGEST: u64 = 25 << 20;
/// The time that connections have to end after a signal.
const DRAIN: Duration = Duration::from_secs(5);

/// Servers beside the first, each as the function that stops it.
type Others = Vec<Box<dyn FnOnce() -> io::Result<()>>>;

fn main() -> io::Result<()> {
    let options = Options::parse();
    let signals = Signals::catch()?;
    let shared = Shared::load(&options.data)?;
    let mut one = proto_http::ServerConfig::new(SystemTime::now);
    one.rules.limits.body = Some(LARGEST);
    let (one, two) = (Arc::new(one), Arc::new(proto_h2::ServerConfig::new(SystemTime::now)));
    let server = || {
        Server::on(options.driver)
            .threads(options.threads)
            .limits(Limits::default())
    };
    let handlers = move |_: &Peer<'_, Infallible>| Some(Site::new(Arc::clone(&shared)));
    let plain = {
        let (one, handlers) = (Arc::clone(&one), handlers.clone());
        move |peer: &Peer<'_, Infallible>| Some(proto_http::Server::switching(Arc::clone(&one), handlers(peer)?))
    };
    let negotiated = {
        let (one, two, handlers) = (one, Arc::clone(&two), handlers.clone());
        move |peer: &Peer<'_, StreamMessage<Infallible>>, alpn: Option<&[u8]>| {
            Auto::negotiated(alpn, Arc::clone(&one), Arc::clone(&two), handlers.clone(), peer)
        }
    };
    let mut others = Others::new();
    if let Some(address) = options.listen_h2c {
        let factory = move |peer: &Peer<'_, StreamMessage<Infallible>>| {
            Some(proto_h2::Server::new(Arc::clone(&two), handlers.clone(), peer))
        };
        others.push(stopper(server().serve(address, factory)?));
    }
    if let Some((certificate, key)) = options.tls_cert.zip(options.tls_key) {
        let acceptor = |alpn: &[&str]| acceptor(&certificate, &key, alpn);
        if let Some(address) = options.listen_tls {
            let plain = plain.clone();
            let factory =
                acceptor(&["http/1.1"])?.accept(move |peer: &Peer<'_, Infallible>, _: Session<'_>| plain(peer));
            others.push(stopper(server().serve(address, factory)?));
        }
        if let Some(address) = options.listen_h2 {
            let factory = acceptor(&["h2", "http/1.1"])?
                .accept(move |peer: &Peer<'_, _>, session: Session<'_>| negotiated(peer, session.alpn()));
            others.push(stopper(server().serve(address, factory)?));
        }
    }
    examples::until(signals, server().serve(options.listen, plain)?)?;
    others.into_iter().try_for_each(|stop| stop())
}

fn stopper<P>(running: Running<P>) -> Box<dyn FnOnce() -> io::Result<()>>
where
    P: Protocol + 'static,
    P::Message: Send,
{
    Box::new(move || running.stop(DRAIN).map(drop))
}

fn acceptor(certificate: &Path, key: &Path, alpn: &[&str]) -> io::Result<Acceptor> {
    let files = Files {
        pairs: vec![(certificate.to_owned(), key.to_owned())],
        client_ca: None,
    };
    let provider = proto_tls::provider().map_err(io::Error::other)?;
    let mut config = files.load(provider).map_err(io::Error::other)?;
    config.alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Acceptor::new(config).map_err(io::Error::other)
}
