//! The timing wheel's operations, among 100,000 timers. Beside other crates and with more of them, the program `wheel`
//! measures.

use std::hint::black_box;

use benches::random::Xorshift;
use criterion::{Criterion, criterion_group, criterion_main};
use timing_wheel::{Key, Wheel};

const TIMERS: usize = 100_000;
/// Deadlines are at most this many ticks ahead.
const SPAN: usize = 60_000;

/// Timers at random ticks.
fn filled(random: &mut Xorshift) -> (Wheel<u32>, Vec<Key>) {
    let mut wheel = Wheel::with_capacity(0, TIMERS + 1);
    let keys = (0..TIMERS as u32)
        .map(|value| wheel.insert(1 + random.below(SPAN) as u64, value))
        .collect();
    (wheel, keys)
}

fn operations(c: &mut Criterion) {
    let mut random = Xorshift::default();
    let mut group = c.benchmark_group("wheel");
    group.bench_function("insert and cancel", |b| {
        let (mut wheel, _) = filled(&mut random);
        b.iter(|| {
            let key = wheel.insert(black_box(30_000), 0);
            wheel.cancel(key)
        });
    });
    group.bench_function("put off one timer, over and over", |b| {
        let (mut wheel, keys) = filled(&mut random);
        let mut deadline = SPAN as u64;
        b.iter(|| {
            deadline += 1;
            wheel.reset(keys[0], black_box(deadline))
        });
    });
    group.bench_function("put off any timer", |b| {
        let (mut wheel, keys) = filled(&mut random);
        let mut deadline = SPAN as u64;
        b.iter(|| {
            deadline += 1;
            wheel.reset(keys[random.below(keys.len())], black_box(deadline))
        });
    });
    group.bench_function("a tick with nothing due, and the next wake-up", |b| {
        let mut wheel = Wheel::with_capacity(0, TIMERS);
        for value in 0..TIMERS as u32 {
            wheel.insert(1 << 40, value);
        }
        let mut now = 0;
        b.iter(|| {
            now += 1;
            wheel.advance(black_box(now));
            wheel.next_wake()
        });
    });
    group.bench_function("a tick whose timers start again", |b| {
        let (mut wheel, _) = filled(&mut random);
        let mut now = 0;
        b.iter(|| {
            now += 1;
            wheel.advance(now);
            while let Some((_, value)) = wheel.pop() {
                wheel.insert(now + SPAN as u64, value);
            }
        });
    });
    group.bench_function("100,000 timers, all due at once", |b| {
        b.iter_batched_ref(
            || filled(&mut random).0,
            |wheel| assert_eq!(wheel.poll(SPAN as u64 + 1, usize::MAX).count(), TIMERS),
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, operations);
criterion_main!(benches);
