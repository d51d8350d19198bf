//! The languages that clients speak. The session is the same for all.

use proto_ws::CloseCode;

use super::centrifugo;
use super::wire::Wire;
use crate::messages::{Failure, Id, Reply};

/// A client's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// comet's own.
    Comet,
    /// Centrifugo's JSON protocol over a WebSocket.
    Centrifugo,
    /// The same over a stream of events, on which the client only listens.
    Events,
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The token's time is over.
    Expired,
    /// The client reads too slowly for a channel.
    TooSlow,
    /// The client should come back, perhaps to another server.
    Leave,
    /// Commands that a client of this protocol does not send.
    BadRequest,
    InvalidToken,
    /// The API has revoked the token.
    Revoked,
    /// A channel that the client asked for when it connected is not allowed.
    Forbidden,
    /// The client has not said who it is.
    Stale,
    /// The client has not answered a ping.
    NoPong,
    /// Whether the client may connect is not known now.
    TryAgain,
    /// Something may be missing: the client comes back and learns what.
    Again,
}

impl Closing {
    /// The code and reason in comet's own language, and in Centrifugo's.
    const fn words(self) -> [(u16, &'static str); 2] {
        match self {
            Closing::Expired => [(1008, "the token's time is over"), (3005, "connection expired")],
            Closing::TooSlow => [(1013, "too slow"), (3008, "slow")],
            Closing::Leave => [(1012, "come back"), (3001, "shutdown")],
            Closing::BadRequest => [(1008, "bad request"), (3501, "bad request")],
            Closing::InvalidToken => [(1008, "invalid token"), (3500, "invalid token")],
            Closing::Revoked => [(3500, "the token is revoked"), (3500, "the token is revoked")],
            Closing::Forbidden => [(1008, "permission denied"), (3507, "permission denied")],
            Closing::Stale => [(1008, "stale"), (3502, "stale")],
            Closing::Again => [(1012, "come back"), (3010, "insufficient state")],
            Closing::TryAgain => [(1013, "try again later"), (3004, "try again later")],
            Closing::NoPong => [(1008, "no pong"), (3012, "no pong")],
        }
    }
}

impl Dialect {
    /// Sends a message to the client, if its language has such a message.
    pub(super) fn reply(self, out: &mut impl Wire, reply: &Reply<'_>) {
        match self {
            Dialect::Comet => out.text(&reply.to_json()),
            Dialect::Centrifugo => centrifugo::write(reply, false, |json| out.text(json)),
            Dialect::Events => centrifugo::write(reply, true, |json| out.text(json)),
        }
    }

    pub(super) fn fail(self, out: &mut impl Wire, id: &Id, Failure { code, reason }: Failure) {
        self.reply(out, &Reply::Error { id, code, reason });
    }

    pub(super) fn close(self, out: &mut impl Wire, closing: Closing) {
        let [comet, centrifugo] = closing.words();
        let (code, reason) = if self == Dialect::Comet { comet } else { centrifugo };
        out.close(CloseCode::new(code).unwrap_or(CloseCode::POLICY), reason);
    }
}
