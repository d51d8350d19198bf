//! A rustls client, and servers in a rig to talk to.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use proto_tls::{Acceptor, Factory, Identity, ServerConfig, Session, Tls, provider};
use protocol::testing::Harness;
use protocol::{Cx, Input, Limits, Peer, Protocol, Reason};
use rustls::client::ClientConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, SupportedProtocolVersion};

use super::certificates::{Authority, Valid};

/// A record that is not encrypted.
pub(crate) fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3, length[0], length[1]], payload].concat()
}

/// What the protocol inside does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sends everything back, and closes when the peer does.
    Echo,
    /// Keeps received bytes, and its own direction open.
    Stays,
}

pub(crate) use Kind::Echo;

/// What the protocols inside have seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) eofs: usize,
    pub(crate) closed: Option<Reason>,
    pub(crate) session: String,
    pub(crate) calls: usize,
}

pub(crate) struct Inner {
    kind: Kind,
    seen: Arc<Mutex<Seen>>,
}

impl Protocol for Inner {
    type Message = Vec<u8>;
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        let bytes = input.take_all();
        let mut seen = self.seen.lock().unwrap();
        seen.bytes.extend_from_slice(bytes);
        seen.calls += 1;
        if self.kind == Echo {
            cx.send(bytes);
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: Vec<u8>) -> Result<(), Infallible> {
        match message.as_slice() {
            b"shutdown" => cx.shutdown(),
            b"close" => cx.close(),
            message => cx.send(message),
        }
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.seen.lock().unwrap().eofs += 1;
        if self.kind == Echo {
            cx.close();
        }
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        self.seen.lock().unwrap().closed = Some(reason);
    }
}

/// A server's settings, an authority that clients trust, and what was seen inside.
pub(crate) struct Setup {
    pub(crate) authority: Authority,
    pub(crate) acceptor: Acceptor,
    config: Arc<ClientConfig>,
    seen: Arc<Mutex<Seen>>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let authority = Authority::new("the authority");
        let mut config = ServerConfig::new(provider().unwrap(), [authority.identity(&["localhost"])]);
        change(&mut config);
        let acceptor = Acceptor::new(config).unwrap();
        let config = Arc::new(client_config(&authority, None, rustls::DEFAULT_VERSIONS));
        Setup {
            authority,
            acceptor,
            config,
            seen: Arc::default(),
        }
    }

    pub(crate) fn accept(&self, kind: Kind) -> Harness<Tls<Inner, impl Factory<Inner> + use<>>> {
        self.accept_by(&self.acceptor, kind)
    }

    pub(crate) fn accept_by(
        &self,
        acceptor: &Acceptor,
        kind: Kind,
    ) -> Harness<Tls<Inner, impl Factory<Inner> + use<>>> {
        *self.seen() = Seen::default();
        let seen = Arc::clone(&self.seen);
        let mut factory = acceptor.accept(move |_: &Peer<'_, Vec<u8>>, session: Session<'_>| {
            seen.lock().unwrap().session = format!("{session:?}");
            let seen = Arc::clone(&seen);
            Some(Inner { kind, seen })
        });
        Harness::accept(Limits::default(), |peer| factory(peer)).unwrap()
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen().bytes.clone()
    }

    pub(crate) fn closed(&self) -> Option<Reason> {
        self.seen().closed
    }

    /// A client that remembers sessions with the others of this setup.
    pub(crate) fn client(&self, name: &str) -> Client {
        Client::of(&self.config, name)
    }

    pub(crate) fn client_of(&self, name: &str, version: &'static SupportedProtocolVersion) -> Client {
        Client::of(&Arc::new(client_config(&self.authority, None, &[version])), name)
    }

    /// Settings of clients that show a certificate of `other`.
    pub(crate) fn clients_of(&self, other: Option<&Authority>) -> Arc<ClientConfig> {
        Arc::new(client_config(&self.authority, other, rustls::DEFAULT_VERSIONS))
    }
}

fn client_config(
    authority: &Authority,
    own: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let builder = ClientConfig::builder_with_provider(provider().unwrap())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own.map(|own| own.issue(&["client"], Valid::Now)) {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.enable_early_data = true;
    config
}

/// An identity of `authority` for `names`.
pub(crate) fn identity(authority: &Authority, names: &[&str]) -> Identity {
    authority.identity(names)
}

/// A client that follows the rules.
pub(crate) struct Client {
    pub(crate) tls: ClientConnection,
    /// Decrypted bytes not taken yet.
    plain: Vec<u8>,
    closed: bool,
}

impl Client {
    pub(crate) fn of(config: &Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Client {
            tls: ClientConnection::new(Arc::clone(config), name).unwrap(),
            plain: Vec::new(),
            closed: false,
        }
    }

    /// The bytes that the client has to send.
    pub(crate) fn say(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Carries bytes between both until neither has any to send.
    pub(crate) fn shake_hands<P: Protocol>(&mut self, server: &mut Harness<P>) {
        loop {
            let said = self.say();
            if !said.is_empty() {
                server.receive(&said);
            }
            let answer = server.take_sent();
            if said.is_empty() && answer.is_empty() {
                return;
            }
            self.take_in(&answer);
        }
    }

    fn take_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.tls.read_tls(&mut bytes).unwrap();
            // The client reports an alert of the server as an error.
            if self.tls.process_new_packets().is_err() || taken == 0 {
                return;
            }
            self.closed |= self.tls.reader().read_to_end(&mut self.plain).is_ok();
        }
    }

    pub(crate) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        for part in plain.chunks(16 * 1024) {
            self.tls.writer().write_all(part).unwrap();
            sealed.extend(self.say());
        }
        sealed
    }

    pub(crate) fn close(&mut self) -> Vec<u8> {
        self.tls.send_close_notify();
        self.say()
    }

    /// The plaintext in `bytes`, and whether the stream has ended in order.
    pub(crate) fn open(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        self.take_in(bytes);
        (core::mem::take(&mut self.plain), self.closed)
    }

    pub(crate) fn update_keys(&mut self) -> Vec<u8> {
        self.tls.refresh_traffic_keys().unwrap();
        self.say()
    }

    pub(crate) fn offers_early_data(&mut self) -> bool {
        self.tls.early_data().is_some()
    }
}
