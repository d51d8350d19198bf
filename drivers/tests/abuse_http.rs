//! Known attacks on HTTP servers, over sockets, on every driver. Each test is named by its id in docs/security.md. It checks the exact
//! answer, that the connection then ends in order, and that an honest client of the same server is still served.

#[macro_use]
mod common;
#[path = "common/hosts.rs"]
mod hosts;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use driver_common::host::{Host, Hosted};
use driver_common::{Config, Stats};
use proto_http::{Collect, Misuse, Request, Responder, ServerConfig};

type Answer = fn(&Request<'_>, &[u8], &mut Responder<'_, '_>) -> Result<(), Misuse>;

/// A server and an honest client.
struct Scene {
    running: Box<dyn Hosted>,
    to: SocketAddr,
    honest: TcpStream,
}

/// Answers with path and body; `/inject` with what its query says in a field.
fn answer(request: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
    if request.path() == "/inject" {
        return responder.send(200, &[("X", "a\r\nSet-Cookie: b")], b"");
    }
    responder.send(200, &(), &[request.path().as_bytes(), b" ", body].concat())
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl Scene {
    fn new(host: &impl Host) -> Self {
        Self::with(host, ServerConfig::default())
    }

    fn with(host: &impl Host, config: ServerConfig) -> Self {
        let config = Arc::new(config);
        let factory = move |_: &protocol::Peer<'_, _>| {
            let answer: Answer = answer;
            Some(proto_http::Server::new(
                Arc::clone(&config),
                Collect::new(1 << 20, answer),
            ))
        };
        let running = host.serve(Config::default(), 1, factory);
        let to = running.address().unwrap();
        let mut scene = Scene {
            running,
            to,
            honest: connect(to),
        };
        scene.still_serves();
        scene
    }

    /// The honest client sends a request on its existing connection.
    fn still_serves(&mut self) {
        self.honest
            .write_all(b"GET /honest HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let expected = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n/honest ";
        let mut got = vec![0; expected.len()];
        self.honest.read_exact(&mut got).unwrap();
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    /// All bytes sent back for `bytes` until the server ends the connection, which must not be by a reset.
    fn until_the_end(&self, bytes: &[u8]) -> String {
        let mut stream = connect(self.to);
        stream.write_all(bytes).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        String::from_utf8(all).unwrap()
    }

    /// Checks that `bytes`, with requests behind them, are refused once with `status`, and that nothing behind them is answered.
    fn refuses(&mut self, bytes: &str, status: &str) {
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2);
        let got = self.until_the_end(format!("{bytes}{smuggled}").as_bytes());
        assert_eq!(got, refusal(status), "{}", bytes.escape_default());
        self.still_serves();
    }

    /// Like `refuses`, for a POST with these fields and this body.
    fn refuses_post(&mut self, fields: &str, body: &str, status: &str) {
        self.refuses(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"), status);
    }

    fn end(self) -> Stats {
        drop(self.honest);
        let stats = self.running.stop(Duration::from_secs(5));
        assert_eq!((stats.panics, stats.active), (0, 0), "{stats:?}");
        stats
    }
}

fn refusal(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

const BAD: &str = "400 Bad Request";

fn h01_length_beside_coding(host: &impl Host) {
    let mut scene = Scene::new(host);
    scene.refuses_post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", BAD);
    scene.refuses_post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", BAD);
    scene.end();
}

fn h02_content_lengths(host: &impl Host) {
    let mut scene = Scene::new(host);
    for length in [
        "5\r\nContent-Length: 6",
        "5\r\nContent-Length: 5",
        "+5",
        "5,5",
        "5 5",
        "",
        "18446744073709551616",
    ] {
        scene.refuses_post(&format!("Content-Length: {length}\r\n"), "hello", BAD);
    }
    scene.refuses_post("Content-Length : 5\r\n", "hello", BAD);
    scene.end();
}

fn h03_transfer_encodings(host: &impl Host) {
    let mut scene = Scene::new(host);
    for coding in [
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked, xchunked",
        "chunked;x",
        "chunked,",
        "",
    ] {
        scene.refuses_post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n", BAD);
    }
    scene.refuses_post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", "501 Not Implemented");
    scene.refuses("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD);
    scene.end();
}

fn h04_chunk_sizes(host: &impl Host) {
    let mut scene = Scene::new(host);
    for size in [
        "",
        "0x5",
        "+5",
        "-5",
        " 5",
        "5 ",
        "00000000000000005",
        "fffffffffffffffff",
        "g",
    ] {
        scene.refuses_post(
            "Transfer-Encoding: chunked\r\n",
            &format!("{size}\r\nhello\r\n0\r\n\r\n"),
            BAD,
        );
    }
    let wraps = "5\r\nhello\r\nffffffffffffffff\r\n";
    scene.refuses_post("Transfer-Encoding: chunked\r\n", wraps, "413 Content Too Large");
    scene.end();
}

fn h05_line_ends(host: &impl Host) {
    let mut scene = Scene::new(host);
    for line in ["5\n", "5\r", "5;a\n", "5;a=\"\n\"\r\n", "5\r\r\n", "5;a\rb\r\n"] {
        scene.refuses_post(
            "Transfer-Encoding: chunked\r\n",
            &format!("{line}hello\r\n0\r\n\r\n"),
            BAD,
        );
    }
    scene.refuses_post("Transfer-Encoding: chunked\r\n", "5\r\nhello\n0\r\n\r\n", BAD);
    scene.refuses("GET / HTTP/1.1\nHost: a\n\n", BAD);
    scene.refuses("GET /\n", BAD);
    scene.refuses("GET / HTTP/1.1\r\nHost: a\r\n\n", BAD);
    scene.end();
}

fn h06_quoted_extensions(host: &impl Host) {
    let mut scene = Scene::new(host);
    let fields = "Transfer-Encoding: chunked\r\n";
    scene.refuses_post(fields, "5;a=\"b\r\nhello\r\n0\r\n\r\n", BAD);
    scene.refuses_post(fields, "5;a=b\"c\"\r\nhello\r\n0\r\n\r\n", BAD);
    // Well-formed chunk extensions are skipped, and a quoted "0;" is not taken for a chunk.
    let good = "POST /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                5;a=\"0;\\\"\"\r\nhello\r\n0\r\n\r\n";
    let got = scene.until_the_end(good.as_bytes());
    assert_eq!(
        got,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n/ok hello"
    );
    scene.end();
}

fn h07_extension_flood(host: &impl Host) {
    let mut scene = Scene::new(host);
    let body = format!("1;{}\r\nx\r\n", "e".repeat(500)).repeat(40);
    scene.refuses_post("Transfer-Encoding: chunked\r\n", &body, BAD);
    scene.end();
}

fn h08_field_lines(host: &impl Host) {
    let mut scene = Scene::new(host);
    for fields in [
        "X: a\r\n b\r\n",
        "X : a\r\n",
        "X: a\rY: b\r\n",
        "X: a\0b\r\n",
        ": a\r\n",
        "X\r\n",
    ] {
        scene.refuses_post(fields, "", BAD);
    }
    scene.end();
}

/// Bytes that the handler tries to inject are never sent.
fn h09_injection(host: &impl Host) {
    let mut scene = Scene::new(host);
    scene.refuses("GET /inject HTTP/1.1\r\nHost: a\r\n\r\n", "500 Internal Server Error");
    scene.end();
}

fn h10_unread_body(host: &impl Host) {
    let mut scene = Scene::new(host);
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = format!(
        "GET /first HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}\
         GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        inner.len()
    );
    let got = scene.until_the_end(bytes.as_bytes());
    assert_eq!(got.matches("HTTP/1.1 200 OK").count(), 2, "{got}");
    assert!(
        got.contains("\r\n\r\n/first ") && got.ends_with("\r\n\r\n/second "),
        "{got}"
    );
    scene.still_serves();
    scene.end();
}

fn h11_bytes_behind_an_upgrade(host: &impl Host) {
    let scene = Scene::new(host);
    let upgrade = "Connection: upgrade\r\nUpgrade: x\r\n";
    // A request with a body is never upgraded: the body is read, and the bytes behind it are a request.
    for (framing, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "0\r\n\r\n"),
    ] {
        let bytes = format!(
            "POST /body HTTP/1.1\r\nHost: a\r\n{upgrade}{framing}\r\n\r\n{body}\
             GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let got = scene.until_the_end(bytes.as_bytes());
        assert!(
            !got.contains(" 101 ") && got.contains("/body ") && got.ends_with("/next "),
            "{got}"
        );
    }
    // This request is not upgraded: the bytes behind it are a request, which is answered.
    let bytes = format!(
        "GET /no HTTP/1.1\r\nHost: a\r\n{upgrade}\r\nGET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    );
    let got = scene.until_the_end(bytes.as_bytes());
    assert!(
        !got.contains(" 101 ") && got.contains("/no ") && got.ends_with("/next "),
        "{got}"
    );
    scene.end();
}

/// A head that arrives in drips is refused at its limit, and does not affect other clients.
fn h12_dripping_head(host: &impl Host) {
    let mut scene = Scene::new(host);
    let mut stream = connect(scene.to);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").unwrap();
    let begun = Instant::now();
    // Sends more than the limits of request line and fields together, 16 bytes at a time. A parser that began anew with each would take
    // seconds.
    for drip in 0..4800 {
        if stream.write_all(&[b'y'; 16]).is_err() {
            break;
        }
        if drip % 1000 == 0 {
            scene.still_serves();
        }
    }
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, refusal("431 Request Header Fields Too Large"));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    scene.end();
}

fn h13_too_many_fields(host: &impl Host) {
    let mut scene = Scene::new(host);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    scene.refuses(&many, "431 Request Header Fields Too Large");
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(9000));
    scene.refuses(&long, "414 URI Too Long");
    scene.end();
}

fn h14_unlimited_body(host: &impl Host) {
    let mut scene = Scene::new(host);
    scene.refuses_post("Content-Length: 1048577\r\n", "", "413 Content Too Large");
    let chunk = format!("40000\r\n{}\r\n", "x".repeat(0x40000));
    scene.refuses_post(
        "Transfer-Encoding: chunked\r\n",
        &chunk.repeat(5),
        "413 Content Too Large",
    );
    scene.end();
}

/// One limit applies after all decoding, and no coding but chunked is decoded.
fn h15_caps_behind_codings(host: &impl Host) {
    let mut scene = Scene::new(host);
    scene.refuses_post(
        "Transfer-Encoding: gzip, chunked\r\n",
        "0\r\n\r\n",
        "501 Not Implemented",
    );
    scene.end();
}

fn h16_slow_clients(host: &impl Host) {
    let mut config = ServerConfig::default();
    config.timeouts.first_byte = Some(Duration::from_millis(300));
    config.timeouts.head = Some(Duration::from_millis(300));
    config.timeouts.body = Some(Duration::from_millis(300));
    let mut scene = Scene::with(host, config);
    let timeout = refusal("408 Request Timeout");
    assert_eq!(scene.until_the_end(b""), "");
    assert_eq!(scene.until_the_end(b"GET / HTTP/1.1\r\nHost: a\r\n"), timeout);
    assert_eq!(
        scene.until_the_end(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"),
        timeout
    );
    // A byte every now and then does not extend the deadline.
    for start in [
        "GET / HTTP/1.1\r\nHost: a\r\nX: ",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n",
    ] {
        let mut stream = connect(scene.to);
        stream.write_all(start.as_bytes()).unwrap();
        let mut dripping = stream.try_clone().unwrap();
        let drips = thread::spawn(move || {
            (0..100).find(|_| {
                thread::sleep(Duration::from_millis(50));
                dripping.write_all(b"y").is_err()
            })
        });
        let begun = Instant::now();
        let mut got = Vec::new();
        // The drips that cross the end may turn it into a reset, behind the answer.
        let end = stream.read_to_end(&mut got);
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
        assert_eq!(String::from_utf8(got).unwrap(), timeout);
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        drop(stream);
        drips.join().unwrap();
    }
    scene.still_serves();
    scene.end();
}

/// The response to a request whose body is not wanted arrives, though megabytes of the body are still on their way.
fn h17_early_answer(host: &impl Host) {
    let mut scene = Scene::new(host);
    let mut stream = connect(scene.to);
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        .unwrap();
    let mut sending = stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        for _ in 0..64 {
            sending.write_all(&[b'x'; 64 * 1024])?;
        }
        sending.shutdown(Shutdown::Write)
    });
    // All of the body that was under way is taken: no reset overtakes the response.
    sender.join().unwrap().unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, refusal("413 Content Too Large"));
    scene.still_serves();
    scene.end();
}

/// As many fields as are allowed, and all of them are seen.
fn h18_full_head(host: &impl Host) {
    let scene = Scene::new(host);
    let head = format!(
        "GET /full HTTP/1.1\r\nHost: a\r\n{}Connection: close\r\n\r\n",
        "X: y\r\n".repeat(98)
    );
    let got = scene.until_the_end(head.as_bytes());
    assert_eq!(
        got,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n/full "
    );
    scene.end();
}

fn h19_smuggling_set(host: &impl Host) {
    let mut scene = Scene::new(host);
    for (fields, body) in [
        ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 50\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "0\r\nX: y\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "2\r\nabc\r\n0\r\n\r\n"),
        ("Host: b\r\n", ""),
    ] {
        scene.refuses_post(fields, body, BAD);
    }
    scene.end();
}

on_every_host! {
    h01: h01_length_beside_coding;
    h02: h02_content_lengths;
    h03: h03_transfer_encodings;
    h04: h04_chunk_sizes;
    h05: h05_line_ends;
    h06: h06_quoted_extensions;
    h07: h07_extension_flood;
    h08: h08_field_lines;
    h09: h09_injection;
    h10: h10_unread_body;
    h11: h11_bytes_behind_an_upgrade;
    h12: h12_dripping_head;
    h13: h13_too_many_fields;
    h14: h14_unlimited_body;
    h15: h15_caps_behind_codings;
    h16: h16_slow_clients;
    h17: h17_early_answer;
    h18: h18_full_head;
    h19: h19_smuggling_set;
}
