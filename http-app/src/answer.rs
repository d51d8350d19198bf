//! Replies at once, and replies from futures.

use std::fmt;
use std::pin::Pin;

use crate::{IntoReply, Reply};

/// What an app's function returns: a reply, or a future of one ([`later`]).
pub struct Answer(pub(crate) Kind);

pub(crate) type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;

pub(crate) enum Kind {
    Now(Reply),
    Later(Later),
}

/// Answers with what `future` gives. The connection polls it: see [`protocol::Waking`] for where it runs. It is dropped when the client is gone
/// or a deadline has passed.
///
/// ```
/// use http_app::{App, Call, Problem, later};
///
/// async fn slow(call: Call) -> Result<String, Problem> {
///     // ... .await
///     Ok(call.path().to_owned())
/// }
///
/// let app = App::new().get("/slow", |call| later(slow(call))).build()?;
/// # let _ = app;
/// # Ok::<(), http_app::RouteError>(())
/// ```
pub fn later<F>(future: F) -> Answer
where
    F: Future<Output: IntoReply> + Send + 'static,
{
    Answer(Kind::Later(Box::pin(async { future.await.into_reply() })))
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Now(reply) => reply.fmt(f),
            Kind::Later(_) => f.write_str("Later"),
        }
    }
}

/// What an app's function may return: everything that is a reply ([`IntoReply`]), an [`Answer`], or a `Result` of either.
pub trait IntoAnswer {
    /// The answer.
    fn into_answer(self) -> Answer;
}

impl<R: IntoReply> IntoAnswer for R {
    fn into_answer(self) -> Answer {
        Answer(Kind::Now(self.into_reply()))
    }
}

impl IntoAnswer for Answer {
    fn into_answer(self) -> Answer {
        self
    }
}

impl<E: IntoReply> IntoAnswer for Result<Answer, E> {
    fn into_answer(self) -> Answer {
        self.unwrap_or_else(|error| error.into_reply().into_answer())
    }
}
