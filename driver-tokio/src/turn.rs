//! What all connections on a thread share.

use std::cell::RefCell;
use std::time::Instant;

use protocol::Limits;
use protocol::driver::Turn;

thread_local! {
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

/// Lends the thread's buffers, with the clock read and `limits` in force. `None` when they are lent already, which is a
/// driver inside a protocol's method, or when the thread is ending.
pub(crate) fn with<R>(limits: Limits, body: impl FnOnce(&mut Turn) -> R) -> Option<R> {
    let lend = |cell: &RefCell<Option<Turn>>| {
        let mut slot = cell.try_borrow_mut().ok()?;
        let now = Instant::now();
        let turn = slot.get_or_insert_with(|| Turn::new(limits, now));
        turn.now = now;
        turn.limits = limits;
        Some(body(turn))
    };
    TURN.try_with(lend).ok().flatten()
}

/// Drops what a panicking protocol has left in the output.
pub(crate) fn clear() {
    let _ = TURN.try_with(|cell| {
        if let Ok(mut slot) = cell.try_borrow_mut()
            && let Some(turn) = slot.as_mut()
        {
            turn.output.clear();
        }
    });
}
