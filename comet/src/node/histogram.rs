//! Histograms of times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets in microseconds, and in seconds as text.
const BOUNDS: [(u64, &str); 12] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (1_000_000, "1"),
    (5_000_000, "5"),
];

/// Separates the name of a histogram from that of a part, in the names of counters.
pub(crate) const PART: char = '|';
/// The part that is the sum of all times, in microseconds.
pub(crate) const SUM: &str = "sum";

/// How often times fell into each of some ranges.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    /// Times beyond the last bound.
    beyond: AtomicU64,
    /// All times, in microseconds.
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let index = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        self.buckets
            .get(index)
            .unwrap_or(&self.beyond)
            .fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// The histogram as counters that never decrease: for each bound, the number of times up to it.
    pub(crate) fn counters(&self, name: &str) -> Vec<(String, u64)> {
        let mut upto = 0;
        let mut counters = Vec::with_capacity(BOUNDS.len() + 2);
        for ((_, bound), count) in BOUNDS.iter().zip(&self.buckets) {
            upto += count.load(Ordering::Relaxed);
            counters.push((format!("{name}{PART}{bound}"), upto));
        }
        upto += self.beyond.load(Ordering::Relaxed);
        counters.push((format!("{name}{PART}+Inf"), upto));
        counters.push((format!("{name}{PART}{SUM}"), self.sum.load(Ordering::Relaxed)));
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_up_to_each_bound() {
        let histogram = Histogram::default();
        for micros in [0, 250, 251, 1_000_000, 9_000_000] {
            histogram.add(Duration::from_micros(micros));
        }
        let counters = histogram.counters("x");
        let count = |part: &str| {
            counters
                .iter()
                .find(|(name, _)| name == &format!("x|{part}"))
                .unwrap()
                .1
        };
        assert_eq!(
            ["0.00025", "0.0005", "0.25", "1", "5", "+Inf"].map(count),
            [2, 3, 3, 4, 4, 5]
        );
        assert_eq!(count("sum"), 10_000_501);
    }
}
