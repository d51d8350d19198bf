//! Clients that connect without a token, and channels that the server subscribes clients to.

use serde_json::{Value, json};

use super::super::{Client, Rig, SECRET};
use super::proxy::wait;
use super::{Asked, BACKEND_SECRET, Operator};
use crate::channel::Pattern;
use crate::token::{Claims, Secret};

fn rules(address: &str) -> String {
    format!(
        r#"
        api_token = "let-me-in"
        secret = "0123456789abcdef0123456789abcdef"
        backend_secret = "{BACKEND_SECRET}"
        connect_proxy = "{address}/connect"
        [[channel]]
        name = "own:*"
        subscribe = "token"
        presence = true
        [[channel]]
        name = "*"
        "#
    )
}

/// Lets clients in that have the cookie `good`.
fn doorman() -> Operator {
    Operator::new(|asked| {
        let asked = asked.json();
        let answer = match asked["headers"]["cookie"].as_str() {
            Some("a=b; session=good") => json!({
                "allow": true, "user": "ann", "info": {"name": "Ann"}, "channels": ["own:ann"], "subscribe": ["own:*"],
                "expires_in": 3600, "data": {"theme": "dark"},
            }),
            Some("session=later") => json!({"allow": false, "code": 4000, "reason": "come back"}),
            Some("session=broken") => json!({"allow": "yes"}),
            _ => json!({"allow": false}),
        };
        (200, answer.to_string())
    })
}

/// A client that has asked for a WebSocket, with this cookie.
fn open(rig: &Rig, path: &str, cookie: &str) -> Client {
    let mut harness = rig.connect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: {cookie}\r\nX-Secret: x\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    harness.receive(request.as_bytes());
    Client::of(harness)
}

fn token(channels: &[&str]) -> String {
    let claims = Claims {
        user: Some("bob".into()),
        channels: channels.iter().map(|name| name.parse().unwrap()).collect(),
        subscribe: vec![Pattern::try_from("own:b*".to_owned()).unwrap()],
        ..Claims::default()
    };
    Secret::new(SECRET).unwrap().sign(&claims)
}

#[test]
fn the_back_end_lets_a_client_in() {
    let operator = doorman();
    let rig = Rig::new(&rules(&operator.address));
    let mut client = open(&rig, "/ws?room=1", "a=b; session=good");
    let welcome = wait(&mut client);
    let expected = json!({"type": "welcome", "client": "test.0.0-1", "node": "test.0", "worker": 0, "user": "ann",
                          "expires_in": welcome["expires_in"], "data": {"theme": "dark"}});
    assert_eq!(welcome, expected);
    assert!(
        (3590..=3600).contains(&welcome["expires_in"].as_u64().unwrap()),
        "{welcome}"
    );
    // The server subscribes the client.
    let subscribed = client.hear();
    assert_eq!(
        (&subscribed["type"], &subscribed["channel"], &subscribed["id"]),
        (&json!("subscribed"), &json!("own:ann"), &Value::Null)
    );
    let presence = client.ask(r#"{"type":"presence","id":1,"channel":"own:ann"}"#);
    let there = json!([{"client": "test.0.0-1", "user": "ann", "info": {"name": "Ann"}}]);
    assert_eq!(presence["clients"], there);
    let Asked { path, .. } = &operator.until(|asked| !asked.is_empty())[0];
    assert_eq!(path, "/connect");
    // What the back end sees of the request: no field that it does not need.
    let asked = operator.until(|asked| !asked.is_empty())[0].json();
    let seen = json!({"client": "test.0.0-1", "target": "/ws?room=1", "headers": {"cookie": "a=b; session=good"}});
    assert_eq!(asked, seen);
}

#[test]
fn or_refuses_it() {
    let operator = doorman();
    let rig = Rig::new(&rules(&operator.address));
    for (cookie, code) in [("x=y", 3507), ("session=later", 4000), ("session=broken", 1013)] {
        let mut client = open(&rig, "/ws", cookie);
        // Before the answer nothing is done.
        client.say(r#"{"type":"subscribe","id":1,"channel":"a"}"#);
        let mut messages = vec![wait(&mut client)];
        if messages[0]["close"].is_null() {
            messages.push(wait(&mut client));
        }
        let early = messages.iter().any(|message| message["code"] == "unavailable");
        assert!(early || messages[0]["close"] == code, "{messages:?}");
        assert!(
            messages.iter().any(|message| message["close"] == code),
            "{cookie}: {messages:?}"
        );
    }
    // A client with a token is not asked about; a reader of events cannot be.
    let mut client = rig.client(&format!("?token={}", token(&[])));
    assert_eq!(client.ask(r#"{"type":"ping","id":1}"#)["type"], "pong");
    let (status, body) = rig.ask("GET /events?channel=a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        status == 401 && body.contains("not asked about event streams"),
        "{status} {body}"
    );
    assert_eq!(operator.until(|asked| asked.len() >= 3).len(), 3);
}

#[test]
fn clients_of_centrifugo_as_well() {
    let operator = doorman();
    let rig = Rig::new(&rules(&operator.address));
    let connect = r#"{"id":1,"connect":{"data":{"x":1},"subs":{"news":{}}}}"#;
    let mut client = open(&rig, "/connection/websocket", "a=b; session=good");
    client.say(connect);
    let answer = wait(&mut client);
    assert_eq!(
        (&answer["id"], &answer["connect"]["data"]),
        (&json!(1), &json!({"theme": "dark"})),
        "{answer}"
    );
    assert!(answer["connect"]["ttl"].as_u64().unwrap() > 3000, "{answer}");
    let pushed = client.all();
    let channels: Vec<_> = pushed
        .iter()
        .map(|push| push["push"]["channel"].as_str().unwrap())
        .collect();
    assert_eq!(channels, ["news", "own:ann"]);
    assert_eq!(
        operator.until(|asked| !asked.is_empty())[0].json()["data"],
        json!({"x": 1})
    );
    let mut client = open(&rig, "/connection/websocket", "session=later");
    client.say(connect);
    assert_eq!(wait(&mut client), json!({"close": 4000}));
    let mut client = open(&rig, "/connection/websocket", "session=broken");
    client.say(connect);
    assert_eq!(wait(&mut client)["error"]["code"], 100);
    // A stream of events.
    let mut reader = rig.connect();
    reader.receive(b"GET /connection/uni_sse HTTP/1.1\r\nHost: a\r\nCookie: a=b; session=good\r\n\r\n");
    let mut text = String::new();
    for _ in 0..1000 {
        reader.pump();
        text.push_str(&String::from_utf8_lossy(&reader.take_sent()));
        if text.contains("own:ann") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(text.contains(r#""theme":"dark""#) && text.contains("own:ann"), "{text}");
}

#[test]
fn tokens_name_channels_that_the_server_subscribes_to() {
    let rig = Rig::new(
        "secret = \"0123456789abcdef0123456789abcdef\"\napi_token = \"let-me-in\"\n[[channel]]\nname = \"own:*\"\nsubscribe = \"token\"",
    );
    let mut client = rig.client("");
    client.say(&json!({"type": "auth", "id": 1, "token": token(&["own:bob", "own:x", "none"])}).to_string());
    let heard = client.all();
    assert_eq!(heard[0]["type"], "authorized");
    let [subscribed, forbidden, missing] = [&heard[1], &heard[2], &heard[3]];
    assert_eq!(
        (&subscribed["type"], &subscribed["offset"]),
        (&json!("subscribed"), &json!(0))
    );
    assert_eq!(
        (&forbidden["type"], &forbidden["code"]),
        (&json!("unsubscribed"), &json!("forbidden"))
    );
    assert_eq!(missing["code"], "no-such-channel");
    rig.publish("own:bob", "1");
    assert_eq!(client.hear()["offset"], 1);
    // The client may ask for the channel itself, from its position, once.
    let epoch = subscribed["epoch"].as_str().unwrap();
    let subscribe = format!(r#"{{"type":"subscribe","id":2,"channel":"own:bob","epoch":"{epoch}","offset":0}}"#);
    let answer = client.ask(&subscribe);
    assert_eq!(
        (&answer["id"], &answer["recovered"], &answer["offset"]),
        (&json!(2), &json!(true), &json!(1))
    );
    assert_eq!(client.ask(&subscribe)["code"], "already-subscribed");
    rig.publish("own:bob", "2");
    assert_eq!(client.all().len(), 1);
}
