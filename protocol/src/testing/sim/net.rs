//! Time and chance: the next event, and the effects of the weather.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::{End, Weather};
use crate::Limits;
use crate::driver::Scratch;

/// The state that all pairs share.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) weather: Weather,
    pub(super) now: Instant,
    /// Taken out during a turn.
    pub(super) scratch: Option<Scratch>,
    pub(super) digest: u64,
    pub(super) start: Instant,
    random: u64,
    queue: BinaryHeap<Reverse<(Instant, u64, usize, Event)>>,
    /// Queued events other than timers.
    under_way: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Open,
    /// The next segment for this end arrives.
    Arrive(End),
    /// The network can take more output of this end.
    Room(End),
    Timer(End),
    Again(End),
    Stop(End),
    /// The next message for this end arrives.
    Message(End),
    /// The network cuts the connection.
    Cut,
}

impl Net {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only way to get an instant; the clock is then moved by hand"
    )]
    pub(super) fn new(weather: Weather, limits: Limits, seed: u64) -> Self {
        let start = Instant::now();
        Net {
            weather,
            now: start,
            scratch: Some(Scratch::new(limits, start)),
            digest: 0,
            start,
            random: seed,
            queue: BinaryHeap::new(),
            under_way: 0,
        }
    }

    pub(super) fn schedule(&mut self, at: Instant, id: usize, event: Event) {
        // Simultaneous events happen in random order.
        let tie = self.next();
        self.under_way += usize::from(!matches!(event, Event::Timer(_)));
        self.queue.push(Reverse((at, tie, id, event)));
    }

    /// Whether only timers are pending.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way == 0
    }

    /// The next event up to `until`. Moves the clock to it.
    pub(super) fn pop(&mut self, until: Instant) -> Option<(usize, Event)> {
        let &Reverse((at, _, id, event)) = self.queue.peek()?;
        if at > until {
            return None;
        }
        self.queue.pop();
        self.under_way -= usize::from(!matches!(event, Event::Timer(_)));
        self.now = at.max(self.now);
        Some((id, event))
    }

    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A random number from 1 to `end`, at least 1.
    pub(super) fn up_to(&mut self, end: usize) -> usize {
        1 + (self.next() % end.max(1) as u64) as usize
    }

    pub(super) fn chance(&mut self, of_ten_thousand: u32) -> bool {
        self.next() % 10_000 < u64::from(of_ten_thousand)
    }

    pub(super) fn delay(&mut self) -> Duration {
        let micros = self.weather.latency.as_micros().max(1) as u64;
        let delay = Duration::from_micros(self.next() % micros);
        if self.chance(self.weather.stalls) {
            delay + self.weather.stall
        } else {
            delay
        }
    }

    pub(super) fn note(&mut self, id: usize, event: Event) {
        let kind = match event {
            Event::Open => 0,
            Event::Cut => 1,
            Event::Arrive(end) => 2 + end as u64,
            Event::Room(end) => 4 + end as u64,
            Event::Timer(end) => 6 + end as u64,
            Event::Again(end) => 8 + end as u64,
            Event::Stop(end) => 10 + end as u64,
            Event::Message(end) => 12 + end as u64,
        };
        let time = (self.now - self.start).as_nanos() as u64;
        self.mix(time ^ (id as u64) << 40 ^ kind);
    }

    pub(super) fn mix(&mut self, value: u64) {
        self.digest = (self.digest ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }
}
