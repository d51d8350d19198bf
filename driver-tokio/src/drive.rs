//! One connection as a future.

use std::future::Future;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use protocol::bytes::Buf;
use protocol::driver::{Config, Connect, Connection, Interest, SocketOptions, Todo, Turn};
use protocol::{Limits, Output, Protocol, Reason, Stats};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::mailbox::Queue;
use crate::shard::{Phase, Shard, Timer};
use crate::{trace, turn};

/// Reads and messages handled before other tasks have their turn.
const ROUNDS: usize = 4;
/// Pieces handed to one vectored write.
const SLICES: usize = 64;

/// One connection: a stream, its protocol, and a future that ends with it.
///
/// Cancel-safe: nothing is kept across an await but in here. Dropping it early closes the stream and tells the protocol
/// that it was [`Stopped`](Reason::Stopped).
#[must_use = "a connection does nothing unless it is polled"]
pub struct Drive<S, P: Protocol> {
    stream: S,
    connection: Connection<P>,
    mailbox: Option<Arc<Queue<P::Message>>>,
    shard: Arc<Shard>,
    timer: Option<Timer>,
    /// Names the connection where those of one address are counted.
    token: u64,
    /// What the timer is set to. It is never moved back: when it fires early, it is set again.
    armed: Option<Instant>,
    waker: Option<Waker>,
    /// How to close with a reset, where the stream can.
    reset: fn(&S),
    interest: Interest,
    begun: bool,
    /// Whether half-closing has not yet gone through.
    shutting: bool,
    /// Whether the protocol was told to stop.
    stopped: bool,
    /// Whether nothing more may be told to the protocol: it has heard the end, or panicked.
    over: bool,
}

impl<S: Unpin, P: Protocol> Unpin for Drive<S, P> {}

/// Runs `protocol` on `stream`, which is connected, until the connection ends. Uses a timer of its own; for many
/// connections, [`Server`](crate::Server) shares one among them.
pub async fn drive<S, P>(stream: S, protocol: P, limits: Limits) -> Reason
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Protocol,
{
    let mut config = Config::default();
    config.limits = limits;
    let shard = Shard::new(config);
    let mut drive = Drive::new(stream, protocol, None, Arc::clone(&shard), 0, |_| {});
    let mut sleep = core::pin::pin!(tokio::time::sleep(std::time::Duration::ZERO));
    core::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(reason) = Pin::new(&mut drive).poll(cx) {
                return Poll::Ready(reason);
            }
            let Some(next) = shard.expire(Instant::now(), 1, cx.waker()) else {
                return Poll::Pending;
            };
            sleep.as_mut().reset(next.into());
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Connects to an address, or as [`Connect`] says, and runs `protocol` on the connection until it ends. A connect that fails, or takes longer than the
/// default [`connect_timeout`](Config::connect_timeout), the protocol is told as `closed`.
pub async fn connect<P: Protocol>(to: impl Into<Connect>, protocol: P, limits: Limits) -> Reason {
    let config = Config::default();
    let outcome = tokio::time::timeout(config.connect_timeout, open_stream(&to.into(), &config.socket)).await;
    match outcome.unwrap_or_else(|elapsed| Err(elapsed.into())) {
        Ok(stream) => drive(stream, protocol, limits).await,
        Err(error) => failed(protocol, limits, &error),
    }
}

/// Connects.
pub(crate) async fn open_stream(connect: &Connect, options: &SocketOptions) -> io::Result<TcpStream> {
    let socket = driver_sockets::connecting(connect, options)?;
    TcpSocket::from_std_stream(socket.into()).connect(connect.to).await
}

/// Tells a protocol that its connection never came to be.
pub(crate) fn failed<P: Protocol>(protocol: P, limits: Limits, error: &io::Error) -> Reason {
    let mut connection = Connection::new(protocol);
    turn::with(limits, |turn| connection.failed(turn, error.kind()));
    connection.reason()
}

impl<S, P> Drive<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Protocol,
{
    pub(crate) fn new(
        stream: S,
        protocol: P,
        mailbox: Option<Arc<Queue<P::Message>>>,
        shard: Arc<Shard>,
        token: u64,
        reset: fn(&S),
    ) -> Self {
        shard.join();
        Drive {
            stream,
            connection: Connection::new(protocol),
            mailbox,
            shard,
            timer: None,
            token,
            armed: None,
            waker: None,
            reset,
            interest: Interest {
                read: false,
                write: false,
            },
            begun: false,
            shutting: false,
            stopped: false,
            over: false,
        }
    }

    /// Tells the connection what has happened meanwhile, and does what it asks for. `Ready` at its end.
    fn turn(&mut self, cx: &mut Context<'_>, turn: &mut Turn, stats: &mut Stats) -> Poll<bool> {
        if !self.begun {
            self.begun = true;
            self.connection.connected(turn);
            if let Poll::Ready(reset) = self.settle(cx, turn, stats) {
                return Poll::Ready(reset);
            }
        }
        if self.shutting {
            self.shut(cx);
        }
        if self.interest.write {
            // Asks whether the stream takes output by offering it, once: where it does not, it wakes the task when it does.
            self.connection.writable(turn);
            if let Poll::Ready(reset) = self.settle(cx, turn, stats) {
                return Poll::Ready(reset);
            }
        }
        for _ in 0..ROUNDS {
            match self.next(cx, turn, stats) {
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
            if let Poll::Ready(reset) = self.settle(cx, turn, stats) {
                return Poll::Ready(reset);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells the connection of one thing that has happened; `Pending` when nothing has.
    fn next(&mut self, cx: &mut Context<'_>, turn: &mut Turn, stats: &mut Stats) -> Poll<()> {
        if let phase @ (Phase::Stopping | Phase::Killing) = self.shard.phase() {
            if phase == Phase::Killing {
                self.connection.kill(turn, Reason::Stopped);
                return Poll::Ready(());
            }
            if !self.stopped {
                self.stopped = true;
                self.connection.stop(turn);
                return Poll::Ready(());
            }
        }
        if self.armed.is_some_and(|armed| armed <= turn.now) {
            self.armed = None;
            stats.timeouts += u64::from(self.connection.deadline().is_some_and(|at| at <= turn.now));
            self.connection.timeout(turn);
            return Poll::Ready(());
        }
        if let Some(mailbox) = &self.mailbox {
            let waiting = core::iter::from_fn(|| mailbox.poll(cx.waker()));
            let budget = (self.shard.config.message_budget / ROUNDS).max(1);
            let taken = self.connection.messages(turn, waiting.take(budget));
            if taken > 0 {
                stats.messages += taken as u64;
                return Poll::Ready(());
            }
        }
        if self.interest.read {
            return self.read(cx, turn, stats);
        }
        Poll::Pending
    }

    fn read(&mut self, cx: &mut Context<'_>, turn: &mut Turn, stats: &mut Stats) -> Poll<()> {
        let mut buffer = ReadBuf::new(self.connection.recv_buffer(turn));
        let outcome = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let n = buffer.filled().len();
        match outcome {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if n == 0 => self.connection.eof(turn),
            Poll::Ready(Ok(())) => {
                stats.bytes_in += n as u64;
                self.connection.received(turn, n);
            }
            Poll::Ready(Err(error)) => self.connection.failed(turn, error.kind()),
        }
        stats.reads += 1;
        Poll::Ready(())
    }

    /// Does what the connection asks for until it waits; `Ready` with whether to reset when it has ended.
    fn settle(&mut self, cx: &mut Context<'_>, turn: &mut Turn, stats: &mut Stats) -> Poll<bool> {
        loop {
            match self.connection.todo(turn) {
                Todo::Send => match send(&mut self.stream, cx, &turn.output) {
                    Poll::Pending => self.connection.blocked(turn),
                    Poll::Ready(Ok(0)) => self.connection.failed(turn, io::ErrorKind::WriteZero),
                    Poll::Ready(Ok(n)) => {
                        stats.writes += 1;
                        stats.bytes_out += n as u64;
                        self.connection.sent(turn, n);
                    }
                    Poll::Ready(Err(error)) => self.connection.failed(turn, error.kind()),
                },
                Todo::Shutdown => self.shut(cx),
                Todo::Wait(interest) => {
                    self.interest = interest;
                    return Poll::Pending;
                }
                Todo::Again => {
                    // Goes on as if the stream had just become writable.
                    self.interest = Interest {
                        read: false,
                        write: true,
                    };
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Todo::Drop { reset } => return Poll::Ready(reset),
            }
        }
    }

    fn shut(&mut self, cx: &mut Context<'_>) {
        // An error means that the peer is gone, which the next read tells.
        self.shutting = Pin::new(&mut self.stream).poll_shutdown(cx).is_pending();
    }

    /// Sets the timer, if the deadline came nearer than what it is set to.
    fn rearm(&mut self, waker: &Waker) {
        let deadline = self.connection.deadline();
        let nearer = match (deadline, self.armed) {
            (Some(deadline), Some(armed)) => deadline < armed,
            (Some(_), None) => true,
            (None, _) => self.timer.is_none(),
        };
        let moved = !self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        if moved {
            self.waker = Some(waker.clone());
        }
        if nearer || moved {
            let set = if nearer { deadline } else { self.armed };
            self.timer = Some(self.shard.arm(self.timer, set, waker));
            self.armed = set;
        }
    }
}

impl<S, P> Future for Drive<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Protocol,
{
    type Output = Reason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = self.get_mut();
        let mut stats = Stats::default();
        let limits = this.shard.config.limits;
        let turned = catch_unwind(AssertUnwindSafe(|| {
            turn::with(limits, |turn| this.turn(cx, turn, &mut stats))
        }));
        let ended = match turned {
            Ok(Some(Poll::Pending)) => {
                this.rearm(cx.waker());
                None
            }
            Ok(Some(Poll::Ready(reset))) => {
                stats.count_end(this.connection.reason());
                trace::ended(this.token, this.connection.reason());
                Some(reset)
            }
            // A driver inside a protocol's method has no buffers to work with: later, then.
            Ok(None) => {
                cx.waker().wake_by_ref();
                None
            }
            Err(_) => {
                // Its state is unknown: not even `closed` may be called. The panic hook has told why.
                stats.panics += 1;
                trace::panicked(this.token);
                turn::clear();
                Some(true)
            }
        };
        this.shard.stats.add(&stats);
        match ended {
            None => Poll::Pending,
            Some(reset) => {
                this.over = true;
                if reset {
                    (this.reset)(&this.stream);
                }
                Poll::Ready(this.connection.reason())
            }
        }
    }
}

impl<S, P: Protocol> Drop for Drive<S, P> {
    fn drop(&mut self) {
        if let Some(mailbox) = &self.mailbox {
            let late = mailbox.close();
            self.shard.stats.messages_late.fetch_add(late as u64, Ordering::Relaxed);
        }
        if !self.over {
            self.shard.stats.stopped.fetch_add(1, Ordering::Relaxed);
            // A panic in `closed` must not become an abort.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                turn::with(self.shard.config.limits, |turn| {
                    self.connection.kill(turn, Reason::Stopped);
                    self.connection.todo(turn)
                })
            }));
        }
        self.shard.part(self.timer, self.token);
    }
}

fn send<S: AsyncWrite + Unpin>(stream: &mut S, cx: &mut Context<'_>, output: &Output) -> Poll<io::Result<usize>> {
    let first = output.chunk();
    if first.len() == output.len() || !stream.is_write_vectored() {
        return Pin::new(stream).poll_write(cx, first);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = output.chunks_vectored(&mut slices);
    Pin::new(stream).poll_write_vectored(cx, &slices[..filled])
}
