//! What a driver gives to be started by a [`Server`](crate::Server).

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Peer, Protocol};

use crate::{Config, Connect, Socket, Stats, Threads};

/// Makes the protocol of a connection that this side opens.
pub type Make<P> = Box<dyn FnOnce(&Peer<'_, <P as Protocol>::Message>) -> P + Send>;

/// A driver, as [`Server`](crate::Server) starts its threads.
///
/// Whoever writes a driver with threads implements this and [`Worker`], and names three types: `Server<B>`,
/// [`Running<P, B>`](crate::Running) and [`Handle<P, B>`](crate::Handle).
pub trait Backend: Clone + fmt::Debug {
    /// One thread of this driver, seen from other threads.
    type Worker<P: Protocol>: Worker<P>;

    /// The name of the driver, which its threads get.
    fn name(&self) -> &'static str;

    /// Starts one thread, by [`Threads::start`], that does `work` and ends when it is stopped and its connections have
    /// ended, or when it accepts nowhere and its connections have ended.
    ///
    /// # Errors
    ///
    /// When the thread, or what it waits with, cannot be made.
    fn start<P, F>(&self, threads: &mut Threads, config: Config, work: Work<P, F>) -> io::Result<Arc<Self::Worker<P>>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static;
}

/// What a thread is started for.
pub enum Work<P: Protocol, F> {
    /// To accept from each of the sockets, which listen.
    Accept {
        /// The sockets.
        sockets: Vec<Socket>,
        /// Makes the protocol of an accepted connection, or refuses it.
        factory: F,
    },
    /// To open one connection. The command is to be taken before the thread looks whether anything is left to do.
    Open(Command<P>),
}

/// What other threads ask of a thread of a driver.
pub enum Command<P: Protocol> {
    /// To open a connection.
    Connect(Connect, Make<P>),
    /// To run a protocol on a stream socket that is connected already.
    #[cfg(unix)]
    Adopt(std::os::fd::OwnedFd, Make<P>),
    /// To stop: no longer to accept, to ask every protocol to stop, and to reset what is left after this time.
    Stop(Duration),
}

/// One thread of a driver, seen from other threads.
pub trait Worker<P: Protocol> {
    /// Queues a command. False when the thread has ended, or far too many commands wait. [`Command::Stop`] is never too
    /// many.
    fn command(&self, command: Command<P>) -> bool;

    /// What the thread has counted.
    fn stats(&self) -> Stats;
}

impl<P: Protocol, F> fmt::Debug for Work<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Accept { sockets, .. } => f
                .debug_struct("Accept")
                .field("sockets", sockets)
                .finish_non_exhaustive(),
            Work::Open(command) => f.debug_tuple("Open").field(command).finish(),
        }
    }
}

impl<P: Protocol> fmt::Debug for Command<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Connect(to, _) => f.debug_tuple("Connect").field(to).finish_non_exhaustive(),
            #[cfg(unix)]
            Command::Adopt(socket, _) => f.debug_tuple("Adopt").field(socket).finish_non_exhaustive(),
            Command::Stop(drain) => f.debug_tuple("Stop").field(drain).finish(),
        }
    }
}
