//! The clients that run on a driver, HTTP's with pipelining and WebSocket's, with any input from the server. The calls to the application
//! and the bytes sent are the same however the input is cut; memory stays within limits; and the end is reported once, as the last call.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proto_http::{Caller, ClientConfig, ClientError, Fields, Misuse, NoUpgrade, Requester, Response, Unanswered};
use proto_ws::frame::Header;
use proto_ws::handshake::{Accept, Key};
use proto_ws::{CloseCode, Config, Entropy, Handler, Masked, Message, Opcode, Opening, Socket};
use protocol::testing::Harness;
use protocol::{Protocol, Reason};

use crate::cuts::{cuts, whole};
use crate::memory;

/// Runs the target: the first byte chooses the client and its requests; the rest is what the server sends.
pub fn run(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else {
        return;
    };
    // Ends the last line: the client reports every fault at the end of a line at the latest.
    let end: &[u8] = if choice & 3 == 3 { b"" } else { b"\r\n\r\n\r\n" };
    let stream = [&opening(choice)[..], rest, end].concat();
    memory::within((2 << 20) + 256 * stream.len(), || {
        let expected = talk(choice, &stream, &whole(&stream));
        for ends in cuts(&stream) {
            assert_eq!(talk(choice, &stream, &ends), expected);
        }
    });
}

/// In half of the cases, a response that opens a WebSocket connection, because the fuzzer cannot guess its key.
fn opening(choice: u8) -> Vec<u8> {
    if choice & 3 != 3 {
        return Vec::new();
    }
    let deflate = if choice & 4 == 0 {
        ""
    } else {
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
    };
    let accept = Accept::new(Key::new([0x5a; 16]).as_str()).as_str().to_owned();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{deflate}\r\n"
    )
    .into_bytes()
}

type Log = Rc<RefCell<Vec<String>>>;

/// Runs a client. Returns the calls to the application, the bytes sent, and whether the connection is over.
fn talk(choice: u8, stream: &[u8], ends: &[usize]) -> (Vec<String>, Vec<u8>, bool) {
    let log = Log::default();
    let (sent, over) = if choice & 1 == 0 {
        let mut config = ClientConfig::default();
        config.pipeline = 1 + usize::from(choice >> 6);
        let asking = Asking {
            log: Rc::clone(&log),
            choice,
            left: 8,
        };
        let client = proto_http::Client::<Asking>::new(Arc::new(config), asking);
        feed(Harness::new(client), stream, ends)
    } else {
        let mut config = Config::default();
        config.ping_interval = None;
        let listening = Listening(Rc::clone(&log));
        let mut opening = Opening::new("a", "/");
        opening.deflate = choice & 4 != 0;
        let client = proto_ws::Client::new(Arc::new(config), Arc::new(opening), Fixed, listening);
        let (sent, over) = feed(Harness::new(client), stream, ends);
        (without_pongs(&sent), over)
    };
    let log = log.take();
    let closed = log.iter().position(|entry| entry.starts_with("closed"));
    assert!(
        closed.is_none_or(|at| at + 1 == log.len()),
        "events after the end: {log:?}"
    );
    (log, sent, over)
}

fn feed<P: Protocol>(mut harness: Harness<P>, stream: &[u8], ends: &[usize]) -> (Vec<u8>, bool) {
    let mut start = 0;
    for &end in ends {
        harness.receive(&stream[start..end]);
        start = end;
        assert!(
            harness.held() <= 100 * 1024,
            "the connection holds {} bytes",
            harness.held()
        );
    }
    let over = harness.is_half_closed();
    harness.eof();
    // Whatever the server sent, the connection ends after some time.
    harness.advance(Duration::from_secs(600));
    assert!(harness.ended().is_some(), "the connection did not end");
    (harness.take_sent(), over)
}

/// The sent bytes behind the request without Pongs and without the reasons of Close frames, as both depend on the cuts: fewer Pongs are
/// sent when many Pings come in one read, and of two faults in a compressed message either may be found first.
fn without_pongs(sent: &[u8]) -> Vec<u8> {
    let head = sent
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .map_or(0, |at| at + 4);
    let (head, mut rest) = sent.split_at(head);
    let mut kept = head.to_vec();
    while let Ok(Some((header, len))) = Header::decode(rest) {
        let (frame, behind) = rest.split_at(len + header.len as usize);
        assert!(header.mask.is_some(), "a client's frame is not masked");
        match header.opcode {
            Opcode::Pong => {}
            Opcode::Close => kept.extend_from_slice(&frame[len..frame.len().min(len + 2)]),
            _ => kept.extend_from_slice(frame),
        }
        rest = behind;
    }
    assert_eq!(rest, b"", "the output does not end with a complete frame");
    kept
}

/// Adds an entry to the log; a piece of content is joined to the piece before.
fn note(log: &Log, kind: &str, text: &str) {
    let mut log = log.borrow_mut();
    match log.last_mut() {
        Some(last) if kind == "data " && last.starts_with(kind) => last.push_str(text),
        _ => log.push(format!("{kind}{text}")),
    }
}

/// Sends several requests, chosen by the bits of `choice`.
struct Asking {
    log: Log,
    choice: u8,
    left: usize,
}

impl Caller for Asking {
    type Message = Infallible;
    type Next = NoUpgrade<Infallible>;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        note(&self.log, "ready", "");
        let host = [("Host", "a")];
        if self.left == 0 {
            requester.close();
            return Ok(());
        }
        self.left -= 1;
        match self.choice >> 1 & 3 {
            0 => requester.send("GET", "/", &host, b"")?,
            1 => requester.send("HEAD", "/", &host, b"")?,
            2 => requester.send("POST", "/", &host, b"abc")?,
            _ => requester.send("POST", "/", &[("Host", "a"), ("Expect", "100-continue")], b"abc")?,
        }
        while self.choice >> 1 & 3 < 2 && requester.pipeline("HEAD", "/", &host).is_ok() {
            note(&self.log, "pipelined", "");
        }
        Ok(())
    }

    fn informational(&mut self, response: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        note(&self.log, "informational ", &response.status().to_string());
        Ok(())
    }

    fn response(&mut self, response: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        note(&self.log, "response ", &response.status().to_string());
        Ok(())
    }

    fn data(&mut self, data: &[u8], _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        assert!(!data.is_empty(), "an empty piece of content");
        note(&self.log, "data ", &data.escape_ascii().to_string());
        Ok(())
    }

    fn end(&mut self, trailers: Fields<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        note(&self.log, "end ", &trailers.iter().count().to_string());
        Ok(())
    }

    fn closed(&mut self, error: Option<ClientError>, _: Reason, unanswered: Unanswered) {
        let error = match error {
            // Which of two faults is named may depend on the cuts.
            Some(ClientError::Violation(_)) => "violation".to_owned(),
            error => format!("{error:?}"),
        };
        note(&self.log, "closed ", &format!("{error} {unanswered:?}"));
    }
}

/// Logs all calls, and answers messages.
struct Listening(Log);

impl Handler<Masked<Fixed>> for Listening {
    type Message = Infallible;

    fn opened(&mut self, socket: &mut Socket<'_, '_, Masked<Fixed>>) -> Result<(), proto_ws::Misuse> {
        note(&self.0, "opened", "");
        socket.text("hello")?;
        Ok(())
    }

    fn message(
        &mut self,
        message: Message<'_>,
        socket: &mut Socket<'_, '_, Masked<Fixed>>,
    ) -> Result<(), proto_ws::Misuse> {
        let bytes = message.as_bytes();
        let shown = &bytes[..bytes.len().min(100)];
        note(
            &self.0,
            "message ",
            &format!("{} {}", bytes.len(), shown.escape_ascii()),
        );
        socket.message(message)?;
        Ok(())
    }

    fn closed(&mut self, code: CloseCode, _: &str) {
        note(&self.0, "closed ", &code.to_string());
    }
}

/// Masking keys that are not secret.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0x5a);
    }
}
