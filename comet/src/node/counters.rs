//! What a node counts besides its driver.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Publications that clients of this node have made, over WebSocket or HTTP.
    pub(crate) published: Counter,
    /// Publications that came to channels listened to here.
    pub(crate) publications: Counter,
    /// Of each of these, how many listeners were told.
    pub(crate) deliveries: Counter,
    /// Publications that slow clients did not get.
    pub(crate) missed: Counter,
    /// Slow clients that were closed.
    pub(crate) too_slow: Counter,
    /// Channels that lost their history, or fell out of it.
    pub(crate) resets: Counter,
    /// Clients that came back and got all they had missed; and those that could not.
    pub(crate) recovered: Counter,
    pub(crate) unrecovered: Counter,
    /// Requests refused because a client made too many.
    pub(crate) limited: Counter,
}
