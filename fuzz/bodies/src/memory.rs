//! Measures how much memory a function takes at most, by an allocator that counts per thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

/// A layout has at most `isize::MAX` bytes.
fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every call is passed to the system's allocator unchanged. Counting does not allocate, as the cells have no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(signed(size) - signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Runs `what`, and panics if it held more than `limit` bytes of memory at any time.
pub fn within<T>(limit: usize, what: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    PEAK.set(before);
    let outcome = what();
    let peak = PEAK.get() - before;
    assert!(
        peak <= signed(limit),
        "{peak} bytes were held, but only {limit} are allowed"
    );
    outcome
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn what_is_held_is_counted() {
        assert_eq!(within(1000, || vec![1_u8; 1000]).len(), 1000);
        let over = std::panic::catch_unwind(|| within(1000, || drop(vec![1_u8; 1001])));
        assert!(over.is_err());
        // A reallocation counts only the difference, and freed memory no longer counts.
        within(3000, || {
            let mut bytes = vec![0_u8; 1000];
            bytes.reserve_exact(1000);
            drop(bytes);
            drop(vec![0_u8; 3000]);
        });
    }
}
