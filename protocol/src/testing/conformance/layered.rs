//! Runs the suite through layers.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use super::{Driver, Served, Wire};
use crate::{Capture, Limits, Peer, Protocol, Tracer, Wrapper};

/// A way to add a layer around any protocol.
pub trait Layer: Clone + Send + 'static {
    /// The protocol that is served: a layer around a protocol that `F` makes.
    type Around<P, F>: Protocol<Message = P::Message> + Send + 'static
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static;

    /// Adds the layer around the protocol of `peer`, which `factory` makes now or later. Returns `None` to refuse the connection.
    fn around<P, F>(&self, peer: &Peer<'_, P::Message>, factory: F) -> Option<Self::Around<P, F>>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static;

    /// Bytes that the peer sends before the inner protocol begins. Empty by default.
    fn preamble(&self) -> &[u8] {
        b""
    }

    /// Whether the layer is only for servers. By default, a layer with a preamble is.
    fn serves_only(&self) -> bool {
        !self.preamble().is_empty()
    }

    /// The peer's end of the layer, around the peer's end of a connection. Through it, the checks exchange bytes with the inner protocol.
    /// By default, it sends the preamble and passes everything else unchanged.
    fn wire(&self, mut wire: Box<dyn Wire>) -> Box<dyn Wire> {
        if !self.preamble().is_empty() {
            wire.send(self.preamble());
        }
        wire
    }
}

/// A driver that serves every protocol inside a layer.
#[derive(Debug, Clone, Copy)]
pub struct Layered<D, L> {
    /// The driver.
    pub driver: D,
    /// The layer.
    pub layer: L,
}

impl<D: Driver, L: Layer> Driver for Layered<D, L> {
    const IN_MEMORY: bool = D::IN_MEMORY;

    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        let layer = self.layer.clone();
        let served = self.driver.serve(limits, move |peer: &Peer<'_, P::Message>| {
            layer.around(peer, factory.clone())
        });
        let layer = self.layer.clone();
        Box::new(Serving { served, layer })
    }

    fn connect_to_nobody<P, F>(&self, make: F)
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        if self.layer.serves_only() {
            return self.driver.connect_to_nobody(make);
        }
        let layer = self.layer.clone();
        self.driver.connect_to_nobody(move |peer: &Peer<'_, P::Message>| {
            let mut make = Some(make);
            let around = layer.around(peer, move |peer: &Peer<'_, P::Message>| {
                make.take().map(|make| make(peer))
            });
            around.unwrap_or_else(|| fail!("expected the layer to take a client, saw it refuse"))
        });
    }
}

struct Serving<L> {
    served: Box<dyn Served>,
    layer: L,
}

impl<L: Layer> Served for Serving<L> {
    fn connect(&self) -> Option<Box<dyn Wire>> {
        self.served.connect().map(|wire| self.layer.wire(wire))
    }

    fn stop(&self, drain: Duration) {
        self.served.stop(drain);
    }
}

/// A layer that changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct IdentityLayer;

impl Layer for IdentityLayer {
    type Around<P, F>
        = Identity<P>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static;

    fn around<P, F>(&self, peer: &Peer<'_, P::Message>, mut factory: F) -> Option<Identity<P>>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static,
    {
        factory(peer).map(Identity)
    }
}

/// The [`Tracer`], with a capture that is discarded.
#[derive(Debug, Clone)]
pub struct TracerLayer(Capture<io::Sink>);

impl TracerLayer {
    /// A layer with its own capture.
    pub fn new() -> Self {
        let capture = Capture::new(io::sink(), SystemTime::UNIX_EPOCH, Instant::now());
        TracerLayer(capture.unwrap_or_else(|error| fail!("expected a sink to take everything, saw {error}")))
    }
}

impl Default for TracerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer for TracerLayer {
    type Around<P, F>
        = Tracer<P, io::Sink>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static;

    fn around<P, F>(&self, peer: &Peer<'_, P::Message>, mut factory: F) -> Option<Tracer<P, io::Sink>>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static,
    {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let (local, remote) = (peer.local().unwrap_or(nowhere), peer.remote().unwrap_or(nowhere));
        factory(peer).map(|inner| Tracer::new(inner, &self.0, local, remote))
    }
}

/// A [`Wrapper`] that overrides nothing.
#[derive(Debug, Clone, Copy)]
pub struct Identity<P>(pub P);

impl<P: Protocol> Wrapper for Identity<P> {
    type Inner = P;

    fn inner(&self) -> &P {
        &self.0
    }

    fn inner_mut(&mut self) -> &mut P {
        &mut self.0
    }
}
