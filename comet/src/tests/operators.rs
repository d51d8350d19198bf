//! What an operator sees and orders.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::{call, get};
use super::websocket::subscribe;
use super::{Client, Rig};

const RULES: &str = "api_token = \"let-me-in\"\n[[channel]]\nname = \"closing\"\nslow = \"close\"\n[[channel]]\nname = \"*\"\nhistory = 3";

fn rig() -> Rig {
    let rig = Rig::new(RULES);
    rig.node.start().unwrap();
    rig.node.serves(Vec::new);
    rig
}

/// The next message; the orders of a node are carried out by a thread of its own.
fn later(client: &mut Client) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(message) = client.next() {
            return message;
        }
        assert!(Instant::now() < end, "no message");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_api_drains_a_node() {
    let rig = rig();
    let ready = || rig.ask("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").0;
    let (mut one, mut idle) = (rig.client(""), rig.client(""));
    subscribe(&mut one, "news");
    // Another node's order.
    let drain = |body: Value| assert_eq!(call(&rig, "/api/drain", &body), (200, json!({})));
    drain(json!({"node": "other", "seconds": 0, "ready": false}));
    assert_eq!((one.next(), idle.next(), ready()), (None, None, 200));
    // With or without subscriptions, by the name of the node.
    drain(json!({"node": "test.0", "seconds": 0}));
    assert_eq!(
        (later(&mut one), later(&mut idle)),
        (json!({"close": 1012}), json!({"close": 1012}))
    );
    assert_eq!(ready(), 200);
    // By the name of the server, which is not ready until it is told so.
    let mut two = rig.client("");
    subscribe(&mut two, "news");
    drain(json!({"node": "test", "seconds": 0, "ready": false}));
    assert_eq!((later(&mut two), ready()), (json!({"close": 1012}), 503));
    let mut three = rig.client("");
    drain(json!({"ready": true}));
    assert_eq!((three.next(), ready()), (None, 200));
    // What was said before an end does not outlast it.
    rig.node.set_leaving(true);
    drain(json!({"ready": true}));
    assert_eq!(ready(), 503);
    for wrong in [
        json!({"seconds": 3601}),
        json!({"seconds": -1}),
        json!({"nodes": "x"}),
        json!([]),
    ] {
        let (status, body) = call(&rig, "/api/drain", &wrong);
        assert_eq!((status, &body["code"]), (400, &json!("bad-request")), "{wrong}");
    }
}

/// The list of nodes has the clients that missed something, over WebSocket and as streams of events, and those that were closed.
#[test]
fn slow_clients_are_listed() {
    let rig = rig();
    let (mut slow, mut closed) = (rig.client(""), rig.client(""));
    subscribe(&mut slow, "news");
    subscribe(&mut closed, "closing");
    let mut reader = rig.connect();
    reader.receive(b"GET /events?channel=news HTTP/1.1\r\nHost: a\r\n\r\n");
    reader.take_sent();
    for harness in [&mut slow.harness, &mut closed.harness, &mut reader] {
        harness.set_window(Some(0));
    }
    for channel in ["news", "closing"] {
        for _ in 0..20 {
            rig.publish(channel, &format!("\"{}\"", "x".repeat(900)));
            for harness in [&mut slow.harness, &mut closed.harness, &mut reader] {
                harness.pump();
            }
        }
    }
    for harness in [&mut slow.harness, &mut closed.harness, &mut reader] {
        harness.set_window(None);
        harness.pump();
    }
    rig.node.look_after(Instant::now());
    let (_, body) = get(&rig, "/api/nodes");
    let node = &body["nodes"][0];
    assert_eq!(node["ready"], true);
    let list = node["slow"].as_array().unwrap();
    let of = |channel: &str, closed: bool| {
        let fits = |one: &&Value| one["channel"] == channel && one["closed"] == closed;
        list.iter().filter(fits).collect::<Vec<_>>()
    };
    assert_eq!(
        (of("news", false).len(), of("closing", true).len(), list.len()),
        (2, 1, 3),
        "{list:?}"
    );
    for one in of("news", false) {
        assert!(
            one["missed"].as_u64().unwrap() > 5 && one["client"].as_str().unwrap().starts_with("test.0.0-"),
            "{one}"
        );
    }
}
