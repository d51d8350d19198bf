//! The state that tasks share with their worker: timers, counters, the phase of a shutdown.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::{SharedStats, Stats};
use timing_wheel::{Key, Ticks, Wheel};

use crate::Config;
use protocol::driver::PerAddress;

/// The length of a tick of the wheel.
const TICKS: Ticks = Ticks::MILLISECOND;

/// The state of one worker that its tasks see. Tasks lock it when they begin and end, and when a deadline comes nearer than
/// the timer; not once per exchange.
#[derive(Debug)]
pub struct Group {
    /// The worker's settings.
    pub config: Config,
    /// The counters; [`stats`](Group::stats) returns their sum.
    pub stats: SharedStats,
    active: AtomicU64,
    /// Present if the number of connections per address is limited.
    per_address: Option<Mutex<PerAddress>>,
    phase: AtomicU8,
    /// The time at which timers start counting.
    start: Instant,
    /// The last tick whose timers have fired.
    fired: AtomicU64,
    timers: Mutex<Timers>,
}

/// Whether connections go on or must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections go on.
    Running,
    /// Protocols must stop.
    Stopping,
    /// The remaining connections are reset.
    Killing,
}

#[derive(Debug)]
struct Timers {
    /// One timer per connection, with the waker of its task. A connection without a deadline has a timer that never fires, so that a stop
    /// reaches every connection.
    wheel: Wheel<Waker>,
    /// The waker of the worker's task.
    worker: Option<Waker>,
    /// The tick at which the worker will wake by itself.
    wakes: u64,
}

/// A connection's timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timer(Key);

impl Group {
    /// A group without tasks.
    pub fn new(config: Config) -> Arc<Self> {
        let per_address = config.max_per_address.map(|max| Mutex::new(PerAddress::new(max)));
        let timers = Timers {
            wheel: Wheel::new(0),
            worker: None,
            wakes: u64::MAX,
        };
        Arc::new(Group {
            config,
            stats: SharedStats::default(),
            active: AtomicU64::new(0),
            per_address,
            phase: AtomicU8::new(Phase::Running as u8),
            start: Instant::now(),
            fired: AtomicU64::new(0),
            timers: Mutex::new(timers),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of living tasks, plus callers that have [joined](Group::join).
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Acquire)
    }

    /// The counters so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.load();
        stats.active = self.active();
        stats
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Stopping,
            _ => Phase::Killing,
        }
    }

    /// Whether the phase is [`Phase::Running`]; faster than [`phase`](Group::phase).
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.phase.load(Ordering::Acquire) == Phase::Running as u8
    }

    /// Enters a later phase. Returns the wakers of all connections; wake them, so that the connections see the phase.
    pub fn enter(&self, phase: Phase) -> Vec<Waker> {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.lock().wheel.iter().map(|(_, _, waker)| waker.clone()).collect()
    }

    /// The limit of connections of one address, if there is one.
    pub fn per_address(&self) -> Option<MutexGuard<'_, PerAddress>> {
        let limit = self.per_address.as_ref()?;
        Some(limit.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the worker wait for the caller until [`part`](Group::part). A [`Task`](super::Task) joins by itself.
    pub fn join(&self) {
        self.active.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends the wait that [`join`](Group::join) began.
    pub fn part(&self) {
        self.part_with(None, 0);
    }

    /// A connection has ended. Wakes the worker if it waits for room, or for the last connection.
    pub(super) fn part_with(&self, timer: Option<Timer>, token: u64) {
        if let Some(mut limit) = self.per_address() {
            limit.release(token);
        }
        let before = self.active.fetch_sub(1, Ordering::AcqRel);
        let mut timers = self.lock();
        let dropped = timer.and_then(|Timer(key)| timers.wheel.cancel(key));
        let full = before == self.config.max_connections as u64;
        let worker = if before == 1 || full {
            timers.worker.clone()
        } else {
            None
        };
        drop(timers);
        drop(dropped);
        if let Some(worker) = worker {
            worker.wake();
        }
    }

    /// Sets a connection's timer, creating it if needed.
    pub(super) fn arm(&self, timer: Option<Timer>, deadline: Option<Instant>, waker: &Waker) -> Timer {
        let mut timers = self.lock();
        let tick = deadline.map_or(u64::MAX, |deadline| self.tick(deadline));
        let timer = match timer {
            Some(Timer(key)) if timers.wheel.reset(key, tick) => {
                if let Some(known) = timers.wheel.get_mut(key)
                    && !known.will_wake(waker)
                {
                    *known = waker.clone();
                }
                Timer(key)
            }
            _ => Timer(timers.wheel.insert(tick, waker.clone())),
        };
        if tick < timers.wakes {
            timers.wakes = tick;
            let worker = timers.worker.clone();
            drop(timers);
            if let Some(worker) = worker {
                worker.wake();
            }
        }
        timer
    }

    /// Wakes the tasks whose deadlines have passed by `at`, at most `budget` of them, and returns the time of the next call.
    /// `worker` is woken if that time comes nearer.
    ///
    /// `at` is a time since which the runtime has polled the sockets. So no deadline fires before input that arrived in
    /// time; after a pause of the process or of the thread, `at` is earlier than the current time.
    pub fn expire(&self, at: Instant, budget: usize, worker: &Waker) -> Option<Instant> {
        let mut timers = self.lock();
        let tick = TICKS.elapsed(at.saturating_duration_since(self.start));
        self.fired.fetch_max(tick, Ordering::AcqRel);
        let due: Vec<Waker> = timers.wheel.poll(tick, budget).map(|(_, waker)| waker).collect();
        timers.wakes = timers.wheel.next_wake().unwrap_or(u64::MAX);
        if !timers.worker.as_ref().is_some_and(|known| known.will_wake(worker)) {
            timers.worker = Some(worker.clone());
        }
        let next = self.start.checked_add(TICKS.duration(timers.wakes));
        drop(timers);
        due.into_iter().for_each(Waker::wake);
        next
    }

    /// Whether timers with this deadline have fired.
    pub(super) fn has_fired(&self, deadline: Instant) -> bool {
        self.tick(deadline) <= self.fired.load(Ordering::Acquire)
    }

    /// Wakes the worker.
    pub fn wake(&self) {
        let worker = self.lock().worker.clone();
        if let Some(worker) = worker {
            worker.wake();
        }
    }

    /// The tick at or after `deadline`.
    fn tick(&self, deadline: Instant) -> u64 {
        TICKS.deadline(deadline.saturating_duration_since(self.start))
    }
}
