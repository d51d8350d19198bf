//! The end of a schedule, and the final checks.

use std::sync::Arc;
use std::time::Duration;

use super::super::judge::judge;
use super::super::listener::Listener;
use super::super::{Shared, lock};
use super::Play;
use crate::broker::{Done, Presence};
use crate::channel::Name;

impl Play {
    /// Ends all faults. Returns the problems found, before and after more is published.
    pub(in crate::tests::model) fn end(&mut self) -> Vec<String> {
        for node in 0..self.nodes.len() {
            self.part(node, false);
            self.lag(node, Duration::ZERO);
        }
        self.freeze(false);
        lock(&self.world).is_well();
        self.note("all is well");
        self.run(Duration::from_secs(40));
        // Nobody has to wait for the next publication to be told of a loss.
        let mut faults = judge(&self.listeners, &self.published, self.published.len());
        faults.extend(self.judge_presence());
        let reads = lock(&self.world).reads;
        self.run(Duration::from_secs(5));
        let reads = lock(&self.world).reads - reads;
        if reads > 20 * self.channels() {
            faults.push(format!("{reads} histories were read while nothing happened"));
        }
        if !faults.is_empty() {
            return faults;
        }
        let before = self.published.len();
        for _ in 0..3 {
            for node in 0..self.nodes.len() {
                for channel in 0..self.channels() {
                    if self.shape.channels[channel].1 == self.stages[node].database {
                        self.publish(node, channel);
                    }
                }
            }
            self.run(Duration::from_secs(4));
        }
        self.run(Duration::from_secs(10));
        judge(&self.listeners, &self.published, before)
    }

    /// Compares presence, as each node reports it, with the connected clients.
    fn judge_presence(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        for channel in 0..self.channels() {
            let (name, database) = &self.shape.channels[channel];
            let (name, database): (Name, u32) = (name.parse().unwrap(), *database);
            let is_there = |listener: &&Listener| listener.channel == channel && listener.is_there();
            let there = self.listeners.iter().filter(is_there).count();
            for node in 0..self.nodes.len() {
                if self.stages[node].database != database {
                    continue;
                }
                let mut told = None;
                // A connection may break at this moment, too.
                for _ in 0..20 {
                    let answer: Shared<Option<Presence>> = Arc::default();
                    let done = Arc::clone(&answer);
                    let done = Done::new(move |outcome: Result<Presence, _>| *lock(&done) = outcome.ok());
                    self.nodes[node].node.broker().presence(&name, 100, done);
                    self.run(Duration::from_millis(500));
                    told = lock(&answer).take();
                    if told.as_ref().is_some_and(|told| told.total == there) {
                        break;
                    }
                }
                let told = told.map(|told| told.total);
                if told != Some(there) {
                    faults.push(format!("{told:?} are present in {name}, and {there} are there"));
                }
            }
        }
        faults
    }
}
