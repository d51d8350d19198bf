//! The client over real sockets, on both drivers, with a server that does what it is told.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Peer, clients, ok, with};
use http_client::{Body, Client, Error, Phase, PoolLimits, RedirectError, Redirects, wait};

#[test]
fn a_get_and_a_kept_connection() {
    for (driver, client) in clients(|_| {}) {
        let peer = Peer::start(|arrived| ok(format!("{} {}", arrived.method, arrived.target)));
        for n in 0..3 {
            let mut answer = wait(client.get(peer.url(&format!("/{n}?a=b"))).send()).unwrap();
            assert_eq!(answer.status(), 200, "{driver}");
            assert_eq!(answer.content_length(), Some(10));
            assert_eq!(wait(answer.text()).unwrap(), format!("GET /{n}?a=b"), "{driver}");
        }
        let log = peer.log();
        let kept: Vec<_> = log.iter().map(|arrived| (arrived.connection, arrived.nth)).collect();
        assert_eq!(kept, [(0, 0), (0, 1), (0, 2)], "{driver}");
        assert_eq!(log[0].fields["host"], peer.address.to_string());
        assert_eq!(log[0].fields["accept-encoding"], "gzip, deflate, br, zstd");
    }
}

#[test]
fn bodies_of_every_kind() {
    for (driver, client) in clients(|settings| settings.timeouts.body = Some(std::time::Duration::from_secs(2))) {
        let peer = Peer::start(|arrived| ok(&arrived.body));
        let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        let path = std::env::temp_dir().join(format!("client-{}-{driver}", std::process::id()));
        std::fs::write(&path, &large).unwrap();
        let (mut sender, streamed) = Body::channel(None);
        let parts = large.clone();
        let feeder = std::thread::spawn(move || {
            for part in parts.chunks(100_000) {
                wait(sender.send(part.to_vec())).unwrap();
            }
            let mut trailers = http_client::http::HeaderMap::new();
            trailers.insert("x-sum", "7".parse().unwrap());
            sender.finish_with(trailers);
        });
        for body in [Body::from(large.clone()), Body::file(&path).unwrap(), streamed] {
            let described = format!("{driver} {body:?}");
            let sent = wait(client.post(peer.url("/")).body(body).send());
            let answer = sent.and_then(|mut answer| wait(answer.bytes()));
            assert!(
                answer.as_deref() == Ok(&large),
                "{described} {:?}",
                answer.map(|bytes| bytes.len())
            );
        }
        feeder.join().unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(peer.log()[2].fields["trailer:x-sum"], "7");
        let mut answer = wait(client.post(peer.url("/")).form([("a b", "c&d")]).send()).unwrap();
        assert_eq!(wait(answer.text()).unwrap(), "a+b=c%26d");
        let mut answer = wait(client.post(peer.url("/")).send()).unwrap();
        assert_eq!(wait(answer.text()).unwrap(), "");
        assert_eq!(peer.log().last().unwrap().fields["content-length"], "0");
        let value = serde_json::json!({ "a": [1, 2] });
        let mut answer = wait(client.put(peer.url("/")).json(&value).send()).unwrap();
        assert_eq!(wait(answer.json::<serde_json::Value>()).unwrap(), value);
    }
}

#[test]
fn redirects_are_followed() {
    for (driver, client) in clients(|_| {}) {
        let other = Peer::start(|arrived| ok(format!("{} {:?}", arrived.method, arrived.fields.get("authorization"))));
        let away = other.url("/there");
        let peer = Peer::start(move |arrived| match arrived.target.as_str() {
            "/1" => with("302 Found", &[("Location", "2")], "moved"),
            "/2" => with("307 Temporary", &[("Location", "/3")], vec![b'x'; 200_000]),
            "/away" => with("301 Moved", &[("Location", &away)], ""),
            "/loop" => with("302 Found", &[("Location", "/loop2")], ""),
            "/loop2" => with("302 Found", &[("Location", "/loop")], ""),
            "/again" => with("308 Permanent", &[("Location", "/3")], ""),
            _ => ok(format!("{} {}", arrived.method, String::from_utf8_lossy(&arrived.body))),
        });
        let mut answer = wait(client.get(peer.url("/1#part")).send()).unwrap();
        assert_eq!(answer.url().as_str(), peer.url("/3#part"));
        assert_eq!(wait(answer.text()).unwrap(), "GET ", "{driver}");
        // The first redirect keeps its connection; the second is longer than what is worth reading.
        let kept: Vec<_> = peer
            .log()
            .iter()
            .map(|arrived| (arrived.connection, arrived.nth))
            .collect();
        assert_eq!(kept, [(0, 0), (0, 1), (1, 0)], "{driver}");
        let request = client.post(peer.url("/away")).basic_auth("me", "secret").body("x");
        let mut answer = wait(request.send()).unwrap();
        assert_eq!(wait(answer.text()).unwrap(), "GET None", "{driver}");
        let mut answer = wait(client.post(peer.url("/again")).body("content").send()).unwrap();
        assert_eq!(wait(answer.text()).unwrap(), "POST content", "{driver}");
        let (mut sender, body) = Body::channel(Some(1));
        std::thread::spawn(move || {
            wait(sender.send("x")).unwrap();
            sender.finish();
        });
        let gone = wait(client.post(peer.url("/again")).body(body).send()).unwrap_err();
        assert_eq!(gone, Error::Redirect(RedirectError::BodyGone), "{driver}");
        let looped = wait(client.get(peer.url("/loop")).send()).unwrap_err();
        assert_eq!(
            looped,
            Error::Redirect(RedirectError::Loop(peer.url("/loop"))),
            "{driver}"
        );
        let raw = wait(client.get(peer.url("/1")).redirects(Redirects::none()).send()).unwrap();
        assert_eq!(raw.status(), 302, "{driver}");
    }
}

/// RFC 9112 section 9.3.1: a kept connection that ends under an idempotent request; the request is sent again, others are not.
#[test]
fn what_met_the_end_of_a_kept_connection_is_repeated_if_it_may_be() {
    for (driver, client) in clients(|_| {}) {
        let peer = Peer::start(|arrived| match (arrived.connection, arrived.nth) {
            (_, 0) => ok("first"),
            _ => (Vec::new(), false),
        });
        let get = || wait(client.get(peer.url("/")).send()).and_then(|mut answer| wait(answer.text()));
        assert_eq!(get().unwrap(), "first", "{driver}");
        assert_eq!(get().unwrap(), "first", "{driver}");
        assert_eq!(peer.log().len(), 3, "{driver}");
        let posted = wait(client.post(peer.url("/")).body("once").send());
        assert!(matches!(posted, Err(Error::Closed { .. })), "{driver} {posted:?}");
        let posts = peer.log().iter().filter(|arrived| arrived.method == "POST").count();
        assert_eq!(posts, 1, "{driver}");
    }
}

/// A connection that its server has closed is not used: the request needs no second try, so it may be a POST.
#[test]
fn a_dead_connection_is_noticed_before_use() {
    for (driver, client) in clients(|_| {}) {
        let peer = Peer::start(|_| (ok("x").0, false));
        for n in 0..5 {
            let mut answer = wait(client.post(peer.url("/")).body("content").send()).unwrap();
            assert_eq!(wait(answer.text()).unwrap(), "x", "{driver} {n}");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(peer.log().len(), 5, "{driver}");
        assert_eq!(client.counts().0, 0, "{driver}");
    }
}

/// Whatever is wrong with an answer, it is an error, and never a short answer.
#[test]
fn faults_are_errors() {
    for (driver, client) in clients(|settings| {
        settings.timeouts.answer = Some(Duration::from_millis(300));
        settings.timeouts.body = Some(Duration::from_millis(300));
    }) {
        let peer = Peer::start(|arrived| {
            let raw = |text: &str, goes_on| (text.as_bytes().to_vec(), goes_on);
            let silent = || std::thread::sleep(Duration::from_secs(2));
            match arrived.target.as_str() {
                "/short" => raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false),
                "/chunk" => raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX", false),
                "/cut" => raw(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                    false,
                ),
                "/nonsense" => raw("220 smtp.test ESMTP\r\n", false),
                "/nothing" => raw("", false),
                "/late" => {
                    silent();
                    raw("", false)
                }
                "/stuck" => raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true),
                "/gzip" => with("200 OK", &[("Content-Encoding", "gzip")], b"no gzip"),
                _ => raw("HTTP/1.1 200 OK\r\n\r\nto the end", false),
            }
        });
        let get = |path: &str| wait(client.get(peer.url(path)).send()).and_then(|mut answer| wait(answer.text()));
        assert_eq!(get("/short"), Err(Error::Closed { kind: None }), "{driver}");
        assert!(matches!(get("/chunk"), Err(Error::Protocol(_))), "{driver}");
        assert_eq!(get("/cut"), Err(Error::Closed { kind: None }), "{driver}");
        assert!(matches!(get("/nonsense"), Err(Error::Protocol(_))), "{driver}");
        assert_eq!(get("/nothing"), Err(Error::Closed { kind: None }), "{driver}");
        assert_eq!(get("/late"), Err(Error::Timeout(Phase::Answer)), "{driver}");
        assert_eq!(get("/stuck"), Err(Error::Timeout(Phase::Body)), "{driver}");
        assert_eq!(get("/gzip"), Err(Error::Decode("gzip")), "{driver}");
        assert_eq!(get("/else").as_deref(), Ok("to the end"), "{driver}");
        let total = client.get(peer.url("/stuck")).timeout(Duration::from_millis(50));
        let total = wait(total.send()).and_then(|mut answer| wait(answer.text()));
        assert_eq!(total, Err(Error::Timeout(Phase::Total)), "{driver}");
        let refused = wait(client.get("http://127.0.0.1:1/").send()).unwrap_err();
        assert!(matches!(refused, Error::Connect { .. }), "{driver} {refused:?}");
        let unknown = wait(client.get("http://name.invalid/").send()).unwrap_err();
        assert!(matches!(unknown, Error::Resolve { .. }), "{driver} {unknown:?}");
        for url in ["ftp://a.test/", "nothing", "http://"] {
            assert!(matches!(wait(client.get(url).send()), Err(Error::Url(_))), "{url}");
        }
        let invalid = client.get(peer.url("/")).header("a b", "c");
        assert_eq!(wait(invalid.send()).unwrap_err(), Error::Invalid("field name"));
    }
}

/// A reader that does not read holds up the server, not the memory; what it drops ends the exchange.
#[test]
fn back_pressure_and_cancelling() {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    for (driver, client) in clients(|_| {}) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            WRITTEN.store(0, Ordering::Relaxed);
            while stream.write_all(&[0; 64 * 1024]).is_ok() {
                WRITTEN.fetch_add(64 * 1024, Ordering::Relaxed);
            }
        });
        let mut answer = wait(client.get(url).send()).unwrap();
        wait(answer.chunk()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let before = WRITTEN.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(WRITTEN.load(Ordering::Relaxed), before, "{driver}");
        let mut read = 0;
        while read < 50_000_000 {
            read += wait(answer.chunk()).unwrap().unwrap().len();
        }
        drop(answer);
        server.join().unwrap();
        let start = Instant::now();
        while client.counts().0 > 0 {
            assert!(start.elapsed() < Duration::from_secs(5), "{driver}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn limits_of_content() {
    for (driver, client) in clients(|settings| settings.max_content = 1000) {
        let peer = Peer::start(|arrived| match arrived.target.as_str() {
            "/known" => ok([0; 1001]),
            "/fits" => ok([0; 1000]),
            _ => {
                let chunk = format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001));
                (
                    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}").into_bytes(),
                    true,
                )
            }
        });
        let get = |path: &str| wait(client.get(peer.url(path)).send()).and_then(|mut answer| wait(answer.bytes()));
        assert_eq!(get("/known"), Err(Error::TooLong(1000)), "{driver}");
        assert_eq!(get("/chunked"), Err(Error::TooLong(1000)), "{driver}");
        assert_eq!(get("/fits").unwrap().len(), 1000, "{driver}");
        // On the driver's own thread, which drops the request while its head is being delivered.
        let (done, outcome) = std::sync::mpsc::channel();
        client
            .get(peer.url("/known"))
            .fetch(move |answer| done.send(answer.map(drop)).unwrap());
        let outcome = outcome.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(outcome, Err(Error::TooLong(1000)), "{driver}");
    }
}

/// Many at the same time: connections are shared and limited, idle ones are closed in time.
#[test]
fn the_pool_shares_and_forgets() {
    for (driver, client) in clients(|settings| {
        settings.pool = PoolLimits::default();
        settings.pool.per_origin = 4;
        settings.pool.idle_per_origin = 2;
        settings.pool.idle_timeout = Duration::from_millis(200);
    }) {
        let peer = Peer::start(|_| {
            std::thread::sleep(Duration::from_millis(2));
            ok("x")
        });
        let (done, all) = std::sync::mpsc::channel();
        for _ in 0..100 {
            let done = done.clone();
            client
                .get(peer.url("/"))
                .fetch(move |answer| done.send(answer.map(http_client::http::Response::into_body)).unwrap());
        }
        drop(done);
        let all: Vec<_> = all.iter().collect();
        assert_eq!(all.len(), 100, "{driver}");
        assert!(
            all.iter().all(|answer| answer.as_ref().is_ok_and(|body| body == "x")),
            "{driver} {all:?}"
        );
        assert!(
            peer.log().iter().map(|arrived| arrived.connection).max().unwrap() < 4,
            "{driver}"
        );
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(client.counts(), (0, 0, 0), "{driver}");
    }
}

#[test]
fn compressed_content() {
    use std::io::Write;
    for (driver, client) in clients(|_| {}) {
        let plain = "hello, hello, hello".repeat(1000);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain.as_bytes()).unwrap();
        let coded = encoder.finish().unwrap();
        let peer = Peer::start(move |arrived| match arrived.method.as_str() {
            "HEAD" => (
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\n".to_vec(),
                true,
            ),
            _ => with("200 OK", &[("Content-Encoding", "gzip")], &coded),
        });
        let mut answer = wait(client.get(peer.url("/")).send()).unwrap();
        assert_eq!(
            (wait(answer.text()).unwrap(), answer.content_length()),
            (plain, None),
            "{driver}"
        );
        let mut answer = wait(client.head(peer.url("/")).send()).unwrap();
        assert_eq!(wait(answer.text()).unwrap(), "", "{driver}");
    }
}

/// A client without a driver works in the caller's runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_runtime() {
    let peer = Peer::start(|arrived| ok(&arrived.target));
    let client = Client::new();
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let request = client.get(peer.url(&format!("/{n}")));
            tokio::spawn(async move { request.send().await?.text().await })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().unwrap(), format!("/{n}"));
    }
    let slow = Peer::start(|_| {
        std::thread::sleep(Duration::from_millis(400));
        ok("late")
    });
    let early = client
        .get(slow.url("/"))
        .timeout(Duration::from_millis(50))
        .send()
        .await;
    assert_eq!(early.unwrap_err(), Error::Timeout(Phase::Total));
    let dropped = tokio::time::timeout(Duration::from_millis(50), client.get(slow.url("/")).send()).await;
    assert!(dropped.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Both connections to the slow server were reset, and are gone.
    let (all, idle, waiting) = client.counts();
    assert_eq!((all, waiting), (idle, 0));
}

/// Cookies are kept between requests, also those of an answer that redirects; RFC 6265 section 5.
#[cfg(feature = "cookies")]
#[test]
fn cookies_are_kept_between_requests() {
    use http_client::CookieJar;
    for (driver, client) in clients(|settings| settings.cookies = Some(std::sync::Arc::new(CookieJar::default()))) {
        let peer = Peer::start(|arrived| match arrived.target.as_str() {
            "/login" => with(
                "302 Found",
                &[("Location", "/home"), ("Set-Cookie", "id=7; HttpOnly")],
                "",
            ),
            _ => ok(arrived.fields.get("cookie").cloned().unwrap_or_default()),
        });
        let text = |path: &str| wait(wait(client.get(peer.url(path)).send()).unwrap().text()).unwrap();
        assert_eq!(text("/home"), "", "{driver}");
        assert_eq!(text("/login"), "id=7", "{driver}");
        assert_eq!(text("/other"), "id=7", "{driver}");
        // A field of the request counts more.
        let mut own = wait(client.get(peer.url("/")).header("Cookie", "own=1").send()).unwrap();
        assert_eq!(wait(own.text()).unwrap(), "own=1", "{driver}");
    }
}

/// A jar is the program's code: it may use the client, so the client's state is not locked when the jar is asked.
#[test]
fn a_jar_may_use_the_client() {
    use http_client::http::{HeaderMap, HeaderValue};
    use std::sync::{Arc, OnceLock};

    #[derive(Default)]
    struct Asking(OnceLock<Client>);
    impl http_client::Cookies for Asking {
        fn store(&self, _: &http_client::url::Url, _: &HeaderMap) {
            self.0.get().unwrap().counts();
        }
        fn cookie(&self, _: &http_client::url::Url) -> Option<HeaderValue> {
            self.0.get().unwrap().counts();
            Some(HeaderValue::from_static("a=1"))
        }
    }

    let jars = std::cell::RefCell::new(Vec::new());
    let made = clients(|settings| {
        let jar = Arc::new(Asking::default());
        jars.borrow_mut().push(Arc::clone(&jar));
        settings.cookies = Some(jar);
    });
    for ((driver, client), jar) in made.into_iter().zip(jars.take()) {
        assert!(jar.0.set(client.clone()).is_ok());
        let peer = Peer::start(|arrived| match arrived.target.as_str() {
            "/moved" => with("302 Found", &[("Location", "/here"), ("Set-Cookie", "b=2")], ""),
            _ => ok(&arrived.fields["cookie"]),
        });
        let mut answer = wait(client.get(peer.url("/moved")).send()).unwrap();
        assert_eq!(wait(answer.text()).unwrap(), "a=1", "{driver}");
    }
}
