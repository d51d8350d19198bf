//! The connection to the server, for a single exchange.

use std::io;

use proto_http::{BodyLength, Caller, ClientError, Fields, Misuse, Requester, Response, Unanswered};
use protocol::{Reason, Sender};

use crate::head;
use crate::link::{Answer, Failure, Link, Message, Order, Part, What};
use crate::tunnel::Tunnel;

/// Sends a request to the server, and the response to the client's connection.
pub(crate) struct Outward {
    /// `None` once the response is complete, or the client has disconnected.
    link: Option<Link>,
    /// The sender of this connection, which the client's connection gets once this one is established.
    here: Option<Sender<Message>>,
    /// The proxy's name for Via.
    name: String,
    method: String,
    reached: bool,
}

impl Outward {
    pub(crate) fn new(link: Link, here: Sender<Message>, name: String) -> Self {
        Outward {
            link: Some(link),
            here: Some(here),
            name,
            method: String::new(),
            reached: false,
        }
    }

    fn send(&mut self, part: Part, requester: &mut Requester<'_, '_>) {
        let Some(link) = &mut self.link else { return };
        if link.send(part) {
            requester.pause(link.is_full());
        } else {
            requester.close();
        }
    }

    /// The length of the content to announce to the client (RFC 9112 section 6.3): none for a chunked response, whose Content-Length is
    /// ignored.
    fn length(&self, response: &Response<'_>) -> Option<u64> {
        match response.body(&self.method) {
            BodyLength::Length(length) => Some(length),
            BodyLength::Empty => response.content_length(),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        }
    }

    fn answer(&self, response: &Response<'_>) -> Part {
        Part::Head(Answer {
            status: response.status(),
            reason: response.reason().to_vec(),
            fields: head::response_fields(response, &self.name),
            length: self.length(response),
        })
    }
}

impl Caller for Outward {
    type Message = Message;
    type Next = Tunnel;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.reached = true;
        // A second call means that the exchange is over.
        let told = self.here.take().zip(self.link.as_ref());
        if !told.is_some_and(|(here, link)| link.tell(What::Connected(here))) {
            requester.close();
        }
        Ok(())
    }

    fn posted(&mut self, message: Message, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let Some(link) = &mut self.link else { return Ok(()) };
        match message.what {
            What::Request(Order {
                method,
                target,
                fields,
                body,
            }) => {
                requester.start(&method, &target, &fields, body)?;
                self.method = method;
            }
            What::Part(Part::Data(data)) => {
                requester.write_shared(data)?;
                if !link.took(requester.is_congested()) {
                    requester.close();
                }
            }
            What::Part(Part::End(trailers)) => requester.finish_with(&trailers)?,
            What::Taken(parts) => {
                link.taken(parts);
                requester.pause(link.is_full());
            }
            What::Over(_) => {
                self.link = None;
                requester.close();
            }
            _ => {}
        }
        Ok(())
    }

    fn drained(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        if self.link.as_mut().is_some_and(|link| !link.drained()) {
            requester.close();
        }
        Ok(())
    }

    fn informational(&mut self, response: &Response<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let fields = head::response_fields(response, &self.name);
        self.send(Part::Interim(response.status(), fields), requester);
        Ok(())
    }

    fn response(&mut self, response: &Response<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.send(self.answer(response), requester);
        Ok(())
    }

    fn data(&mut self, data: &[u8], requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.send(Part::Data(data.to_vec().into()), requester);
        Ok(())
    }

    fn end(&mut self, trailers: Fields<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let trailers = head::lines(trailers.end_to_end().iter());
        self.send(Part::End(trailers), requester);
        self.link = None;
        requester.close();
        Ok(())
    }

    fn switched(&mut self, response: &Response<'_>) -> Option<Tunnel> {
        let answer = self.answer(response);
        let mut link = self.link.take()?;
        link.send(answer).then(|| Tunnel::new(link))
    }

    fn closed(&mut self, error: Option<ClientError>, reason: Reason, _: Unanswered) {
        if let Some(link) = &self.link {
            link.tell(What::Over(match error {
                Some(ClientError::TimedOut(_)) => Failure(504, "the server did not answer in time".into()),
                Some(ClientError::Violation(violation)) => Failure(502, format!("the server's answer: {violation}")),
                Some(error) => Failure(502, error.to_string()),
                None => Failure::transport(reason, self.reached),
            }));
        }
    }
}

impl Failure {
    /// The failure of a connection that was, or was not, established.
    pub(crate) fn transport(reason: Reason, reached: bool) -> Self {
        match (reason, reached) {
            (Reason::Io(io::ErrorKind::TimedOut), false) => {
                Failure(504, "connecting to the server took too long".into())
            }
            (Reason::Io(kind), false) => Failure(502, format!("cannot connect to the server: {kind}")),
            (Reason::Stopped, _) => Failure(503, "the proxy stops".into()),
            (Reason::WriteTimeout, _) => Failure(504, "the server took no more of the request".into()),
            (Reason::Closed, _) => Failure(502, "the server closed the connection without an answer".into()),
            (reason, _) => Failure(502, format!("the server's connection broke: {reason}")),
        }
    }
}
