//! The counters of a node, in addition to its driver's.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Histogram;

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
    /// Publications of them that failed, or whose outcome is unknown.
    pub(crate) publish_failures: Counter,
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
    /// From the arrival of a publication to its writing, of a part of the deliveries.
    pub(crate) delivery: Histogram,
    /// Until the broker has acknowledged the node's own publication.
    pub(crate) round_trip: Histogram,
}
