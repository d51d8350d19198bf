//! TLS as a layer for the conformance suite, for every driver's tests.

#![allow(dead_code, reason = "not every test needs all of it")]

pub(crate) mod certificates;
pub(crate) mod client;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use certificates::Authority;
use proto_tls::{Acceptor, ServerConfig, Session, provider};
use protocol::testing::conformance::{Layer, Received, Wire};
use protocol::{Peer, Protocol};
use rustls::client::ClientConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

/// How long a new connection waits for its handshake. A connection that is not accepted by then continues with it later.
const PATIENCE: Duration = Duration::from_secs(4);

/// Every connection is one over TLS.
#[derive(Clone)]
pub(crate) struct TlsLayer {
    acceptor: Acceptor,
    client: Arc<rustls::ClientConfig>,
}

impl TlsLayer {
    pub(crate) fn new(version: &'static rustls::SupportedProtocolVersion) -> Self {
        let authority = Authority::new("the authority");
        let provider = provider().unwrap();
        let mut config = ServerConfig::new(Arc::clone(&provider), [authority.identity(&["localhost"])]);
        // The rigs have their own clocks, and the suite's peers are silent for a long time.
        (config.limits.first_byte, config.limits.timeout) = (None, None);
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
        roots.add(root).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsLayer {
            acceptor: Acceptor::new(config).unwrap(),
            client: Arc::new(client),
        }
    }
}

/// A connection over TLS. Boxed, as the type of its factory has no name.
type Over<P> =
    Box<dyn Protocol<Message = <P as Protocol>::Message, Error = proto_tls::Error<<P as Protocol>::Error>> + Send>;

impl Layer for TlsLayer {
    type Around<P, F>
        = Over<P>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static;

    fn around<P, F>(&self, peer: &Peer<'_, P::Message>, factory: F) -> Option<Over<P>>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Send + 'static,
    {
        let factory = Arc::new(Mutex::new(factory));
        let inner = move |peer: &Peer<'_, P::Message>, _: Session<'_>| {
            // Some checks let the factory panic.
            let mut factory = factory.lock().unwrap_or_else(PoisonError::into_inner);
            (*factory)(peer)
        };
        Some(Box::new(self.acceptor.accept(inner)(peer)?))
    }

    fn serves_only(&self) -> bool {
        true
    }

    fn wire(&self, wire: Box<dyn Wire>) -> Box<dyn Wire> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut wire = TlsWire {
            wire: Some(wire),
            tls: ClientConnection::new(Arc::clone(&self.client), name).unwrap(),
            plain: Vec::new(),
            unsent: Vec::new(),
            closed: false,
            ended: None,
        };
        wire.shake_hands(PATIENCE);
        Box::new(wire)
    }
}

/// A client over a wire.
struct TlsWire {
    wire: Option<Box<dyn Wire>>,
    tls: ClientConnection,
    /// Plaintext not handed on yet.
    plain: Vec<u8>,
    /// Plaintext sent before the handshake was done.
    unsent: Vec<u8>,
    /// Whether close_notify was received.
    closed: bool,
    ended: Option<Received>,
}

impl TlsWire {
    fn raw(&mut self) -> &mut dyn Wire {
        &mut **self.wire.as_mut().unwrap()
    }

    /// Shakes hands, and waits for the session tickets that follow: an end of the wire that has unread bytes resets.
    fn shake_hands(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        let tickets = |tls: &ClientConnection| match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => tls.tls13_tickets_received() >= 2,
            _ => true,
        };
        while self.ended.is_none() && (self.tls.is_handshaking() || !tickets(&self.tls)) && Instant::now() < end {
            self.flush();
            if self.tls.is_handshaking() || !tickets(&self.tls) {
                self.take_in(Duration::from_millis(100));
            }
        }
        self.flush();
        if !self.tls.is_handshaking() && !self.unsent.is_empty() {
            let unsent = core::mem::take(&mut self.unsent);
            self.send(&unsent);
        }
    }

    fn flush(&mut self) {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        if !bytes.is_empty() {
            self.raw().send(&bytes);
        }
    }

    /// Reads what has arrived; false if nothing arrived.
    fn take_in(&mut self, patience: Duration) -> bool {
        match self.raw().receive(patience) {
            Received::Bytes(bytes) => {
                let mut bytes = &bytes[..];
                while !bytes.is_empty() {
                    let taken = self.tls.read_tls(&mut bytes).unwrap_or(0);
                    let state = self.tls.process_new_packets();
                    assert!(state.is_ok(), "the server breaks the rules of TLS: {state:?}");
                    if taken == 0 {
                        // Behind a close_notify, or with a full buffer, the client takes nothing.
                        break;
                    }
                    self.drain();
                }
                true
            }
            Received::Nothing => false,
            // Without close_notify the stream has not ended in order.
            Received::Eof | Received::Reset => {
                self.ended = Some(Received::Reset);
                false
            }
        }
    }
}

impl TlsWire {
    /// Takes the plaintext out of the client, whose own buffer is small.
    fn drain(&mut self) {
        match self.tls.reader().read_to_end(&mut self.plain) {
            Ok(_) => self.closed = true,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
}

impl Wire for TlsWire {
    fn send(&mut self, bytes: &[u8]) {
        if self.tls.is_handshaking() {
            return self.unsent.extend_from_slice(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.tls.writer().write(rest).unwrap();
            rest = &rest[taken..];
            if !rest.is_empty() {
                self.flush();
            }
        }
        self.flush();
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let mut left = patience;
        if self.tls.is_handshaking() {
            self.shake_hands(patience);
        }
        loop {
            if !self.plain.is_empty() {
                return Received::Bytes(core::mem::take(&mut self.plain));
            }
            if self.closed {
                return Received::Eof;
            }
            if let Some(ended) = &self.ended {
                return ended.clone();
            }
            let before = Instant::now();
            if !self.take_in(left) && self.ended.is_none() {
                return Received::Nothing;
            }
            left = left.saturating_sub(before.elapsed());
        }
    }

    fn shutdown(&mut self) {
        self.tls.send_close_notify();
        self.flush();
        self.raw().shutdown();
    }

    fn reset(mut self: Box<Self>) {
        if let Some(wire) = self.wire.take() {
            wire.reset();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.raw().pass(time);
    }
}

impl Drop for TlsWire {
    /// Dropping the peer sends close_notify, as dropping a socket ends its stream.
    fn drop(&mut self) {
        if self.wire.is_some() {
            self.tls.send_close_notify();
            self.flush();
        }
    }
}
