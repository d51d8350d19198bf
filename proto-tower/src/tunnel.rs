//! The protocol of a connection that the service has taken over.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use protocol::{Cx, Input, Protocol, Reason, Waking, Woken};

use crate::upgrade::Pipe;

/// Carries the bytes of an [`Upgraded`](crate::Upgraded) stream. A connection switches to this protocol when its service has agreed to an
/// upgrade or a tunnel.
pub struct Tunnel {
    pipe: Arc<Pipe>,
    waking: Waking<Woken>,
    /// The client sends nothing more.
    ended: bool,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Tunnel {
    pub(crate) fn new(pipe: Arc<Pipe>, waking: Waking<Woken>) -> Self {
        Tunnel {
            pipe,
            waking,
            ended: false,
        }
    }

    fn settle(&mut self, cx: &mut Cx<'_>) {
        let wants = self.pipe.wants(!cx.is_congested());
        if !wants.bytes.is_empty() {
            cx.output().push(wants.bytes);
        }
        cx.pause(wants.pause);
        if wants.ended && (wants.dropped || self.ended) {
            cx.close();
        } else if wants.ended {
            cx.shutdown();
        }
    }
}

impl Protocol for Tunnel {
    type Message = Woken;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.pipe.open();
        self.settle(cx);
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        let pause = self.pipe.received(input.take_all());
        cx.pause(pause);
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.ended = true;
        self.pipe.ended();
        self.settle(cx);
        Ok(())
    }

    /// The two directions are independent.
    fn keeps_reading(&self) -> bool {
        true
    }

    fn posted(&mut self, cx: &mut Cx<'_>, _: Woken) -> Result<(), Infallible> {
        self.waking.heard();
        self.settle(cx);
        Ok(())
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.settle(cx);
        Ok(())
    }

    /// Only the service knows when its last bytes were written: the connection goes on until the driver's drain deadline.
    fn stop(&mut self, _: &mut Cx<'_>) -> Result<(), Infallible> {
        Ok(())
    }

    fn closed(&mut self, _: Reason) {
        self.pipe.close();
    }
}
