//! The TLS layer of one connection.

use core::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use protocol::driver::{Connection, Scratch, Todo, Turn};
use protocol::{Cx, Input, Intent, KeptPeer, Output, Peer, Protocol, Reason};

use crate::engine::{Engine, FULL, Plaintext, Read, record_length};
use crate::error::{Error, Fault, Waiting};
use crate::limits::Limits;
use crate::plain_http::{self, Guess};
use crate::session::Session;
use crate::stats::Counters;

/// A connection over TLS, with the protocol `P` inside. On a server, the factory `F` makes the protocol when the handshake is complete; on
/// a client, the protocol exists from the start, unless there is a factory ([`Connector::connect_with`](crate::Connector::connect_with)).
///
/// The driver's limits apply to the protocol inside. The protocol is congested while ciphertext waits to be sent. If the peer cuts the
/// stream off, the protocol is closed with [`Reason::Io`] and [`ErrorKind::UnexpectedEof`].
pub struct Tls<P: Protocol, F = NoFactory> {
    core: Box<Core>,
    inner: Inner<P, F>,
}

/// The factory type of connections that need no factory, because their protocol exists from the start.
#[derive(Debug, Clone, Copy)]
pub enum NoFactory {}

/// The part that does not depend on the protocol inside.
struct Core {
    engine: Engine,
    shared: Arc<Shared>,
    /// The deadline of the current part of the handshake.
    deadline: Option<Instant>,
    /// The deadline of the whole handshake.
    end: Option<Instant>,
    /// Whether this is the server's side.
    server: bool,
    /// Whether the peer has sent anything.
    begun: bool,
    /// Bytes of the handshake received.
    received: usize,
    /// Bytes that the handshake itself has left in the output, during the call that completes it.
    own: usize,
    /// Whether output of the protocol inside waits to be encrypted.
    unsealed: bool,
    /// Whether a whole record waits until the protocol inside wants more input.
    unread: bool,
    /// Whether the protocol inside has shut down its direction.
    shut: bool,
    /// Whether the transport has ended.
    ended: bool,
    /// Whether the connection has failed, and the failure was counted.
    failed: bool,
}

/// What the connections of one server, or of one client's settings, share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
}

enum Inner<P: Protocol, F> {
    /// During the handshake, if the factory is to know its result.
    Unmade(Box<Unmade<P::Message, F>>),
    /// On a client without a factory, during the handshake.
    Opening(Box<Opening<P>>),
    Open(Connection<P>),
    /// The factory refused the peer.
    None,
}

struct Unmade<M, F> {
    known: KeptPeer<M>,
    factory: F,
}

struct Opening<P: Protocol> {
    connection: Connection<P>,
    messages: Vec<P::Message>,
}

/// The result of settling the inner connection.
enum Settled {
    /// The connection goes on.
    Goes {
        /// Whether the protocol wants more input.
        reads: bool,
    },
    /// The connection closes; `close_notify` was sent.
    Closes,
    /// The connection is over.
    Gone { reset: bool },
}

/// Makes the protocol of a server's connection when the handshake is complete.
pub trait Factory<P: Protocol> {
    /// Returns the protocol for `peer`, or `None` to refuse it.
    fn make(&self, peer: &Peer<'_, P::Message>, session: Session<'_>) -> Option<P>;
}

impl<P: Protocol, F> Factory<P> for F
where
    F: Fn(&Peer<'_, P::Message>, Session<'_>) -> Option<P>,
{
    fn make(&self, peer: &Peer<'_, P::Message>, session: Session<'_>) -> Option<P> {
        self(peer, session)
    }
}

impl<P: Protocol> Factory<P> for NoFactory {
    fn make(&self, _: &Peer<'_, P::Message>, _: Session<'_>) -> Option<P> {
        None
    }
}

impl<P: Protocol, F> Tls<P, F> {
    pub(crate) fn server(engine: Engine, shared: Arc<Shared>, peer: &Peer<'_, P::Message>, factory: F) -> Self {
        // The peer is kept only until the factory is called: a sender that the factory does not take is dropped with it.
        Self::unmade(engine, shared, peer.keep(), factory, true)
    }

    /// A client whose protocol is made when the handshake is complete.
    pub(crate) fn client_with(engine: Engine, shared: Arc<Shared>, known: KeptPeer<P::Message>, factory: F) -> Self {
        Self::unmade(engine, shared, known, factory, false)
    }

    fn unmade(engine: Engine, shared: Arc<Shared>, known: KeptPeer<P::Message>, factory: F, server: bool) -> Self {
        let mut core = Core::new(engine, shared);
        core.server = server;
        Tls {
            core,
            inner: Inner::Unmade(Box::new(Unmade { known, factory })),
        }
    }

    /// The result of the handshake; `None` before it is complete.
    pub fn session(&self) -> Option<Session<'_>> {
        let open = !self.core.engine.is_handshaking();
        open.then_some(Session(&self.core.engine))
    }

    /// The protocol inside; with a factory, `None` before the handshake is complete.
    pub fn protocol(&self) -> Option<&P> {
        match &self.inner {
            Inner::Open(connection) => Some(connection.protocol()),
            Inner::Opening(opening) => Some(opening.connection.protocol()),
            Inner::Unmade(_) | Inner::None => None,
        }
    }

    /// Bytes that the layer and the inner connection hold between events; 0 while idle.
    pub fn held(&self) -> usize {
        let inner = match &self.inner {
            Inner::Open(connection) => connection.held(),
            _ => 0,
        };
        inner + self.core.engine.held()
    }
}

impl<P: Protocol> Tls<P> {
    pub(crate) fn client(engine: Engine, shared: Arc<Shared>, inner: P) -> Self {
        Tls {
            core: Core::new(engine, shared),
            inner: Inner::Opening(Box::new(Opening {
                connection: Connection::new(inner),
                messages: Vec::new(),
            })),
        }
    }
}

impl Core {
    fn new(engine: Engine, shared: Arc<Shared>) -> Box<Self> {
        Box::new(Core {
            engine,
            shared,
            deadline: None,
            end: None,
            server: false,
            begun: false,
            received: 0,
            own: 0,
            unsealed: false,
            shut: false,
            unread: false,
            ended: false,
            failed: false,
        })
    }

    fn begin(&mut self, now: Instant) {
        let limits = &self.shared.limits;
        self.end = limits.timeout.and_then(|timeout| now.checked_add(timeout));
        let first = limits.first_byte.and_then(|timeout| now.checked_add(timeout));
        self.deadline = match (first, self.end) {
            (Some(first), Some(end)) => Some(first.min(end)),
            (first, end) => first.or(end),
        };
    }

    /// Continues the handshake. Returns whether it is complete.
    fn shake_hands<E>(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<bool, Error<E>> {
        if input.is_empty() {
            return Ok(false);
        }
        self.begun = true;
        self.deadline = self.end;
        if self.server && self.received == 0 {
            match plain_http::guess(input.as_slice()) {
                Guess::Http => {
                    cx.send(plain_http::ANSWER);
                    return Err(Error::PlainHttp);
                }
                Guess::Unclear => return Ok(false),
                Guess::Other => {}
            }
        }
        let before = input.len();
        let read = self.engine.read(input, cx.output(), &mut Plaintext::new(&mut []));
        self.received += before - input.len();
        if read.map_err(Error::Tls)? == Read::Open {
            self.deadline = None;
            self.shared.counters.opened(Session(&self.engine), self.server);
            return Ok(true);
        }
        if self.received + input.len() > self.shared.limits.handshake {
            return Err(Error::TooLong);
        }
        Ok(false)
    }

    /// Runs the inner connection until it waits, and encrypts its output.
    fn settle<P: Protocol>(&mut self, turn: &mut Turn<'_, P>, cx: &mut Cx<'_>) -> Result<Settled, Fault> {
        self.unsealed = false;
        loop {
            turn.set_beneath(cx.waiting().saturating_sub(self.own));
            match turn.todo_with_files() {
                Todo::Send => {
                    let n = sealable(turn.output(), cx);
                    if !turn.load_through(n, cx) {
                        // The files among it are read first, by the driver. If one cannot be, the turn has failed.
                        turn.set_beneath(0);
                        turn.blocked();
                    } else if n > 0 {
                        self.engine.write(turn.output(), n, cx.output())?;
                        turn.sent(n);
                    } else {
                        // The rest stays unencrypted until the transport has taken what was encrypted.
                        turn.set_beneath(0);
                        turn.blocked();
                    }
                }
                Todo::Shutdown => {
                    self.engine.close(cx.output());
                    if !turn.connection().is_open() {
                        return Ok(Settled::Closes);
                    }
                    self.shut = true;
                    cx.shutdown();
                }
                Todo::Wait(interest) => {
                    // Nothing after the peer's close_notify is read.
                    cx.pause(turn.connection().is_paused() || self.engine.is_closed());
                    return Ok(Settled::Goes { reads: interest.read });
                }
                Todo::Again => {
                    cx.again();
                    return Ok(Settled::Goes { reads: false });
                }
                Todo::Drop { reset } => {
                    if !reset {
                        // The peer had ended its stream earlier, so there was no half-close that sent close_notify.
                        self.engine.close(cx.output());
                    }
                    return Ok(Settled::Gone { reset });
                }
            }
        }
    }

    /// Decrypts as much of `input` as the inner connection wants.
    fn read<P: Protocol>(
        &mut self,
        turn: &mut Turn<'_, P>,
        cx: &mut Cx<'_>,
        input: &mut Input<'_>,
        mut settled: Settled,
    ) -> Result<Settled, Fault> {
        while let Settled::Goes { reads: true } = settled {
            let mut plaintext = Plaintext::new(turn.recv_buffer());
            let read = self.engine.read(input, cx.output(), &mut plaintext);
            let (filled, mut over) = (plaintext.filled, plaintext.over);
            if filled > 0 {
                turn.received(filled);
            }
            if !over.is_empty() {
                turn.receive(&mut over);
            }
            let read = read?;
            if self.engine.is_closed() {
                turn.eof();
            }
            settled = self.settle(turn, cx)?;
            if read == Read::Waits {
                break;
            }
        }
        if self.engine.is_closed() {
            input.take_all();
        }
        self.unread = record_length(input.as_slice()).is_some();
        Ok(settled)
    }
}

/// How many bytes of the plaintext to encrypt now: as many as fit before the connection is congested. Shared buffers stay shared
/// until then, and a large response does not hold up other connections. Only bytes above the hard limit are encrypted in any case, so that
/// the driver sees how many the transport takes at once.
fn sealable(output: &Output, cx: &Cx<'_>) -> usize {
    let length = output.len();
    let room = cx.high_water().saturating_add(1).saturating_sub(cx.waiting());
    let above = output.held().saturating_sub(cx.limits().max_output);
    let most = room.max(above);
    length.min(most.checked_next_multiple_of(FULL).unwrap_or(most))
}

impl<P: Protocol, F> Tls<P, F> {
    /// Applies an event to the inner connection, settles it, and reads from `input`.
    fn happen(
        &mut self,
        cx: &mut Cx<'_>,
        event: impl FnOnce(&mut Turn<'_, P>),
        input: Option<&mut Input<'_>>,
    ) -> Result<(), Error<P::Error>> {
        let Inner::Open(inner) = &mut self.inner else {
            return Ok(());
        };
        let core = &mut *self.core;
        let settled = Scratch::lend(*cx.limits(), cx.now(), |scratch| {
            let mut turn = inner.layered(scratch, cx);
            turn.set_beneath(cx.waiting().saturating_sub(core.own));
            if cx.intent() == Intent::Shutdown && !core.shut {
                // The transport is broken: output is dropped, but received bytes are still delivered.
                turn.drop_output();
            } else if !cx.is_congested() {
                turn.writable();
            }
            if core.unsealed {
                turn.flush_due();
            }
            event(&mut turn);
            let settled = core.settle(&mut turn, cx).and_then(|settled| match input {
                Some(input) => core.read(&mut turn, cx, input, settled),
                None => Ok(settled),
            });
            if settled.is_err() {
                turn.failed(ErrorKind::InvalidData);
            }
            settled
        });
        match settled {
            Ok(Settled::Goes { .. }) if core.ended && !core.unread && !core.engine.is_closed() => self.truncated(cx),
            Ok(Settled::Goes { .. }) => Ok(()),
            Ok(Settled::Closes) => {
                cx.close();
                inner.take_error().map_or(Ok(()), |error| Err(Error::Inner(error)))
            }
            Ok(Settled::Gone { reset }) => {
                if reset {
                    cx.abort();
                } else {
                    cx.close();
                }
                match (inner.take_error(), inner.reason()) {
                    (Some(error), _) => Err(Error::Inner(error)),
                    (None, Reason::File(kind)) => Err(Error::File(kind)),
                    (None, reason @ (Reason::InputLimit | Reason::OutputLimit)) => Err(Error::Limit(reason)),
                    (None, _) => Ok(()),
                }
            }
            Err(fault) => {
                core.failed = true;
                core.shared.counters.broken();
                Err(Error::Tls(fault))
            }
        }
    }

    /// The transport has ended without close_notify.
    #[cold]
    fn truncated(&mut self, cx: &mut Cx<'_>) -> Result<(), Error<P::Error>> {
        if let Inner::Open(inner) = &mut self.inner {
            Scratch::lend(*cx.limits(), cx.now(), |scratch| {
                inner.layered(scratch, cx).failed(ErrorKind::UnexpectedEof);
            });
        }
        self.core.failed = true;
        self.core.shared.counters.broken();
        Err(Error::Truncated)
    }

    /// The handshake has failed.
    #[cold]
    fn failed(&mut self, cx: &mut Cx<'_>, error: Error<P::Error>) -> Error<P::Error> {
        self.core.failed = true;
        self.core.shared.counters.failed(&error);
        if matches!(error, Error::Timeout(_) | Error::Refused) {
            cx.abort();
        }
        error
    }
}

impl<P: Protocol, F: Factory<P>> Tls<P, F> {
    /// Continues the handshake, and opens the inner connection when it is complete. Returns whether it is open.
    #[cold]
    fn shake_hands(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<bool, Error<P::Error>> {
        match self.core.shake_hands(cx, input) {
            Ok(true) => self.open(cx).map(|()| true),
            Ok(false) => Ok(false),
            Err(error) => Err(self.failed(cx, error)),
        }
    }

    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), Error<P::Error>> {
        let (connection, messages) = match core::mem::replace(&mut self.inner, Inner::None) {
            Inner::Unmade(unmade) => {
                let session = Session(&self.core.engine);
                match unmade.factory.make(&Peer::new(&unmade.known), session) {
                    Some(protocol) => (Connection::new(protocol), Vec::new()),
                    None => return Err(self.failed(cx, Error::Refused)),
                }
            }
            Inner::Opening(opening) => (opening.connection, opening.messages),
            Inner::Open(connection) => (connection, Vec::new()),
            Inner::None => return Ok(()),
        };
        self.inner = Inner::Open(connection);
        // The handshake's last bytes do not count as output of the protocol inside.
        self.core.own = cx.waiting();
        let open = |turn: &mut Turn<'_, P>| {
            turn.connected();
            messages.into_iter().for_each(|message| turn.posted(message));
        };
        self.happen(cx, open, None)
    }

    fn is_open(&self) -> bool {
        matches!(self.inner, Inner::Open(_))
    }
}

impl<P: Protocol, F: Factory<P>> Protocol for Tls<P, F> {
    type Message = P::Message;
    type Error = Error<P::Error>;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        self.core.begin(cx.now());
        match self.core.engine.start(cx.output()) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.failed(cx, Error::Tls(fault))),
        }
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        if !self.is_open() && !self.shake_hands(cx, input)? {
            return Ok(());
        }
        if cx.intent() >= Intent::Close {
            return Ok(());
        }
        let happened = self.happen(cx, |_| {}, Some(input));
        self.core.own = 0;
        happened
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        self.core.ended = true;
        if !self.is_open() {
            return Err(self.failed(cx, Error::Ended));
        }
        if self.core.unread || self.core.engine.is_closed() {
            return Ok(());
        }
        self.truncated(cx)
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        match &self.inner {
            Inner::Open(connection) => connection.deadline(),
            _ => self.core.deadline,
        }
    }

    fn keeps_reading(&self) -> bool {
        match &self.inner {
            Inner::Open(connection) => connection.protocol().keeps_reading(),
            Inner::Opening(_) => true,
            Inner::Unmade(_) => !self.core.server,
            Inner::None => false,
        }
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        if self.is_open() {
            return self.happen(cx, |turn| turn.timeout(), None);
        }
        let waiting = if self.core.begun {
            Waiting::Handshake
        } else {
            Waiting::FirstByte
        };
        Err(self.failed(cx, Error::Timeout(waiting)))
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        self.happen(cx, |_| {}, None)
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        self.happen(cx, |turn| turn.again(), None)
    }

    #[inline]
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        if self.core.unsealed {
            return self.happen(cx, |_| {}, None);
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: P::Message) -> Result<(), Self::Error> {
        let inner = match &mut self.inner {
            Inner::Open(inner) => inner,
            Inner::Opening(opening) => {
                if opening.messages.len() >= self.core.shared.limits.messages {
                    return Err(self.failed(cx, Error::TooManyMessages));
                }
                opening.messages.push(message);
                return Ok(());
            }
            // Before the factory is called, no protocol has a sender.
            Inner::Unmade(_) | Inner::None => return Ok(()),
        };
        let wait = Scratch::lend(*cx.limits(), cx.now(), |scratch| {
            let mut turn = inner.layered(scratch, cx);
            turn.posted(message);
            let waiting = cx.waiting() + turn.output().len();
            turn.connection().is_open() && waiting <= cx.high_water()
        });
        // Messages that wait together are answered in one record: `flush` encrypts their output.
        self.core.unsealed = true;
        if wait { Ok(()) } else { self.happen(cx, |_| {}, None) }
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        if self.is_open() {
            return self.happen(cx, |turn| turn.stop(), None);
        }
        cx.close();
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        if !self.is_open() && !self.core.failed {
            self.core.shared.counters.ended();
        }
        match &mut self.inner {
            Inner::Open(connection) => connection.closed(reason),
            Inner::Opening(opening) => opening.connection.closed(reason),
            Inner::Unmade(_) | Inner::None => {}
        }
    }
}

impl<P: Protocol, F> fmt::Debug for Tls<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("session", &self.session())
            .field("received", &self.core.received)
            .finish_non_exhaustive()
    }
}
