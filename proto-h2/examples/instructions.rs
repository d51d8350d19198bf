//! Answers a number of requests in memory, for a profiler that counts instructions:
//!
//! ```sh
//! cargo build --profile profiling -p wirestate-h2 --example instructions
//! valgrind --tool=callgrind target/profiling/examples/instructions codec 1000
//! ```
//!
//! The difference between runs of 1,000 and 2,000 requests is the cost of 1,000, without start-up.

// A program may look at the clock; the crate may not.
#![allow(clippy::disallowed_methods)]

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Buf, BytesMut};
use proto_h2::hpack::{Decoder, Encoder, Indexing};
use proto_h2::{
    ClientConnection, Head, Limits, Misuse, Scratch, Server, ServerConfig, ServerConnection, ServerEvent, StreamMessage,
};
use proto_http::{FieldBlock, Request, Responder};
use protocol::{Control, Cx, Input, Mailbox, Output, Peer, PeerSource, Protocol, SendError, Sender};

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// What a client sends: its start, its first request, and those that follow, all from the table but for their streams.
struct Requests {
    start: Vec<u8>,
    next: Vec<u8>,
    stream: u32,
}

impl Requests {
    fn new() -> Self {
        let limits = Limits::DEFAULT;
        let mut client = ClientConnection::new();
        let (mut start, mut next) = (Vec::new(), Vec::new());
        client
            .start(&limits, &mut start)
            .unwrap_or_else(|error| panic!("{error}"));
        let head = Head::new("GET", "http", "127.0.0.1:8080", "/");
        let fields = [("user-agent", "h2load nghttp2/1.52.0")];
        for out in [&mut start, &mut next] {
            let stream = client.request(head, &fields, &limits, out);
            black_box(stream.unwrap_or_else(|error| panic!("{error}")));
        }
        Self { start, next, stream: 3 }
    }

    /// `count` requests behind each other.
    fn piece(&self, count: usize) -> Vec<u8> {
        self.next.repeat(count)
    }

    /// The streams of the requests in `piece` are the next ones.
    fn renew(&mut self, piece: &mut [u8]) {
        for request in piece.chunks_mut(self.next.len()) {
            request[5..9].copy_from_slice(&self.stream.to_be_bytes());
            self.stream += 2;
        }
    }
}

fn codec(count: usize, per_call: usize) {
    let fields = FieldBlock::new("Content-Type: text/plain\r\n").unwrap_or_else(|error| panic!("{error}"));
    let (limits, mut scratch, mut out) = (Limits::DEFAULT, Scratch::new(), BytesMut::new());
    let mut connection = ServerConnection::new();
    let _ = connection.start(&limits, &mut out);
    let mut requests = Requests::new();
    let mut piece = requests.start.clone();
    for n in 0..=count / per_call {
        if n == 1 {
            piece = requests.piece(per_call);
        }
        if n > 0 {
            requests.renew(&mut piece);
        }
        let mut input = black_box(&piece[..]);
        while let Ok(Some(event)) = connection.next(&limits, &mut input, &mut scratch, &mut out) {
            if let ServerEvent::Request { stream, request, .. } = event {
                black_box(request.path());
                let sent = connection.respond(stream, 200, &fields, b"Hello, World!", Some(DATE), &limits, &mut out);
                black_box(sent.is_ok());
            }
        }
        out.clear();
    }
}

struct Nobody;

impl Mailbox<StreamMessage<Infallible>> for Nobody {
    fn send(&self, _: u64, message: StreamMessage<Infallible>) -> Result<(), SendError<StreamMessage<Infallible>>> {
        Err(SendError::Closed(message))
    }
}

impl PeerSource<StreamMessage<Infallible>> for Nobody {
    fn remote(&self) -> Option<std::net::SocketAddr> {
        None
    }
    fn local(&self) -> Option<std::net::SocketAddr> {
        None
    }
    fn sender(&self) -> Sender<StreamMessage<Infallible>> {
        Sender::new(Arc::new(Nobody), 0)
    }
}

fn adapter(count: usize, per_call: usize) {
    let fields = FieldBlock::new("Content-Type: text/plain\r\n").unwrap_or_else(|error| panic!("{error}"));
    let factory = |_: &Peer<'_, Infallible>| {
        Some(
            move |request: &Request<'_>, responder: &mut Responder<'_, '_>| -> Result<(), Misuse> {
                match (request.method(), request.path()) {
                    ("GET", "/") => responder.send(200, &fields, b"Hello, World!"),
                    _ => responder.send(404, &(), b""),
                }
            },
        )
    };
    let config = Arc::new(ServerConfig::new(SystemTime::now));
    let mut server = Server::new(config, factory, &Peer::new(&Nobody));
    let (mut output, mut control, now) = (Output::new(), Control::default(), Instant::now());
    let limits = protocol::Limits::default();
    let mut cx = Cx::new(now, &mut output, &mut control, &limits);
    let _ = server.connected(&mut cx);
    let mut requests = Requests::new();
    let mut piece = requests.start.clone();
    for n in 0..=count / per_call {
        if n == 1 {
            piece = requests.piece(per_call);
        }
        if n > 0 {
            requests.renew(&mut piece);
        }
        let mut input = Input::new(black_box(&mut piece));
        let mut cx = Cx::new(now, &mut output, &mut control, &limits);
        server
            .received(&mut cx, &mut input)
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(input.is_empty());
        black_box(server.deadline());
        let length = output.len();
        output.advance(black_box(length));
    }
}

/// The first request of a browser, Huffman coded, each on a connection of its own.
fn browser(count: usize) {
    let fields: [(&str, &str); 12] = [
        (":method", "GET"),
        (":authority", "www.example.com"),
        (":scheme", "https"),
        (":path", "/"),
        ("sec-ch-ua-platform", "\"Linux\""),
        ("upgrade-insecure-requests", "1"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        ),
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-US,en;q=0.9,de;q=0.8"),
    ];
    let (mut encoder, mut block) = (Encoder::new(), Vec::new());
    for (name, value) in fields {
        let _ = encoder.field(name.as_bytes(), value.as_bytes(), Indexing::Auto, &mut block);
    }
    for _ in 0..count {
        let mut decoder = Decoder::new(4096);
        let decoded = decoder.decode(black_box(&block), |name, value, _| {
            black_box((name, value));
        });
        black_box(decoded.is_ok());
    }
}

/// DATA of 16 KiB, beyond its hand-over.
fn data(count: usize) {
    let mut limits = Limits::DEFAULT;
    limits.body = None;
    let (mut scratch, mut out, mut client_out) = (Scratch::new(), BytesMut::new(), Vec::new());
    let mut client = ClientConnection::new();
    let _ = client.start(&limits, &mut client_out);
    let head = Head::new("POST", "http", "a", "/");
    let _ = client.start_request(head, &(), None, &limits, &mut client_out);
    let mut connection = ServerConnection::new();
    let _ = connection.start(&limits, &mut out);
    let mut input = &client_out[..];
    while let Ok(Some(_)) = connection.next(&limits, &mut input, &mut scratch, &mut out) {}
    let mut frame = vec![0, 64, 0, 0, 0, 0, 0, 0, 1];
    frame.extend(vec![0; 16_384]);
    for _ in 0..count {
        let mut input = black_box(&frame[..]);
        while let Ok(Some(event)) = connection.next(&limits, &mut input, &mut scratch, &mut out) {
            if let ServerEvent::Data { stream, data } = event {
                let length = black_box(data).len();
                let _ = connection.consume(stream, length, &limits, &mut out);
            }
        }
        out.clear();
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
    match &*what {
        "codec" => codec(count, 1),
        "adapter" => adapter(count, 1),
        "adapter-16" => adapter(count, 16),
        "browser" => browser(count),
        "data" => data(count),
        _ => println!("codec | adapter | adapter-16 | browser | data, and a count"),
    }
}
