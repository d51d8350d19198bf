//! One protocol, no socket, a clock that moves only when told.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Buf;

use crate::driver::{Connection, Interest, Todo, Turn};
use crate::{Limits, Mailbox, Peer, PeerSource, Protocol, Reason, SendError, Sender};

/// Messages that may wait in a harness's mailbox.
const MAILBOX: usize = 1024;

/// Runs one protocol in memory, by the rules every driver keeps.
///
/// The harness stands for the driver and the kernel: bytes handed to [`receive`](Harness::receive) wait, as in a socket's
/// buffer, while the protocol does not want input; [`set_window`](Harness::set_window) says how much the peer takes.
pub struct Harness<P: Protocol> {
    connection: Connection<P>,
    turn: Turn,
    mailbox: Arc<Queue<P::Message>>,
    incoming: VecDeque<u8>,
    peer_closed: bool,
    interest: Interest,
    sent: Vec<u8>,
    writes: usize,
    window: Option<usize>,
    half_closed: bool,
    ended: Option<bool>,
}

impl<P: Protocol> Harness<P> {
    /// A connected protocol with default limits.
    pub fn new(protocol: P) -> Self {
        Self::with_limits(protocol, Limits::default())
    }

    /// A connected protocol.
    pub fn with_limits(protocol: P, limits: Limits) -> Self {
        Self::start(protocol, limits, Arc::new(Queue::default()))
    }

    fn start(protocol: P, limits: Limits, mailbox: Arc<Queue<P::Message>>) -> Self {
        let mut harness = Self::unconnected(protocol, limits, mailbox);
        harness.connection.connected(&mut harness.turn);
        harness.settle();
        harness.pump();
        harness
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the only way to get an instant; the clock is then moved by hand"
    )]
    fn unconnected(protocol: P, limits: Limits, mailbox: Arc<Queue<P::Message>>) -> Self {
        Harness {
            connection: Connection::new(protocol),
            turn: Turn::new(limits, Instant::now()),
            mailbox,
            incoming: VecDeque::new(),
            peer_closed: false,
            interest: Interest {
                read: true,
                write: false,
            },
            sent: Vec::new(),
            writes: 0,
            window: None,
            half_closed: false,
            ended: None,
        }
    }

    /// The bytes come in one read, as far as the protocol wants input; the rest waits.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
        self.pump();
    }

    /// The bytes come one at a time.
    pub fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.receive(&[*byte]);
        }
    }

    /// The peer half-closes behind what it sent.
    pub fn eof(&mut self) {
        self.peer_closed = true;
        self.pump();
    }

    /// The peer resets the connection.
    pub fn reset(&mut self) {
        if self.ended.is_none() {
            self.connection.failed(&mut self.turn, ErrorKind::ConnectionReset);
            self.settle();
        }
    }

    /// Delivers a message.
    pub fn message(&mut self, message: P::Message) {
        if self.ended.is_none() {
            self.connection.message(&mut self.turn, message);
            self.settle();
            self.pump();
        }
    }

    /// The driver stops.
    pub fn stop(&mut self) {
        if self.ended.is_none() {
            self.connection.stop(&mut self.turn);
            self.settle();
            self.pump();
        }
    }

    /// Moves the clock, stopping at each deadline on the way.
    pub fn advance(&mut self, by: Duration) {
        self.advance_to(self.turn.now + by);
    }

    /// Moves the clock to `to`, stopping at each deadline on the way. The past is ignored.
    pub fn advance_to(&mut self, to: Instant) {
        while let Some(deadline) = self.deadline().filter(|deadline| *deadline <= to) {
            // A deadline left in the past fires again, a tick later, as on a driver with a clock of milliseconds.
            let tick = self.turn.now + Duration::from_millis(1);
            self.turn.now = if deadline > self.turn.now { deadline } else { tick };
            if self.turn.now > to {
                break;
            }
            self.connection.timeout(&mut self.turn);
            self.settle();
            self.pump();
        }
        self.turn.now = self.turn.now.max(to);
    }

    /// How many more bytes the peer takes; `None`, the default, for any number.
    pub fn set_window(&mut self, window: Option<usize>) {
        self.window = window;
        if self.ended.is_none() && self.interest.write && window != Some(0) {
            self.connection.writable(&mut self.turn);
            self.settle();
            self.pump();
        }
    }

    /// Delivers what waits: messages, then bytes, then the end of the stream.
    pub fn pump(&mut self) {
        while self.ended.is_none() {
            let waiting = core::iter::from_fn(|| self.mailbox.pop());
            if self.connection.messages(&mut self.turn, waiting) > 0 {
                // They are told; what they left is sent below.
            } else if self.interest.read && !self.incoming.is_empty() {
                let buffer = self.connection.recv_buffer(&mut self.turn);
                let n = buffer.len().min(self.incoming.len());
                take(&mut self.incoming, &mut buffer[..n]);
                self.connection.received(&mut self.turn, n);
            } else if self.interest.read && self.peer_closed {
                self.connection.eof(&mut self.turn);
            } else {
                break;
            }
            self.settle();
        }
        if self.ended.is_some() {
            self.mailbox.close();
        }
    }

    fn settle(&mut self) {
        loop {
            match self.connection.todo(&mut self.turn) {
                Todo::Send => self.send(),
                Todo::Shutdown => self.half_closed = true,
                Todo::Wait(interest) => {
                    self.interest = interest;
                    return;
                }
                Todo::Again => self.connection.again(&mut self.turn),
                Todo::Drop { reset } => {
                    self.ended = Some(reset);
                    return;
                }
            }
        }
    }

    /// One vectored write, into the window.
    fn send(&mut self) {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = self.turn.output.chunks_vectored(&mut slices);
        let mut room = self.window.unwrap_or(usize::MAX);
        let before = self.sent.len();
        for slice in slices.iter().take(filled) {
            let part = slice.len().min(room);
            self.sent.extend_from_slice(&slice[..part]);
            room -= part;
        }
        let n = self.sent.len() - before;
        self.writes += usize::from(n > 0);
        self.window = self.window.map(|_| room);
        self.connection.sent(&mut self.turn, n);
        if room == 0 && !self.turn.output.is_empty() {
            self.connection.blocked(&mut self.turn);
        }
    }

    /// The protocol.
    pub fn protocol(&self) -> &P {
        self.connection.protocol()
    }

    /// The harness's time.
    pub fn now(&self) -> Instant {
        self.turn.now
    }

    /// When the clock would next make something happen.
    pub fn deadline(&self) -> Option<Instant> {
        self.ended.map_or_else(|| self.connection.deadline(), |_| None)
    }

    /// What was sent and not yet taken.
    pub fn sent(&self) -> &[u8] {
        &self.sent
    }

    /// Takes what was sent.
    pub fn take_sent(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.sent)
    }

    /// How many writes it took to send what was sent so far.
    pub fn writes(&self) -> usize {
        self.writes
    }

    /// Whether the protocol's driver reads at present.
    pub fn wants_input(&self) -> bool {
        self.ended.is_none() && self.interest.read
    }

    /// Whether output waits that the peer does not take.
    pub fn is_blocked(&self) -> bool {
        self.ended.is_none() && self.interest.write
    }

    /// Bytes the connection holds between events.
    pub fn held(&self) -> usize {
        self.connection.held()
    }

    /// Whether this side has half-closed, or closed.
    pub fn is_half_closed(&self) -> bool {
        self.half_closed || self.ended.is_some()
    }

    /// Why the connection ended; `None` while it lives.
    pub fn ended(&self) -> Option<Reason> {
        self.ended.map(|_| self.connection.reason())
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
    /// A protocol made by a factory, which sees a [`Peer`]; `None` when the factory refuses.
    pub fn accept(limits: Limits, factory: impl FnOnce(&Peer<'_, P::Message>) -> Option<P>) -> Option<Self> {
        let mailbox = Arc::new(Queue::default());
        let protocol = factory(&Peer::new(&Memory(&mailbox)))?;
        Some(Self::start(protocol, limits, mailbox))
    }

    /// A protocol whose connect fails.
    pub fn refused(make: impl FnOnce(&Peer<'_, P::Message>) -> P) -> Self {
        let mailbox = Arc::new(Queue::default());
        let protocol = make(&Peer::new(&Memory(&mailbox)));
        let mut harness = Self::unconnected(protocol, Limits::default(), mailbox);
        harness
            .connection
            .failed(&mut harness.turn, ErrorKind::ConnectionRefused);
        harness.settle();
        harness
    }
}

impl<P: Protocol> core::fmt::Debug for Harness<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Harness")
            .field("sent", &self.sent.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Moves as many bytes as `to` has off the front of `from`, which has them, a slice at a time.
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

/// A mailbox in memory; `None` once the connection is gone.
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

/// Every way to cut `bytes` in two, byte by byte, and whole: what a test of a stream decoder feeds it.
///
/// ```
/// let all: Vec<Vec<&[u8]>> = protocol::testing::splits(b"abc").collect();
/// assert!(all.contains(&vec![b"a", b"bc"]) && all.contains(&vec![b"abc"]) && all.contains(&vec![b"a", b"b", b"c"]));
/// ```
pub fn splits(bytes: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let halves = (1..bytes.len()).map(move |at| vec![&bytes[..at], &bytes[at..]]);
    [vec![bytes], bytes.chunks(1).collect()].into_iter().chain(halves)
}
