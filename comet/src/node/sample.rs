//! The counters that nodes report to each other.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drivers::Stats;
use serde::{Deserialize, Serialize};

use super::{Health, Node, Slow, UNANSWERED};
use crate::backend::{HookCounts, Proxy};
use crate::broker::Done;
use crate::channel::Name;
use crate::clock;
use crate::machine;
use crate::publication::{Draft, Publication};

/// A node that has reported nothing for this time counts as gone.
const GONE: Duration = Duration::from_secs(5);
/// The most nodes that are remembered; a server has one per process.
const NODES: usize = 1000;
/// The most channels in a report, those with the most listeners first.
const CHANNELS: usize = 1000;

/// A node's report, made once a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) node: String,
    pub(crate) server: String,
    pub(crate) worker: usize,
    pub(crate) pid: u32,
    /// Seconds since it started.
    pub(crate) uptime: u64,
    /// Bytes of resident memory.
    pub(crate) memory: u64,
    /// Processor time in milliseconds.
    pub(crate) cpu: u64,
    /// Whether its broker is reachable.
    pub(crate) connected: bool,
    /// Whether it is ready for clients.
    #[serde(default)]
    pub(crate) ready: bool,
    /// Accepted connections of each thread.
    pub(crate) accepted: Vec<u64>,
    /// Counters, by name.
    pub(crate) counters: Vec<(String, u64)>,
    /// Channels, and their numbers of listeners.
    pub(crate) channels: Vec<(Name, usize)>,
    /// The number of channels left out.
    pub(crate) more_channels: usize,
    /// Clients that have read too slowly of late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) slow: Vec<Slow>,
}

impl Sample {
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.counters
            .iter()
            .find(|(known, _)| known == name)
            .map_or(0, |(_, value)| *value)
    }
}

/// Counters that can decrease.
pub(crate) const GAUGES: &[&str] = &["active", "subscriptions"];

impl Sample {
    /// A sample with these counters, for tests.
    #[cfg(test)]
    pub(crate) fn of(pid: u32, counters: Vec<(String, u64)>) -> Self {
        Sample {
            node: "n".to_owned(),
            server: "s".to_owned(),
            worker: 0,
            pid,
            uptime: 0,
            memory: 1,
            cpu: 0,
            connected: true,
            ready: true,
            accepted: Vec::new(),
            counters,
            channels: Vec::new(),
            more_channels: 0,
            slow: Vec::new(),
        }
    }

    /// Adds the counters of earlier processes.
    pub(crate) fn plus(&self, before: &[(String, u64)]) -> Sample {
        let mut sum = self.clone();
        for (name, value) in &mut sum.counters {
            let more = before
                .iter()
                .find(|(known, _)| known == name && !GAUGES.contains(&name.as_str()));
            *value += more.map_or(0, |(_, value)| *value);
        }
        sum
    }

    /// The part of the sample that remains valid when the process has ended.
    pub(crate) fn ended(mut self) -> Sample {
        for (_, value) in self
            .counters
            .iter_mut()
            .filter(|(name, _)| GAUGES.contains(&name.as_str()))
        {
            *value = 0;
        }
        (self.memory, self.connected, self.ready) = (0, false, false);
        self
    }
}

impl Node {
    /// This node's sample now.
    pub(crate) fn sample(&self) -> Sample {
        let loops = self.stats();
        let mut sum = Stats::default();
        for stats in &loops {
            sum += *stats;
        }
        let mut channels = self.channels();
        let subscriptions: usize = channels.iter().map(|(_, listeners)| listeners).sum();
        channels.sort_by_key(|(_, listeners)| std::cmp::Reverse(*listeners));
        let more_channels = channels.len().saturating_sub(CHANNELS);
        channels.truncate(CHANNELS);
        // Constant in tests: a schedule of faults follows from its seed, down to the bytes.
        let usage = if cfg!(test) {
            machine::Usage::default()
        } else {
            machine::Usage::now()
        };
        let tls = self.tls.get().map(|stats| stats());
        let tls = tls.iter().flat_map(proto_tls::Stats::iter);
        let tls = tls.map(|(name, value)| (format!("tls_{name}"), value));
        let counted = &self.counters;
        let asked = |count: fn(&Proxy) -> &AtomicU64| {
            let proxy = self.proxy.get();
            proxy.map_or(0, |proxy| count(proxy).load(Ordering::Relaxed))
        };
        let hooked = |count: fn(&HookCounts) -> &AtomicU64| {
            let webhook = self.webhook.get();
            webhook.map_or(0, |webhook| count(&webhook.counts).load(Ordering::Relaxed))
        };
        let own = [
            ("subscriptions", subscriptions as u64),
            ("published", counted.published.get()),
            ("publish_failures", counted.publish_failures.get()),
            ("publications", counted.publications.get()),
            ("deliveries", counted.deliveries.get()),
            ("missed", counted.missed.get()),
            ("too_slow", counted.too_slow.get()),
            ("resets", counted.resets.get()),
            ("recovered", counted.recovered.get()),
            ("unrecovered", counted.unrecovered.get()),
            ("limited", counted.limited.get()),
            ("webhook_events", hooked(|counts| &counts.accepted)),
            ("webhook_lost", hooked(|counts| &counts.lost)),
            ("webhook_repeated", hooked(|counts| &counts.repeated)),
            ("proxy_questions", asked(|proxy| &proxy.asked)),
            ("proxy_failures", asked(|proxy| &proxy.failed)),
            ("broker_reconnects", self.broker().reconnects()),
        ];
        Sample {
            node: self.name.clone(),
            server: self.config.server.to_string(),
            worker: self.config.worker,
            pid: std::process::id(),
            uptime: if cfg!(test) {
                0
            } else {
                self.started.elapsed().as_secs()
            },
            memory: usage.memory,
            cpu: usage.cpu,
            connected: self.broker().is_connected(),
            ready: self.is_ready(),
            accepted: loops.iter().map(|stats| stats.accepted).collect(),
            counters: own
                .into_iter()
                .chain(sum.iter())
                .map(|(name, value)| (name.to_owned(), value))
                .chain(tls)
                .chain(counted.delivery.counters("delivery_seconds"))
                .chain(counted.round_trip.counters("broker_round_trip_seconds"))
                .collect(),
            channels,
            more_channels,
            slow: self.slow.list(clock::now()),
        }
    }

    /// Reports to the parent of this process from now on.
    pub(crate) fn reports_to(&self, parent: UnixStream) {
        *self.parent.lock().unwrap_or_else(PoisonError::into_inner) = Some(parent);
    }

    /// The parent has passed on the sample of a process of this server.
    pub(crate) fn hears_of(&self, sample: Sample) {
        self.crew().insert(sample.worker, sample);
    }

    /// The samples of all processes of this server, if there are several.
    pub(crate) fn crew_samples(&self) -> Vec<Sample> {
        self.crew().values().cloned().collect()
    }

    fn crew(&self) -> MutexGuard<'_, BTreeMap<usize, Sample>> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports this node's counters to the parent.
    pub(super) fn report(&self) {
        let mut parent = self.parent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = &mut *parent else { return };
        let mut sample = self.sample();
        sample.channels.clear();
        sample.slow.clear();
        let Ok(mut line) = serde_json::to_vec(&sample) else {
            return;
        };
        line.push(b'\n');
        if stream.write_all(&line).is_err() {
            *parent = None;
        }
    }

    /// Publishes this node's counters to all nodes.
    pub(super) fn tell_sample(self: &Arc<Self>, now: Instant) {
        if self
            .health()
            .sent
            .is_some_and(|sent| now.saturating_duration_since(sent) < UNANSWERED)
        {
            // One at a time: if publications are slow, more would not help.
            return;
        }
        if !self.broker().is_connected() {
            // The missing answer already shows the state.
            return;
        }
        let Ok(data) = serde_json::value::to_raw_value(&self.sample()) else {
            return;
        };
        let draft = Draft::new(Name::nodes(), None, &data);
        let Some(rule) = self.rule(&Name::nodes()) else {
            return;
        };
        self.health().sent.get_or_insert(now);
        // A lost report is followed by another.
        let node = Arc::downgrade(self);
        let done = Done::new(move |outcome| {
            if let Some(node) = node.upgrade() {
                if outcome.is_ok() {
                    let time = clock::now().saturating_duration_since(now);
                    node.counters.round_trip.add(time);
                }
                *node.health() = Health {
                    sent: None,
                    failed: outcome.is_err(),
                };
            }
        });
        self.broker().publish(draft, rule.keep, done);
    }

    /// A node has published its counters.
    pub(super) fn heard(&self, publication: &Publication) {
        let Ok(sample) = serde_json::from_slice::<Sample>(&publication.data) else {
            return;
        };
        let now = clock::now();
        let mut peers = self.peers();
        peers.retain(|_, (at, _)| now.saturating_duration_since(*at) < GONE);
        if peers.len() < NODES || peers.contains_key(&sample.node) {
            peers.insert(sample.node.clone(), (now, sample));
        }
    }

    /// The last samples of all nodes, including those of other servers, ordered by name.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let now = clock::now();
        let peers = self.peers();
        let present = peers
            .values()
            .filter(|(at, _)| now.saturating_duration_since(*at) < GONE);
        let mut samples: Vec<Sample> = present.map(|(_, sample)| sample.clone()).collect();
        samples.sort_by(|a, b| a.node.cmp(&b.node));
        samples
    }
}
