//! Contestants take turns at the same work, so that other activity of the machine affects all alike.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Handles at least the given number of items, and returns how many.
pub type Job = Box<dyn FnMut(usize) -> usize>;

/// What one item costs: medians over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Nanoseconds.
    pub nanos: f64,
    /// Allocations, counted where [`Counting`] is the allocator of the program.
    pub allocations: f64,
}

/// Has every job handle `batch` items in each round, after a quarter of that to warm up.
pub fn measure(jobs: &mut [Option<Job>], batch: usize, rounds: usize) -> Vec<Option<Figures>> {
    for job in jobs.iter_mut().flatten() {
        job((batch / 4).max(1));
    }
    let mut figures = vec![(Vec::new(), Vec::new()); jobs.len()];
    for _ in 0..rounds {
        for (job, (times, allocations)) in jobs.iter_mut().zip(&mut figures) {
            let Some(job) = job else { continue };
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let start = Instant::now();
            let count = job(batch.max(1)) as f64;
            times.push(start.elapsed().as_nanos() as f64 / count);
            allocations.push((ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / count);
        }
    }
    let medians = |(nanos, allocations)| {
        Some(Figures {
            nanos: median(nanos)?,
            allocations: median(allocations)?,
        })
    };
    figures.into_iter().map(medians).collect()
}

/// The middle of the values; `None` if there are none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The system's allocator, counting: for a program's `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: all calls go to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_takes_its_turn_in_each_round_and_figures_are_per_item() {
        use std::cell::RefCell;
        use std::rc::Rc;
        let turns = Rc::new(RefCell::new(Vec::new()));
        let job = |name: char| -> Option<Job> {
            let turns = Rc::clone(&turns);
            Some(Box::new(move |count| {
                turns.borrow_mut().push((name, count));
                std::thread::sleep(std::time::Duration::from_millis(2));
                2 * count
            }))
        };
        let figures = measure(&mut [job('a'), None, job('b')], 4, 2);
        assert_eq!(
            *turns.borrow(),
            [('a', 1), ('b', 1), ('a', 4), ('b', 4), ('a', 4), ('b', 4)]
        );
        assert!(figures[1].is_none());
        for figure in [figures[0], figures[2]] {
            // At least 2 ms for 8 items, and more on a busy machine.
            assert!(figure.is_some_and(|figure| figure.nanos >= 250_000.0), "{figure:?}");
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
