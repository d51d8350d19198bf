//! What the two connections of an exchange say to each other, and how fast.

use std::io;
use std::net::SocketAddr;

use proto_http::BodyLength;
use protocol::bytes::Bytes;
use protocol::{SendError, Sender};

/// Fields to be sent.
pub(crate) type Lines = Vec<(String, Vec<u8>)>;

/// What one connection says to the other.
pub(crate) struct Message {
    /// The exchange of the client's connection that this is about. A message of an earlier one is late.
    pub(crate) exchange: u64,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// The server's name was looked up.
    Resolved(io::Result<SocketAddr>),
    /// The connection to the server is established, and listens here.
    Connected(Sender<Message>),
    /// The request to send.
    Request(Order),
    /// A part of what follows a request, of a response, or of a tunnel.
    Part(Part),
    /// So many parts were written, and as many more are welcome.
    Taken(usize),
    /// The other connection has ended.
    Over(Failure),
}

/// A request head to send.
pub(crate) struct Order {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Lines,
    pub(crate) body: BodyLength,
}

/// What passes from one connection to the other.
pub(crate) enum Part {
    /// An informational response.
    Interim(u16, Lines),
    /// The head of the final response.
    Head(Answer),
    /// Some content, or bytes in a tunnel.
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

/// Why there is no response, or no more of one: a status and a line for the client.
pub(crate) struct Failure(pub(crate) u16, pub(crate) String);

/// One end of the way between the two connections of an exchange.
///
/// A connection reads while fewer than [`WINDOW`] parts of what it has read are under way; none is larger than what is read at
/// once. The other connection counts a part as taken when its own output is not congested. So a peer that reads slowly slows
/// the other peer down, and what waits is bounded.
pub(crate) struct Link {
    exchange: u64,
    other: Option<Sender<Message>>,
    /// Parts that may still be sent.
    credit: usize,
    /// Parts that were written, and that the other side was not told of yet.
    owed: usize,
}

/// Parts under way in one direction.
const WINDOW: usize = 4;

impl Link {
    /// An end that reaches `other`; with `None` it is [joined](Self::join) later.
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

    /// Whether nothing should be read for now.
    pub(crate) fn is_full(&self) -> bool {
        self.other.is_none() || self.credit == 0
    }

    /// Sends a part, as [`tell`](Self::tell).
    pub(crate) fn send(&mut self, part: Part) -> bool {
        self.credit = self.credit.saturating_sub(1);
        self.tell(What::Part(part))
    }

    /// Says something. False where it is lost, as far too much waits at the other side. Where the other side is gone, it has said so in
    /// a message that is on its way.
    pub(crate) fn tell(&self, what: What) -> bool {
        let exchange = self.exchange;
        let Some(other) = &self.other else { return true };
        !matches!(other.send(Message { exchange, what }), Err(SendError::Full(_)))
    }

    /// The other side took parts.
    pub(crate) fn taken(&mut self, parts: usize) {
        self.credit += parts;
    }

    /// A part that came from the other side is in the output here.
    pub(crate) fn took(&mut self, congested: bool) -> bool {
        self.owed += 1;
        congested || self.drained()
    }

    /// There is room in the output here.
    pub(crate) fn drained(&mut self) -> bool {
        let owed = std::mem::take(&mut self.owed);
        owed == 0 || self.tell(What::Taken(owed))
    }
}
