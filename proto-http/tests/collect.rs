//! Whole requests: answered later, by messages, with upgrades; and heads that outlive their bytes.

use std::sync::Arc;
use std::time::SystemTime;

use proto_http::{
    Collect, Fields, Handler, KeptRequest, Misuse, NoUpgrade, Parsed, Request, Responder, Rules, Server, ServerConfig,
    WholeHandler,
};
use protocol::testing::{Harness, splits};
use protocol::{Cx, Input, Protocol};

fn config() -> Arc<ServerConfig> {
    Arc::new(ServerConfig::new(|| SystemTime::UNIX_EPOCH))
}

/// Answers `/later` with a message, streams `/long`, and upgrades `/up`.
#[derive(Default)]
struct Site {
    asked: Option<Vec<u8>>,
    pieces: usize,
    closed: Vec<bool>,
}

const PIECES: usize = 40;

impl WholeHandler for Site {
    type Message = &'static str;
    type Next = Shout;

    fn request(&mut self, request: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match request.path() {
            "/later" => self.asked = Some(body.to_vec()),
            "/long" => {
                self.pieces = PIECES;
                responder.start(200, &(), None)?;
                return self.drained(responder);
            }
            "/up" => return responder.upgrade(&[("Upgrade", "shout")]),
            _ => return responder.send(404, &(), b""),
        }
        Ok(())
    }

    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        while self.pieces > 0 && !responder.is_congested() {
            self.pieces -= 1;
            responder.write(&[b'x'; 4096])?;
        }
        if self.pieces == 0 { responder.finish() } else { Ok(()) }
    }

    fn posted(&mut self, message: &'static str, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Some(asked) = self.asked.take() else {
            return Ok(());
        };
        responder.send(200, &(), &[&asked, message.as_bytes()].concat())
    }

    fn stop(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.asked = None;
        responder.send(503, &(), b"")
    }

    fn switched(&mut self) -> Option<Shout> {
        Some(Shout)
    }

    fn closed(&mut self, unanswered: bool) {
        self.closed.push(unanswered);
    }
}

/// Sends back capitals.
#[derive(Debug)]
struct Shout;

impl Protocol for Shout {
    type Message = &'static str;
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        cx.send(&input.as_slice().to_ascii_uppercase());
        input.consume(input.len());
        Ok(())
    }
}

const LATER: &[u8] =
    b"PUT /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_message_answers_a_whole_request() {
    for pieces in splits(LATER) {
        let mut harness = Harness::new(Server::switching(config(), Collect::new(3, Site::default())));
        pieces.into_iter().for_each(|piece| harness.receive(piece));
        assert_eq!(text(harness.sent()), "");
        harness.post("!");
        assert!(
            text(harness.sent()).ends_with("\r\n\r\nabc!"),
            "{}",
            text(harness.sent())
        );
    }
}

#[test]
fn an_answer_in_pieces_goes_on_when_the_output_has_drained() {
    let mut harness = Harness::new(Server::switching(config(), Collect::new(3, Site::default())));
    harness.set_window(Some(10_000));
    harness.receive(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.set_window(None);
    harness.pump();
    let sent = harness.take_sent();
    assert_eq!(sent.iter().filter(|byte| **byte == b'x').count(), PIECES * 4096);
    assert!(sent.ends_with(b"0\r\n\r\n"));
}

#[test]
fn a_whole_request_can_upgrade() {
    let mut harness = Harness::new(Server::switching(config(), Collect::new(3, Site::default())));
    harness.receive(b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nhello");
    let sent = text(harness.sent());
    assert!(
        sent.starts_with("HTTP/1.1 101 ") && sent.ends_with("\r\n\r\nHELLO"),
        "{sent}"
    );
}

#[test]
fn a_stop_reaches_the_handler() {
    let mut harness = Harness::new(Server::new(config(), Collect::new(3, Site::default())));
    harness.receive(LATER);
    harness.stop();
    assert!(
        text(harness.sent()).starts_with("HTTP/1.1 503 "),
        "{}",
        text(harness.sent())
    );
}

#[test]
fn the_handler_learns_of_an_end_before_the_answer() {
    let mut harness = Harness::new(Server::new(config(), Collect::new(3, Site::default())));
    harness.receive(&LATER[..LATER.len() - 9]);
    harness.reset();
    assert_eq!(harness.protocol().handler().handler().closed, [true]);
}

/// Keeps the head of each request until its end.
#[derive(Default)]
struct AtTheEnd(Option<KeptRequest>);

impl Handler for AtTheEnd {
    type Message = std::convert::Infallible;
    type Next = NoUpgrade<std::convert::Infallible>;

    fn request(&mut self, request: &Request<'_>, _: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.0 = Some(request.keep());
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Some(kept) = self.0.take() else {
            return Err(Misuse::OutOfTurn);
        };
        let head = kept.view();
        let host = head.authority().unwrap_or_default();
        responder.send(
            200,
            &(),
            format!("{} {} {host}", head.method(), head.target()).as_bytes(),
        )
    }
}

#[test]
fn the_end_of_a_request_can_see_its_head() {
    let request = b"POST /a?b HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\nabc";
    for pieces in splits(request) {
        let mut harness = Harness::new(Server::new(config(), AtTheEnd::default()));
        pieces.into_iter().for_each(|piece| harness.receive(piece));
        let sent = text(harness.sent());
        assert!(sent.ends_with("\r\n\r\nPOST /a?b example.org"), "{sent}");
    }
}

#[test]
fn a_kept_head_equals_the_head() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
        b"PUT http://a/b?c HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n",
        b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let Ok(Parsed::Complete { head, .. }) = Request::parse(bytes, &Rules::DEFAULT) else {
            panic!("{}", text(bytes))
        };
        let kept = head.keep();
        assert_eq!(kept.view(), head);
        assert_eq!(kept.clone().view().body(), head.body());
    }
    let about = proto_http::Assembled {
        length: Some(5),
        content: true,
        ..Default::default()
    };
    let head = about.request("PUT", "/a", b"host: b\r\n");
    assert_eq!(head.keep().view(), head);
    assert_eq!(head.keep().view().version(), proto_http::Version::Http2);
}
