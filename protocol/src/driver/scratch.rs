//! The memory that the connections of a thread share.

use std::cell::Cell;
use std::time::Instant;

use super::backlog::COPY_MAX;
use crate::{Limits, Output};

/// Bytes that a driver reads at once into the shared buffer.
pub(super) const READ_SIZE: usize = 64 * 1024;

thread_local! {
    /// Scratch memory for layers. Layers can be nested, so a layer takes its scratch out while using it.
    static POOL: Cell<Option<Box<Kept>>> = const { Cell::new(None) };
}

/// A node in the list of a thread's scratch memory: taking and returning one moves only a pointer.
struct Kept {
    scratch: Scratch,
    next: Option<Box<Kept>>,
}

/// Scratch memory of a thread: the time, a read buffer, an output buffer. Connections use it one after the other, each in
/// its own [`Turn`](super::Turn).
#[derive(Debug)]
pub struct Scratch {
    /// The time, read once before the turns that use it. Must not run backwards.
    pub now: Instant,
    /// The limits of connections whose turns begin from now on.
    pub limits: Limits,
    /// The output of the connection whose turn it is; empty between turns.
    pub(super) output: Output,
    pub(super) input: Box<[u8]>,
}

impl Scratch {
    /// Scratch memory with a read buffer of 68 KiB, which is allocated at the first read.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Scratch {
            now,
            limits,
            output: Output::new(),
            input: Box::default(),
        }
    }

    /// Lends scratch memory that the thread keeps, with `limits` and `now`. Calls may be nested: each call gets its own
    /// memory.
    #[inline]
    pub fn lend<R>(limits: Limits, now: Instant, body: impl FnOnce(&mut Scratch) -> R) -> R {
        let take = |pool: &Cell<Option<Box<Kept>>>| {
            let mut kept = pool.take()?;
            pool.set(kept.next.take());
            Some(kept)
        };
        // The pool is gone while the thread ends.
        let mut kept = POOL
            .try_with(take)
            .ok()
            .flatten()
            .unwrap_or_else(|| Self::allocate_kept(limits, now));
        kept.scratch.now = now;
        kept.scratch.limits = limits;
        let result = body(&mut kept.scratch);
        let _ = POOL.try_with(|pool| {
            kept.next = pool.take();
            pool.set(Some(kept));
        });
        result
    }

    #[cold]
    fn allocate_kept(limits: Limits, now: Instant) -> Box<Kept> {
        Box::new(Kept {
            scratch: Scratch::new(limits, now),
            next: None,
        })
    }

    /// The buffer to read into, of [`COPY_MAX`] and [`READ_SIZE`] bytes.
    #[inline(always)]
    pub(super) fn input(&mut self) -> &mut [u8] {
        if self.input.len() < COPY_MAX + READ_SIZE {
            self.allocate();
        }
        &mut self.input
    }

    #[cold]
    fn allocate(&mut self) {
        self.input = vec![0; COPY_MAX + READ_SIZE].into();
    }
}
