//! Many pairs of protocols in one thread, on a network in any weather, the same every time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Buf;

use crate::driver::{Connection, Interest, Todo, Turn};
use crate::{Limits, Protocol, Reason};

/// What the network is like. Every choice it leaves open follows from the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weather {
    /// The longest time that bytes are under way. Default 40 ms.
    pub latency: Duration,
    /// The stream is cut into segments of at most this many bytes. Default 1,460.
    pub segment: usize,
    /// Bytes that may be under way or unread in one direction before the sender is blocked. Default 64 KiB.
    pub window: usize,
    /// Of 10,000 segments, how many are held up for [`stall`](Weather::stall). Default 10.
    pub stalls: u32,
    /// How long a segment may be held up. Default 3 s.
    pub stall: Duration,
    /// Of 10,000 segments, how many are lost for good together with their connection. Default 10.
    pub resets: u32,
}

impl Default for Weather {
    fn default() -> Self {
        Weather {
            latency: Duration::from_millis(40),
            segment: 1460,
            window: 64 * 1024,
            stalls: 10,
            stall: Duration::from_secs(3),
            resets: 10,
        }
    }
}

impl Weather {
    /// No stalls and no resets.
    #[must_use]
    pub fn calm() -> Self {
        Weather {
            stalls: 0,
            resets: 0,
            ..Weather::default()
        }
    }
}

/// One end of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The first.
    A,
    /// The second.
    B,
}

/// A pair whose both ends are closed.
#[derive(Debug)]
pub struct Ended<'s, A, B> {
    /// Its number, as [`Sim::open`] gave it.
    pub id: usize,
    /// The one end.
    pub a: &'s A,
    /// The other end.
    pub b: &'s B,
    /// Why the one end closed.
    pub a_reason: Reason,
    /// Why the other end closed.
    pub b_reason: Reason,
    /// Whether the network cut the connection.
    pub cut: bool,
}

/// Simulates connections by the rules every driver keeps: with latency, segments of any size, short reads, blocked
/// senders, stalls and resets, in virtual time, in an order that follows from the seed alone.
///
/// ```
/// use std::time::Duration;
/// use protocol::testing::{Sim, Weather};
/// # use protocol::{Cx, Input, Limits, Protocol, Reason};
/// # struct Ask; struct Answer;
/// # impl Protocol for Ask { type Message = (); type Error = std::convert::Infallible;
/// #   fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> { cx.send(b"?"); Ok(()) }
/// #   fn received(&mut self, cx: &mut Cx<'_>, i: &mut Input<'_>) -> Result<(), Self::Error> { i.take_all(); cx.close(); Ok(()) } }
/// # impl Protocol for Answer { type Message = (); type Error = std::convert::Infallible;
/// #   fn received(&mut self, cx: &mut Cx<'_>, i: &mut Input<'_>) -> Result<(), Self::Error> { i.take_all(); cx.send(b"!"); Ok(()) } }
/// let mut sim = Sim::new(Weather::calm(), Limits::default(), 7);
/// for n in 0..100 {
///     sim.open(Duration::from_millis(n), Ask, Answer);
/// }
/// let mut done = 0;
/// sim.run(Duration::from_secs(10), |ended| {
///     assert_eq!((ended.a_reason, ended.b_reason), (Reason::Closed, Reason::Closed));
///     done += 1;
/// });
/// assert_eq!((done, sim.live()), (100, 0));
/// ```
#[derive(Debug)]
pub struct Sim<A: Protocol, B: Protocol> {
    net: Net,
    pairs: Vec<Option<Box<Pair<A, B>>>>,
    live: usize,
}

/// What all pairs share.
#[derive(Debug)]
struct Net {
    weather: Weather,
    random: u64,
    turn: Turn,
    start: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64, usize, Event)>>,
    digest: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Open,
    /// The next segment for this end is there.
    Arrive(End),
    /// What this end sends may be taken again.
    Room(End),
    Timer(End),
    Again(End),
    Stop(End),
    /// The network cuts the connection.
    Cut,
}

#[derive(Debug)]
struct Pair<A, B> {
    a: Side<A>,
    b: Side<B>,
    to_a: Pipe,
    to_b: Pipe,
    cut: bool,
}

#[derive(Debug)]
struct Side<P> {
    connection: Connection<P>,
    interest: Interest,
    /// The earliest timer under way for it.
    timer: Option<Instant>,
    eof: bool,
    ended: bool,
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    segments: VecDeque<Segment>,
    /// Bytes in them.
    under_way: usize,
    /// Arrived and not read.
    inbox: VecDeque<u8>,
    fin: bool,
    /// When the last segment arrives: none overtakes it.
    last: Instant,
    /// The sender waits for room.
    blocked: bool,
    closed: bool,
}

#[derive(Debug)]
enum Segment {
    Data(Vec<u8>),
    Fin,
    Reset,
}

impl<A: Protocol, B: Protocol> Sim<A, B> {
    /// A network without connections. Both ends of each have `limits`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the only way to get an instant; the clock is then moved by hand"
    )]
    pub fn new(weather: Weather, limits: Limits, seed: u64) -> Self {
        let start = Instant::now();
        Sim {
            net: Net {
                weather,
                random: seed,
                turn: Turn::new(limits, start),
                start,
                queue: BinaryHeap::new(),
                digest: 0,
            },
            pairs: Vec::new(),
            live: 0,
        }
    }

    /// Connects `a` with `b`, `after` now. Returns the pair's number, counted from 0.
    pub fn open(&mut self, after: Duration, a: A, b: B) -> usize {
        let id = self.pairs.len();
        let now = self.net.turn.now;
        self.pairs.push(Some(Box::new(Pair {
            a: Side::new(a),
            b: Side::new(b),
            to_a: Pipe::new(now),
            to_b: Pipe::new(now),
            cut: false,
        })));
        self.live += 1;
        self.net.schedule(now + after, id, Event::Open);
        id
    }

    /// Asks one end of a pair to stop, as a driver does that shuts down, `after` now.
    pub fn stop(&mut self, after: Duration, id: usize, end: End) {
        self.net.schedule(self.net.turn.now + after, id, Event::Stop(end));
    }

    /// Runs for `time` of the virtual clock, or until nothing can happen any more. `ended` sees every pair whose ends
    /// have both closed, once; then it is dropped.
    pub fn run(&mut self, time: Duration, mut ended: impl FnMut(Ended<'_, A, B>)) {
        let until = self.net.turn.now + time;
        while let Some(&Reverse((at, _, id, event))) = self.net.queue.peek() {
            if at > until {
                break;
            }
            self.net.queue.pop();
            self.net.turn.now = at.max(self.net.turn.now);
            let Some(slot) = self.pairs.get_mut(id) else { continue };
            let Some(pair) = slot else { continue };
            self.net.note(id, event);
            pair.happen(&mut self.net, id, event);
            if pair.a.ended && pair.b.ended {
                ended(Ended {
                    id,
                    a: pair.a.connection.protocol(),
                    b: pair.b.connection.protocol(),
                    a_reason: pair.a.connection.reason(),
                    b_reason: pair.b.connection.reason(),
                    cut: pair.cut,
                });
                *slot = None;
                self.live -= 1;
            }
        }
        self.net.turn.now = self.net.turn.now.max(until);
    }

    /// Pairs that have not ended, with those not yet opened.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Both ends of a pair; `None` when it has ended.
    pub fn pair(&self, id: usize) -> Option<(&A, &B)> {
        let pair = self.pairs.get(id)?.as_ref()?;
        Some((pair.a.connection.protocol(), pair.b.connection.protocol()))
    }

    /// The virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.net.turn.now - self.net.start
    }

    /// A number that follows from all that happened so far: two runs that differ in anything differ in it.
    pub fn digest(&self) -> u64 {
        self.net.digest
    }
}

impl Net {
    fn schedule(&mut self, at: Instant, id: usize, event: Event) {
        // What happens at the same time happens in any order.
        let tie = self.next();
        self.queue.push(Reverse((at, tie, id, event)));
    }

    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number from 1 to `end`, or 1.
    fn up_to(&mut self, end: usize) -> usize {
        1 + (self.next() % end.max(1) as u64) as usize
    }

    fn chance(&mut self, of_ten_thousand: u32) -> bool {
        self.next() % 10_000 < u64::from(of_ten_thousand)
    }

    fn delay(&mut self) -> Duration {
        let micros = self.weather.latency.as_micros().max(1) as u64;
        let delay = Duration::from_micros(self.next() % micros);
        if self.chance(self.weather.stalls) {
            delay + self.weather.stall
        } else {
            delay
        }
    }

    fn note(&mut self, id: usize, event: Event) {
        let kind = match event {
            Event::Open => 0,
            Event::Cut => 1,
            Event::Arrive(end) => 2 + end as u64,
            Event::Room(end) => 4 + end as u64,
            Event::Timer(end) => 6 + end as u64,
            Event::Again(end) => 8 + end as u64,
            Event::Stop(end) => 10 + end as u64,
        };
        let time = (self.turn.now - self.start).as_nanos() as u64;
        self.mix(time ^ (id as u64) << 40 ^ kind);
    }

    fn mix(&mut self, value: u64) {
        self.digest = (self.digest ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }
}

impl<A: Protocol, B: Protocol> Pair<A, B> {
    fn happen(&mut self, net: &mut Net, id: usize, event: Event) {
        let Pair { a, b, to_a, to_b, cut } = self;
        match event {
            Event::Open => {
                a.open(net, (id, End::A), to_a, to_b);
                b.open(net, (id, End::B), to_b, to_a);
            }
            Event::Cut => {
                *cut = true;
                a.cut(net, (id, End::A), to_b);
                b.cut(net, (id, End::B), to_a);
            }
            Event::Arrive(End::A) => a.arrive(net, (id, End::A), to_a, to_b),
            Event::Arrive(End::B) => b.arrive(net, (id, End::B), to_b, to_a),
            Event::Room(End::A) => a.room(net, (id, End::A), to_a, to_b),
            Event::Room(End::B) => b.room(net, (id, End::B), to_b, to_a),
            Event::Timer(End::A) => a.timer(net, (id, End::A), to_a, to_b),
            Event::Timer(End::B) => b.timer(net, (id, End::B), to_b, to_a),
            Event::Again(End::A) => a.again(net, (id, End::A), to_a, to_b),
            Event::Again(End::B) => b.again(net, (id, End::B), to_b, to_a),
            Event::Stop(End::A) => a.stop(net, (id, End::A), to_a, to_b),
            Event::Stop(End::B) => b.stop(net, (id, End::B), to_b, to_a),
        }
    }
}

/// Which end of which pair.
type Place = (usize, End);

impl End {
    fn other(self) -> End {
        match self {
            End::A => End::B,
            End::B => End::A,
        }
    }
}

/// Each event in three steps, as on a driver: what happened, what there is to do, what comes next.
impl<P: Protocol> Side<P> {
    fn new(protocol: P) -> Self {
        Side {
            connection: Connection::new(protocol),
            interest: Interest {
                read: false,
                write: false,
            },
            timer: None,
            eof: false,
            ended: false,
        }
    }

    fn open(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        if !self.ended {
            self.connection.connected(&mut net.turn);
            self.go_on(net, place, inbound, outbound);
        }
    }

    fn cut(&mut self, net: &mut Net, place: Place, outbound: &mut Pipe) {
        if !self.ended {
            self.connection.failed(&mut net.turn, ErrorKind::ConnectionReset);
            self.settle(net, place, outbound);
        }
    }

    fn arrive(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        match inbound.segments.pop_front() {
            Some(Segment::Data(bytes)) => {
                inbound.under_way -= bytes.len();
                if self.ended {
                    // Nobody is there any more.
                    return outbound.reset(net, place);
                }
                inbound.inbox.extend(bytes);
            }
            Some(Segment::Fin) => inbound.fin = true,
            Some(Segment::Reset) => return self.cut(net, place, outbound),
            None => return,
        }
        self.read(net, place, inbound, outbound);
    }

    fn room(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        if !self.ended && self.interest.write && outbound.room(net) > 0 {
            outbound.blocked = false;
            self.connection.writable(&mut net.turn);
            self.go_on(net, place, inbound, outbound);
        }
    }

    fn timer(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        if self.timer.is_none_or(|timer| timer > net.turn.now) || self.ended {
            return;
        }
        self.timer = None;
        if self
            .connection
            .deadline()
            .is_some_and(|deadline| deadline <= net.turn.now)
        {
            self.connection.timeout(&mut net.turn);
            self.go_on(net, place, inbound, outbound);
        } else {
            self.set_timer(net, place);
        }
    }

    fn again(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        if !self.ended {
            self.connection.again(&mut net.turn);
            self.go_on(net, place, inbound, outbound);
        }
    }

    fn stop(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        if !self.ended {
            self.connection.stop(&mut net.turn);
            self.go_on(net, place, inbound, outbound);
        }
    }

    fn go_on(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        self.settle(net, place, outbound);
        self.read(net, place, inbound, outbound);
    }

    /// Reads what is there, in pieces of any size.
    fn read(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        while !self.ended && self.interest.read && !inbound.inbox.is_empty() {
            let len = net.up_to(inbound.inbox.len());
            let buffer = self.connection.recv_buffer(&mut net.turn);
            let len = len.min(buffer.len());
            for (slot, byte) in buffer.iter_mut().zip(inbound.inbox.drain(..len)) {
                *slot = byte;
            }
            net.mix(len as u64);
            self.connection.received(&mut net.turn, len);
            self.settle(net, place, outbound);
        }
        if inbound.blocked && inbound.room(net) > 0 {
            let at = net.turn.now + net.delay();
            net.schedule(at, place.0, Event::Room(place.1.other()));
        }
        if !self.ended && self.interest.read && inbound.inbox.is_empty() && inbound.fin && !self.eof {
            self.eof = true;
            self.connection.eof(&mut net.turn);
            self.settle(net, place, outbound);
        }
    }

    fn settle(&mut self, net: &mut Net, place: Place, outbound: &mut Pipe) {
        loop {
            match self.connection.todo(&mut net.turn) {
                Todo::Send => self.send(net, place, outbound),
                Todo::Shutdown => outbound.push(net, place, Segment::Fin),
                Todo::Wait(interest) => {
                    self.interest = interest;
                    return self.set_timer(net, place);
                }
                Todo::Again => {
                    self.interest.read = false;
                    let now = net.turn.now;
                    net.schedule(now, place.0, Event::Again(place.1));
                    return;
                }
                Todo::Drop { reset } => {
                    self.ended = true;
                    if reset {
                        outbound.reset(net, place);
                    } else {
                        outbound.push(net, place, Segment::Fin);
                    }
                    return;
                }
            }
        }
    }

    fn send(&mut self, net: &mut Net, place: Place, outbound: &mut Pipe) {
        let room = outbound.room(net);
        let len = net.turn.output.chunk().len().min(room);
        let mut left = len;
        while left > 0 {
            let size = net.up_to(net.weather.segment).min(left);
            let segment = net.turn.output.copy_to_bytes(size).to_vec();
            outbound.push(net, place, Segment::Data(segment));
            left -= size;
        }
        // The bytes are off the output already; what is said here is that the peer took some.
        self.connection.sent(&mut net.turn, 0);
        if len == room && !net.turn.output.is_empty() {
            outbound.blocked = true;
            self.connection.blocked(&mut net.turn);
        }
    }

    fn set_timer(&mut self, net: &mut Net, place: Place) {
        let Some(deadline) = self.connection.deadline() else {
            return;
        };
        // A deadline left in the past fires again, a tick later, as on a driver with a clock of milliseconds.
        let at = deadline.max(net.turn.now + Duration::from_millis(1));
        if self.timer.is_none_or(|timer| at < timer) {
            self.timer = Some(at);
            net.schedule(at, place.0, Event::Timer(place.1));
        }
    }
}

impl Pipe {
    fn new(now: Instant) -> Self {
        Pipe {
            segments: VecDeque::new(),
            under_way: 0,
            inbox: VecDeque::new(),
            fin: false,
            last: now,
            blocked: false,
            closed: false,
        }
    }

    fn room(&self, net: &Net) -> usize {
        net.weather.window.saturating_sub(self.under_way + self.inbox.len())
    }

    /// Sends a segment from `place`.
    fn push(&mut self, net: &mut Net, (id, end): Place, segment: Segment) {
        if self.closed {
            return;
        }
        match &segment {
            Segment::Data(bytes) => self.under_way += bytes.len(),
            Segment::Fin | Segment::Reset => self.closed = true,
        }
        self.last = self.last.max(net.turn.now + net.delay());
        // None overtakes another, whatever the order of what happens at the same time.
        self.last += Duration::from_nanos(1);
        self.segments.push_back(segment);
        net.schedule(self.last, id, Event::Arrive(end.other()));
        if net.chance(net.weather.resets) {
            net.schedule(self.last, id, Event::Cut);
        }
    }

    /// Sends a reset from `place`; what is under way from there is lost.
    fn reset(&mut self, net: &mut Net, place: Place) {
        if !matches!(self.segments.back(), Some(Segment::Reset)) {
            self.segments.clear();
            self.under_way = 0;
            self.closed = false;
            self.push(net, place, Segment::Reset);
        }
    }
}
