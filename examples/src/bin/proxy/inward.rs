//! A client's connection.

use std::net::SocketAddr;
use std::sync::Arc;

use proto_http::{Fields, Handler, Misuse, Request, Responder, Status};
use protocol::{Either, Sender, Switch};

use crate::Proxy;
use crate::head::{self, Place, Way};
use crate::link::{Answer, Failure, Link, Message, Order, Part, What};
use crate::outward::Outward;
use crate::shared::Shared;
use crate::tunnel::Tunnel;

/// Opens a server connection for each request of a client, and answers with its response.
pub(crate) struct Inward {
    shared: Arc<Shared>,
    client: Option<SocketAddr>,
    here: Sender<Message>,
    exchange: u64,
    /// The link to the server's connection, during an exchange.
    link: Option<Link>,
    /// The request to send once the server's connection is established; `None` for a tunnel.
    order: Option<Order>,
    /// Whether the request has content, and so a separate end.
    content: bool,
}

impl Inward {
    pub(crate) fn new(shared: Arc<Shared>, client: Option<SocketAddr>, here: Sender<Message>) -> Self {
        Inward {
            shared,
            client,
            here,
            exchange: 0,
            link: None,
            order: None,
            content: false,
        }
    }

    /// Looks up the server, or connects at once.
    fn open(&mut self, place: Place) -> Result<(), Failure> {
        match place {
            Place::Address(address) => self.connect(address),
            Place::Name(name, port) => self
                .shared
                .resolver
                .look_up(name, port, self.here.clone(), self.exchange),
        }
    }

    fn connect(&self, address: SocketAddr) -> Result<(), Failure> {
        let (exchange, here) = (self.exchange, self.here.clone());
        let (shared, is_tunnel) = (Arc::clone(&self.shared), self.order.is_none());
        let connecting = self.shared.handle.wait().connect(address, move |peer| -> Proxy {
            let link = Link::new(exchange, Some(here));
            Either::Right(if is_tunnel {
                Switch::After(Tunnel::open(link, peer.sender()))
            } else {
                let outward = Outward::new(link, peer.sender(), shared.name.wait().clone());
                proto_http::Client::switching(Arc::clone(&shared.client), outward)
            })
        });
        if connecting { Ok(()) } else { Err(Failure::busy()) }
    }

    /// Answers with a failure, or aborts the response.
    fn fail(&mut self, failure: Failure, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if let Some(link) = self.link.take() {
            link.tell(What::Over(Failure::busy()));
        }
        if !responder.is_due() {
            responder.abort();
            return Ok(());
        }
        let Failure(status, text) = failure;
        let name = self.shared.name.wait();
        responder.send(
            status,
            &[("Content-Type", "text/plain")],
            format!("{status} from the proxy {name}: {text}\n").as_bytes(),
        )
    }

    fn send(&mut self, part: Part, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if !link.send(part) {
            return self.fail(Failure::busy(), responder);
        }
        responder.pause(link.is_full());
        Ok(())
    }

    /// The server's connection is established.
    fn connected(&mut self, other: Sender<Message>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.join(other);
        let Some(order) = self.order.take() else {
            return responder.tunnel(&[("Via", head::via("1.1", self.shared.name.wait()))]);
        };
        if !link.tell(What::Request(order)) {
            return self.fail(Failure::busy(), responder);
        }
        responder.pause(link.is_full());
        Ok(())
    }

    /// A part of the response has arrived.
    fn part(&mut self, part: Part, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match part {
            Part::Interim(status, fields) => responder.inform(status, &fields)?,
            Part::Head(Answer {
                status: 101, fields, ..
            }) => responder.upgrade(&fields)?,
            Part::Head(answer) => {
                let status = Status::with_reason(answer.status, &answer.reason)?;
                responder.start(status, &answer.fields, answer.length)?;
            }
            Part::Data(data) => responder.write_shared(data)?,
            Part::End(trailers) => {
                self.link = None;
                return responder.finish_with(&trailers);
            }
        }
        let congested = responder.is_congested();
        match self.link.as_mut().map(|link| link.took(congested)) {
            Some(false) => self.fail(Failure::busy(), responder),
            _ => Ok(()),
        }
    }
}

impl Handler for Inward {
    type Message = Message;
    type Next = Tunnel;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.exchange += 1;
        self.link = Some(Link::new(self.exchange, None));
        // The server decides whether the client sends its content (RFC 9110 section 10.1.1).
        responder.withhold_continue();
        self.content = !request.body().is_empty();
        responder.pause(self.content);
        let opened = self.shared.routes.way(request, self.client, self.shared.name.wait());
        let opened = opened.and_then(|Way { place, order }| {
            self.order = order;
            self.open(place)
        });
        opened.or_else(|failure| self.fail(failure, responder))
    }

    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.send(Part::Data(data.to_vec().into()), responder)
    }

    fn end(&mut self, trailers: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if !self.content {
            return Ok(());
        }
        let trailers = head::lines(trailers.end_to_end().iter());
        self.send(Part::End(trailers), responder)
    }

    fn posted(&mut self, message: Message, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Message { exchange, what } = message;
        let Some(link) = self.link.as_mut().filter(|link| link.exchange() == exchange) else {
            // Late: the exchange is over, and its connection is no longer needed.
            if let What::Connected(other) = what {
                Link::new(exchange, Some(other)).tell(What::Over(Failure::busy()));
            }
            return Ok(());
        };
        match what {
            What::Resolved(Ok(address)) => self.connect(address).or_else(|failure| self.fail(failure, responder)),
            What::Resolved(Err(error)) => self.fail(
                Failure(502, format!("the server's name has no address: {error}")),
                responder,
            ),
            What::Connected(other) => self.connected(other, responder),
            What::Part(part) => self.part(part, responder),
            What::Taken(parts) => {
                link.taken(parts);
                responder.pause(link.is_full());
                Ok(())
            }
            What::Over(failure) => self.fail(failure, responder),
            What::Request(_) => Ok(()),
        }
    }

    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match self.link.as_mut().map(Link::drained) {
            Some(false) => self.fail(Failure::busy(), responder),
            _ => Ok(()),
        }
    }

    fn switched(&mut self) -> Option<Tunnel> {
        self.link.take().map(Tunnel::new)
    }

    fn closed(&mut self, _: bool) {
        if let Some(link) = &self.link {
            link.tell(What::Over(Failure::busy()));
        }
    }
}

impl Failure {
    fn busy() -> Self {
        Failure(503, "the proxy has too much to do".into())
    }
}
