//! One request and its answer, between the user and the connection.

use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use http::response::Parts;
use url::Url;

use crate::Error;
use crate::pipe::Pipe;

/// The answer on its way to the user.
pub(crate) struct Exchange {
    head: Mutex<Head>,
    pub(crate) content: Pipe,
}

enum Head {
    Waits(Option<Waker>),
    Here(Box<Result<(Parts, Url), Error>>),
    Taken,
}

impl Exchange {
    pub(crate) fn new(buffer: usize) -> Self {
        Exchange {
            head: Mutex::new(Head::Waits(None)),
            content: Pipe::new(buffer),
        }
    }

    fn put(&self, outcome: Result<(Parts, Url), Error>) {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let Head::Waits(waker) = &mut *head else { return };
        let waker = waker.take();
        *head = Head::Here(Box::new(outcome));
        drop(head);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The head of the final answer.
    pub(crate) fn deliver(&self, parts: Parts, url: Url) {
        self.put(Ok((parts, url)));
    }

    /// There is no answer, or no more of it.
    pub(crate) fn fail(&self, error: Error) {
        self.content.finish(Err(error.clone()));
        self.put(Err(error));
    }

    pub(crate) fn poll_head(&self, waker: &Waker) -> Poll<Result<(Parts, Url), Error>> {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *head, Head::Taken) {
            Head::Here(outcome) => Poll::Ready(*outcome),
            Head::Waits(_) => {
                *head = Head::Waits(Some(waker.clone()));
                Poll::Pending
            }
            Head::Taken => Poll::Ready(Err(Error::Stopped)),
        }
    }
}
