//! `tokio::time::Sleep`, one per timer as for one per connection, on a runtime with a controlled clock.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Runtime};
use tokio::time::{Instant, Sleep, advance, sleep_until};

use super::{Ids, Timers};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}"))
});

thread_local! {
    /// The ids whose wakers were called.
    static WOKEN: RefCell<Ids> = const { RefCell::new(Vec::new()) };
}

/// A tokio clock that only the benchmark moves.
pub(super) struct Clock {
    start: Instant,
    now: u64,
    _context: EnterGuard<'static>,
}

impl Clock {
    pub(super) fn new() -> Self {
        let context = RUNTIME.enter();
        Self {
            start: Instant::now(),
            now: 0,
            _context: context,
        }
    }

    /// The tokio instant of `deadline`.
    pub(super) fn at(&self, deadline: u64) -> Instant {
        self.start + Duration::from_millis(deadline)
    }

    /// Lets the runtime's timer driver run at `now`.
    pub(super) fn advance(&mut self, now: u64) {
        RUNTIME.block_on(advance(Duration::from_millis(now - self.now)));
        self.now = now;
    }
}

struct Id(u32);

impl Wake for Id {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        WOKEN.with_borrow_mut(|woken| woken.push(self.0));
    }
}

pub(crate) struct Sleeps {
    sleeps: Vec<Option<Pin<Box<Sleep>>>>,
    wakers: Vec<Waker>,
    clock: Clock,
}

impl Timers for Sleeps {
    fn new(ids: u32, _capacity: u32) -> Self {
        let wakers = (0..ids).map(|id| Waker::from(Arc::new(Id(id)))).collect();
        WOKEN.set(Vec::with_capacity(ids as usize));
        Self {
            sleeps: (0..ids).map(|_| None).collect(),
            wakers,
            clock: Clock::new(),
        }
    }

    fn insert(&mut self, id: u32, deadline: u64) {
        let mut sleep = Box::pin(sleep_until(self.clock.at(deadline)));
        // The first poll files the timer, as in a task before it waits.
        let polled = sleep.as_mut().poll(&mut Context::from_waker(&self.wakers[id as usize]));
        debug_assert!(polled.is_pending());
        self.sleeps[id as usize] = Some(sleep);
    }

    fn reset(&mut self, id: u32, deadline: u64) {
        let deadline = self.clock.at(deadline);
        if let Some(sleep) = &mut self.sleeps[id as usize] {
            sleep.as_mut().reset(deadline);
        }
    }

    fn cancel(&mut self, id: u32) {
        self.sleeps[id as usize] = None;
    }

    fn poll(&mut self, now: u64, _budget: usize, fired: &mut Ids) {
        self.clock.advance(now);
        // A timer that fired is removed, as in the other collections.
        WOKEN.with_borrow_mut(|woken| {
            for id in woken.drain(..) {
                self.sleeps[id as usize] = None;
                fired.push(id);
            }
        });
    }

    fn next_wake(&mut self) -> Option<u64> {
        None
    }
}
