//! The whole conformance suite for the example driver on io_uring.

#![cfg(target_os = "linux")]

#[path = "../../../drivers/tests/common/alone.rs"]
#[macro_use]
mod alone;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use driver_common::Config;
use protocol::driver::Connection;
use protocol::testing::conformance::{
    self, Driver, IdentityLayer, Layer, Layered, Served, SocketWire, TracerLayer, Wire,
};
use protocol::{KeptPeer, Limits, Mailbox, Peer, Protocol, Reason, SendError, Sender};
use uring_example::{Handle, Loop};

struct Uring;

/// A server on its own thread.
struct Serving {
    handle: Handle,
    address: SocketAddr,
}

/// The mailbox of a connection that does not exist.
struct Nowhere;

impl<M: Send> Mailbox<M> for Nowhere {
    fn send(&self, _: u64, message: M) -> Result<(), SendError<M>> {
        Err(SendError::Closed(message))
    }
}

impl Driver for Uring {
    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config::default();
        config.limits = limits;
        let (started, starts) = mpsc::channel();
        std::thread::spawn(move || {
            let serving = Loop::new(config, listener, factory).expect("the kernel has io_uring");
            started.send(serving.handle()).unwrap();
            serving.run().unwrap();
        });
        let handle = starts.recv().unwrap();
        Box::new(Serving { handle, address })
    }

    fn connect_to_nobody<P, F>(&self, make: F)
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        // This driver opens no connections; what a failed one is told is the contract's.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failed = TcpStream::connect(nobody).unwrap_err().kind();
        let peer = KeptPeer {
            remote: Some(nobody),
            local: None,
            sender: Sender::new(std::sync::Arc::new(Nowhere) as _, 0),
        };
        Connection::new(make(&Peer::new(&peer))).closed(Reason::Io(failed));
    }
}

impl Served for Serving {
    fn connect(&self) -> Option<Box<dyn Wire>> {
        Some(Box::new(SocketWire::connect(self.address)?))
    }

    fn stop(&self, drain: Duration) {
        self.handle.stop(drain);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// Containers often forbid io_uring.
fn is_permitted() -> bool {
    let permitted = io_uring::IoUring::new(8).is_ok();
    if !permitted {
        eprintln!("SKIPPED: this system has no io_uring, or forbids it");
    }
    permitted
}

fn on(driver: &impl Driver) {
    if is_permitted() {
        conformance::run(driver);
    }
}

fn with(layer: impl Layer) {
    on(&Layered { driver: Uring, layer });
}

suites! {
    uring_conforms: on(&Uring);
    uring_conforms_through_a_layer: with(IdentityLayer);
    uring_conforms_through_a_tracer: with(TracerLayer::new());
}
