//! Status codes.

use crate::{Misuse, Response, scan};

/// The status of a response to send: a code, with its usual reason phrase or another one.
///
/// Made from a `u16`, from a received [`Response`] (a proxy passes its reason on), or by [`with_reason`](Self::with_reason).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'r> {
    code: u16,
    reason: Option<&'r [u8]>,
}

impl<'r> Status<'r> {
    /// A status with a custom reason phrase. Clients ignore the phrase (RFC 9112 section 4), and HTTP/2 does not send it.
    ///
    /// # Errors
    ///
    /// [`Misuse::Reason`] for bytes that a reason phrase may not contain: control characters other than the tab.
    pub fn with_reason(code: u16, reason: &'r [u8]) -> Result<Self, Misuse> {
        if !scan::is_value(reason) {
            return Err(Misuse::Reason);
        }
        Ok(Self {
            code,
            reason: Some(reason),
        })
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.code
    }

    /// The reason phrase.
    #[must_use]
    pub const fn reason(self) -> &'r [u8] {
        match self.reason {
            Some(reason) => reason,
            None => reason(self.code).as_bytes(),
        }
    }
}

impl From<u16> for Status<'_> {
    #[inline]
    fn from(code: u16) -> Self {
        Self { code, reason: None }
    }
}

impl<'r> From<&Response<'r>> for Status<'r> {
    fn from(response: &Response<'r>) -> Self {
        Self {
            code: response.status(),
            reason: Some(response.reason()),
        }
    }
}

/// The usual reason phrase of a status (RFC 9110 section 15); empty for an unknown status.
#[must_use]
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// Whether responses with this status never have a body (RFC 9110 sections 15.2, 15.3.5, 15.4.5).
#[inline]
pub(crate) const fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..200 | 204 | 304)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 section 15, RFC 6585 (428, 429, 431), RFC 7725 (451) and RFC 8297 (103). Other codes have no phrase.
    #[test]
    fn reasons() {
        let known = "100 Continue;101 Switching Protocols;103 Early Hints;200 OK;201 Created;202 Accepted;\
            203 Non-Authoritative Information;204 No Content;205 Reset Content;206 Partial Content;300 Multiple Choices;\
            301 Moved Permanently;302 Found;303 See Other;304 Not Modified;307 Temporary Redirect;308 Permanent Redirect;\
            400 Bad Request;401 Unauthorized;402 Payment Required;403 Forbidden;404 Not Found;405 Method Not Allowed;\
            406 Not Acceptable;407 Proxy Authentication Required;408 Request Timeout;409 Conflict;410 Gone;411 Length Required;\
            412 Precondition Failed;413 Content Too Large;414 URI Too Long;415 Unsupported Media Type;\
            416 Range Not Satisfiable;417 Expectation Failed;421 Misdirected Request;422 Unprocessable Content;\
            426 Upgrade Required;428 Precondition Required;429 Too Many Requests;431 Request Header Fields Too Large;\
            451 Unavailable For Legal Reasons;500 Internal Server Error;501 Not Implemented;502 Bad Gateway;\
            503 Service Unavailable;504 Gateway Timeout;505 HTTP Version Not Supported";
        let mut lines = known.split(';').peekable();
        for status in 0..1000 {
            match lines.next_if(|line| line.starts_with(&format!("{status:03} "))) {
                Some(line) => assert_eq!(reason(status), &line[4..]),
                None => assert_eq!(reason(status), "", "{status}"),
            }
        }
        assert_eq!(lines.next(), None);
    }
}
