//! The one deadline of a connection, and its reason.

use std::time::{Duration, Instant};

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// The end of the handshake.
    Handshake,
    /// The reply to the oldest command without one, or more of it.
    Reply,
    /// Anything at all; a client sends PING when it does not come.
    Idle,
    /// The reply to that PING.
    Pong,
    /// The rest of a command.
    Command,
    /// The handler's reply.
    Answer,
}

#[derive(Debug, Clone, Copy)]
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
    pub(super) fn arm(&mut self, now: Instant, timer: Timer, after: Option<Duration>) {
        self.timer = timer;
        self.at = after.and_then(|after| now.checked_add(after));
    }

    /// Waits for `timer`, from when it was first waited for.
    #[inline]
    pub(super) fn keep(&mut self, now: Instant, timer: Timer, after: Option<Duration>) {
        if self.timer != timer || self.at.is_none() {
            self.arm(now, timer, after);
        }
    }

    /// Waits for nothing.
    #[inline]
    pub(super) const fn disarm(&mut self) {
        self.at = None;
    }
}
