//! One connection as a future.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use driver_common::tasks::{Group, Task, load_cached, read_cached};
use driver_common::{Config, Connect};
use protocol::driver::{Connection, FileTransfer, Transfer, Transport};
use protocol::{FilePiece, Limits, Load, Protocol, Reason};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::race::open_stream;

/// One connection: a stream, its protocol, and a future that ends with it.
///
/// Cancel-safe: the future keeps all state in itself. Dropping it early closes the stream and tells the protocol that the
/// connection was [`Stopped`](Reason::Stopped).
#[must_use = "a connection does nothing unless it is polled"]
pub struct Drive<S, P: Protocol> {
    stream: S,
    task: Task<P>,
    /// Makes the close of the stream a reset, if the stream supports that.
    reset: fn(&S),
    /// Whether half-closing is still in progress.
    shutting: bool,
}

impl<S: Unpin, P: Protocol> Unpin for Drive<S, P> {}

/// Runs `protocol` on `stream`, which is connected, until the connection ends. Uses its own timer; for many connections, use
/// [`Server`](crate::Server), whose connections share one timer.
pub async fn drive<S, P>(stream: S, protocol: P, limits: Limits) -> Reason
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Protocol,
{
    let mut config = Config::default();
    config.limits = limits;
    let group = Group::new(config);
    let mut drive = Drive::new(stream, Task::new(protocol, None, Arc::clone(&group), 0), |_| {});
    let mut sleep = core::pin::pin!(tokio::time::sleep(std::time::Duration::ZERO));
    core::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(reason) = Pin::new(&mut drive).poll(cx) {
                return Poll::Ready(reason);
            }
            let Some(next) = group.expire(Instant::now(), 1, cx.waker()) else {
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

/// Opens a connection to an address, a name with a port, or a [`Connect`], and runs `protocol` on it until the connection ends. If the connect
/// fails, or takes longer than the default [`connect_timeout`](Config::connect_timeout), the protocol's `closed` is called.
pub async fn connect<P: Protocol>(to: impl Into<Connect>, protocol: P, limits: Limits) -> Reason {
    let config = Config::default();
    let to = to.into();
    let within = to.timeout.unwrap_or(config.connect_timeout);
    let outcome = tokio::time::timeout(within, open_stream(&to, &config.socket)).await;
    match outcome.unwrap_or_else(|elapsed| Err(elapsed.into())) {
        Ok(stream) => drive(stream, protocol, limits).await,
        Err(error) => {
            let reason = Reason::Io(error.kind());
            Connection::new(protocol).closed(reason);
            reason
        }
    }
}

impl<S, P> Drive<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Protocol,
{
    pub(crate) fn new(stream: S, task: Task<P>, reset: fn(&S)) -> Self {
        Drive {
            stream,
            task,
            reset,
            shutting: false,
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
        let waker = cx.waker();
        let mut io = Io {
            stream: &mut this.stream,
            cx,
            shutting: &mut this.shutting,
            read: (0, 0),
            written: (0, 0),
        };
        if *io.shutting {
            io.shutdown();
        }
        let polled = this.task.poll(waker, &mut io);
        let (read, written) = (io.read, io.written);
        let stats = &this.task.group().stats;
        count(read, &stats.reads, &stats.bytes_in);
        count(written, &stats.writes, &stats.bytes_out);
        polled.map(|end| {
            if end.reset {
                (this.reset)(&this.stream);
            }
            end.reason
        })
    }
}

/// Counts calls and bytes in shared counters.
#[inline]
fn count((calls, bytes): (u64, u64), all_calls: &AtomicU64, all_bytes: &AtomicU64) {
    if calls != 0 {
        all_calls.fetch_add(calls, Ordering::Relaxed);
        all_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bytes of a file that are read at once from the page cache.
const FILE_BUFFER_SIZE: usize = 64 * 1024;

thread_local! {
    /// Allocated with the first file.
    static FILE_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A stream, borrowed for one poll.
struct Io<'a, 'c, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'c>,
    shutting: &'a mut bool,
    /// Read calls, and their bytes.
    read: (u64, u64),
    /// Write calls, and their bytes.
    written: (u64, u64),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for Io<'_, '_, S> {
    /// Only a refused write registers the task's waker.
    const SHORT_SEND_BLOCKS: bool = false;

    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> Transfer {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Pending => Transfer::Blocked,
            Poll::Ready(outcome) => {
                let n = buffer.filled().len();
                self.read.0 += 1;
                self.read.1 += n as u64;
                outcome.map_or_else(|error| Transfer::Failed(error.kind()), |()| Transfer::Bytes(n))
            }
        }
    }

    #[inline]
    fn send(&mut self, bytes: &[u8]) -> Transfer {
        let outcome = Pin::new(&mut *self.stream).poll_write(self.cx, bytes);
        self.wrote(outcome)
    }

    fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        let outcome = Pin::new(&mut *self.stream).poll_write_vectored(self.cx, slices);
        self.wrote(outcome)
    }

    /// From the page cache by way of memory of the thread: a peer that reads slowly holds no memory.
    fn send_file(&mut self, file: &FilePiece, max: u64) -> FileTransfer {
        FILE_BUFFER.with_borrow_mut(|buffer| {
            if buffer.is_empty() {
                *buffer = vec![0; FILE_BUFFER_SIZE];
            }
            let n = usize::try_from(max).map_or(FILE_BUFFER_SIZE, |max| max.min(FILE_BUFFER_SIZE));
            match read_cached(file, &mut buffer[..n]) {
                None => FileTransfer::Unsupported,
                Some(0) => FileTransfer::Done(Transfer::Bytes(0)),
                Some(n) => FileTransfer::Done(self.send(&buffer[..n])),
            }
        })
    }

    /// From the disk on a thread that may block.
    fn load(&mut self, load: &Arc<Load>) -> bool {
        if load.is_done() || load_cached(load) {
            return false;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return false;
        };
        if load.begin(self.cx.waker()) {
            let load = Arc::clone(load);
            runtime.spawn_blocking(move || load.run());
        }
        true
    }

    fn shutdown(&mut self) {
        // An error means that the peer has disconnected, which the next read reports.
        *self.shutting = Pin::new(&mut *self.stream).poll_shutdown(self.cx).is_pending();
    }
}

impl<S> Io<'_, '_, S> {
    #[inline]
    fn wrote(&mut self, outcome: Poll<io::Result<usize>>) -> Transfer {
        match outcome {
            Poll::Pending => Transfer::Blocked,
            Poll::Ready(Ok(0)) => Transfer::Failed(io::ErrorKind::WriteZero),
            Poll::Ready(Ok(n)) => {
                self.written.0 += 1;
                self.written.1 += n as u64;
                Transfer::Bytes(n)
            }
            Poll::Ready(Err(error)) => Transfer::Failed(error.kind()),
        }
    }
}
