//! The driver under a client: it opens connections, and calls the agent when a timer is due.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use driver_common::{Backend, Connect, Handle};
use protocol::{Cx, Either, Input, Protocol, Sender};

use crate::agent::Agent;
use crate::line::{Conn, Guard, Nudge};

/// Opens connections for the agent.
pub(crate) trait Dialer: Send + Sync {
    fn dial(&self, connect: Connect, guard: Guard);
    /// The agent's deadline has become earlier.
    fn wake_clock(&self);
    fn stop(&self);
}

/// The protocols of a client on its driver: the clock, and the connections.
pub type Node = Either<Clock, Conn>;

/// A driver that is already running, or will be.
pub(crate) struct OnDriver<B: Backend> {
    pub(crate) handle: Arc<OnceLock<Handle<Node, B>>>,
    pub(crate) clock: ClockSender,
}

pub(crate) type ClockSender = Arc<Mutex<Option<Sender<Nudge>>>>;

impl<B> Dialer for OnDriver<B>
where
    B: Backend + 'static,
    Handle<Node, B>: Send + Sync,
{
    fn dial(&self, connect: Connect, guard: Guard) {
        if let Some(handle) = self.handle.get() {
            handle.connect(connect, move |peer| Either::Right(Conn::new(guard, peer)));
        }
    }

    fn wake_clock(&self) {
        if let Some(sender) = &*self.clock.lock().unwrap_or_else(PoisonError::into_inner) {
            // If the mailbox is full, the clock has other nudges to read.
            let _ = sender.send(Nudge);
        }
    }

    fn stop(&self) {
        if let Some(handle) = self.handle.get() {
            handle.stop(Duration::ZERO);
        }
    }
}

/// The timers of a client, as a protocol: it has no bytes, only a deadline. It runs on one end of a pair of sockets.
pub struct Clock {
    pub(crate) agent: Arc<Agent>,
    /// Kept open: its close would end the clock.
    #[cfg(unix)]
    #[expect(dead_code, reason = "only kept open")]
    pub(crate) other_end: std::os::unix::net::UnixStream,
}

impl Protocol for Clock {
    type Message = Nudge;
    type Error = Infallible;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.agent.deadline()
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.agent.tick(cx.now());
        Ok(())
    }
}
