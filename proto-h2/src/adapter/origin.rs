//! Where a connection comes from, as each of its streams sees it, and messages for streams.

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use protocol::{Mailbox, Peer, PeerSource, SendError, Sender};

/// A message for one stream of a connection. A handler's factory gets a [`Sender`] of plain messages; what they become on their way is this.
pub struct StreamMessage<M> {
    pub(super) stream: u32,
    pub(super) message: M,
}

impl<M> StreamMessage<M> {
    /// A message for `stream`, which a layer around a [`Server`](super::Server) makes; others send through the handler's own
    /// [`Sender`]. Where the stream has ended, the message is dropped.
    #[must_use]
    pub const fn new(stream: u32, message: M) -> Self {
        Self { stream, message }
    }

    /// The stream that the message is for; 0 where the connection is of HTTP/1.1.
    #[must_use]
    pub const fn stream(&self) -> u32 {
        self.stream
    }

    /// The message itself.
    #[must_use]
    pub fn into_message(self) -> M {
        self.message
    }
}

impl<M> fmt::Debug for StreamMessage<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMessage")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// An address in half the memory, which every idle connection has twice.
enum Address {
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(address) => Self::V6(Box::new(address)),
        }
    }
}

impl Address {
    fn get(&self) -> SocketAddr {
        match self {
            Self::V4(address) => SocketAddr::V4(*address),
            Self::V6(address) => SocketAddr::V6(**address),
        }
    }
}

/// What the streams of a connection have in common for those who make their handlers.
pub(super) struct Origin<M> {
    remote: Option<Address>,
    local: Option<Address>,
    /// None where no message can be sent.
    sender: Option<Sender<StreamMessage<M>>>,
}

impl<M: Send + 'static> Origin<M> {
    pub(super) fn new(peer: &Peer<'_, StreamMessage<M>>) -> Arc<Self> {
        let silent = TypeId::of::<M>() == TypeId::of::<Infallible>();
        Arc::new(Self {
            remote: peer.remote().map(Address::from),
            local: peer.local().map(Address::from),
            sender: (!silent).then(|| peer.sender()),
        })
    }

    /// Shows the peer as the one of `stream`.
    #[inline]
    pub(super) fn show<R>(self: &Arc<Self>, stream: u32, body: impl FnOnce(&Peer<'_, M>) -> R) -> R {
        body(&Peer::new(&OfStream { origin: self, stream }))
    }
}

impl<M> fmt::Debug for Origin<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("remote", &self.remote.as_ref().map(Address::get))
            .finish_non_exhaustive()
    }
}

/// The token is the stream.
impl<M: Send> Mailbox<M> for Origin<M> {
    fn send(&self, token: u64, message: M) -> Result<(), SendError<M>> {
        match &self.sender {
            Some(sender) => send(sender, token, message),
            None => Err(SendError::Closed(message)),
        }
    }
}

/// What reaches a connection of HTTP/1.1, which outlives its origin.
struct Whole<M>(Sender<StreamMessage<M>>);

impl<M: Send> Mailbox<M> for Whole<M> {
    fn send(&self, token: u64, message: M) -> Result<(), SendError<M>> {
        send(&self.0, token, message)
    }
}

fn send<M>(sender: &Sender<StreamMessage<M>>, token: u64, message: M) -> Result<(), SendError<M>> {
    let stream = u32::try_from(token).unwrap_or(0);
    sender
        .send(StreamMessage { stream, message })
        .map_err(|error| match error {
            SendError::Full(message) => SendError::Full(message.message),
            other => SendError::Closed(other.into_message().into_message()),
        })
}

struct OfStream<'a, M> {
    origin: &'a Arc<Origin<M>>,
    stream: u32,
}

impl<M: Send + 'static> PeerSource<M> for OfStream<'_, M> {
    fn remote(&self) -> Option<SocketAddr> {
        self.origin.remote.as_ref().map(Address::get)
    }

    fn local(&self) -> Option<SocketAddr> {
        self.origin.local.as_ref().map(Address::get)
    }

    fn sender(&self) -> Sender<M> {
        let mailbox: Arc<dyn Mailbox<M>> = match &self.origin.sender {
            // It has one handler, and needs no more of its origin.
            Some(sender) if self.stream == 0 => Arc::new(Whole(sender.clone())),
            _ => Arc::clone(self.origin) as Arc<dyn Mailbox<M>>,
        };
        Sender::new(mailbox, u64::from(self.stream))
    }
}
