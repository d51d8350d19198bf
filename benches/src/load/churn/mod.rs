//! Connections that come and go at random: each opens, exchanges requests or messages, and ends in one of several ways,
//! as a server on the open internet sees it.
//!
//! The number of open connections stays at the plan's: when one ends, another opens at once. Every byte received is
//! checked. A connection that breaks off in the middle of a request, or resets, expects no answer.

mod lots;
mod visit;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use self::lots::{Ending, Random, SCRIPTS};
use self::visit::{Left, PATIENCE, Phase, Visit, World};
use super::report::{failures, quoted};
use super::script::{Script, Violation};
use super::{Length, Plan};

/// The number of connections that may be connecting at once: less than the backlog of any server.
const OPENING: usize = 1000;
const READ_BUFFER: usize = 256 * 1024;
const EVENTS: usize = 1024;

/// The result of a churn run.
#[derive(Debug, Clone, PartialEq)]
pub struct Churned {
    /// Connections that ended as they should, counted by the way they ended.
    pub visits: Vec<(&'static str, u64)>,
    /// Requests and messages that were answered.
    pub answers: u64,
    /// The average number of open connections.
    pub open: f64,
    /// Wrong answers and connections that failed.
    pub errors: u64,
    /// The first of these errors.
    pub first_error: Option<String>,
}

impl Churned {
    /// The result as one JSON object.
    pub fn to_json(&self) -> String {
        let visits = self.visits.iter().map(|(name, count)| format!("\"{name}\":{count}"));
        format!(
            "{{\"visits\":{{{}}},\"answers\":{},\"open\":{:.0},\"errors\":{},\"first_error\":{}}}",
            visits.collect::<Vec<_>>().join(","),
            self.answers,
            self.open,
            self.errors,
            quoted(self.first_error.as_deref()),
        )
    }
}

impl fmt::Display for Churned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.visits.iter().map(|(_, count)| count).sum();
        writeln!(
            f,
            "{total} connections came and went, {:.0} at once on average; {} answers",
            self.open, self.answers
        )?;
        for (name, count) in &self.visits {
            writeln!(f, "  {count} {name}")?;
        }
        failures(f, self.errors, self.first_error.as_deref())
    }
}

/// Opens and ends connections for the plan's length; each stays for `stay` on average.
pub(super) fn run(plan: &Plan, stay: Duration) -> io::Result<Churned> {
    let Length::Time(time) = plan.length else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "churn takes a time, not a number of requests",
        ));
    };
    let mut crowd = Crowd::new(plan, stay)?;
    crowd.fill()?;
    let (start, mut last, mut sum) = (Instant::now(), Instant::now(), 0.0);
    while start.elapsed() < time {
        crowd.refill()?;
        crowd.turn(start + time)?;
        sum += crowd.open as f64 * last.elapsed().as_secs_f64();
        last = Instant::now();
    }
    let mut churned = crowd.empty()?;
    churned.open = sum / (last - start).as_secs_f64();
    Ok(churned)
}

struct Crowd {
    world: World,
    events: Vec<epoll::Event>,
    places: Vec<Option<Visit>>,
    /// Places without a visit.
    free: Vec<usize>,
    /// Visits that are not connected yet.
    opening: usize,
    open: usize,
    /// The number of visits begun; each visit is numbered with it.
    begun: u64,
    churned: Churned,
}

impl Crowd {
    fn new(plan: &Plan, stay: Duration) -> io::Result<Self> {
        let script = |(mode, payload)| {
            let mut plan = plan.clone();
            (plan.mode, plan.payload, plan.in_flight) = (mode, payload, 64);
            Script::new(&plan)
        };
        Ok(Crowd {
            world: World {
                plan: plan.clone(),
                scripts: SCRIPTS.into_iter().map(script).collect(),
                epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
                buffer: vec![0; READ_BUFFER],
                random: Random(0x9e37_79b9_7f4a_7c15),
                stay,
                filling: true,
                over: false,
                wakes: BinaryHeap::new(),
                answers: 0,
            },
            events: Vec::with_capacity(EVENTS),
            places: (0..plan.connections).map(|_| None).collect(),
            free: (0..plan.connections).collect(),
            opening: 0,
            open: 0,
            begun: 0,
            churned: Churned {
                visits: Ending::ALL.map(|ending| (ending.name(), 0)).to_vec(),
                answers: 0,
                open: 0.0,
                errors: 0,
                first_error: None,
            },
        })
    }

    /// Opens the plan's number of connections and waits until all are connected. Until then no visit leaves.
    fn fill(&mut self) -> io::Result<()> {
        let end = Instant::now() + 6 * PATIENCE;
        while self.open < self.places.len() {
            if Instant::now() > end || self.churned.errors > self.places.len() as u64 {
                let why = self.churned.first_error.as_deref().unwrap_or("it takes too long");
                return Err(io::Error::other(format!("not all connections could be opened: {why}")));
            }
            self.refill()?;
            self.turn(end)?;
        }
        self.world.filling = false;
        let now = Instant::now();
        for visit in self.places.iter_mut().flatten() {
            visit.leaves = self.world.leaves(now);
        }
        Ok(())
    }

    /// Begins a visit at each free place.
    fn refill(&mut self) -> io::Result<()> {
        while self.opening < OPENING
            && let Some(place) = self.free.pop()
        {
            self.begun += 1;
            self.places[place] = Some(Visit::begin(&mut self.world, place, self.begun)?);
            self.opening += 1;
            self.open += 1;
        }
        Ok(())
    }

    /// Lets all visits end, and begins no new ones.
    fn empty(mut self) -> io::Result<Churned> {
        let now = Instant::now();
        self.world.over = true;
        for (place, visit) in self.places.iter_mut().enumerate() {
            if let Some(visit) = visit {
                visit.leaves = now;
                self.world.wakes.push(Reverse((now, place, visit.number)));
            }
        }
        let end = now + PATIENCE;
        while self.open > 0 && Instant::now() < end {
            self.turn(end)?;
        }
        for place in 0..self.places.len() {
            self.visit(place, |_, _| Err(Violation::Silent.into()));
        }
        self.churned.answers = self.world.answers;
        Ok(self.churned)
    }

    /// Waits for events until `end` at the latest, and handles them.
    fn turn(&mut self, end: Instant) -> io::Result<()> {
        let next = self.world.wakes.peek().map_or(end, |Reverse((at, ..))| end.min(*at));
        let timeout = next.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        // While more connections can be begun, it does not wait.
        let lets_in = !self.free.is_empty() && self.opening < OPENING && !self.world.over;
        let timeout = if lets_in { Timespec::default() } else { timeout };
        match epoll::wait(&self.world.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let place = event.data.u64() as usize;
            self.visit(place, |visit, world| visit.ready(world, event.flags));
        }
        self.events = events;
        let now = Instant::now();
        while let Some(Reverse((at, place, number))) = self.world.wakes.peek().copied()
            && at <= now
        {
            self.world.wakes.pop();
            if self.places[place].as_ref().is_some_and(|visit| visit.number == number) {
                self.visit(place, |visit, world| visit.woken(world, now));
            }
        }
        Ok(())
    }

    /// Runs `happens` on the visit at `place`, if there is one.
    fn visit(&mut self, place: usize, happens: impl FnOnce(&mut Visit, &mut World) -> Result<(), Left>) {
        if let Some(visit) = &mut self.places[place] {
            let before = visit.phase;
            let outcome = happens(visit, &mut self.world);
            self.settle(place, before, outcome);
        }
    }

    /// Counts the outcome of an event for a visit whose phase was `before`.
    fn settle(&mut self, place: usize, before: Phase, outcome: Result<(), Left>) {
        let Some(visit) = &mut self.places[place] else { return };
        if before == Phase::Connecting && (outcome.is_err() || visit.phase != before) {
            self.opening -= 1;
        }
        match outcome {
            Ok(()) => return,
            Err(Left::Well) => self.churned.visits[visit.ending as usize].1 += 1,
            Err(Left::Badly(violation)) => {
                self.churned.errors += 1;
                let how = || format!("{violation} ({}, {:?})", visit.ending.name(), visit.phase);
                self.churned.first_error.get_or_insert_with(how);
            }
        }
        self.places[place] = None;
        self.open -= 1;
        self.free.push(place);
    }
}
