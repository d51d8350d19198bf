//! Random choices.

use std::time::Duration;

use super::super::Mode;

/// The requests: `GET`, contents and messages of various sizes.
pub(super) const SCRIPTS: [(Mode, usize); 10] = [
    (Mode::Http, 0),
    (Mode::Http, 0),
    (Mode::Http, 1),
    (Mode::Http, 1000),
    (Mode::Http, 200_000),
    (Mode::WebSocket, 0),
    (Mode::WebSocket, 20),
    (Mode::WebSocket, 125),
    (Mode::WebSocket, 126),
    (Mode::WebSocket, 5000),
];

/// How a visit ends. For scripts without WebSocket, endings that need its closing handshake become [`Ending::Close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Closes after all answers.
    Close,
    /// Closes with a Close frame, which must be answered and be the last frame.
    Handshake,
    /// Half-closes after its last requests, all of which must be answered.
    HalfClose,
    /// Half-closes in the middle of a request.
    Torn,
    /// Resets after all answers.
    Reset,
    /// Resets before sending anything.
    Gone,
    /// Resets in the middle of a request.
    BreakOff,
    /// Sends many requests, reads nothing, and resets.
    Unread,
}

impl Ending {
    pub(super) const ALL: [Ending; 8] = [
        Ending::Close,
        Ending::Handshake,
        Ending::HalfClose,
        Ending::Torn,
        Ending::Reset,
        Ending::Gone,
        Ending::BreakOff,
        Ending::Unread,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Ending::Close => "closed",
            Ending::Handshake => "closed by WebSocket",
            Ending::HalfClose => "half-closed",
            Ending::Torn => "half-closed within a request",
            Ending::Reset => "reset",
            Ending::Gone => "reset at once",
            Ending::BreakOff => "reset within a request",
            Ending::Unread => "reset without reading",
        }
    }
}

/// Random numbers, identical in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// A time of `mean` on average, at most four times that.
    pub(super) fn about(&mut self, mean: Duration) -> Duration {
        let part = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        mean.mul_f64((-(1.0 - part).ln()).min(4.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_long_as_they_should_be_on_average() {
        let mut random = Random(1);
        let mean = Duration::from_millis(100);
        let times: Vec<Duration> = (0..10_000).map(|_| random.about(mean)).collect();
        let sum: Duration = times.iter().sum();
        let average = sum / 10_000;
        assert!((95..105).contains(&average.as_millis()), "{average:?}");
        assert!(times.iter().all(|time| *time <= 4 * mean));
    }
}
