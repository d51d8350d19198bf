//! The contract's conformance suite inside a multi-threaded runtime. (`drivers` runs the suite with a runtime per thread.)

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use driver_tokio::{Config, Handle, connect, serve_in_runtime};
use protocol::testing::conformance::{self, Driver, IdentityLayer, Layered, Served, SocketWire, Wire};
use protocol::{Limits, Peer, PeerSource, Protocol, Sender};
use tokio::runtime::{Builder, Runtime};

struct ManyThreads {
    runtime: Runtime,
}

struct Serving<P: Protocol> {
    handle: Handle<P>,
    address: SocketAddr,
}

impl Driver for ManyThreads {
    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let _entered = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let mut config = Config::default();
        config.limits = limits;
        let (handle, serving) = serve_in_runtime(config, [listener], factory);
        self.runtime.spawn(serving);
        Box::new(Serving { handle, address })
    }

    fn connect_to_nobody<P, F>(&self, make: F)
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        // The listener is dropped at once, so nothing listens on its port.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let protocol = make(&Peer::new(&Nobody));
        self.runtime.block_on(connect(nobody, protocol, Limits::default()));
    }
}

/// Provides peers for a client that gets no messages.
struct Nobody;

impl<M> PeerSource<M> for Nobody {
    fn remote(&self) -> Option<SocketAddr> {
        None
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }

    fn sender(&self) -> Sender<M> {
        unreachable!("the suite sends clients nothing")
    }
}

impl<P: Protocol> Served for Serving<P> {
    fn connect(&self) -> Option<Box<dyn Wire>> {
        Some(Box::new(SocketWire::connect(self.address)?))
    }

    fn stop(&self, drain: Duration) {
        self.handle.stop(drain);
    }
}

impl<P: Protocol> Drop for Serving<P> {
    fn drop(&mut self) {
        self.handle.stop(Duration::ZERO);
    }
}

fn many_threads() -> ManyThreads {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    ManyThreads { runtime }
}

#[test]
fn many_threads_conform() {
    conformance::run(&many_threads());
}

#[test]
fn many_threads_conform_through_a_layer() {
    conformance::run(&Layered {
        driver: many_threads(),
        layer: IdentityLayer,
    });
}
