//! The counters of a node, in addition to its driver's.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only increases.
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
    /// Publications by clients of this node, over WebSocket or HTTP.
    pub(crate) published: Counter,
    /// Publications in channels that this node follows.
    pub(crate) publications: Counter,
    /// Deliveries of these publications to listeners.
    pub(crate) deliveries: Counter,
    /// Publications that slow clients missed.
    pub(crate) missed: Counter,
    /// Slow clients that were disconnected.
    pub(crate) too_slow: Counter,
    /// Channels that lost their history, or continuity with it.
    pub(crate) resets: Counter,
    /// Clients that returned and got everything they had missed, and clients that could not.
    pub(crate) recovered: Counter,
    pub(crate) unrecovered: Counter,
    /// Requests refused because a client made too many.
    pub(crate) limited: Counter,
}
