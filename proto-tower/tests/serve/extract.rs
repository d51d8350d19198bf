//! axum's extractors and responses.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Form, MatchedPath, Multipart, OriginalUri, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Version};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::{Served, h2, serve};

#[derive(Deserialize, Serialize)]
struct Item {
    name: String,
    count: u32,
}

fn app() -> Router {
    let nested = Router::new().route(
        "/users/{id}",
        get(|Path(id): Path<u32>, uri: OriginalUri| async move { format!("{id} {}", uri.path()) }),
    );
    Router::new()
        .route("/", get(|| async { "Hello, World!" }))
        .route("/html", get(|| async { Html("<p>") }))
        .route(
            "/json",
            post(|Json(mut item): Json<Item>| async {
                item.count += 1;
                Json(item)
            }),
        )
        .route(
            "/form",
            post(|Form(item): Form<Item>| async move { format!("{} {}", item.name, item.count) }),
        )
        .route(
            "/query",
            get(|Query(item): Query<Item>| async move { format!("{} {}", item.name, item.count) }),
        )
        .route("/bytes", post(|bytes: Bytes| async move { bytes.len().to_string() }))
        .route("/state", get(|State(state): State<&'static str>| async move { state }))
        .route(
            "/matched/{any}",
            get(|path: MatchedPath| async move { path.as_str().to_owned() }),
        )
        .route(
            "/fields",
            get(|fields: HeaderMap| async move {
                let mut all: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
                    .collect();
                all.sort();
                all.join("|")
            }),
        )
        .route(
            "/who",
            get(|ConnectInfo(who): ConnectInfo<SocketAddr>| async move { who.ip().to_string() }),
        )
        .route(
            "/any",
            any(|method: Method, request: Request| async move {
                format!("{method} {:?} {}", request.version(), request.uri())
            }),
        )
        .route(
            "/upload",
            post(|mut form: Multipart| async move {
                let mut all = String::new();
                while let Some(field) = form.next_field().await.unwrap() {
                    let name = field.name().unwrap().to_owned();
                    all += &format!("{name}={};", field.text().await.unwrap());
                }
                all
            }),
        )
        .route("/redirect", get(|| async { Redirect::to("/") }))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route(
            "/fields-of",
            get(|| async { ([("x-a", "1"), ("x-b", "2")], (StatusCode::ACCEPTED, "ok")).into_response() }),
        )
        .nest("/api", nested)
        .fallback(|| async { (StatusCode::NOT_FOUND, "nothing here") })
        .with_state("the state")
}

fn served() -> Served {
    serve(app())
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn extractors() {
    let served = served();
    for (path, expected) in [
        ("/", "Hello, World!"),
        ("/html", "<p>"),
        ("/query?name=a%20b&count=3", "a b 3"),
        ("/state", "the state"),
        ("/matched/x", "/matched/{any}"),
        ("/fields", "connection=close|host=a"),
        ("/who", "127.0.0.1"),
        ("/any?x", "GET HTTP/1.1 /any?x"),
        ("/api/users/7", "7 /api/users/7"),
        ("/none", "nothing here"),
    ] {
        let answer = served.get(path);
        assert_eq!(body(&answer), expected, "{answer}");
        assert!(
            answer.contains(&format!("content-length: {}\r\n", expected.len()))
                || answer.contains(&format!("Content-Length: {}\r\n", expected.len())),
            "{answer}"
        );
    }
    let json = served.post("/json", "application/json", r#"{"name":"x","count":1}"#);
    assert_eq!(body(&json), r#"{"name":"x","count":2}"#);
    assert!(json.contains("content-type: application/json\r\n"), "{json}");
    let form = served.post("/form", "application/x-www-form-urlencoded", "name=y&count=2");
    assert_eq!(body(&form), "y 2");
    assert_eq!(
        body(&served.post("/bytes", "text/plain", &"z".repeat(300_000))),
        "300000"
    );
    let parts = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n2\r\n--B--\r\n";
    assert_eq!(
        body(&served.post("/upload", "multipart/form-data; boundary=B", parts)),
        "a=1;b=2;"
    );
    // Requests that axum refuses.
    for (kind, content, status) in [
        ("text/plain", "{}", 415),
        ("application/json", "{", 400),
        ("application/json", "{}", 422),
    ] {
        let refusal = served.post("/json", kind, content);
        assert!(refusal.starts_with(&format!("HTTP/1.1 {status} ")), "{refusal}");
    }
    let wrong = served.ask("DELETE /json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(
        wrong.starts_with("HTTP/1.1 405 ") && wrong.contains("allow: POST\r\n"),
        "{wrong}"
    );
}

#[test]
fn responses() {
    let served = served();
    assert!(served.get("/redirect").contains("location: /\r\n"));
    let empty = served.get("/empty");
    assert!(
        empty.starts_with("HTTP/1.1 204 ") && !empty.to_lowercase().contains("content-length"),
        "{empty}"
    );
    let fields = served.get("/fields-of");
    assert!(
        fields.starts_with("HTTP/1.1 202 Accepted\r\n") && fields.contains("x-a: 1\r\nx-b: 2\r\n"),
        "{fields}"
    );
    assert!(fields.contains("Date: "), "{fields}");
    // RFC 9110 section 9.3.2: a response to HEAD has the length of the content and no content.
    let head = served.ask("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(
        head.contains("Content-Length: 13\r\n") && body(&head).is_empty(),
        "{head}"
    );
    // Several pipelined requests are answered on one connection.
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let many = served.ask(&format!(
        "{}GET /any HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        get.repeat(50)
    ));
    assert_eq!(many.matches("Hello, World!").count(), 50);
    assert!(many.ends_with("GET HTTP/1.1 /any"), "{many}");
    // Requests that the parser refuses never reach the service.
    let smuggled = served
        .ask("POST /bytes HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert!(smuggled.starts_with("HTTP/1.1 400 "), "{smuggled}");
}

#[tokio::test]
async fn http2() {
    let served = served();
    let request = |method: &str, path: &str, content: &'static str| {
        http::Request::builder()
            .method(method)
            .uri(format!("http://a{path}"))
            .header("content-type", "application/json")
            .body(axum::body::Body::from(content))
            .unwrap()
    };
    let (head, content, _) = h2(served.address, request("GET", "/any?q", "")).await;
    assert_eq!((head.version, head.status), (Version::HTTP_2, StatusCode::OK));
    assert_eq!(content, b"GET HTTP/2.0 /any?q");
    let (_, content, _) = h2(served.address, request("POST", "/json", r#"{"name":"x","count":1}"#)).await;
    assert_eq!(content, br#"{"name":"x","count":2}"#);
    let (head, content, _) = h2(served.address, request("HEAD", "/", "")).await;
    assert_eq!(
        (head.headers["content-length"].to_str().unwrap(), content.len()),
        ("13", 0)
    );
}
