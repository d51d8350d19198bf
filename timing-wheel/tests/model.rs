//! The wheel against a model: any sequence of operations, read from bytes, must leave both in the same state.

#[path = "model/operations.rs"]
mod operations;

use proptest::prelude::*;
use timing_wheel::Wheel;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_wheel_does_what_the_model_does(operations in prop::collection::vec(any::<u8>(), 0..2000)) {
        operations::run(&operations);
    }

    #[test]
    fn tick_by_tick_the_order_is_exact(
        start in prop_oneof![Just(0), any::<u64>(), Just(u64::MAX - 300)],
        timers in prop::collection::vec((0_u64..200, 0_u64..300), 1..200),
    ) {
        let mut wheel = Wheel::new(start);
        let mut fired = Vec::new();
        let mut expected = Vec::new();
        for tick in 0..=600 {
            let now = start.saturating_add(tick);
            for (id, &(at, delay)) in timers.iter().enumerate() {
                if at == tick {
                    let deadline = now.saturating_add(delay);
                    wheel.insert(deadline, (deadline, at, id));
                    expected.push((deadline, at, id));
                }
            }
            fired.extend(wheel.poll(now, usize::MAX).map(|(_, timer)| timer));
        }
        // Near `u64::MAX` the ticks repeat, and a timer inserted at the last tick is due at once.
        expected.sort();
        prop_assert_eq!(fired, expected);
        prop_assert!(wheel.is_empty());
    }
}
