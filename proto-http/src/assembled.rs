//! Heads that another codec has decoded, in the form that handlers expect.

use crate::framing::Facts;
use crate::{Fields, Request, Response};

/// The facts that the codec of another version of HTTP, such as `proto-h2`, knows about a head. Builds the views that the
/// handlers of this crate receive, over that codec's bytes.
///
/// ```
/// use proto_http::{Assembled, BodyLength, Version};
///
/// let about = Assembled { length: Some(5), content: true, ..Assembled::default() };
/// let request = about.request("PUT", "/a?b", b"host: example.org\r\ncontent-length: 5\r\n");
/// assert_eq!((request.path(), request.authority()), ("/a", Some("example.org")));
/// assert_eq!((request.body(), request.version()), (BodyLength::Length(5), Version::Http2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// The Content-Length.
    pub length: Option<u64>,
    /// Whether content may follow the head.
    pub content: bool,
    /// Whether the client waits for a 100 before it sends content (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    /// Whether the client asks for an upgrade. `fields` contain an `Upgrade` with the protocol, as in HTTP/1.1.
    pub upgrade: bool,
}

impl Assembled {
    /// Builds a request. `method` is a token, and `target` is visible ASCII in a valid form. `fields` are field lines, each
    /// with its CRLF: a name that is a token, a colon, and a value without control characters but HTAB; among them is one
    /// Host. These conditions are not checked again; if one does not hold, only the view is wrong.
    #[must_use]
    pub fn request<'a>(&self, method: &'a str, target: &'a str, fields: &'a [u8]) -> Request<'a> {
        Request {
            method,
            target,
            fields: Fields::checked(fields),
            facts: Facts::assembled(method, self),
        }
    }

    /// A response, without a reason. For `fields` see [`request`](Self::request).
    #[must_use]
    pub fn response<'a>(&self, status: u16, fields: &'a [u8]) -> Response<'a> {
        Response {
            status,
            reason: b"",
            fields: Fields::checked(fields),
            facts: Facts::assembled("", self),
        }
    }

    /// Builds a trailer section; fields that may not stand there are skipped (RFC 9110 section 6.5.1). For `fields` see
    /// [`request`](Self::request).
    #[must_use]
    pub const fn trailers(fields: &[u8]) -> Fields<'_> {
        Fields::checked(fields).as_trailers()
    }
}
