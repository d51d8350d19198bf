//! The stream of bytes of a connection that the service has taken over.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes buffered in one direction; the writer of that direction then waits.
const HIGH: usize = 64 * 1024;
/// The connection reads again once no more than this many bytes are unread.
const LOW: usize = 16 * 1024;

/// The state that a connection and its [`Upgraded`] stream share.
pub(crate) struct Pipe(Mutex<State>);

struct State {
    stage: Stage,
    /// Bytes from the client.
    inbound: BytesMut,
    /// The client has ended its direction.
    inbound_ended: bool,
    /// Bytes to the client.
    outbound: BytesMut,
    /// The service has ended its direction.
    outbound_ended: bool,
    /// The connection has stopped reading from the client.
    paused: bool,
    /// The service has called [`on_upgrade`], or the stream was claimed for it.
    claimed: bool,
    /// The service holds the [`Upgraded`] stream.
    taken: bool,
    /// The service has dropped its [`OnUpgrade`] or its stream.
    dropped: bool,
    waits: Waits,
    connection: Waker,
}

#[derive(Default)]
struct Waits {
    opener: Option<Waker>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asked,
    Open,
    /// The upgrade was refused, or the connection is over.
    Closed,
}

/// The extension of a request that asks for an upgrade or a tunnel.
#[derive(Clone)]
pub(crate) struct Offer(Arc<Pipe>);

/// Claims the connection of a request that asks for an upgrade (RFC 9110 section 7.8) or for a tunnel (CONNECT). The returned future waits
/// for the response. The service owns the connection if the response is a 101, or a 2xx to CONNECT.
///
/// Returns `None` if the request asks for neither, or was claimed before.
pub fn on_upgrade<B>(request: &mut http::Request<B>) -> Option<OnUpgrade> {
    let Offer(pipe) = request.extensions_mut().remove()?;
    let claimed = std::mem::replace(&mut pipe.lock().claimed, true);
    (!claimed).then_some(OnUpgrade(pipe))
}

/// A future that resolves when the service owns the connection; see [`on_upgrade`]. Dropping it gives the connection up.
pub struct OnUpgrade(Arc<Pipe>);

impl fmt::Debug for OnUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnUpgrade").finish_non_exhaustive()
    }
}

impl Drop for OnUpgrade {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if !state.taken {
            state.forsake();
        }
    }
}

/// The response was no upgrade, or the connection ended before the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeError(());

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was not upgraded")
    }
}

impl std::error::Error for UpgradeError {}

impl Future for OnUpgrade {
    type Output = Result<Upgraded, UpgradeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match state.stage {
            Stage::Asked => {
                state.waits.opener = Some(cx.waker().clone());
                Poll::Pending
            }
            Stage::Open if !state.taken => {
                state.taken = true;
                Poll::Ready(Ok(Upgraded(Arc::clone(&self.0))))
            }
            Stage::Open | Stage::Closed => Poll::Ready(Err(UpgradeError(()))),
        }
    }
}

/// The connection to the client as a stream of bytes, owned by the service.
///
/// At most 64 KiB are buffered in each direction, plus one read of the connection. Dropping the stream ends the connection after the
/// written bytes were sent.
pub struct Upgraded(Arc<Pipe>);

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").finish_non_exhaustive()
    }
}

impl Upgraded {
    /// Passes the unread bytes to `put`, which returns how many it has taken.
    fn read(&self, cx: &mut Context<'_>, put: impl FnOnce(&[u8]) -> usize) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.inbound.is_empty() {
            if state.inbound_ended {
                return Poll::Ready(Ok(()));
            }
            if state.stage == Stage::Closed {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            state.waits.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let used = put(&state.inbound);
        state.inbound.advance(used);
        if state.paused && state.inbound.len() <= LOW {
            state.connection.wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if state.stage == Stage::Closed || state.outbound_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = HIGH.saturating_sub(state.outbound.len()).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            state.waits.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.outbound.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        state.connection.wake_by_ref();
        Poll::Ready(Ok(room))
    }

    /// Waits until the connection has taken all written bytes.
    fn flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.outbound.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if state.stage == Stage::Closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.waits.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn shutdown(&self) {
        let mut state = self.0.lock();
        if !std::mem::replace(&mut state.outbound_ended, true) {
            state.connection.wake_by_ref();
        }
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        self.0.lock().forsake();
    }
}

impl State {
    /// The service has dropped its end.
    fn forsake(&mut self) {
        self.dropped = true;
        self.outbound_ended = true;
        self.inbound.clear();
        self.connection.wake_by_ref();
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.read(cx, |bytes| {
            let (piece, _) = bytes.split_at(bytes.len().min(into.remaining()));
            into.put_slice(piece);
            piece.len()
        })
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown();
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "hyper")]
impl hyper::rt::Read for Upgraded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.read(cx, |bytes| {
            let (piece, _) = bytes.split_at(bytes.len().min(into.remaining()));
            into.put_slice(piece);
            piece.len()
        })
    }
}

#[cfg(feature = "hyper")]
impl hyper::rt::Write for Upgraded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown();
        Poll::Ready(Ok(()))
    }
}

/// What the stream wants of the connection.
pub(crate) struct Wants {
    /// Bytes to send.
    pub(crate) bytes: Bytes,
    /// No more bytes follow.
    pub(crate) ended: bool,
    /// Nobody reads the client's bytes.
    pub(crate) dropped: bool,
    /// Stop reading from the client.
    pub(crate) pause: bool,
}

impl Pipe {
    pub(crate) fn new(connection: Waker) -> Arc<Self> {
        Arc::new(Pipe(Mutex::new(State {
            stage: Stage::Asked,
            inbound: BytesMut::new(),
            inbound_ended: false,
            outbound: BytesMut::new(),
            outbound_ended: false,
            paused: false,
            claimed: false,
            taken: false,
            dropped: false,
            waits: Waits::default(),
            connection,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, so that the guarded state is always consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The extension with which the service can claim the stream.
    pub(crate) fn offer(self: &Arc<Self>) -> Offer {
        Offer(Arc::clone(self))
    }

    /// Claims the stream, if nobody has claimed it.
    pub(crate) fn claim(self: &Arc<Self>) -> Option<Upgraded> {
        let mut state = self.lock();
        let claimed = std::mem::replace(&mut state.claimed, true);
        if claimed {
            return None;
        }
        state.taken = true;
        Some(Upgraded(Arc::clone(self)))
    }

    /// The service now owns the connection.
    pub(crate) fn open(&self) {
        let mut state = self.lock();
        if state.stage == Stage::Asked {
            state.stage = Stage::Open;
        }
        let waits = std::mem::take(&mut state.waits);
        drop(state);
        waits.wake();
    }

    /// The upgrade was refused, or the connection is over.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.stage = Stage::Closed;
        let waits = std::mem::take(&mut state.waits);
        drop(state);
        waits.wake();
    }

    /// Bytes have arrived from the client. Returns whether to stop reading.
    pub(crate) fn received(&self, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        if !state.dropped {
            state.inbound.extend_from_slice(bytes);
        }
        state.paused = state.inbound.len() >= HIGH;
        let (paused, reader) = (state.paused, state.waits.reader.take());
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        paused
    }

    /// The client has ended its direction.
    pub(crate) fn ended(&self) {
        let mut state = self.lock();
        state.inbound_ended = true;
        let reader = state.waits.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// What the service wants now; includes bytes only if there is `room` for them.
    pub(crate) fn wants(&self, room: bool) -> Wants {
        let mut state = self.lock();
        let bytes = if room {
            state.outbound.split().freeze()
        } else {
            Bytes::new()
        };
        let most = if state.paused { LOW } else { HIGH - 1 };
        state.paused = !state.dropped && state.inbound.len() > most;
        let wants = Wants {
            ended: state.outbound_ended && state.outbound.is_empty(),
            dropped: state.dropped,
            pause: state.paused,
            bytes,
        };
        let writer = if room { state.waits.writer.take() } else { None };
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        wants
    }
}

impl Waits {
    fn wake(self) {
        let waits = [self.opener, self.reader, self.writer];
        waits.into_iter().flatten().for_each(Waker::wake);
    }
}
