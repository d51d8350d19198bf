//! The iterators that [`Wheel::iter`] and [`Wheel::poll`] return.

use core::iter::FusedIterator;

use crate::arena::Arena;
use crate::key::Key;
use crate::wheel::{Step, Wheel};

/// All timers of a wheel in no particular order, as `(key, deadline, &value)`; made by [`Wheel::iter`].
#[derive(Clone)]
pub struct Iter<'a, T> {
    arena: &'a Arena<T>,
    from: u32,
    left: usize,
}

impl<'a, T> Iter<'a, T> {
    pub(crate) fn new(arena: &'a Arena<T>) -> Self {
        Self {
            arena,
            from: 0,
            left: arena.len(),
        }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (Key, u64, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let timer = self.arena.next_live(self.from)?;
        self.from = timer.0.index().saturating_add(1);
        Some(timer)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}
impl<T> FusedIterator for Iter<'_, T> {}

impl<T> core::fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Iter").field("left", &self.left).finish_non_exhaustive()
    }
}

/// The timers that are due, as `(key, value)`, until the budget is used up; made by [`Wheel::poll`].
///
/// Dropping the iterator early loses nothing: the timers that were not taken are still due.
#[derive(Debug)]
#[must_use = "timers fire as they are taken from this iterator"]
pub struct Drain<'a, T> {
    wheel: &'a mut Wheel<T>,
    budget: usize,
}

impl<'a, T> Drain<'a, T> {
    pub(crate) fn new(wheel: &'a mut Wheel<T>, budget: usize) -> Self {
        Self { wheel, budget }
    }

    /// The same timers with their deadlines. A deadline shows how late a timer is, and is the base for the next deadline of
    /// a periodic timer.
    pub fn with_deadlines(self) -> DrainWithDeadlines<'a, T> {
        DrainWithDeadlines(self)
    }
}

impl<T> Iterator for Drain<'_, T> {
    type Item = (Key, T);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.budget > 0 {
            match self.wheel.step() {
                Step::Idle => return None,
                Step::Filed => self.budget -= 1,
                Step::Fired(key, value) => {
                    self.budget -= 1;
                    return Some((key, value));
                }
            }
        }
        None
    }
}

impl<T> FusedIterator for Drain<'_, T> {}

/// The timers that are due, as `(key, deadline, value)`, until the budget is used up; made by [`Drain::with_deadlines`].
#[derive(Debug)]
#[must_use = "timers fire as they are taken from this iterator"]
pub struct DrainWithDeadlines<'a, T>(Drain<'a, T>);

impl<T> Iterator for DrainWithDeadlines<'_, T> {
    type Item = (Key, u64, T);

    fn next(&mut self) -> Option<Self::Item> {
        let Drain { wheel, budget } = &mut self.0;
        while *budget > 0 {
            let deadline = wheel.first_deadline()?;
            *budget -= 1;
            if let Step::Fired(key, value) = wheel.step() {
                return Some((key, deadline, value));
            }
        }
        None
    }
}

impl<T> FusedIterator for DrainWithDeadlines<'_, T> {}
