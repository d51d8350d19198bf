//! Many pairs of protocols in one thread on a simulated network, repeatable by seed.

mod net;
mod pair;

use core::fmt;
use std::time::Duration;

use self::net::{Event, Net};
use self::pair::Pair;
use crate::{Limits, Protocol, Reason};

/// Properties of the network. The seed decides everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weather {
    /// The longest time that bytes travel. Default 40 ms.
    pub latency: Duration,
    /// The stream is cut into segments of at most this many bytes. Default 1,460.
    pub segment: usize,
    /// Bytes in flight or unread in one direction before the sender is blocked. Default 64 KiB.
    pub window: usize,
    /// Stalled segments in 10,000; see [`stall`](Weather::stall). Default 10.
    pub stalls: u32,
    /// The longest delay of a stalled segment. Default 3 s.
    pub stall: Duration,
    /// Segments in 10,000 that are lost together with their connection. Default 10.
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

/// A pair of which both ends are closed.
#[derive(Debug)]
pub struct Ended<'s, A, B> {
    /// The number of the pair, as returned by [`Sim::open`].
    pub id: usize,
    /// The first end.
    pub a: &'s A,
    /// The second end.
    pub b: &'s B,
    /// Why the first end closed.
    pub a_reason: Reason,
    /// Why the second end closed.
    pub b_reason: Reason,
    /// Whether the network cut the connection.
    pub cut: bool,
}

/// Simulates connections by the rules that every driver follows: with latency, segments of any size, short reads, blocked senders, stalls
/// and resets, in virtual time. The seed alone decides the order of events.
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
pub struct Sim<A: Protocol, B: Protocol> {
    net: Net,
    pairs: Vec<Option<Box<Pair<A, B>>>>,
    live: usize,
}

impl<A: Protocol, B: Protocol> Sim<A, B> {
    /// A network without connections. Both ends of each connection get `limits`.
    pub fn new(weather: Weather, limits: Limits, seed: u64) -> Self {
        Sim {
            net: Net::new(weather, limits, seed),
            pairs: Vec::new(),
            live: 0,
        }
    }

    /// Connects `a` with `b` in `after` from now. Returns the pair's number, counted from 0.
    pub fn open(&mut self, after: Duration, a: A, b: B) -> usize {
        let id = self.pairs.len();
        let now = self.net.now;
        self.pairs.push(Some(Box::new(Pair::new(now, a, b))));
        self.live += 1;
        self.net.schedule(now + after, id, Event::Open);
        id
    }

    /// Asks one end of a pair to stop in `after` from now, as a driver does when it shuts down.
    pub fn stop(&mut self, after: Duration, id: usize, end: End) {
        self.net.schedule(self.net.now + after, id, Event::Stop(end));
    }

    /// Posts a message to the first end of a pair in `after` from now. A message before the pair has opened, or after its end, is dropped.
    /// Messages arrive in order.
    pub fn message_a(&mut self, after: Duration, id: usize, message: A::Message) {
        if let Some(Some(pair)) = self.pairs.get_mut(id) {
            pair.a.mail.push_back(message);
            self.net.schedule(self.net.now + after, id, Event::Message(End::A));
        }
    }

    /// Like [`message_a`](Self::message_a), for the second end.
    pub fn message_b(&mut self, after: Duration, id: usize, message: B::Message) {
        if let Some(Some(pair)) = self.pairs.get_mut(id) {
            pair.b.mail.push_back(message);
            self.net.schedule(self.net.now + after, id, Event::Message(End::B));
        }
    }

    /// Runs for `time` of the virtual clock, or until nothing more can happen. Calls `ended` once for every pair of which both ends have
    /// closed, and then drops the pair.
    pub fn run(&mut self, time: Duration, mut ended: impl FnMut(Ended<'_, A, B>)) {
        let until = self.net.now + time;
        while let Some((id, event)) = self.net.pop(until) {
            self.happen(id, event, &mut ended);
        }
        self.net.now = self.net.now.max(until);
    }

    /// Runs until only timers are pending, or for at most `time` of the virtual clock. The clock then stops at the last event.
    pub fn settle(&mut self, time: Duration, mut ended: impl FnMut(Ended<'_, A, B>)) {
        let until = self.net.now + time;
        while !self.net.is_quiet()
            && let Some((id, event)) = self.net.pop(until)
        {
            self.happen(id, event, &mut ended);
        }
    }

    fn happen(&mut self, id: usize, event: Event, ended: &mut impl FnMut(Ended<'_, A, B>)) {
        let Some(slot) = self.pairs.get_mut(id) else { return };
        let Some(pair) = slot else { return };
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

    /// The number of pairs that have not ended, including those not opened yet.
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
        self.net.now - self.net.start
    }

    /// A digest of all events so far: runs that differ in any event have different digests.
    pub fn digest(&self) -> u64 {
        self.net.digest
    }
}

impl<A: Protocol, B: Protocol> fmt::Debug for Sim<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("elapsed", &self.elapsed())
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}
