//! Conversions between time and ticks: exact, rounded the right way, and without a panic at any value.

#![cfg_attr(
    feature = "std",
    expect(clippy::disallowed_methods, reason = "the clock needs some instant to start from")
)]

use std::time::Duration;

use proptest::prelude::*;
use timing_wheel::Ticks;

fn durations() -> impl Strategy<Value = Duration> {
    let seconds = prop_oneof![
        0..10_u64,
        any::<u32>().prop_map(u64::from),
        any::<u64>(),
        Just(u64::MAX)
    ];
    (seconds, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

proptest! {
    #[test]
    fn a_timer_never_fires_early_and_at_most_a_tick_late(length in durations(), at in durations()) {
        let Some(ticks) = Ticks::new(length) else {
            prop_assert!(length.is_zero() || length.as_nanos() > u128::from(u64::MAX));
            return Ok(());
        };
        prop_assert_eq!(ticks.length(), length);
        let (elapsed, deadline) = (ticks.elapsed(at), ticks.deadline(at));
        let exact = at.as_nanos() / length.as_nanos();
        prop_assert_eq!(u128::from(elapsed), exact.min(u128::from(u64::MAX)));
        prop_assert!(elapsed <= deadline && deadline - elapsed <= 1);
        if deadline < u64::MAX {
            prop_assert!(ticks.duration(deadline) >= at);
            prop_assert!(ticks.duration(elapsed) <= at);
            // A sleeper that wakes at the tick's time finds that the tick has passed.
            prop_assert!(ticks.duration(deadline) == Duration::MAX || ticks.elapsed(ticks.duration(deadline)) == deadline);
        }
    }

    #[test]
    fn a_tick_is_where_it_says(length in durations(), tick: u64) {
        if let Some(ticks) = Ticks::new(length) {
            let at = ticks.duration(tick);
            if at < Duration::MAX {
                prop_assert_eq!((ticks.elapsed(at), ticks.deadline(at)), (tick, tick));
            }
        }
    }
}

#[cfg(feature = "std")]
#[test]
fn instants_before_the_start_and_beyond_the_end() {
    use std::time::Instant;
    use timing_wheel::Clock;

    let start = Instant::now();
    let clock = Clock::new(start, Ticks::MILLISECOND);
    assert_eq!((clock.start(), clock.ticks()), (start, Ticks::MILLISECOND));
    let later = start + Duration::from_micros(1_500);
    assert_eq!((clock.now(later), clock.deadline(later)), (1, 2));
    assert_eq!((clock.now(start), clock.deadline(start)), (0, 0));
    let late = Clock::new(later, Ticks::MILLISECOND);
    assert_eq!((late.now(start), late.deadline(start)), (0, 0));
    assert_eq!(clock.instant(3), Some(start + Duration::from_millis(3)));
    assert_eq!(Clock::new(start, Ticks::SECOND).instant(u64::MAX), None);
    assert_eq!(clock.sleep(Some(2), later), Some(Duration::from_micros(500)));
    assert_eq!(clock.sleep(Some(1), later), Some(Duration::ZERO));
    assert_eq!(clock.sleep(None, later), None);
}
