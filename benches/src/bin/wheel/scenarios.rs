//! The sequences of operations, each timed as a row of the table.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use crate::memory::change;
use crate::peers::{Ids, Timers};

/// A measured quantity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    Insert,
    ResetHot,
    ResetRandom,
    Cancel,
    Mixed,
    Idle,
    Expiry,
    JumpAll,
    JumpNone,
    Steady,
    SteadyWorst,
    GrowWorst,
    Bytes,
    GrowthByUse,
    AllocationsInsert,
    AllocationsUse,
}

const ROWS: [Row; 16] = [
    Row::Insert,
    Row::ResetHot,
    Row::ResetRandom,
    Row::Cancel,
    Row::Mixed,
    Row::Idle,
    Row::Expiry,
    Row::JumpAll,
    Row::JumpNone,
    Row::Steady,
    Row::SteadyWorst,
    Row::GrowWorst,
    Row::Bytes,
    Row::GrowthByUse,
    Row::AllocationsInsert,
    Row::AllocationsUse,
];

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Insert => "insert, ns",
            Self::ResetHot => "reset later, key hot, ns",
            Self::ResetRandom => "reset, random durations, ns",
            Self::Cancel => "cancel, key in a table, ns",
            Self::Mixed => "mixed 95/4/1, ns",
            Self::Idle => "idle tick + next wake, ns",
            Self::Expiry => "mass expiry, ns/timer",
            Self::JumpAll => "jump 1 h, all fire, ns/timer",
            Self::JumpNone => "jump 1 h, none due, us",
            Self::Steady => "steady server, ms CPU/s",
            Self::SteadyWorst => "steady server, worst poll, us",
            Self::GrowWorst => "growing, worst insert, us",
            Self::Bytes => "bytes per timer",
            Self::GrowthByUse => "bytes per timer, after resets",
            Self::AllocationsInsert => "allocations per 4096 inserts",
            Self::AllocationsUse => "allocations per reset, poll",
        })
    }
}

impl Row {
    /// The row of a label.
    pub(crate) fn of(label: &str) -> Option<Self> {
        ROWS.into_iter().find(|row| row.to_string() == label)
    }

    /// Whether the minimum of the rounds is reported instead of the median.
    pub(crate) fn least(self) -> bool {
        matches!(self, Self::SteadyWorst | Self::GrowWorst | Self::JumpNone)
    }
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The limit of timers per call, for collections that support one.
const BUDGET: usize = 1024;

/// Receives each measured value.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Row, f64);

/// Runs every scenario once on `size` timers.
pub(crate) fn run<T: Timers>(size: u32, sink: Sink<'_>) {
    insert_and_cancel::<T>(size, sink);
    resets::<T>(size, sink);
    idling::<T>(size, sink);
    mixed::<T>(size, sink);
    expiry::<T>(size, sink);
    jumps::<T>(size, sink);
    steady::<T>(size, sink);
    memory::<T>(size, sink);
}

fn insert_and_cancel<T: Timers>(size: u32, sink: Sink<'_>) {
    let in_order = in_order(size);
    let mut timers = T::new(size, size);
    let start = Instant::now();
    for id in 0..size {
        timers.insert(id, MINUTE + in_order(id));
    }
    sink(Row::Insert, nanos(start) / f64::from(size));

    // In a server, cancelled timers were reset many times before, so their lists are shuffled.
    for id in shuffled(size, 1) {
        timers.reset(id, MINUTE + SECOND + in_order(id));
    }
    let order = shuffled(size, 2);
    let start = Instant::now();
    for &id in &order {
        timers.cancel(id);
    }
    sink(Row::Cancel, nanos(start) / f64::from(size));
}

/// The keys are in the cache, as if each were in the connection just read: they are used in the order in which they are stored, while
/// their timers are in random order.
fn resets<T: Timers>(size: u32, sink: Sink<'_>) {
    let in_order = in_order(size);
    let mut timers = T::new(size, size);
    for id in shuffled(size, 3) {
        timers.insert(id, MINUTE + in_order(id));
    }
    let passes = (1_000_000 / size).max(1);

    let start = Instant::now();
    for pass in 1..=passes {
        for id in 0..size {
            timers.reset(id, MINUTE + SECOND + u64::from(pass));
        }
    }
    sink(Row::ResetHot, nanos(start) / f64::from(size * passes));

    let mut random = Random::new();
    let durations: Vec<u32> = (0..size).map(|_| 1 + random.below(2 * MINUTE as u32)).collect();
    let start = Instant::now();
    for pass in 0..passes {
        // Each pass pairs the timers with different durations.
        let (head, tail) = durations.split_at((pass * 7919 % size) as usize);
        for (id, &duration) in (0..size).zip(tail.iter().chain(head)) {
            timers.reset(id, u64::from(duration));
        }
    }
    sink(Row::ResetRandom, nanos(start) / f64::from(size * passes));
}

fn idling<T: Timers>(size: u32, sink: Sink<'_>) {
    let in_order = in_order(size);
    const TICKS: u64 = 500;
    let mut timers = T::new(size, size);
    for id in 0..size {
        timers.insert(id, HOUR + in_order(id));
    }
    let mut fired = Ids::new();
    timers.poll(1, usize::MAX, &mut fired);
    let start = Instant::now();
    for now in 2..2 + TICKS {
        // The steps of an event loop: read the clock, take the due timers, ask when to wake.
        black_box(Instant::now());
        timers.poll(now, BUDGET, &mut fired);
        black_box(timers.next_wake());
    }
    sink(Row::Idle, nanos(start) / TICKS as f64);
    assert!(fired.is_empty());
}

/// 95 % of the operations reset a timer, 4 % replace one, and 1 % advance the time by a tick.
fn mixed<T: Timers>(size: u32, sink: Sink<'_>) {
    let in_order = in_order(size);
    const OPERATIONS: u32 = 1_000_000;
    let mut timers = T::new(size, size);
    for id in 0..size {
        timers.insert(id, MINUTE + in_order(id));
    }
    let mut random = Random::new();
    let operations: Vec<(u32, u32)> = (0..OPERATIONS)
        .map(|_| (random.below(100), random.below(size)))
        .collect();
    let mut fired = Ids::new();
    let mut now = 0;
    let start = Instant::now();
    for &(operation, id) in &operations {
        match operation {
            0..95 => timers.reset(id, now + MINUTE),
            95..99 => {
                timers.cancel(id);
                timers.insert(id, now + MINUTE);
            }
            _ => {
                now += 1;
                timers.poll(now, BUDGET, &mut fired);
            }
        }
    }
    sink(Row::Mixed, nanos(start) / f64::from(OPERATIONS));
    assert!(fired.is_empty());
}

fn expiry<T: Timers>(size: u32, sink: Sink<'_>) {
    let mut timers = T::new(size, size);
    for id in 0..size {
        timers.insert(id, SECOND);
    }
    let mut fired = Ids::with_capacity(size as usize);
    let start = Instant::now();
    timers.poll(SECOND, usize::MAX, &mut fired);
    sink(Row::Expiry, nanos(start) / f64::from(size));
    assert_eq!(fired.len(), size as usize);
}

fn jumps<T: Timers>(size: u32, sink: Sink<'_>) {
    let mut random = Random::new();
    let mut fired = Ids::with_capacity(size as usize);
    let mut timers = T::new(size, size);
    for id in 0..size {
        timers.insert(id, 2 * HOUR + u64::from(random.below(2 * HOUR as u32)));
    }
    timers.poll(1, usize::MAX, &mut fired);
    let start = Instant::now();
    timers.poll(HOUR, usize::MAX, &mut fired);
    sink(Row::JumpNone, nanos(start) / 1e3);
    assert!(fired.is_empty());
    drop(timers);

    let mut timers = T::new(size, size);
    for id in 0..size {
        timers.insert(id, 1 + u64::from(random.below(HOUR as u32)));
    }
    let start = Instant::now();
    timers.poll(HOUR, usize::MAX, &mut fired);
    sink(Row::JumpAll, nanos(start) / f64::from(size));
    assert_eq!(fired.len(), size as usize);
}

/// A server whose connections time out after a minute and receive data every twenty seconds on average. Connections that time out are
/// replaced. Measured is the work of the timers, which is resets, polls and inserts, after the first minute.
fn steady<T: Timers>(size: u32, sink: Sink<'_>) {
    const WARM: u64 = 65 * SECOND;
    const MEASURED: u64 = 10 * SECOND;
    let mut random = Random::new();
    let mut timers = T::new(size, size);
    for id in 0..size {
        timers.insert(id, 1 + u64::from(random.below(MINUTE as u32)));
    }
    let heard_until = |now: u64| (u64::from(size) * now / (20 * SECOND)) as usize;
    let heard: Vec<u32> = (0..heard_until(WARM + MEASURED)).map(|_| random.below(size)).collect();
    let mut fired = Ids::new();
    let mut worst = 0.0_f64;
    let mut warm = 0.0;
    for now in 1..=WARM + MEASURED {
        let start = Instant::now();
        timers.poll(now, BUDGET, &mut fired);
        if now > WARM {
            worst = worst.max(nanos(start));
        }
        for id in fired.drain(..) {
            timers.insert(id, now + MINUTE);
        }
        for &id in &heard[heard_until(now - 1)..heard_until(now)] {
            timers.reset(id, now + MINUTE);
        }
        if now == WARM {
            warm = cpu_nanos();
        }
    }
    let total = cpu_nanos() - warm;
    sink(Row::Steady, total / 1e6 / (MEASURED / SECOND) as f64);
    sink(Row::SteadyWorst, worst / 1e3);
}

fn memory<T: Timers>(size: u32, sink: Sink<'_>) {
    let in_order = in_order(size);
    let mut timers = None;
    let table = change(|| timers = Some(T::new(size, 0)));
    if let Some(mut timers) = timers {
        let mut worst = 0.0_f64;
        let grown = change(|| {
            for id in 0..size {
                let start = Instant::now();
                timers.insert(id, MINUTE + in_order(id));
                worst = worst.max(nanos(start));
            }
        });
        sink(Row::GrowWorst, worst / 1e3);
        sink(Row::AllocationsInsert, grown.allocations * 4096.0 / f64::from(size));
    }

    let mut timers = None;
    let filled = change(|| {
        let timers = timers.insert(T::new(size, size));
        for id in 0..size {
            timers.insert(id, MINUTE + in_order(id));
        }
    });
    sink(Row::Bytes, (filled.bytes - table.bytes) / f64::from(size));
    let Some(mut timers) = timers else { return };

    let mut fired = Ids::with_capacity(1000);
    let used = change(|| {
        for pass in 1..=10 {
            for id in 0..size {
                timers.reset(id, MINUTE + SECOND + in_order(id) + pass);
            }
            timers.poll(pass, BUDGET, &mut fired);
        }
    });
    sink(
        Row::GrowthByUse,
        (filled.bytes + used.bytes - table.bytes) / f64::from(size),
    );
    sink(Row::AllocationsUse, used.allocations / f64::from(10 * size));
}

/// Spreads the ids over a second, in order, as if accepted one after the other.
fn in_order(size: u32) -> impl Fn(u32) -> u64 {
    let step = (SECOND << 32) / u64::from(size);
    move |id| (u64::from(id) * step) >> 32
}

/// The processor time this thread has used.
fn cpu_nanos() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn nanos(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64
}

/// The ids in a random order that depends on the seed.
fn shuffled(size: u32, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    let mut ids: Vec<u32> = (0..size).collect();
    for last in (1..size).rev() {
        ids.swap(last as usize, random.below(last + 1) as usize);
    }
    ids
}

/// An xorshift generator: every contestant sees the same sequence.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
    }
}
