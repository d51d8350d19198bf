//! A whole request that can be sent again.

use std::fmt;

use bytes::Bytes;
use proto_http::{Assembled, FieldLines, Fields, Misuse};

use crate::Head;

/// A whole request, owned, so that it can be sent again on another stream or connection: for
/// [`Requester::send_kept`](super::Requester::send_kept). Its body is shared, not copied.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptRequest {
    /// Method, scheme, authority and path, concatenated.
    head: Box<str>,
    ends: [u32; 3],
    /// Field lines in the form of HTTP/1.1.
    fields: Box<[u8]>,
    body: Bytes,
}

impl KeptRequest {
    /// A request of `head` with `fields` and `body`. Head and fields are copied, the body is shared. Tunnels cannot be kept.
    ///
    /// # Errors
    ///
    /// [`Misuse`] for fields that may not be sent; [`Misuse::NotAllowed`] for a CONNECT. The rest of the head is checked when the request
    /// is sent.
    pub fn new(head: Head<'_>, fields: &(impl FieldLines + ?Sized), body: impl Into<Bytes>) -> Result<Self, Misuse> {
        fields.check()?;
        if head.method == "CONNECT" || head.protocol.is_some() {
            return Err(Misuse::NotAllowed);
        }
        let (mut text, mut ends) = (String::new(), [0; 3]);
        for (part, end) in [head.method, head.scheme, head.authority].iter().zip(&mut ends) {
            text.push_str(part);
            *end = u32::try_from(text.len()).map_err(|_| Misuse::NoSpace)?;
        }
        text.push_str(head.path);
        let mut lines = Vec::new();
        fields.write(&mut lines)?;
        Ok(Self {
            head: text.into(),
            ends,
            fields: lines.into(),
            body: body.into(),
        })
    }

    /// The head of the request.
    #[must_use]
    pub fn head(&self) -> Head<'_> {
        let [method, scheme, authority] = self.ends.map(|end| end as usize);
        let part = |start: usize, end: usize| self.head.get(start..end).unwrap_or_default();
        let path = part(authority, self.head.len());
        Head::new(part(0, method), part(method, scheme), part(scheme, authority), path)
    }

    /// The fields of the request.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Assembled::default().request("", "", &self.fields).fields()
    }

    /// The body of the request.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Leaves out the fields, which may hold secrets.
impl fmt::Debug for KeptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRequest")
            .field("head", &self.head())
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}
