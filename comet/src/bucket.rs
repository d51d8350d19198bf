//! Limits the rate of requests.

use std::time::Instant;

/// Permits a number of requests per second on average, and four times as many at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// When the bucket will be full again.
    full: Option<Instant>,
}

/// The burst, in seconds' worth of requests.
const BURST: f64 = 4.0;

impl Bucket {
    pub(crate) fn new() -> Self {
        Bucket { full: None }
    }

    /// Takes one token if there is one.
    pub(crate) fn take(&mut self, now: Instant, a_second: u32) -> bool {
        let one = std::time::Duration::from_secs_f64(1.0 / f64::from(a_second.max(1)));
        let full = self.full.map_or(now, |full| full.max(now)) + one;
        if full.saturating_duration_since(now).as_secs_f64() > BURST {
            return false;
        }
        self.full = Some(full);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let (mut bucket, mut now) = (Bucket::new(), Instant::now());
        let burst = (0..100).filter(|_| bucket.take(now, 10)).count();
        assert_eq!(burst, 40);
        now += Duration::from_millis(1000);
        let then = (0..100).filter(|_| bucket.take(now, 10)).count();
        assert!((9..=10).contains(&then), "{then}");
        now += Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| bucket.take(now, 10)).count(), 40);
    }
}
