//! The wheel: the arena's lists are its slots, the bitmaps show which slots are in use, and `now` is its position.

use core::fmt;

use crate::arena::{Arena, NoMemory, Removed, Reset};
use crate::error::InsertError;
use crate::iter::{Drain, Iter};
use crate::key::Key;
use crate::slots::{self, DUE, Occupied};

/// A set of timers, each a deadline in ticks and a value. The wheel finds the timers that are due.
///
/// The caller chooses the length of a tick and tells the wheel the time. The [crate documentation](crate) explains how the
/// wheel works and how to drive it.
///
/// A timer takes 20 bytes plus the size of `Option<T>`; an empty wheel takes 6 KiB. A place is used for some four million
/// timers, one after the other, and then retired, so that no key is ever valid twice: that costs one timer's memory per four
/// million inserts.
#[derive(Clone)]
pub struct Wheel<T> {
    now: u64,
    occupied: Occupied,
    arena: Arena<T>,
}

/// Asking.
impl<T> Wheel<T> {
    /// The time of the wheel: the highest that [`advance`](Self::advance) or [`poll`](Self::poll) was called with. O(1).
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The number of timers, including those that are due but not taken yet. O(1).
    pub fn len(&self) -> usize {
        self.arena.len()
    }

    /// Whether a timer is still set, that is, whether its key is not stale. O(1).
    pub fn contains(&self, key: Key) -> bool {
        self.arena.find(key).is_some()
    }

    /// Whether no timer is set. O(1).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of timers that fit into the memory of the wheel. O(capacity / 16384).
    pub fn capacity(&self) -> usize {
        self.arena.capacity()
    }

    /// The value of a timer; `None` if the key is stale. O(1).
    pub fn get(&self, key: Key) -> Option<&T> {
        self.arena.value(self.arena.find(key)?)
    }

    /// The value of a timer, mutable; `None` if the key is stale. O(1).
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let index = self.arena.find(key)?;
        self.arena.value_mut(index)
    }

    /// The deadline of a timer as it was last set; `None` if the key is stale. O(1).
    pub fn deadline(&self, key: Key) -> Option<u64> {
        Some(self.arena.deadline(self.arena.find(key)?))
    }

    /// The tick at which to call [`poll`](Self::poll) next; `None` if no timer is set. O(1).
    ///
    /// * It is never later than the first deadline, if that lies ahead.
    /// * It may be earlier: when a far timer has to be filed more precisely, or when a timer was reset to a later deadline since
    ///   it was filed. Polling then yields nothing, and the next answer is later: a timer that is left alone wakes its owner at most
    ///   eleven times.
    /// * It is later than [`now`](Self::now), unless timers wait to be looked at right away: then it is `now`. This is how a used-up
    ///   budget shows. A poll with enough budget leaves none behind, so sleeping until `next_wake` and then polling never spins.
    pub fn next_wake(&self) -> Option<u64> {
        match self.occupied.first()? {
            DUE => Some(self.now),
            slot => Some(slots::start(self.now, slot)),
        }
    }

    /// The first deadline, which may be in the past; `None` if no timer is set.
    ///
    /// `next_wake` may cause a few needless wake-ups. This method is exact, but not O(1): it reads all timers of the first
    /// slot, and of those slots after it that may hold an earlier one. Use it in tests and to save power.
    pub fn next_deadline(&self) -> Option<u64> {
        let mut first = None;
        for slot in self.occupied.iter() {
            if first.is_some_and(|first| slot != DUE && slots::start(self.now, slot) > first) {
                break;
            }
            let here = self.arena.list(slot).map(|index| self.arena.deadline(index)).min();
            first = [first, here].into_iter().flatten().min();
        }
        first
    }

    /// All timers as `(key, deadline, &value)`, in no particular order. O(capacity) for the whole walk.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(&self.arena)
    }
}

/// Setting and unsetting.
impl<T> Wheel<T> {
    /// An empty wheel whose time is `now`.
    pub fn new(now: u64) -> Self {
        Self {
            now,
            occupied: Occupied::EMPTY,
            arena: Arena::new(),
        }
    }

    /// An empty wheel whose time is `now`, with memory for `capacity` timers. O(capacity).
    ///
    /// # Panics
    ///
    /// As for [`insert`](Self::insert).
    pub fn with_capacity(now: u64, capacity: usize) -> Self {
        let mut wheel = Self::new(now);
        wheel.reserve(capacity);
        wheel
    }

    /// Reserves memory for `additional` further timers. O(additional).
    ///
    /// # Panics
    ///
    /// As for [`insert`](Self::insert).
    pub fn reserve(&mut self, additional: usize) {
        assert!(
            self.arena.reserve(additional).is_ok(),
            "there is no memory for {additional} more timers"
        );
    }

    /// Sets a timer. O(1). If memory is needed, the wheel allocates it in chunks of 16384 timers, and never copies more than
    /// 1024.
    ///
    /// Every deadline is valid. A deadline at or before [`now`](Self::now) is due at the next poll, and `u64::MAX` is due
    /// when the time is `u64::MAX`. The wheel never fires a timer before its deadline: round up when converting to ticks.
    ///
    /// # Panics
    ///
    /// When 2^32 timers are set, which takes over 80 GiB, or when memory runs out; [`try_insert`](Self::try_insert) does not
    /// panic.
    pub fn insert(&mut self, deadline: u64, value: T) -> Key {
        let slot = slots::place(self.now, deadline);
        let key = self.arena.insert(deadline, slot, value);
        self.occupied.set(slot);
        key
    }

    /// Sets a timer as [`insert`](Self::insert) does, for cases where memory may run out.
    ///
    /// # Errors
    ///
    /// [`InsertError`], with the value, when there is no memory for another timer, or 2^32 are set. The wheel is unchanged.
    pub fn try_insert(&mut self, deadline: u64, value: T) -> Result<Key, InsertError<T>> {
        match self.arena.make_room() {
            Ok(()) => Ok(self.insert(deadline, value)),
            Err(NoMemory) => Err(InsertError::new(value)),
        }
    }

    /// Gives a timer another deadline, earlier or later; `false` if the key is stale. O(1), no allocation.
    ///
    /// As long as the new deadline is not before the slot the timer is filed in, this is one store.
    pub fn reset(&mut self, key: Key, deadline: u64) -> bool {
        let now = self.now;
        match self
            .arena
            .set_deadline(key, deadline, |slot| deadline >= slots::start(now, slot))
        {
            Reset::Stale => false,
            Reset::Stays => true,
            Reset::Moves(index) => {
                self.file(index, deadline);
                true
            }
        }
    }

    /// Unsets a timer and returns its value; `None` if the key is stale. O(1), and the memory can be used again at once.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        let index = self.arena.find(key)?;
        Some(self.remove(index)?.1)
    }

    /// Unsets the timers for which `keep` returns `false`, in no particular order. O(capacity).
    pub fn retain(&mut self, mut keep: impl FnMut(Key, u64, &mut T) -> bool) {
        // Between two timers the wheel is consistent, even if `keep` or a destructor panics.
        let mut from = 0;
        while let Some((key, deadline, _)) = self.arena.next_live(from) {
            let index = key.index();
            let kept = self
                .arena
                .value_mut(index)
                .is_some_and(|value| keep(key, deadline, value));
            if !kept {
                drop(self.remove(index));
            }
            let Some(next) = index.checked_add(1) else { break };
            from = next;
        }
    }

    /// Unsets all timers. All keys are stale afterwards; the memory and the time stay. O(capacity).
    pub fn clear(&mut self) {
        // A timer is removed before its value is dropped, so the wheel stays consistent if a destructor panics.
        let mut from = 0;
        while let Some((key, ..)) = self.arena.next_live(from) {
            from = key.index();
            drop(self.remove(from));
        }
    }

    /// Frees the memory of those chunks, of 16384 timers each, in which no timer is set. O(capacity).
    ///
    /// Keys stay as valid or as stale as they were.
    pub fn shrink_to_fit(&mut self) {
        self.arena.shrink();
    }
}

/// Letting time pass.
impl<T> Wheel<T> {
    /// Sets the time. Timers whose deadline is reached can then be taken with [`pop`](Self::pop).
    ///
    /// An earlier time than [`now`](Self::now) changes nothing. O(1) in the number of timers and in the time that has
    /// passed: the lists of the slots passed are moved as a whole, at most 64 per level.
    pub fn advance(&mut self, now: u64) {
        if now <= self.now {
            return;
        }
        while let Some(slot) = self.occupied.ahead()
            && slots::start(self.now, slot) <= now
        {
            self.arena.splice(slot, DUE);
            self.occupied.unset(slot);
            self.occupied.set(DUE);
        }
        self.now = now;
    }

    /// Takes a timer that is due; `None` if none is.
    ///
    /// Between two calls the caller may set, reset and cancel timers, including those that are due.
    ///
    /// Amortised O(1): between two resets a timer is visited at most twelve times, once per level. But one call may visit
    /// many timers that are not due; [`poll`](Self::poll) bounds the number of visits.
    ///
    /// If the caller advances tick by tick and takes all timers each time, the order is that of the deadlines, and of
    /// insertion within one tick (a timer that was reset takes any place among those of its tick). After a jump the order is
    /// that of the slots passed.
    pub fn pop(&mut self) -> Option<(Key, T)> {
        loop {
            match self.step() {
                Step::Idle => return None,
                Step::Filed => {}
                Step::Fired(key, value) => return Some((key, value)),
            }
        }
    }

    /// Takes a timer that is due as [`pop`](Self::pop) does, with its deadline. The deadline shows how late the timer is,
    /// and is the base for the next deadline of a periodic timer.
    pub fn pop_with_deadline(&mut self) -> Option<(Key, u64, T)> {
        loop {
            let deadline = self.first_deadline()?;
            if let Step::Fired(key, value) = self.step() {
                return Some((key, deadline, value));
            }
        }
    }

    /// The timer that [`pop`](Self::pop) would take, with its deadline; `None` if none is due. Amortised O(1), as `pop`.
    ///
    /// For the first timer that is not due yet, see [`next_wake`](Self::next_wake) and [`next_deadline`](Self::next_deadline).
    pub fn peek(&mut self) -> Option<(Key, u64, &T)> {
        loop {
            let (index, deadline) = self.arena.first(DUE)?;
            if deadline <= self.now {
                let key = self.arena.key(index);
                return Some((key, deadline, self.arena.value(index)?));
            }
            self.file(index, deadline);
        }
    }

    /// Sets the time and takes the timers that are due. Visits at most `budget` timers, so the time of a call is bounded.
    ///
    /// The remaining timers are still due, and [`next_wake`](Self::next_wake) is `now` until a later poll has visited them.
    pub fn poll(&mut self, now: u64, budget: usize) -> Drain<'_, T> {
        self.advance(now);
        Drain::new(self, budget)
    }

    /// The deadline of the timer that [`step`](Self::step) examines next.
    pub(crate) fn first_deadline(&self) -> Option<u64> {
        Some(self.arena.first(DUE)?.1)
    }

    /// Examines one timer of the due list.
    #[inline]
    pub(crate) fn step(&mut self) -> Step<T> {
        let Some((index, deadline)) = self.arena.first(DUE) else {
            return Step::Idle;
        };
        if deadline > self.now {
            self.file(index, deadline);
            return Step::Filed;
        }
        match self.remove(index) {
            Some((key, value)) => Step::Fired(key, value),
            None => Step::Idle,
        }
    }

    /// Moves a timer to the slot of its deadline.
    fn file(&mut self, index: u32, deadline: u64) {
        let slot = slots::place(self.now, deadline);
        if let Some(emptied) = self.arena.relink(index, slot) {
            self.occupied.unset(emptied);
        }
        self.occupied.set(slot);
    }

    #[inline(always)]
    fn remove(&mut self, index: u32) -> Option<(Key, T)> {
        let Removed { key, value, emptied } = self.arena.remove(index)?;
        if let Some(slot) = emptied {
            self.occupied.unset(slot);
        }
        Some((key, value))
    }
}

/// The result of [`Wheel::step`].
pub(crate) enum Step<T> {
    /// There was no timer to examine.
    Idle,
    /// A timer was not due yet, and was filed again.
    Filed,
    /// A timer was due.
    Fired(Key, T),
}

/// An empty wheel whose time is 0.
impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<'a, T> IntoIterator for &'a Wheel<T> {
    type Item = (Key, u64, &'a T);
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("now", &self.now)
            .field("len", &self.len())
            .field("next_wake", &self.next_wake())
            .finish_non_exhaustive()
    }
}
