//! The API for back ends: batches, orders to clients, pages, presence, and its description.

use serde_json::{Value, json};

use super::websocket::subscribe;
use super::{Rig, SECRET, answer};
use crate::channel::Pattern;
use crate::token::{Claims, Secret};

const RULES: &str = r#"
    api_token = "let-me-in"
    secret = "0123456789abcdef0123456789abcdef"
    [[channel]]
    name = "room:*"
    presence = true
    join_leave = true
    [[channel]]
    name = "news*"
    history = 30
"#;

pub(super) fn call(rig: &Rig, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer let-me-in\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, body) = rig.ask(&request);
    (status, serde_json::from_str(&body).unwrap())
}

pub(super) fn get(rig: &Rig, path: &str) -> (u16, Value) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer let-me-in\r\n\r\n");
    let (status, body) = rig.ask(&request);
    (status, serde_json::from_str(&body).unwrap())
}

pub(super) fn token(user: &str, info: Option<&str>) -> String {
    let claims = Claims {
        user: Some(user.into()),
        info: info.map(|info| serde_json::from_str(info).unwrap()),
        subscribe: vec![Pattern::any()],
        publish: vec![Pattern::any()],
        ..Claims::default()
    };
    Secret::new(SECRET).unwrap().sign(&claims)
}

fn user(rig: &Rig, user: &str) -> super::Client {
    rig.client(&format!("?token={}", token(user, None)))
}

#[test]
fn one_failing_command_of_a_batch_does_not_stop_the_others() {
    let rig = Rig::new(RULES);
    let commands = json!([
        {"publish": {"channel": "news", "data": 1, "key": "a"}},
        {"publish": {"channel": "other", "data": 1}},
        {"dance": {}},
        7,
        {"publish": {"channel": "news", "data": 1, "key": "a"}},
        {"history": {"channel": "news"}},
        {"presence": {"channel": "room:1"}},
        {"publish": {"channels": ["news", "news2", "other"], "data": 2}},
        {"disconnect": {}},
        {"channels": {}},
    ]);
    let (status, body) = call(&rig, "/api/batch", &json!({ "commands": commands }));
    assert_eq!(status, 200, "{body}");
    let replies = body["replies"].as_array().unwrap();
    let code = |index: usize| replies[index]["error"]["code"].as_str().unwrap_or_default();
    assert_eq!(replies.len(), 10);
    assert_eq!(replies[0], json!({"publish": {"epoch": "100", "offset": 1}}));
    assert_eq!(
        (code(1), code(2), code(3)),
        ("no-such-channel", "bad-request", "bad-request")
    );
    assert_eq!(replies[4], replies[0], "the same key");
    assert_eq!(replies[5]["history"]["offset"], 1, "{body}");
    assert_eq!(replies[6]["presence"]["total"], 0);
    let published = replies[7]["publish"]["publications"].as_array().unwrap();
    assert_eq!(published[0]["offset"], 2);
    assert_eq!(
        (&published[1]["channel"], &published[1]["offset"]),
        (&json!("news2"), &json!(1))
    );
    assert_eq!(published[2]["code"], "no-such-channel");
    assert_eq!(code(8), "bad-request");
    assert_eq!(replies[9], json!({"channels": {"channels": [], "more": 0}}));
}

#[test]
fn batches_are_bounded() {
    let rig = Rig::new(RULES);
    let reads = vec![json!({"history": {"channel": "news"}}); 17];
    let (_, body) = call(&rig, "/api/batch", &json!({ "commands": reads }));
    assert_eq!(body["replies"][15]["history"]["offset"], 0);
    assert_eq!(body["replies"][16]["error"]["code"], "too-many");
    let many = vec!["news"; 1001];
    let (status, body) = call(&rig, "/api/publish", &json!({"channels": many, "data": 1}));
    assert_eq!((status, &body["code"]), (503, &json!("too-many")));
    let commands = vec![json!({"nodes": {}}); 1001];
    assert_eq!(call(&rig, "/api/batch", &json!({ "commands": commands })).0, 413);
    for bad in [
        json!({}),
        json!({"commands": {}}),
        json!([]),
        json!({"commands": [], "x": 1}),
    ] {
        assert_eq!(call(&rig, "/api/batch", &bad).0, 400, "{bad}");
    }
    assert_eq!(
        call(&rig, "/api/batch", &json!({"commands": []})),
        (200, json!({"replies": []}))
    );
}

#[test]
fn a_publication_goes_to_many_channels() {
    let rig = Rig::new(RULES);
    let mut one = rig.client("");
    subscribe(&mut one, "news1");
    let (status, body) = call(
        &rig,
        "/api/publish",
        &json!({"channels": ["news1", "news2", "$nodes"], "data": {"a": 1}}),
    );
    assert_eq!(status, 200);
    assert_eq!(
        body["publications"][1],
        json!({"channel": "news2", "epoch": "101", "offset": 1})
    );
    assert_eq!(body["publications"][2]["code"], "forbidden");
    assert_eq!(one.hear()["data"], json!({"a": 1}));
    // If none succeeds, the status says so.
    let (status, body) = call(
        &rig,
        "/api/publish",
        &json!({"channels": ["other", "$nodes"], "data": 1}),
    );
    assert_eq!((status, &body["code"]), (404, &json!("no-such-channel")));
    for bad in [
        json!({"channels": [], "data": 1}),
        json!({"data": 1}),
        json!({"channel": "news", "channels": ["news"], "data": 1}),
    ] {
        assert_eq!(call(&rig, "/api/publish", &bad).0, 400, "{bad}");
    }
}

#[test]
fn histories_are_read_page_by_page() {
    let rig = Rig::new(RULES);
    for number in 1..=40 {
        rig.publish("news", &number.to_string());
    }
    let page = |query: &str| {
        let (status, body) = get(&rig, &format!("/api/history?channel=news&limit=10{query}"));
        assert_eq!(status, 200, "{body}");
        let offsets = super::offsets(body["publications"].as_array().unwrap());
        (offsets, body["more"] == json!(true))
    };
    assert_eq!(page(""), ((31..=40).collect(), true));
    assert_eq!(page("&before=31"), ((21..=30).collect(), true));
    assert_eq!(page("&before=21"), ((11..=20).collect(), false));
    assert_eq!(page("&after=0"), ((11..=20).collect(), true));
    assert_eq!(page("&after=30"), ((31..=40).collect(), false));
    assert_eq!(page("&after=40"), (vec![], false));
    for bad in ["&after=x", "&before=-1", "&before=1&after=1"] {
        assert_eq!(get(&rig, &format!("/api/history?channel=news{bad}")).0, 400, "{bad}");
    }
    let mut client = rig.client("");
    let answer = client.ask(r#"{"type":"history","channel":"news","before":31,"limit":2}"#);
    assert_eq!(super::offsets(answer["publications"].as_array().unwrap()), [29, 30]);
    let answer = client.ask(r#"{"type":"history","channel":"news","after":31,"limit":2}"#);
    assert_eq!(super::offsets(answer["publications"].as_array().unwrap()), [32, 33]);
    assert_eq!(answer["more"], true);
}

#[test]
fn presence_tells_what_tokens_say() {
    let rig = Rig::new(RULES);
    let mut clients: Vec<_> = [("ann", Some(r#"{"name": "Ann"}"#)), ("ann", None), ("bob", None)]
        .into_iter()
        .map(|(user, info)| rig.client(&format!("?token={}", token(user, info))))
        .collect();
    clients.push(rig.client(""));
    for client in &mut clients {
        subscribe(client, "room:1");
    }
    let (_, body) = get(&rig, "/api/presence?channel=room:1");
    assert_eq!((&body["total"], &body["users"]), (&json!(4), &json!(3)));
    let with_info: Vec<_> = body["clients"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|client| client["info"] == json!({"name": "Ann"}))
        .collect();
    assert_eq!((with_info.len(), &with_info[0]["user"]), (1, &json!("ann")));
}

/// The messages to a client about others who come and leave.
fn events(client: &mut super::Client) -> Vec<String> {
    let events = client.all().into_iter();
    events
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {}",
                text("type"),
                text("channel"),
                text("client"),
                text("user")
            )
        })
        .collect()
}

#[test]
fn subscribers_hear_who_comes_and_leaves() {
    let rig = Rig::new(RULES);
    let mut ann = user(&rig, "ann");
    subscribe(&mut ann, "room:1");
    assert_eq!(
        events(&mut ann),
        ["join room:1 test.0.0-1 ann"],
        "a client hears of itself"
    );
    let mut bob = rig.client(&format!("?token={}", token("bob", Some("7"))));
    subscribe(&mut bob, "room:1");
    let mut other = rig.client("");
    subscribe(&mut other, "room:2");
    let joined = ann.hear();
    assert_eq!(
        joined,
        json!({"type": "join", "channel": "room:1", "client": "test.0.0-2", "user": "bob", "info": 7})
    );
    assert_eq!(ann.next(), None, "room:2 is another channel");
    // By request, and by the end of the connection.
    bob.ask(r#"{"type":"unsubscribe","channel":"room:1"}"#);
    bob.all();
    assert_eq!(events(&mut ann), ["leave room:1 test.0.0-2 bob"]);
    assert_eq!(bob.next(), None, "who has left hears nothing");
    subscribe(&mut bob, "room:1");
    bob.all();
    drop(bob);
    assert_eq!(
        events(&mut ann),
        ["join room:1 test.0.0-2 bob", "leave room:1 test.0.0-2 bob"]
    );
    // The channel of the events is not a client's.
    for kind in ["subscribe", "unsubscribe"] {
        let answer = ann.ask(&format!(r#"{{"type":"{kind}","channel":"$join:room:1"}}"#));
        assert_eq!(answer["type"], "error", "{answer}");
    }
    assert_eq!(
        call(&rig, "/api/publish", &json!({"channel": "$join:room:1", "data": 1})).0,
        403
    );
    // Channels whose rule does not ask for events have none.
    let mut one = rig.client("");
    subscribe(&mut one, "news");
    subscribe(&mut rig.client(""), "news");
    assert_eq!(one.next(), None);
}

#[test]
fn events_of_others_do_not_count_as_subscriptions() {
    let rig = Rig::new(&format!("max_subscriptions = 2\n{RULES}"));
    let mut client = rig.client("");
    subscribe(&mut client, "room:1");
    client.all();
    subscribe(&mut client, "room:2");
    client.all();
    let answer = client.ask(r#"{"type":"subscribe","channel":"room:3"}"#);
    assert_eq!(answer["code"], "too-many");
}

#[test]
fn orders_reach_clients_by_user_and_by_name() {
    let rig = Rig::new(RULES);
    rig.node.start().unwrap();
    let (mut ann, mut again, mut bob) = (user(&rig, "ann"), user(&rig, "ann"), user(&rig, "bob"));
    subscribe(&mut ann, "news");
    subscribe(&mut bob, "news");
    // By user: with a subscription, and without one.
    let order = json!({"user": "ann", "code": 4001, "reason": "no longer a member"});
    assert_eq!(call(&rig, "/api/disconnect", &order), (200, json!({})));
    assert_eq!(ann.all(), [json!({"close": 4001})]);
    assert_eq!(again.all(), [json!({"close": 4001})]);
    assert_eq!(bob.next(), None);
    assert_eq!(
        rig.node.channels(),
        [("news".parse().unwrap(), 1), ("$nodes".parse().unwrap(), 0)][..1]
    );
    // By name: with a subscription, and without one.
    let (mut idle, mut reader) = (rig.client(""), rig.client(""));
    subscribe(&mut reader, "news");
    for name in ["test.0.0-4", "test.0.0-5"] {
        call(&rig, "/api/disconnect", &json!({ "client": name }));
    }
    assert_eq!(idle.all(), [json!({"close": 3503})]);
    assert_eq!(reader.all(), [json!({"close": 3503})]);
    assert_eq!(bob.next(), None);
    // A user and a name: both must fit.
    call(&rig, "/api/disconnect", &json!({"user": "bob", "client": "test.0.0-1"}));
    assert_eq!(bob.next(), None);
    for bad in [
        json!({}),
        json!({"user": "bob", "code": 1000}),
        json!({"user": "bob", "code": 5000}),
        json!({"user": "bob", "reason": "x".repeat(121)}),
        json!({"user": "bob", "reason": "a\nb"}),
        json!({"users": ["bob"]}),
    ] {
        assert_eq!(call(&rig, "/api/disconnect", &bad).0, 400, "{bad}");
    }
    assert_eq!(bob.next(), None);
}

#[test]
fn orders_end_subscriptions() {
    let rig = Rig::new(RULES);
    rig.node.start().unwrap();
    let mut ann = user(&rig, "ann");
    subscribe(&mut ann, "news");
    subscribe(&mut ann, "news2");
    let order = json!({"user": "ann", "channel": "news", "reason": "moved"});
    assert_eq!(call(&rig, "/api/unsubscribe", &order), (200, json!({})));
    assert_eq!(
        ann.all(),
        [json!({"type": "unsubscribed", "channel": "news", "code": "unsubscribed", "reason": "moved"})]
    );
    rig.publish("news", "1");
    rig.publish("news2", "2");
    assert_eq!(ann.hear()["channel"], "news2");
    assert_eq!(
        call(&rig, "/api/unsubscribe", &json!({"user": "ann", "channel": "a b"})).0,
        400
    );
    assert_eq!(
        call(
            &rig,
            "/api/unsubscribe",
            &json!({"user": "ann", "channel": "news", "code": 1})
        )
        .0,
        400
    );
    // A client that subscribed to all it may, then lost it, is reached again.
    call(
        &rig,
        "/api/unsubscribe",
        &json!({"client": "test.0.0-1", "channel": "news2"}),
    );
    assert_eq!(ann.hear()["channel"], "news2");
    call(&rig, "/api/disconnect", &json!({"client": "test.0.0-1"}));
    assert_eq!(ann.all(), [json!({"close": 3503})]);
}

#[test]
fn orders_end_streams_of_events() {
    let rig = Rig::new(RULES);
    rig.node.start().unwrap();
    let stream = || {
        let mut reader = rig.connect();
        let token = token("ann", None);
        reader.receive(format!("GET /events?channel=news&token={token} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        reader.take_sent();
        reader
    };
    let (mut one, mut two) = (stream(), stream());
    call(&rig, "/api/unsubscribe", &json!({"user": "ann", "channel": "other"}));
    one.pump();
    assert_eq!(one.take_sent(), b"");
    call(&rig, "/api/unsubscribe", &json!({"user": "ann", "channel": "news"}));
    for (stream, event) in [(&mut one, "unsubscribed"), (&mut two, "unsubscribed")] {
        stream.pump();
        let sent = String::from_utf8(stream.take_sent()).unwrap();
        assert!(
            sent.contains(&format!("event: {event}\ndata: {{\"code\":2000")),
            "{sent}"
        );
        assert!(sent.ends_with("0\r\n\r\n"), "{sent}");
    }
    let mut three = stream();
    call(&rig, "/api/disconnect", &json!({"user": "ann"}));
    three.pump();
    let sent = String::from_utf8(three.take_sent()).unwrap();
    assert!(sent.contains("event: disconnected\ndata: {\"code\":3503"), "{sent}");
}

#[test]
fn what_is_refused_says_why() {
    let rig = Rig::new(RULES);
    for (request, status) in [
        ("GET /api/publish HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("POST /api/nodes HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        ("POST /api/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 401),
        ("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        (
            "GET /ws HTTP/1.1\r\nHost: a\r\nOrigin: https://else.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            403,
        ),
        (
            "POST /events?channel=news HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            405,
        ),
    ] {
        let mut harness = rig.connect();
        harness.receive(request.as_bytes());
        let (given, body) = answer(&harness.take_sent());
        assert_eq!(given, status, "{request}");
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{request}: {body:?}"));
        assert!(
            body["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "{request}: {body}"
        );
    }
}

#[test]
fn revoked_tokens_end_and_do_not_come_back() {
    let rig = Rig::new(RULES);
    rig.node.start().unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let sign = |user: Option<&str>, id: Option<&str>, issued: Option<f64>| {
        let issued = issued.map(|after| crate::token::Date(now + std::time::Duration::from_secs_f64(after)));
        Secret::new(SECRET).unwrap().sign(&Claims {
            user: user.map(Into::into),
            id: id.map(Into::into),
            issued,
            ..Claims::default()
        })
    };
    let (old, undated, new) = (
        sign(Some("ann"), None, Some(0.0)),
        sign(Some("ann"), None, None),
        sign(Some("ann"), None, Some(60.0)),
    );
    let (one, other) = (sign(None, Some("t-1"), None), sign(Some("bob"), Some("t-2"), None));
    let clients = |tokens: [&String; 5]| tokens.map(|token| rig.client(&format!("?token={token}")));
    let [mut a, mut b, mut c, mut d, mut e] = clients([&old, &undated, &new, &one, &other]);
    subscribe(&mut a, "news");
    let mut stream = rig.connect();
    stream.receive(format!("GET /events?channel=news&token={old} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    stream.take_sent();
    assert_eq!(call(&rig, "/api/revoke", &json!({"user": "ann"})), (200, json!({})));
    for (client, expected) in [
        (&mut a, true),
        (&mut b, true),
        (&mut c, false),
        (&mut d, false),
        (&mut e, false),
    ] {
        let heard = client.all();
        assert_eq!(heard == [json!({"close": 3500})], expected, "{heard:?}");
    }
    stream.pump();
    assert!(String::from_utf8_lossy(&stream.take_sent()).contains("event: disconnected\ndata: {\"code\":3500"));
    assert_eq!(call(&rig, "/api/revoke", &json!({"token": "t-1"})), (200, json!({})));
    assert_eq!(d.all(), [json!({"close": 3500})]);
    assert_eq!((c.all(), e.all()), (vec![], vec![]));
    // None of them comes back, by either language; others do.
    for (token, is_good) in [
        (&old, false),
        (&undated, false),
        (&new, true),
        (&one, false),
        (&other, true),
    ] {
        let (status, body) = rig.ask(&format!(
            "GET /events?channel=news&token={token} HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        assert_eq!(status, if is_good { 200 } else { 401 }, "{body}");
        assert_eq!(body.contains("revoked"), !is_good, "{body}");
        let answer = c.ask(&json!({"type": "auth", "id": 1, "token": token}).to_string());
        assert_eq!(answer["type"] == "authorized", is_good, "{answer}");
    }
    for bad in [json!({}), json!({"user": "a", "token": "b"}), json!({"users": []})] {
        assert_eq!(call(&rig, "/api/revoke", &bad).0, 400, "{bad}");
    }
}
