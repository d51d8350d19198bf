//! Runs one protocol without a socket, with a clock that moves only when told.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::driver::{Connection, Interest, Scratch, Settled, Transfer, Transport, Turn};
use crate::{Limits, Mailbox, Peer, PeerSource, Protocol, Reason, SendError, Sender};

/// The most messages that wait in a harness's mailbox.
const MAILBOX: usize = 1024;

/// Runs one protocol in memory, by the rules that every driver follows.
///
/// The harness replaces the driver and the kernel: bytes passed to [`receive`](Harness::receive) wait, as in a socket's buffer, while the
/// protocol does not want input; [`set_window`](Harness::set_window) sets how much output the peer takes.
pub struct Harness<P: Protocol> {
    connection: Connection<P>,
    scratch: Scratch,
    mailbox: Arc<Queue<P::Message>>,
    wire: Wire,
    interest: Interest,
    ended: Option<bool>,
}

/// Replaces the kernel's buffers.
#[derive(Default)]
struct Wire {
    incoming: VecDeque<u8>,
    peer_closed: bool,
    sent: Vec<u8>,
    writes: usize,
    window: Option<usize>,
    half_closed: bool,
    /// The error of the next write.
    broken: Option<ErrorKind>,
}

impl Transport for Wire {
    fn receive(&mut self, buffer: &mut [u8]) -> Transfer {
        let n = buffer.len().min(self.incoming.len());
        if n == 0 && !self.peer_closed {
            return match self.broken {
                Some(kind) => Transfer::Failed(kind),
                None => Transfer::Blocked,
            };
        }
        take(&mut self.incoming, &mut buffer[..n]);
        Transfer::Bytes(n)
    }

    fn send(&mut self, bytes: &[u8]) -> Transfer {
        self.send_vectored(&[IoSlice::new(bytes)])
    }

    /// One write, as far as the window allows.
    fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        if let Some(kind) = self.broken {
            return Transfer::Failed(kind);
        }
        let mut room = self.window.unwrap_or(usize::MAX);
        let before = self.sent.len();
        for slice in slices {
            let part = slice.len().min(room);
            self.sent.extend_from_slice(&slice[..part]);
            room -= part;
        }
        let n = self.sent.len() - before;
        self.writes += usize::from(n > 0);
        self.window = self.window.map(|_| room);
        if n == 0 { Transfer::Blocked } else { Transfer::Bytes(n) }
    }

    fn shutdown(&mut self) {
        self.half_closed = true;
    }
}

impl<P: Protocol> Harness<P> {
    /// A harness for a connected protocol with default limits.
    pub fn new(protocol: P) -> Self {
        Self::with_limits(protocol, Limits::default())
    }

    /// A harness for a connected protocol.
    pub fn with_limits(protocol: P, limits: Limits) -> Self {
        Self::start(protocol, limits, Arc::new(Queue::default()))
    }

    fn start(protocol: P, limits: Limits, mailbox: Arc<Queue<P::Message>>) -> Self {
        let mut harness = Self::unconnected(protocol, limits, mailbox);
        harness.happen(|turn| turn.connected());
        harness
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the only way to get an instant; the clock is then moved by hand"
    )]
    fn unconnected(protocol: P, limits: Limits, mailbox: Arc<Queue<P::Message>>) -> Self {
        Harness {
            connection: Connection::new(protocol),
            scratch: Scratch::new(limits, Instant::now()),
            mailbox,
            wire: Wire::default(),
            interest: Interest {
                read: true,
                write: false,
            },
            ended: None,
        }
    }

    /// Runs one turn: an event, and everything that follows from it.
    fn turn<R>(&mut self, happened: impl FnOnce(&mut Turn<'_, P>, &mut Wire) -> R) -> Option<R> {
        if self.ended.is_some() {
            return None;
        }
        let mut turn = self.connection.turn(&mut self.scratch);
        let result = happened(&mut turn, &mut self.wire);
        let mut settled = turn.settle(&mut self.wire);
        drop(turn);
        while settled == Settled::Again {
            let mut turn = self.connection.turn(&mut self.scratch);
            turn.again();
            settled = turn.settle(&mut self.wire);
        }
        match settled {
            Settled::Waits(interest) => self.interest = interest,
            Settled::Again => {}
            Settled::Ended { reset } => self.ended = Some(reset),
        }
        Some(result)
    }

    /// Runs a turn, and the turns that follow from waiting input and messages.
    fn happen(&mut self, happened: impl FnOnce(&mut Turn<'_, P>)) {
        self.turn(|turn, _| happened(turn));
        self.pump();
    }

    /// `bytes` arrive in one read, if the protocol wants input; otherwise they wait.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.wire.incoming.extend(bytes);
        self.pump();
    }

    /// The bytes arrive one at a time.
    pub fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.receive(&[*byte]);
        }
    }

    /// The peer half-closes after the bytes it sent.
    pub fn eof(&mut self) {
        self.wire.peer_closed = true;
        self.pump();
    }

    /// The peer resets the connection.
    pub fn reset(&mut self) {
        self.happen(|turn| turn.failed(ErrorKind::ConnectionReset));
    }

    /// The peer sends `last_words` and resets the connection, which this side notices at its next write.
    pub fn break_off(&mut self, last_words: &[u8]) {
        self.wire.incoming.extend(last_words);
        self.wire.broken = Some(ErrorKind::ConnectionReset);
    }

    /// Posts a message.
    pub fn post(&mut self, message: P::Message) {
        self.happen(|turn| turn.posted(message));
    }

    /// The driver stops.
    pub fn stop(&mut self) {
        self.happen(|turn| turn.stop());
    }

    /// Moves the clock, stopping at each deadline on the way.
    pub fn advance(&mut self, by: Duration) {
        self.advance_to(self.scratch.now + by);
    }

    /// Moves the clock to `to`, stopping at each deadline on the way. Does nothing if `to` is in the past.
    pub fn advance_to(&mut self, to: Instant) {
        while let Some(deadline) = self.deadline().filter(|deadline| *deadline <= to) {
            // A deadline left in the past fires again a millisecond later, as on a driver with a clock of milliseconds.
            let now = self.scratch.now;
            let tick = now + Duration::from_millis(1);
            self.scratch.now = if deadline > now { deadline } else { tick };
            if self.scratch.now > to {
                break;
            }
            self.happen(|turn| turn.timeout());
        }
        self.scratch.now = self.scratch.now.max(to);
    }

    /// Sets how many more bytes the peer takes; `None`, the default, means unlimited.
    pub fn set_window(&mut self, window: Option<usize>) {
        self.wire.window = window;
        if self.interest.write && window != Some(0) {
            self.happen(|turn| turn.writable());
        }
    }

    /// Delivers what waits: messages, then bytes, then the end of the stream.
    pub fn pump(&mut self) {
        while self.ended.is_none() {
            let mailbox = Arc::clone(&self.mailbox);
            let waiting = core::iter::from_fn(|| mailbox.pop());
            let told = self.turn(|turn, _| turn.messages(waiting));
            let input = self.interest.read && (!self.wire.incoming.is_empty() || self.wire.peer_closed);
            if told == Some(0) && !input {
                break;
            }
            if told == Some(0) {
                self.turn(|turn, wire| turn.read(wire));
            }
        }
        if self.ended.is_some() {
            self.mailbox.close();
        }
    }

    /// The protocol.
    pub fn protocol(&self) -> &P {
        self.connection.protocol()
    }

    /// The time of the harness.
    pub fn now(&self) -> Instant {
        self.scratch.now
    }

    /// The time of the next event that depends on the clock.
    pub fn deadline(&self) -> Option<Instant> {
        self.ended.map_or_else(|| self.connection.deadline(), |_| None)
    }

    /// Bytes that were sent and not yet taken by the test.
    pub fn sent(&self) -> &[u8] {
        &self.wire.sent
    }

    /// Takes the bytes that were sent.
    pub fn take_sent(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.wire.sent)
    }

    /// The number of writes that the sent bytes took.
    pub fn writes(&self) -> usize {
        self.wire.writes
    }

    /// Whether a driver would read from this connection now.
    pub fn wants_input(&self) -> bool {
        self.ended.is_none() && self.interest.read
    }

    /// Whether output waits because the peer does not take it.
    pub fn is_blocked(&self) -> bool {
        self.ended.is_none() && self.interest.write
    }

    /// Bytes that the connection holds between events.
    pub fn held(&self) -> usize {
        self.connection.held()
    }

    /// Whether this side has half-closed or closed.
    pub fn is_half_closed(&self) -> bool {
        self.wire.half_closed || self.ended.is_some()
    }

    /// Why the connection ended; `None` while it is open.
    pub fn ended(&self) -> Option<Reason> {
        self.ended.map(|_| self.connection.reason())
    }

    /// The error that the protocol returned.
    pub fn error(&self) -> Option<&P::Error> {
        self.connection.error()
    }

    /// Whether the connection ended with a reset.
    pub fn was_reset(&self) -> bool {
        self.ended == Some(true)
    }
}

impl<P: Protocol> Harness<P>
where
    P::Message: Send + 'static,
{
    /// A harness for a protocol made by a factory, which sees a [`Peer`]. `None` if the factory refuses.
    pub fn accept(limits: Limits, factory: impl FnOnce(&Peer<'_, P::Message>) -> Option<P>) -> Option<Self> {
        let mailbox = Arc::new(Queue::default());
        let protocol = factory(&Peer::new(&Memory(&mailbox)))?;
        Some(Self::start(protocol, limits, mailbox))
    }

    /// A harness for a protocol whose connect fails.
    pub fn refused(make: impl FnOnce(&Peer<'_, P::Message>) -> P) -> Self {
        let mailbox = Arc::new(Queue::default());
        let protocol = make(&Peer::new(&Memory(&mailbox)));
        let mut harness = Self::unconnected(protocol, Limits::default(), mailbox);
        harness.happen(|turn| turn.failed(ErrorKind::ConnectionRefused));
        harness
    }
}

impl<P: Protocol> core::fmt::Debug for Harness<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Harness")
            .field("sent", &self.wire.sent.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Moves bytes off the front of `from` until `to` is full; `from` must have enough of them.
pub(super) fn take(from: &mut VecDeque<u8>, to: &mut [u8]) {
    let (front, back) = from.as_slices();
    let cut = front.len().min(to.len());
    let (start, end) = to.split_at_mut(cut);
    start.copy_from_slice(&front[..cut]);
    end.copy_from_slice(&back[..end.len()]);
    from.drain(..to.len());
}

pub(super) struct Memory<'a, M>(pub(super) &'a Arc<Queue<M>>);

impl<M: Send + 'static> PeerSource<M> for Memory<'_, M> {
    fn remote(&self) -> Option<SocketAddr> {
        None
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }

    fn sender(&self) -> Sender<M> {
        Sender::new(Arc::clone(self.0) as Arc<dyn Mailbox<M>>, 0)
    }
}

/// A mailbox in memory; `None` once the connection has ended.
pub(super) struct Queue<M>(Mutex<Option<VecDeque<M>>>);

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Queue(Mutex::new(Some(VecDeque::new())))
    }
}

impl<M> Queue<M> {
    pub(super) fn pop(&self) -> Option<M> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()?
            .pop_front()
    }

    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<M: Send> Mailbox<M> for Queue<M> {
    fn send(&self, _token: u64, message: M) -> Result<(), SendError<M>> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            None => Err(SendError::Closed(message)),
            Some(queue) if queue.len() >= MAILBOX => Err(SendError::Full(message)),
            Some(queue) => {
                queue.push_back(message);
                Ok(())
            }
        }
    }
}

/// Splits of `bytes`: every cut in two, single bytes, and the whole. Input for the test of a stream decoder.
///
/// ```
/// let all: Vec<Vec<&[u8]>> = protocol::testing::splits(b"abc").collect();
/// assert!(all.contains(&vec![b"a", b"bc"]) && all.contains(&vec![b"abc"]) && all.contains(&vec![b"a", b"b", b"c"]));
/// ```
pub fn splits(bytes: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let halves = (1..bytes.len()).map(move |at| vec![&bytes[..at], &bytes[at..]]);
    [vec![bytes], bytes.chunks(1).collect()].into_iter().chain(halves)
}
