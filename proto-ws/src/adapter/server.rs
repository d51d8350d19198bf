//! The server's side of a connection after the HTTP upgrade.

use alloc::sync::Arc;
use std::time::Instant;

use protocol::{Cx, Input, Protocol, Reason};

use super::session::Session;
use super::{Handler, ServerError};
use crate::{Config, Connection, Reader, Unmasked};

/// A server's connection after its opening handshake: the successor of HTTP in a [`protocol::Switch`], or on a stream that was opened
/// otherwise (an RFC 8441 tunnel).
#[derive(Debug)]
pub struct Server<H> {
    session: Session<Unmasked>,
    reader: Reader,
    handler: H,
}

impl<H: Handler> Server<H> {
    /// A connection for `handler` without extensions.
    pub fn new(config: Arc<Config>, handler: H) -> Self {
        Self::with(Connection::server(config), handler)
    }

    /// A connection for `handler` that continues `connection`, such as one with permessage-deflate.
    pub fn with(connection: Connection, handler: H) -> Self {
        let (session, reader) = Session::new(connection);
        Server {
            session,
            reader,
            handler,
        }
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }
}

impl<H: Handler> Protocol for Server<H> {
    type Message = H::Message;
    type Error = ServerError;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.session.open(cx, &mut self.handler)
    }

    #[inline]
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ServerError> {
        self.session.received(&mut self.reader, cx, input, &mut self.handler)
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.session.eof(cx, &mut self.handler);
        Ok(())
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        self.session.deadline()
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.session.timeout(cx, &mut self.handler)
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.session.drained(cx, &mut self.handler)
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: H::Message) -> Result<(), ServerError> {
        self.session.posted(cx, &mut self.handler, message)
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), ServerError> {
        self.session.stop(cx);
        Ok(())
    }

    fn closed(&mut self, _: Reason) {
        self.session.closed(&mut self.handler);
    }
}
