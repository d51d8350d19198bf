//! Layers of tower-http and tower.

use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::routing::{get, post};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::services::ServeDir;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::serve;

#[test]
fn compression_both_ways() {
    let text = "to be compressed ".repeat(10_000);
    let length = text.len();
    let app = Router::new()
        .route("/", get(move || async move { text }))
        .route("/", post(|body: String| async move { body.len().to_string() }))
        .layer(CompressionLayer::new())
        .layer(RequestDecompressionLayer::new());
    let served = serve(app);
    let curl = |args: &[&str]| {
        let url = format!("http://{}/", served.address);
        let output = std::process::Command::new("curl")
            .args(["-sS", "--max-time", "20", "-i", &url])
            .args(args)
            .output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Ok(plain) = curl(&[]) else {
        return eprintln!("skipped: there is no curl");
    };
    assert!(
        plain.contains(&format!("Content-Length: {length}\r\n")),
        "{}",
        &plain[..300]
    );
    let packed = curl(&["--compressed"]).unwrap();
    let (head, content) = packed.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-encoding: gzip") && head.contains("Transfer-Encoding: chunked"),
        "{head}"
    );
    assert_eq!(content.len(), length);
    // A gzip file of 1,000 letters "a".
    let file = std::env::temp_dir().join(format!("tower-{}.gz", std::process::id()));
    let made = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("printf %01000d 0 | gzip > {}", file.display()))
        .status();
    assert!(made.unwrap().success());
    let sent = curl(&[
        "--data-binary",
        &format!("@{}", file.display()),
        "-H",
        "Content-Encoding: gzip",
    ])
    .unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(sent.ends_with("\r\n\r\n1000"), "{sent}");
}

#[test]
fn cors_timeouts_limits_and_panics() {
    let cors = CorsLayer::new()
        .allow_origin(HeaderValue::from_static("http://b"))
        .allow_methods([Method::PUT]);
    let app = Router::new()
        .route("/", get(|| async { "ok" }))
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_secs(20)).await;
                "late"
            }),
        )
        .route(
            "/panics",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .route("/in", post(|body: String| async move { body }))
        .layer(cors)
        .layer(CatchPanicLayer::new())
        .layer(RequestBodyLimitLayer::new(10))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            Duration::from_millis(100),
        ))
        .layer(TraceLayer::new_for_http());
    let served = serve(app);
    let preflight = served.ask(
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nAccess-Control-Request-Method: PUT\r\nConnection: close\r\n\r\n",
    );
    assert!(
        preflight.contains("access-control-allow-origin: http://b\r\n"),
        "{preflight}"
    );
    assert!(served.get("/slow").starts_with("HTTP/1.1 408 "));
    assert!(served.get("/panics").starts_with("HTTP/1.1 500 "));
    assert!(served.post("/in", "text/plain", "ten bytes!").ends_with("ten bytes!"));
    assert!(
        served
            .post("/in", "text/plain", "eleven bytes")
            .starts_with("HTTP/1.1 413 ")
    );
    assert!(served.get("/").ends_with("ok"));
}

#[test]
fn files() {
    let folder = std::env::temp_dir().join(format!("tower-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let content = "0123456789".repeat(500_000);
    std::fs::write(folder.join("large.txt"), &content).unwrap();
    std::fs::write(folder.join("small.html"), "<p>").unwrap();
    let served = serve(Router::new().fallback_service(ServeDir::new(&folder)));
    let small = served.get("/small.html");
    assert!(
        small.contains("content-type: text/html\r\n") && small.ends_with("<p>"),
        "{small}"
    );
    let large = served.get("/large.txt");
    assert!(large.split_once("\r\n\r\n").unwrap().1 == content);
    let head = large.split_once("\r\n\r\n").unwrap().0;
    assert!(head.contains("Content-Length: 5000000"), "{head}");
    let modified = head
        .lines()
        .find_map(|line| line.strip_prefix("last-modified: "))
        .unwrap();
    let unchanged = served.ask(&format!(
        "GET /large.txt HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: {modified}\r\nConnection: close\r\n\r\n"
    ));
    assert!(unchanged.starts_with("HTTP/1.1 304 "), "{unchanged}");
    let range = served.ask("GET /large.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9\r\nConnection: close\r\n\r\n");
    assert!(
        range.starts_with("HTTP/1.1 206 ") && range.ends_with("\r\n\r\n56789"),
        "{range}"
    );
    let head = served.ask("HEAD /large.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(
        head.contains("Content-Length: 5000000\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(served.get("/none").starts_with("HTTP/1.1 404 "));
    std::fs::remove_dir_all(folder).unwrap();
}

/// A service that is ready for one request at a time, over all connections.
#[test]
fn readiness() {
    let app = Router::new().route(
        "/",
        get(|| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            "ok"
        }),
    );
    let limited = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .layer(tower::limit::GlobalConcurrencyLimitLayer::new(1))
        .service(app);
    let config = crate::config();
    let running = driver_tokio::Server::new()
        .threads(2)
        .serve("127.0.0.1:0", move |peer| {
            Some(proto_tower::connection(&config, limited.clone(), peer))
        })
        .unwrap();
    let served = crate::served(running);
    let began = std::time::Instant::now();
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = served.connect();
            std::thread::spawn(move || {
                use std::io::{Read, Write};
                stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    .unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                assert!(answer.ends_with("ok"), "{answer}");
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    served.stop(Duration::ZERO);
}
