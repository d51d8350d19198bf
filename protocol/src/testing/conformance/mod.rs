//! The numbered rules of the contract, checked on any driver.
//!
//! A driver's tests implement [`Driver`] and call [`run`]; for one over TCP, [`SocketWire`] is the peer's end. The same
//! checks run on the [`Harness`](super::Harness), through [`InMemory`], and on the [`Sim`](super::Sim), through [`Simulated`].
//!
//! Every check also feeds what its protocol saw to [`Trace::check`], which knows the rules that hold for any exchange:
//! the order of calls, no call after the end, no input while paused or congested, a clock that never runs backwards.

#![expect(
    clippy::disallowed_methods,
    reason = "tests of drivers in real time; no protocol code"
)]

mod checks;
mod memory;
mod probe;
mod simulated;
mod socket;

use std::time::Duration;

use crate::{Limits, Peer, Protocol};

pub use checks::{CHECKS, run};
pub use memory::InMemory;
pub use probe::{Call, Event, Trace};
pub use simulated::Simulated;
pub use socket::SocketWire;

/// A way to start the driver under test.
pub trait Driver {
    /// Starts serving, with `limits`, protocols made by `factory`.
    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static;

    /// Starts a client that connects to where nobody listens.
    fn connect_to_nobody<P, F>(&self, make: F)
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static;
}

/// A server that runs.
pub trait Served {
    /// A new connection, seen from the peer.
    fn connect(&self) -> Box<dyn Wire>;

    /// Asks the driver to stop, with a long drain deadline, and returns without waiting.
    fn stop(&self);
}

/// The peer's end of a connection.
pub trait Wire {
    /// Sends bytes in one piece.
    fn send(&mut self, bytes: &[u8]);

    /// Waits for what comes next, at most so long.
    fn receive(&mut self, patience: Duration) -> Received;

    /// Half-closes.
    fn shutdown(&mut self);

    /// Closes with a reset.
    fn reset(self: Box<Self>);

    /// Lets time pass.
    fn pass(&mut self, time: Duration);
}

/// What a peer saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Some bytes.
    Bytes(Vec<u8>),
    /// The orderly end of the stream.
    Eof,
    /// A reset.
    Reset,
    /// Nothing, for as long as it had patience.
    Nothing,
}
