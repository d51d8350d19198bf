//! Memory for a host that has none of its own in the module: JavaScript.

use alloc::alloc::{Layout, alloc, dealloc};

#[cfg(not(feature = "std"))]
#[global_allocator]
static MEMORY: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Gets `size` bytes, aligned to 8; NULL if there are none.
#[unsafe(no_mangle)]
pub extern "C" fn proto_wasm_alloc(size: usize) -> *mut u8 {
    match Layout::from_size_align(size.max(1), 8) {
        // SAFETY: the size is not 0.
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => core::ptr::null_mut(),
    }
}

/// Gives them back.
///
/// The caller promises: `place` is NULL, or from `proto_wasm_alloc` with this `size`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_wasm_free(place: *mut u8, size: usize) {
    if let (false, Ok(layout)) = (place.is_null(), Layout::from_size_align(size.max(1), 8)) {
        // SAFETY: as promised.
        unsafe { dealloc(place, layout) }
    }
}
