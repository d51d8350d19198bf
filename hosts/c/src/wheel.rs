//! The timing wheel: many deadlines, a few instructions each.

use alloc::boxed::Box;

use timing_wheel::{Key, Wheel};

use crate::error::{PROTO_MEMORY, PROTO_NULL, PROTO_OK};

/// Many timers, each a deadline in ticks and a number of the program's. The program says how long a tick is and what time it is.
/// From the heap: `proto_wheel_new` and `proto_wheel_free`.
pub struct proto_wheel(Wheel<u64>);

/// A timer that is due.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_timer {
    /// Its key, which is stale now.
    pub key: u64,
    /// Its deadline.
    pub deadline: u64,
    /// The number that the program gave it, such as the address of a connection.
    pub value: u64,
}

/// Makes a wheel whose time is `now`.
#[unsafe(no_mangle)]
pub extern "C" fn proto_wheel_new(now: u64) -> *mut proto_wheel {
    Box::into_raw(Box::new(proto_wheel(Wheel::new(now))))
}

/// Frees a wheel. NULL is ignored.
///
/// The caller promises: `wheel` is NULL or from `proto_wheel_new`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_wheel_free(wheel: *mut proto_wheel) {
    if !wheel.is_null() {
        // SAFETY: as promised.
        drop(unsafe { Box::from_raw(wheel) });
    }
}

/// Sets a timer and writes its key, never 0, to `key`. Round deadlines up to ticks: a timer never fires early. `PROTO_MEMORY` if
/// there is no room for another.
///
/// The caller promises: `wheel` is NULL or from `proto_wheel_new`; `key` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_wheel_insert(wheel: *mut proto_wheel, deadline: u64, value: u64, key: *mut u64) -> i32 {
    // SAFETY: as promised.
    let (Some(wheel), Some(place)) = (unsafe { wheel.as_mut() }, unsafe { key.as_mut() }) else {
        return PROTO_NULL;
    };
    match wheel.0.try_insert(deadline, value) {
        Ok(key) => {
            *place = key.to_bits().get();
            PROTO_OK
        }
        Err(_) => PROTO_MEMORY,
    }
}

/// Gives a timer another deadline, earlier or later. False if the key is stale.
///
/// The caller promises: `wheel` is NULL or from `proto_wheel_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_wheel_reset(wheel: *mut proto_wheel, key: u64, deadline: u64) -> bool {
    // SAFETY: as promised.
    let (Some(wheel), Some(key)) = (unsafe { wheel.as_mut() }, Key::from_bits(key)) else {
        return false;
    };
    wheel.0.reset(key, deadline)
}

/// Unsets a timer. False if the key is stale.
///
/// The caller promises: `wheel` is NULL or from `proto_wheel_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_wheel_cancel(wheel: *mut proto_wheel, key: u64) -> bool {
    // SAFETY: as promised.
    let (Some(wheel), Some(key)) = (unsafe { wheel.as_mut() }, Key::from_bits(key)) else {
        return false;
    };
    wheel.0.cancel(key).is_some()
}

/// Sets the time, and takes timers that are due: it looks at `capacity` timers at most, so that a call never takes long. Returns how
/// many it has written to `due`. Then `proto_wheel_next_wake` is `now` if more are to be looked at, else later.
///
/// The caller promises: `wheel` is NULL or from `proto_wheel_new`; `due` has room for `capacity` timers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_wheel_poll(
    wheel: *mut proto_wheel,
    now: u64,
    due: *mut proto_timer,
    capacity: usize,
) -> usize {
    // SAFETY: as promised.
    let Some(wheel) = (unsafe { wheel.as_mut() }) else {
        return 0;
    };
    let capacity = if due.is_null() { 0 } else { capacity };
    let mut count = 0;
    for (key, deadline, value) in wheel.0.poll(now, capacity).with_deadlines() {
        let timer = proto_timer {
            key: key.to_bits().get(),
            deadline,
            value,
        };
        // SAFETY: the budget was `capacity`, so there are no more timers than that; else as promised.
        unsafe { due.add(count).write(timer) };
        count += 1;
    }
    count
}

/// Writes the tick at which to poll next, for the timeout of `poll` or `epoll_wait`. False if no timer is set.
///
/// The caller promises: `wheel` is NULL or from `proto_wheel_new`; `tick` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_wheel_next_wake(wheel: *const proto_wheel, tick: *mut u64) -> bool {
    // SAFETY: as promised.
    let wake = unsafe { wheel.as_ref() }.and_then(|wheel| wheel.0.next_wake());
    // SAFETY: as promised.
    unsafe { crate::buffer::set(tick, wake.unwrap_or(u64::MAX)) };
    wake.is_some()
}

/// The number of timers that are set, due ones among them. 0 for NULL.
///
/// The caller promises: `wheel` is NULL or from `proto_wheel_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_wheel_length(wheel: *const proto_wheel) -> usize {
    // SAFETY: as promised.
    unsafe { wheel.as_ref() }.map_or(0, |wheel| wheel.0.len())
}
