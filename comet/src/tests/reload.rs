//! Settings that change while clients are connected.

use serde_json::{Value, json};

use super::{Client, Rig, SECRET, post};
use crate::channel::Pattern;
use crate::token::{Claims, Secret};

fn token(secret: &str, channel: &str) -> String {
    let claims = Claims {
        user: Some("ann".into()),
        subscribe: vec![Pattern::try_from(channel.to_owned()).unwrap()],
        ..Claims::default()
    };
    Secret::new(secret).unwrap().sign(&claims)
}

fn text(rules: &str) -> String {
    format!("api_token = \"let-me-in\"\nsecret = {SECRET:?}\n{rules}")
}

const OPEN: &str = "[[channel]]\nname = \"*\"\npresence = true";
const CLOSED: &str = "[[channel]]\nname = \"news\"\nsubscribe = \"token\"\n[[channel]]\nname = \"open\"";

/// Subscriptions that the new rules forbid end with a code; those of clients whose token names the channel go on.
#[test]
fn forbidden_subscriptions_end() {
    let rig = Rig::new(&text(OPEN));
    let mut guest = rig.client("");
    let mut ann = rig.client(&format!("?token={}", token(SECRET, "news")));
    for client in [&mut guest, &mut ann] {
        for channel in ["news", "open", "gone"] {
            let answer = client.ask(&format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#));
            assert_eq!(answer["type"], "subscribed");
        }
    }
    let mut reader = rig.connect();
    reader.receive(b"GET /events?channel=news&channel=open HTTP/1.1\r\nHost: a\r\n\r\n");
    reader.take_sent();
    rig.reload(&text(CLOSED));
    let ended = |client: &mut Client| {
        let mut ended: Vec<Value> = client.all();
        ended.sort_by_key(|message| message["channel"].to_string());
        ended
    };
    let gone = |channel: &str| json!({"type":"unsubscribed","channel":channel,"code":"forbidden"});
    assert_eq!(ended(&mut guest), [gone("gone"), gone("news")]);
    assert_eq!(ended(&mut ann), [gone("gone")]);
    reader.pump();
    let told = String::from_utf8(reader.take_sent()).unwrap();
    let data = r#"data: {"channel":"news","code":2000,"reason":"no token names this channel"}"#;
    assert!(told.contains("event: unsubscribed\n") && told.contains(data), "{told}");
    for channel in ["news", "open"] {
        assert_eq!(rig.publish(channel, "1").0, 200);
    }
    let heard =
        |client: &mut Client| -> Vec<_> { client.all().iter().map(|message| message["channel"].clone()).collect() };
    assert_eq!(heard(&mut guest), ["open"]);
    assert_eq!(heard(&mut ann), ["news", "open"]);
    reader.pump();
    let told = String::from_utf8(reader.take_sent()).unwrap();
    assert!(told.contains("\"open\"") && !told.contains("\"news\""), "{told}");
    // New subscriptions meet the new rules.
    let answer = guest.ask(r#"{"type":"subscribe","channel":"gone"}"#);
    assert_eq!(answer["code"], "no-such-channel");
    // The rules open again.
    rig.reload(&text(OPEN));
    assert_eq!(guest.all(), Vec::<Value>::new());
    let answer = guest.ask(r#"{"type":"subscribe","channel":"news"}"#);
    assert_eq!(answer["type"], "subscribed");
}

/// A client of Centrifugo's protocol hears of the end in its own way.
#[test]
fn clients_of_centrifugo_are_told_too() {
    let rig = Rig::new(&text(OPEN));
    let mut harness = rig.connect();
    harness.receive(
        b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let mut client = Client::of(harness);
    client.ask(r#"{"id":1,"connect":{}}"#);
    client.ask(r#"{"id":2,"subscribe":{"channel":"news"}}"#);
    rig.reload(&text(CLOSED));
    let told = client.hear();
    assert_eq!(told["push"]["channel"], "news");
    assert_eq!(told["push"]["unsubscribe"]["code"], 2000);
}

/// History and slow clients follow the new rule in channels that exist already.
#[test]
fn a_channel_that_exists_gets_its_new_rule() {
    let rig = Rig::new(&text("[[channel]]\nname = \"*\"\nhistory = 2"));
    let mut client = rig.client("");
    client.ask(r#"{"type":"subscribe","channel":"news"}"#);
    let history = || {
        let request = "GET /api/history?channel=news HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer let-me-in\r\n\r\n";
        let answer: Value = serde_json::from_str(&rig.ask(request).1).unwrap();
        answer["publications"].as_array().unwrap().len()
    };
    let publish =
        |count: u64| (0..count).for_each(|number| assert_eq!(rig.publish("news", &number.to_string()).0, 200));
    publish(5);
    assert_eq!(history(), 2);
    rig.reload(&text("[[channel]]\nname = \"*\"\nhistory = 10"));
    publish(5);
    assert_eq!(history(), 7);
    assert_eq!(client.all().len(), 10);
    // The mirror of the node holds as much: a client that comes back gets all of it.
    let mut back = rig.client("");
    let answer = back.ask(r#"{"type":"subscribe","channel":"news","limit":10}"#);
    assert_eq!(answer["publications"].as_array().unwrap().len(), 7);
    rig.reload(&text("[[channel]]\nname = \"*\"\nhistory = 1"));
    publish(1);
    assert_eq!(history(), 1);
}

#[test]
fn tokens_keys_origins_and_limits_change() {
    let before = "api_token = \"let-me-in\"\nsecret = \"0123456789abcdef0123456789abcdef\"\nmax_requests = 50";
    let rig = Rig::new(before);
    let other = "fedcba9876543210fedcba9876543210";
    let (old, new) = (token(SECRET, "*"), token(other, "*"));
    let status = |token: &str| {
        rig.ask(&format!(
            "HEAD /events?channel=a&token={token} HTTP/1.1\r\nHost: a\r\n\r\n"
        ))
        .0
    };
    assert_eq!((status(&old), status(&new)), (200, 401));
    let mut ann = rig.client(&format!("?token={old}"));
    let readable = || {
        let mut harness = rig.connect();
        harness.receive(b"HEAD /events?channel=a HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\n\r\n");
        String::from_utf8(harness.take_sent())
            .unwrap()
            .contains("Access-Control-Allow-Origin")
    };
    assert!(!readable());
    rig.reload(&format!(
        "api_token = \"other\"\nsecret = {other:?}\norigins = [\"https://b.example\"]\nmax_requests = 1\nmax_subscriptions = 1"
    ));
    assert_eq!((status(&old), status(&new)), (401, 200));
    assert!(readable());
    let body = r#"{"channel":"a","data":1}"#;
    assert_eq!(
        (rig.ask(&post(body, "let-me-in")).0, rig.ask(&post(body, "other")).0),
        (401, 200)
    );
    // Rights that were granted last as long as their token.
    assert_eq!(ann.ask(r#"{"type":"subscribe","channel":"a"}"#)["type"], "subscribed");
    assert_eq!(ann.ask(r#"{"type":"subscribe","channel":"b"}"#)["code"], "too-many");
    let refused = (0..200)
        .map(|_| ann.ask(r#"{"type":"ping"}"#))
        .filter(|answer| answer["code"] == "too-many");
    assert!(refused.count() > 100);
}

/// A server that is about to stop is not ready, and serves.
#[test]
fn a_leaving_server_is_not_ready_and_serves() {
    let rig = Rig::new(&text(OPEN));
    rig.node.serves(Vec::new);
    let status = |path: &str| rig.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).0;
    assert_eq!((status("/readyz"), status("/healthz")), (200, 200));
    rig.node.set_leaving(true);
    assert_eq!((status("/readyz"), status("/healthz")), (503, 200));
    assert_eq!(rig.publish("news", "1").0, 200);
    assert_eq!(rig.client("").ask(r#"{"type":"ping"}"#)["type"], "pong");
}
