//! Upgraded connections that services take over.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use proto_tower::on_upgrade;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{read_head, serve};

/// Answers in capitals once it has taken the connection over.
async fn shout(mut request: Request) -> Response {
    let Some(upgrade) = on_upgrade(&mut request) else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    tokio::spawn(async move {
        let mut stream = upgrade.await.unwrap();
        let mut buffer = vec![0; 10_000];
        loop {
            let n = stream.read(&mut buffer).await.unwrap();
            if n == 0 {
                break;
            }
            stream.write_all(&buffer[..n].to_ascii_uppercase()).await.unwrap();
        }
        stream.write_all(b"BYE").await.unwrap();
        stream.shutdown().await.unwrap();
    });
    (StatusCode::SWITCHING_PROTOCOLS, [(header::UPGRADE, "shout")]).into_response()
}

#[test]
fn a_service_takes_the_connection() {
    let served = serve(Router::new().route("/", get(shout)));
    assert!(served.get("/").starts_with("HTTP/1.1 426 "));
    let mut stream = served.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nearly ")
        .unwrap();
    let head = read_head(&mut stream);
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: shout\r\n"),
        "{head}"
    );
    // 10 MB in both directions, with a reader that starts late.
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(&vec![b'x'; 10_000_000]).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    std::thread::sleep(Duration::from_millis(300));
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    writing.join().unwrap();
    assert!(all.starts_with(b"EARLY XX") && all.ends_with(b"XXBYE"));
    assert_eq!(all.len(), 10_000_000 + "early BYE".len());
}

/// A tunnel made by CONNECT (RFC 9110 section 9.3.6).
#[test]
fn a_tunnel() {
    let app = Router::new().fallback(any(|mut request: Request| async move {
        let upgrade = on_upgrade(&mut request).unwrap();
        let authority = request.uri().authority().unwrap().to_string();
        tokio::spawn(async move {
            let mut stream = upgrade.await.unwrap();
            stream.write_all(authority.as_bytes()).await.unwrap();
        });
        StatusCode::OK
    }));
    let answer = serve(app).ask("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\na.example:443"),
        "{answer}"
    );
    assert!(!answer.to_lowercase().contains("content-length"), "{answer}");
}

/// Upgrades that were refused or given up.
#[test]
fn upgrades_that_come_to_nothing() {
    let (tell, told) = std::sync::mpsc::channel();
    let app = Router::new()
        .route(
            "/refused",
            get(move |mut request: Request| async move {
                let upgrade = on_upgrade(&mut request).unwrap();
                assert!(on_upgrade(&mut request).is_none());
                tokio::spawn(async move { tell.send(upgrade.await.map(drop)).unwrap() });
                StatusCode::FORBIDDEN
            }),
        )
        .route(
            "/forgotten",
            get(|| async { (StatusCode::SWITCHING_PROTOCOLS, [(header::UPGRADE, "x")]) }),
        );
    let served = serve(app);
    let ask = |path: &str| {
        served.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: x\r\n\r\n"
        ))
    };
    assert!(ask("/refused").starts_with("HTTP/1.1 403 "));
    assert!(told.recv_timeout(Duration::from_secs(5)).unwrap().is_err());
    // `ask` returns, so the server has ended the connection.
    assert!(ask("/forgotten").starts_with("HTTP/1.1 101 "));
}

/// Our own WebSocket behind a route.
#[test]
fn proto_ws_behind_a_route() {
    struct Echo;
    impl proto_ws::Handler for Echo {
        type Message = std::convert::Infallible;

        fn message(
            &mut self,
            message: proto_ws::Message<'_>,
            socket: &mut proto_ws::Socket<'_, '_>,
        ) -> Result<(), proto_ws::Misuse> {
            socket.message(message).map(drop)
        }
    }
    let app = Router::new().route(
        "/ws",
        get(|mut request: Request| async move {
            use proto_ws::handshake::server::Request as Handshake;
            let fields = request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes()));
            let accepted = Handshake::read("GET", fields).unwrap().accept();
            let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
            for (name, value) in accepted.fields() {
                let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
                response
                    .headers_mut()
                    .insert(name, AsRef::<[u8]>::as_ref(&value).try_into().unwrap());
            }
            let upgrade = on_upgrade(&mut request).unwrap();
            tokio::spawn(async move {
                let server = proto_ws::Server::new(Arc::default(), Echo);
                driver_tokio::drive(upgrade.await.unwrap(), server, protocol::Limits::default()).await
            });
            response
        }),
    );
    let served = serve(app);
    echo_by_tungstenite(&format!("ws://{}/ws", served.address));
}

/// A client of tokio-tungstenite sends texts and gets them back, then closes.
fn echo_by_tungstenite(url: &str) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        for text in ["one".to_owned(), "zwei ✓".to_owned(), "x".repeat(200_000)] {
            socket.send(Message::text(text.clone())).await.unwrap();
            assert_eq!(
                socket.next().await.unwrap().unwrap().into_text().unwrap(),
                text.as_str()
            );
        }
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    });
}

/// axum's WebSocket extractor, which requires hyper's upgrade type.
#[cfg(feature = "hyper")]
#[test]
fn axum_websocket() {
    use axum::extract::ws::WebSocketUpgrade;
    let app = Router::new().route(
        "/ws",
        any(|upgrade: WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move {
                while let Some(Ok(message)) = socket.recv().await {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            })
        }),
    );
    let served = serve(app);
    echo_by_tungstenite(&format!("ws://{}/ws", served.address));
    // Bytes behind the request are the first bytes of the WebSocket.
    let mut stream = served.connect();
    let mut bytes =
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
    bytes.extend([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    stream.write_all(&bytes).unwrap();
    let head = read_head(&mut stream);
    assert!(
        head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{head}"
    );
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame, [0x81, 2, b'h', b'i']);
    // axum refuses a request without a WebSocket handshake.
    let refused = served.get("/ws");
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
}

/// RFC 8441: a WebSocket over HTTP/2, where axum expects the request fields of HTTP/1.1.
#[cfg(feature = "hyper")]
#[tokio::test]
async fn axum_websocket_over_http2() {
    use axum::extract::ws::WebSocketUpgrade;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let app = Router::new().route(
        "/ws",
        any(|upgrade: WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move {
                while let Some(Ok(message)) = socket.recv().await {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            })
        }),
    );
    let served = serve(app);
    let stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    // Extended CONNECT is allowed only after the server's SETTINGS have arrived.
    let first = http::Request::get("http://a/none")
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(
        sender.send_request(first).await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    let request = http::Request::connect("http://a/ws")
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut socket = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    socket.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    let mut frame = [0; 4];
    socket.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame, [0x81, 2, b'h', b'i']);
}
