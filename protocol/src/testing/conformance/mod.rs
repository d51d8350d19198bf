//! The numbered rules of the contract, checked on any driver.
//!
//! A driver's tests implement [`Driver`] and call [`run`]; for a driver over TCP, [`SocketWire`] is the peer's end. The same checks run on
//! the [`Harness`](super::Harness), through [`InMemory`], and on the [`Sim`](super::Sim), through [`Simulated`], without the checks that
//! need a real driver (threads, descriptors, a listener). [`Layered`] runs the suite with a layer around every protocol.
//!
//! "Rule 5" is a rule of the contract, listed on the front page of this crate; "driver rule 5" is a rule of docs/writing-a-driver.md. Each
//! rule has a check that fails if a driver breaks it.
//!
//! Run the suite in a test program of its own: one check briefly takes every file descriptor of the process, and others look for threads
//! that are never idle.
//!
//! Every check also passes the calls that its protocol received to [`Trace::check`], which checks the rules for any exchange: the order of
//! calls, no call after the end, no input while paused or congested, a clock that never runs backwards.

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

/// Starts the driver under test.
pub trait Driver {
    /// Whether the driver runs in memory, with its own clock: without threads, descriptors, and protection against panics.
    const IN_MEMORY: bool = false;

    /// Starts a server with `limits`, whose protocols `factory` makes.
    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static;

    /// Starts a client that connects to an address where nobody listens.
    fn connect_to_nobody<P, F>(&self, make: F)
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static;
}

/// A running server. Dropping it stops the server at once, without waiting for the end.
pub trait Served {
    /// Opens a new connection and returns the peer's end; `None` if nobody listens.
    fn connect(&self) -> Option<Box<dyn Wire>>;

    /// Asks the driver to stop, and to reset connections that have not ended after `drain`. Returns without waiting.
    fn stop(&self, drain: Duration);
}

/// The peer's end of a connection.
pub trait Wire {
    /// Sends bytes in one piece.
    fn send(&mut self, bytes: &[u8]);

    /// Waits at most `patience` for the next event.
    fn receive(&mut self, patience: Duration) -> Received;

    /// Half-closes.
    fn shutdown(&mut self);

    /// Closes with a reset. The checks do so only after the driver has sent something that was not received.
    fn reset(self: Box<Self>);

    /// Lets time pass.
    fn pass(&mut self, time: Duration);
}

/// An event at the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Some bytes.
    Bytes(Vec<u8>),
    /// The orderly end of the stream.
    Eof,
    /// A reset.
    Reset,
    /// Nothing, for as long as the peer waited.
    Nothing,
}
