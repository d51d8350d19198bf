//! Bytes that pass unchanged, after a CONNECT or an upgrade.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use protocol::bytes::Bytes;
use protocol::{Cx, Input, Protocol, Reason, Sender};

use crate::link::{Failure, Link, Message, Part, What};

/// One end of a tunnel.
pub(crate) struct Tunnel {
    /// `None` once both directions have ended, or the other end has.
    link: Option<Link>,
    /// The sender of this end, which the other end gets once the connection is established.
    opened: Option<Sender<Message>>,
    /// Whether the peer here, and the peer at the other end, have ended their streams.
    ended: (bool, bool),
    deadline: Option<Instant>,
}

/// How long a tunnel may be idle.
const IDLE: Duration = Duration::from_secs(600);

impl Tunnel {
    /// An end on a connection that was HTTP before.
    pub(crate) fn new(link: Link) -> Self {
        Tunnel {
            link: Some(link),
            opened: None,
            ended: (false, false),
            deadline: None,
        }
    }

    /// An end on a connection that was opened for a tunnel; `here` reaches it.
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

    /// The two directions are independent.
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
            // A tunnel that breaks must not look like one that was closed.
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

    /// Only the two peers know when they have sent everything: the tunnel continues until the driver's drain deadline.
    fn stop(&mut self, _: &mut Cx<'_>) -> Result<(), Infallible> {
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        if let Some(link) = &self.link {
            link.tell(What::Over(Failure::transport(reason, self.opened.is_none())));
        }
    }
}
