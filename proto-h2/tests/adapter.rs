//! The server adapter, in memory: one handler a stream, back-pressure, messages, tunnels, the end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender as Channel, channel};
use std::time::Duration;

use proto_h2::{
    Auto, ClientConnection, ClientEvent, ErrorCode, Head, Limits, Scratch, Server, ServerConfig, StreamMessage,
};
use proto_http::{Fields, Handler, Misuse, Request, Responder};
use protocol::testing::Harness;
use protocol::{Peer, Protocol, Sender};

/// The client's side of the wire.
struct Client {
    connection: ClientConnection,
    limits: Limits,
    scratch: Scratch,
    out: Vec<u8>,
    /// Whether received content is consumed and credit given at once.
    consumes: bool,
}

impl Client {
    fn new() -> Self {
        Self::with(Limits::DEFAULT)
    }

    fn with(limits: Limits) -> Self {
        let (mut connection, mut out) = (ClientConnection::new(), Vec::new());
        connection.start(&limits, &mut out).unwrap();
        Self {
            connection,
            limits,
            scratch: Scratch::new(),
            out,
            consumes: true,
        }
    }

    fn get(&mut self, path: &str) -> u32 {
        self.connection
            .request(Head::new("GET", "http", "a", path), &(), &self.limits, &mut self.out)
            .unwrap()
    }

    fn post(&mut self, path: &str) -> u32 {
        self.connection
            .start_request(
                Head::new("POST", "http", "a", path),
                &(),
                None,
                &self.limits,
                &mut self.out,
            )
            .unwrap()
    }

    fn send(&mut self, stream: u32, data: &[u8], end: bool) {
        let sent = self
            .connection
            .send_data(stream, data, end, &self.limits, &mut self.out)
            .unwrap();
        assert_eq!(sent, data.len());
    }

    /// Sends and reads until neither side has anything more to send.
    fn exchange<P: Protocol>(&mut self, server: &mut Harness<P>) -> String {
        let mut log = String::new();
        loop {
            let bytes = std::mem::take(&mut self.out);
            if !bytes.is_empty() {
                server.receive(&bytes);
            }
            server.pump();
            let sent = server.take_sent();
            if sent.is_empty() && bytes.is_empty() {
                return log;
            }
            self.read(&sent, &mut log);
        }
    }

    fn read(&mut self, mut input: &[u8], log: &mut String) {
        use std::fmt::Write;
        while let Some(event) = self
            .connection
            .next(&self.limits, &mut input, &mut self.scratch, &mut self.out)
            .unwrap()
        {
            match event {
                ClientEvent::Response { stream, response, end } => {
                    write!(log, "[{stream}:{}{}]", response.status(), if end { "." } else { "" }).unwrap();
                }
                ClientEvent::Informational { stream, response } => {
                    write!(log, "[{stream}:({})]", response.status()).unwrap()
                }
                ClientEvent::Data { stream, data } => {
                    if data.len() > 100 {
                        write!(log, "[{stream}+{}]", data.len()).unwrap();
                    } else {
                        write!(log, "[{stream}={}]", data.escape_ascii()).unwrap();
                    }
                    let length = data.len();
                    if self.consumes {
                        self.connection
                            .consume(stream, length, &self.limits, &mut self.out)
                            .unwrap();
                    }
                }
                ClientEvent::End { stream, trailers } => write!(log, "[{stream}.{}]", trailers.iter().count()).unwrap(),
                ClientEvent::Reset { stream, code } => write!(log, "[{stream}!{code}]").unwrap(),
                ClientEvent::Goaway { last, code } => write!(log, "[goaway {last} {code}]").unwrap(),
                ClientEvent::Failed(violation) => panic!("{violation}"),
                ClientEvent::Window { .. } | ClientEvent::Pong(_) => {}
            }
        }
        assert!(input.is_empty());
    }
}

/// What the handlers report.
type Log = Channel<String>;

struct Pages {
    log: Log,
    sender: Sender<String>,
    path: String,
    body: usize,
    left: usize,
}

impl Handler for Pages {
    type Message = String;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.path = request.path().to_owned();
        match &*self.path {
            "/later" => {
                let sender = self.sender.clone();
                self.log.send("later".into()).unwrap();
                sender.send("now".into()).unwrap();
                Ok(())
            }
            "/never" | "/count" | "/pause" => {
                responder.pause(self.path == "/pause");
                Ok(())
            }
            "/echo" => responder.start(200, &(), None),
            "/stream" => {
                self.left = 10;
                responder.start(200, &(), None)?;
                self.drained(responder)
            }
            "/big" => responder.send(200, &[("X", "y")], &vec![b'x'; 300_000]),
            "/shared" => responder.send_shared(200, &(), bytes::Bytes::from(vec![b'x'; 300_000])),
            "/trailers" => {
                responder.start(200, &(), None)?;
                responder.write(b"abc")?;
                responder.finish_with(&[("x-sum", "6")])
            }
            "/misuse" => responder.send(200, &[("bad name", "x")], b""),
            "/hints" => {
                responder.inform(103, &[("link", "</a>")])?;
                responder.send(200, &(), b"")
            }
            "/ws" => responder.upgrade(&[("upgrade", "websocket"), ("sec-websocket-accept", "x")]),
            "/ws-unasked" => responder.upgrade(&()),
            _ => responder.send(200, &(), self.path.as_bytes()),
        }
    }

    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.body += data.len();
        match &*self.path {
            "/echo" => responder.write(data),
            _ => Ok(()),
        }
    }

    fn end(&mut self, _: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match &*self.path {
            "/count" | "/pause" => responder.send(200, &(), self.body.to_string().as_bytes()),
            "/echo" => responder.finish(),
            _ => Ok(()),
        }
    }

    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        while self.left > 0 && !responder.is_congested() {
            self.left -= 1;
            responder.write(&[b'x'; 20_000])?;
        }
        self.log.send(format!("left {}", self.left)).unwrap();
        if self.path == "/stream" && self.left == 0 && responder.is_open() {
            responder.finish()
        } else {
            Ok(())
        }
    }

    fn posted(&mut self, message: String, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match &*self.path {
            "/pause" => {
                responder.pause(false);
                Ok(())
            }
            _ if responder.is_due() => responder.send(200, &(), message.as_bytes()),
            _ => Ok(()),
        }
    }

    fn stop(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.send(503, &(), b"")
    }

    fn switched(&mut self) -> Option<Self::Next> {
        Some(proto_ws::Server::new(Arc::default(), Echo))
    }

    fn closed(&mut self, unanswered: bool) {
        self.log.send(format!("closed {} {unanswered}", self.path)).unwrap();
    }
}

struct Echo;

impl proto_ws::Handler for Echo {
    type Message = String;

    fn message(
        &mut self,
        message: proto_ws::Message<'_>,
        socket: &mut proto_ws::Socket<'_, '_>,
    ) -> Result<(), proto_ws::Misuse> {
        socket.message(message)?;
        Ok(())
    }

    fn posted(&mut self, message: String, socket: &mut proto_ws::Socket<'_, '_>) -> Result<(), proto_ws::Misuse> {
        socket.message(proto_ws::Message::Text(&message))?;
        Ok(())
    }
}

type Factory = Box<dyn Fn(&Peer<'_, String>) -> Option<Pages>>;

struct Scene {
    server: Harness<Server<Pages, Factory>>,
    log: Receiver<String>,
    senders: Receiver<Sender<String>>,
    client: Client,
}

fn scene() -> Scene {
    scene_with(ServerConfig::default(), Client::new())
}

fn factory(log: Log, senders: Channel<Sender<String>>) -> Factory {
    Box::new(move |peer: &Peer<'_, String>| {
        senders.send(peer.sender()).unwrap();
        Some(Pages {
            log: log.clone(),
            sender: peer.sender(),
            path: String::new(),
            body: 0,
            left: 0,
        })
    })
}

fn scene_with(config: ServerConfig, client: Client) -> Scene {
    let ((log, logged), (senders, sent)) = (channel(), channel());
    let make =
        |peer: &Peer<'_, StreamMessage<String>>| Some(Server::new(Arc::new(config), factory(log, senders), peer));
    let server = Harness::accept(protocol::Limits::default(), make).unwrap();
    let mut scene = Scene {
        server,
        log: logged,
        senders: sent,
        client,
    };
    scene.exchange();
    scene
}

impl Scene {
    fn exchange(&mut self) -> String {
        self.client.exchange(&mut self.server)
    }

    fn logged(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }
}

#[test]
fn streams_have_handlers_of_their_own() {
    let mut scene = scene();
    let before = scene.server.writes();
    for path in ["/a", "/b", "/c"] {
        scene.client.get(path);
    }
    assert_eq!(
        scene.exchange(),
        "[1:200][1=/a][1.0][3:200][3=/b][3.0][5:200][5=/c][5.0]"
    );
    assert_eq!(
        scene.logged(),
        ["closed /a false", "closed /b false", "closed /c false"]
    );
    assert_eq!(scene.server.writes() - before, 1, "three answers are one write");
}

#[test]
fn an_answer_comes_later_by_message_and_holds_nobody() {
    let mut scene = scene();
    scene.client.get("/later");
    scene.client.get("/never");
    scene.client.get("/a");
    let log = scene.exchange();
    assert!(log.starts_with("[5:200]"), "{log}");
    assert!(log.contains("[1:200][1=now]"), "{log}");
    // A handler that answers late may find its stream reset.
    scene
        .client
        .connection
        .reset(3, ErrorCode::CANCEL, &scene.client.limits, &mut scene.client.out)
        .unwrap();
    scene.exchange();
    assert!(scene.logged().contains(&"closed /never true".to_owned()));
    for sender in scene.senders.try_iter() {
        sender.send("late".into()).unwrap();
    }
    assert_eq!(scene.exchange(), "");
}

#[test]
fn bodies_are_streamed_and_collected() {
    let mut scene = scene();
    let (one, two) = (scene.client.post("/count"), scene.client.post("/count"));
    for _ in 0..5 {
        scene.client.send(one, &[0; 10_000], false);
        scene.client.send(two, &[0; 100], false);
        scene.exchange();
    }
    scene.client.send(two, b"", true);
    assert_eq!(scene.exchange(), "[3:200][3=500][3.0]");
    scene.client.send(one, b"x", true);
    assert_eq!(scene.exchange(), "[1:200][1=50001][1.0]");
}

#[test]
fn a_paused_stream_holds_its_window_and_no_other() {
    let mut scene = scene();
    let paused = scene.client.post("/pause");
    let mut sent = 0;
    while scene.client.connection.capacity(paused) > 0 {
        let room = scene.client.connection.capacity(paused).min(10_000);
        scene.client.send(paused, &vec![0; room], false);
        sent += room;
        scene.exchange();
    }
    assert_eq!(sent, 65_535, "credit was given for content that is held");
    scene.client.get("/a");
    assert!(scene.exchange().starts_with("[3:200]"));
    scene.senders.try_iter().next().unwrap().send("go on".into()).unwrap();
    scene.exchange();
    assert!(
        scene.client.connection.capacity(paused) > 30_000,
        "the credit was not given back"
    );
    scene.client.send(paused, b"x", true);
    assert_eq!(scene.exchange(), "[1:200][1=65536][1.0]");
}

#[test]
fn answers_wait_for_the_window() {
    for path in ["/big", "/shared"] {
        let mut scene = scene();
        scene.client.consumes = false;
        scene.client.get(path);
        let log = scene.exchange();
        assert_eq!(log.matches("[1+").count(), 4, "{log}");
        assert!(!log.contains("[1.0]"));
        // Others are served, with what the connection's window has left.
        scene.client.get("/a");
        scene.client.consumes = true;
        let mut log = scene.exchange();
        // The content that was held back before.
        scene
            .client
            .connection
            .consume(1, 65_535, &scene.client.limits, &mut scene.client.out)
            .unwrap();
        log += &scene.exchange();
        let sum: usize = log
            .split('[')
            .filter_map(|part| part.strip_prefix("1+")?.strip_suffix(']')?.parse::<usize>().ok())
            .sum();
        assert!(log.contains("[3:200]") && log.ends_with("[1.0]"), "{log}");
        assert_eq!(sum, 300_000 - 65_535);
        assert!(scene.logged().contains(&format!("closed {path} false")));
    }
}

/// A client that sends without reading gets no more credit: the content that waits for its window is bounded, although the handler echoes
/// all of it.
#[test]
fn content_waits_while_the_answer_to_it_backs_up() {
    let mut scene = scene();
    scene.client.consumes = false;
    let echo = scene.client.post("/echo");
    let (mut sent, mut log) = (0, String::new());
    while sent < 1_000_000 {
        let room = scene.client.connection.capacity(echo).min(10_000);
        if room == 0 {
            break;
        }
        scene.client.send(echo, &vec![0; room], false);
        sent += room;
        log += &scene.exchange();
    }
    // The client's window, the high-water mark of 64 KiB, the content read before congestion was noticed, and a window held without credit.
    assert!(sent < 65_535 + (64 << 10) + 10_000 + 65_535, "{sent} bytes were taken");
    // Another stream is still served.
    scene.client.get("/a");
    assert!(scene.exchange().starts_with("[3:200]"));
    // Once the client reads, all content is sent back.
    scene.client.consumes = true;
    let client = &mut scene.client;
    client
        .connection
        .consume(echo, 65_535, &client.limits, &mut client.out)
        .unwrap();
    log += &scene.exchange();
    scene.client.send(echo, b"", true);
    log += &scene.exchange();
    let back: usize = log
        .split('[')
        .filter_map(|part| part.strip_prefix("1+")?.strip_suffix(']')?.parse::<usize>().ok())
        .sum();
    assert_eq!(back, sent, "{log}");
    assert!(log.ends_with("[1.0]"), "{log}");
}

/// The content that may wait is bounded, whether it is sent in one piece or in many.
#[test]
fn an_answer_beyond_the_bound_is_no_answer() {
    let mut config = ServerConfig::default();
    config.max_queued = 200_000;
    let mut scene = scene_with(config, Client::new());
    scene.client.get("/big");
    let log = scene.exchange();
    assert!(log.contains("[1!") && !log.contains("[1.0]"), "{log}");
    scene.client.get("/a");
    assert!(scene.exchange().starts_with("[3:200]"));
}

#[test]
fn a_handler_that_streams_hears_of_congestion() {
    let mut scene = scene();
    scene.client.consumes = false;
    scene.client.get("/stream");
    scene.exchange();
    let log = scene.logged();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_ne!(log[0], "left 0");
    scene.client.consumes = true;
    scene
        .client
        .connection
        .consume(1, 65_535, &scene.client.limits, &mut scene.client.out)
        .unwrap();
    let log = scene.exchange();
    assert!(log.ends_with("[1.0]"), "{log}");
    assert_eq!(scene.logged().last().unwrap(), "closed /stream false");
}

#[test]
fn trailers_hints_and_continue() {
    let mut scene = scene();
    scene.client.get("/trailers");
    scene.client.get("/hints");
    let expects = Head::new("POST", "http", "a", "/count");
    let fields = [("expect", "100-continue")];
    let id = scene
        .client
        .connection
        .start_request(expects, &fields, Some(3), &scene.client.limits, &mut scene.client.out)
        .unwrap();
    assert_eq!(scene.exchange(), "[1:200][1=abc][1.1][3:(103)][3:200.][5:(100)]");
    scene.client.send(id, b"abc", true);
    assert_eq!(scene.exchange(), "[5:200][5=3][5.0]");
}

#[test]
fn a_handler_that_fails_costs_its_stream() {
    let mut scene = scene();
    scene.client.get("/misuse");
    scene.client.get("/ws-unasked");
    scene.client.get("/a");
    let log = scene.exchange();
    assert!(log.starts_with("[1:500"), "{log}");
    assert!(log.contains("[3:400]") && log.contains("[5:200]"), "{log}");
    assert_eq!(scene.server.ended(), None);
}

#[test]
fn websockets_run_in_streams() {
    let mut scene = scene();
    let limits = scene.client.limits;
    let open = |scene: &mut Scene| {
        let head = Head::extended("websocket", "http", "a", "/ws");
        let client = &mut scene.client;
        client
            .connection
            .start_request(head, &[("sec-websocket-version", "13")], None, &limits, &mut client.out)
            .unwrap()
    };
    let (one, two) = (open(&mut scene), open(&mut scene));
    assert_eq!(scene.exchange(), "[1:200][3:200]");
    // "hi", masked with zeros, in two pieces.
    scene.client.send(one, &[0x81, 0x82, 0, 0, 0], false);
    scene.client.send(two, &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'], false);
    scene.client.send(one, &[0, b'h', b'i'], false);
    assert_eq!(scene.exchange(), "[3=\\x81\\x02hi][1=\\x81\\x02hi]");
    let senders: Vec<_> = scene.senders.try_iter().collect();
    senders[1].send("posted".into()).unwrap();
    assert_eq!(scene.exchange(), "[3=\\x81\\x06posted]");
    // The closing handshake ends the stream, but not the connection.
    scene.client.send(one, &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8], false);
    assert_eq!(scene.exchange(), "[1=\\x88\\x02\\x03\\xe8][1.0]");
    scene.client.send(one, b"", true);
    scene.exchange();
    assert_eq!(scene.client.connection.streams(), 1);
    scene
        .client
        .connection
        .reset(two, ErrorCode::CANCEL, &limits, &mut scene.client.out)
        .unwrap();
    scene.exchange();
    assert_eq!(scene.server.ended(), None);
}

#[test]
fn stopping_goes_away_in_two_steps() {
    let mut scene = scene();
    scene.client.get("/never");
    scene.exchange();
    scene.server.stop();
    let log = scene.exchange();
    assert!(
        log.contains("[goaway 2147483647 NO_ERROR]") && log.contains("[1:503"),
        "{log}"
    );
    assert!(log.contains("[goaway 1 NO_ERROR]"), "{log}");
    scene.server.eof();
    scene.server.advance(Duration::from_secs(3));
    assert!(scene.server.ended().is_some());
}

#[test]
fn deadlines_of_streams() {
    let mut config = ServerConfig::default();
    config.timeouts.answer = Some(Duration::from_secs(1));
    config.timeouts.body = Some(Duration::from_secs(2));
    let mut scene = scene_with(config, Client::new());
    scene.client.get("/never");
    scene.client.post("/count");
    scene.exchange();
    scene.server.advance(Duration::from_millis(1100));
    let log = scene.exchange();
    assert!(log.contains("[1:503"), "{log}");
    scene.server.advance(Duration::from_millis(1100));
    let log = scene.exchange();
    assert!(log.contains("[3:408"), "{log}");
    // From here on the connection is idle.
    scene.server.advance(Duration::from_secs(61));
    assert!(scene.exchange().contains("[goaway"));
}

#[test]
fn http1_and_http2_share_a_port() {
    let make = |hello: &[u8]| {
        let ((log, _logged), (senders, _sent)) = (channel(), channel());
        std::mem::forget((_logged, _sent));
        let auto = |peer: &Peer<'_, StreamMessage<String>>| {
            Some(Auto::new(
                Arc::default(),
                Arc::new(ServerConfig::default()),
                factory(log, senders),
                peer,
            ))
        };
        let mut server = Harness::accept(protocol::Limits::default(), auto).unwrap();
        server.trickle(hello);
        server
    };
    let server = make(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(server.sent().starts_with(b"HTTP/1.1 200 OK\r\n") && server.sent().ends_with(b"/a"));
    let server = make(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert!(server.sent().ends_with(b"1"));
    let server = make(b"PRIME / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(server.sent().starts_with(b"HTTP/1.1 200"));
    let mut client = Client::new();
    client.get("/a");
    let mut server = make(&std::mem::take(&mut client.out));
    assert_eq!(client.exchange(&mut server), "[1:200][1=/a][1.0]");
    // A late answer, by a message, works on HTTP/1.1 too.
    let mut server = make(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    server.pump();
    assert!(server.sent().ends_with(b"now"));
}

/// A closure is a handler of HTTP/2 as well.
#[test]
fn closures_answer() {
    let factory = |_: &Peer<'_, Infallible>| {
        Some(|request: &Request<'_>, responder: &mut Responder<'_, '_>| {
            responder.send(200, &(), request.method().as_bytes())
        })
    };
    let make = |peer: &Peer<'_, StreamMessage<Infallible>>| Some(Server::new(Arc::default(), factory, peer));
    let mut server = Harness::accept(protocol::Limits::default(), make).unwrap();
    let mut client = Client::new();
    client.get("/");
    assert_eq!(client.exchange(&mut server), "[1:200][1=GET][1.0]");
}
