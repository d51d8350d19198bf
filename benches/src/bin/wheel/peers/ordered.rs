//! Timers on the standard library's ordered collections.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::hint::black_box;
use std::time::Instant;

use super::{Ids, Timers};
use crate::scenarios::{Row, Sink};

/// A set of deadlines with their ids: the key is the deadline.
pub(crate) struct Set {
    set: BTreeSet<(u64, u32)>,
    deadlines: Vec<u64>,
}

impl Timers for Set {
    fn new(ids: u32, _capacity: u32) -> Self {
        Self {
            set: BTreeSet::new(),
            deadlines: vec![0; ids as usize],
        }
    }

    fn insert(&mut self, id: u32, deadline: u64) {
        self.set.insert((deadline, id));
        self.deadlines[id as usize] = deadline;
    }

    fn reset(&mut self, id: u32, deadline: u64) {
        self.cancel(id);
        self.insert(id, deadline);
    }

    fn cancel(&mut self, id: u32) {
        self.set.remove(&(self.deadlines[id as usize], id));
    }

    fn poll(&mut self, now: u64, _budget: usize, fired: &mut Ids) {
        while let Some(&(deadline, id)) = self.set.first() {
            if deadline > now {
                break;
            }
            self.set.pop_first();
            fired.push(id);
        }
    }

    fn next_wake(&mut self) -> Option<u64> {
        self.set.first().map(|&(deadline, _)| deadline)
    }
}

/// A heap in which a reset leaves the old entry, which is dropped when it reaches the top.
pub(crate) struct LazyDeletion {
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    deadlines: Vec<u64>,
}

/// The deadline of an id without a timer.
const NEVER: u64 = u64::MAX;

impl Timers for LazyDeletion {
    fn new(ids: u32, capacity: u32) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(capacity as usize),
            deadlines: vec![NEVER; ids as usize],
        }
    }

    fn insert(&mut self, id: u32, deadline: u64) {
        self.heap.push(Reverse((deadline, id)));
        self.deadlines[id as usize] = deadline;
    }

    fn reset(&mut self, id: u32, deadline: u64) {
        self.insert(id, deadline);
    }

    fn cancel(&mut self, id: u32) {
        self.deadlines[id as usize] = NEVER;
    }

    fn poll(&mut self, now: u64, _budget: usize, fired: &mut Ids) {
        while let Some(&Reverse((filed, id))) = self.heap.peek() {
            if filed > now {
                break;
            }
            self.heap.pop();
            if self.deadlines[id as usize] == filed {
                self.deadlines[id as usize] = NEVER;
                fired.push(id);
            }
        }
    }

    fn next_wake(&mut self) -> Option<u64> {
        self.heap.peek().map(|&Reverse((filed, _))| filed)
    }
}

/// A heap in which a later deadline is only stored, and examined when the old one reaches the top.
///
/// Timers are stored in the order in which they are set, as in the other collections: finding the deadline of a known key accesses memory
/// that is not in the caches.
pub(crate) struct LazyRearm {
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    timers: Vec<Timer>,
    places: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Timer {
    deadline: u64,
    filed: u64,
    id: u32,
}

impl Timers for LazyRearm {
    fn new(ids: u32, capacity: u32) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(capacity as usize),
            timers: Vec::with_capacity(ids as usize),
            places: vec![u32::MAX; ids as usize],
        }
    }

    fn insert(&mut self, id: u32, deadline: u64) {
        let place = &mut self.places[id as usize];
        if *place == u32::MAX {
            *place = self.timers.len() as u32;
            self.timers.push(Timer {
                deadline: NEVER,
                filed: NEVER,
                id,
            });
        }
        self.reset(id, deadline);
    }

    fn reset(&mut self, id: u32, deadline: u64) {
        let place = self.places[id as usize];
        let timer = &mut self.timers[place as usize];
        timer.deadline = deadline;
        if deadline < timer.filed {
            timer.filed = deadline;
            self.heap.push(Reverse((deadline, place)));
        }
    }

    fn cancel(&mut self, id: u32) {
        self.timers[self.places[id as usize] as usize].deadline = NEVER;
    }

    fn poll(&mut self, now: u64, _budget: usize, fired: &mut Ids) {
        while let Some(&Reverse((filed, place))) = self.heap.peek() {
            if filed > now {
                break;
            }
            self.heap.pop();
            let timer = &mut self.timers[place as usize];
            if timer.filed != filed {
                continue;
            }
            if timer.deadline <= now {
                *timer = Timer {
                    deadline: NEVER,
                    filed: NEVER,
                    id: timer.id,
                };
                fired.push(timer.id);
            } else {
                timer.filed = timer.deadline;
                if timer.deadline != NEVER {
                    self.heap.push(Reverse((timer.deadline, place)));
                }
            }
        }
    }

    fn next_wake(&mut self) -> Option<u64> {
        self.heap.peek().map(|&Reverse((filed, _))| filed)
    }
}

/// Polls an empty heap, which is the least work of an idle tick.
pub(crate) fn empty(_size: u32, sink: Sink<'_>) {
    const TICKS: u32 = 500;
    let heap = black_box(BinaryHeap::<Reverse<(u64, u32)>>::new());
    let start = Instant::now();
    for _ in 0..TICKS {
        black_box(Instant::now());
        black_box(black_box(&heap).peek());
    }
    sink(Row::Idle, start.elapsed().as_nanos() as f64 / f64::from(TICKS));
}
