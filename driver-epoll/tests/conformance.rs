//! The contract's conformance suite, over real sockets.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::time::Duration;

use driver_epoll::{Limits, Running, Server};
use protocol::testing::conformance::{Driver, Served, SocketWire, Wire, run};
use protocol::{Peer, Protocol};

struct Epoll {
    threads: usize,
}

struct Serving<P: Protocol> {
    running: Running<P>,
}

impl Driver for Epoll {
    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let server = Server::new().threads(self.threads).limits(limits);
        let running = server.serve("127.0.0.1:0", factory).unwrap();
        Box::new(Serving { running })
    }

    fn connect_to_nobody<P, F>(&self, make: F)
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        // Bound and dropped: a port where nobody listens.
        let nobody: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        Server::new().connect(nobody, make).unwrap();
    }
}

impl<P> Served for Serving<P>
where
    P: Protocol + 'static,
    P::Message: Send + 'static,
{
    fn connect(&self) -> Box<dyn Wire> {
        Box::new(SocketWire::connect(self.running.local_addr().unwrap()))
    }

    fn stop(&self) {
        self.running.handle().stop(Duration::from_secs(30));
    }
}

impl<P: Protocol> Drop for Serving<P> {
    fn drop(&mut self) {
        self.running.handle().stop(Duration::ZERO);
    }
}

#[test]
fn one_loop_conforms() {
    run(&Epoll { threads: 1 });
}

#[test]
fn two_loops_conform() {
    run(&Epoll { threads: 2 });
}
