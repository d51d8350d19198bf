//! The one deadline of a connection, and its reason.

use std::time::{Duration, Instant};

use super::Timeouts;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// Its first byte.
    FirstByte,
    /// The rest of a head.
    Head,
    /// More of a body, or a body at a better rate.
    Body,
    /// The next request.
    Idle,
    /// The answer: a handler's, or a server's.
    Answer,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timer: Timer,
}

impl Deadline {
    pub(super) const fn new(timer: Timer) -> Self {
        Self { at: None, timer }
    }

    #[inline]
    pub(super) const fn at(&self) -> Option<Instant> {
        self.at
    }

    #[inline]
    pub(super) const fn timer(&self) -> Timer {
        self.timer
    }

    /// Waits for `timer`, from `now` on.
    #[inline]
    pub(super) fn arm(&mut self, now: Instant, timer: Timer, timeouts: &Timeouts) {
        let after = match timer {
            Timer::FirstByte => timeouts.first_byte,
            Timer::Head => timeouts.head,
            Timer::Body => timeouts.body,
            Timer::Idle => timeouts.idle,
            Timer::Answer => timeouts.answer,
        };
        self.timer = timer;
        self.at = after.and_then(|after| now.checked_add(after));
    }

    /// Waits for `timer`, from when it was first waited for.
    #[inline]
    pub(super) fn keep(&mut self, now: Instant, timer: Timer, timeouts: &Timeouts) {
        if self.timer != timer || self.at.is_none() {
            self.arm(now, timer, timeouts);
        }
    }

    /// Ends the wait for the next request `timeouts.stop` after it has begun. True if that is over already.
    pub(super) fn shorten(&mut self, now: Instant, timeouts: &Timeouts) -> bool {
        let whole = match self.timer {
            Timer::FirstByte => timeouts.first_byte,
            Timer::Idle => timeouts.idle,
            // Part of a head has come.
            _ => return false,
        };
        let began = self.at.zip(whole).and_then(|(at, whole)| at.checked_sub(whole));
        let end = began.unwrap_or(now).checked_add(timeouts.stop);
        self.at = self.at.into_iter().chain(end).min();
        self.at.is_some_and(|end| end <= now)
    }

    /// Waits for nothing.
    #[inline]
    pub(super) const fn disarm(&mut self) {
        self.at = None;
    }

    /// What was waited for has come; the next of its kind gets time of its own.
    #[inline]
    pub(super) const fn passed(&mut self) {
        self.timer = Timer::Answer;
    }

    /// Content has come: it moves the deadline of the body by its share of the rate, but not beyond the pause it may make.
    pub(super) fn buy_time(&mut self, now: Instant, bytes: usize, timeouts: &Timeouts) {
        let latest = timeouts.body.and_then(|body| now.checked_add(body));
        self.at = match (self.timer, self.at) {
            (Timer::Body, Some(deadline)) if timeouts.body_rate > 0 => {
                let share = (bytes as u64).saturating_mul(1_000_000_000) / u64::from(timeouts.body_rate);
                deadline.checked_add(Duration::from_nanos(share)).min(latest)
            }
            _ => latest,
        };
        self.timer = Timer::Body;
    }
}
