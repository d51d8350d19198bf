//! TLS over sockets, on every driver: many clients that reconnect, much data, and both roles on one driver.

#[macro_use]
mod common;
#[path = "../../proto-tls/tests/over/certificates.rs"]
mod certificates;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use certificates::Authority;
use drivers::{Driver, Running, Server};
use proto_tls::{Acceptor, ClientConfig, Connector, Factory, ServerConfig, Session, Tls, provider};
use protocol::{Cx, Input, Peer, Protocol, Reason};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, StreamOwned};

struct Echo;

impl Protocol for Echo {
    type Message = Infallible;
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        cx.send(input.take_all());
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Echoes;

impl Factory<Echo> for Echoes {
    fn make(&self, _: &Peer<'_, Infallible>, _: Session<'_>) -> Option<Echo> {
        Some(Echo)
    }
}

/// An echo server, and the authority that issued its certificate.
fn serve(driver: Driver) -> (Running<Tls<Echo, Echoes>>, Acceptor, Authority) {
    let authority = Authority::new("the authority");
    let config = ServerConfig::new(provider().unwrap(), [authority.identity(&["localhost"])]);
    let acceptor = Acceptor::new(config).unwrap();
    let server = Server::on(driver).threads(2);
    let running = server.serve("127.0.0.1:0", acceptor.accept(Echoes)).unwrap();
    (running, acceptor, authority)
}

fn client_config(authority: &Authority) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(provider().unwrap());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn connect(to: SocketAddr, config: &Arc<rustls::ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    StreamOwned::new(client, stream)
}

/// 256 connections at once, each opened five times by rustls clients.
fn reconnect(driver: Driver) {
    let (server, acceptor, authority) = serve(driver);
    let (to, config) = (server.local_addr().unwrap(), client_config(&authority));
    for time in 0..5_usize {
        let mut open: Vec<_> = (0..256).map(|_| connect(to, &config)).collect();
        for (n, stream) in open.iter_mut().enumerate() {
            stream.write_all(&(time * 256 + n).to_be_bytes()).unwrap();
        }
        for (n, stream) in open.iter_mut().enumerate() {
            let mut back = [0; 8];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, (time * 256 + n).to_be_bytes());
            stream.conn.send_close_notify();
            // The server answers with close_notify, which ends the stream.
            assert_eq!(stream.read(&mut back).unwrap(), 0);
        }
    }
    let stats = acceptor.stats();
    assert_eq!((stats.handshakes, stats.failed(), stats.broken), (5 * 256, 0, 0));
    // A client of rustls keeps eight tickets of a server, and uses each once.
    assert_eq!(stats.resumed, 4 * 8);
    server.stop(Duration::from_secs(5)).unwrap();
}

/// Bytes 0 to 255, `total` of them, sent back and compared.
fn echo(driver: Driver, total: usize) {
    const PIECE: usize = 1 << 18;
    let (server, acceptor, authority) = serve(driver);
    let mut stream = connect(server.local_addr().unwrap(), &client_config(&authority));
    let expected: Vec<u8> = (0..PIECE).map(|i| i as u8).collect();
    let mut piece = vec![0; PIECE];
    for n in 0..total / PIECE {
        stream.write_all(&expected).unwrap();
        stream.read_exact(&mut piece).unwrap();
        assert!(piece == expected, "piece {n} differs");
    }
    stream.conn.send_close_notify();
    assert_eq!(
        stream.read(&mut piece).unwrap(),
        0,
        "more bytes came back than were sent"
    );
    assert_eq!(acceptor.stats().broken, 0);
    server.stop(Duration::from_secs(5)).unwrap();
}

fn echo_some(driver: Driver) {
    echo(driver, 8 << 20);
}

#[test]
#[ignore = "takes minutes where nothing is optimized: ci runs it"]
fn a_gibibyte_is_echoed() {
    for driver in Driver::ALL {
        echo(*driver, 1 << 30);
    }
}

/// Clients and servers on the same driver.
fn both_roles(driver: Driver) {
    struct Asker {
        done: Arc<AtomicUsize>,
        back: usize,
    }
    const WORDS: usize = 100_000;
    impl Protocol for Asker {
        type Message = Infallible;
        type Error = Infallible;

        fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
            cx.send(&[b'a'; WORDS]);
            Ok(())
        }

        fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
            self.back += input.take_all().len();
            if self.back == WORDS {
                cx.close();
            }
            Ok(())
        }

        fn closed(&mut self, reason: Reason) {
            assert_eq!((reason, self.back), (Reason::Closed, WORDS));
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (server, acceptor, authority) = serve(driver);
    let to = server.local_addr().unwrap();
    let connector = Connector::new(ClientConfig::new(provider().unwrap(), authority.roots())).unwrap();
    let done: Arc<AtomicUsize> = Arc::default();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let asker = Asker {
                done: Arc::clone(&done),
                back: 0,
            };
            let tls = connector.connect("localhost", asker).unwrap();
            Server::on(driver).connect(to, move |_: &Peer<'_, _>| tls).unwrap()
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!((done.load(Ordering::Relaxed), connector.stats().handshakes), (20, 20));
    assert_eq!(acceptor.stats().failed(), 0);
    server.stop(Duration::from_secs(5)).unwrap();
}

/// An honest client is served beside one that is silent in its handshake and one that floods garbage.
fn others_are_served(driver: Driver) {
    let (server, acceptor, authority) = serve(driver);
    let to = server.local_addr().unwrap();
    let silent: Vec<_> = (0..50).map(|_| TcpStream::connect(to).unwrap()).collect();
    let flood = thread::spawn(move || {
        for _ in 0..50 {
            if let Ok(mut stream) = TcpStream::connect(to) {
                // The server may close before everything is written.
                let _ = stream.write_all(&[b'x'; 100_000]);
            }
        }
    });
    let config = client_config(&authority);
    for _ in 0..20 {
        let mut stream = connect(to, &config);
        stream.write_all(b"honest").unwrap();
        let mut back = [0; 6];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"honest");
    }
    flood.join().unwrap();
    common::eventually("garbage is refused", || acceptor.stats().violations == 50);
    assert_eq!(acceptor.stats().handshakes, 20);
    drop(silent);
    server.stop(Duration::from_secs(5)).unwrap();
}

on_every_driver! {
    clients_come_again: reconnect;
    megabytes_are_echoed: echo_some;
    both_roles_on_one_driver: both_roles;
    silence_and_garbage_are_their_own: others_are_served;
}
