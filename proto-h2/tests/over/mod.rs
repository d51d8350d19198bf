//! A stream of HTTP/2 as a layer for the conformance suite, for every driver's tests: the protocol under test runs in a tunnel.

#![allow(dead_code, reason = "not every test needs all of it")]
#![allow(clippy::disallowed_methods, reason = "the peer waits in real time; no protocol code")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proto_h2::{
    ClientConnection, ClientEvent, ErrorCode, Head, Limits, Scratch, Server, ServerConfig, ServerError, StreamMessage,
};
use proto_http::{Handler, Misuse, Request, Responder};
use protocol::testing::conformance::{Layer, Received, Wire};
use protocol::{Cx, Input, Mailbox, Peer, PeerSource, Protocol, Reason, SendError, Sender};

/// How long a new connection waits for its tunnel. A connection that is not accepted by then opens its tunnel later.
const PATIENCE: Duration = Duration::from_secs(4);

/// The one stream of each connection.
const STREAM: u32 = 1;

/// Every connection is one over HTTP/2 whose first stream is a tunnel.
#[derive(Clone, Copy)]
pub(crate) struct StreamLayer;

/// Makes the handler of a stream, as a type with a name.
type Factory<P> = Box<dyn Fn(&Peer<'_, <P as Protocol>::Message>) -> Option<Opening<P>> + Send>;

/// A connection that carries `P` in a stream.
pub(crate) struct Over<P: Protocol> {
    server: Server<Opening<P>, Factory<P>>,
}

/// The handler: hands the stream over to `P` at once.
pub(crate) struct Opening<P>(Option<P>);

impl<P: Protocol> Handler for Opening<P> {
    type Message = P::Message;
    type Next = P;

    fn request(&mut self, _: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.upgrade(&[("upgrade", "websocket")])
    }

    fn switched(&mut self) -> Option<P> {
        self.0.take()
    }
}

/// The suite's messages are those of the protocol inside; here they find its stream.
impl<P> Protocol for Over<P>
where
    P: Protocol,
    P::Message: Send + 'static,
{
    type Message = P::Message;
    type Error = ServerError;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.server.connected(cx)
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ServerError> {
        self.server.received(cx, input)
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.server.eof(cx)
    }

    fn deadline(&self) -> Option<Instant> {
        self.server.deadline()
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.server.timeout(cx)
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.server.drained(cx)
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.server.again(cx)
    }

    fn keeps_reading(&self) -> bool {
        self.server.keeps_reading()
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: P::Message) -> Result<(), ServerError> {
        self.server.posted(cx, StreamMessage::new(STREAM, message))
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.server.flush(cx)
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.server.stop(cx)
    }

    fn closed(&mut self, reason: Reason) {
        self.server.closed(reason);
    }
}

/// The peer as one whose messages name their stream.
struct Renamed<'a, M>(&'a Peer<'a, M>);

struct Unwrapping<M>(Sender<M>);

impl<M: Send> Mailbox<StreamMessage<M>> for Unwrapping<M> {
    fn send(&self, _: u64, message: StreamMessage<M>) -> Result<(), SendError<StreamMessage<M>>> {
        let again = |message| StreamMessage::new(STREAM, message);
        self.0.send(message.into_message()).map_err(|error| match error {
            SendError::Full(message) => SendError::Full(again(message)),
            other => SendError::Closed(again(other.into_message())),
        })
    }
}

impl<M: Send + 'static> PeerSource<StreamMessage<M>> for Renamed<'_, M> {
    fn remote(&self) -> Option<SocketAddr> {
        self.0.remote()
    }

    fn local(&self) -> Option<SocketAddr> {
        self.0.local()
    }

    fn sender(&self) -> Sender<StreamMessage<M>> {
        Sender::new(Arc::new(Unwrapping(self.0.sender())), 0)
    }
}

impl Layer for StreamLayer {
    type Around<P, F>
        = Over<P>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static;

    fn around<P, F>(&self, peer: &Peer<'_, P::Message>, factory: F) -> Option<Over<P>>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static,
    {
        let mut config = ServerConfig::default();
        // The suite's peers say nothing for a long time.
        let timeouts = &mut config.timeouts;
        (timeouts.preface, timeouts.settings, timeouts.idle) = (None, None, None);
        // All content of the suite is sent without waiting for credit, as over a socket; only the protocol inside holds bytes back.
        (config.limits.stream_window, config.limits.connection_window) = (1 << 28, 1 << 28);
        config.limits.frame = 1 << 20;
        let factory = Mutex::new(factory);
        let handlers: Factory<P> = Box::new(move |peer: &Peer<'_, P::Message>| {
            // A check may have its factory panic.
            let mut factory = factory.lock().unwrap_or_else(PoisonError::into_inner);
            Some(Opening(Some((*factory)(peer)?)))
        });
        let server = Server::new(Arc::new(config), handlers, &Peer::new(&Renamed(peer)));
        Some(Over { server })
    }

    fn serves_only(&self) -> bool {
        true
    }

    fn wire(&self, wire: Box<dyn Wire>) -> Box<dyn Wire> {
        let mut wire = StreamWire {
            wire: Some(wire),
            limits: Limits::DEFAULT,
            connection: ClientConnection::new(),
            input: Vec::new(),
            out: Vec::new(),
            came: Vec::new(),
            unsent: Vec::new(),
            asked: false,
            open: false,
            finishing: false,
            ended: None,
        };
        wire.limits.budget = u32::MAX;
        let _ = wire.connection.start(&wire.limits, &mut wire.out);
        let end = Instant::now() + PATIENCE;
        while !wire.open && wire.ended.is_none() && Instant::now() < end {
            wire.take_in(Duration::from_millis(100));
        }
        Box::new(wire)
    }
}

/// A client's end of a tunnel, over a wire.
struct StreamWire {
    wire: Option<Box<dyn Wire>>,
    limits: Limits,
    connection: ClientConnection,
    /// The beginning of a frame.
    input: Vec<u8>,
    out: Vec<u8>,
    /// Bytes received through the tunnel and not handed on yet.
    came: Vec<u8>,
    /// Bytes for which no window has room yet.
    unsent: Vec<u8>,
    asked: bool,
    open: bool,
    /// The peer half-closes once `unsent` is sent.
    finishing: bool,
    ended: Option<Received>,
}

impl StreamWire {
    fn raw(&mut self) -> &mut dyn Wire {
        &mut **self.wire.as_mut().unwrap()
    }

    fn flush(&mut self) {
        if !self.asked && self.connection.offers_extended_connect() {
            let head = Head::extended("websocket", "http", "a", "/");
            let (limits, out) = (&self.limits, &mut self.out);
            self.connection.start_request(head, &(), None, limits, out).unwrap();
            self.asked = true;
        }
        if self.open && self.connection.is_open(STREAM) {
            let (limits, out) = (&self.limits, &mut self.out);
            if !self.unsent.is_empty() {
                let sent = self.connection.send_data(STREAM, &self.unsent, false, limits, out);
                self.unsent.drain(..sent.unwrap_or(0));
            }
            if self.finishing && self.unsent.is_empty() {
                self.finishing = false;
                let _ = self.connection.finish(STREAM, &(), limits, out);
            }
        }
        if !self.out.is_empty() {
            let out = std::mem::take(&mut self.out);
            self.raw().send(&out);
        }
    }

    /// Reads what has arrived; false if nothing arrived.
    fn take_in(&mut self, patience: Duration) -> bool {
        self.flush();
        match self.raw().receive(patience) {
            Received::Bytes(bytes) => self.input.extend_from_slice(&bytes),
            Received::Nothing => return false,
            // The connection is no part of the protocol inside: its streams end before.
            Received::Eof | Received::Reset => {
                self.ended.get_or_insert(Received::Reset);
                return false;
            }
        }
        let (input, mut scratch) = (std::mem::take(&mut self.input), Scratch::new());
        let mut rest = &input[..];
        loop {
            let event = self
                .connection
                .next(&self.limits, &mut rest, &mut scratch, &mut self.out);
            match event.expect("the server keeps to the rules of HTTP/2") {
                None => break,
                Some(ClientEvent::Response { response, .. }) => {
                    assert_eq!(response.status(), 200);
                    self.open = true;
                }
                Some(ClientEvent::Data { data, .. }) => {
                    self.came.extend_from_slice(data);
                    let length = data.len();
                    let _ = self.connection.consume(STREAM, length, &self.limits, &mut self.out);
                }
                Some(ClientEvent::End { .. }) => self.ended = Some(Received::Eof),
                Some(ClientEvent::Reset { code, .. }) => {
                    // After the end of the stream, a reset with NO_ERROR only says that no more content is read.
                    if code != ErrorCode::NO_ERROR || self.ended.is_none() {
                        self.ended = Some(Received::Reset);
                    }
                }
                Some(_) => {}
            }
        }
        self.input = rest.to_vec();
        self.flush();
        true
    }
}

impl Wire for StreamWire {
    fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush();
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let mut left = patience;
        loop {
            if !self.came.is_empty() {
                return Received::Bytes(std::mem::take(&mut self.came));
            }
            if let Some(ended) = &self.ended {
                return ended.clone();
            }
            let before = Instant::now();
            if !self.take_in(left) && self.ended.is_none() {
                return Received::Nothing;
            }
            left = left.saturating_sub(before.elapsed());
        }
    }

    fn shutdown(&mut self) {
        self.finishing = true;
        self.flush();
    }

    fn reset(mut self: Box<Self>) {
        let (limits, out) = (&self.limits, &mut self.out);
        let _ = self.connection.reset(STREAM, ErrorCode::CANCEL, limits, out);
        self.flush();
    }

    fn pass(&mut self, time: Duration) {
        self.raw().pass(time);
    }
}

impl Drop for StreamWire {
    /// Dropping the peer ends the stream first, as dropping a socket does.
    fn drop(&mut self) {
        if self.wire.is_some() {
            self.finishing = true;
            self.flush();
        }
    }
}
