//! TLS: whatever bytes come, a server answers or waits, and holds little memory. A stream between a client and a server arrives complete
//! however it is cut; a stream that was changed or cut off under way never seems to have ended in order.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use proto_tls::{Acceptor, ClientConfig, Connector, Factory, Identity, Roots, ServerConfig, Session, Tls, provider};
use protocol::testing::Harness;
use protocol::{Cx, Input, Limits, Peer, Protocol, Reason};

/// A certificate for this test only.
const CERTIFICATE: &[u8] = include_bytes!("cert.pem");
const KEY: &[u8] = include_bytes!("key.pem");

/// What the run does.
#[derive(Debug, Arbitrary)]
enum Plan {
    /// Sends these bytes to a server, in pieces of at most this size.
    Bytes(Vec<u8>, u8),
    /// A client sends this, in pieces of at most this size, and the server sends it back.
    Stream(Vec<u8>, u8),
    /// Changes one bit of the client's stream, at this position behind the handshake.
    Changed(Vec<u8>, u16),
    /// Cuts off the client's stream this many bytes behind the handshake.
    Cut(Vec<u8>, u16),
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let Ok(plan) = Plan::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    match plan {
        Plan::Bytes(bytes, step) => send(&bytes, usize::from(step).max(1)),
        Plan::Stream(plain, step) => {
            let (mut client, mut server, seen) = pair();
            let step = usize::from(step).max(1);
            join(&mut client, &mut server, step);
            client.post(plain.clone());
            join(&mut client, &mut server, step);
            assert_eq!(seen.borrow().bytes, plain);
            assert_eq!(
                client
                    .protocol()
                    .protocol()
                    .map(|inner| inner.seen.borrow().bytes.clone()),
                Some(plain)
            );
            let held = [
                client.held(),
                client.protocol().held(),
                server.held(),
                server.protocol().held(),
            ];
            assert_eq!(held, [0; 4], "an idle connection holds a buffer");
            client.stop();
            join(&mut client, &mut server, step);
            assert_eq!(
                (client.ended(), server.ended()),
                (Some(Reason::Closed), Some(Reason::Closed))
            );
        }
        Plan::Changed(plain, at) => {
            let Some((mut stream, mut server, seen)) = stream(&plain) else {
                return;
            };
            let at = usize::from(at) % stream.len();
            stream[at] ^= 1 << (at % 8);
            server.receive(&stream);
            server.eof();
            // The version in a record's head has no meaning (RFC 8446 section 5.1): when only it was changed, the stream is still the same.
            let seen = seen.borrow();
            assert!(plain.starts_with(&seen.bytes), "bytes were shown that were not sent");
            assert_eq!(server.error().is_some(), !seen.ended);
            assert!(!seen.ended || seen.bytes == plain, "a truncated stream ended in order");
        }
        Plan::Cut(plain, at) => {
            let Some((stream, mut server, seen)) = stream(&plain) else {
                return;
            };
            server.receive(&stream[..usize::from(at) % stream.len()]);
            server.eof();
            assert!(server.error().is_some(), "a truncated stream ended without an error");
            assert!(plain.starts_with(&seen.borrow().bytes));
            assert!(!seen.borrow().ended);
        }
    }
}

fn send(bytes: &[u8], step: usize) {
    let mut server = accept(&Rc::default());
    for piece in bytes.chunks(step) {
        server.receive(piece);
        assert!(server.held() + server.protocol().held() <= 128 * 1024);
    }
    server.eof();
    assert!(server.error().is_some(), "arbitrary bytes completed a handshake");
}

/// The bytes that a client sends behind the handshake, which are its stream and its end; with the server and what the server's protocol has
/// seen.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn stream(plain: &[u8]) -> Option<(Vec<u8>, Harness<Server>, Rc<RefCell<Seen>>)> {
    let (mut client, mut server, seen) = pair();
    join(&mut client, &mut server, usize::MAX);
    client.post(plain.to_vec());
    let mut stream = client.take_sent();
    client.stop();
    stream.extend(client.take_sent());
    (!stream.is_empty()).then_some((stream, server, seen))
}

type Server = Box<dyn Held>;
type Client = Tls<Inner>;

/// A server's connection; its type cannot be named, because its factory's cannot.
trait Held: Protocol<Message = Vec<u8>, Error = proto_tls::Error<Infallible>> {
    fn held(&self) -> usize;
}

impl<F: Factory<Inner>> Held for Tls<Inner, F> {
    fn held(&self) -> usize {
        Tls::held(self)
    }
}

fn pair() -> (Harness<Client>, Harness<Server>, Rc<RefCell<Seen>>) {
    static CONNECTOR: OnceLock<Connector> = OnceLock::new();
    let connector = CONNECTOR.get_or_init(|| {
        let roots = Roots::from_pem(CERTIFICATE).unwrap();
        Connector::new(ClientConfig::new(provider().unwrap(), roots)).unwrap()
    });
    let seen = Rc::default();
    let inner = Inner {
        echoes: false,
        seen: Rc::default(),
    };
    let client = Harness::new(connector.connect("localhost", inner).unwrap());
    (client, accept(&seen), seen)
}

fn accept(seen: &Rc<RefCell<Seen>>) -> Harness<Server> {
    static ACCEPTOR: OnceLock<Acceptor> = OnceLock::new();
    let acceptor = ACCEPTOR.get_or_init(|| {
        let provider = provider().unwrap();
        let identity = Identity::from_pem(CERTIFICATE, KEY, &provider).unwrap();
        Acceptor::new(ServerConfig::new(provider, [identity])).unwrap()
    });
    let seen = Rc::clone(seen);
    let mut factory = acceptor.accept(move |_: &Peer<'_, Vec<u8>>, _: Session<'_>| {
        let seen = Rc::clone(&seen);
        Some(Inner { echoes: true, seen })
    });
    Harness::accept(Limits::default(), |peer| Some(Box::new(factory(peer)?) as Server)).unwrap()
}

/// Carries bytes between both, in pieces of `step`, until there are none left.
fn join(client: &mut Harness<Client>, server: &mut Harness<Server>, step: usize) {
    loop {
        let (to_server, to_client) = (client.take_sent(), server.take_sent());
        if to_server.is_empty() && to_client.is_empty() {
            break;
        }
        to_server.chunks(step).for_each(|piece| server.receive(piece));
        to_client.chunks(step).for_each(|piece| client.receive(piece));
    }
    if client.is_half_closed() {
        server.eof();
    }
    if server.is_half_closed() {
        client.eof();
    }
}

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    ended: bool,
}

struct Inner {
    echoes: bool,
    seen: Rc<RefCell<Seen>>,
}

impl Protocol for Inner {
    type Message = Vec<u8>;
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        let bytes = input.take_all();
        self.seen.borrow_mut().bytes.extend_from_slice(bytes);
        if self.echoes {
            cx.send(bytes);
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: Vec<u8>) -> Result<(), Infallible> {
        cx.send(&message);
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.seen.borrow_mut().ended = true;
        cx.close();
        Ok(())
    }
}
