//! The contract's conformance suite, over real sockets, on every driver.

#[path = "common/alone.rs"]
#[macro_use]
mod alone;
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

fn on(driver: Driver, threads: usize) {
    conformance::run(&Subject { driver, threads });
}

fn with(driver: Driver, layer: impl Layer) {
    let driver = Subject { driver, threads: 1 };
    conformance::run(&Layered { driver, layer });
}

suites! {
    tokio_conforms: on(Driver::Tokio, 1);
    tokio_conforms_on_two_threads: on(Driver::Tokio, 2);
    tokio_conforms_through_a_layer: with(Driver::Tokio, IdentityLayer);
    tokio_conforms_through_a_tracer: with(Driver::Tokio, TracerLayer::new());
    tokio_conforms_behind_a_proxy: with(Driver::Tokio, ProxyLayer::new());
    tokio_conforms_over_tls_1_3: with(Driver::Tokio, TlsLayer::new(&rustls::version::TLS13));
    tokio_conforms_over_tls_1_2: with(Driver::Tokio, TlsLayer::new(&rustls::version::TLS12));
    tokio_conforms_in_streams_of_http_2: with(Driver::Tokio, StreamLayer);
    #[cfg(target_os = "linux")]
    epoll_conforms: on(Driver::Epoll, 1);
    #[cfg(target_os = "linux")]
    epoll_conforms_on_two_threads: on(Driver::Epoll, 2);
    #[cfg(target_os = "linux")]
    epoll_conforms_through_a_layer: with(Driver::Epoll, IdentityLayer);
    #[cfg(target_os = "linux")]
    epoll_conforms_through_a_tracer: with(Driver::Epoll, TracerLayer::new());
    #[cfg(target_os = "linux")]
    epoll_conforms_behind_a_proxy: with(Driver::Epoll, ProxyLayer::new());
    #[cfg(target_os = "linux")]
    epoll_conforms_over_tls_1_3: with(Driver::Epoll, TlsLayer::new(&rustls::version::TLS13));
    #[cfg(target_os = "linux")]
    epoll_conforms_over_tls_1_2: with(Driver::Epoll, TlsLayer::new(&rustls::version::TLS12));
    #[cfg(target_os = "linux")]
    epoll_conforms_in_streams_of_http_2: with(Driver::Epoll, StreamLayer);
}
