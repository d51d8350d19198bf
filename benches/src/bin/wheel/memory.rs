//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a count of the allocations and bytes of each thread.
pub(crate) struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get().wrapping_add(layout.size() as u64));
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get().wrapping_sub(layout.size() as u64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get().wrapping_sub(layout.size() as u64).wrapping_add(size as u64));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The effect of some work on this thread's memory.
pub(crate) struct Change {
    /// The number of allocations.
    pub(crate) allocations: f64,
    /// The additional bytes in use afterwards.
    pub(crate) bytes: f64,
}

/// Runs `work` and returns its effect.
pub(crate) fn change(work: impl FnOnce()) -> Change {
    let (allocations, bytes) = (ALLOCATIONS.get(), BYTES.get());
    work();
    Change {
        allocations: (ALLOCATIONS.get() - allocations) as f64,
        bytes: BYTES.get().wrapping_sub(bytes).cast_signed() as f64,
    }
}
