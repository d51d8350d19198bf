//! One pair: two connections, each run as by a driver, and the pipes between them.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::End;
use super::net::{Event, Net};
use crate::Protocol;
use crate::driver::{Connection, Interest, Settled, Transfer, Transport, Turn};
use crate::testing::harness::take;

/// Two protocols and the network between them.
pub(super) struct Pair<A: Protocol, B: Protocol> {
    pub(super) a: Side<A>,
    pub(super) b: Side<B>,
    to_a: Pipe,
    to_b: Pipe,
    pub(super) cut: bool,
}

/// One end.
pub(super) struct Side<P: Protocol> {
    pub(super) connection: Connection<P>,
    pub(super) ended: bool,
    /// Messages in flight to this end.
    pub(super) mail: VecDeque<P::Message>,
    interest: Interest,
    /// The earliest pending timer of this end.
    timer: Option<Instant>,
    eof: bool,
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    segments: VecDeque<Segment>,
    /// Bytes in flight.
    under_way: usize,
    /// Bytes that have arrived and were not read.
    inbox: VecDeque<u8>,
    fin: bool,
    /// When the last segment arrives: later segments must not overtake it.
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

impl<A: Protocol, B: Protocol> Pair<A, B> {
    pub(super) fn new(now: Instant, a: A, b: B) -> Self {
        Pair {
            a: Side::new(a),
            b: Side::new(b),
            to_a: Pipe::new(now),
            to_b: Pipe::new(now),
            cut: false,
        }
    }

    pub(super) fn happen(&mut self, net: &mut Net, id: usize, event: Event) {
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
            Event::Message(End::A) => a.message(net, (id, End::A), to_a, to_b),
            Event::Message(End::B) => b.message(net, (id, End::B), to_b, to_a),
        }
    }
}

/// A pair and one of its ends.
type Place = (usize, End);

impl End {
    fn other(self) -> End {
        match self {
            End::A => End::B,
            End::B => End::A,
        }
    }
}

/// Each event is handled in three steps, as on a driver: the event, its consequences, and the next timer.
impl<P: Protocol> Side<P> {
    fn new(protocol: P) -> Self {
        Side {
            connection: Connection::new(protocol),
            ended: false,
            mail: VecDeque::new(),
            interest: Interest {
                read: false,
                write: false,
            },
            timer: None,
            eof: false,
        }
    }

    fn open(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        self.happen(net, place, (inbound, outbound), |turn| turn.connected());
    }

    fn cut(&mut self, net: &mut Net, place: Place, outbound: &mut Pipe) {
        self.turn(net, place, outbound, |turn| turn.failed(ErrorKind::ConnectionReset));
    }

    fn arrive(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        match inbound.segments.pop_front() {
            Some(Segment::Data(bytes)) => {
                inbound.under_way -= bytes.len();
                if self.ended {
                    // The other end no longer exists.
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
        if self.interest.write && outbound.room(net) > 0 {
            outbound.blocked = false;
            self.happen(net, place, (inbound, outbound), |turn| turn.writable());
        }
    }

    fn timer(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        if self.timer.is_none_or(|timer| timer > net.now) || self.ended {
            return;
        }
        self.timer = None;
        let deadline = self.connection.deadline();
        if deadline.is_some_and(|deadline| deadline <= net.now) {
            self.happen(net, place, (inbound, outbound), |turn| turn.timeout());
        } else {
            self.set_timer(net, place);
        }
    }

    fn again(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        self.happen(net, place, (inbound, outbound), |turn| turn.again());
    }

    fn stop(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        self.happen(net, place, (inbound, outbound), |turn| turn.stop());
    }

    fn message(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        if let Some(message) = self.mail.pop_front() {
            self.happen(net, place, (inbound, outbound), |turn| turn.posted(message));
        }
    }

    fn happen(
        &mut self,
        net: &mut Net,
        place: Place,
        (inbound, outbound): (&mut Pipe, &mut Pipe),
        happened: impl FnOnce(&mut Turn<'_, P>),
    ) {
        self.turn(net, place, outbound, happened);
        self.read(net, place, inbound, outbound);
    }

    /// Reads available input, in pieces of random size.
    fn read(&mut self, net: &mut Net, place: Place, inbound: &mut Pipe, outbound: &mut Pipe) {
        while !self.ended && self.interest.read && !inbound.inbox.is_empty() {
            let piece = net.up_to(inbound.inbox.len());
            let mut len = 0;
            self.turn(net, place, outbound, |turn| {
                let buffer = turn.recv_buffer();
                len = piece.min(buffer.len());
                take(&mut inbound.inbox, &mut buffer[..len]);
                turn.received(len);
            });
            net.mix(len as u64);
        }
        // Wakes the sender as kernels do, once half of the window is free: waking it for every byte would make it send tiny segments.
        if inbound.blocked && inbound.room(net) > net.weather.window / 2 {
            let at = net.now + net.delay();
            net.schedule(at, place.0, Event::Room(place.1.other()));
        }
        if !self.ended && self.interest.read && inbound.inbox.is_empty() && inbound.fin && !self.eof {
            self.eof = true;
            self.turn(net, place, outbound, |turn| turn.eof());
        }
    }

    /// Runs one turn: an event, and everything that follows from it.
    fn turn(&mut self, net: &mut Net, place: Place, outbound: &mut Pipe, happened: impl FnOnce(&mut Turn<'_, P>)) {
        if self.ended {
            return;
        }
        let Some(mut scratch) = net.scratch.take() else { return };
        scratch.now = net.now;
        let mut turn = self.connection.turn(&mut scratch);
        happened(&mut turn);
        let settled = turn.settle(&mut Outbound {
            net,
            place,
            pipe: outbound,
        });
        drop(turn);
        net.scratch = Some(scratch);
        match settled {
            Settled::Waits(interest) => {
                self.interest = interest;
                self.set_timer(net, place);
            }
            Settled::Again => {
                self.interest.read = false;
                let now = net.now;
                net.schedule(now, place.0, Event::Again(place.1));
            }
            Settled::Ended { reset } => {
                self.ended = true;
                if reset {
                    outbound.reset(net, place);
                } else {
                    outbound.push(net, place, Segment::Fin);
                }
            }
        }
    }

    fn set_timer(&mut self, net: &mut Net, place: Place) {
        let Some(deadline) = self.connection.deadline() else {
            return;
        };
        // A deadline left in the past fires again a millisecond later, as on a driver with a clock of milliseconds.
        let at = deadline.max(net.now + Duration::from_millis(1));
        if self.timer.is_none_or(|timer| at < timer) {
            self.timer = Some(at);
            net.schedule(at, place.0, Event::Timer(place.1));
        }
    }
}

/// The pipe to the other end as a transport, which takes segments of any size.
struct Outbound<'a> {
    net: &'a mut Net,
    place: Place,
    pipe: &'a mut Pipe,
}

impl Transport for Outbound<'_> {
    const SHORT_SEND_BLOCKS: bool = false;

    /// Input is delivered before a turn is settled.
    fn receive(&mut self, _: &mut [u8]) -> Transfer {
        Transfer::Blocked
    }

    fn send(&mut self, bytes: &[u8]) -> Transfer {
        let mut left = &bytes[..bytes.len().min(self.pipe.room(self.net))];
        if left.is_empty() {
            self.pipe.blocked = true;
            return Transfer::Blocked;
        }
        let sent = left.len();
        while !left.is_empty() {
            let size = self.net.up_to(self.net.weather.segment).min(left.len());
            let (segment, rest) = left.split_at(size);
            self.pipe.push(self.net, self.place, Segment::Data(segment.to_vec()));
            left = rest;
        }
        Transfer::Bytes(sent)
    }

    fn shutdown(&mut self) {
        self.pipe.push(self.net, self.place, Segment::Fin);
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
        self.last = self.last.max(net.now + net.delay());
        // Keeps segments in order, because simultaneous events happen in random order.
        self.last += Duration::from_nanos(1);
        self.segments.push_back(segment);
        net.schedule(self.last, id, Event::Arrive(end.other()));
        if net.chance(net.weather.resets) {
            net.schedule(self.last, id, Event::Cut);
        }
    }

    /// Sends a reset from `place`; its bytes in flight are lost.
    fn reset(&mut self, net: &mut Net, place: Place) {
        if !matches!(self.segments.back(), Some(Segment::Reset)) {
            self.segments.clear();
            self.under_way = 0;
            self.closed = false;
            self.push(net, place, Segment::Reset);
        }
    }
}
