//! A handler that passes on the response of another source, as a proxy does: it decides about 100 (Continue), and reports that the source
//! has failed.

use std::sync::Arc;
use std::time::Duration;

use proto_http::{Fields, Handler, Misuse, NoUpgrade, Request, Responder, Server, ServerConfig};
use protocol::Reason;
use protocol::testing::Harness;

#[derive(Clone, Copy)]
enum Say {
    Continue,
    Start(Option<u64>),
    Some,
    Finish,
    Abort,
}

#[derive(Default)]
struct Relay {
    content: Vec<u8>,
    closed: Option<bool>,
}

impl Handler for Relay {
    type Message = Say;
    type Next = NoUpgrade<Say>;

    fn request(&mut self, _: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.withhold_continue();
        Ok(())
    }

    fn data(&mut self, data: &[u8], _: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.content.extend_from_slice(data);
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.content.push(b'.');
        Ok(())
    }

    fn posted(&mut self, say: Say, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match say {
            Say::Continue => responder.inform(100, &())?,
            Say::Start(length) => responder.start(200, &(), length)?,
            Say::Some => responder.write(b"some")?,
            Say::Finish => responder.finish()?,
            Say::Abort => responder.abort(),
        }
        Ok(())
    }

    fn closed(&mut self, unanswered: bool) {
        self.closed = Some(unanswered);
    }
}

const EXPECTS: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";

fn asked(request: &str) -> Harness<Server<Relay>> {
    let mut config = ServerConfig::default();
    config.timeouts.body = Some(Duration::from_secs(5));
    let mut harness = Harness::new(Server::new(Arc::new(config), Relay::default()));
    harness.receive(request.as_bytes());
    assert_eq!(harness.sent(), b"");
    harness
}

fn sent(harness: &mut Harness<Server<Relay>>) -> String {
    String::from_utf8(harness.take_sent()).unwrap()
}

/// RFC 9110 section 10.1.1: only the other source sends 100 (Continue).
#[test]
fn a_client_is_told_to_continue_by_the_handler_alone() {
    let mut harness = asked(EXPECTS);
    harness.post(Say::Continue);
    assert_eq!(sent(&mut harness), "HTTP/1.1 100 Continue\r\n\r\n");
    harness.receive(b"abc");
    assert_eq!(harness.protocol().handler().content, b"abc.");
    harness.post(Say::Start(Some(0)));
    harness.post(Say::Finish);
    assert_eq!(sent(&mut harness), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(harness.ended(), None);
    // The next request has its own wait.
    harness.receive(EXPECTS.as_bytes());
    assert_eq!(harness.sent(), b"");
}

/// A final response without a 100: whether content follows is then unknown, so the connection ends.
#[test]
fn a_client_that_was_never_told_to_continue() {
    let mut harness = asked(EXPECTS);
    harness.post(Say::Start(Some(0)));
    harness.post(Say::Finish);
    assert_eq!(
        sent(&mut harness),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
}

/// Content that is sent without a 100 is read. The wait for the 100 is not counted as the client's delay.
#[test]
fn a_client_that_waits_no_longer_is_read() {
    let mut harness = asked(EXPECTS);
    harness.advance(Duration::from_secs(20));
    assert_eq!(harness.sent(), b"", "no 408");
    harness.receive(b"abc");
    assert_eq!(harness.protocol().handler().content, b"abc.");
    // Once content arrives, its time limit applies to the client.
    let mut harness = asked(EXPECTS);
    harness.receive(b"a");
    harness.advance(Duration::from_secs(20));
    assert!(sent(&mut harness).starts_with("HTTP/1.1 408 "));
}

/// RFC 9112 section 8: a response that is broken off must not look complete.
#[test]
fn an_answer_that_is_broken_off() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let old = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    for (request, length, comes) in [
        (get, None, "\r\n\r\n4\r\nsome\r\n"),
        (get, Some(10), "Content-Length: 10\r\n\r\nsome"),
        (post, Some(10), "Content-Length: 10\r\n\r\nsome"),
    ] {
        let mut harness = asked(request);
        for say in [Say::Start(length), Say::Some, Say::Abort] {
            harness.post(say);
        }
        let answer = sent(&mut harness);
        assert!(answer.ends_with(comes), "{answer}");
        assert!(harness.is_half_closed());
        // Bytes that the client sends after that are dropped.
        harness.receive(b"abcGET / HTTP/1.1\r\n\r\n");
        harness.eof();
        assert_eq!(harness.ended(), Some(Reason::Closed));
        let relay = harness.protocol().handler();
        assert_eq!(relay.closed, Some(true));
        assert_eq!(relay.content.is_empty(), request == post);
    }
    // A reset is needed where the end of the connection would end the response, or where nothing was sent yet.
    for say in [&[Say::Start(None), Say::Some, Say::Abort][..], &[Say::Abort]] {
        let mut harness = asked(old);
        say.iter().for_each(|say| harness.post(*say));
        assert!(harness.was_reset());
        assert_eq!(harness.protocol().handler().closed, Some(true));
    }
    // A complete response is not broken off.
    let mut harness = asked(get);
    for say in [Say::Start(Some(0)), Say::Finish, Say::Abort] {
        harness.post(say);
    }
    harness.receive(get.as_bytes());
    assert_eq!(harness.ended(), None);
    assert!(harness.wants_input());
}
