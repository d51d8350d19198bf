//! Where the messages to a client go: a WebSocket, or a stream of events.

use proto_http::Responder;
use proto_ws::{CloseCode, Socket};

use super::dialect::Dialect;
use crate::publication::{Encoding, Publication};

/// The way to a client. What is sent while it closes is dropped: the client no longer listens.
pub(crate) trait Wire {
    /// Whether so much output waits that no more should be added.
    fn is_congested(&self) -> bool;
    /// Sends a message.
    fn text(&mut self, json: &str);
    /// Sends a publication, whose encodings all receivers share.
    /// With `delta`, the client takes deltas, and has the publication before or not.
    fn publication(&mut self, publication: &Publication, dialect: Dialect, encoding: &Encoding, delta: Option<bool>);
    /// Ends the connection.
    fn close(&mut self, code: CloseCode, reason: &str);
}

impl Wire for Socket<'_, '_> {
    fn is_congested(&self) -> bool {
        Socket::is_congested(self)
    }

    fn text(&mut self, json: &str) {
        let _ = Socket::text(self, json);
    }

    fn publication(&mut self, publication: &Publication, dialect: Dialect, encoding: &Encoding, delta: Option<bool>) {
        let message = match (dialect, delta) {
            (Dialect::Comet, _) => publication.message(encoding),
            (Dialect::Centrifugo, Some(has_base)) => publication.pushed_delta(encoding, has_base),
            (Dialect::Centrifugo | Dialect::Events, _) => &publication.pushed(encoding).message,
        };
        let _ = self.prepared(message);
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        let _ = Socket::close(self, code, reason);
    }
}

/// A stream of server-sent events.
pub(crate) struct Events<'s, 'a, 'c>(pub(crate) &'s mut Responder<'a, 'c>);

impl Wire for Events<'_, '_, '_> {
    fn is_congested(&self) -> bool {
        self.0.is_congested()
    }

    fn text(&mut self, json: &str) {
        let _ = self.0.write(format!("data: {json}\n\n").as_bytes());
    }

    fn publication(&mut self, publication: &Publication, _: Dialect, encoding: &Encoding, _: Option<bool>) {
        let _ = self.0.write_shared(publication.pushed(encoding).event.clone());
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        if self.0.is_open() {
            let push = serde_json::json!({ "disconnect": { "code": code.get(), "reason": reason } });
            self.text(&push.to_string());
            let _ = self.0.finish();
        }
    }
}
