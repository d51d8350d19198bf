//! The faults that a theme can cause.

use std::time::Duration;

use super::super::lock;
use super::super::session::Post;
use super::Play;
use crate::broker::{Role, Wake};

impl Play {
    fn ids(&self, node: usize) -> Vec<usize> {
        let start = self.stages[node].start;
        (0..self.links.len())
            .filter(|id| self.links[*id].0 == start && self.sim.pair(*id).is_some())
            .collect()
    }

    /// The open connections of a node with this role.
    pub(in crate::tests::model) fn links(&self, node: usize, role: Role) -> Vec<usize> {
        let mut ids = self.ids(node);
        ids.retain(|id| self.links[*id].1 == role);
        ids
    }

    pub(in crate::tests::model) fn post(&mut self, id: usize, post: Post) {
        self.sim.message_b(Duration::ZERO, id, post);
    }

    /// Ends a node's connections to Redis.
    pub(in crate::tests::model) fn cut(&mut self, node: usize) {
        for id in self.ids(node) {
            self.post(id, Post::Die);
        }
    }

    /// Ends every connection to Redis.
    pub(in crate::tests::model) fn cut_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.cut(node);
        }
    }

    /// Makes Redis unreachable for a node, or reachable again.
    pub(in crate::tests::model) fn part(&mut self, node: usize, is_apart: bool) {
        self.stages[node].is_apart = is_apart;
        if is_apart {
            self.cut(node);
        }
    }

    pub(in crate::tests::model) fn lag(&mut self, node: usize, lag: Duration) {
        self.stages[node].lag = lag;
    }

    /// Keeps a node's connections open, but passes nothing on.
    pub(in crate::tests::model) fn swallow(&mut self, node: usize, role: Role) {
        for id in self.links(node, role) {
            self.post(id, Post::Swallow);
        }
    }

    /// Makes Redis hang, or answer again.
    pub(in crate::tests::model) fn freeze(&mut self, is_frozen: bool) {
        lock(&self.world).is_frozen = is_frozen;
        if !is_frozen {
            for id in 0..self.links.len() {
                self.post(id, Post::Thaw);
            }
        }
    }

    /// Kills a node, and starts another in its place.
    pub(in crate::tests::model) fn kill_node(&mut self, index: usize) {
        // The connections end first, so that Redis gets nothing from the node as it stops.
        let links = self.ids(index);
        self.stages[index].start = usize::MAX;
        for id in links {
            self.sim.message_a(Duration::ZERO, id, Wake::Close);
        }
        self.sim.run(Duration::from_millis(1), |_| {});
        let node = self.start(index);
        self.stages[index].start = self.starts;
        for listener in self.listeners.iter_mut().filter(|listener| listener.node == index) {
            listener.leave();
        }
        self.nodes[index] = node;
        self.killed = Some(self.at());
        self.excuse();
    }

    /// Restarts Redis with the backup made `back` backups ago; 0 is the last.
    pub(in crate::tests::model) fn roll_back(&mut self, back: usize) {
        lock(&self.world).roll_back(back);
        self.forgets();
        self.cut_all();
    }

    /// Removes all data.
    pub(in crate::tests::model) fn flush(&mut self) {
        lock(&self.world).flush();
        self.forgets();
    }

    pub(in crate::tests::model) fn evict(&mut self, channel: usize) {
        lock(&self.world).evict(&self.shape.channels[channel].0);
        self.forgets();
    }

    /// Redis drops the presence of a channel, but not its publications.
    pub(in crate::tests::model) fn evict_presence(&mut self, channel: usize) {
        lock(&self.world).evict_presence(&self.shape.channels[channel].0);
    }

    fn forgets(&mut self) {
        let at = self.at();
        if self.lost.is_none() {
            for listener in &mut self.listeners {
                listener.may_be_told_of_losses(at);
            }
        }
        self.lost = Some(at);
        self.excuse();
    }

    /// If a node stops at about the same time as a loss, what only this node knew is lost; see README.md.
    fn excuse(&mut self) {
        let at = self.at();
        let both = self.lost.zip(self.killed);
        if both.is_some_and(|(lost, killed)| lost.abs_diff(killed) < Duration::from_secs(12)) {
            for listener in &mut self.listeners {
                listener.is_told_nothing(at);
            }
        }
    }
}
