//! Faults that users of other timer wheels and queues hit, one test each. The numbers are public issues and changes of those projects.

use std::collections::BTreeSet;
use std::rc::Rc;

use timing_wheel::{Key, Wheel};

const DAY: u64 = 24 * 60 * 60 * 1000;
const YEAR: u64 = 365 * DAY;

/// Keys and wheels may move to another thread.
const _: () = {
    const fn shareable<T: Send + Sync>() {}
    shareable::<Wheel<u32>>();
    shareable::<Key>();
};

fn drain<T>(wheel: &mut Wheel<T>, now: u64) -> Vec<T> {
    wheel.poll(now, usize::MAX).map(|(_, value)| value).collect()
}

/// Sleeps until each next wake, up to `end`. Returns the fired timers with their times, and the number of wakes.
fn sleep_through<T>(wheel: &mut Wheel<T>, end: u64) -> (Vec<(u64, T)>, usize) {
    let mut fired = Vec::new();
    let mut wakes = 0;
    while let Some(wake) = wheel.next_wake().filter(|&wake| wake <= end) {
        assert!(
            wakes == 0 || wake > wheel.now(),
            "a drained wheel asked to be polled at once"
        );
        wakes += 1;
        fired.extend(drain(wheel, wake).into_iter().map(|value| (wake, value)));
    }
    (fired, wakes)
}

/// A panic on a deadline more than 2^36 ms away: tokio #5536, restate #5017, tikv #12043.
#[test]
fn far_deadlines_are_legal() {
    for now in [0, 1, YEAR, 100 * YEAR, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX] {
        for deadline in [
            (1 << 36) - 1,
            1 << 36,
            (1 << 36) + 1,
            3 * YEAR,
            1 << 48,
            1 << 63,
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut wheel = Wheel::new(now);
            let key = wheel.insert(deadline, ());
            assert_eq!(wheel.next_deadline(), Some(deadline));
            if deadline > now {
                wheel.advance(deadline - 1);
                assert_eq!(wheel.pop(), None);
            }
            wheel.advance(deadline);
            assert_eq!(wheel.pop(), Some((key, ())));
        }
    }
}

/// A panic after a long uptime, for the same reason as above.
#[test]
fn long_uptimes_are_harmless() {
    let mut wheel = Wheel::new(0);
    let mut now = 0_u64;
    for step in 0..200_000 {
        now += YEAR / 100 + step * 7919;
        wheel.insert(now + 60_000, now + 60_000);
        assert_eq!(drain(&mut wheel, now + 59_999), []);
        assert_eq!(drain(&mut wheel, now + 60_000), [now + 60_000]);
        now += 60_000;
    }
}

/// Near timers hidden behind a far one once the uptime passed 2^30 ms, twelve days: tokio #8334, pgdog #1290.
#[test]
fn near_timers_are_not_hidden_behind_a_far_one() {
    for uptime in [DAY, 12 * DAY, 1 << 30, (1 << 30) + 1, 13 * DAY, 40 * YEAR] {
        let mut wheel = Wheel::new(0);
        wheel.insert(uptime + YEAR, "far");
        wheel.advance(uptime);
        assert_eq!(wheel.pop(), None);
        for delay in [1, 20, 63, 64, 65, 5000, 300_000] {
            wheel.insert(uptime + delay, "near");
            assert_eq!(wheel.next_deadline(), Some(uptime + 1));
        }
        let (fired, _) = sleep_through(&mut wheel, uptime + DAY);
        let expected = [1, 20, 63, 64, 65, 5000, 300_000].map(|delay| (uptime + delay, "near"));
        assert_eq!(fired, expected);
        assert_eq!(wheel.next_deadline(), Some(uptime + YEAR));
    }
}

/// Resetting or removing a key whose timer is due but not taken, or has fired, panicked or removed another entry: tokio #868, #2473, #2587,
/// #3270, cacherpc #33.
#[test]
fn keys_that_are_due_can_be_used_and_keys_that_fired_are_stale() {
    let mut wheel = Wheel::new(0);
    let keys: Vec<Key> = (0..6).map(|id| wheel.insert(10, id)).collect();
    wheel.advance(10);

    // All timers are due, and none was taken.
    assert_eq!(wheel.get(keys[0]), Some(&0));
    assert_eq!(wheel.deadline(keys[0]), Some(10));
    assert_eq!(wheel.cancel(keys[0]), Some(0));
    assert!(wheel.reset(keys[1], 20));
    assert!(wheel.reset(keys[2], 5));
    assert!(wheel.reset(keys[3], 10));
    assert_eq!(
        drain(&mut wheel, 10).into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([2, 3, 4, 5])
    );

    // All timers but one are gone, and other timers have taken their places.
    let others: Vec<Key> = (6..12).map(|id| wheel.insert(30, id)).collect();
    for (id, &key) in keys.iter().enumerate().filter(|&(id, _)| id != 1) {
        assert!(!others.contains(&key), "{id}");
        assert!(!wheel.reset(key, 1000));
        assert_eq!(wheel.cancel(key), None);
        assert_eq!(wheel.get(key), None);
        assert_eq!(wheel.get_mut(key), None);
        assert_eq!(wheel.deadline(key), None);
    }
    assert_eq!(drain(&mut wheel, 20), [1]);
    assert_eq!(drain(&mut wheel, 30), [6, 7, 8, 9, 10, 11]);
}

/// A wake-up missed after a reset to the past: tokio #849, #2217, msquic #3206.
#[test]
fn a_reset_to_the_past_is_due_now() {
    let mut wheel = Wheel::new(1000);
    for deadline in [0, 999, 1000] {
        let key = wheel.insert(5000, deadline);
        assert!(wheel.next_wake() > Some(1000));
        assert!(wheel.reset(key, deadline));
        assert_eq!(wheel.next_wake(), Some(1000));
        assert_eq!(wheel.next_deadline(), Some(deadline));
        // The timer fires without an advance of time.
        assert_eq!(drain(&mut wheel, 1000), [deadline]);
    }
}

/// A wake-up missed after the first timer was moved: tokio #2285, #8274.
#[test]
fn the_next_wake_follows_the_first_timer() {
    let mut wheel = Wheel::new(0);
    let first = wheel.insert(100, "first");
    let second = wheel.insert(200, "second");
    wheel.reset(first, 300);
    assert_eq!(wheel.next_deadline(), Some(200));
    assert!(wheel.next_wake() <= Some(200));
    wheel.reset(second, 50);
    assert_eq!(wheel.next_wake(), Some(50));
    wheel.reset(first, 40);
    assert_eq!(wheel.next_wake(), Some(40));
    wheel.cancel(first);
    assert_eq!(wheel.next_wake(), Some(50));
    let (fired, _) = sleep_through(&mut wheel, 1000);
    assert_eq!(fired, [(50, "second")]);
}

/// No way to ask when to poll next, or one that scans all timers: mycelium #440, tokio #6163, tokio-core #2, nvgt #380, mill-io #86. Here
/// a loop that sleeps until `next_wake` is never late, and has at most one needless wake per level and timer.
#[test]
fn sleeping_until_the_next_wake_is_enough() {
    let mut wheel = Wheel::new(12_345);
    let deadlines: BTreeSet<u64> = (0..500).map(|id| 12_346 + id * id * id * 31).collect();
    for &deadline in &deadlines {
        wheel.insert(deadline, deadline);
    }
    let (fired, wakes) = sleep_through(&mut wheel, u64::MAX);
    assert_eq!(
        fired,
        deadlines
            .iter()
            .map(|&deadline| (deadline, deadline))
            .collect::<Vec<_>>()
    );
    assert!(wakes <= 11 * deadlines.len());
    assert_eq!(wheel.next_wake(), None);
}

/// The deadline of a coarse level was hidden by a finer level, or found one turn too late because the search began at the cursor's slot:
/// glommio #33, #44.
#[test]
fn the_next_deadline_is_the_least_of_all_levels() {
    for now in (0..5000).chain([u64::MAX - 9000]) {
        let mut wheel = Wheel::new(now);
        let far = wheel.insert(now + 4097, "far");
        wheel.insert(now + 4096, "near");
        assert_eq!(wheel.next_deadline(), Some(now + 4096));
        wheel.advance(now + 4000);
        assert_eq!(wheel.pop(), None);
        wheel.insert(now + 4098, "inserted later");
        wheel.reset(far, now + 4095);
        let (fired, _) = sleep_through(&mut wheel, u64::MAX);
        assert_eq!(
            fired,
            [
                (now + 4095, "far"),
                (now + 4096, "near"),
                (now + 4098, "inserted later")
            ]
        );
    }
}

/// Only one tick handled per call, so that timers are late or lost after a pause: rust-hash-wheel-timer #5, camunda #767, agrona #73.
#[test]
fn one_call_may_pass_many_ticks() {
    for jump in [2, 63, 64, 65, 4095, 4096, 4097, 1_000_000, YEAR, u64::MAX] {
        let mut wheel = Wheel::new(0);
        for deadline in (0..64).map(|bit| 1 << bit).chain(1..1000) {
            wheel.insert(deadline, deadline);
        }
        let due = wheel.iter().filter(|&(_, deadline, _)| deadline <= jump).count();
        let fired = drain(&mut wheel, jump);
        assert_eq!(fired.len(), due);
        assert!(fired.iter().all(|&deadline| deadline <= jump));
        assert!(wheel.iter().all(|(_, deadline, _)| deadline > jump));
    }
}

/// Long timers that share a slot with short ones firing a turn early: rpc-perf #180, synapse #17850, netty #1961.
#[test]
fn long_timers_do_not_fire_early() {
    let mut wheel = Wheel::new(0);
    // All deadlines have the same digit at each level that wraps.
    for turns in 0..1000 {
        wheel.insert(7 + 64 * turns, 7 + 64 * turns);
        wheel.insert(7 + 4096 * turns, 7 + 4096 * turns);
    }
    for now in 0..70_000 {
        for deadline in drain(&mut wheel, now) {
            assert_eq!(deadline, now);
        }
    }
    assert_eq!(wheel.next_deadline(), Some(7 + 4096 * 18));
}

/// A sleep time that was rounded down made the loop spin until the deadline: asyncio #106, ceph #60265, bun #34780. Always adding one tick
/// makes timers late: calloop #142.
#[test]
fn a_loop_that_sleeps_whole_ticks_neither_spins_nor_is_late() {
    const MICROS: u64 = 1000;
    let mut wheel = Wheel::new(0);
    let mut time = 0;
    let mut id = 0_u64;
    for step in 0..10_000_u64 {
        let deadline = time + 1 + step * 7919 % 90_000;
        wheel.insert(deadline.div_ceil(MICROS), deadline);
        id += 1;
        while let Some(wake) = wheel.next_wake() {
            let sleep = wake - time / MICROS;
            assert_ne!(sleep, 0, "the loop would spin");
            time = time / MICROS * MICROS + sleep * MICROS + step % MICROS;
            for deadline in drain(&mut wheel, time / MICROS) {
                id -= 1;
                assert!(
                    (deadline..deadline + 2 * MICROS).contains(&time),
                    "{deadline} fired at {time}"
                );
            }
        }
        assert_eq!(id, 0);
    }
}

/// Cancelled entries kept until their slot passes: netty #2541, #2561, #5647.
#[test]
fn a_cancelled_timer_takes_no_memory() {
    let mut wheel = Wheel::new(0);
    let value = Rc::new(());
    for round in 0..100_000 {
        let key = wheel.insert(YEAR + round, Rc::clone(&value));
        assert_eq!(Rc::strong_count(&value), 2);
        drop(wheel.cancel(key));
        assert_eq!(Rc::strong_count(&value), 1);
    }
    assert!(wheel.capacity() <= 16);
    assert_eq!(wheel.next_wake(), None);
}

/// A burst stalls the loop if a call has no limit: the Ratas timer wheel, HAProxy's `max_processed`, glommio #44.
#[test]
fn a_burst_is_handled_in_portions() {
    let mut wheel = Wheel::new(0);
    let keys: Vec<Key> = (0..10_000).map(|id| wheel.insert(60_000, id)).collect();
    let mut fired = Vec::new();
    let mut now = 60_000;
    wheel.advance(now);
    // Timers that are due but not taken can still be reset and cancelled.
    wheel.cancel(keys[9_000]);
    wheel.reset(keys[9_001], now + 1_000_000);
    while fired.len() < 9_998 {
        assert_eq!(wheel.next_wake(), Some(wheel.now()));
        let portion: Vec<_> = wheel.poll(now, 100).map(|(_, id)| id).collect();
        assert!(!portion.is_empty() && portion.len() <= 100);
        fired.extend(portion);
        now += 1;
    }
    assert_eq!(
        fired,
        (0..10_000)
            .filter(|id| ![9_000, 9_001].contains(id))
            .collect::<Vec<_>>()
    );
    assert!(wheel.next_wake() > Some(now));
}

/// The limit of a call includes timers that are not due and move to a finer level.
#[test]
fn filing_again_is_handled_in_portions() {
    let mut wheel = Wheel::new(0);
    for id in 0..1000 {
        wheel.insert(4096 + 100, id);
    }
    let mut polls = 0;
    while polls == 0 || wheel.next_wake() == Some(4096) {
        assert_eq!(wheel.poll(4096, 10).count(), 0);
        polls += 1;
    }
    assert_eq!(polls, 100);
    assert_eq!(drain(&mut wheel, 4096 + 100).len(), 1000);
}

/// The caller passes the time, which may be wrong: a time before the last one changes nothing.
#[test]
fn time_that_runs_backwards_changes_nothing() {
    let mut wheel = Wheel::new(1000);
    wheel.insert(1100, ());
    wheel.advance(900);
    assert_eq!(wheel.now(), 1000);
    assert_eq!(drain(&mut wheel, 0), []);
    assert_eq!(wheel.now(), 1000);
    wheel.advance(1100);
    assert_eq!(drain(&mut wheel, 500), [()]);
    assert_eq!(wheel.now(), 1100);
}

/// A panic in the closure of `retain` must leave a sound wheel.
#[test]
fn retain_survives_a_panic() {
    let mut wheel = Wheel::new(0);
    let keys: Vec<Key> = (0..100).map(|id| wheel.insert(id, id)).collect();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wheel.retain(|_, deadline, _| {
            assert!(deadline != 50, "the closure panics on purpose");
            false
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(wheel.len(), 50);
    assert!(keys[..50].iter().all(|&key| !wheel.contains(key)));
    assert_eq!(wheel.next_deadline(), Some(50));
    let left: Vec<u64> = wheel.poll(99, usize::MAX).map(|(_, id)| id).collect();
    assert_eq!(left, (50..100).collect::<Vec<_>>());
}

/// A periodic timer that is served late does not drift, because its next deadline is computed from its last one and not from the time.
#[test]
fn a_regular_timer_does_not_drift() {
    let mut wheel = Wheel::new(0);
    wheel.insert(10, ());
    let mut deadlines = Vec::new();
    for now in [13, 20, 29, 41, 55] {
        while let Some((_, deadline, ())) = wheel.peek().map(|(key, deadline, &())| (key, deadline, ())) {
            assert_eq!(wheel.pop_with_deadline().map(|(_, at, ())| at), Some(deadline));
            deadlines.push(deadline);
            wheel.insert(deadline + 10, ());
        }
        wheel.advance(now);
    }
    assert_eq!(deadlines, [10, 20, 30, 40]);
}
