//! The client adapter, run in memory: alone, and against the server.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto_http::{
    BodyLength, Caller, Client, ClientConfig, ClientError, Fields, Misuse, NoUpgrade, Request, Requester, Responder,
    Response, Server, ServerConfig, Timer, Unanswered, ViolationKind,
};
use protocol::testing::{Harness, Link, LinkConfig, splits};
use protocol::{Cx, Input, Protocol, Reason, Switch};

const HOST: [(&str, &str); 1] = [("Host", "a")];

#[derive(Debug, Default, PartialEq)]
struct Log {
    lines: Vec<String>,
    ended: Option<(Option<ClientError>, Unanswered)>,
}

/// Sends the requests of a list one after the other, and notes the events.
struct List {
    requests: Vec<(&'static str, &'static str, &'static [u8])>,
    log: Arc<Mutex<Log>>,
    body: Vec<u8>,
}

impl List {
    fn note(&self, line: String) {
        self.log.lock().unwrap().lines.push(line);
    }
}

impl Caller for List {
    type Message = Infallible;
    type Next = Raw;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let (method, target, body) = self.requests.remove(0);
        if target == "/close" {
            requester.close();
            return Ok(());
        }
        if target == "/upgrade" {
            return requester.send(method, target, &[("Host", "a"), ("Upgrade", "raw")], body);
        }
        requester.send(method, target, &HOST, body)
    }

    fn response(&mut self, response: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.note(format!("{}", response.status()));
        Ok(())
    }

    fn informational(&mut self, response: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.note(format!("({})", response.status()));
        Ok(())
    }

    fn data(&mut self, data: &[u8], _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.body.extend_from_slice(data);
        Ok(())
    }

    fn end(&mut self, trailers: Fields<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let body = String::from_utf8(std::mem::take(&mut self.body)).unwrap();
        self.note(format!("{body} {}", trailers.iter().count()));
        Ok(())
    }

    fn switched(&mut self, _: &Response<'_>) -> Option<Raw> {
        self.note("switched".into());
        Some(Raw(Arc::clone(&self.log)))
    }

    fn closed(&mut self, error: Option<ClientError>, _: Reason, unanswered: Unanswered) {
        self.log.lock().unwrap().ended = Some((error, unanswered));
    }
}

struct Raw(Arc<Mutex<Log>>);

impl Protocol for Raw {
    type Message = Infallible;
    type Error = Infallible;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        let text = String::from_utf8(input.take_all().to_vec()).unwrap();
        self.0.lock().unwrap().lines.push(text);
        Ok(())
    }
}

type Requests<'a> = &'a [(&'static str, &'static str, &'static [u8])];

fn client(requests: Requests<'_>) -> (Harness<Switch<Client<List>>>, Arc<Mutex<Log>>) {
    let log = Arc::default();
    let list = List {
        requests: requests.to_vec(),
        log: Arc::clone(&log),
        body: Vec::new(),
    };
    (Harness::new(Client::switching(Arc::default(), list)), log)
}

fn lines(log: &Mutex<Log>) -> String {
    log.lock().unwrap().lines.join("|")
}

#[test]
fn responses_are_framed_by_their_request() {
    for (method, response, expect) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200|hi 0"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "200| 0"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "204| 0"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            "304| 0",
        ),
        (
            "GET",
            "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\na: b\r\n\r\n",
            "200|hi 1",
        ),
        (
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "(100)|(103)|200| 0",
        ),
    ] {
        for pieces in splits(response.as_bytes()) {
            let requests: Requests<'_> = if method == "HEAD" {
                &[("HEAD", "/", b""), ("GET", "/next", b"")]
            } else {
                &[("GET", "/", b""), ("GET", "/next", b"")]
            };
            let (mut harness, log) = client(requests);
            assert_eq!(
                harness.take_sent(),
                format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()
            );
            pieces.into_iter().for_each(|piece| harness.receive(piece));
            assert_eq!(lines(&log), expect);
            // The connection is reused.
            assert_eq!(harness.sent(), b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        }
    }
}

#[test]
fn the_close_of_the_connection_ends_a_body_of_unknown_length_only() {
    let (mut harness, log) = client(&[("GET", "/", b""), ("GET", "/never", b"")]);
    harness.take_sent();
    harness.receive(b"HTTP/1.0 200 OK\r\n\r\nabc");
    harness.receive(b"def");
    harness.eof();
    assert_eq!(lines(&log), "200|abcdef 0");
    assert_eq!(harness.sent(), b"");
    assert_eq!(log.lock().unwrap().ended, Some((None, Unanswered::Nothing)));

    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 O",
        "",
    ] {
        let (mut harness, log) = client(&[("GET", "/", b"")]);
        harness.receive(cut.as_bytes());
        harness.eof();
        let ended = log.lock().unwrap().ended;
        assert!(
            matches!(ended, Some((Some(ClientError::Violation(v)), Unanswered::Uncertain)) if v.kind() == ViolationKind::Truncated),
            "{cut}: {ended:?}"
        );
    }
}

#[test]
fn what_follows_does_not_matter_to_who_has_closed() {
    for cut in 0..4 {
        let (mut harness, log) = client(&[("GET", "/", b""), ("GET", "/close", b"")]);
        let (answer, rest) = b"HTTP/1.1 204 N\r\n\r\nwhat".split_at(22 - cut);
        harness.receive(answer);
        harness.receive(rest);
        harness.eof();
        assert_eq!(lines(&log), "204| 0");
        assert_eq!(log.lock().unwrap().ended, Some((None, Unanswered::Nothing)), "{cut}");
    }
}

#[test]
fn what_nobody_asked_for_is_an_error() {
    for (requests, response) in [
        (&[][..] as Requests<'_>, "HTTP/1.1 200 OK\r\n\r\n"),
        (
            &[("GET", "/", b"")],
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ),
        (
            &[("GET", "/", b"")],
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n",
        ),
        (
            &[("GET", "/upgrade", b"")],
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\n\r\n",
        ),
        (
            &[("GET", "/", b"")],
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (&[("GET", "/", b"")], "HTTP/1.1 200 OK\nContent-Length: 1\n\n"),
    ] {
        let (mut harness, log) = client(requests);
        harness.receive(response.as_bytes());
        harness.eof();
        assert_eq!(harness.ended(), Some(Reason::Error), "{response}");
        assert!(
            matches!(log.lock().unwrap().ended, Some((Some(ClientError::Violation(_)), _))),
            "{response}"
        );
    }
}

#[test]
fn a_switch_hands_over_the_rest() {
    let (mut harness, log) = client(&[("GET", "/upgrade", b"")]);
    assert_eq!(
        harness.take_sent(),
        b"GET /upgrade HTTP/1.1\r\nHost: a\r\nUpgrade: raw\r\nConnection: upgrade\r\n\r\n"
    );
    harness.receive(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nrest");
    assert_eq!(lines(&log), "switched|rest");
    let (mut harness, log) = client(&[("CONNECT", "h:1", b"")]);
    harness.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nrest");
    assert_eq!(lines(&log), "switched|rest");
    // A refused upgrade does not end the connection, but a refused CONNECT does.
    let (mut harness, log) = client(&[("GET", "/upgrade", b""), ("GET", "/", b"")]);
    harness.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    harness.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny");
    assert_eq!(lines(&log), "200|x 0|200|y 0");
}

#[test]
fn a_silent_server_is_left() {
    let timeouts = ClientConfig::default().timeouts;
    let (mut harness, log) = client(&[("GET", "/", b"")]);
    harness.advance(timeouts.answer.unwrap());
    assert!(harness.was_reset());
    assert_eq!(
        log.lock().unwrap().ended,
        Some((Some(ClientError::TimedOut(Timer::Answer)), Unanswered::Uncertain))
    );

    let (mut harness, log) = client(&[("GET", "/", b"")]);
    harness.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    harness.advance(timeouts.body.unwrap());
    assert_eq!(
        log.lock().unwrap().ended,
        Some((Some(ClientError::TimedOut(Timer::Body)), Unanswered::Uncertain))
    );

    let (mut harness, log) = client(&[]);
    harness.advance(timeouts.idle.unwrap());
    assert!(harness.is_half_closed());
    harness.eof();
    assert_eq!(log.lock().unwrap().ended, Some((None, Unanswered::Nothing)));
}

#[test]
fn client_and_server_understand_each_other_in_segments_of_any_size() {
    for segment in [1, 2, 3, 7, 100, 1460] {
        let log = Arc::default();
        let list = List {
            requests: vec![
                ("GET", "/a", b""),
                ("PUT", "/b", b"0123456789"),
                ("HEAD", "/c", b""),
                ("GET", "/chunks", b""),
            ],
            log: Arc::clone(&log),
            body: Vec::new(),
        };
        let server = proto_http::Collect::new(
            100,
            |request: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>| {
                if request.path() == "/chunks" {
                    responder.start(200, &(), None)?;
                    responder.write(b"one ")?;
                    responder.write(b"")?;
                    responder.write(b"two")?;
                    return responder.finish_with(&[("a", "b")]);
                }
                responder.send(200, &(), &[request.method().as_bytes(), body].concat())
            },
        );
        let mut link = Link::new(
            Harness::new(Client::switching(Arc::default(), list)),
            Harness::new(Server::new(Arc::new(ServerConfig::default()), server)),
            LinkConfig {
                segment,
                latency: Duration::from_millis(1),
            },
        );
        link.run(Duration::from_secs(20));
        assert_eq!(
            lines(&log),
            "200|GET 0|200|PUT0123456789 0|200| 0|200|one two 1",
            "segment {segment}"
        );
    }
}

#[test]
fn misuse_is_told_and_nothing_is_sent() {
    struct Wrong(Requests2);
    type Requests2 = fn(&mut Requester<'_, '_>) -> Result<(), Misuse>;
    impl Caller for Wrong {
        type Message = Infallible;
        type Next = NoUpgrade<Infallible>;
        fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
            (self.0)(requester)
        }
        fn response(&mut self, _: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
            Ok(())
        }
        fn data(&mut self, _: &[u8], _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
            Ok(())
        }
    }
    let wrongs: [(Requests2, Misuse); 8] = [
        (|r| r.send("G T", "/", &HOST, b""), Misuse::Method),
        (|r| r.send("GET", "/ HTTP/1.1\r\nX: y", &HOST, b""), Misuse::Target),
        (|r| r.send("GET", "*", &HOST, b""), Misuse::Target),
        (|r| r.send("GET", "/", &(), b""), Misuse::Host),
        (
            |r| r.send("GET", "/", &[("Host", "a"), ("host", "a")], b""),
            Misuse::Host,
        ),
        (
            |r| r.send("GET", "/", &[("Host", "a"), ("X", "y\r\nz")], b""),
            Misuse::FieldValue,
        ),
        (
            |r| r.send("GET", "/", &[("Host", "a"), ("Content-Length", "3")], b""),
            Misuse::FramingField,
        ),
        (
            |r| r.start("GET", "/", &HOST, BodyLength::UntilClose),
            Misuse::NotAllowed,
        ),
    ];
    for (wrong, misuse) in wrongs {
        let mut harness = Harness::new(Client::new(Arc::default(), Wrong(wrong)));
        harness.eof();
        assert_eq!(harness.ended(), Some(Reason::Error), "{misuse:?}");
        assert_eq!(harness.sent(), b"", "{misuse:?}");
    }
}

/// The server closes a kept connection while the next request is on its way (RFC 9112 section 9.3.1): requests that are safe to repeat are
/// told from others (RFC 9110 section 9.2.2).
#[test]
fn what_a_kept_connection_leaves_unanswered() {
    const FIRST: (&str, &str, &[u8]) = ("POST", "/", b"x");
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let after = |requests: Requests<'_>, input: &[u8], then: fn(&mut Harness<Switch<Client<List>>>)| {
        let (mut harness, log) = client(requests);
        harness.receive(input);
        then(&mut harness);
        let ended = log.lock().unwrap().ended;
        ended.unwrap()
    };
    let eof = |harness: &mut Harness<Switch<Client<List>>>| harness.eof();
    let reset = |harness: &mut Harness<Switch<Client<List>>>| harness.reset();
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        let requests = &[FIRST, (method, "/", &b""[..])];
        assert_eq!(after(requests, ANSWER, eof), (None, Unanswered::Repeatable), "{method}");
        assert_eq!(
            after(requests, ANSWER, reset),
            (None, Unanswered::Repeatable),
            "{method}"
        );
        // Any part of a response shows that the server has received the request.
        for some in [&b"H"[..], b"HTTP/1.1 103 Early Hints\r\n\r\n"] {
            let input = [ANSWER, some].concat();
            assert_eq!(after(requests, &input, eof).1, Unanswered::Uncertain, "{method}");
            assert_eq!(after(requests, &input, reset).1, Unanswered::Uncertain, "{method}");
        }
        // Where no exchange was completed, another connection would fare no better.
        assert_eq!(after(&requests[1..], b"", eof).1, Unanswered::Uncertain, "{method}");
    }
    for method in ["POST", "PATCH", "get"] {
        let requests = &[FIRST, (method, "/", &b""[..])];
        assert_eq!(after(requests, ANSWER, eof).1, Unanswered::Uncertain, "{method}");
        assert_eq!(after(requests, ANSWER, reset).1, Unanswered::Uncertain, "{method}");
    }
    assert_eq!(after(&[FIRST], ANSWER, eof), (None, Unanswered::Nothing));
    let (mut harness, log) = client(&[FIRST, ("GET", "/", b"")]);
    harness.receive(ANSWER);
    harness.advance(Duration::from_secs(61));
    // The server is silent, but the connection has not ended.
    assert_eq!(
        log.lock().unwrap().ended,
        Some((Some(ClientError::TimedOut(Timer::Answer)), Unanswered::Uncertain))
    );
}

/// Pauses the content that arrives, until a message comes.
struct Pauses(Arc<Mutex<Vec<&'static str>>>);

impl Caller for Pauses {
    type Message = ();
    type Next = NoUpgrade<()>;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.0.lock().unwrap().push("ready");
        if requester.is_idle() && self.0.lock().unwrap().len() == 1 {
            requester.send("GET", "/", &HOST, b"")?;
        }
        Ok(())
    }

    fn response(&mut self, _: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        Ok(())
    }

    fn data(&mut self, _: &[u8], requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.0.lock().unwrap().push("data");
        requester.pause(true);
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.0.lock().unwrap().push("end");
        Ok(())
    }

    fn posted(&mut self, (): (), requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        requester.pause(false);
        Ok(())
    }
}

/// The last content was consumed before the pause: the end is told when the caller resumes, although no input follows.
#[test]
fn the_end_follows_a_pause_without_more_input() {
    for answer in [
        "Content-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut harness = Harness::new(Client::new(Arc::default(), Pauses(Arc::clone(&log))));
        harness.receive(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes());
        assert_eq!(*log.lock().unwrap(), ["ready", "data"]);
        harness.post(());
        assert_eq!(*log.lock().unwrap(), ["ready", "data", "end", "ready"], "{answer}");
        assert_eq!(harness.held(), 0);
    }
}
