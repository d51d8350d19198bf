//! The trait that answers requests.

use core::convert::Infallible;
use core::marker::PhantomData;

use protocol::{Cx, Input, Protocol};

use super::Responder;
use crate::{Fields, Misuse, Request};

/// Answers the requests of one connection, one after the other.
///
/// For each request, [`request`](Self::request) is called once, then [`data`](Self::data) for each piece of content and
/// [`end`](Self::end), until the answer is complete; the rest of the request is then read and dropped. A handler may answer
/// in any of these calls, at once ([`Responder::send`]) or in pieces ([`Responder::start`]). It may also answer later: in
/// [`posted`](Self::posted), with a message from another thread, or in [`drained`](Self::drained). The next requests wait
/// meanwhile.
///
/// Each method returns an error, usually one that the [`Responder`] returned. The client gets a 500 if no answer has begun,
/// and the connection closes. For [`Misuse::SwitchUnasked`], which is the client's fault, the client gets a 400, and the
/// connection goes on.
///
/// A closure `FnMut(&Request<'_>, &mut Responder<'_, '_>) -> Result<(), Misuse>` is a handler that answers at once;
/// [`Collect`](super::Collect) is a handler that calls a closure, or a [`WholeHandler`](super::WholeHandler), with the whole body as
/// well. A handler that needs the head in [`end`](Self::end) keeps it with [`Request::keep`].
pub trait Handler {
    /// The type of messages from other threads and connections.
    type Message;
    /// The protocol that may take over the connection after an upgrade or in a CONNECT tunnel; [`NoUpgrade`] if there is
    /// none. A handler that upgrades must be served by [`Server::switching`](super::Server::switching).
    type Next: Protocol<Message = Self::Message>;

    /// A request has arrived.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse>;

    /// Some content of the request has arrived; never empty. Dropped by default.
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

    /// The output is no longer [congested](Responder::is_congested): a streamed answer may continue.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = responder;
        Ok(())
    }

    /// A message has arrived. It may be late: [`Responder::is_due`] tells whether an answer is still due.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn posted(&mut self, message: Self::Message, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = (message, responder);
        Ok(())
    }

    /// The driver stops, and this answer is not complete. An endless answer, such as a stream of events, should
    /// [`finish`](Responder::finish) now. Other answers have the driver's drain time to end.
    ///
    /// # Errors
    ///
    /// See the trait.
    fn stop(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let _ = responder;
        Ok(())
    }

    /// The answer was [`upgrade`](Responder::upgrade) or [`tunnel`](Responder::tunnel): returns the protocol that takes
    /// over. Called once, as the last call. `None` resets the connection, because the client was promised a protocol.
    fn switched(&mut self) -> Option<Self::Next> {
        None
    }

    /// The connection is over; `unanswered` says that a request or its answer was cut short. Called once, as the last call,
    /// unless another protocol has taken over.
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

/// The successor type of a connection that never has a successor. The type has no values.
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
