//! Known attacks on WebSocket servers, over sockets, on every driver. Each test is named by its id in docs/security.md. It checks the Close
//! frame, that the connection then ends, and that an honest client of the same server is still served.

#[macro_use]
mod common;
#[path = "common/hosts.rs"]
mod hosts;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::eventually;
use driver_common::Stats;
use driver_common::host::{Host, Hosted};
use proto_http::{Handler, Misuse, Request, Responder, ServerConfig};
use proto_ws::handshake::server::{OriginPolicy, Request as Handshake};
use proto_ws::{Client, CloseCode, Config, Connection, Entropy, Masked, Message, Opening, Socket, Unmasked};
use protocol::Limits;

/// Accepts handshakes from pages of its own host.
struct Door {
    config: Arc<Config>,
    /// What the connection becomes.
    next: Option<Box<proto_ws::Server<Echo>>>,
}

/// Sends every message back; closes on the message `bye`.
struct Echo;

impl proto_ws::Handler for Echo {
    type Message = Infallible;

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_, Unmasked>) -> Result<(), proto_ws::Misuse> {
        match message {
            Message::Text("bye") => socket.close(CloseCode::NORMAL, ""),
            message => socket.message(message).map(drop),
        }
    }
}

impl Handler for Door {
    type Message = Infallible;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        let handshake = Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value)));
        let checked = handshake.and_then(|handshake| {
            handshake.check_origin(&OriginPolicy::SameHost)?;
            Ok(handshake)
        });
        match checked {
            Ok(handshake) => {
                let accepted = handshake.accept().deflate(&self.config.deflate);
                let connection = Connection::server(Arc::clone(&self.config)).accepted(&accepted);
                let fields: Vec<_> = accepted.fields().collect();
                responder.upgrade(fields.as_slice())?;
                self.next = Some(Box::new(proto_ws::Server::with(connection, Echo)));
                Ok(())
            }
            Err(rejection) => responder.send(rejection.status(), rejection.fields(), b""),
        }
    }

    fn switched(&mut self) -> Option<Self::Next> {
        self.next.take().map(|next| *next)
    }
}

/// A server and an honest client.
struct Scene {
    running: Box<dyn Hosted>,
    to: SocketAddr,
    honest: TcpStream,
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65536 => {
            frame.push(0xfe);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0xff);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn request(more: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Opens a connection; returns it with the head of the answer.
fn open(to: SocketAddr, more: &str) -> (TcpStream, String) {
    let mut stream = connect(to);
    stream.write_all(request(more).as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

/// The next frame of the server: first byte and payload.
fn next(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    stream.read_exact(&mut start)?;
    let mut wide = [0; 8];
    let len = match start[1] {
        126 => {
            stream.read_exact(&mut wide[6..])?;
            u64::from_be_bytes(wide)
        }
        127 => {
            stream.read_exact(&mut wide)?;
            u64::from_be_bytes(wide)
        }
        short => u64::from(short),
    };
    let mut payload = vec![0; len as usize];
    stream.read_exact(&mut payload)?;
    Ok((start[0], payload))
}

/// Reads up to the Close frame, behind which the server ends the stream. Returns its code, and the frames before it.
fn closed(stream: &mut TcpStream) -> (u16, Vec<(u8, Vec<u8>)>) {
    let mut before = Vec::new();
    loop {
        let (first, payload) = next(stream).unwrap();
        if first == 0x88 {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "bytes behind the Close frame");
            return (u16::from_be_bytes([payload[0], payload[1]]), before);
        }
        before.push((first, payload));
    }
}

impl Scene {
    fn new(host: &impl Host) -> Self {
        Self::with(host, Limits::default(), |_| {})
    }

    fn with(host: &impl Host, limits: Limits, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let config = Arc::new(config);
        let mut http = ServerConfig::default();
        http.timeouts.head = Some(Duration::from_millis(300));
        let http = Arc::new(http);
        let factory = move |_: &protocol::Peer<'_, _>| {
            let door = Door {
                config: Arc::clone(&config),
                next: None,
            };
            Some(proto_http::Server::switching(Arc::clone(&http), door))
        };
        let mut settings = driver_common::Config::default();
        settings.limits = limits;
        let running = host.serve(settings, 1, factory);
        let to = running.address().unwrap();
        let (honest, head) = open(to, "");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut scene = Scene { running, to, honest };
        scene.still_serves();
        scene
    }

    fn still_serves(&mut self) {
        self.honest.write_all(&frame(0x81, b"honest")).unwrap();
        assert_eq!(next(&mut self.honest).unwrap(), (0x81, b"honest".to_vec()));
    }

    /// Checks that `bytes` are at last answered by a Close frame with `code`.
    fn fails(&mut self, bytes: &[u8], code: u16) -> Vec<(u8, Vec<u8>)> {
        self.fails_asking("", bytes, code)
    }

    fn fails_asking(&mut self, more: &str, bytes: &[u8], code: u16) -> Vec<(u8, Vec<u8>)> {
        let (mut stream, _) = open(self.to, more);
        stream.write_all(bytes).unwrap();
        let (closed, before) = closed(&mut stream);
        assert_eq!(closed, code, "{}", bytes[..bytes.len().min(40)].escape_ascii());
        self.still_serves();
        before
    }

    fn end(self) -> Stats {
        drop(self.honest);
        let stats = self.running.stop(Duration::from_secs(5));
        assert_eq!((stats.panics, stats.active), (0, 0), "{stats:?}");
        stats
    }
}

fn w01_claimed_length(host: &impl Host) {
    let mut scene = Scene::new(host);
    // Refused at the header, before any payload arrived.
    scene.fails(&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1009);
    scene.end();
}

fn w02_length_overflow(host: &impl Host) {
    let mut scene = Scene::new(host);
    scene.fails(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002);
    let rest = [0x80, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    scene.fails(&[frame(0x02, b"first"), rest.to_vec()].concat(), 1009);
    scene.fails(&[0x82, 0xfe, 0, 125], 1002);
    scene.end();
}

fn w03_endless_fragments(host: &impl Host) {
    let mut scene = Scene::with(host, Limits::default(), |config| {
        config.limits.fragments = 1000;
        config.message_timeout = Duration::from_millis(300);
    });
    let tiny = |count| [frame(0x02, b"x"), frame(0x00, b"x").repeat(count)].concat();
    scene.fails(&tiny(1000), 1008);
    let large = [frame(0x02, &[0; 65536]), frame(0x00, &[0; 65536]).repeat(16)].concat();
    scene.fails(&large, 1009);
    // A message that never ends has a deadline.
    scene.fails(&tiny(10), 1008);
    scene.end();
}

fn w04_empty_fragments(host: &impl Host) {
    let mut scene = Scene::new(host);
    scene.fails(&[frame(0x01, b""), frame(0x00, b"").repeat(16)].concat(), 1008);
    scene.end();
}

fn w05_ping_flood(host: &impl Host) {
    let mut scene = Scene::new(host);
    let answers = scene.fails(&frame(0x89, &[b'p'; 100]).repeat(300), 1008);
    assert!(answers.len() <= 256 && answers.iter().all(|(first, _)| *first == 0x8a));
    scene.fails(&frame(0x8a, b"").repeat(300), 1008);
    scene.end();
}

/// The offer of permessage-deflate.
const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

fn w06_deflate_bomb(host: &impl Host) {
    let mut scene = Scene::new(host);
    let (_, head) = open(scene.to, DEFLATE);
    assert!(head.contains("permessage-deflate"), "{head}");
    // Zeros, in blocks of fixed codes: one literal, then the longest matches one byte back, a thousandth of their size.
    let bomb = bomb(8 << 20);
    assert!(bomb.len() < 64 * 1024);
    scene.fails_asking(DEFLATE, &frame(0xc2, &bomb), 1009);
    // Bytes that are not a deflate stream.
    scene.fails_asking(DEFLATE, &frame(0xc1, &[0xff; 20]), 1007);
    // A compressed frame without negotiated compression.
    scene.fails(&frame(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00"), 1002);
    scene.end();
}

/// A deflate block with fixed codes (RFC 1951 section 3.2.6) of about `size` zeros.
fn bomb(size: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // Not the last block, fixed codes; the literal 0.
    bits.push(0b010, 3);
    bits.code(0x30, 8);
    for _ in 0..size / 258 {
        // Length 258 is code 285, 0b11000101; distance 1 is code 0, five bits.
        bits.code(0b1100_0101, 8);
        bits.code(0, 5);
    }
    // The end of the block, and an empty stored one without its last four bytes.
    bits.code(0, 7);
    bits.push(0, 3);
    bits.bytes
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    /// Appends bits, the lowest first, as for numbers.
    fn push(&mut self, bits: u32, count: u32) {
        for i in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(bits >> i & 1 == 1) << (self.used % 8);
            }
            self.used += 1;
        }
    }

    /// Appends bits, the highest first, as for Huffman codes.
    fn code(&mut self, code: u32, count: u32) {
        for i in (0..count).rev() {
            self.push(code >> i & 1, 1);
        }
    }
}

fn w07_window_bits(host: &impl Host) {
    let mut scene = Scene::new(host);
    for bits in ["7", "16", "0", "-1", "abc", "8.0", "99999999999999999999", "\"\""] {
        let (mut stream, head) = open(
            scene.to,
            &format!("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}\r\n"),
        );
        // Such an offer is declined, and the connection is opened without compression.
        let declined = head.starts_with("HTTP/1.1 101 ") && !head.contains("permessage-deflate");
        assert!(declined || head.starts_with("HTTP/1.1 400 "), "{bits}: {head}");
        if declined {
            stream.write_all(&frame(0x81, b"plain")).unwrap();
            assert_eq!(next(&mut stream).unwrap(), (0x81, b"plain".to_vec()));
        }
    }
    scene.still_serves();
    scene.end();
}

/// The server has closed; the client neither answers nor ends the stream.
fn w08_unanswered_close(host: &impl Host) {
    let mut scene = Scene::with(host, Limits::default(), |config| {
        config.close_timeout = Duration::from_millis(300);
    });
    let (mut stream, _) = open(scene.to, "");
    stream.write_all(&frame(0x81, b"bye")).unwrap();
    assert_eq!(next(&mut stream).unwrap(), (0x88, vec![0x03, 0xe8]));
    let begun = Instant::now();
    // Then the connection is dropped.
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    assert!(
        (200..5000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    eventually("only the honest are left", || scene.running.stats().active == 1);
    scene.still_serves();
    scene.end();
}

/// A client that asks for megabytes and does not read is no longer read from, and is dropped at the write timeout.
fn w09_reader_that_stops(host: &impl Host) {
    let limits = Limits::default().write_timeout(Some(Duration::from_millis(500)));
    let mut scene = Scene::with(host, limits, |_| {});
    let (mut stream, _) = open(scene.to, "");
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let message = frame(0x82, &[7; 65536]);
    // In the end the server takes no more bytes, and then it resets.
    let written = (0..2000).take_while(|_| stream.write_all(&message).is_ok()).count();
    assert!(written < 2000, "the server read everything");
    scene.still_serves();
    eventually("the connection is dropped", || {
        scene.running.stats().write_timeouts == 1
    });
    scene.end();
}

/// Masking keys that are not secret.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// Reports how its connection ended.
struct Watching(Arc<Mutex<Vec<&'static str>>>);

impl proto_ws::Handler<Masked<Fixed>> for Watching {
    type Message = Infallible;

    fn opened(&mut self, _: &mut Socket<'_, '_, Masked<Fixed>>) -> Result<(), proto_ws::Misuse> {
        self.0.lock().unwrap().push("opened");
        Ok(())
    }

    fn message(&mut self, _: Message<'_>, _: &mut Socket<'_, '_, Masked<Fixed>>) -> Result<(), proto_ws::Misuse> {
        self.0.lock().unwrap().push("message");
        Ok(())
    }
}

fn w10_endless_handshake(host: &impl Host) {
    let mut scene = Scene::new(host);
    // As a server: half a request is answered when its time is over.
    let mut stream = connect(scene.to);
    let half = request("");
    stream.write_all(&half.as_bytes()[..half.len() - 2]).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(
        got,
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    scene.still_serves();
    scene.end();

    // As a client: a server that says nothing, and one that says it too late.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(300);
    let config = Arc::new(config);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watching = Watching(Arc::clone(&seen));
    let to = listener.local_addr().unwrap();
    let client = host.connect(Default::default(), to, move |_| {
        Client::new(config, Arc::new(Opening::new("a", "/")), Fixed, watching)
    });
    let (mut server, _) = listener.accept().unwrap();
    let mut asked = Vec::new();
    server.read_to_end(&mut asked).unwrap();
    assert!(asked.starts_with(b"GET / HTTP/1.1\r\n"));
    let late = server.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
    drop((late, server));
    assert_eq!(client.join().errors, 1);
    assert!(seen.lock().unwrap().is_empty());
}

fn w11_hijack(host: &impl Host) {
    let mut scene = Scene::new(host);
    for (origin, status) in [
        ("http://evil.example", "403 Forbidden"),
        ("null", "403 Forbidden"),
        ("http://a", "101 "),
    ] {
        let (_, head) = open(scene.to, &format!("Origin: {origin}\r\n"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{origin}: {head}");
    }
    scene.still_serves();
    scene.end();
}

fn w12_broken_frames(host: &impl Host) {
    let mut scene = Scene::new(host);
    for (bytes, code) in [
        (b"\x81\x01a".to_vec(), 1002),
        (frame(0xc1, b""), 1002),
        (frame(0xa1, b""), 1002),
        (frame(0x83, b""), 1002),
        (frame(0x8f, b""), 1002),
        (vec![0x89, 0xfe, 0, 126], 1002),
        (frame(0x09, b""), 1002),
        (frame(0x80, b""), 1002),
        ([frame(0x01, b""), frame(0x81, b"")].concat(), 1002),
        (frame(0x88, b"\x03"), 1002),
        (frame(0x88, b"\x03\xed"), 1002),
        (frame(0x88, b"\x03\xe8\xff"), 1007),
        (frame(0x81, b"\xc0\x80"), 1007),
        ([frame(0x01, b"a\xe2\x82"), frame(0x80, b"\x41")].concat(), 1007),
        // Refused before the frame is complete, at the first bytes that cannot be valid.
        (
            frame(0x81, &[b"ok \xf4\x90", &[b'x'; 100][..]].concat())[..11].to_vec(),
            1007,
        ),
    ] {
        scene.fails(&bytes, code);
    }
    scene.end();
}

/// Every byte sent back was sent by the client, at every length where the framing changes.
fn w13_no_foreign_bytes(host: &impl Host) {
    let scene = Scene::new(host);
    let (mut stream, _) = open(scene.to, "");
    for len in [0_usize, 1, 125, 126, 4095, 65535, 65536, 70_000, 1 << 20] {
        let payload: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        stream.write_all(&frame(0x82, &payload)).unwrap();
        let (first, back) = next(&mut stream).unwrap();
        assert!(first == 0x82 && back == payload, "{len}");
    }
    drop(stream);
    scene.end();
}

fn w14_offers(host: &impl Host) {
    let mut scene = Scene::new(host);
    for name in ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"] {
        let list = (0..33).map(|i| format!("x{i}")).collect::<Vec<_>>().join(", ");
        let lines = format!("{name}: x\r\n").repeat(5);
        let backtracking = format!("{name}: x; a=\"{}\r\n", "\\\"; ".repeat(8000));
        for offers in [format!("{name}: {list}\r\n"), lines, backtracking] {
            let begun = Instant::now();
            let (_, head) = open(scene.to, &offers);
            // Names that are not tokens cannot be chosen, and are no reason to refuse.
            let passed = offers.contains("a=\"") && name == "Sec-WebSocket-Protocol";
            let status = if passed { "HTTP/1.1 101 " } else { "HTTP/1.1 400 " };
            assert!(head.starts_with(status), "{head}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    }
    scene.still_serves();
    scene.end();
}

/// One client sends without pause; the other one is still served.
fn w15_chatty_peer(host: &impl Host) {
    let mut scene = Scene::new(host);
    let (mut chatty, _) = open(scene.to, "");
    let mut listening = chatty.try_clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let talker = thread::spawn(move || {
        let messages = frame(0x81, b"chat chat chat").repeat(4000);
        while !stopping.load(Ordering::Relaxed) && chatty.write_all(&messages).is_ok() {}
        drop(chatty.shutdown(std::net::Shutdown::Both));
    });
    let listener = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while listening.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    let end = Instant::now() + Duration::from_secs(1);
    let mut worst = Duration::ZERO;
    let mut turns = 0;
    while Instant::now() < end {
        let begun = Instant::now();
        scene.still_serves();
        worst = worst.max(begun.elapsed());
        turns += 1;
    }
    stop.store(true, Ordering::Relaxed);
    talker.join().unwrap();
    listener.join().unwrap();
    assert!(
        turns >= 5 && worst < Duration::from_secs(5),
        "{turns} turns, the worst {worst:?}"
    );
    scene.end();
}

on_every_host! {
    w01: w01_claimed_length;
    w02: w02_length_overflow;
    w03: w03_endless_fragments;
    w04: w04_empty_fragments;
    w05: w05_ping_flood;
    w06: w06_deflate_bomb;
    w07: w07_window_bits;
    w08: w08_unanswered_close;
    w09: w09_reader_that_stops;
    w10: w10_endless_handshake;
    w11: w11_hijack;
    w12: w12_broken_frames;
    w13: w13_no_foreign_bytes;
    w14: w14_offers;
    w15: w15_chatty_peer;
}
