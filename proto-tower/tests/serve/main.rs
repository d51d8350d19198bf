//! axum's router and the layers of tower-http, served by this crate.

mod content;
mod extract;
mod layers;
mod life;
mod upgrades;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use axum::Router;
use driver_tokio::{Running, Stats};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto_h2::StreamMessage;
use proto_tower::{Config, Woken};
use protocol::Protocol;

/// A server in the background.
struct Served {
    address: SocketAddr,
    stop: Box<dyn FnOnce(Duration) -> Stats>,
}

fn config() -> Config {
    Config::new(SystemTime::now)
}

fn serve(app: Router) -> Served {
    serve_with(config(), app)
}

fn serve_with(config: Config, app: Router) -> Served {
    let running = driver_tokio::Server::new()
        .serve("127.0.0.1:0", move |peer| {
            let info = axum::extract::ConnectInfo(peer.remote()?);
            let app = tower_http::add_extension::AddExtension::new(app.clone(), info);
            Some(proto_tower::connection(&config, app, peer))
        })
        .unwrap();
    served(running)
}

fn served<P: Protocol<Message = StreamMessage<Woken>> + 'static>(running: Running<P>) -> Served {
    Served {
        address: running.local_addr().unwrap(),
        stop: Box::new(move |drain| running.stop(drain).unwrap()),
    }
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends `request`, whose last head asks to close the connection, and reads all of the answer.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    }

    fn post(&self, path: &str, kind: &str, content: &str) -> String {
        let length = content.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{content}"
        ))
    }

    fn stop(self, drain: Duration) -> Stats {
        (self.stop)(drain)
    }
}

/// Reads up to the end of a head.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Sends a request over HTTP/2 by hyper's client, and returns status, fields, content and trailers.
async fn h2(
    address: SocketAddr,
    request: http::Request<axum::body::Body>,
) -> (http::response::Parts, Vec<u8>, Option<http::HeaderMap>) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (parts, collected.to_bytes().to_vec(), trailers)
}
