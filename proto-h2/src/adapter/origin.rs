//! The peer of a connection as each of its streams sees it, and messages for streams.

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use protocol::{Mailbox, Peer, PeerSource, SendError, Sender};

/// A message for one stream of a connection. Handlers send plain messages through the [`Sender`] that their factory gets; the sender wraps
/// each in this type.
pub struct StreamMessage<M> {
    pub(super) stream: u32,
    pub(super) message: M,
}

impl<M> StreamMessage<M> {
    /// A message for `stream`. Only a layer around a [`Server`](super::Server) needs this; others use the handler's own [`Sender`]. If the
    /// stream has ended, the message is dropped.
    #[must_use]
    pub const fn new(stream: u32, message: M) -> Self {
        Self { stream, message }
    }

    /// The stream that the message is for; 0 on an HTTP/1.1 connection.
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

/// A socket address of reduced size: every idle connection stores two.
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

/// The data about the peer that the handlers of all streams share.
pub(super) struct Origin<M> {
    remote: Option<Address>,
    local: Option<Address>,
    /// `None` if no message can be sent, because the message type is [`Infallible`].
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

    /// Calls `body` with the peer as `stream` sees it.
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

/// The token is the stream number.
impl<M: Send> Mailbox<M> for Origin<M> {
    fn send(&self, token: u64, message: M) -> Result<(), SendError<M>> {
        match &self.sender {
            Some(sender) => send(sender, token, message),
            None => Err(SendError::Closed(message)),
        }
    }
}

/// Wraps the messages for an HTTP/1.1 connection, and may outlive its origin.
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
            // An HTTP/1.1 connection has one handler, and needs only the sender.
            Some(sender) if self.stream == 0 => Arc::new(Whole(sender.clone())),
            _ => Arc::clone(self.origin) as Arc<dyn Mailbox<M>>,
        };
        Sender::new(mailbox, u64::from(self.stream))
    }
}
