//! Questions about subscriptions and publications.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{Client, Rig, SECRET};
use super::{BACKEND_SECRET, Operator};
use crate::settings::{Options, Settings};
use crate::token::{Claims, Secret};

pub(super) fn rules(address: &str, more: &str) -> String {
    format!(
        r#"
        api_token = "let-me-in"
        secret = "0123456789abcdef0123456789abcdef"
        backend_secret = "{BACKEND_SECRET}"
        subscribe_proxy = "{address}/subscribe"
        publish_proxy = "{address}/publish"
        backend_timeout = "500ms"
        {more}
        [[channel]]
        name = "*"
        subscribe = "proxy"
        publish = "proxy"
        presence = true
        "#
    )
}

/// A token that names no channels.
pub(super) fn token(user: &str) -> String {
    let claims = Claims {
        user: Some(user.into()),
        ..Claims::default()
    };
    Secret::new(SECRET).unwrap().sign(&claims)
}

/// The next message of the client, which the back end's answer may delay.
pub(super) fn wait(client: &mut Client) -> Value {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(message) = client.next() {
            return message;
        }
        assert!(Instant::now() < end, "no message came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn ask(client: &mut Client, request: &str) -> Value {
    client.say(request);
    wait(client)
}

const SUBSCRIBE: &str = r#"{"type":"subscribe","id":1,"channel":"a"}"#;
const PUBLISH: &str = r#"{"type":"publish","id":2,"channel":"a","data":{"text": 1},"key":"k"}"#;

#[test]
fn the_back_end_decides() {
    let operator = Operator::new(|asked| {
        let asked = asked.json();
        let answer = match (asked["user"].as_str(), asked["data"].is_null()) {
            (Some("ann"), true) => json!({"allow": true}),
            (Some("ann"), false) => json!({"allow": true, "data": {"text": "checked"}, "user": "Ann"}),
            _ => json!({"allow": false, "reason": "only ann"}),
        };
        (200, answer.to_string())
    });
    let rig = Rig::new(&rules(&operator.address, ""));
    let mut ann = rig.client(&format!("?token={}", token("ann")));
    let mut guest = rig.client("");
    let presence = r#"{"type":"presence","id":3,"channel":"a"}"#;
    assert_eq!(ann.ask(presence)["code"], "forbidden");
    let history = r#"{"type":"history","id":3,"channel":"a"}"#;
    assert_eq!(ask(&mut ann, SUBSCRIBE)["type"], "subscribed");
    assert_eq!(ask(&mut ann, SUBSCRIBE)["code"], "already-subscribed");
    ann.say(PUBLISH);
    let answers = [wait(&mut ann), wait(&mut ann)];
    let publication = answers.iter().find(|answer| answer["type"] == "publication").unwrap();
    let expected =
        json!({"type": "publication", "channel": "a", "offset": 1, "user": "Ann", "data": {"text": "checked"}});
    assert_eq!(*publication, expected);
    assert!(answers.iter().any(|answer| answer["type"] == "published"));
    // A subscriber may look.
    assert_eq!(
        (&ann.ask(history)["offset"], &ann.ask(presence)["total"]),
        (&json!(1), &json!(1))
    );
    for request in [SUBSCRIBE, PUBLISH] {
        let refused = ask(&mut guest, request);
        assert_eq!(
            (&refused["code"], &refused["reason"]),
            (&json!("forbidden"), &json!("only ann"))
        );
    }
    assert_eq!(guest.ask(history)["code"], "forbidden");
    // What the back end was asked.
    let asked = operator.until(|asked| asked.len() >= 4);
    let [subscribe, publish] = [&asked[0], &asked[1]];
    assert_eq!((&*subscribe.path, &*publish.path), ("/subscribe", "/publish"));
    assert!(subscribe.signature.starts_with("t="), "{subscribe:?}");
    assert_eq!(
        publish.json(),
        json!({"client": "test.0.0-1", "user": "ann", "channel": "a", "data": {"text": 1}})
    );
    // With another user the subscription ends, unless the new token names the channel.
    ann.say(&json!({"type": "auth", "id": 9, "token": token("bob")}).to_string());
    let answers = ann.all();
    assert_eq!(
        answers[1],
        json!({"type": "unsubscribed", "channel": "a", "code": "forbidden"})
    );
    // Event streams are not asked about.
    let (status, body) = rig.ask("GET /events?channel=a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        status == 403 && body.contains("the back end decides"),
        "{status} {body}"
    );
}

#[test]
fn without_an_answer_nothing_is_done() {
    for (status, answer) in [
        (500, r#"{"allow":true}"#),
        (204, ""),
        (302, r#"{"allow":true}"#),
        (200, "yes"),
        (200, r#"{"allow":1}"#),
        (200, "{}"),
    ] {
        let operator = Operator::new(move |_| (status, answer.to_owned()));
        let rig = Rig::new(&rules(&operator.address, ""));
        let mut client = rig.client("");
        for request in [SUBSCRIBE, PUBLISH] {
            assert_eq!(ask(&mut client, request)["code"], "unavailable", "{status} {answer}");
        }
        assert!(client.next().is_none());
        let (_, metrics) = rig.ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        for line in [
            "proxy_questions_total{worker=\"0\"} 2",
            "proxy_failures_total{worker=\"0\"} 2",
        ] {
            assert!(metrics.contains(line), "{metrics}");
        }
    }
    // Nobody listens there, and somebody who does not answer.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = "http://127.0.0.1:1".to_owned();
    for address in [nobody, format!("http://{}", silent.local_addr().unwrap())] {
        let rig = Rig::new(&rules(&address, ""));
        let begun = Instant::now();
        assert_eq!(ask(&mut rig.client(""), SUBSCRIBE)["code"], "unavailable");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

/// A back end that answers when the test says so.
fn slow() -> (Operator, mpsc::Sender<()>) {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let operator = Operator::new(move |_| {
        let _ = gate.lock().unwrap().recv_timeout(Duration::from_secs(10));
        (200, r#"{"allow":true}"#.to_owned())
    });
    (operator, go)
}

const PATIENT: &str = "backend_timeout = \"20s\"";

fn patient(address: &str, more: &str) -> String {
    rules(address, more).replace("backend_timeout = \"500ms\"", PATIENT)
}

#[test]
fn what_was_asked_can_end_meanwhile() {
    let (operator, go) = slow();
    let rig = Rig::new(&patient(&operator.address, ""));
    let mut client = rig.client("");
    client.say(SUBSCRIBE);
    assert_eq!(client.ask(SUBSCRIBE)["code"], "already-subscribed");
    client.say(r#"{"type":"unsubscribe","id":5,"channel":"a"}"#);
    let answers = [client.hear(), client.hear()];
    assert_eq!(
        (&answers[0]["id"], &answers[0]["code"]),
        (&json!(1), &json!("unsubscribed"))
    );
    assert_eq!(answers[1], json!({"type": "unsubscribed", "id": 5, "channel": "a"}));
    // Asked again. The answer to the first question does not count.
    client.say(r#"{"type":"subscribe","id":6,"channel":"a"}"#);
    go.send(()).unwrap();
    go.send(()).unwrap();
    let answer = wait(&mut client);
    assert_eq!((&answer["type"], &answer["id"]), (&json!("subscribed"), &json!(6)));
    assert!(client.next().is_none());
    // Another user's token: the answer is about the user before.
    client.ask(r#"{"type":"unsubscribe","id":7,"channel":"a"}"#);
    client.say(SUBSCRIBE);
    client.ask(&json!({"type": "auth", "id": 8, "token": token("bob")}).to_string());
    go.send(()).unwrap();
    assert_eq!(wait(&mut client)["code"], "forbidden");
    // A client that leaves.
    client.say(SUBSCRIBE);
    drop(client);
    go.send(()).unwrap();
    operator.until(|asked| asked.len() >= 4);
}

#[test]
fn questions_are_bounded() {
    let (operator, go) = slow();
    let rig = Rig::new(&patient(&operator.address, "backend_questions = 10"));
    let mut one = rig.client("");
    for number in 0..8 {
        one.say(&format!(
            r#"{{"type":"subscribe","id":{number},"channel":"c{number}"}}"#
        ));
    }
    assert!(one.next().is_none());
    // A client may have eight.
    for request in [SUBSCRIBE, PUBLISH] {
        assert_eq!(one.ask(request)["code"], "too-many");
        assert!(one.next().is_none());
    }
    let mut other = rig.client("");
    other.say(SUBSCRIBE);
    other.say(PUBLISH);
    assert!(other.next().is_none());
    // And a process as many as it is told.
    let mut third = rig.client("");
    for request in [SUBSCRIBE, PUBLISH] {
        assert_eq!(third.ask(request)["code"], "unavailable");
        assert!(third.next().is_none());
    }
    for _ in 0..10 {
        go.send(()).unwrap();
    }
    for _ in 0..8 {
        assert_eq!(wait(&mut one)["type"], "subscribed");
    }
    go.send(()).unwrap();
    assert_eq!(ask(&mut third, SUBSCRIBE)["type"], "subscribed");
}

#[test]
fn clients_of_centrifugo_are_asked_about_as_well() {
    let operator = Operator::new(|asked| {
        let is_good = asked.json()["channel"] == "a";
        (200, json!({"allow": is_good}).to_string())
    });
    let rig = Rig::new(&rules(&operator.address, ""));
    let mut client = super::super::centrifugo::connected(&rig, "");
    let mut ask = |content: Value| {
        client.say(&content.to_string());
        wait(&mut client)
    };
    assert!(ask(json!({"id": 2, "subscribe": {"channel": "a"}}))["subscribe"]["recoverable"] == true);
    assert_eq!(
        ask(json!({"id": 3, "subscribe": {"channel": "b"}}))["error"]["code"],
        103
    );
    assert_eq!(
        ask(json!({"id": 4, "publish": {"channel": "b", "data": 1}}))["error"]["code"],
        103
    );
}

#[test]
fn settings_name_what_is_missing() {
    for (text, problem) in [
        (
            "[[channel]]\nname = 'a'\nsubscribe = 'proxy'",
            "there is no subscribe_proxy",
        ),
        (
            "[[channel]]\nname = 'a'\npublish = 'proxy'",
            "there is no publish_proxy",
        ),
        ("webhook = 'http://a'", "backend_secret: is needed"),
        ("publish_proxy = 'ftp://a'", "is not an http or https URL"),
        ("webhook_events = ['connect']", "means nothing without webhook"),
        ("webhook = 'http://a'\nwebhook_events = ['start']", "webhook_events"),
        ("backend_secret = 'short'", "at least 32 bytes"),
        ("backend_timeout = '0s'", "would let nobody answer"),
        ("backend_questions = 0", "at least 1"),
    ] {
        let options: Options = toml::from_str(text).unwrap();
        let problems = format!("{:?}", Settings::new(options).unwrap_err());
        assert!(problems.contains(problem), "{text}: {problems}");
    }
}
