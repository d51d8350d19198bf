//! The content of a request, as the service reads it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

/// Above this many bytes of unread content, the connection stops reading from the client.
const HIGH: usize = 64 * 1024;
/// The connection reads again once no more than this many bytes are unread.
const LOW: usize = 16 * 1024;

/// The content of a request.
///
/// It buffers at most 64 KiB plus one read of the connection: a service that does not read stops the client. If the client waits for `100
/// Continue`, that is sent when the service first asks for content (RFC 9110 section 10.1.1). Content that is unread when the response is
/// complete is dropped.
#[derive(Default)]
pub struct Body(Option<Arc<Shared>>);

type Shared = Mutex<Content>;

/// Why a request's content ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection or stream has ended, or the client broke the protocol.
    Incomplete,
    /// The response was complete before the request.
    Answered,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::Incomplete => "the request ended before its content was complete",
            BodyError::Answered => "the request was answered before its content was read",
        })
    }
}

impl std::error::Error for BodyError {}

struct Content {
    queue: VecDeque<Bytes>,
    queued: usize,
    trailers: Option<HeaderMap>,
    /// The end of the content, once it has ended.
    end: Option<Result<(), BodyError>>,
    /// Bytes that the service has still to read, if the length was announced.
    left: Option<u64>,
    /// Whether the service has asked for content.
    wanted: bool,
    /// Whether the connection has stopped reading from the client.
    paused: bool,
    /// Whether the service has dropped the body.
    forsaken: bool,
    reader: Option<Waker>,
    connection: Waker,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(shared) = &self.0 else {
            return Poll::Ready(None);
        };
        let mut content = lock(shared);
        let first = !std::mem::replace(&mut content.wanted, true);
        if let Some(data) = content.queue.pop_front() {
            content.queued -= data.len();
            content.left = content.left.map(|left| left.saturating_sub(data.len() as u64));
            if content.paused && content.queued <= LOW {
                content.connection.wake_by_ref();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match content.end {
            Some(Ok(())) => Poll::Ready(content.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                if first {
                    content.connection.wake_by_ref();
                }
                content.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| {
            let content = lock(shared);
            content.queue.is_empty() && content.end == Some(Ok(())) && content.trailers.is_none()
        })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(shared) => lock(shared).left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            let mut content = lock(shared);
            content.forsaken = true;
            content.queue.clear();
            content.queued = 0;
            if content.paused {
                content.connection.wake_by_ref();
            }
        }
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Content> {
    // No code panics while it holds the lock, so that the guarded state is always consistent.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection's end of a [`Body`].
pub(crate) struct Feed(Arc<Shared>);

/// What the body wants of the connection.
pub(crate) struct Wants {
    /// The client may send content: send a 100 (Continue) if it waits for one.
    pub(crate) proceed: bool,
    /// Stop reading from the client.
    pub(crate) pause: bool,
}

impl Feed {
    /// Makes both ends of a request's content, of `length` bytes if announced. `connection` wakes the connection.
    pub(crate) fn new(length: Option<u64>, connection: Waker) -> (Self, Body) {
        let shared = Arc::new(Mutex::new(Content {
            queue: VecDeque::new(),
            queued: 0,
            trailers: None,
            end: None,
            left: length,
            wanted: false,
            paused: false,
            forsaken: false,
            reader: None,
            connection,
        }));
        (Feed(Arc::clone(&shared)), Body(Some(shared)))
    }

    /// Content has arrived. Returns true if the reader waits for it and is the connection's own future, which the caller must then poll.
    pub(crate) fn data(&self, data: &[u8]) -> bool {
        let mut content = lock(&self.0);
        if content.forsaken || content.end.is_some() {
            return false;
        }
        content.queued += data.len();
        content.queue.push_back(Bytes::copy_from_slice(data));
        wake(content)
    }

    /// The content is complete or has failed. Returns true as [`data`](Self::data) does.
    pub(crate) fn end(&self, how: Result<Option<HeaderMap>, BodyError>) -> bool {
        let mut content = lock(&self.0);
        if content.end.is_some() {
            return false;
        }
        content.end = Some(how.map(|trailers| content.trailers = trailers.filter(|trailers| !trailers.is_empty())));
        wake(content)
    }

    /// Whether the content may still be read.
    pub(crate) fn is_kept(&self) -> bool {
        let content = lock(&self.0);
        !content.forsaken && content.end.is_none()
    }

    /// What the service wants now.
    pub(crate) fn wants(&self) -> Wants {
        let mut content = lock(&self.0);
        let most = if content.paused { LOW } else { HIGH - 1 };
        content.paused = content.queued > most;
        Wants {
            proceed: content.wanted && content.end.is_none(),
            pause: content.paused,
        }
    }
}

/// Wakes the reader. If the reader is the connection's own future, returns true instead: the caller polls it.
fn wake(mut content: MutexGuard<'_, Content>) -> bool {
    let Some(reader) = content.reader.take() else {
        return false;
    };
    let own = reader.will_wake(&content.connection);
    drop(content);
    if !own {
        reader.wake();
    }
    own
}
