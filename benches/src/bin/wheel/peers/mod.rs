//! The contestants, behind one trait.

mod delay_queue;
mod hash_wheel;
mod nexus;
mod ordered;
mod ours;
mod sleep;

use crate::scenarios::{Sink, run};

/// The timers that fired.
pub(crate) type Ids = Vec<u32>;

/// A collection of timers, identified by the ids 0.. of their connections. Ticks are milliseconds, and the time begins at 0.
///
/// For a collection with keys, the implementation keeps the keys in a table by id.
pub(crate) trait Timers {
    /// A collection for the ids below `ids`, with memory for `capacity` timers.
    fn new(ids: u32, capacity: u32) -> Self;

    /// Sets the timer of an id that has none.
    fn insert(&mut self, id: u32, deadline: u64);

    /// Gives the timer of an id another deadline.
    fn reset(&mut self, id: u32, deadline: u64);

    /// Unsets the timer of an id.
    fn cancel(&mut self, id: u32);

    /// Sets the time and appends the due timers, at most `budget` if the collection supports that.
    fn poll(&mut self, now: u64, budget: usize, fired: &mut Ids);

    /// When to poll next, if the collection can tell.
    fn next_wake(&mut self) -> Option<u64>;
}

/// A row of measurements, all for one collection.
pub(crate) struct Contestant {
    /// The name in the table.
    pub(crate) name: &'static str,
    /// Runs all scenarios once.
    pub(crate) run: fn(u32, Sink<'_>),
}

pub(crate) const OURS: &str = "timing-wheel";
pub(crate) const SLEEP: &str = "tokio Sleep";
pub(crate) const DELAY_QUEUE: &str = "DelayQueue";
pub(crate) const NEXUS: &str = "nexus-timer";
pub(crate) const NEXUS_QUEUE: &str = "nexus queue";
pub(crate) const HASH_WHEEL: &str = "hash wheel";
pub(crate) const BTREE: &str = "BTreeSet";
pub(crate) const HEAP_DELETE: &str = "heap, lazy del";
pub(crate) const HEAP_REARM: &str = "heap, re-arm";
pub(crate) const HEAP_EMPTY: &str = "heap, empty";

/// All contestants, the wheel first.
pub(crate) fn contestants() -> Vec<Contestant> {
    vec![
        Contestant {
            name: OURS,
            run: run::<ours::Ours>,
        },
        Contestant {
            name: SLEEP,
            run: run::<sleep::Sleeps>,
        },
        Contestant {
            name: DELAY_QUEUE,
            run: run::<delay_queue::Queue>,
        },
        Contestant {
            name: NEXUS,
            run: run::<nexus::Nexus>,
        },
        Contestant {
            name: NEXUS_QUEUE,
            run: nexus::queue,
        },
        Contestant {
            name: HASH_WHEEL,
            run: run::<hash_wheel::HashWheel>,
        },
        Contestant {
            name: BTREE,
            run: run::<ordered::Set>,
        },
        Contestant {
            name: HEAP_DELETE,
            run: run::<ordered::LazyDeletion>,
        },
        Contestant {
            name: HEAP_REARM,
            run: run::<ordered::LazyRearm>,
        },
        Contestant {
            name: HEAP_EMPTY,
            run: ordered::empty,
        },
    ]
}
