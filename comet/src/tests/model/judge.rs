//! The judge of the model: every publication must be delivered once and in order, or its loss reported.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::listener::Listener;
use super::lock;
use crate::broker::{Done, Trouble};
use crate::publication::Position;

/// The result of an attempt to publish: its position, if it was accepted.
type Outcome = Option<Result<Position, Trouble>>;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// A publication, perhaps made in several attempts.
pub(super) struct Published {
    pub(super) channel: usize,
    pub(super) data: String,
    pub(super) key: Option<Arc<str>>,
    /// The node of the first attempt.
    pub(super) node: usize,
    at: Duration,
    outcomes: Vec<Arc<Mutex<Outcome>>>,
}

impl Published {
    pub(super) fn new(channel: usize, data: String, at: Duration, key: Option<Arc<str>>, node: usize) -> Self {
        Published {
            channel,
            data,
            key,
            node,
            at,
            outcomes: Vec::new(),
        }
    }

    pub(super) fn attempt(&mut self) -> Done<Position> {
        let outcome: Arc<Mutex<Outcome>> = Arc::default();
        self.outcomes.push(Arc::clone(&outcome));
        Done::new(move |told| *lock(&outcome) = Some(told))
    }

    pub(super) fn attempts(&self) -> usize {
        self.outcomes.len()
    }

    fn outcome(&self) -> Outcome {
        self.outcomes.last().and_then(|outcome| *lock(outcome))
    }

    /// Whether the last attempt has a result.
    pub(super) fn is_answered(&self) -> bool {
        self.outcome().is_some()
    }

    /// Whether to try again.
    pub(super) fn wants_another(&self, at: Duration, most: usize) -> bool {
        self.key.is_some()
            && self.attempts() < most
            && at >= self.at + PAUSE * self.attempts() as u32
            && matches!(self.outcome(), Some(Err(_)))
    }

    /// The acknowledged position.
    fn position(&self) -> Option<Position> {
        self.outcomes
            .iter()
            .find_map(|outcome| lock(outcome).and_then(Result::ok))
    }

    /// Whether every attempt was refused.
    fn is_refused(&self) -> bool {
        let refused = |outcome: &Arc<Mutex<Outcome>>| matches!(*lock(outcome), Some(Err(Trouble::Unavailable)));
        self.outcomes.iter().all(refused)
    }
}

/// Finds problems. Publications from number `last` on were made at the end, without faults.
pub(super) fn judge(listeners: &[Listener], published: &[Published], last: usize) -> Vec<String> {
    let (mut faults, mut failed) = (Vec::new(), 0);
    let mut places: HashMap<(usize, String, u64), &str> = HashMap::new();
    let mut channels: HashMap<&str, usize> = HashMap::new();
    for (number, publication) in published.iter().enumerate() {
        channels.insert(&publication.data, publication.channel);
        if let Some(Position { epoch, offset }) = publication.position() {
            let place = (publication.channel, epoch.to_string(), offset);
            if let Some(other) = places.insert(place, &publication.data) {
                let what = &publication.data;
                faults.push(format!("{epoch}:{offset} was acknowledged for {other} and {what}"));
            }
        } else if !publication.is_answered() {
            faults.push(format!("{} has no outcome", publication.data));
        } else {
            // The network cuts a few connections until the end.
            failed += usize::from(number >= last);
        }
    }
    if failed > (published.len() - last) / 2 {
        faults.push(format!("{failed} of {} failed at the end", published.len() - last));
    }
    for (index, listener) in listeners.iter().enumerate() {
        faults.extend(listener.faults.iter().map(|fault| format!("{index}: {fault}")));
        let mut seen: HashMap<&str, Duration> = HashMap::new();
        for (at, epoch, offset, data) in &listener.got {
            if channels.get(&data[..]) != Some(&listener.channel) {
                faults.push(format!("{index}: {data} came, which is of another channel"));
            }
            let place = (listener.channel, epoch.clone(), *offset);
            let known = *places.entry(place).or_insert(data);
            if known != data {
                faults.push(format!("{index}: {epoch}:{offset} is {data}, and elsewhere {known}"));
            }
            // After a loss, the remaining publications are sent from the beginning.
            let lost = |first: &Duration| listener.told.iter().any(|told| first <= told && told <= at);
            if seen.insert(data, *at).is_some_and(|first| !lost(&first)) {
                faults.push(format!("{index}: {data} came twice"));
            }
        }
        let lost = listener.told.last().copied().unwrap_or_default();
        for publication in published.iter().filter(|one| one.channel == listener.channel) {
            let came = seen.contains_key(&publication.data[..]);
            let began = listener.began.is_some_and(|began| began < publication.at);
            let what = &publication.data;
            match publication.position() {
                Some(position) if !came && began && lost < publication.at => {
                    faults.push(format!("{index}: {what}, acknowledged at {position:?}, never came"));
                }
                None if came && publication.is_refused() => {
                    faults.push(format!("{index}: {what} came, which was refused"));
                }
                _ => {}
            }
        }
    }
    faults
}
