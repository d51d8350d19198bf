//! The one deadline of a connection, and the purpose of the deadline.

use std::time::{Duration, Instant};

/// The one deadline of a connection: the time at which it passes, and a `T` that says what the connection waits for until
/// then.
///
/// A protocol that waits for one thing at a time keeps a `Deadline`, returns [`at`](Self::at) from
/// [`Protocol::deadline`](crate::Protocol::deadline), and reads [`timer`](Self::timer) in
/// [`Protocol::timeout`](crate::Protocol::timeout).
#[derive(Clone, Copy, Debug)]
pub struct Deadline<T> {
    at: Option<Instant>,
    timer: T,
}

impl<T: Copy + PartialEq> Deadline<T> {
    /// No wait. [`timer`](Self::timer) returns `timer` until a wait begins.
    #[must_use]
    pub const fn new(timer: T) -> Self {
        Self { at: None, timer }
    }

    /// The time at which the deadline passes; `None` if there is no wait, or the wait has no end.
    #[inline]
    #[must_use]
    pub const fn at(&self) -> Option<Instant> {
        self.at
    }

    /// The current wait, or the last one.
    #[inline]
    #[must_use]
    pub const fn timer(&self) -> T {
        self.timer
    }

    /// Waits for `timer` from `now` on, for the time `after`; without end if `after` is `None` or beyond the clock's range.
    #[inline]
    pub fn arm(&mut self, now: Instant, timer: T, after: Option<Duration>) {
        self.timer = timer;
        self.at = after.and_then(|after| now.checked_add(after));
    }

    /// Waits for `timer`, counted from the time at which the wait for it first began.
    #[inline]
    pub fn keep(&mut self, now: Instant, timer: T, after: Option<Duration>) {
        if self.timer != timer || self.at.is_none() {
            self.arm(now, timer, after);
        }
    }

    /// Waits for `timer` until `at`; without end if `at` is `None`.
    #[inline]
    pub const fn set(&mut self, timer: T, at: Option<Instant>) {
        self.timer = timer;
        self.at = at;
    }

    /// Extends the wait for `timer` after `bytes` of the awaited data have been received or sent: by the time that `bytes`
    /// take at `rate` (bytes per second), but from `now` on for no longer than `pause`. If the current wait is another one,
    /// or `rate` is 0, the wait starts with `pause`.
    pub fn prolong(&mut self, now: Instant, timer: T, bytes: usize, pause: Option<Duration>, rate: u32) {
        let latest = pause.and_then(|pause| now.checked_add(pause));
        self.at = match self.at {
            Some(at) if self.timer == timer && rate > 0 => {
                let share = (bytes as u64).saturating_mul(1_000_000_000) / u64::from(rate);
                at.checked_add(Duration::from_nanos(share)).min(latest)
            }
            _ => latest,
        };
        self.timer = timer;
    }

    /// Ends the wait.
    #[inline]
    pub const fn disarm(&mut self) {
        self.at = None;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
mod tests {
    use super::*;

    #[test]
    fn bytes_buy_their_share_of_a_second() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut deadline = Deadline::new('a');
        deadline.prolong(start, 'b', 5, Some(second), 10);
        assert_eq!((deadline.at(), deadline.timer()), (Some(start + second), 'b'));
        // 5 of 10 bytes per second extend the wait by half a second, although most of the pause has passed.
        let later = start + second * 9 / 10;
        deadline.prolong(later, 'b', 5, Some(second), 10);
        assert_eq!(deadline.at(), Some(start + second * 3 / 2));
        // Many bytes extend the wait by no more than the pause.
        deadline.prolong(later, 'b', 500, Some(second), 10);
        assert_eq!(deadline.at(), Some(later + second));
        deadline.prolong(later, 'b', 1, None, 0);
        assert_eq!(deadline.at(), None);
    }

    #[test]
    fn a_kept_wait_goes_on_and_an_armed_one_begins_anew() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut deadline = Deadline::new('a');
        assert_eq!((deadline.at(), deadline.timer()), (None, 'a'));
        deadline.keep(start, 'a', Some(second));
        deadline.keep(start + second, 'a', Some(second));
        assert_eq!(deadline.at(), Some(start + second));
        deadline.keep(start + second, 'b', Some(second));
        assert_eq!((deadline.at(), deadline.timer()), (Some(start + 2 * second), 'b'));
        deadline.arm(start + second, 'b', None);
        assert_eq!(deadline.at(), None);
        deadline.arm(start, 'b', Some(Duration::MAX));
        assert_eq!(deadline.at(), None);
        deadline.set('c', Some(start));
        deadline.disarm();
        assert_eq!((deadline.at(), deadline.timer()), (None, 'c'));
    }
}
