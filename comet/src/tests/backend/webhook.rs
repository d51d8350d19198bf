//! Events.

use std::sync::atomic::{AtomicUsize, Ordering};

use hmac::Mac;
use serde_json::{Value, json};

use super::super::api::token;
use super::super::{Rig, post};
use super::{Asked, BACKEND_SECRET, Operator};
use crate::token::Secret;

fn rules(operator: &Operator, more: &str) -> String {
    format!(
        r#"
        api_token = "let-me-in"
        secret = "0123456789abcdef0123456789abcdef"
        backend_secret = "{BACKEND_SECRET}"
        webhook = "{}/hooks?a=b"
        {more}
        [[channel]]
        name = "room:*"
        publish = "anyone"
        join_leave = true
        [[channel]]
        name = "quiet"
        webhook = false
        [[channel]]
        name = "*"
        "#,
        operator.address
    )
}

/// All events that the back end has heard of, without their times.
fn events(asked: &[Asked]) -> Vec<Value> {
    let mut all = Vec::new();
    for request in asked {
        let mut body = request.json();
        let Value::Array(events) = body["events"].take() else {
            panic!("{request:?}")
        };
        all.extend(events);
    }
    for event in &mut all {
        let time = event.as_object_mut().unwrap().remove("time").unwrap();
        assert!(time.as_f64().unwrap() > 1.7e9, "{event}");
    }
    all
}

fn heard(operator: &Operator, count: usize) -> Vec<Value> {
    events(&operator.until(|asked| events(asked).len() >= count))
}

#[test]
fn the_back_end_hears_what_happens() {
    let operator = Operator::new(|_| (204, String::new()));
    let rig = Rig::new(&rules(&operator, ""));
    {
        let mut ann = rig.client(&format!("?token={}", token("ann", None)));
        ann.say(r#"{"type":"subscribe","id":1,"channel":"room:1"}"#);
        ann.say(r#"{"type":"publish","id":2,"channel":"room:1","data":{"a":[1, 2]}}"#);
        ann.say(r#"{"type":"subscribe","id":3,"channel":"quiet"}"#);
        ann.say(r#"{"type":"subscribe","id":4,"channel":"$nodes"}"#);
        ann.all();
        let mut guest = rig.client("");
        guest.say(r#"{"type":"subscribe","id":1,"channel":"room:1"}"#);
        guest.say(&json!({"type": "auth", "id": 2, "token": token("bob", None)}).to_string());
        guest.say(r#"{"type":"unsubscribe","id":3,"channel":"room:1"}"#);
        guest.all();
        rig.ask(&post(r#"{"channel":"room:1","data":2,"user":"operator"}"#, "let-me-in"));
        rig.publish("quiet", "3");
        ann.all();
        drop(guest);
    }
    let number = |event: &Value| event["number"].as_u64().unwrap();
    let mut told = heard(&operator, 14);
    assert!(told.iter().map(number).eq(1..=14), "{told:#?}");
    for event in &mut told {
        event.as_object_mut().unwrap().remove("number");
    }
    let [ann, bob] = ["test.0.0-1", "test.0.0-2"];
    let expected = [
        json!({"event": "start"}),
        json!({"event": "connect", "client": ann, "user": "ann"}),
        json!({"event": "presence", "channel": "room:1", "occupied": true}),
        json!({"event": "subscribe", "client": ann, "user": "ann", "channel": "room:1"}),
        json!({"event": "publish", "client": ann, "user": "ann", "channel": "room:1", "epoch": "100", "offset": 1,
               "data": {"a": [1, 2]}}),
        json!({"event": "connect", "client": bob}),
        json!({"event": "subscribe", "client": bob, "channel": "room:1"}),
        json!({"event": "authorize", "client": bob, "user": "bob"}),
        json!({"event": "unsubscribe", "client": bob, "user": "bob", "channel": "room:1"}),
        json!({"event": "publish", "user": "operator", "channel": "room:1", "epoch": "100", "offset": 2, "data": 2}),
        json!({"event": "disconnect", "client": bob, "user": "bob"}),
    ];
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
    let rest: Vec<_> = told[expected.len()..].iter().map(|event| &event["event"]).collect();
    assert_eq!(rest, ["unsubscribe", "presence", "disconnect"], "{told:#?}");
}

#[test]
fn requests_are_signed() {
    let operator = Operator::new(|_| (200, "{}".into()));
    let _rig = Rig::new(&rules(&operator, ""));
    let asked = operator.until(|asked| !asked.is_empty());
    let Asked { path, signature, body } = &asked[0];
    assert_eq!(path, "/hooks?a=b");
    let (time, signature) = signature.split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    let mut mac = Secret::new(BACKEND_SECRET).unwrap().mac(&format!("{time}.{body}"));
    mac.update(b"");
    let expected: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(signature, expected);
    assert_eq!(
        (
            &asked[0].json()["node"],
            &asked[0].json()["start"],
            &asked[0].json()["lost"]
        ),
        (&json!("test.0"), &json!("0"), &json!(0))
    );
}

#[test]
fn a_back_end_that_was_down_hears_it_later() {
    let count = AtomicUsize::new(0);
    let operator = Operator::new(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => (503, String::new()),
        _ => (200, String::new()),
    });
    let rig = Rig::new(&rules(&operator, ""));
    rig.client("");
    // The first request twice in vain, and again; what has happened meanwhile follows.
    let asked = operator.until(|asked| asked.len() >= 3 && events(&asked[2..]).len() >= 3);
    assert_eq!((&asked[0].body, &asked[0].body), (&asked[1].body, &asked[2].body));
    let numbers = events(&asked[2..]);
    let numbers: Vec<_> = numbers.iter().map(|event| &event["number"]).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let (_, metrics) = rig.ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        metrics.contains("comet_webhook_repeated_total{worker=\"0\"} 2"),
        "{metrics}"
    );
}

#[test]
fn only_some_events_are_told() {
    let operator = Operator::new(|_| (200, String::new()));
    let rig = Rig::new(&rules(&operator, "webhook_events = [\"disconnect\"]"));
    let mut client = rig.client("");
    client.ask(r#"{"type":"subscribe","id":1,"channel":"a"}"#);
    drop(client);
    let told = heard(&operator, 2);
    let names: Vec<_> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["start", "disconnect"]);
    rig.node.ends(std::time::Duration::from_secs(10));
    assert_eq!(heard(&operator, 2).len(), 2);
}

#[test]
fn readers_of_events_come_and_go() {
    let operator = Operator::new(|_| (200, String::new()));
    let rig = Rig::new(&rules(&operator, ""));
    let mut reader = rig.connect();
    reader.receive(b"GET /events?channel=news HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(reader);
    let told = heard(&operator, 7);
    let names: Vec<_> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "start",
            "presence",
            "connect",
            "subscribe",
            "unsubscribe",
            "disconnect",
            "presence"
        ]
    );
}
