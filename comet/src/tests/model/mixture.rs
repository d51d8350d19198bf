//! Mixtures of everything that goes wrong.

use std::time::Duration;

use super::lock;
use super::play::Play;
use super::themes::{LONER, some_role};

/// Publishes and applies a random fault, `rounds` times.
pub(super) fn mixture(play: &mut Play, rounds: usize) {
    for _ in 0..rounds {
        play.publish_some(4, 9);
        lock(&play.world).back_up();
        fault(play);
        let pause = play.between(50, 3050);
        play.run(pause);
    }
}

/// Applies a random fault.
fn fault(play: &mut Play) {
    let what = match play.below(18) {
        0 => {
            lock(&play.world).restart();
            play.cut_all();
            "Redis is restarted with all it had"
        }
        1 | 2 => {
            let back = play.below(8) as usize;
            play.roll_back(back);
            "Redis comes back from an older dump"
        }
        3 => {
            play.flush();
            "FLUSHALL"
        }
        4 => {
            let node = play.some_node();
            play.cut(node);
            "CLIENT KILL"
        }
        5 => {
            let node = play.some_node();
            play.kill_node(node);
            "a node is killed"
        }
        6 => {
            let refuses = play.once_in(2);
            lock(&play.world).refuses = refuses;
            "out of memory, or not any more"
        }
        7 => {
            let are_apart = play.once_in(2);
            for node in 0..play.nodes() {
                play.part(node, are_apart);
            }
            "Redis is out of reach, or not any more"
        }
        8 | 9 => {
            let (node, is_apart) = (play.some_node(), play.once_in(2));
            play.part(node, is_apart);
            "Redis is out of a node's reach, or not any more"
        }
        10 => {
            let node = play.some_node();
            let late = play.between(0, 4000);
            let lag = if play.once_in(2) { late } else { Duration::ZERO };
            play.lag(node, lag);
            "a node lags, or not any more"
        }
        11 => {
            let (node, role) = (play.some_node(), some_role(play));
            play.swallow(node, role);
            "a link looks alive, and passes nothing on"
        }
        12 => {
            let is_frozen = play.once_in(2);
            play.freeze(is_frozen);
            "Redis answers nobody, or does again"
        }
        13..=16 => {
            // One in two times the one that is alone.
            let index = play.below(2 * LONER as u64 + 2).min(LONER as u64) as usize;
            let (after, node) = (play.between(0, 6000), play.some_node());
            play.move_listener(index, after, node);
            "a client moves"
        }
        _ => {
            let which = play.some_channel();
            play.evict(which);
            "Redis drops a channel"
        }
    };
    play.note(what);
}
