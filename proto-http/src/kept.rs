//! The head of a request, kept longer than the bytes that it came in.

use alloc::boxed::Box;

use core::fmt;

use crate::framing::Facts;
use crate::{Fields, Request};

/// A copy of a request's head, from [`Request::keep`]: one allocation of the head's size. For handlers that need the head when
/// the body has arrived, or in a future.
///
/// ```
/// use proto_http::{Parsed, Request, Rules};
///
/// let Parsed::Complete { head, .. } = Request::parse(b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n", &Rules::DEFAULT)? else {
///     panic!("the head is complete")
/// };
/// let kept = head.keep();
/// assert_eq!(kept.view(), head);
/// # Ok::<(), proto_http::Violation>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct KeptRequest {
    /// The method, the target, and the field lines.
    bytes: Box<[u8]>,
    /// The length of the method.
    method: usize,
    /// The end of the target in `bytes`.
    target: usize,
    facts: Facts,
}

impl KeptRequest {
    pub(crate) fn new(request: &Request<'_>) -> Self {
        let (method, target) = (request.method.as_bytes(), request.target.as_bytes());
        Self {
            bytes: [method, target, request.fields.as_bytes()].concat().into(),
            method: method.len(),
            target: method.len() + target.len(),
            facts: request.facts,
        }
    }

    /// The head, equal to the request that was kept. Nothing is parsed again.
    #[must_use]
    pub fn view(&self) -> Request<'_> {
        let (start, fields) = self.bytes.split_at_checked(self.target).unwrap_or_default();
        let line = core::str::from_utf8(start).unwrap_or_default();
        let (method, target) = line.split_at_checked(self.method).unwrap_or_default();
        Request {
            method,
            target,
            fields: Fields::checked(fields),
            facts: self.facts,
        }
    }
}

impl fmt::Debug for KeptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}
