//! The clients that have read too slowly of late, for operators.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::channel::Name;

/// The most clients that are remembered, and for how long.
const MOST: usize = 20;
const KEPT: Duration = Duration::from_secs(60);

/// What a client has missed of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slow {
    pub(crate) client: String,
    pub(crate) channel: Name,
    /// The number of publications.
    pub(crate) missed: u64,
    /// Whether the client was disconnected for it.
    pub(crate) closed: bool,
    /// Seconds since the last of them.
    pub(crate) ago: u64,
}

/// The last clients that have missed publications or were disconnected because they read too slowly.
#[derive(Debug, Default)]
pub(crate) struct SlowOnes(Mutex<VecDeque<(Instant, Slow)>>);

impl SlowOnes {
    /// A client has missed publications, or is disconnected.
    pub(crate) fn note(&self, now: Instant, client: String, channel: &Name, missed: u64, closed: bool) {
        let mut ones = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ones
            .iter()
            .position(|(_, slow)| slow.client == client && slow.channel == *channel);
        let before = known
            .and_then(|index| ones.remove(index))
            .map_or(0, |(_, slow)| slow.missed);
        if ones.len() >= MOST {
            ones.pop_front();
        }
        let slow = Slow {
            client,
            channel: channel.clone(),
            missed: before + missed,
            closed,
            ago: 0,
        };
        ones.push_back((now, slow));
    }

    /// The clients of the last minute, the latest first.
    pub(crate) fn list(&self, now: Instant) -> Vec<Slow> {
        let mut ones = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ones.retain(|(at, _)| now.saturating_duration_since(*at) <= KEPT);
        let latest = ones.iter().rev().map(|(at, slow)| Slow {
            ago: now.saturating_duration_since(*at).as_secs(),
            ..slow.clone()
        });
        latest.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_for_a_while() {
        let (ones, begun) = (SlowOnes::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let channel: Name = "news".parse().unwrap();
        for number in 0..MOST as u64 + 5 {
            ones.note(at(number), format!("c{number}"), &channel, 1, false);
        }
        ones.note(at(30), "c9".into(), &channel, 2, true);
        let list = ones.list(at(31));
        assert_eq!(list.len(), MOST);
        assert_eq!(
            (list[0].client.as_str(), list[0].missed, list[0].closed, list[0].ago),
            ("c9", 3, true, 1)
        );
        assert_eq!(list[1].client, "c24");
        assert!(list.iter().all(|slow| slow.client != "c4"));
        assert_eq!(ones.list(at(84)).len(), 2, "those of the last minute");
        assert_eq!(ones.list(at(100)).len(), 0);
    }
}
