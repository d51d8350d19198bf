//! The task that accepts, opens, fires timers and stops, for the connections of one thread.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use protocol::driver::{Connect, Stopping};
use protocol::{Mailbox, Peer, PeerSource, Protocol, Sender};
#[cfg(unix)]
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep_until, timeout};

use crate::drive::{Drive, failed, open_stream};
use crate::handle::{Command, Opening, Remote};
use crate::listener::{Accepted, Listener, Stream};
use crate::mailbox::{Lazy, Queue};
use crate::shard::{Phase, Shard};
use crate::trace;

/// How long accepting pauses when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections run.
pub(crate) trait Spawn<P: Protocol>: 'static {
    fn spawn<S: Stream>(connection: Drive<S, P>);
}

/// On the thread that accepted them, in a runtime that takes local tasks.
pub(crate) struct Here;

/// On any thread of the runtime.
pub(crate) struct Anywhere;

impl<P: Protocol + 'static> Spawn<P> for Here {
    fn spawn<S: Stream>(connection: Drive<S, P>) {
        tokio::task::spawn_local(connection);
    }
}

impl<P> Spawn<P> for Anywhere
where
    P: Protocol + Send + 'static,
    P::Message: Send,
{
    fn spawn<S: Stream>(connection: Drive<S, P>) {
        tokio::spawn(connection);
    }
}

/// Looks after the connections it accepts and opens.
pub(crate) struct Worker<P: Protocol, F, W> {
    remote: Arc<Remote<P>>,
    /// Until it is stopped.
    listening: Option<(Vec<Listener>, F)>,
    place: PhantomData<fn() -> W>,
    sleep: Pin<Box<Sleep>>,
    accept_pause: Option<Instant>,
    /// Connections accepted so far: each has its number as token.
    tokens: u64,
    stopping: Option<Stopping<Waker>>,
}

impl<P, F, W> Worker<P, F, W>
where
    P: Protocol + 'static,
    P::Message: Send + 'static,
    F: FnMut(&Peer<'_, P::Message>) -> Option<P>,
    W: Spawn<P>,
{
    /// A worker that ends when it is stopped and its connections have ended, or when nothing is left to do.
    pub(crate) fn new(remote: Arc<Remote<P>>, listening: Option<(Vec<Listener>, F)>) -> Self {
        let sleep = Box::pin(sleep_until(Instant::now().into()));
        Worker {
            remote,
            listening,
            place: PhantomData,
            sleep,
            accept_pause: None,
            tokens: 0,
            stopping: None,
        }
    }

    /// Runs to the end. Must be polled inside a runtime that has the place for connections.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.turn(cx)).await;
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shard = Arc::clone(&self.remote.shard);
        let now = Instant::now();
        let next = shard.expire(now, shard.config.timer_budget, cx.waker());
        for command in self.remote.take() {
            match command {
                Command::Connect(to, make) => self.connect(to, make),
                #[cfg(unix)]
                Command::Adopt(socket, make) => self.adopt(socket, make),
                Command::Stop(drain) => self.stop(now, drain),
            }
        }
        if let Some(stopping) = &mut self.stopping {
            if stopping.is_over(now) {
                shard.enter(Phase::Killing).into_iter().for_each(Waker::wake);
            } else {
                stopping.next(now).into_iter().for_each(Waker::wake);
            }
        }
        if self.accept_pause.is_some_and(|until| until <= now) {
            self.accept_pause = None;
        }
        self.accept(cx);
        if self.listening.is_none() && shard.active() == 0 && self.remote.close() {
            return Poll::Ready(());
        }
        let stopping = self.stopping.as_ref().filter(|stopping| !stopping.is_over(now));
        let stopping = stopping.map(|stopping| now + stopping.sleep(now));
        let wake = [next, stopping, self.accept_pause].into_iter().flatten().min();
        if let Some(wake) = wake {
            self.sleep.as_mut().reset(wake.into());
            if self.sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    fn stop(&mut self, now: Instant, drain: Duration) {
        if let Some(stopping) = &mut self.stopping {
            return stopping.hasten(now + drain);
        }
        self.listening = None;
        let wakers = self.remote.shard.enter(Phase::Stopping);
        self.stopping = Some(Stopping::new(now, drain, wakers));
    }

    fn accept(&mut self, cx: &mut Context<'_>) {
        let shard = &self.remote.shard;
        let Some((listeners, factory)) = &mut self.listening else {
            return;
        };
        if self.accept_pause.is_some() {
            return;
        }
        // To each its share, so that a storm on one does not keep the others from their turn.
        let budget = (shard.config.accept_budget / listeners.len().max(1)).max(1);
        for listener in listeners {
            for left in (0..budget).rev() {
                if shard.active() >= shard.config.max_connections as u64 {
                    // The connection that makes room wakes the worker.
                    return;
                }
                match listener.poll_accept(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(accepted)) => {
                        self.tokens += 1;
                        match accepted {
                            Accepted::Tcp(stream, remote) => {
                                admit::<_, _, W>(shard, stream, Some(remote), self.tokens, factory)
                            }
                            #[cfg(unix)]
                            Accepted::Unix(stream) => admit::<_, _, W>(shard, stream, None, self.tokens, factory),
                        }
                    }
                    // Errors of the connection itself: accept(2) asks to treat them like one that never came.
                    Poll::Ready(Err(error)) if is_transient(&error) => {}
                    Poll::Ready(Err(_)) => {
                        shard.stats.accept_pauses.fetch_add(1, Ordering::Relaxed);
                        trace::exhausted();
                        self.accept_pause = Some(Instant::now() + ACCEPT_PAUSE);
                        return;
                    }
                }
                if left == 0 {
                    cx.waker().wake_by_ref();
                }
            }
        }
    }

    fn connect(&self, connect: Connect, make: Opening<P>) {
        let shard = Arc::clone(&self.remote.shard);
        let within = shard.config.connect_timeout;
        // The attempt counts as a connection, so that the worker waits for it.
        shard.join();
        tokio::spawn(async move {
            let outcome = timeout(within, open_stream(&connect, &shard.config.socket)).await;
            let outcome = outcome.unwrap_or_else(|elapsed| Err(elapsed.into()));
            open::<_, P, W>(&shard, outcome, Some(connect.to), make);
            shard.part(None, 0);
        });
    }

    /// Takes a socket that is connected already.
    #[cfg(unix)]
    fn adopt(&self, socket: std::os::fd::OwnedFd, make: Opening<P>) {
        let shard = &self.remote.shard;
        driver_sockets::prepare(&socket, &shard.config.socket);
        // Only a socket of TCP has such an address.
        let socket = std::net::TcpStream::from(socket);
        let remote = socket.peer_addr().ok();
        let ready = socket.set_nonblocking(true);
        if remote.is_some() {
            let stream = ready.and_then(|()| TcpStream::from_std(socket));
            open::<_, P, W>(shard, stream, remote, make);
        } else {
            let stream = ready.and_then(|()| UnixStream::from_std(std::os::fd::OwnedFd::from(socket).into()));
            open::<_, P, W>(shard, stream, remote, make);
        }
    }
}

/// Makes a protocol for a connection of this side's making, and starts it or tells it what went wrong.
fn open<S, P, W>(shard: &Arc<Shard>, outcome: std::io::Result<S>, remote: Option<SocketAddr>, make: Opening<P>)
where
    S: Stream,
    W: Spawn<P>,
    P: Protocol + 'static,
    P::Message: Send + 'static,
{
    let stream = outcome.as_ref().ok().map(|stream| stream as &dyn Stream);
    let source = Source::new(stream, remote, shard.config.mailbox);
    let Ok(protocol) = catch_unwind(AssertUnwindSafe(|| make(&Peer::new(&source)))) else {
        shard.stats.panics.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let mailbox = source.mailbox.into_inner();
    match outcome {
        Ok(stream) => {
            shard.stats.connected.fetch_add(1, Ordering::Relaxed);
            trace::connected(0);
            // Not accepted, so not counted by address.
            W::spawn(Drive::new(stream, protocol, mailbox, Arc::clone(shard), 0, S::reset));
        }
        Err(error) => {
            failed(protocol, shard.config.limits, &error);
            shard.stats.io_errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Makes a protocol for an accepted connection and starts it.
fn admit<S, P, W>(
    shard: &Arc<Shard>,
    stream: S,
    remote: Option<SocketAddr>,
    token: u64,
    factory: &mut impl FnMut(&Peer<'_, P::Message>) -> Option<P>,
) where
    S: Stream,
    W: Spawn<P>,
    P: Protocol + 'static,
    P::Message: Send + 'static,
{
    if let (Some(mut limit), Some(remote)) = (shard.per_address(), remote)
        && !limit.admit(token, remote.ip())
    {
        shard.stats.refused.fetch_add(1, Ordering::Relaxed);
        return stream.reset();
    }
    driver_sockets::prepare(stream.socket(), &shard.config.socket);
    let source = Source::new(Some(&stream), remote, shard.config.mailbox);
    let made = catch_unwind(AssertUnwindSafe(|| factory(&Peer::new(&source))));
    let mailbox = source.mailbox.into_inner();
    match made {
        Ok(Some(protocol)) => {
            shard.stats.accepted.fetch_add(1, Ordering::Relaxed);
            trace::connected(token);
            W::spawn(Drive::new(
                stream,
                protocol,
                mailbox,
                Arc::clone(shard),
                token,
                S::reset,
            ));
            return;
        }
        Ok(None) => shard.stats.refused.fetch_add(1, Ordering::Relaxed),
        Err(_) => shard.stats.panics.fetch_add(1, Ordering::Relaxed),
    };
    if let Some(mut limit) = shard.per_address() {
        limit.release(token);
    }
}

fn is_transient(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// What a factory may ask about a connection.
struct Source<'a, M> {
    stream: Option<&'a dyn Stream>,
    remote: Option<SocketAddr>,
    capacity: usize,
    mailbox: Lazy<M>,
}

impl<'a, M> Source<'a, M> {
    fn new(stream: Option<&'a dyn Stream>, remote: Option<SocketAddr>, capacity: usize) -> Self {
        Source {
            stream,
            remote,
            capacity,
            mailbox: Lazy::new(),
        }
    }
}

impl<M: Send + 'static> PeerSource<M> for Source<'_, M> {
    fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    fn local(&self) -> Option<SocketAddr> {
        self.stream?.local()
    }

    fn sender(&self) -> Sender<M> {
        let mailbox = Arc::clone(self.mailbox.get_or_init(|| Queue::new(self.capacity)));
        Sender::new(mailbox as Arc<dyn Mailbox<M>>, 0)
    }
}
