//! Answers a number of requests in memory, for a profiler that counts instructions:
//!
//! ```sh
//! cargo build --profile profiling -p wirestate-http --example instructions
//! valgrind --tool=callgrind target/profiling/examples/instructions get 1000
//! ```
//!
//! The difference between runs of 1,000 and 2,000 requests is the cost of 1,000, without start-up.

// A program may look at the clock; the crate may not.
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Buf;
use proto_http::{
    FieldBlock, HeadScanner, Limits, Misuse, Request, Responder, Rules, Server, ServerConfig, ServerConnection,
};
use protocol::{Control, Cx, Input, Output, Protocol};

const GET: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// What a browser sends, about 1 KiB.
const BROWSER: &str = "GET / HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\", \"Google Chrome\";v=\"128\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n\
    Sec-Fetch-Site: none\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.2.1234567890.1234567890; _gid=GA1.2.987654321.987654321\r\n\
    If-None-Match: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"\r\n\
    If-Modified-Since: Wed, 21 Oct 2015 07:28:00 GMT\r\n\
    \r\n";

fn serve(request: &str, per_call: usize, count: usize) {
    let fields = FieldBlock::new("Content-Type: text/plain\r\n").unwrap_or_else(|error| panic!("{error}"));
    let config = Arc::new(ServerConfig::new(SystemTime::now));
    let mut server = Server::new(
        config,
        move |request: &Request<'_>, responder: &mut Responder<'_, '_>| -> Result<(), Misuse> {
            match (request.method(), request.path()) {
                ("GET", "/") => responder.send(200, &fields, b"Hello, World!"),
                _ => responder.send(404, &(), b""),
            }
        },
    );
    let limits = protocol::Limits::default();
    let (mut output, mut control, now) = (Output::new(), Control::default(), Instant::now());
    let mut bytes = request.repeat(per_call).into_bytes();
    for _ in 0..count / per_call {
        let mut input = Input::new(black_box(&mut bytes));
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

/// A head of 64 KiB, whole or byte by byte.
fn large_head(trickle: bool, count: usize) {
    let mut head = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
    while head.len() < 65_000 {
        head.push_str("X-Some-Field: a value of usual length, more or less\r\n");
    }
    head.push_str("\r\n");
    let mut limits = Limits::DEFAULT;
    limits.fields = 10_000;
    let mut rules = Rules::DEFAULT;
    rules.limits = limits;
    for _ in 0..count {
        let mut connection = ServerConnection::new();
        let start = if trickle { 1 } else { head.len() };
        for end in start..=head.len() {
            let mut input = &head.as_bytes()[..end];
            let event = connection.next(&rules, black_box(&mut input));
            black_box(event.is_ok());
        }
    }
    black_box(HeadScanner::new());
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
    match &*what {
        "get" => serve(GET, 1, count),
        "pipelined" => serve(GET, 16, count),
        "browser" => serve(BROWSER, 1, count),
        "large-head" => large_head(false, count),
        "large-head-trickled" => large_head(true, count),
        _ => println!("get | pipelined | browser | large-head | large-head-trickled, and a count"),
    }
}
