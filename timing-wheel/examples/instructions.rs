//! Does one operation a number of times among 100,000 timers, for a profiler that counts instructions:
//!
//! ```sh
//! cargo build --profile profiling -p wirestate-timing-wheel --example instructions
//! valgrind --tool=callgrind target/profiling/examples/instructions reset 100000
//! ```
//!
//! The difference between runs of 100,000 and 200,000 is the cost of 100,000, without start-up. Operations: `insert` (and
//! cancel), `reset`, `tick` (one with nothing due), `pop` and `poll` (a timer fires and is set again).

use std::hint::black_box;

use timing_wheel::{Key, Wheel};

const TIMERS: u32 = 100_000;
const SPAN: u64 = 60_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let operation = arguments.next().unwrap_or_default();
    let times: u64 = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(1);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut wheel = Wheel::with_capacity(0, TIMERS as usize + 1);
    let keys: Vec<Key> = (0..TIMERS).map(|id| wheel.insert(1 + below(SPAN), id)).collect();
    let mut now = 0;
    let mut done = 0;
    while done < times {
        done += 1;
        match operation.as_str() {
            "insert" => {
                let key = wheel.insert(black_box(30_000), 0);
                black_box(wheel.cancel(key));
            }
            "reset" => {
                black_box(wheel.reset(keys[done as usize * 7919 % keys.len()], SPAN + done));
            }
            "tick" => {
                wheel.advance(black_box(now));
                black_box(wheel.next_wake());
            }
            "pop" => {
                now += 1;
                wheel.advance(now);
                while let Some((_, id)) = wheel.pop() {
                    wheel.insert(now + SPAN, id);
                    done += 1;
                }
            }
            "poll" => {
                now += 1;
                let due: Vec<u32> = wheel.poll(now, 256).map(|(_, id)| id).collect();
                for id in due {
                    wheel.insert(now + SPAN, id);
                    done += 1;
                }
            }
            _ => panic!("usage: instructions insert|reset|tick|pop|poll TIMES"),
        }
    }
    black_box(&wheel);
}
