//! The interface of a driver that a [`Server`](crate::Server) can start.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Peer, Protocol};

use crate::{Config, Connect, Socket, Stats, Threads};

/// Makes the protocol of a connection that this side opens.
pub type Make<P> = Box<dyn FnOnce(&Peer<'_, <P as Protocol>::Message>) -> P + Send>;

/// A driver with threads, as [`Server`](crate::Server) starts them.
///
/// An author of such a driver implements this trait and [`Worker`], and names three types: `Server<B>`, [`Running<P,
/// B>`](crate::Running) and [`Handle<P, B>`](crate::Handle).
pub trait Backend: Clone + fmt::Debug {
    /// One thread of this driver, as other threads see it.
    type Worker<P: Protocol>: Worker<P>;

    /// The name of the driver; its threads get this name.
    fn name(&self) -> &'static str;

    /// Starts one thread with [`Threads::start`]. The thread does `work`. It ends when it was stopped and its connections
    /// have ended, or when it accepts nowhere and its connections have ended.
    ///
    /// # Errors
    ///
    /// When the thread, or the object that it waits with, cannot be created.
    fn start<P, F>(&self, threads: &mut Threads, config: Config, work: Work<P, F>) -> io::Result<Arc<Self::Worker<P>>>
    where
        P: Protocol + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static;
}

/// The purpose of a new thread.
pub enum Work<P: Protocol, F> {
    /// To accept from each of the sockets, which already listen.
    Accept {
        /// The sockets.
        sockets: Vec<Socket>,
        /// Makes the protocol of an accepted connection, or refuses it.
        factory: F,
    },
    /// To open one connection. The thread must handle the command before it checks whether any work is left.
    Open(Command<P>),
}

/// A command from another thread to a thread of a driver.
pub enum Command<P: Protocol> {
    /// To open a connection.
    Connect(Connect, Make<P>),
    /// To run a protocol on a stream socket that is already connected.
    #[cfg(unix)]
    Adopt(std::os::fd::OwnedFd, Make<P>),
    /// To stop: accept no more, ask every protocol to stop, and reset the connections that are left after this time.
    Stop(Duration),
}

/// One thread of a driver, as other threads see it.
pub trait Worker<P: Protocol> {
    /// Queues a command. Returns false if the thread has ended, or far too many commands wait. [`Command::Stop`] is always
    /// queued.
    fn command(&self, command: Command<P>) -> bool;

    /// The counters of the thread.
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
