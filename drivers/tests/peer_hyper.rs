//! hyper as the client of our server, and as the server of our client, over HTTP/2 on every driver.

#[macro_use]
mod common;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use ::tokio::net::{TcpListener, TcpStream};
use bytes::Bytes;
use drivers::{Driver, Server};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto_h2::{Caller, ClientConfig, ClientError, Failure, Head, KeptRequest, Requester, ServerConfig, StreamMessage};
use proto_http::{Collect, Fields, Misuse, Request, Responder, Response};
use protocol::{Peer, Reason};

const PATIENCE: Duration = Duration::from_secs(20);
const REQUESTS: usize = 50;

fn runtime() -> ::tokio::runtime::Runtime {
    ::tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The body of request `number`: empty, short, or longer than a window.
fn body(number: usize) -> Vec<u8> {
    vec![number as u8; [0, 1, 5000, 200_000][number % 4]]
}

/// Concurrent requests with bodies of all sizes are each answered with their own body; then the server stops, and the connection ends in
/// order.
fn serves_hyper(driver: Driver) {
    let config = Arc::new(ServerConfig::default());
    let server = Server::on(driver)
        .serve("127.0.0.1:0", move |peer: &Peer<'_, StreamMessage<Infallible>>| {
            let handlers = |_: &Peer<'_, Infallible>| {
                Some(Collect::new(
                    1 << 20,
                    |request: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>| {
                        responder.send(200, &[("x-path", request.path())], body)
                    },
                ))
            };
            Some(proto_h2::Server::new(Arc::clone(&config), handlers, peer))
        })
        .unwrap();
    let to = server.local_addr().unwrap();
    let asking = async {
        let socket = TokioIo::new(TcpStream::connect(to).await.unwrap());
        let (send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), socket)
            .await
            .unwrap();
        let connection = ::tokio::spawn(connection);
        let asked = (0..REQUESTS).map(|number| {
            let mut send = send.clone();
            ::tokio::spawn(async move {
                let request = hyper::Request::post(format!("http://a/{number}"))
                    .header("cookie", "a=b")
                    .body(Full::new(Bytes::from(body(number))))
                    .unwrap();
                let answer = send.send_request(request).await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.headers()["x-path"], format!("/{number}"));
                assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), body(number));
            })
        });
        for answered in asked.collect::<Vec<_>>() {
            answered.await.unwrap();
        }
        server.handle().stop(PATIENCE);
        connection.await.unwrap().unwrap();
    };
    runtime().block_on(async { ::tokio::time::timeout(PATIENCE, asking).await.unwrap() });
    server.join().unwrap();
}

/// Sends all requests at once, as far as the server permits, and reports the responses.
struct Asking {
    next: usize,
    numbers: BTreeMap<u32, usize>,
    bodies: BTreeMap<u32, Vec<u8>>,
    answered: usize,
    told: Sender<usize>,
}

impl Asking {
    fn ask(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        while self.next < REQUESTS && requester.can_request() {
            let path = format!("/{}", self.next);
            let head = Head::new("POST", "http", "a", &path);
            // Requests sent before the server has announced its limit may be refused, and are then sent again.
            let stream = requester.send_kept(KeptRequest::new(head, &[("cookie", "a=b")], body(self.next))?)?;
            self.numbers.insert(stream, self.next);
            self.next += 1;
        }
        Ok(())
    }
}

impl Caller for Asking {
    type Message = ();

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.ask(requester)
    }

    fn response(&mut self, stream: u32, response: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        assert_eq!(response.status(), 200);
        let path = format!("/{}", self.numbers[&stream]);
        assert_eq!(response.fields().get("x-path"), Some(path.as_bytes()));
        Ok(())
    }

    fn data(&mut self, stream: u32, data: &[u8], _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.bodies.entry(stream).or_default().extend_from_slice(data);
        Ok(())
    }

    fn end(&mut self, stream: u32, trailers: Fields<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        assert!(trailers.is_empty());
        let came = self.bodies.remove(&stream).unwrap_or_default();
        assert_eq!(came, body(self.numbers[&stream]));
        self.answered += 1;
        if self.answered == REQUESTS {
            requester.close();
        }
        self.ask(requester)
    }

    fn failed(&mut self, stream: u32, failure: Failure, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        panic!("{stream}: {failure:?}")
    }

    fn closed(&mut self, error: Option<ClientError>, reason: Reason, unanswered: &[u32]) {
        assert_eq!((error, reason, unanswered), (None, Reason::Closed, &[][..]));
        let _ = self.told.send(self.answered);
    }
}

/// A hyper server that echoes every body, for one connection.
fn hyper_server() -> (SocketAddr, std::thread::JoinHandle<()>) {
    let (tell, address) = channel();
    let thread = std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let echo = service_fn(|request: hyper::Request<Incoming>| async {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await?.to_bytes();
                let answer = hyper::Response::builder().header("x-path", path).body(Full::new(body));
                Ok::<_, hyper::Error>(answer.unwrap())
            });
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.max_concurrent_streams(7);
            server.serve_connection(TokioIo::new(socket), echo).await.unwrap();
        });
    });
    (address.recv_timeout(PATIENCE).unwrap(), thread)
}

fn asks_hyper(driver: Driver) {
    let (to, server) = hyper_server();
    let (told, answered) = channel();
    let client = Server::on(driver)
        .connect(to, move |_: &Peer<'_, ()>| {
            let asking = Asking {
                next: 0,
                numbers: BTreeMap::new(),
                bodies: BTreeMap::new(),
                answered: 0,
                told,
            };
            proto_h2::Client::new(Arc::new(ClientConfig::default()), asking)
        })
        .unwrap();
    assert_eq!(answered.recv_timeout(PATIENCE), Ok(REQUESTS));
    client.join().unwrap();
    server.join().unwrap();
}

on_every_driver! {
    hyper_is_served: serves_hyper;
    hyper_serves: asks_hyper;
}
