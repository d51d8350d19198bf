//! The contract's conformance suite, over real sockets, on every driver.

#[path = "../../proto-proxy/tests/behind/mod.rs"]
mod behind;
#[path = "../../proto-tls/tests/over/mod.rs"]
mod over;
#[path = "../../proto-h2/tests/over/mod.rs"]
mod streams;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use behind::ProxyLayer;
use drivers::{Driver, Running, Server};
use over::TlsLayer;
use protocol::testing::conformance::{self, IdentityLayer, Layer, Layered, Served, SocketWire, TracerLayer, Wire};
use protocol::{Limits, Peer, Protocol};
use streams::StreamLayer;

struct Subject {
    driver: Driver,
    threads: usize,
}

struct Serving<P: Protocol> {
    running: Running<P>,
}

impl conformance::Driver for Subject {
    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let server = Server::on(self.driver).threads(self.threads).limits(limits);
        let running = server.serve("127.0.0.1:0", factory).unwrap();
        Box::new(Serving { running })
    }

    fn connect_to_nobody<P, F>(&self, make: F)
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        // The listener is dropped at once, so nothing listens on its port.
        let nobody: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Server::on(self.driver).connect(nobody, make).unwrap();
    }
}

impl<P> Served for Serving<P>
where
    P: Protocol + 'static,
    P::Message: Send + 'static,
{
    fn connect(&self) -> Option<Box<dyn Wire>> {
        Some(Box::new(SocketWire::connect(self.running.local_addr()?)?))
    }

    fn stop(&self, drain: Duration) {
        self.running.handle().stop(drain);
    }
}

impl<P: Protocol> Drop for Serving<P> {
    fn drop(&mut self) {
        self.running.handle().stop(Duration::ZERO);
    }
}

fn conforms(driver: Driver) {
    for threads in [1, 2] {
        conformance::run(&Subject { driver, threads });
    }
}

fn with(driver: Driver, layer: impl Layer) {
    let driver = Subject { driver, threads: 1 };
    conformance::run(&Layered { driver, layer });
}

fn conforms_layered(driver: Driver) {
    with(driver, IdentityLayer);
    with(driver, TracerLayer::new());
    with(driver, ProxyLayer::new());
}

fn conforms_over_tls(driver: Driver) {
    with(driver, TlsLayer::new(&rustls::version::TLS13));
    with(driver, TlsLayer::new(&rustls::version::TLS12));
}

#[test]
#[cfg(target_os = "linux")]
fn epoll_conforms() {
    conforms(Driver::Epoll);
}

#[test]
fn tokio_conforms() {
    conforms(Driver::Tokio);
}

#[test]
#[cfg(target_os = "linux")]
fn epoll_conforms_through_layers() {
    conforms_layered(Driver::Epoll);
}

#[test]
fn tokio_conforms_through_layers() {
    conforms_layered(Driver::Tokio);
}

#[test]
#[cfg(target_os = "linux")]
fn epoll_conforms_over_tls() {
    conforms_over_tls(Driver::Epoll);
}

#[test]
fn tokio_conforms_over_tls() {
    conforms_over_tls(Driver::Tokio);
}

#[test]
#[cfg(target_os = "linux")]
fn epoll_conforms_in_streams_of_http_2() {
    with(Driver::Epoll, StreamLayer);
}

#[test]
fn tokio_conforms_in_streams_of_http_2() {
    with(Driver::Tokio, StreamLayer);
}
