//! Replies.

use bytes::Bytes;
use proto_http::{Misuse, Responder};

use crate::Problem;

/// Content of at most this many bytes is copied behind its head: one write, and over HTTP/2 one frame.
const SMALL: usize = 16 * 1024;

/// A whole response: status, fields and content.
///
/// `Date`, `Connection` and `Content-Length` are added when the reply is sent. A field that may not be sent, such as one with a line end in
/// its value, fails the reply with a [`Misuse`]: nothing of it is sent, and the client gets a 500.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    fields: Vec<(Bytes, Bytes)>,
    body: Bytes,
}

impl Reply {
    /// A reply without fields and content. `status` is a final status, 200 to 999.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// A 200 with text in UTF-8, of `text/plain`.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(200).content("text/plain; charset=utf-8", text.into())
    }

    /// A 200 with a page in UTF-8, of `text/html`. The page is sent as it is: escape what comes from others.
    #[must_use]
    pub fn html(page: impl Into<String>) -> Self {
        Self::new(200).content("text/html; charset=utf-8", page.into())
    }

    /// A redirection to `location`, a URI reference (RFC 9110 section 10.2.2). `status` is one of 301, 302, 303, 307 and 308.
    #[must_use]
    pub fn redirect(status: u16, location: impl Into<Bytes>) -> Self {
        Self::new(status).field("Location", location)
    }

    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with one more field.
    #[must_use]
    pub fn field(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same with this content of this media type.
    #[must_use]
    pub fn content(mut self, media_type: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.field("Content-Type", media_type)
    }

    /// The same with a cookie in a Set-Cookie field, its name and value percent-encoded (RFC 6265).
    #[cfg(feature = "cookies")]
    #[must_use]
    pub fn cookie(self, cookie: &cookie::Cookie<'_>) -> Self {
        self.field("Set-Cookie", cookie.encoded().to_string())
    }

    pub(crate) fn send(self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if self.body.len() <= SMALL {
            return responder.send(self.status, &*self.fields, &self.body);
        }
        responder.send_shared(self.status, &*self.fields, self.body)
    }
}

/// What an app's function may return: something that becomes a [`Reply`].
pub trait IntoReply {
    /// The reply.
    fn into_reply(self) -> Reply;
}

impl IntoReply for Reply {
    fn into_reply(self) -> Reply {
        self
    }
}

/// A 200 of `text/plain`.
impl IntoReply for &'static str {
    fn into_reply(self) -> Reply {
        Reply::new(200).content("text/plain; charset=utf-8", self)
    }
}

/// A 200 of `text/plain`.
impl IntoReply for String {
    fn into_reply(self) -> Reply {
        Reply::text(self)
    }
}

/// A 204.
impl IntoReply for () {
    fn into_reply(self) -> Reply {
        Reply::new(204)
    }
}

/// A reply with another status.
impl<R: IntoReply> IntoReply for (u16, R) {
    fn into_reply(self) -> Reply {
        self.1.into_reply().status(self.0)
    }
}

impl IntoReply for Problem {
    fn into_reply(self) -> Reply {
        let status = self.status();
        Reply::new(status).content("text/plain; charset=utf-8", self.into_text())
    }
}

/// An error is a reply too: usually a [`Problem`].
impl<R: IntoReply, E: IntoReply> IntoReply for Result<R, E> {
    fn into_reply(self) -> Reply {
        match self {
            Ok(reply) => reply.into_reply(),
            Err(error) => error.into_reply(),
        }
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        problem.into_reply()
    }
}
