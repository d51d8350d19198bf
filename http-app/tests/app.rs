//! Apps over HTTP/1.1 and HTTP/2, in memory.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::SystemTime;

use http_app::{App, Call, IntoAnswer, Problem, Reply, later};
use proto_http::{Server, ServerConfig};
use protocol::testing::{Harness, splits};
use protocol::{Limits, Peer, Woken};

fn serve(app: &App) -> Harness<Server<http_app::AppHandler>> {
    let config = Arc::new(ServerConfig::new(|| SystemTime::UNIX_EPOCH));
    let factory = |peer: &Peer<'_, Woken>| Some(Server::new(config, app.handler(peer)));
    Harness::accept(Limits::default(), factory).expect("the factory takes every connection")
}

/// Sends a request in every split; returns the answer, which is always the same.
fn ask(app: &App, request: &str) -> String {
    let answers: Vec<String> = splits(request.as_bytes())
        .map(|pieces| {
            let mut harness = serve(app);
            pieces.into_iter().for_each(|piece| harness.receive(piece));
            String::from_utf8(harness.take_sent()).unwrap()
        })
        .collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    answers.into_iter().next().unwrap()
}

fn request(method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn with_body(method: &str, target: &str, media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The status and the content of an answer.
fn parts(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body)
}

fn app() -> App {
    App::new()
        .get("/", |_| "home")
        .get("/a/{name}", |call: Call| {
            call.param("name").unwrap_or_default().to_owned()
        })
        .get("/a/fixed", |_| Reply::html("<p>fixed"))
        .get("/n/{number}", |call: Call| {
            call.param_as::<u8>("number").map(|number| number.to_string())
        })
        .get("/rest/{*path}", |call: Call| {
            call.param("path").unwrap_or_default().to_owned()
        })
        .get("/wrong", |call: Call| call.param_as::<u8>("none").map(|_| ()))
        .get("/q", |call: Call| {
            let page = call.query().get_as::<u32>("page")?;
            Ok::<_, Problem>(format!("{page:?}"))
        })
        .post("/form", |call: Call| {
            Ok::<_, Problem>(call.form()?.get("a").unwrap_or_default().into_owned())
        })
        .post("/echo", |call: Call| call.text().map(str::to_owned))
        .put("/n/{number}", |_| (201, "made"))
        .delete("/n/{number}", |_| ())
        .get("/moved", |_| Reply::redirect(308, "/a/fixed"))
        .get("/split", |_| Reply::text("").field("X-A", "a\r\nSet-Cookie: b"))
        .limit(8)
        .build()
        .unwrap()
}

#[test]
fn routes_and_parameters() {
    let app = app();
    for (target, status, body) in [
        ("/", 200, "home"),
        ("/a/x", 200, "x"),
        ("/a/x?y", 200, "x"),
        ("http://other/a/x", 200, "x"),
        ("/a/J%C3%BCrgen%2F%25", 200, "Jürgen/%"),
        ("/a/%FF", 400, "the path is not UTF-8"),
        ("/a/fixed", 200, "<p>fixed"),
        ("/a/", 404, "not found"),
        ("/a/x/", 404, "not found"),
        ("/rest/x/y%20z", 200, "x/y z"),
        ("/n/255", 200, "255"),
        ("/n/256", 404, "not found"),
        ("/wrong", 500, "the route has no parameter none"),
        ("/none", 404, "not found"),
        ("/q?page=7", 200, "Some(7)"),
        ("/q", 200, "None"),
        ("/q?page=x", 400, "page: invalid digit found in string"),
    ] {
        assert_eq!(parts(&ask(&app, &request("GET", target))), (status, body), "{target}");
    }
    let moved = ask(&app, &request("GET", "/moved"));
    assert!(
        moved.starts_with("HTTP/1.1 308 ") && moved.contains("\r\nLocation: /a/fixed\r\n"),
        "{moved}"
    );
}

/// RFC 9110 sections 9.3.2, 9.3.7 and 15.5.6.
#[test]
fn methods() {
    let app = app();
    let head = ask(&app, &request("HEAD", "/"));
    assert!(
        head.contains("\r\nContent-Length: 4\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let refused = ask(&app, &request("DELETE", "/"));
    assert!(
        refused.starts_with("HTTP/1.1 405 ") && refused.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"),
        "{refused}"
    );
    let options = ask(&app, &request("OPTIONS", "/n/1"));
    assert!(options.starts_with("HTTP/1.1 204 "), "{options}");
    assert!(
        options.contains("\r\nAllow: GET, PUT, DELETE, HEAD, OPTIONS\r\n"),
        "{options}"
    );
    assert_eq!(parts(&ask(&app, &request("OPTIONS", "*"))), (204, ""));
    assert_eq!(parts(&ask(&app, &with_body("PUT", "/n/1", "a/b", "x"))), (201, "made"));
    assert_eq!(parts(&ask(&app, &request("DELETE", "/n/1"))), (204, ""));
    // A method is case-sensitive.
    assert_eq!(parts(&ask(&app, &request("get", "/"))).0, 405);
}

#[test]
fn bodies_have_a_limit() {
    let app = app();
    assert_eq!(
        parts(&ask(&app, &with_body("POST", "/echo", "a/b", "12345678"))),
        (200, "12345678")
    );
    assert_eq!(
        parts(&ask(&app, &with_body("POST", "/echo", "a/b", "123456789"))).0,
        413
    );
    let chunked = |size: &str, chunk: &str| {
        format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n{size}\r\n{chunk}\r\n0\r\n\r\n"
        )
    };
    assert_eq!(parts(&ask(&app, &chunked("4", "5678"))), (200, "12345678"));
    let refused = "the body is longer than 8 bytes";
    assert_eq!(parts(&ask(&app, &chunked("5", "56789"))), (413, refused));
    // A route that does not exist is answered before the body has come.
    let mut harness = serve(&app);
    harness.receive(b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    assert!(harness.sent().starts_with(b"HTTP/1.1 404 "));
}

#[test]
fn forms_have_their_media_type() {
    let app = app();
    let form = "application/x-www-form-urlencoded";
    assert_eq!(
        parts(&ask(&app, &with_body("POST", "/form", form, "a=b%20c"))),
        (200, "b c")
    );
    let with_charset = "Application/X-WWW-Form-URLencoded ; charset=utf-8";
    assert_eq!(
        parts(&ask(&app, &with_body("POST", "/form", with_charset, "a=b+c"))),
        (200, "b c")
    );
    assert_eq!(
        parts(&ask(&app, &with_body("POST", "/form", "text/plain", "a=b"))).0,
        415
    );
    assert_eq!(parts(&ask(&app, &with_body("POST", "/echo", "a/b", "a"))), (200, "a"));
}

/// A line end in a field's value would split the response (RFC 9112 section 11.1): the reply is not sent.
#[test]
fn a_field_cannot_split_the_reply() {
    let answer = ask(&app(), &request("GET", "/split"));
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(!answer.contains("Set-Cookie"), "{answer}");
}

#[test]
fn long_content_is_sent_whole() {
    let page = "x".repeat(100_000);
    let sent = page.clone();
    let app = App::new().get("/", move |_| sent.clone()).build().unwrap();
    assert_eq!(parts(&ask(&app, &request("GET", "/"))), (200, &*page));
}

#[test]
fn a_fallback_answers_the_rest() {
    let app = App::new()
        .get("/", |_| "home")
        .fallback(|call: Call| (410, format!("{} is gone", call.path())))
        .build()
        .unwrap();
    assert_eq!(parts(&ask(&app, &request("GET", "/x"))), (410, "/x is gone"));
    assert_eq!(parts(&ask(&app, &request("GET", "/"))), (200, "home"));
    assert_eq!(parts(&ask(&app, &request("POST", "/"))).0, 405);
}

#[test]
fn routes_that_conflict_are_refused() {
    let none = |_: Call| "";
    let error = App::new().get("/{a}", none).get("/{b}", none).build().unwrap_err();
    assert!(error.to_string().starts_with("the route /{b}: "), "{error}");
    App::new().get("/{", none).build().unwrap_err();
    // The last function counts.
    let app = App::new().get("/", |_| "one").get("/", |_| "two").build().unwrap();
    assert_eq!(parts(&ask(&app, &request("GET", "/"))), (200, "two"));
}

/// A future that others complete.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(Option<&'static str>, Option<Waker>)>>);

impl Gate {
    fn open(&self, text: &'static str) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = Some(text);
            state.1.take()
        };
        waker.expect("the future was polled").wake();
    }

    async fn pass(self) -> &'static str {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            state.1 = Some(cx.waker().clone());
            state.0.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Counts the futures that were dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn waiting(gate: &Gate, dropped: &Arc<AtomicUsize>) -> App {
    let (gate, dropped) = (gate.clone(), Arc::clone(dropped));
    let wait = move |call: Call| {
        let (gate, dropped) = (gate.clone(), Dropped(Arc::clone(&dropped)));
        later(async move {
            let _dropped = dropped;
            format!("{} {}", call.path(), gate.pass().await)
        })
    };
    App::new()
        .get("/wait", wait)
        .get("/now", |_| later(async { "now" }))
        .get("/fail", |_| later(async { Err::<(), _>(Problem::new(503, "busy")) }))
        .get("/sync", |call: Call| match call.query().get("later") {
            Some(_) => later(async { "later" }),
            None => "at once".into_answer(),
        })
        .build()
        .unwrap()
}

#[test]
fn futures_answer() {
    let (gate, dropped) = (Gate::default(), Arc::default());
    let app = waiting(&gate, &dropped);
    assert_eq!(parts(&ask(&app, &request("GET", "/now"))), (200, "now"));
    assert_eq!(parts(&ask(&app, &request("GET", "/fail"))), (503, "busy"));
    assert_eq!(parts(&ask(&app, &request("GET", "/sync"))), (200, "at once"));
    assert_eq!(parts(&ask(&app, &request("GET", "/sync?later"))), (200, "later"));

    let mut harness = serve(&app);
    // The second request waits for the first one's answer.
    harness.receive([request("GET", "/wait"), request("GET", "/now")].concat().as_bytes());
    assert_eq!(harness.sent(), b"");
    gate.open("open");
    harness.pump();
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    let (first, second) = (sent.find("/wait open").unwrap(), sent.find("\r\n\r\nnow").unwrap());
    assert!(first < second);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

/// A HEADERS frame with a whole GET (RFC 9113 section 6.2): `path` is a literal, the authority is `a`.
fn get_frame(stream: u8, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    let block = [&[0x82, 0x86, 0x04, length], path.as_bytes(), &[0x41, 1, b'a']].concat();
    let length = u8::try_from(block.len()).unwrap();
    [&[0, 0, length, 1, 5, 0, 0, 0, stream], &block[..]].concat()
}

#[test]
fn streams_of_http_2_do_not_wait_for_each_other() {
    let (gate, dropped) = (Gate::default(), Arc::default());
    let app = waiting(&gate, &dropped);
    let one = Arc::new(ServerConfig::new(|| SystemTime::UNIX_EPOCH));
    let two = Arc::new(proto_h2::ServerConfig::new(|| SystemTime::UNIX_EPOCH));
    let handlers = move |peer: &Peer<'_, Woken>| Some(app.handler(peer));
    let connection =
        |peer: &Peer<'_, proto_h2::StreamMessage<Woken>>| Some(proto_h2::Auto::new(one, two, handlers, peer));
    let mut harness = Harness::accept(Limits::default(), connection).unwrap();
    harness.receive(proto_h2::PREFACE);
    harness.receive(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    harness.receive(&get_frame(1, "/wait"));
    harness.receive(&get_frame(3, "/now"));
    assert!(harness.take_sent().ends_with(b"now"));
    gate.open("open");
    harness.pump();
    assert!(harness.take_sent().ends_with(b"/wait open"));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    // A reset of a stream drops its future (RFC 9113 section 6.4).
    harness.receive(&get_frame(5, "/wait"));
    harness.receive(&[0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 8]);
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    assert!(harness.ended().is_none());
}

#[test]
fn a_future_is_dropped_with_its_client() {
    let (gate, dropped) = (Gate::default(), Arc::default());
    let app = waiting(&gate, &dropped);
    let mut harness = serve(&app);
    harness.receive(request("GET", "/wait").as_bytes());
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    harness.reset();
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    // A wake-up that comes too late is harmless.
    gate.open("late");
    harness.pump();
}

#[test]
fn a_future_has_a_deadline() {
    let (gate, dropped) = (Gate::default(), Arc::default());
    let app = waiting(&gate, &dropped);
    let mut harness = serve(&app);
    harness.receive(request("GET", "/wait").as_bytes());
    let longest = ServerConfig::new(SystemTime::now).timeouts.answer.unwrap();
    harness.advance(longest + longest);
    assert!(harness.ended().is_some());
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn a_whole_app_can_be_called_from_many_threads() {
    let counter = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&counter);
    let app = App::new()
        .post("/", move |_| counted.fetch_add(1, Ordering::Relaxed).to_string())
        .build()
        .unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let app = app.clone();
            std::thread::spawn(move || {
                let mut harness = serve(&app);
                for _ in 0..100 {
                    harness.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(counter.load(Ordering::Relaxed), 400);
}

#[cfg(feature = "json")]
mod json {
    use http_app::Json;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Deserialize, Serialize)]
    struct Note {
        id: u64,
        text: String,
    }

    /// RFC 9110 sections 15.5.1, 15.5.16 and 15.5.21.
    #[test]
    fn values() {
        let app = App::new()
            .post("/", |call: Call| call.json::<Note>().map(|note| (201, Json(note))))
            .get("/bad", |_| Json(std::collections::BTreeMap::from([((1, 2), 3)])))
            .build()
            .unwrap();
        let post = |media_type, body| ask(&app, &with_body("POST", "/", media_type, body));
        let note = r#"{"id":7,"text":"a\"b"}"#;
        let answer = post("application/json; charset=utf-8", note);
        assert_eq!(parts(&answer), (201, note));
        assert!(answer.contains("\r\nContent-Type: application/json\r\n"), "{answer}");
        assert_eq!(parts(&post("application/merge-patch+JSON", note)), (201, note));
        for (media_type, body, status) in [
            ("text/plain", note, 415),
            ("", note, 415),
            ("application/jsonx", note, 415),
            ("application/json", "{", 400),
            ("application/json", "", 400),
            ("application/json", r#"{"id":7}"#, 422),
            ("application/json", r#"{"id":"7","text":""}"#, 422),
            ("application/json", r#"{"id":7,"text":""}x"#, 400),
        ] {
            assert_eq!(parts(&post(media_type, body)).0, status, "{media_type} {body}");
        }
        let bad = ask(&app, &request("GET", "/bad"));
        assert_eq!(parts(&bad), (500, "the reply cannot be written: key must be a string"));
    }
}

#[cfg(feature = "cookies")]
mod cookies {
    use http_app::cookie::Cookie;

    use super::*;

    #[test]
    fn both_ways() {
        let app = App::new()
            .get("/", |call: Call| {
                let all: Vec<String> = call.cookies().map(|cookie| cookie.name().to_owned()).collect();
                format!("{all:?} {:?}", call.cookie("b"))
            })
            .post("/", |_| {
                Reply::new(204).cookie(&Cookie::build(("a", "b; c")).http_only(true).path("/").build())
            })
            .build()
            .unwrap();
        let answer = ask(
            &app,
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=x%20y; broken\r\nCookie: c=3\r\n\r\n",
        );
        assert_eq!(parts(&answer), (200, r#"["a", "b", "c"] Some("x y")"#));
        let answer = ask(&app, &request("POST", "/"));
        assert!(
            answer.contains("\r\nSet-Cookie: a=b%3B%20c; HttpOnly; Path=/\r\n"),
            "{answer}"
        );
    }
}
