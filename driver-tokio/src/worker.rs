//! The task of one thread that accepts and opens connections, fires their timers, and stops them.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use driver_common::tasks::{self, Group, Phase, Refused};
use driver_common::{ACCEPT_PAUSE, Command, Connect, Make, Place, Stopping};
use protocol::{Peer, Protocol};
#[cfg(unix)]
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep_until, timeout};

use crate::drive::Drive;
use crate::listener::{Accepted, Listener, Stream};
use crate::race::open_stream;
use crate::remote::Remote;

/// Where the tasks of connections run.
pub(crate) trait Spawn<P: Protocol>: 'static {
    fn spawn<S: Stream>(connection: Drive<S, P>);
}

/// On the accepting thread, in a runtime that supports local tasks.
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

/// Accepts and opens connections, and manages them.
pub(crate) struct Worker<P: Protocol, F, W> {
    remote: Arc<Remote<P>>,
    /// `None` once the worker was stopped.
    listening: Option<(Vec<Listener>, F)>,
    place: PhantomData<fn() -> W>,
    sleep: Pin<Box<Sleep>>,
    accept_pause: Option<Instant>,
    /// A time since which the runtime has polled the sockets.
    looked: Instant,
    /// The number of accepted connections so far, which numbers their tokens.
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
    /// A worker that ends when it is stopped and its connections have ended, or when no work is left.
    pub(crate) fn new(remote: Arc<Remote<P>>, listening: Option<(Vec<Listener>, F)>) -> Self {
        let sleep = Box::pin(sleep_until(Instant::now().into()));
        Worker {
            remote,
            listening,
            place: PhantomData,
            sleep,
            accept_pause: None,
            looked: Instant::now(),
            tokens: 0,
            stopping: None,
        }
    }

    /// Runs until the end. Must be polled inside a runtime that can run the connections.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.turn(cx)).await;
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let group = Arc::clone(&self.remote.group);
        let now = Instant::now();
        let next = self.expire(cx, now);
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
                group.enter(Phase::Killing).into_iter().for_each(Waker::wake);
            } else {
                stopping.next(now).into_iter().for_each(Waker::wake);
            }
        }
        if self.accept_pause.is_some_and(|until| until <= now) {
            self.accept_pause = None;
        }
        self.accept(cx);
        if self.listening.is_none() && group.active() == 0 && self.remote.close() {
            return Poll::Ready(());
        }
        let stopping = self.stopping.as_ref().filter(|stopping| !stopping.is_over(now));
        let stopping = stopping.and_then(|stopping| now.checked_add(stopping.sleep(now)?));
        let wake = [next, stopping, self.accept_pause].into_iter().flatten().min();
        if let Some(wake) = wake {
            self.sleep.as_mut().reset(wake.into());
            if self.sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Fires the timers that were due when the runtime last polled the sockets. If more timers are due, makes the runtime poll again first.
    /// After a pause of the process or the thread, input that arrived meanwhile is therefore seen before any deadline fires.
    fn expire(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<Instant> {
        let group = &self.remote.group;
        let next = group.expire(self.looked, group.config.timer_budget, cx.waker());
        if next.is_some_and(|next| next <= now) {
            self.looked = now;
            // Wakes this task after the runtime has polled the sockets.
            let _ = core::pin::pin!(tokio::task::yield_now()).poll(cx);
        }
        next
    }

    fn stop(&mut self, now: Instant, drain: Duration) {
        if let Some(stopping) = &mut self.stopping {
            return stopping.hasten(now, drain);
        }
        self.listening = None;
        let wakers = self.remote.group.enter(Phase::Stopping);
        self.stopping = Some(Stopping::new(now, drain, wakers));
    }

    fn accept(&mut self, cx: &mut Context<'_>) {
        let group = &self.remote.group;
        let Some((listeners, factory)) = &mut self.listening else {
            return;
        };
        if self.accept_pause.is_some() {
            return;
        }
        // Each listener gets a share of the budget, so that a storm on one does not starve the others.
        let budget = (group.config.accept_budget / listeners.len().max(1)).max(1);
        for listener in listeners {
            for left in (0..budget).rev() {
                if group.active() >= group.config.max_connections as u64 {
                    // The connection that ends and makes room wakes the worker.
                    return;
                }
                match listener.poll_accept(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(accepted)) => {
                        self.tokens += 1;
                        match accepted {
                            Accepted::Tcp(stream, remote) => {
                                admit::<_, _, W>(group, stream, Some(remote), self.tokens, factory)
                            }
                            #[cfg(unix)]
                            Accepted::Unix(stream) => admit::<_, _, W>(group, stream, None, self.tokens, factory),
                        }
                    }
                    // Errors of the connection itself: accept(2) recommends retrying.
                    Poll::Ready(Err(error)) if is_transient(&error) => {}
                    Poll::Ready(Err(_)) => {
                        group.stats.accept_pauses.fetch_add(1, Ordering::Relaxed);
                        driver_common::trace::exhausted();
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

    fn connect(&self, connect: Connect, make: Make<P>) {
        let group = Arc::clone(&self.remote.group);
        let within = connect.timeout.unwrap_or(group.config.connect_timeout);
        // The attempt counts as a connection, so that the worker waits for it.
        group.join();
        tokio::spawn(async move {
            let outcome = timeout(within, open_stream(&connect, &group.config.socket)).await;
            let outcome = outcome.unwrap_or_else(|elapsed| Err(elapsed.into()));
            let remote = match connect.to {
                Place::Address(address) => Some(address),
                Place::Name(..) => outcome.as_ref().ok().and_then(|stream| stream.peer_addr().ok()),
            };
            begin::<_, P, W>(&group, outcome, remote, make);
            group.part();
        });
    }

    /// Runs a connection on a socket that is already connected.
    #[cfg(unix)]
    fn adopt(&self, socket: std::os::fd::OwnedFd, make: Make<P>) {
        let group = &self.remote.group;
        driver_common::prepare(&socket, &group.config.socket);
        // Only a TCP socket has such an address.
        let socket = std::net::TcpStream::from(socket);
        let remote = socket.peer_addr().ok();
        let ready = socket.set_nonblocking(true);
        if remote.is_some() {
            let stream = ready.and_then(|()| TcpStream::from_std(socket));
            begin::<_, P, W>(group, stream, remote, make);
        } else {
            let stream = ready.and_then(|()| UnixStream::from_std(std::os::fd::OwnedFd::from(socket).into()));
            begin::<_, P, W>(group, stream, remote, make);
        }
    }
}

/// Starts a connection that this side opened, or tells its protocol of the failure.
fn begin<S, P, W>(group: &Arc<Group>, outcome: std::io::Result<S>, remote: Option<SocketAddr>, make: Make<P>)
where
    S: Stream,
    W: Spawn<P>,
    P: Protocol + 'static,
    P::Message: Send + 'static,
{
    let stream = outcome.as_ref().ok();
    let connected = outcome.as_ref().map(drop).map_err(std::io::Error::kind);
    let local = || stream.and_then(S::local);
    if let (Ok(task), Ok(stream)) = (tasks::open(group, connected, remote, &local, make), outcome) {
        W::spawn(Drive::new(stream, task, S::reset));
    }
}

/// Starts an accepted connection, or refuses it with a reset.
fn admit<S, P, W>(
    group: &Arc<Group>,
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
    driver_common::prepare(stream.socket(), &group.config.socket);
    match tasks::admit(group, token, remote, &|| stream.local(), factory) {
        Ok(task) => W::spawn(Drive::new(stream, task, S::reset)),
        Err(Refused) => stream.reset(),
    }
}

fn is_transient(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
