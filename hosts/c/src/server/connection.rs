//! The connections of a server: they queue events and get replies as messages.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ::proto_http::{self as http, FieldBlock, Fields, Parsed, Request, Responder, ServerConfig};
use ::proto_ws::handshake::server::Rejection;
use ::proto_ws::{self as ws, CloseCode, Config, Message, Socket};
use protocol::{Peer, Sender, Switch};

use crate::error::{PROTO_GONE, PROTO_HTTP_MISUSE_OUT_OF_TURN};

/// What the connections of a server share.
pub(super) struct Shared {
    pub(super) http: Arc<ServerConfig>,
    pub(super) ws: Arc<Config>,
    pub(super) events: RefCell<VecDeque<Happened>>,
    pub(super) connections: RefCell<HashMap<u64, Entry>>,
    pub(super) last: Cell<u64>,
}

/// An open connection, as the program knows it.
pub(super) struct Entry {
    pub(super) sender: Sender<Reply>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) stage: Stage,
    /// The request that waits for its answer.
    asked: Option<Rc<Asked>>,
}

/// What the program may do with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No request waits.
    Idle,
    /// A request waits for its answer.
    Asked,
    /// The response was begun.
    Answering,
    /// The connection is a WebSocket.
    WebSocket,
}

/// A whole request.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    /// The head, which was checked before under stricter rules.
    pub(super) fn request(&self) -> Option<Request<'_>> {
        let mut rules = http::Rules::DEFAULT;
        rules.limits.request_line = usize::MAX;
        rules.limits.fields = usize::MAX;
        rules.limits.fields_bytes = usize::MAX;
        match Request::parse(&self.head, &rules) {
            Ok(Parsed::Complete { head, .. }) => Some(head),
            _ => None,
        }
    }
}

/// An event that the program has not taken.
pub(super) struct Happened {
    pub(super) id: u64,
    pub(super) what: What,
}

pub(super) enum What {
    Request(Rc<Asked>),
    Opened,
    Message { text: bool, payload: Vec<u8> },
    Closed { code: u16, reason: String },
}

/// What the program asks of a connection.
pub(super) enum Reply {
    /// The first `lines` bytes are the fields, the others the body.
    Respond {
        status: u16,
        packed: Vec<u8>,
        lines: usize,
    },
    Start {
        status: u16,
        packed: Vec<u8>,
        length: Option<u64>,
    },
    Data(Vec<u8>),
    Finish,
    Upgrade(Vec<u8>),
    Text(String),
    Binary(Vec<u8>),
    Close(CloseCode, String),
    Abort,
}

impl Reply {
    pub(super) fn upgrade<'n, 'v>(fields: impl Iterator<Item = (&'n str, &'v str)>) -> Self {
        Reply::Upgrade(lines(fields))
    }

    pub(super) fn refusal(rejection: Rejection) -> Self {
        let packed = lines(rejection.fields().iter().copied());
        Reply::Respond {
            status: rejection.status(),
            lines: packed.len(),
            packed,
        }
    }
}

fn lines<'n, 'v>(fields: impl Iterator<Item = (&'n str, &'v str)>) -> Vec<u8> {
    fields.fold(Vec::new(), |mut lines, (name, value)| {
        for part in [name, ": ", value, "\r\n"] {
            lines.extend_from_slice(part.as_bytes());
        }
        lines
    })
}

impl Shared {
    /// Calls with the head of the request that waits on a connection.
    pub(super) fn with_head(&self, id: u64, call: impl FnOnce(&Request<'_>) -> i32) -> i32 {
        let asked = match self.connections.borrow().get(&id) {
            None => return PROTO_GONE,
            Some(entry) => entry.asked.clone(),
        };
        match asked.as_ref().and_then(|asked| asked.request()) {
            Some(head) => call(&head),
            None => PROTO_HTTP_MISUSE_OUT_OF_TURN,
        }
    }

    fn happened(&self, id: u64, what: What) {
        self.events.borrow_mut().push_back(Happened { id, what });
    }

    fn ended(&self, id: u64, code: u16, reason: &str, told: bool) {
        self.connections.borrow_mut().remove(&id);
        if told {
            let reason = reason.to_owned();
            self.happened(id, What::Closed { code, reason });
        }
    }
}

/// Makes the protocol of a new connection.
pub(super) fn accept(shared: &Rc<Shared>, peer: &Peer<'_, Reply>) -> Switch<http::Server<Visitor>> {
    let id = shared.last.get() + 1;
    shared.last.set(id);
    let entry = Entry {
        sender: peer.sender(),
        remote: peer.remote(),
        stage: Stage::Idle,
        asked: None,
    };
    shared.connections.borrow_mut().insert(id, entry);
    let visitor = Visitor {
        id,
        shared: Rc::clone(shared),
        arriving: None,
        upgraded: false,
    };
    http::Server::switching(Arc::clone(&shared.http), visitor)
}

/// A client over HTTP.
pub(super) struct Visitor {
    id: u64,
    shared: Rc<Shared>,
    /// The request whose body is not complete.
    arriving: Option<Box<Asked>>,
    upgraded: bool,
}

/// Field lines that were checked when they were packed.
fn block(lines: &[u8]) -> Result<FieldBlock<'_>, http::Misuse> {
    FieldBlock::new(core::str::from_utf8(lines).map_err(|_| http::Misuse::FieldValue)?)
}

impl http::Handler for Visitor {
    type Message = Reply;
    type Next = ws::Server<Visitor>;

    fn request(&mut self, request: &Request<'_>, _: &mut Responder<'_, '_>) -> Result<(), http::Misuse> {
        let head = request.to_vec();
        self.arriving = Some(Box::new(Asked { head, body: Vec::new() }));
        Ok(())
    }

    fn data(&mut self, data: &[u8], _: &mut Responder<'_, '_>) -> Result<(), http::Misuse> {
        if let Some(asked) = &mut self.arriving {
            asked.body.extend_from_slice(data);
        }
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Responder<'_, '_>) -> Result<(), http::Misuse> {
        if let Some(asked) = self.arriving.take()
            && let Some(entry) = self.shared.connections.borrow_mut().get_mut(&self.id)
        {
            let asked: Rc<Asked> = asked.into();
            entry.stage = Stage::Asked;
            entry.asked = Some(Rc::clone(&asked));
            self.shared.happened(self.id, What::Request(asked));
        }
        Ok(())
    }

    fn posted(&mut self, reply: Reply, responder: &mut Responder<'_, '_>) -> Result<(), http::Misuse> {
        match reply {
            // The request may have timed out, or its client gone, while the answer was on its way.
            Reply::Respond { .. } | Reply::Start { .. } | Reply::Upgrade(_) if !responder.is_due() => Ok(()),
            Reply::Data(_) | Reply::Finish if !responder.is_open() => Ok(()),
            Reply::Respond { status, packed, lines } => {
                let (lines, body) = packed.split_at_checked(lines).unwrap_or_default();
                responder.send(status, &block(lines)?, body)
            }
            Reply::Start { status, packed, length } => responder.start(status, &block(&packed)?, length),
            Reply::Data(data) => responder.write_shared(data.into()),
            Reply::Finish => responder.finish(),
            Reply::Upgrade(lines) => {
                responder.upgrade(&block(&lines)?)?;
                self.upgraded = true;
                Ok(())
            }
            Reply::Abort => {
                responder.abort();
                Ok(())
            }
            // Only for a WebSocket, which this is not yet or never was.
            Reply::Text(_) | Reply::Binary(_) | Reply::Close(..) => Ok(()),
        }
    }

    fn switched(&mut self) -> Option<Self::Next> {
        let successor = Visitor {
            id: self.id,
            shared: Rc::clone(&self.shared),
            arriving: None,
            upgraded: true,
        };
        self.upgraded
            .then(|| ws::Server::new(Arc::clone(&self.shared.ws), successor))
    }

    fn closed(&mut self, _: bool) {
        let told = {
            let connections = self.shared.connections.borrow();
            let stage = connections.get(&self.id).map(|entry| &entry.stage);
            stage.is_some_and(|stage| *stage != Stage::Idle)
        };
        self.shared.ended(self.id, 0, "", told);
    }
}

/// The same client after its upgrade.
impl ws::Handler for Visitor {
    type Message = Reply;

    fn opened(&mut self, _: &mut Socket<'_, '_>) -> Result<(), ws::Misuse> {
        if let Some(entry) = self.shared.connections.borrow_mut().get_mut(&self.id) {
            entry.asked = None;
        }
        self.shared.happened(self.id, What::Opened);
        Ok(())
    }

    fn message(&mut self, message: Message<'_>, _: &mut Socket<'_, '_>) -> Result<(), ws::Misuse> {
        let text = message.kind() == ws::Kind::Text;
        let payload = message.as_bytes().to_vec();
        self.shared.happened(self.id, What::Message { text, payload });
        Ok(())
    }

    fn posted(&mut self, reply: Reply, socket: &mut Socket<'_, '_>) -> Result<(), ws::Misuse> {
        // A message that crosses a Close frame is dropped; the program is told of the close.
        if socket.state() != ws::State::Open {
            return Ok(());
        }
        match reply {
            Reply::Text(text) => socket.text(&text).map(drop),
            Reply::Binary(bytes) => socket.shared(bytes.into()).map(drop),
            Reply::Close(code, reason) => socket.close(code, &reason),
            Reply::Abort => {
                socket.abort();
                Ok(())
            }
            // Only for HTTP, which this no longer is.
            _ => Ok(()),
        }
    }

    fn closed(&mut self, code: CloseCode, reason: &str) {
        self.shared.ended(self.id, code.get(), reason, true);
    }
}
