//! The themes of schedules. Half of the schedules are mixtures of all faults. Each of the others causes one situation that is rare in
//! mixtures, with times and places that follow from the seed.

use std::time::Duration;

use super::lock;
use super::mixture::mixture;
use super::play::Play;
use super::redis::Mishap;
use super::shape::Shape;
use crate::broker::{Bounds, Role};

/// A kind of schedule.
pub(super) struct Theme {
    pub(super) name: &'static str,
    pub(super) shape: fn() -> Shape,
    pub(super) play: fn(&mut Play),
}

const MIXTURE: Theme = Theme {
    name: "a mixture",
    shape: two_nodes,
    play: |play| mixture(play, 14),
};

const THEMES: [Theme; 13] = [
    theme("only one node knows of a loss", two_nodes, one_knows),
    theme("one node has heard of what is lost", two_nodes, one_has_heard),
    theme("a channel that nobody follows", two_nodes, nobody_follows),
    theme("short lives", two_nodes, short_lives),
    theme("a node that lags", two_nodes, lags),
    theme("an epoch's end", two_nodes, epoch_ends),
    theme("clients come and go", two_nodes, come_and_go),
    theme("many channels", many_channels, all_at_once),
    theme("Redis hangs", two_nodes, hangs),
    theme("dead links", two_nodes, dead_links),
    theme("two databases", two_databases, side_by_side),
    theme("far behind", long_publications, far_behind),
    theme("a channel begins", two_nodes, begins_anew),
];

const fn theme(name: &'static str, shape: fn() -> Shape, play: fn(&mut Play)) -> Theme {
    Theme { name, shape, play }
}

/// The theme of the schedule with this seed.
pub(super) fn of(seed: u64) -> &'static Theme {
    match seed % 2 {
        1 => &MIXTURE,
        _ => &THEMES[(seed / 2) as usize % THEMES.len()],
    }
}

/// A channel with a single listener, which is often away: then no node follows the channel, and only the node that acknowledged a
/// lost publication can detect the loss.
const LONELY: usize = 2;
pub(super) const LONER: usize = 4;

fn two_nodes() -> Shape {
    let names = ["one", "two", "three"];
    Shape {
        nodes: vec![0, 0],
        channels: names.iter().map(|name| ((*name).to_owned(), 0)).collect(),
        listeners: vec![(0, 0), (1, 0), (0, 1), (1, 1), (0, LONELY)],
        bounds: Bounds::default(),
        padding: 0,
        output: 16 << 20,
    }
}

/// More channels than a connection may have commands outstanding.
fn many_channels() -> Shape {
    let many = 24;
    Shape {
        channels: (0..many).map(|number| (format!("c{number}"), 0)).collect(),
        listeners: (0..many).map(|channel| (0, channel)).collect(),
        bounds: Bounds {
            window: 16,
            pages: 8,
            answers: 4,
            channels: 1,
        },
        padding: 1500,
        ..two_nodes()
    }
}

/// Channels of the same names in two databases of one Redis.
fn two_databases() -> Shape {
    let names = ["one", "two", "three"];
    let of = |database| names.iter().map(move |name| ((*name).to_owned(), database));
    Shape {
        nodes: vec![0, 1],
        channels: of(0).chain(of(1)).collect(),
        listeners: vec![(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5)],
        ..two_nodes()
    }
}

/// Histories that are longer than a client's output limit.
fn long_publications() -> Shape {
    Shape {
        padding: 3000,
        output: 100 << 10,
        ..two_nodes()
    }
}

pub(super) fn some_role(play: &mut Play) -> Role {
    if play.once_in(2) { Role::News } else { Role::Requests }
}

/// One node has delivered what Redis then loses, and the other has not. Marking the loss may fail.
fn one_knows(play: &mut Play) {
    for _ in 0..1 + play.below(2) {
        let knows = play.some_node();
        let other = 1 - knows;
        play.publish_some(2, 6);
        play.run(Duration::from_millis(1500));
        lock(&play.world).back_up();
        match play.below(3) {
            0 => play.part(other, true),
            1 => play.lag(other, Duration::from_secs(30)),
            _ => play.swallow(other, Role::News),
        }
        play.run(Duration::from_millis(100));
        let (channel, count) = (play.below(2) as usize, 1 + play.below(3));
        for _ in 0..count {
            play.publish(knows, channel);
            play.step();
        }
        let pause = play.between(200, 800);
        play.run(pause);
        let mishap = some_mishap(play);
        lock(&play.world).mishap = mishap;
        play.roll_back(0);
        play.note("what only one node has told is lost");
        if mishap.is_none() || play.once_in(2) {
            // The other is back first.
            play.part(knows, true);
            play.part(other, false);
            let pause = play.between(300, 3000);
            play.run(pause);
            play.part(knows, false);
        } else {
            let pause = play.between(0, 4000);
            play.run(pause);
        }
        play.part(other, false);
        play.lag(other, Duration::ZERO);
        if play.once_in(2) {
            let pause = play.between(0, 3000);
            play.run(pause);
            play.publish(other, channel);
        }
        play.run(Duration::from_secs(5));
        lock(&play.world).mishap = None;
    }
}

/// Redis loses a publication after the node that acknowledged it was killed. The other node has only delivered it.
fn one_has_heard(play: &mut Play) {
    let (gone, channel) = (play.some_node(), play.below(2) as usize);
    play.publish_some(2, 5);
    play.publish(gone, channel);
    play.run(Duration::from_millis(1500));
    lock(&play.world).back_up();
    // One client is away all the time, and comes back where nobody knows.
    let away = play
        .listeners
        .iter()
        .position(|one| (one.node, one.channel) == (gone, channel));
    let absence = play.between(15_000, 19_000);
    play.move_listener(away.unwrap_or_default(), absence, gone);
    for _ in 0..1 + play.below(3) {
        play.publish(gone, channel);
        play.step();
    }
    play.run(Duration::from_millis(500));
    play.kill_node(gone);
    play.note("a node is killed");
    play.run(Duration::from_millis(13_000));
    let mishap = some_mishap(play);
    lock(&play.world).mishap = mishap;
    play.roll_back(0);
    play.note("what another node has only heard is lost");
    play.run(Duration::from_secs(8));
    lock(&play.world).mishap = None;
}

/// A random fault of the next command that marks a loss, or none.
fn some_mishap(play: &mut Play) -> Option<(Mishap, u32)> {
    match play.below(3) {
        0 => None,
        1 => Some((Mishap::NoMemory, 1 + play.below(3) as u32)),
        _ => Some((Mishap::Cut, 1)),
    }
}

/// Redis loses an acknowledged publication of a channel that no node follows.
fn nobody_follows(play: &mut Play) {
    play.publish_some(3, 6);
    play.publish(0, LONELY);
    play.run(Duration::from_secs(1));
    let back = play.some_node();
    // Longer than a feed lingers.
    let absence = play.between(33_000, 45_000);
    play.move_listener(LONER, absence, back);
    play.run(Duration::from_millis(32_000));
    lock(&play.world).back_up();
    let node = play.some_node();
    play.publish(node, LONELY);
    play.run(Duration::from_millis(500));
    if play.once_in(2) {
        // Another life, in which nothing is lost.
        lock(&play.world).restart();
        play.cut_all();
        let pause = play.between(0, 1500);
        play.run(pause);
        play.publish(node, LONELY);
        play.run(Duration::from_millis(500));
    }
    play.roll_back(0);
    play.note("what was published in a channel that nobody follows is lost");
    if play.once_in(2) {
        let pause = play.between(0, 1500);
        play.run(pause);
        play.publish(node, LONELY);
    }
    play.run(Duration::from_secs(8));
}

/// Redis is rolled back several times within seconds.
fn short_lives(play: &mut Play) {
    for _ in 0..4 + play.below(4) {
        lock(&play.world).back_up();
        play.publish_some(2, 8);
        if play.once_in(3) {
            let (after, node) = (play.between(0, 4000), play.some_node());
            play.move_listener(LONER, after, node);
        }
        let pause = play.between(0, 600);
        play.run(pause);
        let back = play.below(3) as usize;
        play.roll_back(back);
        play.note("another life, with less");
        let pause = play.between(100, 1500);
        play.run(pause);
    }
}

/// Nothing is lost, but clients move to a node that knows less than they do.
fn lags(play: &mut Play) {
    for _ in 0..4 {
        let slow = play.some_node();
        let lag = play.between(500, 4000);
        play.lag(slow, lag);
        play.publish_some(6, 12);
        let pause = play.between(0, 300);
        play.run(pause);
        for index in 0..play.listeners.len() {
            if play.once_in(2) {
                let after = play.between(0, 500);
                play.move_listener(index, after, slow);
            }
        }
        play.note("clients move to a node that lags");
        let pause = play.between(500, 3000);
        play.run(pause);
        play.lag(slow, Duration::ZERO);
    }
}

/// Nothing is lost, but channels change their epoch while clients are away, and nodes restart.
fn epoch_ends(play: &mut Play) {
    for _ in 0..4 {
        play.publish_some(4, 10);
        play.run(Duration::from_secs(1));
        for index in 0..play.listeners.len() {
            if play.once_in(2) {
                let (after, node) = (play.between(500, 5000), play.some_node());
                play.move_listener(index, after, node);
            }
        }
        if play.once_in(2) {
            play.publish_some(1, 4);
        }
        lock(&play.world).restart();
        play.cut_all();
        play.note("Redis is restarted with all it had");
        let pause = play.between(300, 2000);
        play.run(pause);
        play.publish_some(2, 6);
        if play.once_in(2) {
            // Of what came before, it knows only what it reads.
            let node = play.some_node();
            play.kill_node(node);
            play.note("a node is killed");
        }
        let pause = play.between(1000, 5000);
        play.run(pause);
    }
}

/// Clients reconnect while nodes are killed, or cannot reach Redis.
fn come_and_go(play: &mut Play) {
    for _ in 0..5 {
        let node = play.some_node();
        match play.below(6) {
            0 => play.part(node, true),
            1 => {
                play.kill_node(node);
                play.note("a node is killed");
            }
            2 => {
                play.flush();
                play.note("FLUSHALL");
            }
            3 => play.swallow(node, Role::Requests),
            4 => play.cut_all(),
            _ => {}
        }
        for index in 0..play.listeners.len() {
            if play.once_in(2) {
                let (after, node) = (play.between(0, 30_000), play.some_node());
                play.move_listener(index, after, node);
            }
        }
        let pause = play.between(500, 20_000);
        play.run(pause);
        play.part(node, false);
        play.publish_some(1, 3);
        play.run(Duration::from_secs(1));
    }
    if play.once_in(2) {
        // After a FLUSHALL the next publication shows the loss. Nothing but the refresh shows that presence is gone.
        let channel = play.some_channel();
        play.evict_presence(channel);
        play.note("Redis drops who is present");
    }
}

/// A node must subscribe to all its channels again, at once.
fn all_at_once(play: &mut Play) {
    for channel in 0..play.channels() {
        for _ in 0..6 {
            play.publish(0, channel);
        }
        play.run(Duration::from_millis(60));
    }
    play.run_until_answered(Duration::from_secs(10));
    for _ in 0..1 + play.below(2) {
        if play.once_in(2) {
            // A node that knows nothing has all to read.
            play.kill_node(0);
            play.note("a node is killed");
        } else {
            play.cut(0);
            play.note("a node's connections end");
        }
        let pause = play.between(0, 4000);
        play.run(pause);
        play.publish_some(4, 10);
    }
}

/// Redis hangs while clients subscribe and publish.
fn hangs(play: &mut Play) {
    for _ in 0..3 {
        play.publish_some(3, 8);
        let (index, node) = (play.below(5) as usize, play.some_node());
        if play.once_in(2) {
            play.kill_node(node);
            let pause = play.between(0, 600);
            play.run(pause);
        }
        play.freeze(true);
        play.note("Redis hangs");
        let after = play.between(0, 1000);
        play.move_listener(index, after, node);
        play.publish_some(2, 5);
        let pause = play.between(500, 15_000);
        play.run(pause);
        play.freeze(false);
        play.note("Redis answers again");
        let pause = play.between(100, 3000);
        play.run(pause);
    }
}

/// Connections stay open, but pass nothing on.
fn dead_links(play: &mut Play) {
    for _ in 0..3 {
        play.publish_some(3, 8);
        let (node, role) = (play.some_node(), some_role(play));
        play.swallow(node, role);
        play.note(format!("{role:?} of node {node} are swallowed"));
        play.publish_some(3, 8);
        let pause = play.between(500, 18_000);
        play.run(pause);
    }
}

/// Two independent servers use two databases of one Redis.
fn side_by_side(play: &mut Play) {
    for _ in 0..4 {
        play.publish_some(4, 12);
        let pause = play.between(100, 2000);
        play.run(pause);
        if play.once_in(3) {
            lock(&play.world).restart();
            play.cut_all();
            play.note("Redis is restarted with all it had");
        }
    }
}

/// Clients reconnect that have missed more than their output limit.
fn far_behind(play: &mut Play) {
    play.publish_some(3, 5);
    play.run(Duration::from_secs(1));
    let (index, node) = (play.below(4) as usize, play.some_node());
    play.move_listener(index, Duration::from_secs(5), node);
    let channel = play.listeners[index].channel;
    for _ in 0..40 + play.below(40) {
        let node = play.some_node();
        play.publish(node, channel);
        play.step();
    }
    if play.once_in(2) {
        play.cut_all();
        play.note("all connections end");
    } else {
        // Another has to read all of it.
        play.run(Duration::from_secs(1));
        play.kill_node(node);
        play.note("a node is killed");
    }
    play.run(Duration::from_secs(8));
}

/// Channels begin that were empty, or dropped by Redis.
fn begins_anew(play: &mut Play) {
    if play.once_in(2) {
        // Who follows it has seen nothing of it, and comes back when it has begun a second time.
        let node = play.listeners[LONER].node;
        play.part(node, true);
        for _ in 0..1 + play.below(3) {
            play.publish(1 - node, LONELY);
        }
        play.run(Duration::from_millis(500));
        play.evict(LONELY);
        play.publish(1 - node, LONELY);
        play.note("a channel begins twice");
        let pause = play.between(0, 2000);
        play.run(pause);
        play.part(node, false);
        play.run(Duration::from_secs(1));
    }
    for _ in 0..4 {
        if play.once_in(2) {
            play.flush();
            play.note("FLUSHALL");
        } else {
            let which = play.some_channel();
            play.evict(which);
            play.note("Redis drops a channel");
        }
        if play.once_in(3) {
            play.cut_all();
        }
        if play.once_in(3) {
            let (index, node) = (play.below(5) as usize, play.some_node());
            let after = play.between(0, 1000);
            play.move_listener(index, after, node);
        }
        play.publish_some(1, 5);
        let pause = play.between(100, 3000);
        play.run(pause);
        play.publish_some(1, 5);
        play.run(Duration::from_secs(1));
    }
}
