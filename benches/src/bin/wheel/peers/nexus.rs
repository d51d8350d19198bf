//! `nexus_timer`: its wheel, and its queue for timers of the same duration.

use std::time::{Duration, Instant};

use nexus_timer::{TimeoutQueue, TimeoutQueueBuilder, TimerHandle, Wheel};

use super::{Ids, Timers};
use crate::scenarios::{Row, Sink};

pub(crate) struct Nexus {
    wheel: Wheel<u32>,
    handles: Vec<Option<TimerHandle<u32>>>,
    start: Instant,
}

impl Nexus {
    fn at(&self, deadline: u64) -> Instant {
        self.start + Duration::from_millis(deadline)
    }
}

impl Timers for Nexus {
    fn new(ids: u32, capacity: u32) -> Self {
        let start = Instant::now();
        let chunk = if capacity == 0 { 4096 } else { capacity as usize };
        let mut timers = Self {
            wheel: Wheel::unbounded(chunk, start),
            handles: (0..ids).map(|_| None).collect(),
            start,
        };
        if capacity > 0 {
            // The first timer allocates the first chunk.
            timers.insert(0, 1);
            timers.cancel(0);
        }
        timers
    }

    fn insert(&mut self, id: u32, deadline: u64) {
        self.handles[id as usize] = Some(self.wheel.schedule(self.at(deadline), id));
    }

    fn reset(&mut self, id: u32, deadline: u64) {
        let deadline = self.at(deadline);
        let handle = &mut self.handles[id as usize];
        *handle = handle.take().map(|handle| self.wheel.reschedule(handle, deadline));
    }

    fn cancel(&mut self, id: u32) {
        if let Some(handle) = self.handles[id as usize].take() {
            self.wheel.cancel(handle);
        }
    }

    fn poll(&mut self, now: u64, _budget: usize, fired: &mut Ids) {
        let before = fired.len();
        self.wheel.poll_and_rebalance(self.at(now), fired);
        for &id in &fired[before..] {
            if let Some(handle) = self.handles[id as usize].take() {
                self.wheel.free(handle);
            }
        }
    }

    fn next_wake(&mut self) -> Option<u64> {
        self.wheel
            .next_deadline()
            .map(|deadline| deadline.duration_since(self.start).as_millis() as u64)
    }
}

impl Drop for Nexus {
    fn drop(&mut self) {
        for handle in self.handles.drain(..).flatten() {
            self.wheel.cancel(handle);
        }
    }
}

/// The queue supports few of the scenarios; only its mass expiry is compared.
pub(crate) fn queue(size: u32, sink: Sink<'_>) {
    let start = Instant::now();
    let timeout = Duration::from_secs(1);
    let built = TimeoutQueueBuilder::new(timeout).unbounded(size as usize).build(start);
    let mut queue: TimeoutQueue<u32> = built.unwrap_or_else(|error| panic!("no queue: {error}"));
    let mut handles: Vec<_> = (0..size).map(|id| Some(queue.schedule(start, id))).collect();
    let mut fired = Ids::with_capacity(size as usize);
    let before = Instant::now();
    // The queue rounds up to its own tick.
    queue.poll(start + timeout + Duration::from_millis(2), &mut fired);
    for &id in &fired {
        if let Some(handle) = handles[id as usize].take() {
            queue.free(handle);
        }
    }
    sink(Row::Expiry, before.elapsed().as_nanos() as f64 / f64::from(size));
    assert_eq!(fired.len(), size as usize);
}
