//! How a server treats slow HTTP clients, over sockets on every driver: they are answered where an answer is due, and their connections end
//! within the limit.

#[macro_use]
mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use drivers::{Driver, Running, Server};
use proto_http::{Misuse, Request, Responder, ServerConfig};
use protocol::Protocol;

/// Every limit of these tests.
const LIMIT: Duration = Duration::from_millis(400);
/// The time by which a limit must have taken effect, on the busiest machine.
const LATEST: Duration = Duration::from_secs(10);
/// The pause between two bytes of a slow client: far less than the limit.
const PAUSE: Duration = Duration::from_millis(40);

fn serve(driver: Driver) -> (Running<impl Protocol<Message: Send>>, SocketAddr) {
    let mut config = ServerConfig::default();
    let timeouts = &mut config.timeouts;
    for timeout in [
        &mut timeouts.first_byte,
        &mut timeouts.head,
        &mut timeouts.body,
        &mut timeouts.idle,
        &mut timeouts.answer,
    ] {
        *timeout = Some(LIMIT);
    }
    timeouts.body_rate = 1000;
    let config = Arc::new(config);
    let server = Server::on(driver)
        .serve("127.0.0.1:0", move |_| {
            let handler = |request: &Request<'_>, responder: &mut Responder<'_, '_>| -> Result<(), Misuse> {
                match request.method() {
                    "GET" if request.path() == "/" => responder.send(200, &(), b"here"),
                    // No response; a POST is answered when its body is complete, which never happens here.
                    _ => Ok(()),
                }
            };
            Some(proto_http::Server::new(Arc::clone(&config), handler))
        })
        .unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

/// Sends `first` at once, then `trickle` byte by byte without end, until the connection ends. Returns the received text and the duration.
fn wait(to: SocketAddr, first: &[u8], trickle: Option<u8>) -> (String, Duration) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LATEST)).unwrap();
    let start = Instant::now();
    stream.write_all(first).unwrap();
    if let Some(byte) = trickle {
        let mut stream = stream.try_clone().unwrap();
        thread::spawn(move || {
            while start.elapsed() < LATEST && stream.write_all(&[byte]).is_ok() {
                thread::sleep(PAUSE);
            }
        });
    }
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    // Bytes on their way when the server closes turn its end into a reset, behind the answer.
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..n]);
    }
    let after = start.elapsed();
    // Ends the trickle too. Fails if the server has reset the connection.
    let _ = stream.shutdown(Shutdown::Both);
    (String::from_utf8(answer).unwrap(), after)
}

fn ends(driver: Driver, first: &str, trickle: Option<u8>, answer: &str) {
    let (server, to) = serve(driver);
    let (seen, after) = wait(to, first.as_bytes(), trickle);
    assert!(
        seen.starts_with(answer) && seen.is_empty() == answer.is_empty(),
        "{seen}"
    );
    assert!(LIMIT <= after + PAUSE && after < LATEST, "{after:?}");
    server.stop(Duration::from_secs(5)).unwrap();
}

const TOO_SLOW: &str = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n";

fn silence_ends(driver: Driver) {
    ends(driver, "", None, "");
}

fn a_slow_head_gets_408(driver: Driver) {
    ends(driver, "GET / HTTP/1.1\r\nHost: a\r\nX: ", Some(b'x'), TOO_SLOW);
}

fn half_a_head_gets_408(driver: Driver) {
    ends(driver, "GET / HTTP/1.1\r\nHo", None, TOO_SLOW);
}

fn half_a_body_gets_408(driver: Driver) {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc";
    ends(driver, post, None, TOO_SLOW);
}

fn a_slow_body_gets_408(driver: Driver) {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc";
    ends(driver, post, Some(b'x'), TOO_SLOW);
}

fn a_slow_handler_gets_503_sent(driver: Driver) {
    ends(driver, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n", None, "HTTP/1.1 503 ");
}

fn a_connection_kept_alive_ends_when_it_idles(driver: Driver) {
    ends(
        driver,
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        None,
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere",
    );
}

fn a_connection_in_use_does_not_end(driver: Driver) {
    let (server, to) = serve(driver);
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(LATEST)).unwrap();
    let mut answer = *b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere";
    let start = Instant::now();
    while start.elapsed() < LIMIT * 3 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        answer.fill(0);
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(b"\r\n\r\nhere"));
        thread::sleep(LIMIT / 4);
    }
    drop(stream);
    server.stop(Duration::from_secs(5)).unwrap();
}

on_every_driver! {
    silence: silence_ends;
    slow_head: a_slow_head_gets_408;
    half_a_head: half_a_head_gets_408;
    slow_body: a_slow_body_gets_408;
    half_a_body: half_a_body_gets_408;
    slow_handler: a_slow_handler_gets_503_sent;
    idle: a_connection_kept_alive_ends_when_it_idles;
    busy: a_connection_in_use_does_not_end;
}
