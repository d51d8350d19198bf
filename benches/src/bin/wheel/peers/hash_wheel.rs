//! `hierarchical_hash_wheel_timer`: its four-level wheel with cancellable timers.

use std::rc::Rc;
use std::time::Duration;

use hierarchical_hash_wheel_timer::wheels::Skip;
use hierarchical_hash_wheel_timer::wheels::cancellable::{CancellableTimerEntry, QuadWheelWithOverflow};

use super::{Ids, Timers};

#[derive(Debug)]
struct Id(u32);

impl CancellableTimerEntry for Id {
    type Id = u32;

    fn id(&self) -> &u32 {
        &self.0
    }
}

pub(crate) struct HashWheel {
    wheel: QuadWheelWithOverflow<Id>,
    now: u64,
}

impl Timers for HashWheel {
    fn new(_ids: u32, _capacity: u32) -> Self {
        Self {
            wheel: QuadWheelWithOverflow::new(),
            now: 0,
        }
    }

    fn insert(&mut self, id: u32, deadline: u64) {
        let delay = Duration::from_millis(deadline - self.now);
        let inserted = self.wheel.insert_ref_with_delay(Rc::new(Id(id)), delay);
        debug_assert!(inserted.is_ok());
    }

    fn reset(&mut self, id: u32, deadline: u64) {
        self.cancel(id);
        self.insert(id, deadline);
    }

    fn cancel(&mut self, id: u32) {
        let cancelled = self.wheel.cancel(&id);
        debug_assert!(cancelled.is_ok());
    }

    fn poll(&mut self, now: u64, _budget: usize, fired: &mut Ids) {
        while self.now < now {
            let left = now - self.now;
            let skipped = match self.wheel.can_skip() {
                Skip::Empty => left,
                Skip::Millis(ticks) => left.min(u64::from(ticks)),
                Skip::None => 0,
            };
            if skipped > 0 {
                self.wheel.skip(skipped as u32);
                self.now += skipped;
            } else {
                fired.extend(self.wheel.tick().iter().map(|id| id.0));
                self.now += 1;
            }
        }
    }

    fn next_wake(&mut self) -> Option<u64> {
        match self.wheel.can_skip() {
            Skip::Empty => None,
            Skip::Millis(ticks) => Some(self.now + u64::from(ticks)),
            Skip::None => Some(self.now + 1),
        }
    }
}
