//! A connection that changes from HTTP to WebSocket: the bytes sent are the same however the input is cut, no frame is read before the 101
//! response is written, and only frames and then the end follow it.

use std::sync::Arc;

use proto_http::{Handler, Misuse, Request, Responder, Server, ServerConfig};
use proto_ws::frame::Header;
use proto_ws::handshake::server::Request as Handshake;
use proto_ws::{Message, Opcode, Socket, Unmasked};
use protocol::testing::Harness;

use crate::cuts::{cuts, whole};
use crate::memory;

/// A request that is granted. The input follows it, because the fuzzer cannot guess a key.
const OPENING: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Runs the target: the first byte says whether the input follows a granted request or is the whole stream.
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
    let mut harness = Harness::new(Server::switching(Arc::new(ServerConfig::default()), Door));
    let mut start = 0;
    for &end in ends {
        harness.receive(&data[start..end]);
        start = end;
        assert!(
            harness.held() <= 74 * 1024,
            "the connection holds {} bytes",
            harness.held()
        );
    }
    (without_pongs(&harness.take_sent()), harness.is_half_closed())
}

/// The sent bytes without the Pongs behind the 101 response: of many Pings in one read not all are answered, so that Pongs depend on the
/// cuts.
fn without_pongs(sent: &[u8]) -> Vec<u8> {
    let behind = |from: usize, what: &[u8]| {
        let rest = sent.get(from..)?;
        let at = rest.windows(what.len()).position(|window| window == what)?;
        Some(from + at + what.len())
    };
    let Some(head) = behind(0, b"HTTP/1.1 101 ").and_then(|at| behind(at, b"\r\n\r\n")) else {
        return sent.to_vec();
    };
    let (head, mut rest) = sent.split_at(head);
    let mut kept = head.to_vec();
    while let Ok(Some((header, len))) = Header::decode(rest) {
        let (frame, behind) = rest.split_at(len + header.len as usize);
        if header.opcode != Opcode::Pong {
            kept.extend_from_slice(frame);
        }
        rest = behind;
    }
    assert_eq!(rest, b"", "the output does not end with a complete frame");
    kept
}

/// Grants every handshake.
struct Door;

/// Sends every message back.
struct Echo;

impl proto_ws::Handler for Echo {
    type Message = std::convert::Infallible;

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_, Unmasked>) -> Result<(), proto_ws::Misuse> {
        socket.message(message)?;
        Ok(())
    }
}

impl Handler for Door {
    type Message = std::convert::Infallible;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        match Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value))) {
            Ok(handshake) => {
                let accepted = handshake.accept();
                let fields: Vec<_> = accepted.fields().collect();
                responder.upgrade(&fields.as_slice())
            }
            Err(rejection) => responder.send(rejection.status(), &rejection.fields(), b""),
        }
    }

    fn switched(&mut self) -> Option<Self::Next> {
        Some(proto_ws::Server::new(Arc::default(), Echo))
    }
}
