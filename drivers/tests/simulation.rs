//! Thousands of connections of all protocols on a simulated network: every exchange is completed or cut, and days pass in seconds.
//!
//! A run follows from its seed: `SIM_SEED=42 cargo test -p wirestate-drivers --test simulation` repeats one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto_http::{Caller, Collect, Fields, Misuse, NoUpgrade, Request, Requester, Responder, Response, ServerConfig};
use proto_http::{Handler as HttpHandler, Server as HttpServer};
use proto_ws::handshake::server::Request as Handshake;
use proto_ws::{Client as WsClient, CloseCode, Config, Entropy, Masked, Message, Opening, Socket, Unmasked};
use protocol::testing::{End, Sim, Weather};
use protocol::{Cx, Input, Limits, Reason, Switch};

/// The number of pairs of each protocol: many in optimised builds, fewer in others.
const PAIRS: usize = if cfg!(debug_assertions) { 1_000 } else { 50_000 };

/// The number of clients of each sort that send little.
const SILENT: usize = PAIRS / 20;

/// The number of days of silence: many in optimised builds, fewer in others.
const DAYS: u64 = if cfg!(debug_assertions) { 3 } else { 30 };

fn seed() -> u64 {
    std::env::var("SIM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1)
}

/// Sends a number of requests with bodies of many sizes, and closes.
struct Asking {
    id: usize,
    left: usize,
    body: Vec<u8>,
    answers: usize,
}

impl Caller for Asking {
    type Message = Infallible;
    type Next = NoUpgrade<Infallible>;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        if self.left == 0 {
            requester.close();
            return Ok(());
        }
        self.left -= 1;
        let body = vec![self.id as u8; self.id * 37 % 9000];
        requester.send("POST", "/", &[("Host", "a")], &body)
    }

    fn response(&mut self, response: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        assert_eq!(response.status(), 200);
        Ok(())
    }

    fn data(&mut self, data: &[u8], _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.body.extend_from_slice(data);
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let body = std::mem::take(&mut self.body);
        assert!(body.len() == self.id * 37 % 9000 && body.iter().all(|&byte| byte == self.id as u8));
        self.answers += 1;
        Ok(())
    }
}

type Answer = fn(&Request<'_>, &[u8], &mut Responder<'_, '_>) -> Result<(), Misuse>;

fn http_server() -> HttpServer<Collect<Answer>> {
    let echo: Answer = |_, body, responder| responder.send(200, &(), body);
    HttpServer::new(Arc::default(), Collect::new(1 << 20, echo))
}

fn asking(id: usize) -> proto_http::Client<Asking> {
    let asking = Asking {
        id,
        left: 1 + id % 4,
        body: Vec::new(),
        answers: 0,
    };
    proto_http::Client::new(Arc::default(), asking)
}

/// The number of requests answered and of pairs cut, and a digest of the run.
fn http_run(seed: u64, weather: Weather, pairs: usize) -> (usize, usize, u64) {
    let mut sim = Sim::new(weather, Limits::default(), seed);
    for id in 0..pairs {
        sim.open(Duration::from_millis(id as u64 / 10), asking(id), http_server());
    }
    let (mut answers, mut cut) = (0, 0);
    sim.run(Duration::from_secs(600), |pair| {
        let asking = pair.a.caller();
        answers += asking.answers;
        if pair.cut {
            cut += 1;
        } else {
            let ends = (pair.a_reason, pair.b_reason);
            assert_eq!(
                ends,
                (Reason::Closed, Reason::Closed),
                "SIM_SEED={seed}, pair {}",
                pair.id
            );
            assert_eq!(asking.answers, 1 + pair.id % 4, "SIM_SEED={seed}, pair {}", pair.id);
        }
    });
    assert_eq!(sim.live(), 0, "SIM_SEED={seed}");
    (answers, cut, sim.digest())
}

#[test]
fn http_in_any_weather() {
    let seed = seed();
    let (answers, cut, _) = http_run(seed, Weather::default(), PAIRS);
    // One segment in a thousand is lost, together with its connection.
    assert!(cut > 0 && cut < PAIRS / 10, "{cut} of {PAIRS} were cut");
    assert!(answers > PAIRS * 2, "{answers}");
    let (calm, uncut, _) = http_run(seed, Weather::calm(), PAIRS);
    assert_eq!((calm, uncut), ((0..PAIRS).map(|id| 1 + id % 4).sum(), 0));
}

#[test]
fn the_same_seed_makes_the_same_run() {
    let seed = seed();
    let run = |seed| http_run(seed, Weather::default(), PAIRS / 20);
    assert_eq!(run(seed), run(seed));
    assert_ne!(run(seed).2, run(seed + 1).2);
}

/// Grants every handshake.
struct Door(Arc<Config>);

struct Echo;

impl proto_ws::Handler for Echo {
    type Message = Infallible;

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_, Unmasked>) -> Result<(), proto_ws::Misuse> {
        socket.message(message)?;
        Ok(())
    }
}

impl HttpHandler for Door {
    type Message = Infallible;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        match Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value))) {
            Ok(handshake) => {
                let accepted = handshake.accept();
                let fields: Vec<_> = accepted.fields().collect();
                responder.upgrade(fields.as_slice())
            }
            Err(rejection) => responder.send(rejection.status(), rejection.fields(), b""),
        }
    }

    fn switched(&mut self) -> Option<Self::Next> {
        Some(proto_ws::Server::new(Arc::clone(&self.0), Echo))
    }
}

/// Masking keys that are not secret.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0x5a);
    }
}

/// Sends a number of messages of many sizes, one after the other, and closes.
struct Talking {
    id: usize,
    left: usize,
    echoes: usize,
    pongs: usize,
    closed: Option<u16>,
}

impl Talking {
    fn new(id: usize, left: usize) -> Self {
        Talking {
            id,
            left,
            echoes: 0,
            pongs: 0,
            closed: None,
        }
    }

    fn len(&self) -> usize {
        self.id * 53 % 7000
    }

    fn say(&mut self, socket: &mut Socket<'_, '_, Masked<Fixed>>) -> Result<(), proto_ws::Misuse> {
        match self.left.checked_sub(1) {
            None => socket.close(CloseCode::NORMAL, "done"),
            Some(left) => {
                self.left = left;
                socket.binary(&vec![self.id as u8; self.len()]).map(drop)
            }
        }
    }
}

impl proto_ws::Handler<Masked<Fixed>> for Talking {
    type Message = Infallible;

    fn opened(&mut self, socket: &mut Socket<'_, '_, Masked<Fixed>>) -> Result<(), proto_ws::Misuse> {
        if self.left > 0 { self.say(socket) } else { Ok(()) }
    }

    fn message(
        &mut self,
        message: Message<'_>,
        socket: &mut Socket<'_, '_, Masked<Fixed>>,
    ) -> Result<(), proto_ws::Misuse> {
        let bytes = message.as_bytes();
        assert!(bytes.len() == self.len() && bytes.iter().all(|&byte| byte == self.id as u8));
        self.echoes += 1;
        self.say(socket)
    }

    fn pong(
        &mut self,
        _: &[u8],
        _: Option<Duration>,
        _: &mut Socket<'_, '_, Masked<Fixed>>,
    ) -> Result<(), proto_ws::Misuse> {
        self.pongs += 1;
        Ok(())
    }

    fn closed(&mut self, code: CloseCode, _: &str) {
        self.closed = Some(code.get());
    }
}

type WsPairs = Sim<WsClient<Talking, Fixed>, Switch<HttpServer<Door>>>;

fn open(sim: &mut WsPairs, after: Duration, talking: Talking, config: &Arc<Config>) -> usize {
    let opening = Arc::new(Opening::new("a", "/"));
    let client = WsClient::new(Arc::clone(config), opening, Fixed, talking);
    let door = HttpServer::switching(Arc::new(ServerConfig::default()), Door(Arc::clone(config)));
    sim.open(after, client, door)
}

#[test]
fn websocket_in_any_weather() {
    let seed = seed();
    for weather in [Weather::default(), Weather::calm()] {
        let mut sim = WsPairs::new(weather, Limits::default(), seed);
        let config = Arc::new(Config::default());
        for id in 0..PAIRS {
            open(
                &mut sim,
                Duration::from_millis(id as u64 / 10),
                Talking::new(id, 1 + id % 5),
                &config,
            );
        }
        let (mut cut, mut ended) = (0, 0);
        sim.run(Duration::from_secs(600), |pair| {
            ended += 1;
            if pair.cut {
                cut += 1;
                return;
            }
            let talking = pair.a.handler();
            let seen = (pair.a_reason, pair.b_reason, talking.echoes, talking.closed);
            let expected = (Reason::Closed, Reason::Closed, 1 + pair.id % 5, Some(1000));
            assert_eq!(seen, expected, "SIM_SEED={seed}, pair {}", pair.id);
        });
        assert_eq!((ended, sim.live()), (PAIRS, 0), "SIM_SEED={seed}");
        assert_eq!(cut == 0, weather == Weather::calm());
    }
}

/// A month of silence, longer than the range of a connection's own ticks: Pings at their interval keep the connections open, and a stop
/// ends them in order.
#[test]
fn days_of_silence() {
    let begun = Instant::now();
    let mut sim = WsPairs::new(Weather::calm(), Limits::default(), seed());
    let mut config = Config::default();
    config.ping_interval = Some(Duration::from_secs(60));
    let config = Arc::new(config);
    let pairs: Vec<usize> = (0..20)
        .map(|id| open(&mut sim, Duration::ZERO, Talking::new(id, 0), &config))
        .collect();
    sim.run(Duration::from_secs(DAYS * 24 * 3600), |pair| {
        panic!("pair {} ended: {:?}", pair.id, pair.a_reason)
    });
    for &id in &pairs {
        let (client, _) = sim.pair(id).unwrap();
        // Both sides send Pings; a received frame puts off a side's own Ping.
        let pongs = client.handler().pongs;
        let minutes = DAYS as usize * 24 * 60;
        assert!((minutes / 3..=minutes).contains(&pongs), "{pongs} pongs in {DAYS} days");
        sim.stop(Duration::from_secs(1), id, End::B);
    }
    let mut ended = 0;
    sim.run(Duration::from_secs(10), |pair| {
        assert_eq!((pair.a_reason, pair.b_reason), (Reason::Closed, Reason::Closed));
        assert_eq!(pair.a.handler().closed, Some(1001));
        ended += 1;
    });
    assert_eq!((ended, sim.live()), (20, 0));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// Sends `said`, then a byte at each interval of `trickle` if there is one, until the stream ends.
struct Says {
    said: &'static [u8],
    trickle: Option<Duration>,
    next: Option<Instant>,
    heard: Vec<u8>,
}

impl Says {
    fn once(said: &'static [u8]) -> Self {
        Says {
            said,
            trickle: None,
            next: None,
            heard: Vec::new(),
        }
    }
}

impl protocol::Protocol for Says {
    type Message = ();
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(self.said);
        self.next = self.trickle.map(|trickle| cx.now() + trickle);
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        self.heard.extend_from_slice(input.take_all());
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(b"x");
        self.next = self.trickle.map(|trickle| cx.now() + trickle);
        Ok(())
    }
}

/// A handshake, and nothing behind it.
const OPENING: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The same, and the first half of a message.
const HALF: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x01\x81\0\0\0\0a";

/// The time that a silent client may take is limited, to the second: for a missing Pong, the end of a message, or the answer to a Close
/// frame.
#[test]
fn deadlines_of_websocket() {
    let door = |config: &Arc<Config>| HttpServer::switching(Arc::default(), Door(Arc::clone(config)));
    // The bytes sent, the second of the stop, the second of the end, and its reason.
    for (said, stop, end, reason) in [
        (OPENING, None, 50, Reason::Error),
        (HALF, None, 5, Reason::Error),
        (OPENING, Some(10), 15, Reason::Aborted),
    ] {
        let mut sim = Sim::new(Weather::calm(), Limits::default(), seed());
        let mut config = Config::default();
        config.message_timeout = Duration::from_secs(5);
        let config = Arc::new(config);
        for _ in 0..SILENT {
            let id = sim.open(Duration::ZERO, Says::once(said), door(&config));
            if let Some(stop) = stop {
                sim.stop(Duration::from_secs(stop), id, End::B);
            }
        }
        let early = Duration::from_secs(end) - Duration::from_millis(10);
        sim.run(early, |pair| panic!("pair {} ended early", pair.id));
        let mut reasons = Vec::new();
        sim.run(Duration::from_millis(500), |pair| reasons.push(pair.b_reason));
        assert_eq!(reasons, [reason; SILENT]);
    }
}

/// A slow HTTP client, silent or trickling, is closed at its deadline, to the second, with a 408 if its request has begun. A client
/// without a request under way is closed at once when the server stops.
#[test]
fn deadlines_of_http() {
    let second = Some(Duration::from_secs(1));
    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX: ";
    const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const BODY: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nabc";
    // The bytes sent, the interval of further bytes, the second of the server's stop, the second of the end, and the response.
    for (said, trickle, stop, end, heard) in [
        (&b""[..], None, None, 30, ""),
        (HEAD, None, None, 30, "HTTP/1.1 408 "),
        (HEAD, second, None, 30, "HTTP/1.1 408 "),
        (ASKED, None, None, 60, "HTTP/1.1 200 "),
        (BODY, None, None, 30, "HTTP/1.1 408 "),
        (BODY, second, None, 30, "HTTP/1.1 408 "),
        (b"", None, Some(5), 5, ""),
        (ASKED, None, Some(5), 5, "HTTP/1.1 200 "),
        (BODY, None, Some(5), 30, "HTTP/1.1 408 "),
    ] {
        let mut sim = Sim::new(Weather::calm(), Limits::default(), seed());
        for _ in 0..SILENT {
            let says = Says {
                trickle,
                ..Says::once(said)
            };
            let id = sim.open(Duration::ZERO, says, http_server());
            if let Some(stop) = stop {
                sim.stop(Duration::from_secs(stop), id, End::B);
            }
        }
        let early = Duration::from_secs(end) - Duration::from_millis(10);
        sim.run(early, |pair| panic!("pair {} ended early", pair.id));
        let mut ended = 0;
        sim.run(Duration::from_secs(1), |pair| {
            let said = said.escape_ascii();
            let answer = pair.a.heard.escape_ascii();
            assert!(pair.a.heard.starts_with(heard.as_bytes()), "{said}: {answer}");
            assert_eq!(pair.a.heard.is_empty(), heard.is_empty(), "{said}: {answer}");
            assert_eq!(pair.a_reason, Reason::Closed, "{said}");
            ended += 1;
        });
        assert_eq!((ended, sim.live()), (SILENT, 0), "{}", said.escape_ascii());
    }
}

/// Sends commands of many sizes, several at once, and closes when all are answered.
struct Commanding {
    id: usize,
    replies: usize,
    messages: usize,
    unanswered: usize,
}

impl Commanding {
    fn commands(&self) -> usize {
        1 + self.id % 6
    }

    fn payload(&self, ticket: usize) -> Vec<u8> {
        vec![self.id as u8; (self.id * 37 + ticket * 211) % 2000]
    }
}

impl proto_resp::Caller for Commanding {
    type Message = Infallible;
    type Ticket = usize;

    fn ready(
        &mut self,
        _: proto_resp::Value,
        requester: &mut proto_resp::Requester<'_, '_, usize>,
    ) -> Result<(), proto_resp::Misuse> {
        for ticket in 0..self.commands() {
            requester.command(ticket, &("ECHO", self.payload(ticket)))?;
        }
        requester.command(usize::MAX, &("SUBSCRIBE", "a", "b"))?;
        requester.close();
        Ok(())
    }

    fn reply(
        &mut self,
        ticket: usize,
        reply: proto_resp::Value,
        _: &mut proto_resp::Requester<'_, '_, usize>,
    ) -> Result<(), proto_resp::Misuse> {
        if ticket == usize::MAX {
            assert_eq!(reply.as_slice().map(<[_]>::len), Some(2));
            return Ok(());
        }
        assert_eq!(ticket, self.replies, "out of order");
        assert_eq!(reply.as_bytes(), Some(&self.payload(ticket)[..]));
        self.replies += 1;
        Ok(())
    }

    fn push(
        &mut self,
        push: proto_resp::Push,
        _: &mut proto_resp::Requester<'_, '_, usize>,
    ) -> Result<(), proto_resp::Misuse> {
        assert_eq!(push.published().map(|published| published.channel), Some(&b"news"[..]));
        self.messages += 1;
        Ok(())
    }

    fn closed(&mut self, _: Option<proto_resp::ClientError>, _: Reason, unanswered: proto_resp::Unanswered<'_, usize>) {
        self.unanswered = unanswered.into_iter().count();
    }
}

/// Answers with the command, and sends a push message before each answer.
fn resp_answer(
    command: &proto_resp::Command<'_>,
    responder: &mut proto_resp::Responder<'_, '_>,
) -> Result<(), proto_resp::Misuse> {
    if command.is("SUBSCRIBE") {
        for (at, channel) in command.iter().enumerate() {
            responder.push(|push, out| {
                push.push(3, out)?;
                push.bulk(b"subscribe", out)?;
                push.bulk(channel, out)?;
                push.integer(at as i64 + 1, out)
            })?;
        }
        return responder.none();
    }
    responder.prepared_push(&proto_resp::PreparedPush::message(b"news", b"!")?)?;
    responder.bulk(command.iter().next().unwrap_or_default())
}

type RespAnswer = fn(&proto_resp::Command<'_>, &mut proto_resp::Responder<'_, '_>) -> Result<(), proto_resp::Misuse>;

/// Returns the numbers of replies and of pairs cut, and a digest of the run.
fn resp_run(seed: u64, weather: Weather) -> (usize, usize, u64) {
    let mut sim = Sim::new(weather, Limits::default(), seed);
    for id in 0..PAIRS {
        let commanding = Commanding {
            id,
            replies: 0,
            messages: 0,
            unanswered: 0,
        };
        sim.open(
            Duration::from_millis(id as u64 / 10),
            proto_resp::Client::new(Arc::default(), commanding),
            proto_resp::Server::new(Arc::default(), resp_answer as RespAnswer),
        );
    }
    let (mut replies, mut cut) = (0, 0);
    sim.run(Duration::from_secs(600), |pair| {
        let caller = pair.a.caller();
        replies += caller.replies;
        // Every command is answered, or its ticket is returned as unanswered; and the push message came in front of the reply.
        assert!(caller.messages >= caller.replies);
        if pair.cut {
            cut += 1;
            return;
        }
        let ends = (pair.a_reason, pair.b_reason);
        assert_eq!(
            ends,
            (Reason::Closed, Reason::Closed),
            "SIM_SEED={seed}, pair {}",
            pair.id
        );
        assert_eq!(
            (caller.replies, caller.messages, caller.unanswered),
            (caller.commands(), caller.commands(), 0),
            "SIM_SEED={seed}, pair {}",
            pair.id
        );
    });
    assert_eq!(sim.live(), 0, "SIM_SEED={seed}");
    (replies, cut, sim.digest())
}

#[test]
fn resp_in_any_weather() {
    let seed = seed();
    let (replies, cut, digest) = resp_run(seed, Weather::default());
    assert!(cut > 0 && cut < PAIRS / 5, "{cut} of {PAIRS} were cut");
    assert!(replies > PAIRS * 3, "{replies}");
    let (calm, uncut, _) = resp_run(seed, Weather::calm());
    assert_eq!((calm, uncut), ((0..PAIRS).map(|id| 1 + id % 6).sum(), 0));
    assert_eq!(resp_run(seed, Weather::default()), (replies, cut, digest));
}
