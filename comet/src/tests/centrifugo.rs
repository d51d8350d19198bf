//! Centrifugo's protocol.

use serde_json::{Value, json};

use super::api::{call, token};
use super::{Client, Rig, SECRET, answer};
use crate::token::{Claims, Date, Secret};

const RULES: &str = r#"
    api_token = "let-me-in"
    secret = "0123456789abcdef0123456789abcdef"
    [[channel]]
    name = "room:*"
    presence = true
    join_leave = true
    publish = "anyone"
    [[channel]]
    name = "private"
    subscribe = "token"
    [[channel]]
    name = "score"
    delta = true
    [[channel]]
    name = "news*"
    history = 3
    slow = "catch-up"
"#;

/// A client that has not connected.
fn open(rig: &Rig) -> Client {
    let mut harness = rig.connect();
    harness.receive(
        b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    Client::of(harness)
}

pub(super) fn connected(rig: &Rig, token: &str) -> Client {
    let mut client = open(rig);
    let answer = client.ask(&json!({"id": 1, "connect": {"token": token}}).to_string());
    assert_eq!(
        (&answer["id"], answer["connect"].is_object()),
        (&json!(1), true),
        "{answer}"
    );
    client
}

/// The answer to a command with this content.
fn ask(client: &mut Client, kind: &str, content: &Value) -> Value {
    client.ask(&json!({"id": 7, kind: content}).to_string())
}

fn code(answer: &Value) -> u64 {
    answer["error"]["code"].as_u64().unwrap_or(0)
}

#[test]
fn a_client_connects_subscribes_and_hears() {
    let rig = Rig::new(RULES);
    let mut client = connected(&rig, &token("ann", None));
    let answer = ask(&mut client, "subscribe", &json!({"channel": "news"}));
    let expected = json!({"recoverable": true, "epoch": "100", "offset": 0, "positioned": true});
    assert_eq!(answer, json!({"id": 7, "subscribe": expected}));
    call(
        &rig,
        "/api/publish",
        &json!({"channel": "news", "data": {"a": 1}, "user": "bob"}),
    );
    let info = json!({"user": "bob", "client": ""});
    let publication = json!({"data": {"a": 1}, "offset": 1, "info": info});
    assert_eq!(client.hear(), json!({"push": {"channel": "news", "pub": publication}}));
    assert_eq!(code(&ask(&mut client, "subscribe", &json!({"channel": "news"}))), 105);
    assert_eq!(
        ask(&mut client, "unsubscribe", &json!({"channel": "news"})),
        json!({"id": 7, "unsubscribe": {}})
    );
    assert_eq!(
        ask(&mut client, "unsubscribe", &json!({"channel": "news"})),
        json!({"id": 7, "unsubscribe": {}})
    );
    // Several commands in one message.
    client.say("{\"id\":8,\"subscribe\":{\"channel\":\"news1\"}}\n{\"id\":9,\"ping\":{}}\n");
    assert_eq!(
        (client.hear()["id"].clone(), client.hear()),
        (json!(8), json!({"id": 9, "ping": {}}))
    );
    assert_eq!(client.next(), None);
}

#[test]
fn errors_and_disconnects_have_the_codes_of_centrifugo() {
    let rig = Rig::new(RULES);
    let mut client = connected(&rig, "");
    for (kind, content, expected) in [
        ("subscribe", json!({"channel": "a b"}), 107),
        ("subscribe", json!({"channel": "nowhere"}), 102),
        ("subscribe", json!({"channel": "private"}), 103),
        ("subscribe", json!({"channel": "news", "token": "x"}), 108),
        ("publish", json!({"channel": "news", "data": 1}), 103),
        ("presence", json!({"channel": "news"}), 108),
        ("presence_stats", json!({"channel": "news"}), 108),
        ("history", json!({"channel": "private"}), 103),
        ("rpc", json!({"method": "x"}), 104),
        ("sub_refresh", json!({"channel": "news", "token": "x"}), 108),
    ] {
        let answer = ask(&mut client, kind, &content);
        assert_eq!(
            (&answer["id"], code(&answer)),
            (&json!(7), expected),
            "{kind} {content}: {answer}"
        );
    }
    for (first, second, expected) in [
        ("nonsense", "", 3501),
        ("[]", "", 3501),
        (r#"{"id":1,"subscribe":{"channel":"news"}}"#, "", 3501),
        (r#"{"connect":{}}"#, "", 3501),
        (r#"{"id":1,"connect":{"token":"x"}}"#, "", 3500),
        (r#"{"id":1,"connect":{}}"#, r#"{"id":2,"connect":{}}"#, 3501),
        (r#"{"id":1,"connect":{}}"#, r#"{"id":2,"refresh":{"token":"x"}}"#, 3500),
        (r#"{"id":1,"connect":{}}"#, r#"{"id":2,"dance":{}}"#, 3501),
        (r#"{"id":1,"connect":{"subs":{"private":{}}}}"#, "", 3507),
    ] {
        let mut client = open(&rig);
        client.say(first);
        if !second.is_empty() {
            assert_eq!(client.hear()["id"], 1, "{first}");
            client.say(second);
        }
        let last = client.all().pop().unwrap();
        assert_eq!(last, json!({ "close": expected }), "{first} {second}");
    }
}

#[test]
fn what_was_missed_is_recovered_or_said_to_be_lost() {
    let rig = Rig::new(RULES);
    for number in 1..=5 {
        rig.publish("news", &number.to_string());
    }
    let mut client = connected(&rig, "");
    for (epoch, offset, recovered, offsets) in [
        ("100", 3, true, vec![4, 5]),
        ("100", 5, true, vec![]),
        ("100", 1, false, vec![3, 4, 5]),
        ("other", 5, false, vec![3, 4, 5]),
        ("", 0, false, vec![3, 4, 5]),
    ] {
        let since = json!({"channel": "news", "recover": true, "epoch": epoch, "offset": offset});
        let answer = ask(&mut client, "subscribe", &since)["subscribe"].take();
        assert_eq!(answer["recovered"] == json!(true), recovered, "{answer}");
        assert_eq!(
            (&answer["was_recovering"], &answer["offset"]),
            (&json!(true), &json!(5)),
            "{answer}"
        );
        let given = answer["publications"].as_array().cloned().unwrap_or_default();
        assert_eq!(super::offsets(&given), offsets, "{answer}");
        ask(&mut client, "unsubscribe", &json!({"channel": "news"}));
    }
}

/// The protocol has no word for a loss in the middle: the subscription ends, so that the client subscribes again and learns of it.
#[test]
fn deltas_are_for_those_who_ask() {
    let rig = Rig::new(RULES);
    let score = |points: u64| format!(r#"{{"game":"a rather long name of a game","home":{points},"away":0}}"#);
    rig.publish("score", &score(1));
    let mut client = connected(&rig, "");
    // Only in channels whose rule says so.
    let answer = ask(&mut client, "subscribe", &json!({"channel": "news", "delta": "fossil"}));
    assert_eq!(answer["subscribe"]["delta"], Value::Null);
    let answer = ask(
        &mut client,
        "subscribe",
        &json!({"channel": "score", "delta": "fossil"}),
    );
    assert_eq!(answer["subscribe"]["delta"], true);
    // And only for those who ask.
    let mut other = connected(&rig, "");
    let answer = ask(&mut other, "subscribe", &json!({"channel": "score", "delta": "other"}));
    assert_eq!(answer["subscribe"]["delta"], Value::Null);
    for points in 2..=3 {
        rig.publish("score", &score(points));
    }
    rig.publish("score", "7");
    let pushed = client.all();
    let publication = |index: usize| &pushed[index]["push"]["pub"];
    // The client has none before, so the first comes whole: as text, to which the next is a delta.
    assert_eq!(*publication(0), json!({"offset": 2, "data": score(2)}));
    let delta = publication(1)["data"].as_str().unwrap();
    assert!(
        publication(1)["delta"] == true && delta.len() < 30 && delta.contains(":3"),
        "{delta}"
    );
    // Where a delta is longer, there is none.
    assert_eq!(*publication(2), json!({"offset": 4, "data": "7"}));
    assert_eq!(other.all()[1]["push"]["pub"]["data"]["home"], 3);
    // Recovered publications come whole, and the next is a delta to the last of them.
    let mut back = connected(&rig, "");
    let epoch = answer["subscribe"]["epoch"].as_str().unwrap();
    let since = json!({"channel": "score", "delta": "fossil", "recover": true, "epoch": epoch, "offset": 2});
    let answer = ask(&mut back, "subscribe", &since);
    assert_eq!(
        answer["subscribe"]["publications"],
        json!([{"offset": 3, "data": score(3)}, {"offset": 4, "data": "7"}])
    );
    rig.publish("score", "[7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]");
    rig.publish("score", "[7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 7, 7, 7, 7]");
    let last = &back.all()[1]["push"]["pub"];
    assert_eq!((&last["delta"], &last["offset"]), (&json!(true), &json!(6)));
}

#[test]
fn a_loss_ends_the_subscription() {
    let rig = Rig::new(RULES);
    let mut client = connected(&rig, "");
    ask(&mut client, "subscribe", &json!({"channel": "news"}));
    client.harness.set_window(Some(0));
    for number in 1..=20 {
        rig.publish("news", &format!("\"{number}{}\"", "x".repeat(900)));
        client.harness.pump();
    }
    client.harness.set_window(None);
    let heard = client.all();
    let last = heard.last().unwrap();
    let ended = json!({"code": 2500, "reason": "insufficient state"});
    assert_eq!(last, &json!({"push": {"channel": "news", "unsubscribe": ended}}));
    let offsets: Vec<_> = heard
        .iter()
        .filter_map(|push| push["push"]["pub"]["offset"].as_u64())
        .collect();
    assert_eq!(
        offsets,
        (1..=offsets.len() as u64).collect::<Vec<_>>(),
        "without gaps up to the end"
    );
    let since = json!({"channel": "news", "recover": true, "epoch": "100", "offset": offsets.len()});
    let answer = ask(&mut client, "subscribe", &since);
    assert_eq!(answer["subscribe"]["was_recovering"], true);
    assert_eq!(answer["subscribe"]["recovered"], Value::Null, "{answer}");
}

#[test]
fn presence_history_and_events_of_others() {
    let rig = Rig::new(RULES);
    let mut ann = connected(&rig, &token("ann", Some(r#"{"name":"Ann"}"#)));
    ask(&mut ann, "subscribe", &json!({"channel": "room:1"}));
    let info = json!({"user": "ann", "client": "test.0.0-1", "conn_info": {"name": "Ann"}});
    assert_eq!(
        ann.hear(),
        json!({"push": {"channel": "room:1", "join": {"info": info}}})
    );
    let mut bob = connected(&rig, "");
    ask(&mut bob, "subscribe", &json!({"channel": "room:1"}));
    let other = json!({"user": "", "client": "test.0.0-2"});
    assert_eq!(
        ann.hear(),
        json!({"push": {"channel": "room:1", "join": {"info": other}}})
    );
    let answer = ask(&mut ann, "presence", &json!({"channel": "room:1"}));
    let there = json!({"test.0.0-1": info, "test.0.0-2": other});
    assert_eq!(answer["presence"], json!({ "presence": there }));
    let answer = ask(&mut ann, "presence_stats", &json!({"channel": "room:1"}));
    assert_eq!(answer["presence_stats"], json!({"num_clients": 2, "num_users": 2}));
    for number in 1..=5 {
        bob.say(&json!({"id": 9, "publish": {"channel": "room:1", "data": number}}).to_string());
    }
    bob.all();
    ann.all();
    for (content, expected) in [
        (json!({}), vec![]),
        (json!({"limit": -1}), vec![1, 2, 3, 4, 5]),
        (json!({"limit": 2}), vec![1, 2]),
        (json!({"limit": 2, "reverse": true}), vec![5, 4]),
        (json!({"limit": 2, "since": {"offset": 2, "epoch": "101"}}), vec![3, 4]),
        (
            json!({"limit": 2, "since": {"offset": 3, "epoch": "101"}, "reverse": true}),
            vec![2, 1],
        ),
    ] {
        let mut content = content;
        content["channel"] = "room:1".into();
        let answer = ask(&mut ann, "history", &content);
        let history = &answer["history"];
        assert_eq!(
            super::offsets(history["publications"].as_array().unwrap()),
            expected,
            "{content}"
        );
        assert_eq!(history["offset"], 5);
    }
    drop(bob);
    assert_eq!(
        ann.hear(),
        json!({"push": {"channel": "room:1", "leave": {"info": other}}})
    );
}

fn token_for(milliseconds: u64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let claims = Claims {
        user: Some("ann".into()),
        expires: Some(Date(now + std::time::Duration::from_millis(milliseconds))),
        channels: vec!["news".parse().unwrap()],
        ..Claims::default()
    };
    Secret::new(SECRET).unwrap().sign(&claims)
}

#[test]
fn tokens_are_refreshed_before_they_end() {
    let rig = Rig::new(RULES);
    let mut client = open(&rig);
    let answer = client.ask(&json!({"id": 1, "connect": {"token": token_for(100_500)}}).to_string());
    assert_eq!(
        (&answer["connect"]["expires"], &answer["connect"]["ttl"]),
        (&json!(true), &json!(75)),
        "{answer}"
    );
    // The token names a channel to which the client is subscribed as it connects.
    assert_eq!(client.hear()["push"]["channel"], "news");
    let answer = ask(&mut client, "refresh", &json!({"token": token_for(1_000_500)}));
    assert_eq!(
        (&answer["refresh"]["expires"], &answer["refresh"]["ttl"]),
        (&json!(true), &json!(975)),
        "{answer}"
    );
    client.say(&json!({"id": 2, "refresh": {"token": token_for(0)}}).to_string());
    assert_eq!(client.hear(), json!({"close": 3005}));
    // A token whose time is over is an error, so that the client gets another; one that ends closes the connection.
    let answer = open(&rig).ask(&json!({"id": 1, "connect": {"token": token_for(0)}}).to_string());
    assert_eq!(code(&answer), 109);
    let mut client = connected(&rig, &token_for(200));
    client.all();
    std::thread::sleep(std::time::Duration::from_millis(220));
    rig.publish("news", "1");
    assert_eq!(client.all(), [json!({"close": 3005})]);
}

#[test]
fn signs_of_life_are_asked_for() {
    let rig = Rig::new(RULES);
    let (mut lively, mut silent, mut stale) = (connected(&rig, ""), connected(&rig, ""), open(&rig));
    for _ in 0..2 {
        rig.node.beat();
        if let Some(ping) = lively.next() {
            assert_eq!(ping, json!({}));
            lively.say("{}");
        }
    }
    assert_eq!(lively.next(), None);
    assert_eq!(silent.all(), [json!({}), json!({"close": 3012})]);
    assert_eq!(stale.all(), [json!({"close": 3502})]);
}

#[test]
fn orders_of_the_api_hold() {
    let rig = Rig::new(RULES);
    rig.node.start().unwrap();
    let mut client = connected(&rig, &token("ann", None));
    ask(&mut client, "subscribe", &json!({"channel": "news"}));
    call(
        &rig,
        "/api/unsubscribe",
        &json!({"user": "ann", "channel": "news", "code": 2100, "reason": "moved"}),
    );
    let ended = json!({"code": 2100, "reason": "moved"});
    assert_eq!(
        client.hear(),
        json!({"push": {"channel": "news", "unsubscribe": ended}})
    );
    call(&rig, "/api/disconnect", &json!({"user": "ann"}));
    assert_eq!(client.hear(), json!({"close": 3503}));
}

/// The events of a stream.
fn events(harness: &mut protocol::testing::Harness<crate::web::Connection>) -> Vec<Value> {
    harness.pump();
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    let data = sent.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn event_streams_have_the_same_content() {
    let rig = Rig::new(RULES);
    rig.node.start().unwrap();
    rig.publish("news", "1");
    let connect =
        json!({"token": token("ann", None), "subs": {"news": {"recover": true, "epoch": "100", "offset": 0}}});
    let query =
        percent_encoding::utf8_percent_encode(&connect.to_string(), percent_encoding::NON_ALPHANUMERIC).to_string();
    let body = connect.to_string();
    for request in [
        format!("GET /connection/uni_sse?cf_connect={query} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!(
            "POST /connection/uni_sse HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    ] {
        let mut reader = rig.connect();
        reader.receive(request.as_bytes());
        let heard = events(&mut reader);
        assert_eq!(heard.len(), 3, "{heard:?}");
        assert!(
            heard[0]["connect"]["client"].is_string() && heard[0]["connect"]["pong"].is_null(),
            "{heard:?}"
        );
        assert_eq!(
            (&heard[1]["channel"], &heard[1]["subscribe"]["offset"]),
            (&json!("news"), &json!(0)),
            "{heard:?}"
        );
        assert_eq!(heard[2], json!({"channel": "news", "pub": {"data": 1, "offset": 1}}));
        rig.node.beat();
        assert_eq!(events(&mut reader), [json!({})]);
        // The server stops: the client is told, and comes back.
        reader.stop();
        assert_eq!(
            events(&mut reader),
            [json!({"disconnect": {"code": 3001, "reason": "shutdown"}})]
        );
    }
    let mut reader = rig.connect();
    reader.receive(format!("GET /connection/uni_sse?cf_connect={query} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    events(&mut reader);
    rig.publish("news", "2");
    assert_eq!(
        events(&mut reader),
        [json!({"channel": "news", "pub": {"data": 2, "offset": 2}})]
    );
    call(
        &rig,
        "/api/disconnect",
        &json!({"user": "ann", "code": 4500, "reason": "x"}),
    );
    assert_eq!(
        events(&mut reader),
        [json!({"disconnect": {"code": 4500, "reason": "x"}})]
    );
    // What is refused says why.
    for (content, status) in [("x", 400), ("[]", 400)] {
        let mut reader = rig.connect();
        let length = content.len();
        reader.receive(
            format!("POST /connection/uni_sse HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}")
                .as_bytes(),
        );
        let (given, body) = answer(&reader.take_sent());
        assert!(given == status && body.contains("connect command"), "{given}: {body}");
    }
    let mut reader = rig.connect();
    reader.receive(b"GET /connection/uni_sse?cf_connect=%7B%22token%22%3A%22x%22%7D HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        events(&mut reader),
        [json!({"disconnect": {"code": 3500, "reason": "invalid token"}})]
    );
}
