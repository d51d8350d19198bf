//! Content on its way between the user's thread and a connection's: bounded, with back-pressure.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;

use crate::Error;

/// A queue of content from one writer to one reader.
pub(crate) struct Pipe {
    state: Mutex<State>,
    /// Bytes above which the writer should stop.
    high: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    held: usize,
    /// The end, with the trailers; `Some(None)` once the reader has taken it.
    end: Option<Option<Result<HeaderMap, Error>>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    pub(crate) fn new(high: usize) -> Self {
        Pipe {
            state: Mutex::default(),
            high,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends content. Returns whether the writer should stop until `writer` is woken.
    pub(crate) fn write(&self, content: Bytes, writer: &Waker) -> bool {
        let mut state = self.lock();
        if state.end.is_some() {
            return false;
        }
        state.held += content.len();
        state.queue.push_back(content);
        let full = state.held > self.high;
        if full {
            state.writer = Some(writer.clone());
        }
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        full
    }

    /// Whether there is room; if not, `writer` is woken when there is.
    pub(crate) fn has_room(&self, writer: &Waker) -> bool {
        let mut state = self.lock();
        let room = state.held <= self.high / 2 || state.end.is_some();
        if !room {
            state.writer = Some(writer.clone());
        }
        room
    }

    /// Ends the content. Only the first end counts. After an error, content that was not read is dropped.
    pub(crate) fn finish(&self, end: Result<HeaderMap, Error>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(Some(end));
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether the end was written.
    pub(crate) fn is_finished(&self) -> bool {
        self.lock().end.is_some()
    }

    /// The next content, or the end; the end is returned once, then as trailers without fields.
    pub(crate) fn read(&self, reader: &Waker) -> Poll<Result<Piece, Error>> {
        let mut state = self.lock();
        if let Some(content) = state.queue.pop_front() {
            state.held -= content.len();
            let low = state.held <= self.high / 2;
            let writer = state.writer.take_if(|_| low);
            drop(state);
            writer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(Piece::Content(content)));
        }
        match &mut state.end {
            Some(Some(Err(error))) => Poll::Ready(Err(error.clone())),
            Some(end) => Poll::Ready(Ok(Piece::End(end.take().and_then(Result::ok).unwrap_or_default()))),
            None => {
                state.reader = Some(reader.clone());
                Poll::Pending
            }
        }
    }
}

/// What a pipe returns.
pub(crate) enum Piece {
    Content(Bytes),
    End(HeaderMap),
}
