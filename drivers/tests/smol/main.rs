//! An example driver on smol, a runtime without a driver in this project, and the whole conformance suite for it.

#[path = "../common/alone.rs"]
#[macro_use]
mod alone;
#[path = "../../../proto-proxy/tests/behind/mod.rs"]
mod behind;
mod driver;
#[path = "../../../proto-tls/tests/over/mod.rs"]
mod over;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use behind::ProxyLayer;
use driver_common::Config;
use driver_common::tasks::{Group, open};
use over::TlsLayer;
use protocol::testing::conformance::{
    self, Driver, IdentityLayer, Layer, Layered, Served, SocketWire, TracerLayer, Wire,
};
use protocol::{Limits, Peer, Protocol};

struct Smol;

/// A server on its own thread.
struct Serving {
    group: Arc<Group>,
    stop: Arc<Mutex<Option<Duration>>>,
    address: SocketAddr,
}

fn group(limits: Limits) -> Arc<Group> {
    let mut config = Config::default();
    config.limits = limits;
    Group::new(config)
}

impl Driver for Smol {
    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let serving = Serving {
            group: group(limits),
            stop: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let (group, stop) = (Arc::clone(&serving.group), Arc::clone(&serving.stop));
        std::thread::spawn(move || driver::serve(&group, &stop, listener, factory));
        Box::new(serving)
    }

    fn connect_to_nobody<P, F>(&self, make: F)
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        // The listener is dropped at once, so nothing listens on its port.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let stream = smol::block_on(smol::Async::<TcpStream>::connect(nobody));
        let outcome = stream.as_ref().map(drop).map_err(std::io::Error::kind);
        let opened = open(&group(Limits::default()), outcome, Some(nobody), &|| None, make);
        if let (Ok(task), Ok(stream)) = (opened, stream) {
            smol::block_on(driver::connection(task, stream));
        }
    }
}

impl Served for Serving {
    fn connect(&self) -> Option<Box<dyn Wire>> {
        Some(Box::new(SocketWire::connect(self.address)?))
    }

    fn stop(&self, drain: Duration) {
        *self.stop.lock().unwrap() = Some(drain);
        self.group.wake();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

fn with(layer: impl Layer) {
    conformance::run(&Layered { driver: Smol, layer });
}

suites! {
    smol_conforms: conformance::run(&Smol);
    smol_conforms_through_a_layer: with(IdentityLayer);
    smol_conforms_through_a_tracer: with(TracerLayer::new());
    smol_conforms_behind_a_proxy: with(ProxyLayer::new());
    smol_conforms_over_tls: with(TlsLayer::new(&rustls::version::TLS13));
}
