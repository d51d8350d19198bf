//! The driver inside the user's runtime: on many threads, over any stream, with its future dropped at any moment.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use driver_tokio::{Config, Limits, Server, connect, drive, serve_in_runtime};
use protocol::{Cx, Input, Protocol, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// Echoes, and counts its calls of `closed`.
#[derive(Clone, Default)]
struct Echo {
    closed: Arc<AtomicUsize>,
}

impl Protocol for Echo {
    type Message = Infallible;
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        cx.send(input.take_all());
        Ok(())
    }

    fn closed(&mut self, _: Reason) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn many_threads_share_the_connections() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let echo = Echo::default();
    let closed = Arc::clone(&echo.closed);
    let stats = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (handle, serving) = serve_in_runtime(Config::default(), [listener], move |_| Some(echo.clone()));
        let serving = tokio::spawn(serving);
        let clients = (0..100_u32).map(|n| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for round in 0..20 {
                    let word = (n * 1000 + round).to_be_bytes();
                    stream.write_all(&word).await.unwrap();
                    let mut back = [0; 4];
                    stream.read_exact(&mut back).await.unwrap();
                    assert_eq!(back, word);
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"x").await.unwrap();
        idle.read_exact(&mut [0]).await.unwrap();
        handle.stop(Duration::from_secs(5));
        assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
        drop(idle);
        serving.await.unwrap()
    });
    assert_eq!((stats.accepted, stats.closed, stats.active), (101, 101, 0));
    assert_eq!(closed.load(Ordering::Relaxed), 101);
}

#[test]
fn a_client_in_a_runtime() {
    struct Ask(Option<String>);
    impl Protocol for Ask {
        type Message = Infallible;
        type Error = Infallible;
        fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
            cx.send(b"ask");
            Ok(())
        }
        fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
            if input.len() == 3 {
                self.0 = String::from_utf8(input.take_all().to_vec()).ok();
                cx.close();
            }
            Ok(())
        }
        fn closed(&mut self, reason: Reason) {
            assert_eq!(self.0.is_some(), reason == Reason::Closed);
        }
    }
    let server = Server::new().serve("127.0.0.1:0", |_| Some(Echo::default())).unwrap();
    let address = server.local_addr().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let reason = runtime.block_on(connect(address, Ask(None), Limits::default()));
    assert_eq!(reason, Reason::Closed);
    server.stop(Duration::from_secs(5)).unwrap();
    let nobody: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let reason = runtime.block_on(connect(nobody, Ask(None), Limits::default()));
    assert_eq!(reason, Reason::Io(std::io::ErrorKind::ConnectionRefused));
}

/// A connection over a pipe of 7 bytes is dropped after 0, 1, 2 and more polls: the echoed bytes are a prefix of the sent ones, and
/// `closed` is called once, unless the connection was never polled.
#[test]
fn dropped_at_any_await_nothing_is_lost_twice() {
    const SENT: &[u8] = b"The quick brown fox jumps over the lazy dog.";
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut finished = false;
    for polls in 0.. {
        let (mut near, far) = duplex(7);
        let echo = Echo::default();
        let closed = Arc::clone(&echo.closed);
        let mut back = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut driving = pin!(drive(far, echo, Limits::default()));
            let mut sent = 0;
            for _ in 0..polls {
                let mut piece = [0; 3];
                if sent == SENT.len() {
                    let _ = pin!(near.shutdown()).poll(&mut cx);
                } else if let Poll::Ready(n) = pin!(near.write(&SENT[sent..])).poll(&mut cx) {
                    sent += n.unwrap();
                }
                if let Poll::Ready(n) = pin!(near.read(&mut piece)).poll(&mut cx) {
                    back.extend_from_slice(&piece[..n.unwrap()]);
                }
                if let Poll::Ready(reason) = driving.as_mut().poll(&mut cx) {
                    assert_eq!(reason, Reason::Closed);
                    finished = true;
                    break;
                }
            }
        }
        assert_eq!(
            closed.load(Ordering::Relaxed),
            usize::from(polls > 0),
            "after {polls} polls"
        );
        let mut rest = [0; 7];
        if let Poll::Ready(n) = pin!(near.read(&mut rest)).poll(&mut cx) {
            back.extend_from_slice(&rest[..n.unwrap()]);
        }
        assert!(SENT.starts_with(&back), "after {polls} polls");
        if finished {
            assert_eq!(back.len(), SENT.len());
            assert!(polls > 10, "the test reached too few awaits: {polls}");
            return;
        }
    }
}

/// A stream with one byte to read that accepts no writes.
struct Stuck {
    brought: bool,
    offered: Arc<AtomicUsize>,
}

impl tokio::io::AsyncRead for Stuck {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if core::mem::replace(&mut self.brought, true) {
            return Poll::Pending;
        }
        buffer.put_slice(b"?");
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Stuck {
    fn poll_write(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<std::io::Result<usize>> {
        self.offered.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A peer that does not read costs nothing meanwhile: the driver neither repeats the write nor wakes itself.
#[test]
fn a_stream_that_takes_nothing_is_left_alone() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let offered = Arc::<AtomicUsize>::default();
    let stuck = Stuck {
        brought: false,
        offered: Arc::clone(&offered),
    };
    runtime.block_on(async {
        let mut polls = 0;
        let mut driving = pin!(drive(stuck, Echo::default(), Limits::default()));
        let counted = std::future::poll_fn(|cx| {
            polls += 1;
            driving.as_mut().poll(cx)
        });
        let outcome = tokio::time::timeout(Duration::from_millis(100), counted).await;
        assert!(outcome.is_err());
        // One poll for the byte, and a few for the timers of the driver and of the test.
        assert!(polls <= 5, "{polls} polls");
    });
    assert!(offered.load(Ordering::Relaxed) <= 5, "{offered:?} offers");
}
