//! The interface that tests of whole drivers need: the suites of faults and of abuse are written against [`Host`].

use std::net::SocketAddr;
use std::time::Duration;

use protocol::{Peer, Protocol};

use crate::{Config, Stats};

/// A driver as an operator starts it: on a real port, with every setting. The suites of production faults and of abuse are
/// written against this trait, so that third-party drivers can run them as well; see docs/writing-a-driver.md.
///
/// A method panics if the driver does not start; the test has then failed.
pub trait Host {
    /// Serves the protocols that `factory` makes, in the background, on a free port of 127.0.0.1, with `threads` threads if
    /// the driver supports several.
    fn serve<P, F>(&self, config: Config, threads: usize, factory: F) -> Box<dyn Hosted>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static;

    /// Opens one connection to `to`, in the background; the driver ends when the connection has ended.
    fn connect<P, F>(&self, config: Config, to: SocketAddr, make: F) -> Box<dyn Hosted>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static;
}

/// A running driver. The counters are those of [`SharedStats`](crate::SharedStats).
pub trait Hosted: Send {
    /// The address it listens on; `None` for a client.
    fn address(&self) -> Option<SocketAddr>;

    /// The counters so far.
    fn stats(&self) -> Stats;

    /// Stops accepting, asks every protocol to stop, resets the connections left after `drain`, waits for the end, and
    /// returns the final counters.
    fn stop(self: Box<Self>, drain: Duration) -> Stats;

    /// Waits for the end without asking for it, and returns the final counters.
    fn join(self: Box<Self>) -> Stats;
}
