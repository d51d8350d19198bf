//! `tokio_util::time::DelayQueue`.

use std::task::{Context, Poll, Waker};

use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use super::sleep::Clock;
use super::{Ids, Timers};

pub(crate) struct Queue {
    queue: DelayQueue<u32>,
    keys: Vec<Option<Key>>,
    clock: Clock,
}

impl Timers for Queue {
    fn new(ids: u32, capacity: u32) -> Self {
        let clock = Clock::new();
        Self {
            queue: DelayQueue::with_capacity(capacity as usize),
            keys: vec![None; ids as usize],
            clock,
        }
    }

    fn insert(&mut self, id: u32, deadline: u64) {
        self.keys[id as usize] = Some(self.queue.insert_at(id, self.clock.at(deadline)));
    }

    fn reset(&mut self, id: u32, deadline: u64) {
        if let Some(key) = &self.keys[id as usize] {
            self.queue.reset_at(key, self.clock.at(deadline));
        }
    }

    fn cancel(&mut self, id: u32) {
        if let Some(key) = self.keys[id as usize].take() {
            self.queue.remove(&key);
        }
    }

    fn poll(&mut self, now: u64, _budget: usize, fired: &mut Ids) {
        self.clock.advance(now);
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(expired)) = self.queue.poll_expired(&mut context) {
            fired.push(expired.into_inner());
        }
    }

    fn next_wake(&mut self) -> Option<u64> {
        // Not needed: it sleeps on the runtime's timers.
        None
    }
}
