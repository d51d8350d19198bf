//! How exchanges end: clients that close, deadlines, and the server's stop.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::routing::{get, post};
use http_body_util::BodyExt;

use crate::{config, read_head, serve, serve_with};

/// Sends its text when it is dropped.
struct Dropped(Sender<&'static str>, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

/// A service that never answers, and one that never ends its answer.
fn endless() -> (Router, Receiver<&'static str>) {
    let (tell, told) = channel();
    let (one, two) = (tell.clone(), tell);
    let app = Router::new()
        .route(
            "/waits",
            get(move || async move {
                let _held = Dropped(one, "waits");
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/streams",
            get(move || async move {
                let held = Dropped(two, "streams");
                let stream = futures_util::stream::unfold(held, |held| async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    Some((Ok::<_, std::io::Error>("tick "), held))
                });
                axum::body::Body::from_stream(stream)
            }),
        );
    (app, told)
}

/// When a client closes or resets its connection, the futures of its requests are dropped.
#[test]
fn cancellation() {
    let (app, told) = endless();
    let served = serve(app);
    for path in ["/waits", "/streams"] {
        for half_close in [true, false] {
            let mut stream = served.connect();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            if path == "/streams" {
                read_head(&mut stream);
            } else {
                std::thread::sleep(Duration::from_millis(50));
            }
            assert!(told.try_recv().is_err());
            if half_close {
                stream.shutdown(Shutdown::Write).unwrap();
            } else {
                drop(stream);
            }
            assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(&path[1..]));
        }
    }
}

/// Over HTTP/2 the end of a stream cancels its own future only.
#[tokio::test]
async fn cancellation_over_http2() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let (app, told) = endless();
    let served = serve(app);
    let stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = |path: &str| {
        let uri = format!("http://a{path}");
        http::Request::get(uri).body(axum::body::Body::empty()).unwrap()
    };
    let streams = sender.send_request(request("/streams")).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(200), sender.send_request(request("/waits")));
    assert!(waits.await.is_err());
    let next = || {
        let told = &told;
        async move {
            for _ in 0..500 {
                if let Ok(dropped) = told.try_recv() {
                    return Some(dropped);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            None
        }
    };
    assert_eq!(next().await, Some("waits"));
    assert!(told.try_recv().is_err());
    drop(streams);
    assert_eq!(next().await, Some("streams"));
    assert_eq!(sender.send_request(request("/none")).await.unwrap().status(), 404);
}

/// Clients that half-close are answered if the settings allow it.
#[test]
fn half_closed_clients() {
    let app = Router::new().route(
        "/",
        get(|| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            "ok"
        }),
    );
    let kind = config().with(|one, _| one.half_closed = true);
    for (config, answered) in [(config(), false), (kind, true)] {
        let served = serve_with(config, app.clone());
        let mut stream = served.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.ends_with("ok"), answered, "{answer}");
    }
}

/// The reader of a truncated request gets an error, never a regular end.
#[test]
fn a_request_cut_short() {
    let (tell, told) = channel();
    let app = Router::new().route(
        "/",
        post(move |request: Request| async move {
            tokio::spawn(async move {
                let outcome = request
                    .into_body()
                    .collect()
                    .await
                    .map(|collected| collected.to_bytes());
                tell.send(outcome.map_err(|error| error.to_string())).unwrap();
            });
            std::future::pending::<()>().await;
        }),
    );
    let served = serve(app);
    let mut stream = served.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        .unwrap();
    assert!(told.recv_timeout(Duration::from_millis(200)).is_err());
    drop(stream);
    let outcome: Result<Bytes, String> = told.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(outcome, Err("the request ended before its content was complete".into()));
}

/// Content that the service does not read does not block the next request.
#[test]
fn content_that_nobody_reads() {
    let served = serve(Router::new().route("/", post(|| async { "ok" })));
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    let last = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answers = served.ask(&(request.repeat(3) + last));
    assert_eq!(answers.matches("\r\n\r\nok").count(), 4, "{answers}");
}

#[test]
fn deadlines() {
    let (app, told) = endless();
    let hasty = config().with(|one, _| one.timeouts.answer = Some(Duration::from_millis(200)));
    let served = serve_with(hasty, app);
    assert!(served.get("/waits").starts_with("HTTP/1.1 503 "));
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok("waits"));
}

/// Responses under way are finished, and idle connections closed; the others are reset when the drain time is over.
#[test]
fn draining() {
    let slow = get(|| async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        "ok"
    });
    let served = serve(Router::new().route("/", slow.clone()));
    let (mut busy, mut idle) = (served.connect(), served.connect());
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    idle.write_all(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    read_head(&mut idle);
    std::thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    let stats = served.stop(Duration::from_secs(10));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(stats.accepted, 2);
    let mut answer = String::new();
    busy.read_to_string(&mut answer).unwrap();
    assert!(
        answer.ends_with("ok") && answer.contains("Connection: close\r\n"),
        "{answer}"
    );
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);

    let (app, told) = endless();
    let served = serve(app);
    let mut stream = served.connect();
    stream.write_all(b"GET /streams HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    read_head(&mut stream);
    let began = Instant::now();
    served.stop(Duration::from_millis(300));
    assert!(
        (300..5000).contains(&began.elapsed().as_millis()),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok("streams"));
}

/// The server runs in the user's multi-threaded runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_runtime() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route(
        "/",
        get(|| async {
            tokio::task::yield_now().await;
            tokio::spawn(async { "ok" }).await.unwrap()
        }),
    );
    let config = config();
    let factory = move |peer: &protocol::Peer<'_, _>| Some(proto_tower::connection(&config, app.clone(), peer));
    let (handle, serving) = driver_tokio::serve_in_runtime(driver_tokio::Config::default(), [listener], factory);
    let serving = tokio::spawn(serving);
    for _ in 0..50 {
        let request = http::Request::get("http://a/").body(axum::body::Body::empty()).unwrap();
        let (_, content, _) = crate::h2(address, request).await;
        assert_eq!(content, b"ok");
    }
    handle.stop(Duration::from_secs(2));
    assert_eq!(serving.await.unwrap().accepted, 50);
}
