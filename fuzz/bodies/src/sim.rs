//! Two ends on a simulated network with any faults: whatever both ends do, the rules of the `protocol` crate hold on each, no byte is lost,
//! doubled or invented on the way, and the same seed gives the same run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use protocol::Reason;
use protocol::testing::{End, Sim, Weather};

use crate::scripted::{Scripted, World, limits, lock};

/// The network, and the events of one pair; the rest of the input scripts the two ends.
#[derive(Debug, Arbitrary)]
struct Plan {
    seed: u64,
    latency: u8,
    segment: u8,
    window: u16,
    stalls: u8,
    resets: u8,
    stops: [Option<u8>; 2],
}

/// The final state of one end.
#[derive(Debug, PartialEq)]
struct Outcome {
    closed: Option<Reason>,
    shown: usize,
    appended: usize,
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut steps = Unstructured::new(data);
    let Ok(plan) = Plan::arbitrary(&mut steps) else { return };
    let script = steps.take_rest();
    let first = plan.run(script);
    assert_eq!(plan.run(script), first, "two runs of the same seed differ");
}

impl Plan {
    fn run(&self, script: &[u8]) -> ([Outcome; 2], u64) {
        let mut weather = Weather::default();
        weather.latency = Duration::from_millis(self.latency.into());
        weather.segment = 1 + usize::from(self.segment) * 8;
        weather.window = 1 + usize::from(self.window);
        weather.stalls = u32::from(self.stalls) * 4;
        weather.resets = u32::from(self.resets / 16);
        let mut sim = Sim::new(weather, limits(), self.seed);
        let (front, back) = script.split_at(script.len() / 2);
        let ends = [front, back].map(|script| Arc::new(Mutex::new(World::new(script.iter().rev().copied().collect()))));
        let [a, b] = &ends;
        let id = sim.open(Duration::ZERO, Scripted(Arc::clone(a)), Scripted(Arc::clone(b)));
        for (stop, end) in self.stops.iter().zip([End::A, End::B]) {
            if let Some(stop) = stop {
                sim.stop(Duration::from_millis(u64::from(*stop) * 10), id, end);
            }
        }
        let mut ended = None;
        sim.run(Duration::from_secs(20), |pair| {
            ended = Some((pair.a_reason, pair.b_reason))
        });

        let [a, b] = [a, b].map(|end| {
            let end = lock(end);
            Outcome {
                closed: end.closed,
                shown: end.shown,
                appended: end.appended,
            }
        });
        assert!(
            a.shown <= b.appended && b.shown <= a.appended,
            "more bytes were shown than appended: {a:?}, {b:?}"
        );
        if let Some((a_reason, b_reason)) = ended {
            assert_eq!((a.closed, b.closed), (Some(a_reason), Some(b_reason)));
        }
        ([a, b], sim.digest())
    }
}
