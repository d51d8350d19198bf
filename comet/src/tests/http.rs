//! Requests over HTTP.

use serde_json::{Value, json};

use super::{Rig, answer, post};

pub(super) const SITE: &str = r#"
    api_token = "let-me-in"
    [[channel]]
    name = "room:*"
    subscribe = "nobody"
    presence = true
    [[channel]]
    name = "*"
    history = 3
"#;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: bearer let-me-in\r\n\r\n")
}

fn plain(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

#[test]
fn a_back_end_publishes() {
    let rig = Rig::new(SITE);
    let (status, body) = rig.publish("news", r#"{"a": 1}"#);
    assert_eq!(status, 200);
    assert_eq!(json(&body), json!({"epoch":"100","offset":1}));
    let (status, body) = rig.ask(&post(r#"{"channel":"news","data":2,"user":"editor"}"#, "let-me-in"));
    assert_eq!((status, json(&body)["offset"].as_u64()), (200, Some(2)));
    let (status, body) = rig.ask(&get("/api/history?channel=news&limit=1"));
    assert_eq!(status, 200);
    assert_eq!(
        json(&body),
        json!({"channel":"news","epoch":"100","offset":2,"publications":[{"offset":2,"user":"editor","data":2}],"more":true})
    );
}

#[test]
fn c04_the_api_is_for_its_token() {
    let rig = Rig::new(SITE);
    assert_eq!(rig.ask(&post("{}", "let-me-out")).0, 401);
    assert_eq!(rig.ask("GET /api/nodes HTTP/1.1\r\nHost: a\r\n\r\n").0, 401);
    // Without a configured API token, every token is refused.
    let closed = Rig::new("");
    assert_eq!(closed.ask(&post("{}", "let-me-in")).0, 401);
    assert_eq!(
        closed
            .ask("GET /api/nodes HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \r\n\r\n")
            .0,
        401
    );
}

#[test]
fn what_is_wrong_is_said() {
    let rig = Rig::new(SITE);
    for (request, status, code) in [
        (post("nonsense", "let-me-in"), 400, "bad-request"),
        (post(r#"{"channel":"a b","data":1}"#, "let-me-in"), 400, "bad-request"),
        (post(r#"{"channel":"$nodes","data":1}"#, "let-me-in"), 403, "forbidden"),
        (get("/api/history?channel=%20"), 400, "bad-request"),
        (get("/api/history?channel=a&limit=x"), 400, "bad-request"),
        (get("/api/dance"), 404, "bad-request"),
        (plain("/events?channel=room:1"), 403, "forbidden"),
        (plain("/events?channel=$nodes"), 403, "forbidden"),
        (plain("/events"), 400, "bad-request"),
        // A token for the API is none of a client's.
        (get("/events?channel=news"), 401, "forbidden"),
    ] {
        let (given, body) = rig.ask(&request);
        assert_eq!((given, &json(&body)["code"]), (status, &json!(code)), "{request}");
    }
    assert_eq!(rig.ask(&get("/api/publish")).0, 405);
    assert_eq!(rig.ask(&get("/nothing")).0, 404);
    let large = post(
        &format!(r#"{{"channel":"a","data":"{}"}}"#, "x".repeat(70_000)),
        "let-me-in",
    );
    assert_eq!(rig.ask(&large).0, 413);
}

#[test]
fn pages_health_and_metrics() {
    let rig = Rig::new(SITE);
    let (status, page) = rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(status == 200 && page.starts_with("<!doctype html>"));
    assert_eq!(rig.ask(&get("/healthz")), (200, "ok\n".to_owned()));
    assert_eq!(rig.ask(&get("/readyz")).0, 503);
    rig.node.serves(Vec::new);
    assert_eq!(rig.ask(&get("/readyz")).0, 200);
    rig.publish("news", "1");
    let (_, metrics) = rig.ask(&get("/metrics"));
    for line in [
        "# TYPE comet_connections gauge",
        "comet_published_total{worker=\"0\"} 1",
        "comet_broker_connected{worker=\"0\"} 1",
    ] {
        assert!(
            metrics.lines().any(|known| known == line),
            "{line} is not in\n{metrics}"
        );
    }
}

/// Each metric has a help text and a type, in this order, before its values; its unit is a base unit.
#[test]
fn metrics_are_described() {
    let rig = Rig::new(SITE);
    rig.node.start().unwrap();
    rig.node.encrypts(proto_tls::Stats::default);
    let mut client = rig.client("");
    client.ask(r#"{"type":"subscribe","channel":"news"}"#);
    for number in 0..32 {
        rig.publish("news", &number.to_string());
    }
    client.all();
    rig.node.look_after(std::time::Instant::now());
    let (_, metrics) = rig.ask(&get("/metrics"));
    let (mut help, mut kind) = ("", "");
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap();
            assert!(text.len() > 5, "{line}");
            assert!(!name.contains("milli") && !name.contains("micro"), "{line}");
            (help, kind) = (name, "");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, what) = rest.split_once(' ').unwrap();
            assert_eq!(name, help, "{line}");
            assert!(["gauge", "counter", "histogram"].contains(&what), "{line}");
            assert_eq!(what == "counter", name.ends_with("_total"), "{line}");
            kind = what;
        } else {
            let (name, value) = line.split_once("{worker=\"0\"").unwrap();
            let of = match kind {
                "histogram" => name.rsplit_once('_').unwrap().0,
                _ => name,
            };
            assert_eq!(of, help, "{line}");
            let value = value.rsplit_once(' ').unwrap().1;
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    // The dashboard shows only metrics that exist.
    let dashboard = include_str!("../../dist/grafana.json");
    for name in dashboard.split("comet_").skip(1) {
        let end = name
            .find(|byte: char| !byte.is_ascii_lowercase() && byte != '_')
            .unwrap();
        let name = format!("\ncomet_{}{{", &name[..end]);
        assert!(metrics.contains(&name), "{name} is no metric");
    }
    assert!(dashboard.matches("comet_").count() > 20);
    let value = |name: &str| -> f64 {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert_eq!(value("comet_delivery_seconds_count"), 2.0, "one of 16");
    assert!(value("comet_broker_round_trip_seconds_count") >= 1.0);
    assert_eq!(value("comet_delivery_seconds_bucket{worker=\"0\",le=\"+Inf\"}"), 2.0);
}

#[test]
fn nodes_and_channels_are_told() {
    let rig = Rig::new(SITE);
    rig.node.start().unwrap();
    let mut client = rig.client("");
    client.ask(r#"{"type":"subscribe","channel":"news"}"#);
    rig.node.look_after(std::time::Instant::now());
    let (_, body) = rig.ask(&get("/api/channels"));
    assert_eq!(
        json(&body),
        json!({"channels":[{"channel":"news","subscribers":1,"nodes":1}],"more":0})
    );
    let (_, body) = rig.ask(&get("/api/nodes"));
    assert_eq!(json(&body)["nodes"][0]["node"], "test.0");
}

#[test]
fn readers_without_websocket_get_events() {
    let rig = Rig::new(SITE);
    let mut reader = rig.connect();
    reader.receive(b"GET /events?channel=news HTTP/1.1\r\nHost: a\r\n\r\n");
    let (status, body) = answer(&reader.take_sent());
    assert_eq!(status, 200);
    assert_eq!(body, "9\r\n: comet\n\n\r\nb\r\nid: 100:0\n\n\r\n");
    rig.publish("news", "{\"a\":1}");
    reader.pump();
    let event = "id: 100:1\ndata: {\"offset\":1,\"data\":{\"a\":1}}\n\n";
    assert_eq!(
        String::from_utf8(reader.take_sent()).unwrap(),
        format!("{:x}\r\n{event}\r\n", event.len())
    );
    // A reader that reconnects.
    rig.publish("news", "2");
    let mut reader = rig.connect();
    reader.receive(b"GET /events?channel=news HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 100:1\r\n\r\n");
    let (_, body) = answer(&reader.take_sent());
    assert!(
        body.contains("id: 100:2\ndata: ") && !body.contains("id: 100:1\n"),
        "{body}"
    );
    // A reader that was away too long.
    for number in 3..=9 {
        rig.publish("news", &number.to_string());
    }
    let mut late = rig.connect();
    late.receive(b"GET /events?channel=news HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 100:2\r\n\r\n");
    let (_, body) = answer(&late.take_sent());
    assert!(
        body.contains("event: reset\nid: 100:6\ndata: {\"epoch\":\"100\",\"offset\":6}\n\n"),
        "{body}"
    );
    assert!(
        body.contains("id: 100:7\ndata: ") && body.contains("id: 100:9\ndata: "),
        "{body}"
    );
    // The server stops: the stream and its connection end in an orderly way.
    late.stop();
    assert!(late.take_sent().ends_with(b"0\r\n\r\n") && late.is_half_closed());
}

#[test]
fn signs_of_life_keep_a_stream_open() {
    let rig = Rig::new(SITE);
    rig.node.start().unwrap();
    let mut reader = rig.connect();
    reader.receive(b"GET /events?channel=news HTTP/1.1\r\nHost: a\r\n\r\n");
    reader.take_sent();
    for _ in 0..3 {
        reader.advance(std::time::Duration::from_secs(50));
        rig.node.beat();
        reader.pump();
        assert_eq!(reader.take_sent(), b"3\r\n:\n\n\r\n");
    }
    assert_eq!(reader.ended(), None);
}

#[test]
fn a_slow_reader_of_events_catches_up() {
    let rig = Rig::new("api_token = \"let-me-in\"\n[[channel]]\nname = \"*\"\nhistory = 100");
    let mut reader = rig.connect();
    reader.receive(b"GET /events?channel=news HTTP/1.1\r\nHost: a\r\n\r\n");
    reader.take_sent();
    reader.set_window(Some(0));
    for _ in 1..=50 {
        rig.publish("news", &format!("\"{}\"", "x".repeat(900)));
        reader.pump();
    }
    assert!(reader.held() < 6000, "{}", reader.held());
    reader.set_window(None);
    let sent = String::from_utf8(reader.take_sent()).unwrap();
    let ids: Vec<u64> = sent
        .lines()
        .filter_map(|line| line.strip_prefix("id: 100:")?.parse().ok())
        .collect();
    assert_eq!(ids, (1..=50).collect::<Vec<_>>());
}

/// Whatever is accepted can be read back in every way. The first three values once made GET /api/history panic.
#[test]
fn whatever_is_accepted_can_be_read_back() {
    let rig = Rig::new(SITE);
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for data in [
        "1e999",
        "\"\\ud800\"",
        &nested(64),
        "123456789012345678901234567890",
        "\"\\u0000\"",
    ] {
        assert_eq!(rig.publish("news", data).0, 200, "{data}");
        let (status, body) = rig.ask(&get("/api/history?channel=news&limit=1"));
        assert!(status == 200 && body.contains(data), "{data}: {body}");
        let mut client = rig.client("");
        client.say(r#"{"type":"history","channel":"news","limit":1}"#);
        client.harness.pump();
        let sent = String::from_utf8_lossy(client.harness.sent()).into_owned();
        assert!(sent.contains(data), "{data}: {sent}");
        let mut reader = rig.connect();
        reader.receive(b"GET /events?channel=news&limit=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(String::from_utf8_lossy(&reader.take_sent()).contains(data), "{data}");
    }
    let (status, body) = rig.publish("news", &nested(65));
    assert_eq!((status, &json(&body)["code"]), (400, &json!("bad-request")));
}

#[test]
fn a_garbled_position_is_told_to_be_none_of_ours() {
    let rig = Rig::new(SITE);
    rig.publish("news", "1");
    for garbage in ["nonsense", "x:y", "100", "100:99"] {
        let mut reader = rig.connect();
        let request = format!("GET /events?channel=news HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {garbage}\r\n\r\n");
        reader.receive(request.as_bytes());
        let (_, body) = answer(&reader.take_sent());
        assert!(body.contains("event: reset\nid: 100:0\n"), "{garbage}: {body}");
        assert!(body.contains("id: 100:1\ndata: "), "{garbage}: {body}");
    }
}

#[test]
fn c05_a_stream_ends_with_its_token() {
    let rig = Rig::new(&format!(
        "api_token = \"let-me-in\"\nsecret = {:?}\n[[channel]]\nname = \"*\"\nsubscribe = \"token\"",
        super::SECRET
    ));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let claims = crate::token::Claims {
        expires: Some(crate::token::Date(now + std::time::Duration::from_millis(300))),
        subscribe: vec![crate::channel::Pattern::any()],
        ..crate::token::Claims::default()
    };
    let token = crate::token::Secret::new(super::SECRET).unwrap().sign(&claims);
    let mut reader = rig.connect();
    reader.receive(format!("GET /events?channel=a&token={token} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    rig.publish("a", "1");
    reader.pump();
    assert!(String::from_utf8_lossy(&reader.take_sent()).contains("\"data\":1"));
    std::thread::sleep(std::time::Duration::from_millis(320));
    rig.publish("a", "2");
    reader.pump();
    assert_eq!(String::from_utf8(reader.take_sent()).unwrap(), "0\r\n\r\n");
}

/// With a listener of its own, administration is served there and nowhere else.
#[test]
fn administration_has_its_own_listener() {
    let rig = Rig::new(&format!("admin_listen = \"127.0.0.1:0\"\n{SITE}"));
    let admin = Rig {
        site: rig.site.administration(),
        app: std::sync::Arc::clone(&rig.app),
        node: std::sync::Arc::clone(&rig.node),
        limits: rig.limits,
    };
    for path in ["/api/nodes", "/healthz", "/metrics", "/api/openapi.json"] {
        assert_eq!((rig.ask(&get(path)).0, admin.ask(&get(path)).0), (404, 200), "{path}");
    }
    for path in ["/", "/comet.js"] {
        assert_eq!((rig.ask(&get(path)).0, admin.ask(&get(path)).0), (200, 404), "{path}");
    }
    for path in ["/ws", "/events?channel=news", "/connection/uni_sse", "/demo/drain"] {
        assert_eq!(admin.ask(&get(path)).0, 404, "{path}");
    }
}

/// Without a demonstration, the first page says what this is, and loads no scripts.
#[test]
fn the_first_page_says_what_this_is() {
    let first = |text: &str| Rig::new(text).ask(&plain("/")).1;
    let welcome = first(SITE);
    assert!(
        welcome.contains("This is a push server") && !welcome.contains("<script"),
        "{welcome}"
    );
    for place in [
        "/ws",
        "/events?channel=NAME",
        "/api/openapi.json",
        "/admin",
        "/metrics",
        "README.md",
    ] {
        assert!(welcome.contains(place), "{place}");
    }
    assert!(first("demo = true").contains("id=\"chat\""));
}

/// The page of administration is where the API is, and nothing on it comes from elsewhere.
#[test]
fn c13_the_page_of_administration_loads_nothing_from_elsewhere() {
    let whole = Rig::new(SITE);
    let rig = Rig::new(&format!("admin_listen = \"127.0.0.1:0\"\n{SITE}"));
    let admin = Rig {
        site: rig.site.administration(),
        app: std::sync::Arc::clone(&rig.app),
        node: std::sync::Arc::clone(&rig.node),
        limits: rig.limits,
    };
    for path in ["/admin", "/admin.js", "/admin.css"] {
        let status = [&whole, &rig, &admin].map(|rig| rig.ask(&plain(path)).0);
        assert_eq!(status, [200, 404, 200], "{path}");
        let mut harness = admin.connect();
        harness.receive(plain(path).as_bytes());
        let sent = String::from_utf8(harness.take_sent()).unwrap();
        for field in [
            "Content-Security-Policy: default-src 'self';",
            "frame-ancestors 'none'",
            "nosniff",
        ] {
            assert!(sent.contains(field), "{path}: {field}");
        }
        let (_, body) = sent.split_once("\r\n\r\n").unwrap();
        assert!(
            !body.contains("://") && !body.contains("style=") && !body.contains("innerHTML"),
            "{path}"
        );
    }
}
