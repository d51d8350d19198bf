//! The adapters `Server` and `Client`, tested in memory with the contract's harness.
#![cfg(feature = "protocol")]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proto_http::ViolationKind;
use proto_ws::handshake::client::Refusal;
use proto_ws::handshake::{Accept, Key};
use proto_ws::{
    Client, ClientError, CloseCode, Config, Delivery, Entropy, Handler, Message, Misuse, NotOpened, Opening, Server,
    Side, SlowConsumer, Socket,
};
use protocol::testing::{Harness, splits};

/// The calls that a handler received.
type Log = Rc<RefCell<Vec<String>>>;

struct Echo(Log);

impl<S: Side> Handler<S> for Echo {
    type Message = String;

    fn granted(&mut self, granted: &proto_ws::handshake::client::Granted<'_>) {
        self.0.borrow_mut().push(format!("granted {:?}", granted.protocol));
    }

    fn opened(&mut self, _: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
        self.0.borrow_mut().push("opened".into());
        Ok(())
    }

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
        match message {
            Message::Text("close") => socket.close(CloseCode::NORMAL, "as asked"),
            Message::Text("misuse") => socket.ping(&[0; 126]),
            Message::Text(text) if text.starts_with("quiet") => {
                self.0.borrow_mut().push(text.into());
                Ok(())
            }
            message => socket.message(message).map(drop),
        }
    }

    fn part(&mut self, part: Message<'_>, last: bool, _: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
        self.0.borrow_mut().push(format!(
            "part of {}{}",
            part.as_bytes().len(),
            if last { ", the last" } else { "" }
        ));
        Ok(())
    }

    fn pong(&mut self, _: &[u8], round_trip: Option<Duration>, _: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
        self.0.borrow_mut().push(format!("pong {round_trip:?}"));
        Ok(())
    }

    fn posted(&mut self, message: String, socket: &mut Socket<'_, '_, S>) -> Result<(), Misuse> {
        if message == "ping" {
            return socket.ping(b"p");
        }
        let delivery = socket.text(&message);
        let dropped = socket.dropped();
        if delivery != Ok(Delivery::Queued) {
            self.0.borrow_mut().push(format!("{delivery:?} dropped {dropped}"));
        }
        Ok(())
    }

    fn not_opened(&mut self, why: NotOpened) {
        self.0.borrow_mut().push(format!("not opened: {why}"));
    }

    fn closed(&mut self, code: CloseCode, reason: &str) {
        self.0.borrow_mut().push(format!("closed {code} {reason}"));
    }
}

/// Produces constant masking keys, so that tests can compare frames with literals.
#[derive(Debug)]
struct Fixed;

impl Entropy for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = i as u8;
        }
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Arc<Config> {
    let mut config = Config::default();
    change(&mut config);
    Arc::new(config)
}

fn server(config: Arc<Config>) -> (Harness<Server<Echo>>, Log) {
    let log = Log::default();
    let harness = Harness::new(Server::new(config, Echo(log.clone())));
    log.borrow_mut().clear();
    (harness, log)
}

/// A client's frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn messages_are_echoed_at_every_split_in_one_write_a_read() {
    let mut bytes = frame(0x81, b"one");
    bytes.extend(frame(0x01, b"tw"));
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x80, b"o"));
    bytes.extend(frame(0x82, b""));
    let expected = b"\x81\x03one\x8a\x04ping\x81\x03two\x82\x00";
    for pieces in splits(&bytes) {
        let (mut harness, _) = server(Arc::default());
        let reads = pieces.len();
        for piece in pieces {
            harness.receive(piece);
        }
        assert_eq!(harness.sent(), expected);
        assert!(harness.writes() <= reads);
    }
    let (mut harness, _) = server(Arc::default());
    harness.trickle(&bytes);
    assert_eq!(harness.sent(), expected);
}

/// RFC 6455 section 7.4.1: a handler's error closes the connection with 1011, and is the connection's error.
#[test]
fn a_handler_that_fails_closes_the_connection() {
    let (mut harness, log) = server(Arc::default());
    harness.receive(&frame(0x81, b"misuse"));
    assert_eq!(harness.sent(), b"\x88\x02\x03\xf3");
    assert!(harness.is_half_closed());
    assert_eq!(*log.borrow(), ["closed 1011 "]);

    // A message received after our Close frame cannot be answered, which is not an error.
    let (mut harness, log) = server(Arc::default());
    harness.receive(&[frame(0x81, b"close"), frame(0x81, b"echo me"), frame(0x88, b"\x03\xe8")].concat());
    assert_eq!(harness.sent(), b"\x88\x0a\x03\xe8as asked");
    assert_ne!(harness.ended(), Some(protocol::Reason::Error));
    assert_eq!(*log.borrow(), ["closed 1000 "]);
}

#[test]
fn the_closing_handshake_from_either_end() {
    let (mut harness, log) = server(Arc::default());
    harness.receive(&frame(0x88, b"\x03\xe8bye"));
    assert_eq!(harness.sent(), b"\x88\x02\x03\xe8");
    assert!(harness.is_half_closed());
    assert_eq!(*log.borrow(), ["closed 1000 bye"]);

    let (mut harness, log) = server(Arc::default());
    harness.receive(&frame(0x81, b"close"));
    assert_eq!(harness.sent(), b"\x88\x0a\x03\xe8as asked");
    assert!(!harness.is_half_closed());
    harness.receive(&frame(0x81, b"quiet data after our Close"));
    harness.receive(&frame(0x88, b"\x03\xe8"));
    assert!(harness.is_half_closed());
    assert_eq!(*log.borrow(), ["quiet data after our Close", "closed 1000 "]);
}

#[test]
fn a_broken_frame_gets_a_close_frame() {
    let (mut harness, log) = server(Arc::default());
    harness.receive(b"\x81\x01a");
    assert_eq!(&harness.sent()[..4], b"\x88\x20\x03\xea");
    assert_eq!(harness.ended(), None, "the Close frame is given time to arrive");
    assert!(harness.is_half_closed());
    harness.eof();
    assert_eq!(harness.ended(), Some(protocol::Reason::Error));
    assert_eq!(*log.borrow(), ["closed 1002 frame of a client without mask"]);
}

#[test]
fn an_end_without_close_is_1006() {
    let (mut harness, log) = server(Arc::default());
    harness.eof();
    assert_eq!(*log.borrow(), ["closed 1006 "]);
}

#[test]
fn stopping_says_1001_and_waits_for_the_answer() {
    let (mut harness, log) = server(Arc::default());
    harness.stop();
    assert_eq!(harness.sent(), b"\x88\x02\x03\xe9");
    assert_eq!(harness.ended(), None);
    harness.advance(Duration::from_secs(5));
    assert!(harness.was_reset(), "W08: the peer never answers");
    assert_eq!(*log.borrow(), ["closed 1006 no close in time"]);
}

#[test]
fn keep_alive_measures_the_round_trip_and_notices_the_dead() {
    let (mut harness, log) = server(Arc::default());
    harness.advance(Duration::from_secs(30));
    let ping = harness.take_sent();
    assert_eq!(&ping[..2], b"\x89\x0c");
    harness.advance(Duration::from_millis(70));
    harness.receive(&frame(0x8a, &ping[2..]));
    assert_eq!(*log.borrow(), ["pong Some(70ms)"]);
    harness.advance(Duration::from_secs(29));
    assert_eq!(harness.sent(), b"");
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.take_sent().len(), 14);
    harness.advance(Duration::from_secs(20));
    assert_eq!(&harness.sent()[..4], b"\x88\x11\x03\xf0");
    assert_eq!(log.borrow()[1], "closed 1008 no pong in time");
}

#[test]
fn an_unfinished_message_has_a_deadline() {
    let (mut harness, log) = server(config(|config| config.ping_interval = None));
    assert_eq!(harness.deadline(), None);
    harness.receive(&frame(0x01, b"begun"));
    for _ in 0..59 {
        harness.advance(Duration::from_secs(1));
        harness.receive(&frame(0x00, b"."));
    }
    assert!(log.borrow().is_empty());
    harness.advance(Duration::from_secs(1));
    assert_eq!(*log.borrow(), ["closed 1008 message did not end in time"]);
}

#[test]
fn messages_in_parts() {
    let (mut harness, log) = server(config(|config| config.parts = true));
    harness.receive(&frame(0x01, b"0123"));
    let split = frame(0x80, "4\u{20ac}".as_bytes());
    harness.receive(&split[..8]);
    harness.receive(&split[8..]);
    assert_eq!(*log.borrow(), ["part of 4", "part of 1", "part of 3, the last"]);
}

#[test]
fn slow_consumers() {
    let big = "x".repeat(70_000);
    let run = |policy| {
        let (mut harness, log) = server(config(|config| config.slow_consumer = policy));
        harness.set_window(Some(0));
        for message in [big.clone(), "a".into(), "b".into()] {
            harness.post(message);
        }
        let told = log.take();
        harness.set_window(None);
        harness.pump();
        let sent = harness.take_sent();
        (told, sent.get(10 + big.len()..).unwrap_or_default().to_vec())
    };
    assert_eq!(run(SlowConsumer::Queue), (vec![], b"\x81\x01a\x81\x01b".to_vec()));
    let skip = ["Ok(Dropped) dropped 1", "Ok(Dropped) dropped 2"]
        .map(String::from)
        .to_vec();
    assert_eq!(run(SlowConsumer::Skip), (skip, vec![]));
    let latest = ["Ok(Kept) dropped 0", "Ok(Kept) dropped 1"].map(String::from).to_vec();
    assert_eq!(run(SlowConsumer::KeepLatest), (latest, b"\x81\x01b".to_vec()));
    let close = ["Ok(Dropped) dropped 1", "Err(Closed) dropped 1"]
        .map(String::from)
        .to_vec();
    assert_eq!(run(SlowConsumer::Close), (close, b"\x88\x0a\x03\xf5too slow".to_vec()));
}

fn client() -> (Harness<Client<Echo, Fixed>>, Log) {
    let log = Log::default();
    let mut opening = Opening::new("example.com", "/chat");
    opening.protocols = vec!["chat".into()];
    let harness = Harness::new(Client::new(Arc::default(), Arc::new(opening), Fixed, Echo(log.clone())));
    (harness, log)
}

fn answer() -> String {
    let key = Key::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        Accept::new(key.as_str()).as_str()
    )
}

#[test]
fn a_client_opens_at_every_split_and_masks() {
    let mut bytes = answer().into_bytes();
    bytes.extend_from_slice(b"\x81\x02hi");
    for pieces in splits(&bytes) {
        let (mut harness, log) = client();
        assert!(
            harness
                .take_sent()
                .starts_with(b"GET /chat HTTP/1.1\r\nHost: example.com\r\n")
        );
        for piece in pieces {
            harness.receive(piece);
        }
        assert_eq!(*log.borrow(), ["granted Some(\"chat\")", "opened"]);
        assert_eq!(harness.sent(), [0x81, 0x82, 0, 1, 2, 3, b'h', b'i' ^ 1]);
    }
}

#[test]
fn a_client_leaves_the_end_of_the_stream_to_the_server() {
    let (mut harness, log) = client();
    harness.receive(answer().as_bytes());
    harness.take_sent();
    harness.receive(b"\x88\x02\x03\xe8");
    assert_eq!(harness.sent(), [0x88, 0x82, 0, 1, 2, 3, 3, 0xe9]);
    assert!(!harness.is_half_closed());
    harness.eof();
    assert!(harness.is_half_closed());
    assert_eq!(log.borrow()[2..], ["closed 1000 "]);
}

#[test]
fn a_client_is_refused() {
    for answer in [
        answer().replace("101", "200"),
        answer().replace("chat", "other"),
        answer().replace("Upgrade: websocket", "Upgrade: h2c"),
        answer().replace("\r\n", "\n"),
    ] {
        let (mut harness, log) = client();
        harness.receive(answer.as_bytes());
        harness.eof();
        assert_eq!(harness.ended(), Some(protocol::Reason::Error), "{answer}");
        assert_eq!(log.borrow().len(), 1);
        assert!(log.borrow()[0].starts_with("not opened: "), "{log:?}");
    }
}

#[test]
fn a_handler_learns_why_its_connection_never_opened() {
    let (mut harness, log) = client();
    harness.receive(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    harness.eof();
    assert!(log.borrow()[0].contains("403"), "{log:?}");
    let (mut harness, log) = client();
    harness.eof();
    assert_eq!(
        log.borrow()[..],
        ["not opened: the stream ended before the server's answer was complete"]
    );
    let (mut harness, log) = client();
    harness.reset();
    assert_eq!(log.borrow()[..], ["not opened: transport failed: connection reset"]);
    let (mut harness, log) = client();
    harness.stop();
    harness.eof();
    assert_eq!(log.borrow()[..], ["not opened: closed"]);
}

#[test]
fn messages_wait_until_the_connection_is_open() {
    let (mut harness, log) = client();
    harness.post("one".into());
    harness.post("two".into());
    harness.take_sent();
    harness.receive(answer().as_bytes());
    let sent = harness.take_sent();
    // The masking key is 0 1 2 3 in all frames.
    assert_eq!(sent[..9], [0x81, 0x83, 0, 1, 2, 3, b'o', b'n' ^ 1, b'e' ^ 2]);
    assert_eq!(sent.len(), 18);
    assert!(log.borrow().iter().any(|line| line == "opened"));
    let (mut harness, log) = client();
    for _ in 0..=1024 {
        harness.post("x".into());
    }
    assert!(log.borrow()[0].contains("too many messages"), "{log:?}");
}

#[test]
fn w10_a_handshake_that_never_finishes() {
    let (mut harness, log) = client();
    harness.advance(Duration::from_secs(9));
    assert_eq!(harness.ended(), None);
    harness.advance(Duration::from_secs(1));
    assert!(harness.is_half_closed());
    harness.receive(answer().as_bytes());
    assert_eq!(log.borrow()[..], ["not opened: the server did not answer in time"]);
}

#[test]
fn an_idle_connection_is_small() {
    let size = size_of::<Server<Echo>>() - size_of::<Echo>();
    let limit = if cfg!(feature = "deflate") { 136 } else { 120 };
    assert!(size <= limit, "{size} bytes");
}

/// RFC 9110 section 15.2: a client must accept informational responses before the final one.
#[test]
fn informational_responses_before_the_101() {
    let interim =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let mut bytes = format!("{interim}{}", answer()).into_bytes();
    bytes.extend_from_slice(b"\x81\x02hi");
    for pieces in splits(&bytes) {
        let (mut harness, log) = client();
        harness.take_sent();
        for piece in pieces {
            harness.receive(piece);
        }
        assert_eq!(*log.borrow(), ["granted Some(\"chat\")", "opened"]);
        assert_eq!(harness.sent(), [0x81, 0x82, 0, 1, 2, 3, b'h', b'i' ^ 1]);
    }
    // Their number is limited.
    let (mut harness, _) = client();
    harness.receive("HTTP/1.1 100 Continue\r\n\r\n".repeat(16).as_bytes());
    assert_eq!(harness.error(), None);
    harness.receive(b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(harness.error(), Some(&ClientError::Interims));
    harness.eof();
    assert_eq!(harness.ended(), Some(protocol::Reason::Error));
}

/// A client keeps the status of a refusal, even if the response head is malformed.
#[test]
fn a_refusal_keeps_its_status() {
    let many = "X: y\r\n".repeat(200);
    let long = format!("X: {}\r\n", "y".repeat(70_000));
    for (head, status) in [
        ("HTTP/1.1 403 Forbidden\r\nX: a\r\n b\r\n\r\n", 403),
        ("HTTP/1.0 503 Service Unavailable\r\nServer: proxy\r\n\r\n", 503),
        ("HTTP/1.1 404\r\n\r\n", 404),
        ("HTTP/1.1 400 Bad Request\nX: y\n\r\n\r\n", 400),
        ("HTTP/1.1 401 Unauthorized\r\nX : y\r\n\r\n", 401),
        (&*format!("HTTP/1.1 431 Too Large\r\n{many}\r\n"), 431),
        (&*format!("HTTP/1.1 403 Forbidden\r\n{long}\r\n"), 403),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
            302,
        ),
    ] {
        let error = refusal(head.as_bytes());
        assert_eq!(error, Some(ClientError::Refused(Refusal::Status(status))), "{head}");
    }
    let (malformed, long) = (
        "HTTP/1.1 101 x\r\nX : y\r\n\r\n",
        format!("HTTP/1.1 101 x\r\n{long}\r\n"),
    );
    let kind = |bytes: &[u8]| match refusal(bytes) {
        Some(ClientError::Http(violation)) => violation.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(malformed.as_bytes()), ViolationKind::SpaceBeforeColon);
    assert_eq!(kind(long.as_bytes()), ViolationKind::FieldsTooLarge);
    // HTTP/1.0 has no upgrades (RFC 9110 section 7.8).
    assert_eq!(kind(b"HTTP/1.0 101 x\r\n\r\n"), ViolationKind::UnaskedSwitch);
}

/// The error with which a client fails on `bytes`.
fn refusal(bytes: &[u8]) -> Option<ClientError> {
    struct Keeping(Client<Echo, Fixed>, Rc<RefCell<Option<ClientError>>>);

    impl protocol::Protocol for Keeping {
        type Message = String;
        type Error = ClientError;

        fn connected(&mut self, cx: &mut protocol::Cx<'_>) -> Result<(), ClientError> {
            self.0.connected(cx)
        }

        fn received(&mut self, cx: &mut protocol::Cx<'_>, input: &mut protocol::Input<'_>) -> Result<(), ClientError> {
            self.0
                .received(cx, input)
                .inspect_err(|error| *self.1.borrow_mut() = Some(*error))
        }
    }

    let error = Rc::default();
    let opening = Opening::new("example.com", "/chat");
    let client = Client::new(Arc::default(), Arc::new(opening), Fixed, Echo(Log::default()));
    Harness::new(Keeping(client, Rc::clone(&error))).receive(bytes);
    error.take()
}

/// RFC 6455 section 5.5.3: Pongs that answer our Pings do not count against the limit of control frames.
#[test]
fn an_application_may_ping_as_often_as_it_likes() {
    let (mut harness, log) = server(config(|config| config.ping_interval = None));
    let pong = frame(0x8a, b"p");
    for _ in 0..2000 {
        harness.advance(Duration::from_millis(20));
        harness.post("ping".into());
        assert_eq!(harness.take_sent(), b"\x89\x01p");
        harness.receive(&pong);
    }
    assert_eq!(harness.ended(), None);
    assert_eq!(log.take().len(), 2000);
    // Unsolicited Pongs still count: 256 a minute are allowed.
    harness.advance(Duration::from_secs(60));
    harness.receive(&pong.repeat(256));
    assert_eq!(log.take().len(), 256);
    harness.receive(&pong);
    assert_eq!(*log.borrow(), ["closed 1008 too many control frames"]);
}

/// A handler that was told of an open connection is told of its end, whatever ends it.
#[test]
fn an_abrupt_end_is_told() {
    let (mut harness, log) = server(Arc::default());
    harness.reset();
    assert_eq!(*log.borrow(), ["closed 1006 "]);
    let (mut harness, log) = client();
    harness.receive(answer().as_bytes());
    harness.reset();
    assert_eq!(log.borrow()[2..], ["closed 1006 "]);
    // A handler whose connection never opened gets no `closed`.
    let (mut harness, log) = client();
    harness.reset();
    assert_eq!(log.borrow()[..], ["not opened: transport failed: connection reset"]);
}

/// The close timeout starts with our Close frame, not with the peer's last bytes.
#[test]
fn the_close_timeout_starts_with_our_close_frame() {
    let close: [fn(&mut Harness<Server<Echo>>); 2] = [
        |harness| harness.receive(&frame(0x81, b"close")),
        |harness| harness.stop(),
    ];
    for close in close {
        let (mut harness, log) = server(config(|config| config.ping_interval = None));
        harness.advance(Duration::from_secs(100));
        close(&mut harness);
        harness.advance(Duration::from_millis(4999));
        // Other frames of the peer do not extend the timeout.
        harness.receive(&frame(0x81, b"quiet"));
        assert!(!harness.was_reset());
        harness.advance(Duration::from_millis(1));
        assert!(harness.was_reset());
        assert_eq!(log.borrow().last().unwrap(), "closed 1006 no close in time");
    }
}

/// The host may contain only characters that a host allows: a line break would inject another field.
#[test]
fn a_host_with_invisible_bytes_is_refused() {
    use proto_ws::handshake::client::{BadRequest, Request};
    let write = |host: &str, target: &str| {
        let mut out = bytes::BytesMut::new();
        let written = Request::new(host, target).write(&Key::new([0; 16]), &mut out);
        assert_eq!(written.is_ok(), !out.is_empty());
        written
    };
    assert_eq!(write("example.com:80", "/chat?a"), Ok(()));
    for invisible in (0..=0x20u8)
        .chain([0x7f])
        .map(char::from)
        .chain(['\u{80}', '\u{a0}', '\u{2028}'])
    {
        for text in [
            format!("a{invisible}b"),
            format!("{invisible}a"),
            format!("a{invisible}"),
        ] {
            assert_eq!(write(&text, "/"), Err(BadRequest::Host), "{text:?}");
            assert_eq!(write("a", &format!("/{text}")), Err(BadRequest::Target), "{text:?}");
        }
    }
    for host in ["", "a/b", "a?b", "a#b", "u@a", "a\\b", "a,b"] {
        assert_eq!(write(host, "/"), Err(BadRequest::Host), "{host:?}");
    }
}
