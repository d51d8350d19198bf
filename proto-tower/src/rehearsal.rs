//! Makes a `hyper::upgrade::OnUpgrade` for requests that hyper has not parsed.
//!
//! Services such as axum's `WebSocketUpgrade` expect this type, which only a hyper connection can make. For a request that asks for an
//! upgrade, a hyper connection therefore runs in memory. It receives a fixed upgrade request, and makes an `OnUpgrade` for it. When the
//! real service agrees to its upgrade, the hyper connection is made to agree too; its response is discarded, and from then on it passes the
//! real stream on.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;

use crate::body::Body;
use crate::upgrade::Upgraded;

/// The request for the connection in memory.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: a\r\n\r\n";

/// A hyper connection in memory whose upgrade request has no response yet.
pub(crate) struct Rehearsal {
    connection: Pin<Box<dyn Future<Output = ()> + Send>>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    made: Option<OnUpgrade>,
    stream: Option<Upgraded>,
}

impl Rehearsal {
    /// Makes the connection and its `OnUpgrade`. `None` if hyper makes none.
    pub(crate) fn new() -> Option<(Self, OnUpgrade)> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let theirs = Arc::clone(&shared);
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let shared = Arc::clone(&theirs);
            with(&shared, |shared| shared.made = Some(hyper::upgrade::on(&mut request)));
            async move {
                poll_fn(|_| {
                    with(&shared, |shared| {
                        if shared.stream.is_some() {
                            Poll::Ready(())
                        } else {
                            Poll::Pending
                        }
                    })
                })
                .await;
                let mut response = hyper::Response::new(Body::default());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                let headers = response.headers_mut();
                headers.insert(http::header::UPGRADE, http::HeaderValue::from_static("a"));
                headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("upgrade"));
                Ok::<_, Infallible>(response)
            }
        });
        let stage = Stage {
            shown: REQUEST,
            said: Vec::new(),
            shared: Arc::clone(&shared),
        };
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(stage, service)
            .with_upgrades();
        let mut rehearsal = Rehearsal {
            connection: Box::pin(async move { drop(connection.await) }),
            shared,
        };
        rehearsal.go_on();
        let made = with(&rehearsal.shared, |shared| shared.made.take())?;
        Some((rehearsal, made))
    }

    /// Completes the upgrade: `stream` takes the place of the connection.
    pub(crate) fn open(mut self, stream: Upgraded) {
        with(&self.shared, |shared| shared.stream = Some(stream));
        // All that the connection waits for is there: each poll makes progress.
        for _ in 0..8 {
            if self.go_on() {
                return;
            }
        }
    }

    /// Polls the connection. Returns true if it has ended.
    fn go_on(&mut self) -> bool {
        self.connection
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }
}

fn with<R>(shared: &Mutex<Shared>, act: impl FnOnce(&mut Shared) -> R) -> R {
    act(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The socket of the connection in memory: first the fixed request, with the response discarded; then the real stream.
struct Stage {
    shown: &'static [u8],
    said: Vec<u8>,
    shared: Arc<Mutex<Shared>>,
}

impl Stage {
    /// Calls `act` with the stream, once the response was written.
    fn stream<R>(&self, act: impl FnOnce(Pin<&mut Upgraded>) -> Poll<R>) -> Poll<R> {
        with(&self.shared, |shared| match &mut shared.stream {
            Some(stream) if self.said.ends_with(b"\r\n\r\n") => act(Pin::new(stream)),
            _ => Poll::Pending,
        })
    }

    fn is_heard(&self) -> bool {
        self.said.ends_with(b"\r\n\r\n")
    }
}

impl Read for Stage {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.shown.is_empty() {
            return self.stream(|stream| stream.poll_read(cx, into));
        }
        let (piece, rest) = self.shown.split_at(self.shown.len().min(into.remaining()));
        into.put_slice(piece);
        self.shown = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for Stage {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_heard() {
            return self.stream(|stream| stream.poll_write(cx, bytes));
        }
        // The response is only a head, which hyper may write in several pieces.
        self.said.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_heard() && with(&self.shared, |shared| shared.stream.is_some()) {
            return self.stream(|stream| stream.poll_flush(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_heard() {
            return self.stream(|stream| stream.poll_shutdown(cx));
        }
        Poll::Ready(Ok(()))
    }
}
