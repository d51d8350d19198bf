//! A node on a broker that loses publications.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Client, Rig, offsets};
use crate::broker::{Broker, Done, Inbox, Member, Part, Presence, Snapshot, Trouble};
use crate::channel::Name;
use crate::log::Keep;
use crate::publication::{Draft, Epoch, Position, Publication};

/// A broker that the test controls.
#[derive(Clone)]
struct Puppet {
    inbox: Weak<dyn Inbox>,
    followed: Arc<Mutex<Vec<String>>>,
    rounds: Arc<AtomicU64>,
}

impl Broker for Puppet {
    fn follow(&self, channel: &Name, _: Keep) -> u64 {
        self.followed.lock().unwrap().push(channel.to_string());
        self.rounds.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn forget(&self, channel: &Name) {
        self.followed.lock().unwrap().push(format!("not {channel}"));
    }

    fn publish(&self, _: Draft, _: Keep, done: Done<Position>) {
        done.tell(Err(Trouble::Unavailable));
    }

    fn snapshot(&self, _: &Name, _: Part, _: Keep, done: Done<Snapshot>) {
        done.tell(Err(Trouble::Unavailable));
    }

    fn enter(&self, _: &Name, _: Member) {}

    fn leave(&self, _: &Name, _: &str) {}

    fn presence(&self, _: &Name, _: usize, done: Done<Presence>) {
        done.tell(Err(Trouble::Unavailable));
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn tick(&self, _: Instant) {}
}

fn publication(epoch: u64, offset: u64) -> Arc<Publication> {
    let draft = Draft {
        channel: "news".parse().unwrap(),
        user: None,
        data: offset.to_string().into(),
        key: None,
    };
    let epoch = Epoch(epoch);
    Arc::new(Publication::new(draft, Position { epoch, offset }))
}

impl Puppet {
    fn publish(&self, epoch: u64, offset: u64) {
        self.inbox.upgrade().unwrap().publication(&publication(epoch, offset));
    }

    /// The answer to all requests so far, with one history for each epoch.
    fn snapshot(&self, epoch: u64, offsets: std::ops::RangeInclusive<u64>) {
        let inbox = self.inbox.upgrade().unwrap();
        let known = inbox.position(&"news".parse().unwrap());
        let snapshot = Snapshot {
            turn: None,
            continues: known.map(|known| known.epoch == Epoch(epoch)),
            more: false,
            round: self.rounds.load(Ordering::Relaxed),
            position: Position {
                epoch: Epoch(epoch),
                offset: *offsets.end(),
            },
            publications: offsets.map(|offset| publication(epoch, offset)).collect(),
        };
        inbox.snapshot(&"news".parse().unwrap(), snapshot);
    }

    fn followed(&self) -> Vec<String> {
        core::mem::take(&mut self.followed.lock().unwrap())
    }
}

/// A server, its broker, and a subscriber whose feed has not begun.
fn rig() -> (Rig, Puppet, Client) {
    let mut made = None;
    let rig = Rig::on(
        "[[channel]]\nname = \"*\"\nhistory = 10\npublish = \"anyone\"",
        |inbox, _| {
            let puppet = Puppet {
                inbox,
                followed: Arc::default(),
                rounds: Arc::default(),
            };
            made = Some(puppet.clone());
            Box::new(puppet)
        },
    );
    let mut client = rig.client("");
    client.say(r#"{"type":"subscribe","id":1,"channel":"news"}"#);
    (rig, made.unwrap(), client)
}

#[test]
fn what_comes_before_the_first_snapshot_is_not_lost_and_not_doubled() {
    let (_rig, broker, mut client) = rig();
    assert_eq!(broker.followed(), ["news"]);
    assert_eq!(client.next(), None);
    for offset in 2..=5 {
        broker.publish(1, offset);
    }
    broker.snapshot(1, 1..=3);
    let answer = client.hear();
    assert_eq!((&answer["type"], &answer["offset"]), (&json!("subscribed"), &json!(5)));
    broker.publish(1, 5);
    broker.publish(1, 6);
    assert_eq!(offsets(&client.all()), [6]);
}

#[test]
fn a_hole_is_filled_by_another_snapshot() {
    let (rig, broker, mut client) = rig();
    broker.snapshot(1, 1..=3);
    client.all();
    broker.publish(1, 4);
    broker.publish(1, 7);
    broker.publish(1, 8);
    assert_eq!(offsets(&client.all()), [4]);
    broker.followed();
    rig.node.look_after(Instant::now());
    assert_eq!(broker.followed(), ["news"]);
    broker.snapshot(1, 2..=8);
    assert_eq!(offsets(&client.all()), [5, 6, 7, 8]);
    rig.node.look_after(Instant::now());
    assert_eq!(broker.followed(), [""; 0]);
    // An old snapshot changes nothing.
    broker.snapshot(1, 1..=3);
    broker.publish(1, 9);
    assert_eq!(offsets(&client.all()), [9]);
}

/// A history that was read before some publications came, and arrives after them, does not fill the hole before them.
#[test]
fn a_hole_stays_until_a_snapshot_reaches_its_end() {
    let (rig, broker, mut client) = rig();
    broker.snapshot(1, 1..=3);
    client.all();
    for offset in 5..=7 {
        broker.publish(1, offset);
    }
    broker.snapshot(1, 2..=5);
    assert_eq!(offsets(&client.all()), [4, 5]);
    broker.followed();
    rig.node.look_after(Instant::now() + Duration::from_secs(5));
    assert_eq!(broker.followed(), ["news"]);
    broker.snapshot(1, 2..=7);
    assert_eq!(offsets(&client.all()), [6, 7]);
    rig.node.look_after(Instant::now() + Duration::from_secs(15));
    assert_eq!(broker.followed(), [""; 0]);
    // A later life of the channel has nothing of the earlier one.
    broker.publish(1, 9);
    broker.snapshot(2, 1..=1);
    rig.node.look_after(Instant::now() + Duration::from_secs(25));
    assert_eq!(broker.followed(), [""; 0]);
}

#[test]
fn what_cannot_be_filled_is_told() {
    let (rig, broker, mut client) = rig();
    broker.snapshot(1, 1..=3);
    client.all();
    broker.snapshot(1, 6..=8);
    assert_eq!(client.hear(), json!({"type":"missed","channel":"news","from":4,"to":5}));
    assert_eq!(offsets(&client.all()), [6, 7, 8]);
    broker.snapshot(2, 1..=1);
    assert_eq!(
        client.hear(),
        json!({"type":"reset","channel":"news","epoch":"2","offset":0})
    );
    assert_eq!(offsets(&client.all()), [1]);
    broker.publish(2, 2);
    assert_eq!(offsets(&client.all()), [2]);
    // A publication of another epoch is not the next one.
    broker.publish(3, 3);
    assert_eq!(client.next(), None);
    broker.followed();
    rig.node.look_after(Instant::now());
    assert_eq!(broker.followed(), ["news"]);
    assert_eq!(rig.node.counters.resets.get(), 2);
}

#[test]
fn a_broker_that_does_not_answer_is_reported() {
    let (rig, broker, mut client) = rig();
    rig.node.look_after(Instant::now() + Duration::from_secs(1));
    assert_eq!(client.next(), None);
    rig.node.look_after(Instant::now() + Duration::from_secs(6));
    let answer = client.hear();
    assert_eq!((&answer["id"], &answer["code"]), (&json!(1), &json!("unavailable")));
    let answer = client.ask(r#"{"type":"publish","id":2,"channel":"news","data":1}"#);
    assert_eq!((&answer["id"], &answer["code"]), (&json!(2), &json!("unavailable")));
    // The snapshot is requested again, at growing intervals.
    assert_eq!(broker.followed(), ["news", "news", "news"]);
    // The feed outlasts its last listener for a while.
    client.say(r#"{"type":"subscribe","id":3,"channel":"news"}"#);
    assert_eq!(broker.followed(), [""; 0]);
    drop(client);
    rig.node.look_after(Instant::now() + Duration::from_secs(20));
    assert_eq!(broker.followed(), [""; 0]);
    rig.node.look_after(Instant::now() + Duration::from_secs(40));
    assert_eq!(broker.followed(), ["not news"]);
    rig.client("").say(r#"{"type":"subscribe","channel":"news"}"#);
    assert_eq!(broker.followed(), ["news"]);
}

/// A lagging node must not treat an unknown position as one of another history: it would deliver publications twice.
#[test]
fn one_who_is_ahead_of_the_node_waits_until_it_knows() {
    let (rig, broker, mut client) = rig();
    broker.snapshot(1, 1..=3);
    client.all();
    broker.followed();
    let mut ahead = rig.client("");
    ahead.say(r#"{"type":"subscribe","channel":"news","epoch":"1","offset":5}"#);
    assert_eq!((ahead.next(), broker.followed()), (None, vec!["news".to_owned()]));
    broker.snapshot(1, 1..=6);
    let answer = ahead.hear();
    assert_eq!(
        (
            &answer["recovered"],
            offsets(answer["publications"].as_array().unwrap())
        ),
        (&json!(true), vec![6])
    );
    // A position that never comes is reported as not recovered, once the broker was asked.
    let mut lost = rig.client("");
    lost.say(r#"{"type":"subscribe","channel":"news","epoch":"7","offset":5}"#);
    assert_eq!(lost.next(), None);
    broker.snapshot(1, 1..=6);
    assert_eq!(lost.hear()["recovered"], false);
}

/// When an epoch ends without loss, every reader continues with the new epoch.
#[test]
fn an_epoch_ends_without_loss() {
    let (rig, broker, mut client) = rig();
    broker.snapshot(1, 1..=3);
    client.all();
    let next = publication(9, 4);
    let next = Arc::into_inner(next).unwrap().behind(Epoch(1));
    broker.inbox.upgrade().unwrap().publication(&Arc::new(next));
    let reset = json!({"type":"reset","channel":"news","epoch":"9","offset":3,"recovered":true});
    assert_eq!(client.hear(), reset);
    assert_eq!(offsets(&client.all()), [4]);
    // A reader that was away has missed nothing either, unless its position belongs to a lost history.
    for (offset, recovered) in [(2, true), (3, true)] {
        let ask = format!(r#"{{"type":"subscribe","channel":"news","epoch":"1","offset":{offset}}}"#);
        let answer = rig.client("").ask(&ask);
        assert_eq!(
            (&answer["recovered"], &answer["epoch"]),
            (&json!(recovered), &json!("9")),
            "{offset}"
        );
    }
    let mut lost = rig.client("");
    lost.say(r#"{"type":"subscribe","channel":"news","epoch":"1","offset":4}"#);
    broker.snapshot(9, 4..=4);
    assert_eq!(lost.hear()["recovered"], false);
}

/// A node whose publications fail reports that it is not ready, although its connection to the broker is open.
#[test]
fn a_node_that_cannot_publish_is_not_ready() {
    let (rig, _broker, _client) = rig();
    rig.node.serves(Vec::new);
    let ready = || rig.ask("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").0;
    assert_eq!(ready(), 200);
    rig.node.look_after(Instant::now());
    assert_eq!(ready(), 503);
}
