//! What a factory learns of a new connection, and how others reach it later.

use core::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A new connection, shown to the factory that makes its protocol.
///
/// Everything but the peer's address is fetched only when asked for: a connection nobody sends messages to pays
/// nothing for the possibility.
pub struct Peer<'a, M> {
    source: &'a dyn PeerSource<M>,
}

/// Where a driver keeps what a [`Peer`] shows.
pub trait PeerSource<M> {
    /// The peer's address; `None` where the transport has none (a Unix socket, memory).
    fn remote(&self) -> Option<SocketAddr>;
    /// The own address; `None` where the transport has none.
    fn local(&self) -> Option<SocketAddr>;
    /// A handle that reaches this connection.
    fn sender(&self) -> Sender<M>;
}

impl<'a, M> Peer<'a, M> {
    /// Shows what `source` holds.
    pub fn new(source: &'a dyn PeerSource<M>) -> Self {
        Peer { source }
    }

    /// The peer's address; `None` where the transport has none (a Unix socket, memory).
    pub fn remote(&self) -> Option<SocketAddr> {
        self.source.remote()
    }

    /// The own address of the connection; `None` where the transport has none. May cost a system call.
    pub fn local(&self) -> Option<SocketAddr> {
        self.source.local()
    }

    /// A handle by which any thread reaches this connection's [`posted`](crate::Protocol::posted).
    pub fn sender(&self) -> Sender<M> {
        self.source.sender()
    }
}

impl<M> Peer<'_, M> {
    /// What is known of the connection, for a layer that makes its protocol later. Fetches all of it: see [`Peer`].
    pub fn keep(&self) -> KeptPeer<M> {
        KeptPeer {
            remote: self.remote(),
            local: self.local(),
            sender: self.sender(),
        }
    }
}

/// What a [`Peer`] has shown, kept beyond the call of a factory, to be shown to another factory by [`Peer::new`]. A layer that
/// knows better, as behind a proxy, changes the addresses first.
pub struct KeptPeer<M> {
    /// The peer's address.
    pub remote: Option<SocketAddr>,
    /// The own address.
    pub local: Option<SocketAddr>,
    /// A handle that reaches the connection.
    pub sender: Sender<M>,
}

impl<M> PeerSource<M> for KeptPeer<M> {
    fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    fn sender(&self) -> Sender<M> {
        self.sender.clone()
    }
}

impl<M> fmt::Debug for KeptPeer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptPeer")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for Peer<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("remote", &self.remote())
            .finish_non_exhaustive()
    }
}

/// Takes messages for connections. Implemented by drivers; users hold a [`Sender`].
pub trait Mailbox<M>: Send + Sync {
    /// Queues `message` for the connection that `token` names.
    ///
    /// # Errors
    ///
    /// Gives the message back when the queue is full or the connection is known to be gone.
    fn send(&self, token: u64, message: M) -> Result<(), SendError<M>>;
}

/// Reaches one connection from any thread: what is sent arrives in its [`posted`](crate::Protocol::posted).
///
/// Queues are bounded: when one is full the message comes back and the caller decides (drop it, retry later, close).
/// Messages from one sender arrive in order. Those still queued when the connection closes are dropped.
pub struct Sender<M> {
    mailbox: Arc<dyn Mailbox<M>>,
    token: u64,
}

impl<M> Sender<M> {
    /// A handle for the connection that `mailbox` knows as `token`.
    pub fn new(mailbox: Arc<dyn Mailbox<M>>, token: u64) -> Self {
        Sender { mailbox, token }
    }

    /// Queues `message`. Never blocks.
    ///
    /// # Errors
    ///
    /// Gives the message back when the queue is full or the connection is known to be gone. `Ok` promises a place in
    /// the queue: the connection may still close before it comes to it.
    pub fn send(&self, message: M) -> Result<(), SendError<M>> {
        self.mailbox.send(self.token, message)
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Sender {
            mailbox: Arc::clone(&self.mailbox),
            token: self.token,
        }
    }
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Why a message was not queued, with the message.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<M> {
    /// The queue is full.
    Full(M),
    /// The connection, or its driver, is gone.
    Closed(M),
}

impl<M> SendError<M> {
    /// The message that was not queued.
    pub fn into_message(self) -> M {
        match self {
            SendError::Full(message) | SendError::Closed(message) => message,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "Full(..)",
            SendError::Closed(_) => "Closed(..)",
        })
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "the mailbox is full",
            SendError::Closed(_) => "the connection is closed",
        })
    }
}

impl<M> core::error::Error for SendError<M> {}
