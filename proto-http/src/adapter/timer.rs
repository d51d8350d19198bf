//! What a connection waits for, and how content prolongs the wait for more.

use std::time::{Duration, Instant};

use protocol::Deadline;

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

/// The next wait gets time of its own, though it is for what was waited for until now: the next head, the next body.
#[inline]
pub(super) const fn passed(deadline: &mut Deadline<Timer>) {
    deadline.set(Timer::Answer, deadline.at());
}

/// Content has come: it moves the deadline of the body by its share of `rate` (bytes per second), but not beyond the `pause` that the
/// body may make.
pub(super) fn buy_time(deadline: &mut Deadline<Timer>, now: Instant, bytes: usize, pause: Option<Duration>, rate: u32) {
    let latest = pause.and_then(|pause| now.checked_add(pause));
    let at = match (deadline.timer(), deadline.at()) {
        (Timer::Body, Some(at)) if rate > 0 => {
            let share = (bytes as u64).saturating_mul(1_000_000_000) / u64::from(rate);
            at.checked_add(Duration::from_nanos(share)).min(latest)
        }
        _ => latest,
    };
    deadline.set(Timer::Body, at);
}
