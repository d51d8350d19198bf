//! The Date of responses, which is formatted once per second and thread.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

use crate::{DATE_LENGTH, imf_fixdate};

/// Returns the time of day; usually `SystemTime::now`. Called at most once per second and thread.
pub type WallClock = fn() -> SystemTime;

#[derive(Clone, Copy)]
struct Cached {
    clock: WallClock,
    from: Instant,
    until: Instant,
    date: [u8; DATE_LENGTH],
}

thread_local! {
    static CACHE: Cell<Option<Cached>> = const { Cell::new(None) };
}

/// The Date to send at `now`.
#[doc(hidden)]
#[inline]
#[must_use]
pub fn date(clock: WallClock, now: Instant) -> [u8; DATE_LENGTH] {
    CACHE.with(|cache| match cache.get() {
        Some(cached) if cached.from <= now && now < cached.until && std::ptr::fn_addr_eq(cached.clock, clock) => {
            cached.date
        }
        _ => refresh(clock, now),
    })
}

#[cold]
fn refresh(clock: WallClock, now: Instant) -> [u8; DATE_LENGTH] {
    let since_epoch = clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let date = imf_fixdate(since_epoch.as_secs());
    let rest = Duration::from_nanos(1_000_000_000 - u64::from(since_epoch.subsec_nanos()));
    if let Some(until) = now.checked_add(rest) {
        CACHE.set(Some(Cached {
            clock,
            from: now,
            until,
            date,
        }));
    }
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_turns_with_the_second_of_the_wall_clock() {
        fn clock() -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_400) + CALLS.get() * Duration::from_millis(600)
        }
        thread_local! {
            static CALLS: Cell<u32> = const { Cell::new(0) };
        }
        // The cache works from any starting moment, so `now` need not be a particular one.
        let Some(start) = CACHE
            .get()
            .map(|cached| cached.until)
            .or_else(|| protocol::testing::Harness::new(Idle).now().into())
        else {
            return;
        };
        assert_eq!(&date(clock, start), b"Sun, 06 Nov 1994 08:49:37 GMT");
        CALLS.set(1);
        assert_eq!(
            &date(clock, start + Duration::from_millis(599)),
            b"Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            &date(clock, start + Duration::from_millis(600)),
            b"Sun, 06 Nov 1994 08:49:38 GMT"
        );
    }

    struct Idle;

    impl protocol::Protocol for Idle {
        type Message = ();
        type Error = crate::Misuse;

        fn received(&mut self, _: &mut protocol::Cx<'_>, _: &mut protocol::Input<'_>) -> Result<(), Self::Error> {
            Ok(())
        }
    }
}
