//! What a client calls, and why requests fail.

use std::fmt;

use proto_http::{Fields, Misuse, Response};
use protocol::Reason;

use super::Requester;
use crate::{ErrorCode, Violation};

/// Sends requests on one connection, any number at once, and gets their responses as they come.
///
/// Requests are sent through the [`Requester`] that each method is lent: in [`ready`](Self::ready), or at any time while
/// [`Requester::can_request`]. Each has the number of its stream, which [`Requester::send`] returns.
pub trait Caller {
    /// What other threads and connections may send here.
    type Message;

    /// The connection is established, or the server permits more requests than before.
    ///
    /// # Errors
    ///
    /// What went wrong, usually straight from the [`Requester`]; the connection closes.
    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// The head of a final response.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn response(
        &mut self,
        stream: u32,
        response: &Response<'_>,
        requester: &mut Requester<'_, '_>,
    ) -> Result<(), Misuse>;

    /// An informational response. After a 100 a request that waited for it may send its content.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn informational(
        &mut self,
        stream: u32,
        response: &Response<'_>,
        requester: &mut Requester<'_, '_>,
    ) -> Result<(), Misuse> {
        let _ = (stream, response, requester);
        Ok(())
    }

    /// Some content of a response; never empty.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn data(&mut self, stream: u32, data: &[u8], requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// A response is complete.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn end(&mut self, stream: u32, trailers: Fields<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (stream, trailers, requester);
        Ok(())
    }

    /// A request has no response, or not all of it. Where the failure is [repeatable](Failure::is_repeatable), the server has not looked at
    /// the request: send it again, on this connection if it still [can](Requester::can_request), else on another. A request that was
    /// [kept](Requester::send_kept) was sent again here as often as that could help; [`Requester::take_kept`] gives it back.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn failed(&mut self, stream: u32, failure: Failure, requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// What a stream has to send is no longer [congested](Requester::is_congested).
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn drained(&mut self, stream: u32, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (stream, requester);
        Ok(())
    }

    /// A message has come.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn posted(&mut self, message: Self::Message, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (message, requester);
        Ok(())
    }

    /// The connection is over: by `error`, or for `reason` of the driver. Requests on the streams `unanswered` have no response; what the server
    /// has done for them is not known, unless [`failed`](Self::failed) has said so before. Called once and last.
    fn closed(&mut self, error: Option<ClientError>, reason: Reason, unanswered: &[u32]) {
        let _ = (error, reason, unanswered);
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The server has reset the stream.
    Reset(ErrorCode),
    /// The server goes away, and has not looked at the request (RFC 9113 section 6.8).
    Goaway(ErrorCode),
    /// The server broke the protocol on this stream.
    Violation(Violation),
    /// The server took too long.
    TimedOut,
}

impl Failure {
    /// Whether the server has done nothing for the request (RFC 9113 section 8.7), so that even one that is not idempotent may be sent again.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        matches!(self, Failure::Goaway(_) | Failure::Reset(ErrorCode::REFUSED_STREAM))
    }
}

/// Why a client's connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The server broke the protocol.
    Violation(Violation),
    /// The caller broke a rule of this crate.
    Misuse(Misuse),
    /// The server took too long for its preface, or a frame.
    TimedOut,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Violation(violation) => violation.fmt(f),
            ClientError::Misuse(misuse) => write!(f, "the caller failed: {misuse}"),
            ClientError::TimedOut => f.write_str("timed out: the server has sent part of a frame, or no SETTINGS"),
        }
    }
}

impl std::error::Error for ClientError {}
