//! What a factory learns about a new connection, and how other threads send messages to it later.

use core::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A new connection, as the factory that makes its protocol sees it.
///
/// Everything except the peer's address is fetched only on request: a connection that needs no sender does not pay for one.
pub struct Peer<'a, M> {
    source: &'a dyn PeerSource<M>,
}

/// The source of the values that a [`Peer`] shows. Drivers implement it.
pub trait PeerSource<M> {
    /// The peer's address; `None` where the transport has none (a Unix socket, memory).
    fn remote(&self) -> Option<SocketAddr>;
    /// The local address; `None` where the transport has none.
    fn local(&self) -> Option<SocketAddr>;
    /// A handle that sends messages to this connection.
    fn sender(&self) -> Sender<M>;
}

impl<'a, M> Peer<'a, M> {
    /// Shows the values of `source`.
    pub fn new(source: &'a dyn PeerSource<M>) -> Self {
        Peer { source }
    }

    /// The peer's address; `None` where the transport has none (a Unix socket, memory).
    pub fn remote(&self) -> Option<SocketAddr> {
        self.source.remote()
    }

    /// The local address of the connection; `None` where the transport has none. May cost a system call.
    pub fn local(&self) -> Option<SocketAddr> {
        self.source.local()
    }

    /// A handle by which any thread sends messages to this connection's [`posted`](crate::Protocol::posted).
    pub fn sender(&self) -> Sender<M> {
        self.source.sender()
    }
}

impl<M> Peer<'_, M> {
    /// Keeps all values of this peer, for a layer that makes its protocol later. Fetches all of them: see [`Peer`].
    pub fn keep(&self) -> KeptPeer<M> {
        KeptPeer {
            remote: self.remote(),
            local: self.local(),
            sender: self.sender(),
        }
    }
}

/// The values of a [`Peer`], kept beyond the call of a factory. [`Peer::new`] shows them to another factory. A layer with
/// better knowledge, such as one behind a proxy, changes the addresses first.
pub struct KeptPeer<M> {
    /// The peer's address.
    pub remote: Option<SocketAddr>,
    /// The local address.
    pub local: Option<SocketAddr>,
    /// A handle that sends messages to the connection.
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
    /// Returns the message when the queue is full or the connection is known to be gone.
    fn send(&self, token: u64, message: M) -> Result<(), SendError<M>>;
}

/// Sends messages to one connection from any thread: each message arrives in the protocol's
/// [`posted`](crate::Protocol::posted).
///
/// Queues are bounded: when a queue is full, the message is returned, and the caller decides what to do (drop it, retry
/// later, close). Messages from one sender arrive in order. Messages that are still queued when the connection closes are
/// dropped.
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
    /// Returns the message when the queue is full or the connection is known to be gone. `Ok` means that the message is
    /// queued; the connection may still close before it receives the message.
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

/// The reason why a message was not queued, with the message.
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
