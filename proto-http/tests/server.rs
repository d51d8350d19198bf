//! The server adapter, run in memory.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proto_http::{
    BodyLength, Collect, Fields, Handler, Misuse, NoUpgrade, Request, Responder, Server, ServerConfig, Timer,
};
use protocol::testing::{Harness, splits};
use protocol::{Cx, Input, Protocol, Switch};

fn config() -> Arc<ServerConfig> {
    fn clock() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }
    Arc::new(ServerConfig::new(clock))
}

/// Answers in every possible way.
#[derive(Default)]
struct Site {
    later: bool,
    aborted: usize,
    streamed: usize,
}

impl Handler for Site {
    type Message = &'static str;
    type Next = Shout;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.later = false;
        match (request.method(), request.path()) {
            ("GET" | "HEAD", "/") => responder.send(200, &[("Content-Type", "text/plain")], b"Hello, World!"),
            ("POST", "/echo") => {
                let length = match request.body() {
                    BodyLength::Length(length) => Some(length),
                    _ => None,
                };
                responder.start(
                    200,
                    &[("Content-Type", request.fields().get("content-type").unwrap_or(b"a/b"))],
                    length,
                )
            }
            ("GET", "/204") => responder.send(204, &(), b"dropped"),
            ("GET", "/304") => responder.send(304, &(), b"dropped"),
            ("GET", "/later") => {
                self.later = true;
                Ok(())
            }
            ("GET", "/stream") => {
                self.streamed = 0;
                responder.start(200, &(), None)?;
                self.drained(responder)
            }
            ("GET", "/bad") => responder.send(200, &[("a", "b\r\nc")], b""),
            ("GET", "/shout") => responder.upgrade(&[("Upgrade", "shout")]),
            ("CONNECT", _) => responder.tunnel(&()),
            ("PUT", "/deny") => responder.send(403, &(), b"no"),
            ("PUT", "/pause") => {
                responder.pause(true);
                Ok(())
            }
            (_, "/") => responder.send(405, &[("Allow", "GET, HEAD")], b""),
            _ => responder.send(404, &(), b"not found"),
        }
    }

    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.write(data)
    }

    fn end(&mut self, trailers: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if responder.is_open() && self.streamed == 0 {
            responder.finish_with(&trailers)
        } else {
            Ok(())
        }
    }

    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        while self.streamed < 100 && !responder.is_congested() {
            self.streamed += 1;
            responder.write(&[b'x'; 4096])?;
        }
        if self.streamed == 100 && responder.is_open() {
            responder.finish()
        } else {
            Ok(())
        }
    }

    fn posted(&mut self, message: &'static str, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if message == "go on" {
            responder.pause(false);
            return responder.start(200, &(), None);
        }
        if responder.is_due() {
            responder.send(200, &(), message.as_bytes())
        } else {
            Ok(())
        }
    }

    fn switched(&mut self) -> Option<Shout> {
        Some(Shout)
    }

    fn closed(&mut self, unanswered: bool) {
        self.aborted += usize::from(unanswered);
    }
}

/// Sends messages back in capitals.
struct Shout;

impl Protocol for Shout {
    type Message = &'static str;
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        let loud = input.take_all().to_ascii_uppercase();
        cx.send(&loud);
        Ok(())
    }
}

fn site() -> Harness<Switch<Server<Site>>> {
    Harness::new(Server::switching(config(), Site::default()))
}

fn ask(bytes: &[u8]) -> String {
    let mut harness = site();
    harness.receive(bytes);
    String::from_utf8(harness.take_sent()).unwrap()
}

fn head(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
}

const HELLO: &str = "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\n";

#[test]
fn a_request_is_answered_however_it_is_cut() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let expect = head("200 OK") + HELLO + "Hello, World!";
    for pieces in splits(request) {
        let mut harness = site();
        for piece in pieces {
            harness.receive(piece);
        }
        assert_eq!(str::from_utf8(harness.sent()), Ok(&*expect));
        assert_eq!(harness.ended(), None);
        assert_eq!(harness.held(), 0);
    }
}

#[test]
fn pipelined_requests_are_answered_in_one_write() {
    let mut harness = site();
    harness.receive(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(16));
    assert_eq!(harness.writes(), 1);
    assert_eq!(str::from_utf8(harness.sent()).unwrap().matches("Hello").count(), 16);
}

#[test]
fn head_and_statuses_without_content() {
    assert_eq!(ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), head("200 OK") + HELLO);
    assert_eq!(
        ask(b"GET /204 HTTP/1.1\r\nHost: a\r\n\r\n"),
        head("204 No Content") + "\r\n"
    );
    assert_eq!(
        ask(b"GET /304 HTTP/1.1\r\nHost: a\r\n\r\n"),
        head("304 Not Modified") + "\r\n"
    );
}

#[test]
fn persistence_of_both_versions() {
    let close =
        head("200 OK") + "Content-Type: text/plain\r\nConnection: close\r\nContent-Length: 13\r\n\r\nHello, World!";
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n",
    ] {
        assert_eq!(ask(format!("{request}{request}").as_bytes()), close, "{request}");
    }
    let keep = head("200 OK")
        + "Content-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: 13\r\n\r\nHello, World!";
    assert_eq!(ask(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), keep);
}

#[test]
fn bodies_are_echoed_however_they_are_cut() {
    let with_length =
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: x/y\r\nContent-Length: 10\r\n\r\n0123456789".as_slice();
    let chunked = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\n01234\r\n5\r\n56789\r\n0\r\nT: v\r\n\r\n";
    for pieces in splits(with_length) {
        let mut harness = site();
        pieces.into_iter().for_each(|piece| harness.receive(piece));
        let expect = head("200 OK") + "Content-Type: x/y\r\nContent-Length: 10\r\n\r\n0123456789";
        assert_eq!(str::from_utf8(harness.sent()), Ok(&*expect));
    }
    for pieces in splits(chunked) {
        let mut harness = site();
        pieces.into_iter().for_each(|piece| harness.receive(piece));
        let sent = String::from_utf8(harness.take_sent()).unwrap();
        let (start, body) = sent.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            start,
            head("200 OK") + "Content-Type: a/b\r\nTransfer-Encoding: chunked"
        );
        assert!(body.ends_with("0\r\nT: v\r\n\r\n"), "{body}");
        let content: String = body
            .lines()
            .skip(1)
            .step_by(2)
            .take_while(|line| *line != "T: v")
            .collect();
        assert_eq!(content, "0123456789");
    }
}

#[test]
fn a_client_that_waits_is_told_to_continue() {
    let mut harness = site();
    harness.receive(b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n");
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    assert!(
        sent.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{sent}"
    );
    harness.receive(b"x");
    assert_eq!(harness.take_sent(), b"x");
    assert_eq!(harness.ended(), None);

    // Refused without a 100: whether the body comes is unknown, so the connection closes.
    let sent = ask(b"PUT /deny HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(
        sent,
        head("403 Forbidden") + "Connection: close\r\nContent-Length: 2\r\n\r\nno"
    );
    let sent = ask(b"PUT /deny HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(
        sent,
        head("417 Expectation Failed") + "Connection: close\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_small_unwanted_body_is_dropped_and_a_large_one_closes() {
    let after = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let sent = ask(format!("PUT /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n{after}{after}").as_bytes());
    assert_eq!(sent.matches("HTTP/1.1").count(), 2, "{sent}");
    let sent = ask(b"PUT /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx");
    assert!(sent.contains("Connection: close"), "{sent}");
    // A chunked body announces no length.
    let mut harness = site();
    harness.receive(b"PUT /deny HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..300 {
        harness.receive(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes());
    }
    assert!(harness.is_half_closed());
    assert!(harness.sent().ends_with(b"no"));
}

#[test]
fn an_answer_may_come_later_and_requests_behind_it_wait() {
    let mut harness = site();
    harness.receive(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(harness.sent(), b"");
    assert!(!harness.wants_input());
    harness.post("here");
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    assert_eq!(
        sent,
        head("200 OK") + "Content-Length: 4\r\n\r\nhere" + &head("200 OK") + HELLO + "Hello, World!"
    );
    harness.post("too late");
    assert_eq!(harness.sent(), b"");
    assert!(harness.wants_input());
}

#[test]
fn a_client_that_half_closes_gets_its_answers() {
    let mut harness = site();
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.take_sent();
    harness.eof();
    assert_eq!(harness.ended(), None);
    harness.post("here");
    let expect = head("200 OK") + "Connection: close\r\nContent-Length: 4\r\n\r\nhere";
    assert_eq!(str::from_utf8(harness.sent()), Ok(&*expect));
    assert!(harness.ended().is_some());
}

#[test]
fn a_client_that_half_closes_may_count_as_gone() {
    let mut gone = ServerConfig::default();
    gone.half_closed = false;
    let mut harness = Harness::new(Server::switching(Arc::new(gone), Site::default()));
    harness.receive(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.eof();
    let Switch::Before(server) = harness.protocol() else {
        panic!()
    };
    assert_eq!((harness.sent(), server.handler().aborted), (&b""[..], 1));
    assert!(harness.ended().is_some());
}

#[test]
fn a_request_cut_short_is_never_complete() {
    for request in [
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n1234",
        "POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n",
    ] {
        let mut harness = site();
        harness.receive(request.as_bytes());
        harness.eof();
        assert!(harness.ended().is_some());
        assert!(!harness.sent().ends_with(b"0\r\n\r\n"));
    }
}

#[test]
fn a_streamed_answer_waits_for_its_reader() {
    let mut harness = site();
    harness.set_window(Some(10_000));
    harness.receive(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(harness.is_blocked());
    assert_eq!(harness.sent().len(), 10_000);
    while harness.is_blocked() {
        harness.set_window(Some(50_000));
    }
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    assert_eq!(sent.matches("1000\r\n").count(), 100);
    assert!(sent.ends_with("Hello, World!"));
}

#[test]
fn an_upgrade_hands_over_behind_the_101() {
    let mut harness = site();
    harness.receive(b"GET /shout HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nabc");
    let expect = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\nABC";
    assert_eq!(str::from_utf8(harness.sent()), Ok(expect));
    assert_eq!(harness.deadline(), None);

    let sent = ask(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\nabc");
    assert_eq!(sent, "HTTP/1.1 200 OK\r\n\r\nABC");
}

/// A request for an upgrade that cannot be granted is the client's fault, and never answered by a 500 (RFC 9110 section 7.8).
#[test]
fn an_upgrade_that_nobody_asked_for_is_the_clients_fault() {
    for (request, status) in [
        ("GET /shout HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        // What nginx sends without `proxy_http_version 1.1`.
        (
            "GET /shout HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
        ),
        (
            "GET /shout HTTP/1.1\r\nHost: a\r\nConnection: \"x, upgrade\"\r\nUpgrade: shout\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
        ),
        (
            "GET /shout HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 400 Bad Request\r\n",
        ),
        // The option behind a quotation mark counts too.
        (
            "GET /shout HTTP/1.1\r\nHost: a\r\nConnection: \"x, upgrade\r\nUpgrade: shout\r\n\r\n",
            "HTTP/1.1 101 ",
        ),
    ] {
        let sent = ask(request.as_bytes());
        assert!(sent.starts_with(status), "{request}: {sent}");
        assert!(
            sent.contains("RFC 9110 section 7.8") || status.contains("101"),
            "{sent}"
        );
    }
    // The connection persists.
    let unasked = "GET /shout HTTP/1.1\r\nHost: a\r\n\r\n";
    let sent = ask([unasked, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat().as_bytes());
    assert!(sent.contains(" 400 ") && sent.ends_with("Hello, World!"), "{sent}");
}

#[test]
fn a_handler_that_fails_is_answered_for() {
    let sent = ask(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        sent,
        head("500 Internal Server Error") + "Connection: close\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn every_wait_has_an_end() {
    let timeouts = config().timeouts;
    let mut harness = site();
    harness.advance(timeouts.first_byte.unwrap() - Duration::from_millis(1));
    assert_eq!(harness.ended(), None);
    harness.advance(Duration::from_millis(1));
    assert!(harness.is_half_closed());
    assert_eq!(harness.sent(), b"");

    // A head that arrives byte by byte gets no extra time.
    let mut harness = site();
    for byte in b"GET / HTTP/1.1\r\nHost: a" {
        harness.receive(&[*byte]);
        harness.advance(Duration::from_secs(2));
    }
    assert!(harness.sent().starts_with(b"HTTP/1.1 408 "));

    // Between requests.
    let mut harness = site();
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.take_sent();
    harness.advance(timeouts.idle.unwrap());
    assert!(harness.is_half_closed());
    assert_eq!(harness.sent(), b"");

    // A body that is too slow on average, although bytes arrive often.
    let mut harness = site();
    harness.receive(b"PUT /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    harness.take_sent();
    for _ in 0..100 {
        if harness.is_half_closed() {
            break;
        }
        harness.receive(b"x");
        harness.advance(Duration::from_secs(1));
    }
    assert!(harness.is_half_closed());

    // A body that is fast enough may take a long time.
    let mut harness = site();
    harness.receive(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    for _ in 0..100 {
        harness.receive(&[b'x'; 1000]);
        harness.advance(Duration::from_secs(1));
    }
    assert_eq!(harness.ended(), None);
    assert!(!harness.is_half_closed());

    // A handler that never answers.
    let mut harness = site();
    harness.receive(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.advance(timeouts.answer.unwrap());
    assert!(harness.sent().starts_with(b"HTTP/1.1 503 "));
    assert_eq!(format!("{:?}", Timer::Answer), "Answer");
}

#[test]
fn a_paused_body_waits() {
    let mut harness = site();
    harness.receive(b"PUT /pause HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(harness.sent(), b"");
    assert!(!harness.wants_input());
    harness.post("go on");
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    assert!(
        sent.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{sent}"
    );
    assert!(sent.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{sent}");
}

#[test]
fn a_pause_ends_with_the_answer() {
    let mut harness = site();
    harness.receive(b"PUT /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(harness.sent(), b"");
    harness.post("enough");
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    assert!(sent.contains("\r\n\r\nenoughHTTP/1.1 200 OK\r\n"), "{sent}");
    assert!(sent.ends_with("Hello, World!"), "{sent}");
}

#[test]
fn stopping_finishes_what_is_under_way() {
    // A connection that has been idle for long closes at once; one that may be about to send a request gets a moment.
    for request in ["", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        for (idle, moment) in [(0, 500), (300, 200), (499, 1), (500, 0), (5000, 0)] {
            let mut harness = site();
            harness.receive(request.as_bytes());
            harness.advance(Duration::from_millis(idle));
            harness.stop();
            if moment > 0 {
                harness.advance(Duration::from_millis(moment - 1));
                assert!(!harness.is_half_closed(), "{request:?} {idle}");
                harness.advance(Duration::from_millis(1));
            }
            assert!(harness.is_half_closed(), "{request:?} {idle}");
        }
    }
    // A busy client is told by its last response that the connection closes (RFC 9112 section 9.6), even when its head arrives in two
    // pieces.
    let mut harness = site();
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.take_sent();
    harness.stop();
    harness.advance(Duration::from_millis(400));
    harness.receive(b"GET / HTTP/1.1\r\n");
    harness.advance(Duration::from_millis(400));
    harness.receive(b"Host: a\r\n\r\n");
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    assert!(
        sent.contains("\r\nConnection: close\r\n") && sent.ends_with("Hello, World!"),
        "{sent}"
    );
    assert!(harness.is_half_closed());

    let mut harness = site();
    harness.receive(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.stop();
    assert!(!harness.is_half_closed());
    harness.post("bye");
    let expect = head("200 OK") + "Connection: close\r\nContent-Length: 3\r\n\r\nbye";
    assert_eq!(str::from_utf8(harness.sent()), Ok(&*expect));
    assert!(harness.is_half_closed());
}

#[test]
fn closures_are_handlers() {
    let mut harness = Harness::new(Server::new(
        config(),
        |request: &Request<'_>, responder: &mut Responder<'_, '_>| {
            responder.send(200, &(), request.target().as_bytes())
        },
    ));
    harness.receive(b"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(harness.sent().ends_with(b"Content-Length: 4\r\n\r\n/x?y"));
}

#[test]
fn collected_bodies() {
    let collect = || {
        Collect::new(
            5,
            |request: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>| {
                responder.send(200, &(), &[request.path().as_bytes(), body].concat())
            },
        )
    };
    for (request, status, body) in [
        ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 200, "/a"),
        (
            "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n01234",
            200,
            "/a01234",
        ),
        ("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n012345", 413, ""),
        (
            "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n01\r\n3\r\n234\r\n0\r\n\r\n",
            200,
            "/a01234",
        ),
        (
            "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n01\r\n4\r\n2345\r\n0\r\n\r\n",
            413,
            "",
        ),
    ] {
        for pieces in splits(request.as_bytes()) {
            let mut harness = Harness::new(Server::new(config(), collect()));
            pieces.into_iter().for_each(|piece| harness.receive(piece));
            let sent = String::from_utf8(harness.take_sent()).unwrap();
            assert!(sent.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{sent}");
            assert!(sent.ends_with(&format!("\r\n\r\n{body}")), "{request}\n{sent}");
            assert_eq!(sent.matches("HTTP/1.1").count(), 1);
            assert_eq!(harness.ended(), None);
        }
    }
}

#[test]
fn an_idle_connection_is_small() {
    struct Nothing;
    impl Handler for Nothing {
        type Message = Infallible;
        type Next = NoUpgrade<Infallible>;
        fn request(&mut self, _: &Request<'_>, _: &mut Responder<'_, '_>) -> Result<(), Misuse> {
            Ok(())
        }
    }
    assert!(size_of::<Server<Nothing>>() <= 104, "{}", size_of::<Server<Nothing>>());
}

/// RFC 9110 section 7.8: a 101 is never sent when nothing could take the connection over.
#[test]
fn an_upgrade_that_nothing_could_take_over_is_refused_before_the_101() {
    for request in [
        "GET /shout HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nhi",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nhi",
    ] {
        let mut harness = Harness::new(Server::new(config(), Site::default()));
        harness.receive(request.as_bytes());
        assert!(
            harness.sent().starts_with(b"HTTP/1.1 500 Internal Server Error\r\n"),
            "{request}"
        );
        assert!(harness.is_half_closed());
    }
}

#[test]
fn an_upgrade_without_a_successor_is_reset() {
    struct Forgetful;
    impl Handler for Forgetful {
        type Message = Infallible;
        type Next = NoUpgrade<Infallible>;
        fn request(&mut self, _: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
            responder.upgrade(&[("Upgrade", "shout")])
        }
    }
    let mut harness = Harness::new(Server::switching(config(), Forgetful));
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n");
    assert!(harness.was_reset());
}

#[test]
fn a_handler_learns_once_that_the_connection_is_over() {
    for (cut, unanswered) in [
        ("", false),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("GET /later HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n", true),
    ] {
        let told = Rc::new(RefCell::new(Vec::new()));
        let mut harness = Harness::new(Server::new(config(), Told(Site::default(), Rc::clone(&told))));
        harness.receive(cut.as_bytes());
        harness.reset();
        drop(harness);
        assert_eq!(*told.borrow(), [unanswered], "{cut}");
    }
}

/// A site that notes how its connections end.
struct Told(Site, Rc<RefCell<Vec<bool>>>);

impl Handler for Told {
    type Message = &'static str;
    type Next = Shout;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.0.request(request, responder)
    }

    fn closed(&mut self, unanswered: bool) {
        self.1.borrow_mut().push(unanswered);
    }
}

/// Streams without end until the driver stops.
struct Endless;

impl Handler for Endless {
    type Message = ();
    type Next = NoUpgrade<()>;

    fn request(&mut self, _: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.start(200, &(), None)?;
        responder.write(b"on and on")
    }

    fn stop(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.finish()
    }
}

#[test]
fn an_endless_answer_ends_well_when_the_driver_stops() {
    let mut harness = Harness::new(Server::new(config(), Endless));
    harness.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!harness.is_half_closed());
    harness.stop();
    assert!(harness.sent().ends_with(b"9\r\non and on\r\n0\r\n\r\n"));
    assert!(harness.is_half_closed());
}

/// For an HTTP/1.0 client, which does not know chunks, a response of unknown length ends with the connection, even when the client asks to
/// keep it (RFC 9112 section 6.3).
#[test]
fn an_answer_of_unknown_length_ends_the_connection_of_an_old_client() {
    for keep_alive in ["", "Connection: keep-alive\r\n"] {
        let request = format!("GET / HTTP/1.0\r\n{keep_alive}\r\nGET / HTTP/1.0\r\n\r\n");
        let mut harness = Harness::new(Server::new(
            Arc::default(),
            |_: &Request<'_>, responder: &mut Responder<'_, '_>| {
                responder.start(200, &(), None)?;
                responder.write(b"some")?;
                responder.write(b"thing")?;
                responder.finish()
            },
        ));
        harness.receive(request.as_bytes());
        let expect = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsomething";
        assert_eq!(str::from_utf8(harness.sent()), Ok(expect));
        assert!(harness.is_half_closed());
    }
    // With a known length, the connection is kept, and the response says so.
    let mut harness = Harness::new(Server::new(
        Arc::default(),
        |_: &Request<'_>, responder: &mut Responder<'_, '_>| responder.send(200, &(), b"x"),
    ));
    harness.receive(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let expect = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(str::from_utf8(harness.sent()), Ok(expect));
    assert!(!harness.is_half_closed());
}

/// Pauses the body with its first piece, until a message comes.
struct Pauses;

impl Handler for Pauses {
    type Message = ();
    type Next = NoUpgrade<()>;

    fn request(&mut self, _: &Request<'_>, _: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        Ok(())
    }

    fn data(&mut self, _: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.pause(true);
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.send(200, &(), b"all")
    }

    fn posted(&mut self, (): (), responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.pause(false);
        Ok(())
    }
}

/// The last of the body was consumed before the pause: the end is told when the handler resumes, although no input follows.
#[test]
fn the_end_follows_a_pause_without_more_input() {
    for body in [
        "Content-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let mut harness = Harness::new(Server::new(config(), Pauses));
        harness.receive(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}").as_bytes());
        assert_eq!(harness.sent(), b"");
        harness.post(());
        assert!(harness.sent().ends_with(b"\r\n\r\nall"), "{body}");
    }
}
