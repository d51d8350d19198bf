//! Conversions between time and ticks, each rounded in the safe direction.

use core::time::Duration;

/// The length of a tick, and the conversions between ticks and a [`Duration`] since some start. The type reads no clock.
///
/// ```
/// use core::time::Duration;
/// use timing_wheel::Ticks;
///
/// let ticks = Ticks::MILLISECOND;
/// assert_eq!(ticks.elapsed(Duration::from_micros(2_999)), 2); // the third tick has not come
/// assert_eq!(ticks.deadline(Duration::from_micros(2_001)), 3); // a timer never fires early
/// assert_eq!(ticks.duration(3), Duration::from_millis(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticks {
    /// Never 0.
    nanos: u64,
}

impl Ticks {
    /// Ticks of a nanosecond; 64 bits of them last for 584 years.
    pub const NANOSECOND: Self = Self { nanos: 1 };
    /// Ticks of a microsecond.
    pub const MICROSECOND: Self = Self { nanos: 1_000 };
    /// Ticks of a millisecond, the unit of `epoll_wait`.
    pub const MILLISECOND: Self = Self { nanos: 1_000_000 };
    /// Ticks of a second.
    pub const SECOND: Self = Self { nanos: 1_000_000_000 };

    /// Ticks of `length`; `None` for a length of zero or above 2^64 - 1 nanoseconds, 584 years.
    #[must_use]
    pub const fn new(length: Duration) -> Option<Self> {
        let nanos = length.as_nanos();
        if nanos == 0 || nanos > u64::MAX as u128 {
            return None;
        }
        Some(Self { nanos: nanos as u64 })
    }

    /// The length of a tick.
    #[must_use]
    pub const fn length(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The current time as a tick: the number of complete ticks since the start. Rounded down; `u64::MAX` if there are more.
    #[must_use]
    pub const fn elapsed(self, since_start: Duration) -> u64 {
        let nanos = since_start.as_nanos();
        if nanos <= u64::MAX as u128 {
            return nanos as u64 / self.nanos;
        }
        saturated(nanos / self.nanos as u128)
    }

    /// A deadline as a tick: the first tick that is not before it. Rounded up, because a timer must not fire early;
    /// `u64::MAX` if there are more.
    #[must_use]
    pub const fn deadline(self, since_start: Duration) -> u64 {
        let nanos = since_start.as_nanos();
        if nanos <= u64::MAX as u128 {
            return (nanos as u64).div_ceil(self.nanos);
        }
        saturated(nanos.div_ceil(self.nanos as u128))
    }

    /// The time from the start to `tick`; [`Duration::MAX`] if that is longer.
    #[must_use]
    pub const fn duration(self, tick: u64) -> Duration {
        const NANOS: u128 = 1_000_000_000;
        // 2^64 ticks of 2^64 nanoseconds fit into 128 bits.
        let nanos = tick as u128 * self.nanos as u128;
        if nanos / NANOS > u64::MAX as u128 {
            return Duration::MAX;
        }
        Duration::new((nanos / NANOS) as u64, (nanos % NANOS) as u32)
    }
}

const fn saturated(ticks: u128) -> u64 {
    if ticks > u64::MAX as u128 {
        u64::MAX
    } else {
        ticks as u64
    }
}

#[cfg(feature = "std")]
pub use with_std::Clock;

#[cfg(feature = "std")]
mod with_std {
    use core::time::Duration;
    use std::time::Instant;

    use super::Ticks;

    /// Converts between [`Instant`]s and the ticks since one of them. The type does not read the clock: instants are
    /// arguments.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use timing_wheel::{Clock, Ticks, Wheel};
    ///
    /// let start = Instant::now();
    /// let clock = Clock::new(start, Ticks::MILLISECOND);
    /// let mut wheel = Wheel::new(0); // the start is tick 0
    /// wheel.insert(clock.deadline(start + Duration::from_micros(2_500)), "hello");
    ///
    /// let now = start + Duration::from_micros(500);
    /// assert_eq!(clock.sleep(wheel.next_wake(), now), Some(Duration::from_micros(2_500)));
    ///
    /// let now = start + Duration::from_micros(3_100);
    /// let fired: Vec<_> = wheel.poll(clock.now(now), 1024).map(|(_, value)| value).collect();
    /// assert_eq!(fired, ["hello"]);
    /// assert_eq!(clock.sleep(wheel.next_wake(), now), None); // until something else happens
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Clock {
        start: Instant,
        ticks: Ticks,
    }

    impl Clock {
        /// A clock whose tick 0 is `start`.
        #[must_use]
        pub const fn new(start: Instant, ticks: Ticks) -> Self {
            Self { start, ticks }
        }

        /// The instant of tick 0.
        #[must_use]
        pub const fn start(&self) -> Instant {
            self.start
        }

        /// The length of a tick.
        #[must_use]
        pub const fn ticks(&self) -> Ticks {
            self.ticks
        }

        /// The tick to pass to a wheel at `now`, rounded down; 0 before the start.
        #[must_use]
        pub fn now(&self, now: Instant) -> u64 {
            self.ticks.elapsed(now.saturating_duration_since(self.start))
        }

        /// The tick of a deadline at `at`, rounded up; 0 before the start.
        #[must_use]
        pub fn deadline(&self, at: Instant) -> u64 {
            self.ticks.deadline(at.saturating_duration_since(self.start))
        }

        /// The instant at which `tick` comes; `None` if an [`Instant`] does not reach that far.
        #[must_use]
        pub fn instant(&self, tick: u64) -> Option<Instant> {
            self.start.checked_add(self.ticks.duration(tick))
        }

        /// How long to sleep at `now` until the wheel's [`next_wake`](crate::Wheel::next_wake); zero if that time has come,
        /// `None` if no timer is set.
        #[must_use]
        pub fn sleep(&self, next_wake: Option<u64>, now: Instant) -> Option<Duration> {
            let elapsed = now.saturating_duration_since(self.start);
            Some(self.ticks.duration(next_wake?).saturating_sub(elapsed))
        }
    }
}
