//! The worker that runs on the calling thread.

use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    /// Where the worker of this thread lies in memory; 0 without one.
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// Says that `worker`, as other threads see it, runs on this thread from here on.
pub fn runs_here<T>(worker: &Arc<T>) {
    HERE.set(Arc::as_ptr(worker).addr());
}

/// The one of `workers` that runs on the calling thread, else the first: for what a connection opens for itself, which costs no
/// wake-up of another thread then.
pub fn nearest<T>(workers: &[Arc<T>]) -> Option<&Arc<T>> {
    let here = HERE.get();
    workers
        .iter()
        .find(|worker| Arc::as_ptr(worker).addr() == here)
        .or(workers.first())
}
