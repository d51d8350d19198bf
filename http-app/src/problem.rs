//! Why a request is not answered as the client wishes.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

/// A reply that says why: a status, and a text for the client, which is sent as `text/plain`.
///
/// The functions of an app return it as their error, with `?`. For more fields, return a [`Reply`](crate::Reply) as the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: u16,
    text: Cow<'static, str>,
}

impl Problem {
    /// A problem with a status of 400 to 599 (RFC 9110 sections 15.5 and 15.6), and a text that the client may see.
    pub fn new(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// Status 404: there is no such resource.
    #[must_use]
    pub const fn not_found() -> Self {
        Self {
            status: 404,
            text: Cow::Borrowed("not found"),
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn into_text(self) -> Bytes {
        match self.text {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        }
    }

    /// The text for the client.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.text)
    }
}

impl std::error::Error for Problem {}
