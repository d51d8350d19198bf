//! The messages between the two connections of an exchange, and their backpressure.

use std::io;
use std::net::SocketAddr;

use proto_http::BodyLength;
use protocol::bytes::Bytes;
use protocol::{SendError, Sender};

/// Fields to send.
pub(crate) type Lines = Vec<(String, Vec<u8>)>;

/// A message from one connection to the other.
pub(crate) struct Message {
    /// The exchange that this message belongs to. Messages of earlier exchanges are ignored.
    pub(crate) exchange: u64,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// The server's name was looked up.
    Resolved(io::Result<SocketAddr>),
    /// The server's connection is established; this sender reaches it.
    Connected(Sender<Message>),
    /// The request to send.
    Request(Order),
    /// A part of the request's content, of the response, or of a tunnel.
    Part(Part),
    /// This many parts were written, so that as many more may be sent.
    Taken(usize),
    /// The other connection has ended.
    Over(Failure),
}

/// The head of a request to send.
pub(crate) struct Order {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Lines,
    pub(crate) body: BodyLength,
}

/// Data that passes from one connection to the other.
pub(crate) enum Part {
    /// An informational response.
    Interim(u16, Lines),
    /// The head of the final response.
    Head(Answer),
    /// Content, or bytes in a tunnel.
    Data(Bytes),
    /// The end, with trailers.
    End(Lines),
}

/// The head of a final response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: Vec<u8>,
    pub(crate) fields: Lines,
    pub(crate) length: Option<u64>,
}

/// Why there is no response, or only part of one: a status and a line for the client.
pub(crate) struct Failure(pub(crate) u16, pub(crate) String);

/// One end of the link between the two connections of an exchange.
///
/// A connection reads while fewer than [`WINDOW`] of its parts are in flight; a part is at most one read. The other connection acknowledges
/// a part when its own output is not congested. So a peer that reads slowly slows the other peer down, and the waiting data is bounded.
pub(crate) struct Link {
    exchange: u64,
    other: Option<Sender<Message>>,
    /// Parts that may still be sent.
    credit: usize,
    /// Parts that were written and not yet acknowledged.
    owed: usize,
}

/// The most parts in flight in one direction.
const WINDOW: usize = 4;

impl Link {
    /// An end that sends to `other`; if `None`, the end is [joined](Self::join) later.
    pub(crate) fn new(exchange: u64, other: Option<Sender<Message>>) -> Self {
        Link {
            exchange,
            other,
            credit: WINDOW,
            owed: 0,
        }
    }

    pub(crate) fn join(&mut self, other: Sender<Message>) {
        self.other = Some(other);
    }

    pub(crate) fn exchange(&self) -> u64 {
        self.exchange
    }

    /// Whether the connection should stop reading for now.
    pub(crate) fn is_full(&self) -> bool {
        self.other.is_none() || self.credit == 0
    }

    /// Sends a part; see [`tell`](Self::tell).
    pub(crate) fn send(&mut self, part: Part) -> bool {
        self.credit = self.credit.saturating_sub(1);
        self.tell(What::Part(part))
    }

    /// Sends a message. Returns false if the message was lost because the other side's mailbox is full. If the other side has ended, its
    /// last message says so and is on its way.
    pub(crate) fn tell(&self, what: What) -> bool {
        let exchange = self.exchange;
        let Some(other) = &self.other else { return true };
        !matches!(other.send(Message { exchange, what }), Err(SendError::Full(_)))
    }

    /// The other side has acknowledged parts.
    pub(crate) fn taken(&mut self, parts: usize) {
        self.credit += parts;
    }

    /// A part of the other side was written to this side's output.
    pub(crate) fn took(&mut self, congested: bool) -> bool {
        self.owed += 1;
        congested || self.drained()
    }

    /// This side's output has room.
    pub(crate) fn drained(&mut self) -> bool {
        let owed = std::mem::take(&mut self.owed);
        owed == 0 || self.tell(What::Taken(owed))
    }
}
