//! An endless peer in memory: reads repeat the same frames, and writes are discarded.

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;

/// Whole frames, repeated for ever, with at most `read` bytes per read.
#[derive(Clone)]
pub(crate) struct Feed {
    frames: Arc<[u8]>,
    read: usize,
    at: usize,
}

impl Feed {
    pub(crate) fn new(frames: Arc<[u8]>, read: usize) -> Self {
        Feed { frames, read, at: 0 }
    }

    pub(crate) fn read_size(&self) -> usize {
        self.read
    }

    /// Copies the next bytes, as a socket does.
    pub(crate) fn fill(&mut self, to: &mut [u8]) -> usize {
        let from = &self.frames[self.at..];
        let n = to.len().min(from.len()).min(self.read);
        to[..n].copy_from_slice(&from[..n]);
        self.at = (self.at + n) % self.frames.len();
        n
    }
}

impl Read for Feed {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        Ok(self.fill(to))
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::hint::black_box(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tokio::io::AsyncRead for Feed {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let from = &self.frames[self.at..];
        let n = to.remaining().min(from.len()).min(self.read);
        to.put_slice(&from[..n]);
        self.at = (self.at + n) % self.frames.len();
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Feed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::hint::black_box(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| std::hint::black_box(slice).len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl futures_util::io::AsyncRead for Feed {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.fill(to)))
    }
}

impl futures_util::io::AsyncWrite for Feed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::hint::black_box(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a future that never waits for anything but the feed.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
