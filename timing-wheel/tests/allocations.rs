//! Polling, resetting and cancelling timers allocates nothing, and inserting allocates rarely: maitake (mycelium #311), embassy's queues,
//! grommet #10.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use timing_wheel::{Key, Wheel};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is forwarded unchanged to the system's allocator, or refused, which an allocator may do.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSE.get() {
            return std::ptr::null_mut();
        }
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn a_wheel_allocates_per_chunk_and_never_for_a_reset_cancel_or_poll() {
    const TIMERS: u64 = 100_000;
    let mut wheel = Wheel::new(0);
    let mut keys: Vec<Key> = Vec::with_capacity(TIMERS as usize);

    let grown = allocations(|| keys.extend((0..TIMERS).map(|id| wheel.insert(60_000 + id % 1000, id))));
    assert!(
        (1..=TIMERS / 4096 + 32).contains(&grown),
        "{grown} allocations for {TIMERS} timers"
    );

    let used = allocations(|| {
        for (round, &key) in keys.iter().enumerate() {
            assert!(wheel.reset(key, 50_000 + round as u64 * 7919 % 100_000));
        }
        for &key in keys.iter().step_by(3) {
            assert!(wheel.cancel(key).is_some());
        }
        for _ in keys.iter().step_by(3) {
            wheel.insert(1000, 0);
        }
        let mut now = 0;
        while let Some(wake) = wheel.next_wake() {
            now = now.max(wake);
            wheel.poll(now, 1000).for_each(drop);
        }
        assert!(wheel.is_empty());
    });
    assert_eq!(used, 0);

    let mut reserved = None;
    assert!(allocations(|| reserved = Some(Wheel::with_capacity(0, TIMERS as usize))) > 0);
    let mut wheel = reserved.unwrap();
    let filled = allocations(|| {
        for id in 0..TIMERS {
            wheel.insert(id, id);
        }
    });
    assert_eq!(filled, 0);

    // `reserve` allocates nothing while enough free places remain.
    assert!(wheel.poll(TIMERS / 2, usize::MAX).count() > 1);
    let free = wheel.capacity() - wheel.len();
    assert_eq!(allocations(|| wheel.reserve(free)), 0);
    wheel.reserve(free + 10);
    let filled = allocations(|| {
        for _ in 0..free + 10 {
            wheel.insert(u64::MAX, 0);
        }
    });
    assert_eq!(filled, 0);
}

thread_local! {
    static REFUSE: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn without_memory_a_timer_is_handed_back() {
    let mut wheel = Wheel::new(0);
    let mut key = None;
    let mut refusals = 0;
    for id in 0..20_000_u32 {
        REFUSE.set(true);
        let refused = wheel.try_insert(u64::from(id), id);
        REFUSE.set(false);
        match refused {
            Ok(set) => key = Some(set),
            Err(error) => {
                refusals += 1;
                assert_eq!(wheel.len(), id as usize, "the wheel is unchanged");
                assert_eq!(error.to_string(), "there is no memory for another timer");
                assert_eq!(error.into_value(), id);
                key = Some(wheel.insert(u64::from(id), id));
            }
        }
    }
    // 16 timers, doubled up to 1024; the rest of the first chunk; the second.
    assert_eq!(refusals, 1 + 6 + 1 + 1);
    assert_eq!(wheel.get(key.unwrap()), Some(&19_999));
    let fired: Vec<u32> = wheel.poll(u64::MAX, usize::MAX).map(|(_, id)| id).collect();
    assert_eq!(fired.len(), 20_000);
}
