//! The time. The model of faults moves it by hand, so that hours pass in a moment and a schedule follows from its seed.

use std::time::Instant;

/// The time now.
pub(crate) fn now() -> Instant {
    #[cfg(test)]
    if let Some(now) = by_hand::NOW.get() {
        return now;
    }
    Instant::now()
}

/// The clock of one thread of tests.
#[cfg(test)]
pub(crate) mod by_hand {
    use std::cell::Cell;
    use std::time::Instant;

    thread_local! {
        pub(super) static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    /// Sets the time, where one is given, and otherwise lets it go on by itself.
    pub(crate) fn set(now: Option<Instant>) {
        NOW.set(now);
    }
}
