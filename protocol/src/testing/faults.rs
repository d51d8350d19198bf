//! A layer that simulates a bad network and a bad peer.

use std::time::{Duration, Instant};

use crate::{Cx, Input, Intent, Protocol, Wrapper};

/// The faults of a [`Faulty`] connection. Default: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// Shows input in pieces of at most this many bytes.
    pub chop: Option<usize>,
    /// Delays input by this time.
    pub delay: Option<Duration>,
    /// Discards input after this many bytes: the connection then breaks, as by a reset.
    pub cut_input: Option<u64>,
    /// Discards output after this many bytes: the connection then breaks, as by a reset.
    pub cut_output: Option<u64>,
}

impl Faults {
    /// Shows input in pieces of at most `bytes`; 0 counts as 1.
    #[must_use]
    pub fn chop(mut self, bytes: usize) -> Self {
        self.chop = Some(bytes.max(1));
        self
    }

    /// Delays input by `time`.
    #[must_use]
    pub fn delay(mut self, time: Duration) -> Self {
        self.delay = Some(time);
        self
    }

    /// Breaks the connection after `bytes` of input.
    #[must_use]
    pub fn cut_input(mut self, bytes: u64) -> Self {
        self.cut_input = Some(bytes);
        self
    }

    /// Breaks the connection after `bytes` of output.
    #[must_use]
    pub fn cut_output(mut self, bytes: u64) -> Self {
        self.cut_output = Some(bytes);
        self
    }
}

/// A protocol that suffers [`Faults`], on any driver: a server's own tests can show what users' networks will do.
///
/// ```
/// use protocol::testing::{Faults, Faulty, Harness};
/// use protocol::{Cx, Input, Simple};
///
/// let echo = Simple(|cx: &mut Cx<'_>, input: &mut Input<'_>| cx.send(input.take_all()));
/// let mut harness = Harness::new(Faulty::new(echo, Faults::default().chop(2).cut_output(3)));
/// harness.receive(b"hello");
/// assert!(harness.was_reset());
/// ```
#[derive(Debug)]
pub struct Faulty<P> {
    inner: P,
    faults: Faults,
    /// Bytes that the inner protocol has consumed, and bytes that it has sent.
    consumed: u64,
    sent: u64,
    /// Until when input is delayed.
    held: Option<Instant>,
    /// Whether delayed input is waiting.
    waiting: bool,
}

impl<P: Protocol> Faulty<P> {
    /// Makes `inner` suffer `faults`.
    pub fn new(inner: P, faults: Faults) -> Self {
        Faulty {
            inner,
            faults,
            consumed: 0,
            sent: 0,
            held: None,
            waiting: false,
        }
    }

    /// The protocol.
    pub fn get_ref(&self) -> &P {
        &self.inner
    }

    /// Calls the inner protocol, and cuts its output.
    fn call(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut P, &mut Cx<'_>) -> Result<(), P::Error>,
    ) -> Result<(), P::Error> {
        let before = cx.output().len();
        let outcome = call(&mut self.inner, cx);
        self.sent += (cx.output().len() - before) as u64;
        if self.faults.cut_output.is_some_and(|cut| self.sent > cut) {
            cx.abort();
        }
        outcome
    }

    /// Shows pieces until the inner protocol wants no more, or consumes nothing.
    fn show(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), P::Error> {
        let mut shown = 0;
        while shown < input.len() {
            shown = shown
                .saturating_add(self.faults.chop.unwrap_or(usize::MAX))
                .min(input.len());
            let bytes = input.as_mut_slice();
            let mut piece = Input::new(&mut bytes[..shown]);
            let outcome = self.call(cx, |inner, cx| inner.received(cx, &mut piece));
            let taken = shown - piece.len();
            self.consumed += taken as u64;
            shown -= taken;
            input.consume(taken);
            if self.faults.cut_input.is_some_and(|cut| self.consumed > cut) {
                cx.abort();
            }
            let stop = cx.paused() || (cx.is_congested() && !self.inner.keeps_reading());
            if outcome.is_err() || stop || cx.intent() >= Intent::Close {
                return outcome;
            }
        }
        Ok(())
    }
}

impl<P: Protocol> Wrapper for Faulty<P> {
    type Inner = P;

    fn inner(&self) -> &P {
        &self.inner
    }

    fn inner_mut(&mut self) -> &mut P {
        &mut self.inner
    }

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.call(cx, P::connected)
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), P::Error> {
        if let Some(delay) = self.faults.delay {
            let held = *self.held.get_or_insert(cx.now() + delay);
            if cx.now() < held {
                self.waiting = true;
                return Ok(());
            }
            self.held = None;
            self.waiting = false;
        }
        self.show(cx, input)
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.call(cx, P::eof)
    }

    fn deadline(&self) -> Option<Instant> {
        let held = self.held.filter(|_| self.waiting);
        match (self.inner.deadline(), held) {
            (Some(inner), Some(held)) => Some(inner.min(held)),
            (inner, held) => inner.or(held),
        }
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        // Delayed input is shown again after this call.
        if self.inner.deadline().is_some_and(|deadline| deadline <= cx.now()) {
            return self.call(cx, P::timeout);
        }
        Ok(())
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.call(cx, P::drained)
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.call(cx, P::again)
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.call(cx, P::flush)
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: P::Message) -> Result<(), P::Error> {
        self.call(cx, |inner, cx| inner.posted(cx, message))
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), P::Error> {
        self.call(cx, P::stop)
    }
}
