//! Whole bodies, for handlers that do not want the body in pieces.

use core::convert::Infallible;

use super::{Handler, NoUpgrade, Responder};
use crate::{BodyLength, Fields, Misuse, Parsed, Request, Rules};

/// A handler that waits for the whole body, then calls a closure with it: `FnMut(&Request<'_>, &[u8], &mut Responder<'_, '_>)`.
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
pub struct Collect<F> {
    answer: F,
    limit: usize,
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl<F> Collect<F>
where
    F: FnMut(&Request<'_>, &[u8], &mut Responder<'_, '_>) -> Result<(), Misuse>,
{
    /// Collects up to `limit` bytes for `answer`.
    pub fn new(limit: usize, answer: F) -> Self {
        Self {
            answer,
            limit,
            pending: None,
        }
    }
}

impl<F> Handler for Collect<F>
where
    F: FnMut(&Request<'_>, &[u8], &mut Responder<'_, '_>) -> Result<(), Misuse>,
{
    type Message = Infallible;
    type Next = NoUpgrade<Infallible>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match request.body() {
            BodyLength::Length(length) if length > self.limit as u64 => responder.send(413, &(), b""),
            body if body.is_empty() => (self.answer)(request, b"", responder),
            _ => {
                self.pending = Some(Box::new(Pending {
                    head: request.to_vec(),
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
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        match Request::parse(&pending.head, &Rules::UNLIMITED) {
            Ok(Parsed::Complete { head, .. }) => (self.answer)(&head, &pending.body, responder),
            // Cannot happen: the same head was parsed before under stricter rules.
            _ => Err(Misuse::OutOfTurn),
        }
    }

    fn closed(&mut self, _: bool) {
        self.pending = None;
    }
}
