//! Content that is streamed in both directions.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use http_body_util::BodyExt;

use crate::{config, h2, read_head, serve, serve_with};

/// A stream of pieces of 32 KiB that counts how many were polled.
fn pieces(asked: Arc<AtomicUsize>, most: usize) -> Body {
    let stream = futures_util::stream::iter(0..most).map(move |_| {
        asked.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 32 * 1024]))
    });
    Body::from_stream(stream)
}

/// A client that does not read stops the service's stream.
#[test]
fn responses_wait_for_their_reader() {
    let asked = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&asked);
    let served = serve(Router::new().route("/", get(move || async move { pieces(theirs, 4000) })));
    let mut stream = served.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    // Of 125 MiB, the service was asked for about as much as the kernel's buffers hold.
    let waiting = asked.load(Ordering::SeqCst);
    assert!((1..1000).contains(&waiting), "{waiting}");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 4000);
    assert!(all.ends_with(b"\r\n0\r\n\r\n") && all.len() > 4000 * 32 * 1024);
}

/// A service that does not read stops its client.
#[test]
fn requests_wait_for_their_reader() {
    let app = Router::new().route(
        "/",
        post(|request: Request| async move {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let bytes = request.into_body().collect().await.unwrap().to_bytes();
            bytes.len().to_string()
        }),
    );
    let unlimited = config().with(|one, _| one.rules.limits.body = None);
    let served = serve_with(unlimited, app);
    let mut stream = served.connect();
    let size = 50_000_000;
    write!(stream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let piece = [b'x'; 65_536];
    let mut sent = 0;
    while sent < size
        && let Ok(n) = stream.write(&piece[..piece.len().min(size - sent)])
    {
        sent += n;
    }
    assert!(sent < 30_000_000, "{sent} bytes went to a service that does not read");
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    while sent < size {
        sent += stream.write(&piece[..piece.len().min(size - sent)]).unwrap();
    }
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut content = [0; 8];
    stream.read_exact(&mut content).unwrap();
    assert_eq!(&content, b"50000000");
}

/// An echo sends content back before the rest has arrived.
#[test]
fn an_echo_as_it_comes() {
    let served = serve(Router::new().route(
        "/",
        post(|request: Request| async move { Response::new(request.into_body()) }),
    ));
    let mut stream = served.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut stream).contains("Transfer-Encoding: chunked\r\n"));
    for word in ["one", "two", "six"] {
        write!(stream, "3\r\n{word}\r\n").unwrap();
        let mut back = [0; 8];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, *format!("3\r\n{word}\r\n").as_bytes());
    }
    // RFC 9110 section 6.5: trailers as well.
    stream
        .write_all(b"0\r\nX-Sum: 3\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut end = [0; "0\r\nx-sum: 3\r\n\r\n".len()];
    stream.read_exact(&mut end).unwrap();
    assert_eq!(&end, b"0\r\nx-sum: 3\r\n\r\n");
    // The connection persists.
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn trailers_over_http2() {
    let served = serve(Router::new().route(
        "/",
        post(|request: Request| async move {
            let collected = request.into_body().collect().await.unwrap();
            let trailers = collected.trailers().cloned().unwrap_or_default();
            let body = http_body_util::Full::new(collected.to_bytes()).with_trailers(async move { Some(Ok(trailers)) });
            Response::new(Body::new(body))
        }),
    ));
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("3"));
    let body =
        http_body_util::Full::new(Bytes::from_static(b"abc")).with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = http::Request::post("http://a/").body(Body::new(body)).unwrap();
    let (_, content, trailers) = h2(served.address, request).await;
    assert_eq!(content, b"abc");
    assert_eq!(trailers.unwrap()["x-sum"], "3");
}

/// RFC 9110 section 10.1.1: the client is not asked for content that the service does not read.
#[test]
fn content_is_asked_for_when_it_is_wanted() {
    let app = Router::new()
        .route("/reads", post(|body: String| async move { body }))
        .route(
            "/later",
            post(|request: Request| async move {
                // Content is read in another task, after a while.
                let reading = tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    request.into_body().collect().await.unwrap().to_bytes()
                });
                reading.await.unwrap()
            }),
        )
        .route(
            "/echo",
            post(|request: Request| async move { Response::new(request.into_body()) }),
        )
        .route("/refuses", post(|| async { StatusCode::UNAUTHORIZED }));
    let served = serve(app);
    let ask = |path: &str| {
        let mut stream = served.connect();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        .unwrap();
        stream
    };
    for path in ["/reads", "/later"] {
        let mut stream = ask(path);
        assert_eq!(read_head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"abc").unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut content = [0; 3];
        stream.read_exact(&mut content).unwrap();
        assert_eq!(&content, b"abc");
    }
    // The response streams the request's content.
    let mut stream = ask("/echo");
    assert_eq!(read_head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200 "));
    stream.write_all(b"abc").unwrap();
    let mut content = [0; 3];
    stream.read_exact(&mut content).unwrap();
    assert_eq!(&content, b"abc");
    let mut stream = ask("/refuses");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

/// One piece larger than a connection may hold is still sent.
#[tokio::test]
async fn one_large_piece() {
    const SIZE: usize = 20 * 1024 * 1024;
    let app = Router::new()
        .route("/", get(|| async { vec![b'x'; SIZE] }))
        .route("/", post(|bytes: Bytes| async move { bytes }))
        .layer(DefaultBodyLimit::disable());
    let unlimited = config().with(|one, two| {
        one.rules.limits.body = None;
        two.limits.body = None;
    });
    let served = serve_with(unlimited, app);
    let request = http::Request::get("http://a/").body(Body::empty()).unwrap();
    let (head, content, _) = h2(served.address, request).await;
    assert_eq!(head.headers["content-length"], SIZE.to_string().as_str());
    assert_eq!(content.len(), SIZE);
    let request = http::Request::post("http://a/").body(Body::from(content)).unwrap();
    let (_, content, _) = h2(served.address, request).await;
    assert_eq!(content.len(), SIZE);
    let answer = served.get("/");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), SIZE);
}

/// RFC 9112 section 8: a response whose stream fails never looks complete.
#[test]
fn a_response_that_fails() {
    let fails = |length: Option<&'static str>| {
        let pieces = [Ok("some"), Err(std::io::Error::other("no more"))];
        let stream = futures_util::stream::iter(pieces).chain(futures_util::stream::pending());
        let mut response = Body::from_stream(stream).into_response();
        if let Some(length) = length {
            response
                .headers_mut()
                .insert("content-length", HeaderValue::from_static(length));
        }
        response
    };
    let app = Router::new()
        .route("/chunks", get(move || async move { fails(None) }))
        .route("/length", get(move || async move { fails(Some("10")) }))
        .route(
            "/lies",
            get(|| async {
                (
                    [("content-length", "10")],
                    Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("four")])),
                )
            }),
        );
    let served = serve(app);
    for (path, end) in [
        ("/chunks", "\r\n\r\n4\r\nsome\r\n"),
        ("/length", "\r\n\r\nsome"),
        ("/lies", "\r\n\r\nfour"),
    ] {
        let answer = served.get(path);
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(end),
            "{path}: {answer}"
        );
    }
}
