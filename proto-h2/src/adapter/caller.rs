//! The trait that clients implement, and the reasons for failed requests.

use std::fmt;

use proto_http::{Fields, Misuse, Response};
use protocol::Reason;

use super::Requester;
use crate::{ErrorCode, Violation};

/// Sends any number of concurrent requests on one connection, and receives their responses.
///
/// Each method borrows a [`Requester`], which sends requests: in [`ready`](Self::ready), or at any time while [`Requester::can_request`].
/// The stream number that [`Requester::send`] returns identifies the request.
pub trait Caller {
    /// Messages that other threads and connections may post to this client.
    type Message;

    /// The connection is ready, or the server permits more requests than before.
    ///
    /// # Errors
    ///
    /// The error, usually one returned by the [`Requester`]; the connection closes.
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

    /// An informational response. After a 100, a request that waited for it may send its content.
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

    /// A request has no response, or only part of one. If the failure is [repeatable](Failure::is_repeatable), the server has not processed
    /// the request: send it again, on this connection if it still [can](Requester::can_request), else on another. A
    /// [kept](Requester::send_kept) request has already been repeated here as often as allowed; [`Requester::take_kept`] returns it.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn failed(&mut self, stream: u32, failure: Failure, requester: &mut Requester<'_, '_>) -> Result<(), Misuse>;

    /// The queue of a stream has drained: the stream is no longer [congested](Requester::is_congested).
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn drained(&mut self, stream: u32, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (stream, requester);
        Ok(())
    }

    /// Another thread or connection has posted a message.
    ///
    /// # Errors
    ///
    /// See [`ready`](Self::ready).
    fn posted(&mut self, message: Self::Message, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let _ = (message, requester);
        Ok(())
    }

    /// The connection is over: because of `error`, or for the driver's `reason`. Requests on the streams `unanswered` have no response;
    /// whether the server has processed them is unknown, unless [`failed`](Self::failed) said so before. Called once, last.
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
    /// The server is shutting down and has not processed the request (RFC 9113 section 6.8).
    Goaway(ErrorCode),
    /// The server broke the protocol on this stream.
    Violation(Violation),
    /// The server took too long.
    TimedOut,
}

impl Failure {
    /// Whether the server has not processed the request (RFC 9113 section 8.7), so that even a request that is not idempotent may be sent
    /// again.
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
    /// The caller used the [`Requester`] in a way that is not allowed.
    Misuse(Misuse),
    /// The server took too long for its preface or for a frame.
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
