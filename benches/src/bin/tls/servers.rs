//! The two servers: plain rustls, in the loop from its documentation, and `proto_tls` on the contract's turn loop.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use proto_tls::{Acceptor, Factory, Session, Tls};
use protocol::driver::{Connection, Scratch, Settled, Transfer, Transport};
use protocol::{Cx, Input, Limits, Peer, PeerSource, Protocol, Sender};
use rustls::ServerConnection;

/// The reaction of a connection to its input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Discard,
    /// Sends it back.
    Echo,
    /// Answers each read with this many bytes.
    Answer(usize),
}

/// The server's end of a connection.
pub(crate) trait Server {
    /// Processes the client's bytes, and appends the server's bytes to `output`.
    fn take(&mut self, input: &mut [u8], output: &mut Vec<u8>);
}

/// Plain rustls.
pub(crate) struct Bare {
    tls: ServerConnection,
    kind: Kind,
    /// Kept here and not counted, because a server would have one per thread.
    buffer: Vec<u8>,
}

impl Bare {
    pub(crate) fn new(config: &Arc<rustls::ServerConfig>, kind: Kind) -> Self {
        Bare {
            tls: ServerConnection::new(Arc::clone(config)).unwrap_or_else(|error| panic!("{error}")),
            kind,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn forget_buffer(&mut self) {
        self.buffer = Vec::new();
    }
}

impl Server for Bare {
    fn take(&mut self, input: &mut [u8], output: &mut Vec<u8>) {
        self.buffer.resize(64 * 1024, 0);
        let mut input = &*input;
        while !input.is_empty() {
            self.tls.read_tls(&mut input).unwrap_or_else(|error| panic!("{error}"));
            self.tls.process_new_packets().unwrap_or_else(|error| panic!("{error}"));
            while let Ok(n) = self.tls.reader().read(&mut self.buffer) {
                let answer: &[u8] = match self.kind {
                    _ if n == 0 => break,
                    Kind::Discard => &[],
                    Kind::Echo => &self.buffer[..n],
                    Kind::Answer(length) => &vec![b'a'; length],
                };
                let mut rest = answer;
                while !rest.is_empty() {
                    let taken = self.tls.writer().write(rest).unwrap_or_else(|error| panic!("{error}"));
                    rest = &rest[taken..];
                    while self.tls.wants_write() {
                        self.tls.write_tls(output).unwrap_or_else(|error| panic!("{error}"));
                    }
                }
            }
            while self.tls.wants_write() {
                self.tls.write_tls(output).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
}

/// The protocol inside ours.
pub(crate) struct Inner(Kind);

impl Protocol for Inner {
    type Message = Infallible;
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        let bytes = input.take_all();
        match self.0 {
            Kind::Discard => {}
            Kind::Echo => cx.send(bytes),
            Kind::Answer(length) => {
                let end = cx.output().tail().len() + length;
                cx.output().tail().resize(end, b'a');
            }
        }
        Ok(())
    }
}

impl Factory<Inner> for Kind {
    fn make(&self, _: &Peer<'_, Infallible>, _: Session<'_>) -> Option<Inner> {
        Some(Inner(*self))
    }
}

/// Ours, on the contract's turn loop.
pub(crate) struct Ours(Connection<Tls<Inner, Kind>>);

struct Nobody;

impl PeerSource<Infallible> for Nobody {
    fn remote(&self) -> Option<std::net::SocketAddr> {
        None
    }

    fn local(&self) -> Option<std::net::SocketAddr> {
        None
    }

    fn sender(&self) -> Sender<Infallible> {
        struct Never;
        impl protocol::Mailbox<Infallible> for Never {
            fn send(&self, _: u64, message: Infallible) -> Result<(), protocol::SendError<Infallible>> {
                match message {}
            }
        }
        Sender::new(Arc::new(Never), 0)
    }
}

/// Memory in place of a socket.
struct Wire<'a> {
    input: &'a mut [u8],
    output: &'a mut Vec<u8>,
}

impl Transport for Wire<'_> {
    fn receive(&mut self, buffer: &mut [u8]) -> Transfer {
        let n = buffer.len().min(self.input.len());
        if n == 0 {
            return Transfer::Blocked;
        }
        let (head, rest) = core::mem::take(&mut self.input).split_at_mut(n);
        buffer[..n].copy_from_slice(head);
        self.input = rest;
        Transfer::Bytes(n)
    }

    fn send(&mut self, bytes: &[u8]) -> Transfer {
        self.output.extend_from_slice(bytes);
        Transfer::Bytes(bytes.len())
    }

    fn shutdown(&mut self) {}
}

thread_local! {
    static SCRATCH: std::cell::RefCell<Scratch> =
        std::cell::RefCell::new(Scratch::new(Limits::default(), Instant::now()));
}

impl Ours {
    pub(crate) fn new(acceptor: &Acceptor, kind: Kind) -> Self {
        let tls = acceptor.accept(kind)(&Peer::new(&Nobody));
        let mut connection = Connection::new(tls.unwrap_or_else(|| panic!("a connection was refused")));
        SCRATCH.with_borrow_mut(|scratch| connection.turn(scratch).connected());
        Ours(connection)
    }
}

impl Server for Ours {
    fn take(&mut self, input: &mut [u8], output: &mut Vec<u8>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut wire = Wire { input, output };
            while !wire.input.is_empty() {
                let mut settled = self.0.turn(scratch).ready(&mut wire, true, false);
                while settled == Settled::Again {
                    let mut turn = self.0.turn(scratch);
                    turn.again();
                    settled = turn.settle(&mut wire);
                }
            }
        });
    }
}
