//! HTTP that becomes WebSocket on one connection: the same bytes sent however the input is cut, no frame read before the 101 is out,
//! and nothing but frames and then the end behind it.

use std::sync::Arc;

use proto_http::{Handler, Misuse, Request, Responder, Server, ServerConfig};
use proto_ws::handshake::server::Request as Handshake;
use proto_ws::{Config, Message, Socket, Unmasked};
use protocol::Switch;
use protocol::testing::Harness;

use crate::cuts::{cuts, whole};
use crate::memory;

/// A request that is granted; the input of the target is what follows it, so that the fuzzer need not guess a key.
const OPENING: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Runs the target: the first byte says whether the input begins behind a granted request, or with the first.
pub fn run(data: &[u8]) {
    let Some((&behind, rest)) = data.split_first() else {
        return;
    };
    let data = if behind & 1 == 1 {
        [OPENING, rest].concat()
    } else {
        [rest, b"\r\n\r\n\r\n\r\n\r\n"].concat()
    };
    memory::within((1 << 20) + 256 * data.len(), || {
        let expected = serve(&data, &whole(&data));
        for ends in cuts(&data) {
            assert_eq!(serve(&data, &ends), expected);
        }
        if behind & 1 == 1 {
            let (sent, _) = expected;
            assert!(sent.starts_with(b"HTTP/1.1 101 "), "the request is not granted");
        }
    });
}

fn serve(data: &[u8], ends: &[usize]) -> (Vec<u8>, bool) {
    let server = Server::new(Arc::new(ServerConfig::default()), Door);
    let mut harness = Harness::new(Switch::new(server));
    let mut start = 0;
    for &end in ends {
        harness.receive(&data[start..end]);
        start = end;
        assert!(harness.held() <= 74 * 1024, "{} bytes are held", harness.held());
    }
    (harness.take_sent(), harness.is_half_closed())
}

/// Grants every handshake.
struct Door;

/// Sends back what comes.
struct Echo;

impl proto_ws::Handler for Echo {
    type Message = std::convert::Infallible;

    fn message(&mut self, socket: &mut Socket<'_, '_, Unmasked>, message: Message<'_>) {
        // Fails only while closing.
        let _ = socket.message(message);
    }
}

impl Handler for Door {
    type Message = std::convert::Infallible;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_, Self::Next>) -> Result<(), Misuse> {
        let fields = request.fields();
        match Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value))) {
            Ok(handshake) => {
                let accepted = handshake.accept();
                let fields: Vec<_> = accepted.fields().collect();
                responder.upgrade(
                    &fields.as_slice(),
                    proto_ws::Server::new(Echo, Arc::new(Config::default())),
                )
            }
            Err(rejection) => responder.send(rejection.status(), &rejection.fields(), b""),
        }
    }
}
