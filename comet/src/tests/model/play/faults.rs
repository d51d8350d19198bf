//! What goes wrong.

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

    /// A node's connections of this role that there are.
    pub(in crate::tests::model) fn links(&self, node: usize, role: Role) -> Vec<usize> {
        let mut ids = self.ids(node);
        ids.retain(|id| self.links[*id].1 == role);
        ids
    }

    pub(in crate::tests::model) fn post(&mut self, id: usize, post: Post) {
        self.sim.message_b(Duration::ZERO, id, post);
    }

    /// A node's connections to Redis end.
    pub(in crate::tests::model) fn cut(&mut self, node: usize) {
        for id in self.ids(node) {
            self.post(id, Post::Die);
        }
    }

    /// Every connection to Redis ends.
    pub(in crate::tests::model) fn cut_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.cut(node);
        }
    }

    /// A node loses touch with Redis, or finds it again.
    pub(in crate::tests::model) fn part(&mut self, node: usize, is_apart: bool) {
        self.stages[node].is_apart = is_apart;
        if is_apart {
            self.cut(node);
        }
    }

    pub(in crate::tests::model) fn lag(&mut self, node: usize, lag: Duration) {
        self.stages[node].lag = lag;
    }

    /// A connection looks alive, and passes nothing on.
    pub(in crate::tests::model) fn swallow(&mut self, node: usize, role: Role) {
        for id in self.links(node, role) {
            self.post(id, Post::Swallow);
        }
    }

    /// Redis answers nobody, or does again.
    pub(in crate::tests::model) fn freeze(&mut self, is_frozen: bool) {
        lock(&self.world).is_frozen = is_frozen;
        if !is_frozen {
            for id in 0..self.links.len() {
                self.post(id, Post::Thaw);
            }
        }
    }

    /// A node is killed, and another is started in its place.
    pub(in crate::tests::model) fn kill_node(&mut self, index: usize) {
        // Nothing of what it does from now on is heard: its connections end first.
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

    /// Redis comes back with what it had so many backups ago; 0 is the last.
    pub(in crate::tests::model) fn roll_back(&mut self, back: usize) {
        lock(&self.world).roll_back(back);
        self.forgets();
        self.cut_all();
    }

    /// Redis loses what it had.
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

    /// What only a node knew that dies at about the time of a loss, nobody can tell: see README.md.
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
