//! What pages of other sites may read, and how clients show their tokens.

use serde_json::{Value, json};

use super::{Rig, SECRET, answer, post};
use crate::channel::Pattern;
use crate::settings::{Options, Settings};
use crate::token::{Claims, Secret};

#[test]
fn head_options_and_pre_flight() {
    let rig = Rig::new("api_token = \"let-me-in\"\norigins = [\"https://app.example\"]");
    let ask = |request: &str| {
        let mut harness = rig.connect();
        let token = if request.contains("/api/") {
            "Authorization: Bearer let-me-in\r\n"
        } else {
            ""
        };
        harness.receive(format!("{request}\r\nHost: a\r\n{token}\r\n").as_bytes());
        harness.pump();
        String::from_utf8(harness.take_sent()).unwrap()
    };
    for path in ["/events?channel=a", "/api/history?channel=a", "/api/nodes", "/healthz"] {
        let head = ask(&format!("HEAD {path} HTTP/1.1"));
        assert!(
            head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
            "{path}: {head}"
        );
    }
    assert_eq!(rig.node.channels(), [], "a HEAD subscribes to nothing");
    for target in ["*", "/events", "/api/publish", "/"] {
        let answer = ask(&format!("OPTIONS {target} HTTP/1.1"));
        assert!(
            answer.starts_with("HTTP/1.1 204") && answer.contains("Allow: GET"),
            "{target}: {answer}"
        );
        assert!(!answer.contains("Access-Control"), "{answer}");
    }
    let flight = "OPTIONS /events HTTP/1.1\r\nAccess-Control-Request-Method: GET\r\nOrigin: ";
    let answer = ask(&format!("{flight}https://app.example"));
    assert!(
        answer.contains("Access-Control-Allow-Origin: https://app.example"),
        "{answer}"
    );
    assert!(answer.contains("Access-Control-Allow-Methods: GET"), "{answer}");
    assert!(!ask(&format!("{flight}https://else.example")).contains("Access-Control"));
    let events = ask("GET /events?channel=a HTTP/1.1\r\nOrigin: https://app.example");
    assert!(
        events.contains("Access-Control-Allow-Origin: https://app.example"),
        "{events}"
    );
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Version: 13\r\n";

/// A server with a secret, a cookie, and one other site.
fn site() -> Rig {
    Rig::new(&format!(
        "api_token = \"let-me-in\"\nsecret = {SECRET:?}\ntoken_cookie = \"comet\"\norigins = [\"https://app.example\"]\n\
         [[channel]]\nname = \"open\"\n[[channel]]\nname = \"*\"\nsubscribe = \"token\"\nhistory = 3"
    ))
}

fn token() -> String {
    let claims = Claims {
        user: Some("ann".into()),
        subscribe: vec![Pattern::any()],
        ..Claims::default()
    };
    Secret::new(SECRET).unwrap().sign(&claims)
}

/// Sends a request with these fields. Returns the head and the body of the answer.
fn ask(rig: &Rig, line: &str, fields: &str) -> (String, String) {
    let mut harness = rig.connect();
    harness.receive(format!("{line} HTTP/1.1\r\nHost: comet.example\r\n{fields}\r\n").as_bytes());
    harness.pump();
    let sent = harness.take_sent();
    // A WebSocket's message after its head begins with bytes that are no text.
    let sent = String::from_utf8_lossy(&sent);
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// A page that the settings name reads every answer of the API and of streams, and their errors too; other pages read none. A cache
/// does not mix them up.
#[test]
fn pages_of_named_origins_read_answers_and_errors() {
    let rig = site();
    let key = "Authorization: Bearer let-me-in\r\n";
    let none = "";
    for (line, key, status) in [
        ("GET /api/nodes", key, "200"),
        ("GET /api/openapi.json", none, "200"),
        ("POST /api/openapi.json", none, "405"),
        ("GET /api/nodes", none, "401"),
        ("GET /api/dance", key, "404"),
        ("GET /api/publish", key, "405"),
        ("GET /api/history", key, "400"),
        ("POST /api/publish", key, "400"),
        ("GET /api/history?channel=open", key, "200"),
        ("GET /events?channel=open", none, "200"),
        ("HEAD /events?channel=open", none, "200"),
        ("POST /events?channel=open", none, "405"),
        ("GET /events?channel=room", none, "403"),
        ("GET /events?channel=open&token=x.y.z", none, "401"),
        ("GET /connection/uni_sse", none, "200"),
        ("PUT /connection/uni_sse", none, "405"),
        ("GET /connection/uni_sse?cf_connect=x", none, "400"),
    ] {
        let (head, body) = ask(&rig, line, &format!("{key}Origin: https://app.example\r\n"));
        assert_eq!(&head[9..12], status, "{line}: {head}");
        for field in [
            "Access-Control-Allow-Origin: https://app.example",
            "Access-Control-Allow-Credentials: true",
            "Vary: Origin",
        ] {
            assert!(
                head.lines().any(|known| known == field),
                "{line}: {field} is not in\n{head}"
            );
        }
        if status.starts_with('4') {
            let why: Value = serde_json::from_str(&body).unwrap();
            assert!(
                why["code"].is_string() && why["reason"].as_str().unwrap().len() > 5,
                "{line}: {body}"
            );
        }
        for other in [none, "Origin: https://else.example\r\n", "Origin: null\r\n"] {
            let (head, _) = ask(&rig, line, &format!("{key}{other}"));
            assert!(
                !head.contains("Access-Control-") && head.contains("Vary: Origin"),
                "{line}: {head}"
            );
        }
    }
    let flight = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\
                  Access-Control-Request-Headers: authorization, content-type\r\n";
    let (head, _) = ask(&rig, "OPTIONS /api/publish", flight);
    for field in [
        "Access-Control-Allow-Headers: Authorization, Content-Type, Last-Event-ID",
        "Access-Control-Allow-Methods: GET, HEAD, POST, OPTIONS",
        "Access-Control-Allow-Credentials: true",
        "Vary: Origin",
    ] {
        assert!(head.contains(field), "{field} is not in\n{head}");
    }
}

/// An answer that the broker's answer delays has the same fields.
#[test]
fn a_page_of_any_origin_reads_but_without_cookies() {
    let rig = Rig::new("api_token = \"let-me-in\"\norigins = [\"any\"]");
    let body = r#"{"channel":"news","data":1}"#;
    let request = post(body, "let-me-in").replace("Host: a", "Host: a\r\nOrigin: https://one.example");
    let mut harness = rig.connect();
    harness.receive(request.as_bytes());
    harness.pump();
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    assert!(sent.starts_with("HTTP/1.1 200"), "{sent}");
    assert!(
        sent.contains("Access-Control-Allow-Origin: https://one.example\r\nVary: Origin"),
        "{sent}"
    );
    assert!(!sent.contains("Credentials"), "{sent}");
}

#[test]
fn a_token_comes_in_a_field_a_parameter_or_a_cookie() {
    let (rig, token) = (site(), token());
    let bearer = format!("Authorization: bEARER {token}\r\n");
    let cookie = format!("Cookie: a=b; comet={token}; comet=second\r\n");
    let own = "Origin: https://comet.example\r\n";
    let named = "Origin: https://app.example\r\n";
    let events = "GET /events?channel=room";
    let by_url = format!("{events}&token={token}");
    for (line, fields, status) in [
        (events, String::new(), 403),
        (&by_url, String::new(), 200),
        (events, bearer.clone(), 200),
        // Another scheme is for somebody else.
        (&by_url, "Authorization: Basic YTpi\r\n".to_owned(), 200),
        (events, "Authorization: Bearer x.y.z\r\n".to_owned(), 401),
        (events, cookie.clone(), 200),
        (events, format!("Cookie: a=b\r\nCookie: comet=\"{token}\"\r\n"), 200),
        (events, "Cookie: comet=; comet2=x\r\n".to_owned(), 403),
        (events, "Cookie: comet=x.y.z\r\n".to_owned(), 401),
        (events, format!("{cookie}{own}"), 200),
        (events, format!("{cookie}{named}"), 200),
        (events, format!("{cookie}Sec-Fetch-Site: same-origin\r\n"), 200),
        (events, format!("{cookie}Sec-Fetch-Site: none\r\n"), 200),
        // The token that a page shows itself counts before the cookie.
        (&by_url, "Cookie: comet=x.y.z\r\n".to_owned(), 200),
    ] {
        let (head, _) = ask(&rig, line, &fields);
        assert_eq!(head[9..12].parse(), Ok(status), "{line}\n{fields}");
    }
    // The API takes no cookie.
    assert!(
        ask(&rig, "GET /api/nodes", "Cookie: comet=let-me-in\r\n")
            .0
            .contains(" 401 ")
    );
    // A browser always names the origin of a WebSocket. `None` stands for a client without a user.
    for (fields, user) in [
        (bearer, Some("ann")),
        (format!("{cookie}{named}"), Some("ann")),
        (cookie.clone(), None),
        (String::new(), None),
    ] {
        let (head, welcome) = ask(&rig, "GET /ws", &format!("{UPGRADE}{fields}"));
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(welcome.contains("\"user\":\"ann\""), user.is_some(), "{fields}");
    }
    let (head, _) = ask(&rig, "GET /ws", &format!("{UPGRADE}Authorization: Bearer x.y.z\r\n"));
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

/// A browser sends a cookie for pages of every site. A page that neither the host nor `origins` names gets nothing by it.
#[test]
fn c12_a_cookie_counts_only_for_pages_that_may_use_it() {
    let rig = site();
    let cookie = format!("Cookie: comet={}\r\n", token());
    for fields in [
        "Origin: https://else.example\r\n",
        "Origin: https://comet.example.else.example\r\n",
        "Origin: https://comet.example:8443\r\n",
        "Origin: null\r\n",
        "Origin: \r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        let (head, _) = ask(&rig, "GET /events?channel=room", &format!("{cookie}{fields}"));
        assert!(head.starts_with("HTTP/1.1 403"), "{fields}: {head}");
        let (head, answer) = ask(&rig, "GET /ws", &format!("{UPGRADE}{cookie}{fields}"));
        assert!(
            !head.starts_with("HTTP/1.1 101") || !answer.contains("\"user\""),
            "{fields}: {answer}"
        );
    }
    let (head, body) = ask(
        &rig,
        "GET /ws",
        &format!("{UPGRADE}{cookie}Origin: https://else.example\r\n"),
    );
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["code"], "forbidden");
}

/// Behind a proxy that replaces `Host`, a page of the host that the client has asked for sends its cookie.
#[test]
fn a_cookie_counts_for_the_host_that_a_proxy_forwards() {
    let text = format!(
        "secret = {SECRET:?}\ntoken_cookie = \"comet\"\ntrusted_proxies = [\"unix\"]\n[[channel]]\nname = \"*\"\nsubscribe = \"token\""
    );
    let rig = Rig::new(&text);
    let fields = |host: &str| {
        let token = token();
        format!("Cookie: comet={token}\r\nOrigin: https://{host}\r\nX-Forwarded-Host: app.example\r\n")
    };
    let events = "GET /events?channel=room";
    assert!(ask(&rig, events, &fields("app.example")).0.contains(" 200 "));
    assert!(ask(&rig, events, &fields("else.example")).0.contains(" 403 "));
}

#[test]
fn c12_a_cookie_of_every_page_is_no_setting() {
    for (text, complaint) in [
        (
            "token_cookie = \"a\"\norigins = [\"any\"]",
            "every page could use the cookies",
        ),
        ("token_cookie = \"a b\"", "not the name of a cookie"),
        ("token_cookie = \"\"", "not the name of a cookie"),
    ] {
        let options: Options = toml::from_str(text).unwrap();
        let problems = Settings::new(options).unwrap_err();
        assert!(
            problems[0].starts_with("token_cookie: ") && problems[0].contains(complaint),
            "{problems:?}"
        );
    }
}

/// The events of a stream: the id, the kind and the data of each.
fn events(sent: &[u8]) -> Vec<(String, String, Value)> {
    // Each event is a chunk.
    let text = String::from_utf8_lossy(sent);
    let text = text
        .split_once("\r\n\r\n")
        .filter(|_| text.starts_with("HTTP"))
        .map_or(&*text, |(_, body)| body);
    let events = text
        .split("\n\n")
        .filter(|event| event.contains("data: ") || event.contains("id: "));
    let field = |event: &str, name: &str| {
        let value = event.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_default().to_owned()
    };
    events
        .map(|event| {
            let data = serde_json::from_str(&field(event, "data: ")).unwrap_or_default();
            (field(event, "id: "), field(event, "event: "), data)
        })
        .collect()
}

#[test]
fn one_stream_has_several_channels_and_resumes_all() {
    let rig = Rig::new("api_token = \"let-me-in\"\n[[channel]]\nname = \"*\"\nhistory = 3");
    let open = |query: &str, id: &str| {
        let mut reader = rig.connect();
        let request = format!("GET /events?{query} HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n");
        reader.receive(request.as_bytes());
        reader
    };
    let mut reader = open("channel=a&channel=b&channel=a", "");
    reader.take_sent();
    for (channel, data) in [("a", "1"), ("b", "2"), ("c", "0"), ("a", "3")] {
        rig.publish(channel, data);
    }
    reader.pump();
    let read = events(&reader.take_sent());
    let data: Vec<_> = read.iter().map(|(_, _, data)| data.clone()).collect();
    assert_eq!(
        data,
        [
            json!({"channel":"a","offset":1,"data":1}),
            json!({"channel":"b","offset":1,"data":2}),
            json!({"channel":"a","offset":2,"data":3}),
        ]
    );
    // After each event, a reader that comes back gets exactly the rest, whatever order it names the channels in.
    for (index, (id, ..)) in read.iter().enumerate() {
        for query in ["channel=a&channel=b", "channel=b&channel=a"] {
            let again = events(&open(query, id).take_sent());
            let mut rest: Vec<_> = again
                .iter()
                .map(|(_, _, data)| data.clone())
                .filter(|data| !data.is_null())
                .collect();
            let mut expected = data[index + 1..].to_vec();
            for list in [&mut rest, &mut expected] {
                list.sort_by_key(|data| data.to_string());
            }
            assert_eq!(rest, expected, "{query} after {id}");
        }
    }
    let (last, ..) = &read[2];
    // One of the channels lost publications: only that one is told of.
    for number in 3..=7 {
        rig.publish("a", &number.to_string());
    }
    rig.publish("b", "8");
    let again = events(&open("channel=a&channel=b", last).take_sent());
    let told: Vec<_> = again.iter().filter(|(_, kind, _)| kind == "reset").collect();
    assert_eq!(told.len(), 1, "{again:?}");
    assert_eq!(told[0].2, json!({"channel":"a","epoch":"100","offset":4}));
    let of = |channel: &str| -> Vec<_> {
        let read = again
            .iter()
            .filter(|(_, kind, data)| kind.is_empty() && data["channel"] == channel);
        read.map(|(_, _, data)| data["offset"].as_u64().unwrap()).collect()
    };
    assert_eq!((of("a"), of("b")), (vec![5, 6, 7], vec![2]));
    // A channel more, and a channel less.
    let again = events(&open("channel=b&channel=c", last).take_sent());
    let data: Vec<_> = again
        .iter()
        .map(|(_, _, data)| data.clone())
        .filter(|data| !data.is_null())
        .collect();
    assert_eq!(data, [json!({"channel":"b","offset":2,"data":8})]);
    let again = events(&open("channel=b", last).take_sent());
    assert_eq!(again[0].0, "101:2", "{again:?}");
    // The id of a stream of one channel does not say which it was.
    for id in ["100:1", "nonsense"] {
        let again = events(&open("channel=a&channel=b", id).take_sent());
        let told = again.iter().filter(|(_, kind, _)| kind == "reset").count();
        assert_eq!(told, 2, "{id}: {again:?}");
    }
}

#[test]
fn a_slow_reader_of_several_channels_is_told_which_one_has_a_gap() {
    let rig = Rig::new("api_token = \"let-me-in\"\n[[channel]]\nname = \"*\"\nhistory = 3");
    let mut reader = rig.connect();
    reader.receive(b"GET /events?channel=a&channel=b HTTP/1.1\r\nHost: a\r\n\r\n");
    reader.take_sent();
    reader.set_window(Some(0));
    rig.publish("b", "1");
    for _ in 1..=20 {
        rig.publish("a", &format!("\"{}\"", "x".repeat(900)));
        reader.pump();
    }
    rig.publish("b", "2");
    reader.pump();
    reader.set_window(None);
    let read = events(&reader.take_sent());
    let (mut next, mut gaps) = ([1, 1], 0);
    for (_, kind, data) in &read {
        let at = usize::from(data["channel"] == "b");
        match kind.as_str() {
            "missed" => {
                assert_eq!((data["from"].as_u64(), at), (Some(next[0]), 0), "{data}");
                (next[0], gaps) = (data["to"].as_u64().unwrap() + 1, gaps + 1);
            }
            _ => {
                assert_eq!(data["offset"].as_u64(), Some(next[at]), "{data}");
                next[at] += 1;
            }
        }
    }
    assert_eq!((next, gaps), ([21, 3], 1), "{read:?}");
}

#[test]
fn the_api_ends_one_channel_of_several() {
    let rig = site();
    let token = token();
    let mut reader = rig.connect();
    reader.receive(format!("GET /events?channel=a&channel=b&token={token} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    reader.take_sent();
    let end = |channel: &str| {
        let body = format!(r#"{{"channel":"{channel}","user":"ann","reason":"over"}}"#);
        let request = post(&body, "let-me-in").replace("/api/publish", "/api/unsubscribe");
        assert_eq!(rig.ask(&request).0, 200);
    };
    rig.node.follow_own();
    end("a");
    reader.pump();
    let read = events(&reader.take_sent());
    assert_eq!(read[0].1, "unsubscribed");
    assert_eq!(read[0].2, json!({"channel":"a","code":2000,"reason":"over"}));
    rig.publish("a", "1");
    rig.publish("b", "2");
    reader.pump();
    let read = events(&reader.take_sent());
    assert_eq!(read.len(), 1, "{read:?}");
    assert_eq!(read[0].2, json!({"channel":"b","offset":1,"data":2}));
    end("b");
    reader.pump();
    assert!(reader.take_sent().ends_with(b"0\r\n\r\n"));
}

#[test]
fn a_refused_stream_says_which_channel() {
    let rig = site();
    for (query, status, code, channel) in [
        ("channel=open&channel=room", 403, "forbidden", json!("room")),
        ("channel=open&channel=%20", 400, "bad-request", Value::Null),
        ("channel=open&channel=$nodes", 403, "forbidden", json!("$nodes")),
    ] {
        let (head, body) = rig.ask(&format!("GET /events?{query} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let why: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (head, &why["code"], &why["channel"]),
            (status, &json!(code), &channel),
            "{query}"
        );
    }
    let rig = Rig::new("");
    let query = |count: usize| {
        (0..count)
            .map(|number| format!("channel=c{number}&"))
            .collect::<String>()
    };
    let ask = |count| {
        let mut reader = rig.connect();
        reader.receive(format!("GET /events?{} HTTP/1.1\r\nHost: a\r\n\r\n", query(count)).as_bytes());
        answer(&reader.take_sent())
    };
    let (status, body) = ask(32);
    assert_eq!(status, 200);
    let longest = body.lines().map(str::len).max().unwrap();
    assert!(longest < 32 * 50, "an id has {longest} bytes");
    assert_eq!(rig.node.channels().len(), 0, "a reader that has left is subscribed");
    let (status, body) = ask(33);
    assert_eq!((status, body.contains("too-many")), (400, true), "{body}");
}
