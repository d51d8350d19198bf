//! What one connection sends, and the check of what it receives.

use std::fmt;

use super::http::Http;
use super::websocket::WebSocket;
use super::{Mode, Plan};

/// A fault of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Violation {
    /// The answer to the WebSocket handshake does not accept it.
    Handshake,
    /// The status is not success.
    Status,
    /// The head is malformed, or its length is missing or wrong.
    Head,
    /// A wrong byte.
    Content,
    /// An answer without a request.
    Unasked,
    /// The TLS handshake failed, or a record is broken.
    Tls,
    /// The connection ended.
    Closed,
    /// The connection failed.
    Failed(std::io::ErrorKind),
    /// No answer came in time.
    Silent,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Handshake => f.write_str("the handshake was not accepted"),
            Violation::Status => f.write_str("an answer without the status of success"),
            Violation::Head => f.write_str("an answer whose head or length is wrong"),
            Violation::Content => f.write_str("a wrong byte in an answer"),
            Violation::Unasked => f.write_str("an answer that nobody asked for"),
            Violation::Tls => f.write_str("TLS failed"),
            Violation::Closed => f.write_str("the server closed a connection"),
            Violation::Failed(kind) => write!(f, "a connection failed: {kind}"),
            Violation::Silent => f.write_str("an answer did not come in time"),
        }
    }
}

/// What one connection has received so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Received bytes that cannot be judged before more arrive.
    pub(super) partial: Vec<u8>,
    /// The position of the next byte in the expected bytes.
    pub(super) at: usize,
    /// Whether the handshake is done, if there is one.
    pub(super) open: bool,
    /// Bytes to send at once, in answer to a Ping.
    pub(super) reply: Vec<u8>,
}

/// The requests of all connections, made beforehand.
#[derive(Debug)]
pub(super) struct Script {
    /// The requests one after the other. The first ones are repeated behind the last, so that many fit one write.
    pub(super) requests: Vec<u8>,
    /// The size of one request, in bytes.
    pub(super) size: usize,
    /// The number of bytes after which the requests repeat.
    pub(super) period: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Http(Http),
    WebSocket(WebSocket),
}

impl Script {
    pub(super) fn new(plan: &Plan) -> Self {
        let (messages, kind) = match plan.mode {
            Mode::Http => {
                let (request, http) = Http::new(plan);
                (vec![request], Kind::Http(http))
            }
            Mode::WebSocket => {
                let (messages, websocket) = WebSocket::new(plan);
                (messages, Kind::WebSocket(websocket))
            }
        };
        let size = messages.first().map_or(0, Vec::len);
        let period = size * messages.len();
        // Repeats as many as one write may hold, up to a mebibyte.
        let more = plan.in_flight.min((1 << 20) / size.max(1)).max(1);
        let requests = messages.iter().cycle().take(messages.len() + more).flatten();
        Script {
            requests: requests.copied().collect(),
            size,
            period,
            kind,
        }
    }

    /// The handshake, which is sent before the first request, if there is one.
    pub(super) fn opening(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Http(_) => None,
            Kind::WebSocket(websocket) => Some(&websocket.opening),
        }
    }

    /// Checks received bytes and returns the number of answers that they complete.
    pub(super) fn check(&mut self, progress: &mut Progress, bytes: &[u8]) -> Result<usize, Violation> {
        match &mut self.kind {
            Kind::Http(http) => http.check(progress, bytes),
            Kind::WebSocket(websocket) => websocket.check(progress, bytes),
        }
    }
}
