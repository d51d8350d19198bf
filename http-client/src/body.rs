//! The body of a request.

use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;

use crate::Error;
use crate::pipe::Pipe;

/// The body of a request: nothing, bytes, a file, or content that follows piece by piece.
#[derive(Clone, Default)]
pub struct Body(pub(crate) Kind);

#[derive(Clone, Default)]
pub(crate) enum Kind {
    #[default]
    Empty,
    Bytes(Bytes),
    File {
        file: Arc<File>,
        length: u64,
    },
    Stream {
        pipe: Arc<Pipe>,
        length: Option<u64>,
        /// Whether some of it was read.
        begun: Arc<AtomicBool>,
    },
}

/// Bytes of a streamed body that wait to be sent.
const WAITING: usize = 64 * 1024;

impl Body {
    /// The content of a file. It is sent from the file, without passing through memory where the driver can do that. A file that becomes
    /// shorter meanwhile ends the request with an error.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or is none.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Body(Kind::File {
            length: found.len(),
            file: Arc::new(file),
        }))
    }

    /// Content that follows through the returned [`BodySender`], with a known `length` or without. Such a body cannot be sent again, so the
    /// request is not repeated, and a redirect that needs the body is an error.
    pub fn channel(length: Option<u64>) -> (BodySender, Self) {
        let pipe = Arc::new(Pipe::new(WAITING));
        let sender = BodySender {
            pipe: Arc::clone(&pipe),
            done: false,
        };
        let begun = Arc::default();
        (sender, Body(Kind::Stream { pipe, length, begun }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }

    /// Whether it can be sent from its start.
    pub(crate) fn is_whole(&self) -> bool {
        match &self.0 {
            Kind::Stream { begun, .. } => !begun.load(Ordering::Relaxed),
            _ => true,
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Body(Kind::Bytes(bytes.into()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Empty => f.write_str("Empty"),
            Kind::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Kind::File { length, .. } => write!(f, "File({length})"),
            Kind::Stream { length, .. } => write!(f, "Stream({length:?})"),
        }
    }
}

/// Sends a body piece by piece. Dropping this before [`finish`](Self::finish) fails the request.
pub struct BodySender {
    pipe: Arc<Pipe>,
    done: bool,
}

impl BodySender {
    /// Sends `content`; waits while much of the earlier content waits to be sent.
    ///
    /// # Errors
    ///
    /// When the request has ended, with or without an answer: nobody reads the body any more.
    pub async fn send(&mut self, content: impl Into<Bytes>) -> Result<(), Error> {
        poll_fn(|cx| match self.pipe.has_room(cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        if self.pipe.is_finished() {
            return Err(Error::Body);
        }
        let content = content.into();
        if !content.is_empty() {
            self.pipe.write(content, Waker::noop());
        }
        Ok(())
    }

    /// Ends the body.
    pub fn finish(self) {
        self.finish_with(HeaderMap::new());
    }

    /// Ends the body with trailers. They are sent over HTTP/1.1, in a body without a known length.
    pub fn finish_with(mut self, trailers: HeaderMap) {
        self.done = true;
        self.pipe.finish(Ok(trailers));
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        if !self.done {
            self.pipe.finish(Err(Error::Body));
        }
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodySender(..)")
    }
}
