//! Whole bodies, for handlers that do not want the body in pieces.

use core::convert::Infallible;

use protocol::Protocol;

use super::{Handler, NoUpgrade, Responder};
use crate::{BodyLength, Fields, KeptRequest, Misuse, Request};

/// Answers requests whose bodies have arrived completely. [`Collect`] makes it a [`Handler`].
///
/// A closure `FnMut(&Request<'_>, &[u8], &mut Responder<'_, '_>) -> Result<(), Misuse>` answers at once and needs no messages. Implement
/// the trait for answers that come later, with messages, in pieces, or with an upgrade. All methods but [`request`](Self::request) are
/// those of [`Handler`]; errors have the same meaning.
pub trait WholeHandler {
    /// The type of messages from other threads and connections.
    type Message;
    /// See [`Handler::Next`].
    type Next: Protocol<Message = Self::Message>;

    /// A request has arrived with its whole body, which may be empty.
    ///
    /// # Errors
    ///
    /// See [`Handler`].
    fn request(&mut self, request: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse>;

    /// See [`Handler::drained`].
    ///
    /// # Errors
    ///
    /// See [`Handler`].
    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = responder;
        Ok(())
    }

    /// See [`Handler::posted`].
    ///
    /// # Errors
    ///
    /// See [`Handler`].
    fn posted(&mut self, message: Self::Message, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = (message, responder);
        Ok(())
    }

    /// See [`Handler::stop`].
    ///
    /// # Errors
    ///
    /// See [`Handler`].
    fn stop(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = responder;
        Ok(())
    }

    /// See [`Handler::switched`].
    fn switched(&mut self) -> Option<Self::Next> {
        None
    }

    /// See [`Handler::closed`].
    fn closed(&mut self, unanswered: bool) {
        let _ = unanswered;
    }
}

impl<F> WholeHandler for F
where
    F: FnMut(&Request<'_>, &[u8], &mut Responder<'_, '_>) -> Result<(), Misuse>,
{
    type Message = Infallible;
    type Next = NoUpgrade<Infallible>;

    fn request(&mut self, request: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self(request, body, responder)
    }
}

/// A handler that waits for the whole body, then passes it to a [`WholeHandler`], such as a closure
/// `FnMut(&Request<'_>, &[u8], &mut Responder<'_, '_>)`.
///
/// Head and body are held until then, in memory that grows as content arrives and is freed with the answer. A body of more
/// than `limit` bytes is answered with 413.
///
/// ```
/// use proto_http::{Collect, Request, Responder};
///
/// let handler = Collect::new(64 * 1024, |_: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>| {
///     responder.send(200, &(), body)
/// });
/// # let _ = handler;
/// ```
#[derive(Debug)]
pub struct Collect<W> {
    handler: W,
    limit: usize,
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    head: KeptRequest,
    body: Vec<u8>,
}

impl<W: WholeHandler> Collect<W> {
    /// Collects up to `limit` bytes for `handler`.
    pub fn new(limit: usize, handler: W) -> Self {
        Self {
            handler,
            limit,
            pending: None,
        }
    }

    /// The handler of whole requests.
    pub fn handler(&self) -> &W {
        &self.handler
    }
}

impl<W: WholeHandler> Handler for Collect<W> {
    type Message = W::Message;
    type Next = W::Next;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match request.body() {
            BodyLength::Length(length) if length > self.limit as u64 => responder.send(413, &(), b""),
            body if body.is_empty() => self.handler.request(request, b"", responder),
            _ => {
                self.pending = Some(Box::new(Pending {
                    head: request.keep(),
                    body: Vec::new(),
                }));
                Ok(())
            }
        }
    }

    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Some(pending) = &mut self.pending else {
            return Ok(());
        };
        if data.len() > self.limit.saturating_sub(pending.body.len()) {
            self.pending = None;
            return responder.send(413, &(), b"");
        }
        pending.body.extend_from_slice(data);
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match self.pending.take() {
            Some(pending) => self.handler.request(&pending.head.view(), &pending.body, responder),
            None => Ok(()),
        }
    }

    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.handler.drained(responder)
    }

    fn posted(&mut self, message: W::Message, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.handler.posted(message, responder)
    }

    fn stop(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.handler.stop(responder)
    }

    fn switched(&mut self) -> Option<W::Next> {
        self.handler.switched()
    }

    fn closed(&mut self, unanswered: bool) {
        self.pending = None;
        self.handler.closed(unanswered);
    }
}
