//! The content of a request, as a service reads it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

/// Bytes of content that may wait for the service; the client is not read from meanwhile.
const HIGH: usize = 64 * 1024;
/// The client is read from again when less waits.
const LOW: usize = 16 * 1024;

/// The content of a request.
///
/// At most 64 KiB, and what one read of the connection brings, wait in it: a service that does not read stops the client. A client that
/// waits for `100 Continue` is told to continue when the content is first asked for (RFC 9110 section 10.1.1). What is not read when the
/// response is complete is dropped.
#[derive(Default)]
pub struct Body(Option<Arc<Shared>>);

type Shared = Mutex<Content>;

/// Why content of a request ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection or the stream has ended, or the client broke the protocol in it.
    Incomplete,
    /// The response was complete before the request was.
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
    /// How it ended, if it has.
    end: Option<Result<(), BodyError>>,
    /// Bytes still to be read by the service, where the length was announced.
    left: Option<u64>,
    /// The service has asked for content.
    wanted: bool,
    /// The client is not read from.
    paused: bool,
    /// Nobody will read it.
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
    // Nothing in here panics with the lock held, so that what it guards is whole in any case.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection's end of a [`Body`].
pub(crate) struct Feed(Arc<Shared>);

/// What the connection is to do for a body.
pub(crate) struct Wants {
    /// The client may continue.
    pub(crate) proceed: bool,
    /// The client is not to be read from.
    pub(crate) pause: bool,
}

impl Feed {
    /// Both ends of content; `length` where that is announced. What wakes the connection is `connection`.
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

    /// Content has come. True where the reader waits for it in the connection's own call.
    pub(crate) fn data(&self, data: &[u8]) -> bool {
        let mut content = lock(&self.0);
        if content.forsaken || content.end.is_some() {
            return false;
        }
        content.queued += data.len();
        content.queue.push_back(Bytes::copy_from_slice(data));
        wake(content)
    }

    /// The content is complete, or has failed. True as in [`data`](Self::data).
    pub(crate) fn end(&self, how: Result<Option<HeaderMap>, BodyError>) -> bool {
        let mut content = lock(&self.0);
        if content.end.is_some() {
            return false;
        }
        content.end = Some(how.map(|trailers| content.trailers = trailers.filter(|trailers| !trailers.is_empty())));
        wake(content)
    }

    /// Whether somebody may still read the content.
    pub(crate) fn is_kept(&self) -> bool {
        let content = lock(&self.0);
        !content.forsaken && content.end.is_none()
    }

    /// What the service wants, by now.
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

/// Wakes the reader, unless the connection is to call it itself: true then.
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
