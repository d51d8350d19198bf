//! Connects two protocols in memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Harness;
use crate::Protocol;

/// Properties of the connection between the two ends of a [`Link`].
#[derive(Debug, Clone, Copy)]
pub struct LinkConfig {
    /// How long bytes travel.
    pub latency: Duration,
    /// The stream is cut into segments of at most this many bytes.
    pub segment: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        LinkConfig {
            latency: Duration::from_millis(1),
            segment: 1460,
        }
    }
}

/// Two protocols and a connection between them: each receives what the other sends, later and in segments. If one side resets, its bytes in
/// flight are lost, as on a network.
///
/// ```
/// use std::time::Duration;
/// use protocol::testing::{Harness, Link, LinkConfig};
/// # use protocol::{Cx, Input, Protocol};
/// # struct Ask; struct Answer;
/// # impl Protocol for Ask { type Message = (); type Error = std::convert::Infallible;
/// #   fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> { cx.send(b"?"); Ok(()) }
/// #   fn received(&mut self, cx: &mut Cx<'_>, i: &mut Input<'_>) -> Result<(), Self::Error> { i.take_all(); cx.close(); Ok(()) } }
/// # impl Protocol for Answer { type Message = (); type Error = std::convert::Infallible;
/// #   fn received(&mut self, cx: &mut Cx<'_>, i: &mut Input<'_>) -> Result<(), Self::Error> { i.take_all(); cx.send(b"!"); Ok(()) } }
/// let mut link = Link::new(Harness::new(Ask), Harness::new(Answer), LinkConfig::default());
/// link.run(Duration::from_secs(1));
/// assert!(link.a.ended().is_some() && link.b.ended().is_some());
/// ```
#[derive(Debug)]
pub struct Link<A: Protocol, B: Protocol> {
    /// One end.
    pub a: Harness<A>,
    /// The other end.
    pub b: Harness<B>,
    config: LinkConfig,
    now: Instant,
    to_a: Wire,
    to_b: Wire,
}

/// One direction.
#[derive(Debug, Default)]
struct Wire {
    segments: VecDeque<(Instant, Segment)>,
    closed: bool,
}

#[derive(Debug)]
enum Segment {
    Data(Vec<u8>),
    Fin,
    Reset,
}

impl Wire {
    /// Takes the new output of `from`.
    fn fill<P: Protocol>(&mut self, from: &mut Harness<P>, now: Instant, config: LinkConfig) {
        let arrival = now + config.latency;
        if self.closed {
            return;
        }
        if from.was_reset() {
            self.segments.clear();
            self.segments.push_back((arrival, Segment::Reset));
            self.closed = true;
            return;
        }
        for segment in from.take_sent().chunks(config.segment.max(1)) {
            self.segments.push_back((arrival, Segment::Data(segment.to_vec())));
        }
        if from.is_half_closed() {
            self.segments.push_back((arrival, Segment::Fin));
            self.closed = true;
        }
    }

    /// Delivers one segment that has arrived to `to`.
    fn deliver<P: Protocol>(&mut self, to: &mut Harness<P>, now: Instant) -> bool {
        if self.segments.front().is_none_or(|(at, _)| *at > now) {
            return false;
        }
        match self.segments.pop_front() {
            Some((_, Segment::Data(bytes))) => to.receive(&bytes),
            Some((_, Segment::Fin)) => to.eof(),
            Some((_, Segment::Reset)) => to.reset(),
            None => return false,
        }
        true
    }
}

impl<A: Protocol, B: Protocol> Link<A, B> {
    /// Connects `a` and `b`.
    pub fn new(a: Harness<A>, b: Harness<B>, config: LinkConfig) -> Self {
        let now = a.now().max(b.now());
        Link {
            a,
            b,
            config,
            now,
            to_a: Wire::default(),
            to_b: Wire::default(),
        }
    }

    /// Runs both ends for `time` of their clocks. Returns earlier if nothing more can happen.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.a.advance_to(self.now);
            self.b.advance_to(self.now);
            self.to_b.fill(&mut self.a, self.now, self.config);
            self.to_a.fill(&mut self.b, self.now, self.config);
            // Without short-circuiting: both must be delivered.
            if self.to_b.deliver(&mut self.b, self.now) | self.to_a.deliver(&mut self.a, self.now) {
                continue;
            }
            let arrivals = [&self.to_a, &self.to_b]
                .into_iter()
                .filter_map(|w| w.segments.front().map(|(at, _)| *at));
            let next = arrivals.chain(self.a.deadline()).chain(self.b.deadline()).min();
            match next {
                Some(next) if next <= end => self.now = next.max(self.now + Duration::from_micros(1)),
                _ => break,
            }
        }
        self.now = end;
    }
}
