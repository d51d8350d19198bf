//! Which address of a name to try when (happy eyeballs version 2, RFC 8305), without sockets and clocks.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One of the two families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4: A records.
    V4,
    /// IPv6: AAAA records.
    V6,
}

impl Family {
    /// The family of `address`.
    pub fn of(address: &IpAddr) -> Self {
        if address.is_ipv6() { Family::V6 } else { Family::V4 }
    }
}

/// The times between the attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pace {
    /// How long to wait for the IPv6 addresses when the IPv4 addresses are known. Default 50 ms (RFC 8305 section 3).
    pub resolution_delay: Duration,
    /// From the start of one attempt to the start of the next, if the first has not failed before. Default 250 ms (section
    /// 5).
    pub attempt_delay: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            resolution_delay: Duration::from_millis(50),
            attempt_delay: Duration::from_millis(250),
        }
    }
}

/// The most addresses of one family that are tried.
const MOST: usize = 16;

/// Says which address of a name to try when (RFC 8305), as a state machine: the caller looks up the name, opens the connections,
/// and passes in what happened and the time.
///
/// Addresses of both families alternate, IPv6 first; within a family they keep their order. An attempt starts when the one before has
/// failed or has taken 250 ms. The first connection that is established wins; the caller drops the others.
///
/// ```
/// use std::time::{Duration, Instant};
/// use driver_common::{Eyeballs, Family, Pace};
///
/// let start = Instant::now();
/// let (v6, v4) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
/// let mut eyeballs = Eyeballs::new(Pace::default());
/// eyeballs.resolved(start, Family::V4, [v4]);
/// assert_eq!(eyeballs.next(start), None, "the other family may come");
/// eyeballs.resolved(start, Family::V6, [v6]);
/// assert_eq!(eyeballs.next(start), Some(v6));
/// assert_eq!(eyeballs.next(start), None);
/// let later = eyeballs.deadline().unwrap();
/// assert_eq!(later, start + Duration::from_millis(250));
/// assert_eq!(eyeballs.next(later), Some(v4));
/// ```
#[derive(Debug, Clone)]
pub struct Eyeballs {
    pace: Pace,
    v6: Answers,
    v4: Answers,
    /// The family of the last attempt.
    last: Option<Family>,
    /// The attempts under way.
    running: Vec<IpAddr>,
    /// The earliest time of the next attempt; `None` if it may start at once.
    next_at: Option<Instant>,
    /// The latest failure, of an attempt or of the look-up.
    failure: Option<ErrorKind>,
}

/// What is known of one family.
#[derive(Debug, Clone, Default)]
struct Answers {
    known: bool,
    left: VecDeque<IpAddr>,
}

impl Eyeballs {
    /// A machine that knows no address yet.
    pub fn new(pace: Pace) -> Self {
        Eyeballs {
            pace,
            v6: Answers::default(),
            v4: Answers::default(),
            last: None,
            running: Vec::new(),
            next_at: None,
            failure: None,
        }
    }

    /// The look-up has found the addresses of one family; possibly none. Addresses of the other family, and beyond the first 16, are
    /// ignored.
    pub fn resolved(&mut self, now: Instant, family: Family, addresses: impl IntoIterator<Item = IpAddr>) {
        let first = !self.v4.known && !self.v6.known;
        let answers = self.of(family);
        let was_known = std::mem::replace(&mut answers.known, true);
        for address in addresses {
            let fits = Family::of(&address) == family && answers.left.len() < MOST;
            if fits && !answers.left.contains(&address) {
                answers.left.push_back(address);
            }
        }
        if first && family == Family::V4 {
            // IPv6 gets a little time to catch up (section 3).
            self.next_at = now.checked_add(self.pace.resolution_delay);
        } else if !was_known && self.last.is_none() {
            self.next_at = None;
        }
    }

    /// The look-up of what is not known yet has failed.
    pub fn resolve_failed(&mut self, failure: ErrorKind) {
        self.v6.known = true;
        self.v4.known = true;
        self.failure.get_or_insert(failure);
        if self.last.is_none() {
            self.next_at = None;
        }
    }

    /// Whether both families are known.
    pub fn is_resolved(&self) -> bool {
        self.v6.known && self.v4.known
    }

    /// The address to which a connection must be opened now, if any. To be called until it returns `None`, after every other call and
    /// when the [`deadline`](Self::deadline) has passed.
    pub fn next(&mut self, now: Instant) -> Option<IpAddr> {
        if self.next_at.is_some_and(|at| now < at) {
            return None;
        }
        let family = match self.last {
            Some(Family::V6) => Family::V4,
            _ => Family::V6,
        };
        let other = if family == Family::V6 { Family::V4 } else { Family::V6 };
        let turn = if self.of(family).left.is_empty() { other } else { family };
        let address = self.of(turn).left.pop_front()?;
        self.last = Some(turn);
        self.running.push(address);
        self.next_at = now.checked_add(self.pace.attempt_delay);
        Some(address)
    }

    /// The attempt at `address` has failed: the next one starts at once.
    pub fn failed(&mut self, address: IpAddr, failure: ErrorKind) {
        if let Some(at) = self.running.iter().position(|running| *running == address) {
            self.running.swap_remove(at);
            self.failure = Some(failure);
            self.next_at = None;
        }
    }

    /// When to call [`next`](Self::next) again, unless something happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = !self.v6.left.is_empty() || !self.v4.left.is_empty();
        self.next_at.filter(|_| waiting)
    }

    /// Why no connection can be established: every address has failed, or there is none
    /// ([`NotFound`](ErrorKind::NotFound)). `None` while there is hope.
    pub fn failure(&self) -> Option<ErrorKind> {
        let over = self.is_resolved() && self.running.is_empty() && self.v6.left.is_empty() && self.v4.left.is_empty();
        over.then(|| self.failure.unwrap_or(ErrorKind::NotFound))
    }

    fn of(&mut self, family: Family) -> &mut Answers {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn six(n: u16) -> IpAddr {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])
    }

    fn four(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    /// Section 4: families alternate, IPv6 first. Section 5: 250 ms between attempts.
    #[test]
    fn families_alternate_at_the_pace() {
        let start = Instant::now();
        let mut eyeballs = Eyeballs::new(Pace::default());
        eyeballs.resolved(start, Family::V6, [six(1), six(2), six(3)]);
        assert_eq!(eyeballs.next(start), Some(six(1)), "IPv6 does not wait for IPv4");
        eyeballs.resolved(start + MS, Family::V4, [four(1)]);
        assert_eq!(eyeballs.next(start + 249 * MS), None);
        for (n, address) in [four(1), six(2), six(3)].into_iter().enumerate() {
            let now = start + 250 * MS * (u32::try_from(n).unwrap() + 1);
            assert_eq!(eyeballs.deadline(), Some(now));
            assert_eq!(eyeballs.next(now), Some(address));
            assert_eq!(eyeballs.next(now), None);
        }
        assert_eq!((eyeballs.deadline(), eyeballs.failure()), (None, None));
    }

    /// Section 3: IPv4 waits 50 ms for IPv6, and no longer; a late IPv6 address joins the race.
    #[test]
    fn the_resolution_delay() {
        let start = Instant::now();
        let mut eyeballs = Eyeballs::new(Pace::default());
        eyeballs.resolved(start, Family::V4, [four(1), four(2)]);
        assert_eq!(eyeballs.next(start + 49 * MS), None);
        assert_eq!(eyeballs.deadline(), Some(start + 50 * MS));
        assert_eq!(eyeballs.next(start + 50 * MS), Some(four(1)));
        eyeballs.resolved(start + 60 * MS, Family::V6, [six(1)]);
        assert_eq!(eyeballs.next(start + 60 * MS), None);
        assert_eq!(eyeballs.next(start + 300 * MS), Some(six(1)));
    }

    /// An empty or failed look-up of IPv6 ends the delay at once.
    #[test]
    fn nothing_to_wait_for() {
        let start = Instant::now();
        let mut eyeballs = Eyeballs::new(Pace::default());
        eyeballs.resolved(start, Family::V4, [four(1)]);
        eyeballs.resolved(start + MS, Family::V6, []);
        assert_eq!(eyeballs.next(start + MS), Some(four(1)));
        let mut eyeballs = Eyeballs::new(Pace::default());
        eyeballs.resolved(start, Family::V4, [four(1)]);
        eyeballs.resolve_failed(ErrorKind::TimedOut);
        assert_eq!(eyeballs.next(start + MS), Some(four(1)));
        eyeballs.failed(four(1), ErrorKind::ConnectionRefused);
        assert_eq!(eyeballs.failure(), Some(ErrorKind::ConnectionRefused));
    }

    #[test]
    fn a_failure_starts_the_next_at_once() {
        let start = Instant::now();
        let mut eyeballs = Eyeballs::new(Pace::default());
        eyeballs.resolved(start, Family::V6, [six(1), six(2)]);
        assert_eq!(eyeballs.next(start), Some(six(1)));
        eyeballs.failed(six(1), ErrorKind::ConnectionRefused);
        assert_eq!(eyeballs.failure(), None);
        assert_eq!(eyeballs.next(start + MS), Some(six(2)));
        eyeballs.failed(six(2), ErrorKind::TimedOut);
        assert_eq!(eyeballs.failure(), None, "IPv4 is not known");
        eyeballs.resolved(start + 2 * MS, Family::V4, []);
        assert_eq!(eyeballs.failure(), Some(ErrorKind::TimedOut));
        assert_eq!(eyeballs.next(start + 900 * MS), None);
    }

    #[test]
    fn no_address_is_not_found() {
        let start = Instant::now();
        let mut eyeballs = Eyeballs::new(Pace::default());
        assert_eq!(eyeballs.failure(), None);
        eyeballs.resolved(start, Family::V6, [four(1)]);
        eyeballs.resolved(start, Family::V4, []);
        assert_eq!(
            (eyeballs.next(start), eyeballs.failure()),
            (None, Some(ErrorKind::NotFound))
        );
    }

    /// A look-up with thousands of addresses, or the same one often, does not make as many attempts.
    #[test]
    fn addresses_are_bounded_and_tried_once() {
        let start = Instant::now();
        let mut eyeballs = Eyeballs::new(Pace::default());
        eyeballs.resolved(start, Family::V6, (0..1000).map(|n| six(n % 100)));
        eyeballs.resolved(start, Family::V4, [four(1), four(1)]);
        let mut tried = Vec::new();
        while let Some(address) = eyeballs.next(start) {
            eyeballs.failed(address, ErrorKind::ConnectionRefused);
            tried.push(address);
        }
        assert_eq!(tried.len(), MOST + 1);
        assert_eq!(tried[..3], [six(0), four(1), six(1)]);
    }
}
