//! The PROXY protocol as a layer for the conformance suite, for every driver's tests.

use std::sync::{Arc, Mutex, PoisonError};

use proto_proxy::{Addresses, Config, Header, HeaderWriter};
use protocol::testing::conformance::Layer;
use protocol::{Peer, Protocol, SwitchError};

/// Every connection begins with a header of version 2.
#[derive(Clone)]
pub(crate) struct ProxyLayer(Vec<u8>);

impl ProxyLayer {
    pub(crate) fn new() -> Self {
        let addresses = Addresses::tcp("192.0.2.1:4242".parse().unwrap(), "192.0.2.2:80".parse().unwrap());
        let mut memory = [0; 64];
        let header = HeaderWriter::proxy(&mut memory, &addresses).unwrap().finish();
        ProxyLayer(header.to_vec())
    }
}

/// A connection behind a header. Boxed, as the type of its factory has no name.
type Behind<P> = Box<
    dyn Protocol<Message = <P as Protocol>::Message, Error = SwitchError<proto_proxy::Error, <P as Protocol>::Error>>
        + Send,
>;

impl Layer for ProxyLayer {
    type Around<P, F>
        = Behind<P>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static;

    fn around<P, F>(&self, peer: &Peer<'_, P::Message>, factory: F) -> Option<Behind<P>>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static,
    {
        let mut config = Config::parse("127.0.0.0/8").unwrap();
        // The rigs in memory have no addresses.
        config.trust_unix = true;
        let factory = Arc::new(Mutex::new(factory));
        let inner = move |peer: &Peer<'_, P::Message>, _: &Header<'_>| {
            // A check may have its factory panic.
            let mut factory = factory.lock().unwrap_or_else(PoisonError::into_inner);
            (*factory)(peer)
        };
        Some(Box::new(config.accept(inner)(peer)?))
    }

    fn preamble(&self) -> &[u8] {
        &self.0
    }
}
