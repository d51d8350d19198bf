//! What answers requests.

use core::convert::Infallible;
use core::marker::PhantomData;

use protocol::{Cx, Input, Protocol};

use super::Responder;
use crate::{Fields, Misuse, Request};

/// Answers the requests of one connection, one after the other.
///
/// For each request [`request`](Self::request) is called once, then [`data`](Self::data) for each piece of content and
/// [`end`](Self::end), until the answer is complete; what is left of the request then is read and dropped. The answer may be given in
/// any of these calls, at once ([`Responder::send`]) or in pieces ([`Responder::start`]), or later: in [`posted`](Self::posted),
/// which another thread sends, or in [`drained`](Self::drained). Requests behind it wait meanwhile.
///
/// Each method returns what went wrong, usually straight from the [`Responder`]; the client gets a 500 if no answer has begun, and
/// the connection closes. For [`Misuse::SwitchUnasked`], which is the client's fault, it gets a 400, and the connection goes on.
///
/// A closure `FnMut(&Request<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>` is a handler that answers at once;
/// [`Collect`](super::Collect) one that gets the whole body as well.
pub trait Handler {
    /// What other threads and connections may send here.
    type Message;
    /// What may take over the connection: the protocol of an upgrade or a CONNECT tunnel. [`NoUpgrade`] where nothing does. A handler
    /// that upgrades is served by [`Server::switching`](super::Server::switching).
    type Next: Protocol<Message = Self::Message>;

    /// A request has come.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse>;

    /// Some content of the request has come; never empty. Dropped by default.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = (data, responder);
        Ok(())
    }

    /// The request is complete. Called for requests without a body too, unless the answer is already complete.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn end(&mut self, trailers: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = (trailers, responder);
        Ok(())
    }

    /// The output is no longer [congested](Responder::is_congested): time for more of a streamed answer.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = responder;
        Ok(())
    }

    /// A message has come. It may be late: [`Responder::is_due`] tells whether an answer is still wanted.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn posted(&mut self, message: Self::Message, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = (message, responder);
        Ok(())
    }

    /// The driver stops, and this answer is not complete: one that would go on for ever, such as a stream of events, should
    /// [`finish`](Responder::finish) now. Others are given the driver's drain time.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn stop(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = responder;
        Ok(())
    }

    /// The answer was [`upgrade`](Responder::upgrade) or [`tunnel`](Responder::tunnel): returns the protocol that takes over. Called
    /// once and last. `None` resets the connection, as the client was promised a protocol.
    fn switched(&mut self) -> Option<Self::Next> {
        None
    }

    /// The connection is over; `unanswered` says that a request or its answer was cut short. Called once and last, unless another
    /// protocol has taken over.
    fn closed(&mut self, unanswered: bool) {
        let _ = unanswered;
    }
}

impl<F> Handler for F
where
    F: FnMut(&Request<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>,
{
    type Message = Infallible;
    type Next = NoUpgrade<Infallible>;

    #[inline]
    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self(request, responder)
    }
}

/// The successor of a connection that never has one. It has no values.
#[derive(Debug)]
pub struct NoUpgrade<M> {
    never: Infallible,
    message: PhantomData<fn(M)>,
}

impl<M> Protocol for NoUpgrade<M> {
    type Message = M;
    type Error = Infallible;

    fn received(&mut self, _: &mut Cx<'_>, _: &mut Input<'_>) -> Result<(), Infallible> {
        match self.never {}
    }
}
