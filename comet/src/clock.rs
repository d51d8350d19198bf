//! The clock. Tests with the model of Redis set it, so that they run in virtual time.

use std::time::Instant;

/// The current time.
pub(crate) fn now() -> Instant {
    #[cfg(test)]
    if let Some(now) = by_hand::NOW.get() {
        return now;
    }
    Instant::now()
}

/// The clock of a test thread.
#[cfg(test)]
pub(crate) mod by_hand {
    use std::cell::Cell;
    use std::time::Instant;

    thread_local! {
        pub(super) static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    /// Sets the time of this thread. `None` returns to the real clock.
    pub(crate) fn set(now: Option<Instant>) {
        NOW.set(now);
    }
}
