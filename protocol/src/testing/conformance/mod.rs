//! The numbered rules of the contract, checked on any driver.
//!
//! A driver's tests implement [`Driver`] and call [`run`]; for one over TCP, [`SocketWire`] is the peer's end. The same
//! checks run on the [`Harness`](super::Harness), through [`InMemory`], and on the [`Sim`](super::Sim), through [`Simulated`];
//! those for what only a driver has (threads, descriptors, a listener) are left out there. [`Layered`] runs the suite with a
//! layer around every protocol.
//!
//! "Rule 5" is a rule of the contract, listed on the front page of this crate; "driver rule 5" is one of
//! docs/writing-a-driver.md. Each has a check that fails when a driver breaks the rule.
//!
//! Give the suite a test program of its own: one check takes every file descriptor of the process for a moment, and
//! others look for threads that are never idle.
//!
//! Every check also feeds what its protocol saw to [`Trace::check`], which knows the rules that hold for any exchange:
//! the order of calls, no call after the end, no input while paused or congested, a clock that never runs backwards.

#![expect(
    clippy::disallowed_methods,
    reason = "tests of drivers in real time; no protocol code"
)]

#[macro_use]
mod report;

mod busy;
mod checks;
mod layered;
mod memory;
mod probe;
mod simulated;
mod socket;

use std::time::Duration;

use crate::{Limits, Peer, Protocol};

pub use checks::run;
pub use layered::{Identity, IdentityLayer, Layer, Layered, TracerLayer};
pub use memory::InMemory;
pub use probe::{Call, Event, Trace};
pub use simulated::Simulated;
pub use socket::SocketWire;

/// A way to start the driver under test.
pub trait Driver {
    /// Whether this is a rig in memory, with a clock of its own: without threads, descriptors and a guard against panics.
    const IN_MEMORY: bool = false;

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

/// A server that runs. Dropping it stops the server at once, which need not be waited for.
pub trait Served {
    /// A new connection, seen from the peer; `None` when nobody listens.
    fn connect(&self) -> Option<Box<dyn Wire>>;

    /// Asks the driver to stop, and to reset what has not ended after `drain`. Returns without waiting.
    fn stop(&self, drain: Duration);
}

/// The peer's end of a connection.
pub trait Wire {
    /// Sends bytes in one piece.
    fn send(&mut self, bytes: &[u8]);

    /// Waits for what comes next, at most so long.
    fn receive(&mut self, patience: Duration) -> Received;

    /// Half-closes.
    fn shutdown(&mut self);

    /// Closes with a reset. The checks do so only when the driver has sent something that was not received.
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
