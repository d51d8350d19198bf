//! Which connection carries which request, without sockets and clocks.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use timing_wheel::{Ticks, Wheel};

/// The limits of a [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Idle connections kept for one origin. Default 32.
    pub idle_per_origin: usize,
    /// Idle connections kept in all. Default 256.
    pub idle: usize,
    /// How long an idle connection is kept. Default 90 s. Servers close theirs after 5 to 75 s; a request that meets the close is repeated
    /// if that is safe.
    pub idle_timeout: Duration,
    /// Connections to one origin, idle or not. Further requests wait. Default 128.
    pub per_origin: usize,
    /// Requests that wait for a connection, in all. Default 65,536.
    pub waiting: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits {
            idle_per_origin: 32,
            idle: 256,
            idle_timeout: Duration::from_secs(90),
            per_origin: 128,
            waiting: 65_536,
        }
    }
}

/// The name that the caller gives to a connection.
pub type LineId = u64;
/// The name that the caller gives to a request.
pub type JobId = u64;

/// What the caller must do for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkout {
    /// Send it on this connection.
    Use(LineId),
    /// Open a connection, and tell the pool of it with [`Pool::opening`]. The request waits for it, or for another one.
    Open,
    /// Nothing: it waits until a connection is free.
    Wait,
    /// Refuse it: too many requests wait.
    Full,
}

/// Keeps connections and hands them to requests, one `K` for each origin. A state machine: the caller opens and closes connections.
///
/// The connection that was used last is used first, so that surplus ones become old and are closed. Requests wait in their order. A request
/// takes whichever comes first: a connection that becomes free, or a new one.
#[derive(Debug)]
pub struct Pool<K> {
    limits: PoolLimits,
    origins: HashMap<K, Origin>,
    lines: HashMap<LineId, Line<K>>,
    idle: usize,
    waiting: usize,
    timers: Wheel<LineId>,
    start: Instant,
}

#[derive(Debug, Default)]
struct Origin {
    /// Connections with room, the last used at the end.
    free: Vec<LineId>,
    waiting: VecDeque<JobId>,
    opening: usize,
    lines: usize,
}

#[derive(Debug)]
struct Line<K> {
    key: K,
    open: bool,
    busy: usize,
    room: usize,
    timer: Option<timing_wheel::Key>,
}

impl<K: Clone + Eq + Hash> Pool<K> {
    /// An empty pool. No later call may pass an earlier time than `now`.
    pub fn new(limits: PoolLimits, now: Instant) -> Self {
        Pool {
            limits,
            origins: HashMap::new(),
            lines: HashMap::new(),
            idle: 0,
            waiting: 0,
            timers: Wheel::new(0),
            start: now,
        }
    }

    /// A request for `key` needs a connection. With `fresh`, an idle one is not used: it may have been closed, as others were.
    pub fn checkout(&mut self, key: &K, job: JobId, fresh: bool) -> Checkout {
        let origin = self.origins.entry(key.clone()).or_default();
        if !fresh && let Some(&line) = origin.free.last() {
            self.occupy(line);
            return Checkout::Use(line);
        }
        if self.waiting >= self.limits.waiting {
            self.tidy(key);
            return Checkout::Full;
        }
        origin.waiting.push_back(job);
        self.waiting += 1;
        let open = origin.lines < self.limits.per_origin && origin.opening < origin.waiting.len();
        if open { Checkout::Open } else { Checkout::Wait }
    }

    /// The caller opens a connection.
    pub fn opening(&mut self, key: &K, line: LineId) {
        let origin = self.origins.entry(key.clone()).or_default();
        origin.opening += 1;
        origin.lines += 1;
        let entry = Line {
            key: key.clone(),
            open: false,
            busy: 0,
            room: 0,
            timer: None,
        };
        self.lines.insert(line, entry);
    }

    /// A connection is established and carries up to `room` requests at the same time. Returns the requests to send on it.
    pub fn established(&mut self, now: Instant, line: LineId, room: usize) -> Vec<JobId> {
        let Some(entry) = self.lines.get_mut(&line) else {
            return Vec::new();
        };
        (entry.open, entry.room) = (true, room.max(1));
        if let Some(origin) = self.origins.get_mut(&entry.key) {
            origin.opening -= 1;
            origin.free.push(line);
        }
        self.serve(now, line)
    }

    /// A request on `line` is over, and the connection may carry another. Returns the requests to send on it. If it is superfluous,
    /// [`superfluous`](Self::superfluous) returns it.
    pub fn returned(&mut self, now: Instant, line: LineId) -> Vec<JobId> {
        let Some(entry) = self.lines.get_mut(&line) else {
            return Vec::new();
        };
        let was_full = entry.busy >= entry.room;
        entry.busy = entry.busy.saturating_sub(1);
        if entry.room > 0
            && let Some(origin) = self.origins.get_mut(&entry.key)
        {
            if !was_full {
                origin.free.retain(|free| *free != line);
            }
            origin.free.push(line);
        }
        self.serve(now, line)
    }

    /// A connection has ended, or was never established: `failed` then is the request that has no hope any more. A request that still
    /// waits may need another connection: `open` tells to open one.
    pub fn closed(&mut self, line: LineId) -> Lost {
        let Some(entry) = self.lines.remove(&line) else {
            return Lost::default();
        };
        if let Some(timer) = entry.timer {
            self.timers.cancel(timer);
            self.idle -= 1;
        }
        let mut lost = Lost::default();
        if let Some(origin) = self.origins.get_mut(&entry.key) {
            origin.lines -= 1;
            origin.free.retain(|free| *free != line);
            if !entry.open {
                origin.opening -= 1;
                if origin.opening < origin.waiting.len() {
                    lost.failed = origin.waiting.pop_front();
                    self.waiting -= usize::from(lost.failed.is_some());
                }
            }
            lost.open = origin.opening < origin.waiting.len() && origin.lines < self.limits.per_origin;
        }
        self.tidy(&entry.key);
        lost
    }

    /// A request does not wait any more. Returns whether it did.
    pub fn cancel(&mut self, key: &K, job: JobId) -> bool {
        let Some(origin) = self.origins.get_mut(key) else {
            return false;
        };
        let before = origin.waiting.len();
        origin.waiting.retain(|waiting| *waiting != job);
        let removed = before - origin.waiting.len();
        self.waiting -= removed;
        self.tidy(key);
        removed > 0
    }

    /// No further request is sent on `line`, whose last one is under way.
    pub fn retire(&mut self, line: LineId) {
        if let Some(entry) = self.lines.get_mut(&line) {
            entry.room = 0;
            if let Some(origin) = self.origins.get_mut(&entry.key) {
                origin.free.retain(|free| *free != line);
            }
        }
    }

    /// When [`expire`](Self::expire) is useful; `None` if no connection is idle.
    pub fn deadline(&self) -> Option<Instant> {
        let wake = self.timers.next_wake()?;
        self.start.checked_add(Ticks::MILLISECOND.duration(wake))
    }

    /// An idle connection that has been idle for too long, and is to be closed. To be called until it returns `None`.
    pub fn expire(&mut self, now: Instant) -> Option<LineId> {
        self.timers
            .advance(Ticks::MILLISECOND.elapsed(now.saturating_duration_since(self.start)));
        let (_, line) = self.timers.pop()?;
        if let Some(entry) = self.lines.get_mut(&line) {
            entry.timer = None;
            self.idle -= 1;
            self.retire(line);
        }
        Some(line)
    }

    /// An idle connection beyond the limits, to be closed: the one that was used the longest ago. To be called until it returns `None`.
    pub fn superfluous(&mut self, line: LineId) -> Option<LineId> {
        let entry = self.lines.get(&line)?;
        let origin = self.origins.get(&entry.key)?;
        let idle = |line: &&LineId| self.lines.get(line).is_some_and(|line| line.timer.is_some());
        let of_origin = origin.free.iter().filter(idle).count();
        let victim = if of_origin > self.limits.idle_per_origin {
            origin.free.iter().find(idle).copied()
        } else if self.idle > self.limits.idle {
            entry.timer.map(|_| line)
        } else {
            None
        }?;
        if let Some(timer) = self.lines.get_mut(&victim).and_then(|line| line.timer.take()) {
            self.timers.cancel(timer);
            self.idle -= 1;
        }
        self.retire(victim);
        Some(victim)
    }

    /// The numbers of connections, idle connections, and waiting requests.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.lines.len(), self.idle, self.waiting)
    }

    /// Hands `line` to requests that wait, as far as it has room.
    fn serve(&mut self, now: Instant, line: LineId) -> Vec<JobId> {
        let mut jobs = Vec::new();
        while let Some(entry) = self.lines.get(&line)
            && entry.busy < entry.room
            && let Some(origin) = self.origins.get_mut(&entry.key)
            && let Some(job) = origin.waiting.pop_front()
        {
            self.waiting -= 1;
            self.occupy(line);
            jobs.push(job);
        }
        if let Some(entry) = self.lines.get_mut(&line)
            && entry.busy == 0
            && entry.room > 0
            && entry.timer.is_none()
        {
            let at = now
                .saturating_duration_since(self.start)
                .saturating_add(self.limits.idle_timeout);
            entry.timer = Some(self.timers.insert(Ticks::MILLISECOND.deadline(at), line));
            self.idle += 1;
        }
        jobs
    }

    fn occupy(&mut self, line: LineId) {
        let Some(entry) = self.lines.get_mut(&line) else { return };
        if let Some(timer) = entry.timer.take() {
            self.timers.cancel(timer);
            self.idle -= 1;
        }
        entry.busy += 1;
        if entry.busy >= entry.room
            && let Some(origin) = self.origins.get_mut(&entry.key)
        {
            origin.free.retain(|free| *free != line);
        }
    }

    /// Forgets an origin without connections and requests.
    fn tidy(&mut self, key: &K) {
        if self
            .origins
            .get(key)
            .is_some_and(|origin| origin.lines == 0 && origin.waiting.is_empty())
        {
            self.origins.remove(key);
        }
    }
}

/// What the end of a connection means for requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// This request fails with the connection's failure.
    pub failed: Option<JobId>,
    /// A request waits that needs another connection.
    pub open: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pool() -> (Pool<&'static str>, Instant) {
        let start = Instant::now();
        let limits = PoolLimits {
            idle_per_origin: 2,
            idle: 3,
            per_origin: 3,
            waiting: 4,
            ..PoolLimits::default()
        };
        (Pool::new(limits, start), start)
    }

    /// A pool with idle connections.
    fn with_idle(lines: &[(&'static str, LineId)]) -> (Pool<&'static str>, Instant) {
        let (mut pool, now) = pool();
        for (key, line) in lines {
            assert_eq!(pool.checkout(key, 1, true), Checkout::Open);
            pool.opening(key, *line);
            assert_eq!(pool.established(now, *line, 1), [1]);
        }
        for (_, line) in lines {
            assert_eq!(pool.returned(now, *line), [0_u64; 0]);
        }
        (pool, now)
    }

    #[test]
    fn the_last_used_connection_is_used_first() {
        let (mut pool, now) = with_idle(&[("a", 1), ("a", 2)]);
        assert_eq!(pool.checkout(&"a", 7, false), Checkout::Use(2));
        assert_eq!(pool.checkout(&"a", 8, false), Checkout::Use(1));
        assert_eq!(pool.returned(now, 2), [0_u64; 0]);
        assert_eq!(pool.checkout(&"a", 9, false), Checkout::Use(2));
        assert_eq!(pool.checkout(&"b", 9, false), Checkout::Open);
    }

    #[test]
    fn a_request_takes_what_comes_first() {
        let (mut pool, now) = with_idle(&[("a", 1)]);
        assert_eq!(pool.checkout(&"a", 7, false), Checkout::Use(1));
        assert_eq!(pool.checkout(&"a", 8, false), Checkout::Open);
        pool.opening(&"a", 2);
        assert_eq!(pool.returned(now, 1), [8]);
        assert_eq!(pool.established(now, 2, 1), [0_u64; 0]);
        assert_eq!(pool.counts(), (2, 1, 0));
        assert_eq!(pool.checkout(&"a", 9, false), Checkout::Use(2));
    }

    #[test]
    fn limits_hold() {
        let (mut pool, now) = pool();
        for line in 1..=3 {
            assert_eq!(pool.checkout(&"a", line, false), Checkout::Open);
            pool.opening(&"a", line);
        }
        assert_eq!(pool.checkout(&"a", 4, false), Checkout::Wait);
        assert_eq!(pool.checkout(&"b", 5, false), Checkout::Full);
        for line in 1..=3 {
            assert_eq!(pool.established(now, line, 1), [line]);
        }
        assert_eq!(pool.returned(now, 2), [4]);
        assert_eq!((pool.returned(now, 1), pool.superfluous(1)), (vec![], None));
        assert_eq!((pool.returned(now, 3), pool.superfluous(3)), (vec![], None));
        assert_eq!((pool.returned(now, 2), pool.superfluous(2)), (vec![], Some(1)));
        assert_eq!(pool.superfluous(2), None);
        assert_eq!(pool.closed(1), Lost::default());
        assert_eq!(pool.counts(), (2, 2, 0));
    }

    #[test]
    fn idle_connections_expire_and_used_ones_do_not() {
        let (mut pool, now) = with_idle(&[("a", 1), ("b", 2)]);
        assert_eq!(pool.checkout(&"b", 3, false), Checkout::Use(2));
        assert!(pool.deadline().unwrap() <= now + 91 * SECOND);
        assert_eq!(pool.expire(now + 89 * SECOND), None);
        assert_eq!(pool.expire(now + 91 * SECOND), Some(1));
        assert_eq!(pool.expire(now + 91 * SECOND), None);
        assert_eq!(pool.checkout(&"a", 4, false), Checkout::Open);
        assert!(pool.cancel(&"a", 4));
        assert_eq!((pool.closed(1), pool.deadline()), (Lost::default(), None));
    }

    /// The failure of a connection fails the request that has waited longest, unless another connection may serve it.
    #[test]
    fn failures() {
        let (mut pool, now) = pool();
        for line in 1..=2 {
            assert_eq!(pool.checkout(&"a", line, false), Checkout::Open);
            pool.opening(&"a", line);
        }
        assert_eq!(pool.closed(1).failed, Some(1));
        assert_eq!(pool.established(now, 2, 1), [2]);
        assert_eq!(pool.checkout(&"a", 3, false), Checkout::Open);
        pool.opening(&"a", 3);
        assert!(pool.cancel(&"a", 3) && !pool.cancel(&"a", 3));
        assert_eq!(pool.closed(3), Lost::default());
        assert_eq!(pool.closed(2), Lost::default());
        assert_eq!((pool.counts(), pool.origins.len()), ((0, 0, 0), 0));
    }

    /// A request that waits at the limit gets a new connection when an established one ends.
    #[test]
    fn a_waiting_request_is_not_forgotten() {
        let (mut pool, now) = with_idle(&[("a", 1), ("a", 2), ("a", 3)]);
        for job in 1..=3 {
            assert!(matches!(pool.checkout(&"a", job, false), Checkout::Use(_)));
        }
        assert_eq!(pool.checkout(&"a", 4, false), Checkout::Wait);
        assert_eq!(
            pool.closed(1),
            Lost {
                failed: None,
                open: true
            }
        );
        pool.opening(&"a", 9);
        assert_eq!(pool.established(now, 9, 1), [4]);
    }

    /// HTTP/2: one connection carries many requests.
    #[test]
    fn a_connection_with_room() {
        let (mut pool, now) = pool();
        for job in 1..=2 {
            pool.checkout(&"a", job, false);
        }
        pool.opening(&"a", 1);
        assert_eq!(pool.established(now, 1, 3), [1, 2]);
        assert_eq!(pool.checkout(&"a", 3, false), Checkout::Use(1));
        assert_eq!(pool.checkout(&"a", 4, false), Checkout::Open);
        assert_eq!(pool.returned(now, 1), [4]);
        pool.retire(1);
        for _ in 0..3 {
            assert_eq!(pool.returned(now, 1), [0_u64; 0]);
        }
        assert_eq!(pool.counts(), (1, 0, 0));
    }
}
