//! What one connection sends and what must come back.

use std::fmt;

use super::http::Http;
use super::websocket::WebSocket;
use super::{Mode, Plan};

/// What the server did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Violation {
    /// The answer to the handshake does not accept it.
    Handshake,
    /// Not the status line of success.
    Status,
    /// The head makes no sense, or its length is unknown or wrong.
    Head,
    /// A wrong byte.
    Content,
    /// An answer nobody asked for.
    Unasked,
    /// The handshake of TLS failed, or a record is broken.
    Tls,
    /// The connection ended.
    Closed,
    /// The connection failed.
    Failed(std::io::ErrorKind),
    /// Nothing came for seconds.
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

/// How far one connection is with what it gets.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// What cannot be judged before more comes.
    pub(super) partial: Vec<u8>,
    /// Where in the expected bytes the next one is.
    pub(super) at: usize,
    /// Whether the handshake, if there is one, is done.
    pub(super) open: bool,
    /// What is to be sent at once: an answer to a ping.
    pub(super) reply: Vec<u8>,
}

/// The requests of all connections, made beforehand.
#[derive(Debug)]
pub(super) struct Script {
    /// The requests one after the other; behind the last come the first ones again, so that many fit one write.
    pub(super) requests: Vec<u8>,
    /// Bytes of one request.
    pub(super) size: usize,
    /// After so many bytes it starts again.
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
        // As many again as one write may hold, up to a mebibyte.
        let more = plan.in_flight.min((1 << 20) / size.max(1)).max(1);
        let requests = messages.iter().cycle().take(messages.len() + more).flatten();
        Script {
            requests: requests.copied().collect(),
            size,
            period,
            kind,
        }
    }

    /// What comes before the first request: the handshake.
    pub(super) fn opening(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Http(_) => None,
            Kind::WebSocket(websocket) => Some(&websocket.opening),
        }
    }

    /// Judges what came in and tells how many answers it completed.
    pub(super) fn check(&mut self, progress: &mut Progress, bytes: &[u8]) -> Result<usize, Violation> {
        match &mut self.kind {
            Kind::Http(http) => http.check(progress, bytes),
            Kind::WebSocket(websocket) => websocket.check(progress, bytes),
        }
    }
}
