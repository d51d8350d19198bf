//! Bytes that pass as they are, behind a CONNECT or an upgrade.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use protocol::bytes::Bytes;
use protocol::{Cx, Input, Protocol, Reason, Sender};

use crate::link::{Failure, Link, Message, Part, What};

/// One end of a tunnel.
pub(crate) struct Tunnel {
    /// `None` once both directions have ended, or the other end is gone.
    link: Option<Link>,
    /// Where to reach this end: told to the other one when the connection is established.
    opened: Option<Sender<Message>>,
    /// Whether the peer here, and the peer at the other end, have said their last.
    ended: (bool, bool),
    deadline: Option<Instant>,
}

/// How long nothing may pass.
const IDLE: Duration = Duration::from_secs(600);

impl Tunnel {
    /// An end on a connection that was one of HTTP.
    pub(crate) fn new(link: Link) -> Self {
        Tunnel {
            link: Some(link),
            opened: None,
            ended: (false, false),
            deadline: None,
        }
    }

    /// An end on a connection that is opened for a tunnel, and reached by `here`.
    pub(crate) fn open(link: Link, here: Sender<Message>) -> Self {
        Tunnel {
            opened: Some(here),
            ..Tunnel::new(link)
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, part: Part) {
        if let Some(link) = &mut self.link {
            if !link.send(part) {
                return cx.abort();
            }
            cx.pause(link.is_full());
        }
        self.settle(cx);
    }

    fn settle(&mut self, cx: &mut Cx<'_>) {
        self.deadline = cx.now().checked_add(IDLE);
        if self.ended == (true, true) {
            self.link = None;
            cx.close();
        }
    }
}

impl Protocol for Tunnel {
    type Message = Message;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.settle(cx);
        if let (Some(link), Some(here)) = (&self.link, self.opened.take()) {
            link.tell(What::Connected(here));
        }
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        self.send(cx, Part::Data(Bytes::copy_from_slice(input.take_all())));
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.ended.0 = true;
        self.send(cx, Part::End(Vec::new()));
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The two directions do not wait for each other.
    fn keeps_reading(&self) -> bool {
        true
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: Message) -> Result<(), Infallible> {
        let Some(link) = &mut self.link else { return Ok(()) };
        match message.what {
            What::Part(Part::Data(data)) => {
                cx.output().push(data);
                if !link.took(cx.is_congested()) {
                    cx.abort();
                }
            }
            What::Part(Part::End(_)) => {
                self.ended.1 = true;
                cx.shutdown();
            }
            What::Taken(parts) => {
                link.taken(parts);
                cx.pause(link.is_full());
            }
            // A tunnel that has broken must not look like one that was closed.
            What::Over(_) => {
                self.link = None;
                cx.abort();
            }
            _ => {}
        }
        self.settle(cx);
        Ok(())
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        if self.link.as_mut().is_some_and(|link| !link.drained()) {
            cx.abort();
        }
        Ok(())
    }

    /// Only the two peers know when they have said everything: the tunnel goes on as long as the driver's drain lets it.
    fn stop(&mut self, _: &mut Cx<'_>) -> Result<(), Infallible> {
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        if let Some(link) = &self.link {
            link.tell(What::Over(Failure::transport(reason, self.opened.is_none())));
        }
    }
}
