//! WebSocket clients.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Client, Rig, SECRET, offsets};
use crate::broker::Done;
use crate::channel::{Name, Pattern};
use crate::publication::Draft;
use crate::token::{Claims, Date, Secret};

const OPEN: &str = r#"
    api_token = "let-me-in"
    [[channel]]
    name = "*"
    publish = "anyone"
    presence = true
    history = 5
"#;

pub(super) fn subscribe(client: &mut Client, channel: &str) -> (String, u64) {
    let answer = client.ask(&format!(r#"{{"type":"subscribe","id":1,"channel":"{channel}"}}"#));
    assert_eq!(answer["type"], "subscribed", "{answer}");
    (
        answer["epoch"].as_str().unwrap().to_owned(),
        answer["offset"].as_u64().unwrap(),
    )
}

#[test]
fn what_is_published_comes_to_every_subscriber_in_order() {
    let rig = Rig::new(OPEN);
    let (mut ann, mut bob) = (rig.client(""), rig.client(""));
    let (epoch, offset) = subscribe(&mut ann, "news");
    assert_eq!(offset, 0);
    subscribe(&mut bob, "news");
    subscribe(&mut bob, "other");
    for number in 1..=3 {
        ann.say(&format!(
            r#"{{"type":"publish","id":{number},"channel":"news","data":{{"n":{number}}}}}"#
        ));
    }
    let heard = ann.all();
    let published: Vec<_> = heard.iter().filter(|message| message["type"] == "published").collect();
    assert_eq!(
        published,
        (1..=3)
            .map(|offset| json!({"type":"published","id":offset,"epoch":epoch,"offset":offset}))
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>()
    );
    for heard in [heard, bob.all()] {
        let publications: Vec<_> = heard
            .into_iter()
            .filter(|message| message["type"] == "publication")
            .collect();
        let expected =
            (1..=3).map(|offset| json!({"type":"publication","channel":"news","offset":offset,"data":{"n":offset}}));
        assert_eq!(publications, expected.collect::<Vec<_>>());
    }
    let answer = bob.ask(r#"{"type":"unsubscribe","id":9,"channel":"news"}"#);
    assert_eq!(answer, json!({"type":"unsubscribed","id":9,"channel":"news"}));
    rig.publish("news", "4");
    assert_eq!(offsets(&ann.all()), [4]);
    assert_eq!(bob.next(), None);
}

#[test]
fn one_who_comes_back_gets_what_it_missed() {
    let rig = Rig::new(OPEN);
    let mut client = rig.client("");
    let (epoch, _) = subscribe(&mut client, "news");
    rig.publish("news", "1");
    assert_eq!(offsets(&client.all()), [1]);
    drop(client);
    rig.publish("news", "2");
    rig.publish("news", "3");
    let mut client = rig.client("");
    let resume = |epoch: &str, offset: u64| {
        format!(r#"{{"type":"subscribe","channel":"news","epoch":"{epoch}","offset":{offset}}}"#)
    };
    let answer = client.ask(&resume(&epoch, 1));
    assert_eq!((&answer["recovered"], &answer["offset"]), (&json!(true), &json!(3)));
    assert_eq!(
        answer["publications"],
        json!([{"offset":2,"data":2},{"offset":3,"data":3}])
    );
    rig.publish("news", "4");
    assert_eq!(offsets(&client.all()), [4]);
    // The answer tells that a position is of another epoch of the channel, of the future, or too long ago.
    for _ in 5..=9 {
        rig.publish("news", "0");
    }
    for (epoch, offset) in [("ffff", 4), (&epoch, 99), (&epoch, 3)] {
        let answer = rig.client("").ask(&resume(epoch, offset));
        assert_eq!(
            (&answer["recovered"], &answer["offset"]),
            (&json!(false), &json!(9)),
            "{answer}"
        );
        // The client gets the existing publications all the same, like clients that were connected.
        assert_eq!(offsets(answer["publications"].as_array().unwrap()), [5, 6, 7, 8, 9]);
    }
    let answer = rig.client("").ask(&resume(&epoch, 4));
    assert_eq!(
        (
            &answer["recovered"],
            offsets(answer["publications"].as_array().unwrap())
        ),
        (&json!(true), vec![5, 6, 7, 8, 9])
    );
    let answer = rig.client("").ask(r#"{"type":"subscribe","channel":"news","limit":2}"#);
    assert_eq!(offsets(answer["publications"].as_array().unwrap()), [8, 9]);
}

/// A client that has stopped reading, with a subscription and `publications` publications.
fn slow(rig: &Rig, channel: &str, publications: u64) -> Client {
    let mut client = rig.client("");
    subscribe(&mut client, channel);
    client.harness.set_window(Some(0));
    let data = format!("\"{}\"", "x".repeat(900));
    for _ in 0..publications {
        assert_eq!(rig.publish(channel, &data).0, 200);
        client.harness.pump();
    }
    client
}

fn slowness(slow: &str, history: usize) -> Rig {
    Rig::new(&format!(
        "api_token = \"let-me-in\"\n[[channel]]\nname = \"*\"\nslow = {slow:?}\nhistory = {history}"
    ))
}

#[test]
fn a_slow_client_catches_up_from_the_history() {
    let rig = slowness("catch-up", 100);
    let mut client = slow(&rig, "news", 50);
    assert!(client.harness.held() < 6000, "{}", client.harness.held());
    client.harness.set_window(None);
    assert_eq!(offsets(&client.all()), (1..=50).collect::<Vec<_>>());
    rig.publish("news", "51");
    assert_eq!(offsets(&client.all()), [51]);
    assert_eq!(rig.node.counters.missed.get(), 0);
}

#[test]
fn a_slow_client_is_told_what_has_left_the_history() {
    let rig = slowness("catch-up", 10);
    let mut client = slow(&rig, "news", 50);
    client.harness.set_window(None);
    let heard = client.all();
    let missed: Vec<_> = heard.iter().filter(|message| message["type"] == "missed").collect();
    let [missed] = missed[..] else { panic!("{missed:?}") };
    let (from, to) = (missed["from"].as_u64().unwrap(), missed["to"].as_u64().unwrap());
    assert_eq!(to, 40);
    let expected: Vec<u64> = (1..from).chain(41..=50).collect();
    assert_eq!(offsets(&heard), expected);
    assert_eq!(rig.node.counters.missed.get(), to - from + 1);
}

#[test]
fn a_slow_client_may_get_the_newest_only() {
    let rig = slowness("skip", 100);
    let mut client = slow(&rig, "news", 50);
    client.harness.set_window(None);
    let heard = client.all();
    let missed: Vec<_> = heard.iter().filter(|message| message["type"] == "missed").collect();
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert_eq!(missed[0]["to"], 49);
    assert_eq!(offsets(&heard).last(), Some(&50));
}

#[test]
fn c07_a_slow_client_may_be_closed() {
    let rig = slowness("close", 100);
    let mut client = slow(&rig, "news", 50);
    client.harness.set_window(None);
    assert_eq!(client.all().last(), Some(&json!({"close":1013})));
    assert_eq!(rig.node.counters.too_slow.get(), 1);
    client.harness.eof();
    assert_eq!(rig.node.channels(), []);
}

#[test]
fn c07_a_full_mailbox_loses_nothing() {
    let rig =
        Rig::new("api_token = \"let-me-in\"\n[[channel]]\nname = \"*\"\nhistory = 100000\nhistory_bytes = 100000000");
    let mut client = rig.client("");
    subscribe(&mut client, "news");
    // More messages than a harness's mailbox holds, without reading any.
    const MANY: u64 = 70_000;
    let (channel, keep) = (
        "news".parse().unwrap(),
        rig.node.config.rules.of(&"news".parse().unwrap()).unwrap().keep,
    );
    for _ in 0..MANY {
        let draft = Draft::new(Name::clone(&channel), None, RawValue::NULL);
        rig.node.broker().publish(draft, keep, Done::nobody());
    }
    client.harness.pump();
    rig.node.look_after(std::time::Instant::now());
    let heard = offsets(&client.all());
    assert!(heard.iter().copied().eq(1..=MANY), "{} came", heard.len());
}

#[test]
fn c01_pages_of_other_sites_are_refused() {
    let ask = |rig: &Rig, origin: &str| {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: here.example\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        rig.ask(&request).0
    };
    let rig = Rig::new("");
    assert_eq!(ask(&rig, "http://here.example"), 101);
    for origin in [
        "http://elsewhere.example",
        "http://here.example.elsewhere.example",
        "null",
    ] {
        assert_eq!(ask(&rig, origin), 403, "{origin}");
    }
    let rig = Rig::new("origins = [\"https://app.example\"]");
    assert_eq!(ask(&rig, "https://app.example"), 101);
    assert_eq!(ask(&rig, "http://here.example"), 403);
}

#[test]
fn c03_rights_come_from_tokens() {
    let rig = Rig::new(&format!(
        "secret = {SECRET:?}\n[[channel]]\nname = \"room:*\"\nsubscribe = \"token\"\npublish = \"token\"\n\
         [[channel]]\nname = \"news\"\npublish = \"nobody\""
    ));
    let room = || vec![Pattern::try_from("room:1".to_owned()).unwrap()];
    let claims = Claims {
        user: Some("ann".into()),
        subscribe: room(),
        publish: room(),
        ..Claims::default()
    };
    let token = Secret::new(SECRET).unwrap().sign(&claims);
    let mut guest = rig.client("");
    for (request, code) in [
        (r#"{"type":"subscribe","channel":"room:1"}"#, "forbidden"),
        (r#"{"type":"publish","channel":"room:1","data":1}"#, "forbidden"),
        (r#"{"type":"publish","channel":"news","data":1}"#, "forbidden"),
        (r#"{"type":"subscribe","channel":"elsewhere"}"#, "no-such-channel"),
        (r#"{"type":"subscribe","channel":"$nodes"}"#, "forbidden"),
        (r#"{"type":"publish","channel":"$nodes","data":1}"#, "forbidden"),
        (r#"{"type":"presence","channel":"news"}"#, "forbidden"),
        (r#"{"type":"auth","token":"x.y.z"}"#, "forbidden"),
        (r#"{"type":"unsubscribe","channel":"news"}"#, "not-subscribed"),
        ("nonsense", "bad-request"),
    ] {
        let answer = guest.ask(request);
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&json!("error"), &json!(code)),
            "{request}"
        );
    }
    subscribe(&mut guest, "news");
    assert_eq!(
        guest.ask(r#"{"type":"subscribe","channel":"news"}"#)["code"],
        "already-subscribed"
    );
    let answer = guest.ask(&format!(r#"{{"type":"auth","id":5,"token":"{token}"}}"#));
    assert_eq!(answer, json!({"type":"authorized","id":5,"user":"ann"}));
    subscribe(&mut guest, "room:1");
    let mut ann = rig.client(&format!("?token={token}"));
    ann.say(r#"{"type":"publish","channel":"room:1","data":"hi"}"#);
    assert_eq!(guest.hear()["user"], "ann");
    assert_eq!(
        ann.ask(r#"{"type":"subscribe","channel":"room:2"}"#)["type"],
        "published"
    );
    assert_eq!(ann.hear()["code"], "forbidden");
    let (status, _) = rig.ask(
        "GET /ws?token=bad HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(status, 401);
}

#[test]
fn c05_a_token_whose_time_is_over_ends_the_connection() {
    let rig = Rig::new(&format!("secret = {SECRET:?}"));
    let expires = std::time::SystemTime::now() + std::time::Duration::from_millis(1100);
    let expires = expires.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = Claims {
        expires: Some(Date(std::time::Duration::from_secs(expires))),
        ..Claims::default()
    };
    let mut client = rig.client(&format!("?token={}", Secret::new(SECRET).unwrap().sign(&claims)));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(client.ask(r#"{"type":"ping"}"#), json!({"close":1008}));
}

#[test]
fn c06_limits_hold() {
    let rig = Rig::new("max_subscriptions = 2\nmax_channels = 3\nmax_requests = 2\nmax_message = 1000");
    let mut client = rig.client("");
    let subscribe = |channel: &str| format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#);
    assert_eq!(client.ask(&subscribe("a"))["type"], "subscribed");
    assert_eq!(client.ask(&subscribe("b"))["type"], "subscribed");
    assert_eq!(client.ask(&subscribe("c"))["code"], "too-many");
    let mut other = rig.client("");
    assert_eq!(other.ask(&subscribe("c"))["type"], "subscribed");
    assert_eq!(other.ask(&subscribe("d"))["code"], "too-many");
    for _ in 0..20 {
        client.say(r#"{"type":"ping"}"#);
    }
    let heard = client.all();
    assert_eq!(heard.iter().filter(|message| message["type"] == "pong").count(), 5);
    assert_eq!(heard.iter().filter(|message| message["code"] == "too-many").count(), 15);
    client.say(&format!(r#"{{"type":"ping","data":"{}"}}"#, "x".repeat(1000)));
    assert_eq!(client.hear(), json!({"close":1009}));
}

#[test]
fn one_sees_who_is_there() {
    let rig = Rig::new(OPEN);
    let (mut ann, mut bob) = (rig.client(""), rig.client(""));
    subscribe(&mut ann, "room");
    subscribe(&mut bob, "room");
    let answer = ann.ask(r#"{"type":"presence","id":3,"channel":"room"}"#);
    assert_eq!(answer["total"], 2);
    let mut clients: Vec<_> = answer["clients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|client| client["client"].clone())
        .collect();
    clients.sort_by_key(ToString::to_string);
    assert_eq!(clients, [json!("test.0.0-1"), json!("test.0.0-2")]);
    drop(bob);
    let answer = ann.ask(r#"{"type":"presence","id":4,"channel":"room"}"#);
    assert_eq!(
        answer,
        json!({"type":"presence","id":4,"channel":"room","total":1,"clients":[{"client":"test.0.0-1"}]})
    );
}

#[test]
fn history_is_read_without_subscribing() {
    let rig = Rig::new(OPEN);
    for number in 1..=7 {
        rig.publish("news", &number.to_string());
    }
    let answer = rig
        .client("")
        .ask(r#"{"type":"history","id":3,"channel":"news","limit":2}"#);
    assert_eq!((&answer["type"], &answer["offset"]), (&json!("history"), &json!(7)));
    assert_eq!(
        answer["publications"],
        json!([{"offset":6,"data":6},{"offset":7,"data":7}])
    );
}

#[test]
fn compressed_messages_are_prepared_once_and_read_back() {
    use proto_ws::handshake::client::Request;
    let rig = Rig::new(&OPEN.replacen("\n", "\ncompression = true\n", 1));
    let mut harness = rig.connect();
    let settings = proto_ws::deflate::Settings::default();
    let key = proto_ws::handshake::Key::new([7; 16]);
    let request = Request::new("a", "/ws").deflate(&settings);
    let mut head = protocol::bytes::BytesMut::new();
    request.write(&key, &mut head).unwrap();
    harness.receive(&head);
    let sent = String::from_utf8_lossy(harness.sent()).into_owned();
    assert!(sent.contains("Sec-WebSocket-Extensions: permessage-deflate"), "{sent}");
    harness.take_sent();
    let mut subscribe = vec![0x81, 0x80 | 39, 0, 0, 0, 0];
    subscribe.extend(br#"{"type":"subscribe","channel":"ticker"}"#);
    harness.receive(&subscribe);
    harness.take_sent();
    rig.publish("ticker", &format!("\"{}\"", "abc".repeat(300)));
    harness.pump();
    // RSV1, and far fewer bytes than the original 900.
    assert_eq!(harness.sent()[0], 0xc1);
    assert!(harness.sent().len() < 120, "{}", harness.sent().len());
}

#[test]
fn c08_long_answers_are_asked_for_one_after_the_other() {
    let rig = Rig::new(OPEN);
    let mut client = rig.client("");
    rig.publish("news", "1");
    let ask = |id: usize| format!(r#"{{"type":"history","id":{id},"channel":"news"}}"#);
    // They arrive together, before any answer.
    let together: Vec<u8> = (0..5).flat_map(|id| super::frame(&ask(id))).collect();
    client.harness.receive(&together);
    let heard = client.all();
    let count = |kind: &str| {
        heard
            .iter()
            .filter(|message| message["type"] == kind || message["code"] == kind)
            .count()
    };
    assert_eq!((count("history"), count("too-many")), (2, 3), "{heard:?}");
    assert_eq!(client.ask(&ask(6))["type"], "history");
}

#[test]
fn c08_to_read_makes_no_channel() {
    let rig = Rig::new("max_channels = 3");
    let mut client = rig.client("");
    for number in 0..20 {
        let ask = format!(r#"{{"type":"history","channel":"made-up-{number}"}}"#);
        assert_eq!(client.ask(&ask)["type"], "history");
    }
    assert_eq!(
        client.ask(r#"{"type":"subscribe","channel":"a"}"#)["type"],
        "subscribed"
    );
    assert_eq!(
        client.ask(r#"{"type":"subscribe","channel":"b"}"#)["type"],
        "subscribed"
    );
    // A channel without listeners makes room.
    client.ask(r#"{"type":"unsubscribe","channel":"a"}"#);
    assert_eq!(
        client.ask(r#"{"type":"subscribe","channel":"c"}"#)["type"],
        "subscribed"
    );
}

#[test]
fn one_far_behind_is_brought_up_bit_by_bit() {
    let rig =
        Rig::new("api_token = \"let-me-in\"\n[[channel]]\nname = \"*\"\nhistory = 100000\nhistory_bytes = 100000000");
    let mut client = rig.client("");
    let (epoch, _) = subscribe(&mut client, "news");
    drop(client);
    let data = format!("\"{}\"", "x".repeat(5000));
    for _ in 0..500 {
        assert_eq!(rig.publish("news", &data).0, 200);
    }
    let mut client = rig.client("");
    client.harness.set_window(Some(0));
    client.say(&format!(
        r#"{{"type":"subscribe","channel":"news","epoch":"{epoch}","offset":0}}"#
    ));
    assert!(client.harness.held() < 200_000, "{} bytes wait", client.harness.held());
    client.harness.set_window(None);
    let answer = client.hear();
    assert_eq!(answer["recovered"], true);
    let mut got = offsets(answer["publications"].as_array().unwrap());
    assert_eq!(got.last(), answer["offset"].as_u64().as_ref());
    got.extend(offsets(&client.all()));
    assert_eq!(got, (1..=500).collect::<Vec<_>>());
}

#[test]
fn a_wish_with_a_key_is_fulfilled_once() {
    let rig = Rig::new(OPEN);
    let mut client = rig.client("");
    let wish = r#"{"type":"publish","id":1,"channel":"news","data":1,"key":"order-7"}"#;
    let first = client.ask(wish);
    assert_eq!((&first["type"], &first["offset"]), (&json!("published"), &json!(1)));
    assert_eq!(client.ask(wish), first);
    let other = client.ask(r#"{"type":"publish","id":1,"channel":"news","data":1,"key":"order-8"}"#);
    assert_eq!(other["offset"], 2);
    let bad = client.ask(r#"{"type":"publish","id":1,"channel":"news","data":1,"key":"a b"}"#);
    assert_eq!(bad["code"], "bad-request");
}

/// Subscriptions are sorted by a tag of the channel: every channel is found, whatever was subscribed and unsubscribed before.
#[test]
fn each_of_many_subscriptions_is_found() {
    let rig = Rig::new(OPEN);
    let mut client = rig.client("");
    let channels: Vec<String> = (0..120).map(|number| format!("room:{number}")).collect();
    for channel in &channels {
        subscribe(&mut client, channel);
    }
    let again = client.ask(r#"{"type":"subscribe","id":1,"channel":"room:77"}"#);
    assert_eq!(again["code"], "already-subscribed", "{again}");
    for (index, channel) in channels.iter().enumerate() {
        if index % 3 == 0 {
            let answer = client.ask(&format!(r#"{{"type":"unsubscribe","id":1,"channel":"{channel}"}}"#));
            assert_eq!(answer["type"], "unsubscribed", "{answer}");
        }
    }
    for (index, channel) in channels.iter().enumerate() {
        rig.publish(channel, "1");
        let heard = client.next().map(|message| message["channel"].clone());
        assert_eq!(heard, (index % 3 != 0).then(|| json!(channel)));
    }
}
