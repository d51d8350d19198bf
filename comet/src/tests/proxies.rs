//! Clients behind proxies, on sockets and on both drivers.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::{Driver, Server};
use protocol::Peer;

use super::Rig;
use crate::edge::Edge;
use crate::serve::{Serving, admit};
use crate::web::ToConnection;

const DRIVERS: [Driver; 2] = [Driver::Epoll, Driver::Tokio];
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a socket.
struct Site {
    address: SocketAddr,
    edge: Arc<Edge>,
    running: Option<Box<dyn Serving>>,
    rig: Rig,
}

impl Site {
    fn new(driver: Driver, settings: &str) -> Self {
        let rig = Rig::new(settings);
        let (site, server) = (Arc::clone(&rig.site), Server::on(driver));
        let edge = site.edge();
        let places = vec![server.listen("127.0.0.1:0").unwrap()];
        let factory = move |peer: &Peer<'_, ToConnection>| Some(site.connection(peer));
        let running = admit(&server, places, &edge, factory).unwrap();
        Site {
            address: running.local_addrs()[0],
            edge,
            running: Some(running),
            rig,
        }
    }

    fn connect(&self) -> Stream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Stream(stream)
    }

    /// Waits until this number of connections is counted.
    fn counts(&self, expected: usize) {
        let (end, counted) = (Instant::now() + PATIENCE, || self.edge.crowd.as_ref().unwrap().len());
        while counted() != expected {
            assert!(Instant::now() < end, "{} are counted instead of {expected}", counted());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stopper()(Duration::ZERO);
        }
    }
}

struct Stream(TcpStream);

impl Stream {
    fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have reset the connection.
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// What arrives up to `end`; up to the end of the stream if it ends before.
    fn hear(&mut self, end: &str) -> String {
        let (mut heard, mut byte) = (Vec::new(), [0]);
        while !heard.ends_with(end.as_bytes()) {
            match self.0.read(&mut byte) {
                Ok(1) => heard.push(byte[0]),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&heard)),
            }
        }
        String::from_utf8(heard).unwrap()
    }

    /// The status of the next answer.
    fn status(&mut self) -> String {
        self.hear("\r\n").get(9..12).unwrap_or_default().to_owned()
    }
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: backend\r\n{fields}\r\n")
}

fn websocket(fields: &str) -> String {
    get(
        "/ws",
        &format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n{fields}"
        ),
    )
}

/// A header of version 2 for a client of 192.0.2.HOST.
fn header(host: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02".to_vec();
    header.extend([host, 198, 51, 100, 1, 0x10, 0x92, 0x01, 0xbb]);
    header
}

#[test]
fn connections_from_proxies_begin_with_a_header() {
    for driver in DRIVERS {
        let site = Site::new(driver, "proxy_protocol = [\"127.0.0.0/8\"]");
        for header in [
            &header(1)[..],
            b"PROXY TCP4 192.0.2.1 198.51.100.1 4242 443\r\n",
            b"PROXY UNKNOWN\r\n",
        ] {
            let mut stream = site.connect();
            stream.say(header);
            stream.say(get("/healthz", ""));
            assert_eq!(stream.status(), "200");
        }
        let mut plain = site.connect();
        plain.say(get("/healthz", ""));
        assert_eq!(plain.hear("\n"), "", "a request without a header was answered");
        // From elsewhere, a header is no request.
        let site = Site::new(driver, "proxy_protocol = [\"10.0.0.0/8\"]");
        let mut plain = site.connect();
        plain.say(get("/healthz", ""));
        assert_eq!(plain.status(), "200");
        let mut liar = site.connect();
        liar.say(b"PROXY TCP4 192.0.2.1 198.51.100.1 4242 443\r\n");
        liar.say(get("/healthz", ""));
        assert_eq!(liar.status(), "400");
    }
}

#[test]
fn c11_clients_in_headers_are_counted_one_by_one() {
    for driver in DRIVERS {
        let site = Site::new(driver, "proxy_protocol = [\"127.0.0.1\"]\nmax_per_address = 2");
        let open = |host| {
            let mut stream = site.connect();
            stream.say(header(host));
            stream.say(get("/healthz", ""));
            let status = stream.status();
            (stream, status)
        };
        let kept: Vec<_> = [1, 1, 2].map(open).into();
        assert!(kept.iter().all(|(_, status)| status == "200"), "{driver:?}");
        assert_eq!(open(1).1, "", "the third connection of a client was served");
        site.counts(3);
        drop(kept);
        site.counts(0);
        assert_eq!(open(1).1, "200");
        // The proxy's own connections have no client.
        for _ in 0..4 {
            let mut stream = site.connect();
            stream.say(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
            stream.say(get("/healthz", ""));
            assert_eq!(stream.status(), "200");
        }
    }
}

#[test]
fn c10_an_address_in_a_request_from_elsewhere_is_not_believed() {
    for driver in DRIVERS {
        let site = Site::new(driver, "trusted_proxies = [\"10.0.0.0/8\"]\nmax_per_address = 2");
        let forged = "X-Forwarded-For: 192.0.2.1\r\n";
        let open = || {
            let mut stream = site.connect();
            stream.say(get("/healthz", forged));
            let status = stream.status();
            (stream, status)
        };
        let kept = [open(), open()];
        assert!(kept.iter().all(|(_, status)| status == "200"));
        assert_eq!(open().1, "", "a client chose its address");
        drop(kept);
        site.counts(0);
    }
}

#[test]
fn c11_clients_of_a_trusted_proxy_are_counted_one_by_one() {
    for driver in DRIVERS {
        let site = Site::new(driver, "trusted_proxies = [\"127.0.0.1\"]\nmax_per_address = 2");
        let begin = |request: String| {
            let mut stream = site.connect();
            stream.say(request);
            let status = stream.status();
            (stream, status)
        };
        let from = |client: &str| format!("X-Forwarded-For: 6.6.6.6, {client}\r\n");
        let first = begin(websocket(&from("192.0.2.1")));
        let second = begin(get("/events?channel=news", "Forwarded: for=192.0.2.1\r\n"));
        assert_eq!((first.1.as_str(), second.1.as_str()), ("101", "200"));
        let (mut refused, status) = begin(websocket(&from("192.0.2.1")));
        assert_eq!(status, "429");
        assert!(refused.hear("}").contains("too-many"));
        assert_eq!(begin(get("/events?channel=news", &from("192.0.2.1"))).1, "429");
        // Requests that do not stay are not counted.
        assert_eq!(begin(get("/healthz", &from("192.0.2.1"))).1, "200");
        let other = begin(websocket(&from("192.0.2.2")));
        assert_eq!(other.1, "101");
        // A refused stream returns its place.
        for _ in 0..3 {
            assert_eq!(begin(get("/events?channel=", &from("192.0.2.2"))).1, "400");
        }
        site.counts(3);
        // The proxy keeps its connection for the requests of other clients; one that names nobody is the proxy's own.
        drop((first, second, other));
        site.counts(0);
        let (mut kept, status) = begin(get("/healthz", ""));
        assert_eq!(status, "200");
        kept.hear("ok\n");
        kept.say(websocket(&from("192.0.2.1")));
        assert_eq!(kept.status(), "101");
        site.counts(1);
        let own = begin(websocket(""));
        assert_eq!((own.1.as_str(), begin(websocket("")).1.as_str()), ("101", "101"));
        site.counts(2);
    }
}

#[test]
fn a_stream_that_ends_returns_its_place_though_the_proxy_stays() {
    for driver in DRIVERS {
        let site = Site::new(driver, "trusted_proxies = [\"127.0.0.1\"]\nmax_per_address = 1");
        let mut stream = site.connect();
        stream.say(get("/events?channel=news", "X-Forwarded-For: 192.0.2.1\r\n"));
        assert_eq!(stream.status(), "200");
        stream.hear("id: ");
        site.counts(1);
        site.rig.node.shed(Duration::ZERO);
        stream.hear("0\r\n\r\n");
        site.counts(0);
        stream.say(get("/healthz", ""));
        assert_eq!(stream.status(), "200");
    }
}

#[test]
fn a_client_behind_two_proxies() {
    for driver in DRIVERS {
        let settings = "proxy_protocol = [\"127.0.0.1\"]\ntrusted_proxies = [\"192.0.2.0/24\"]\nmax_per_address = 1";
        let site = Site::new(driver, settings);
        let open = |proxy, client| {
            let mut stream = site.connect();
            stream.say(header(proxy));
            stream.say(websocket(&format!("X-Forwarded-For: {client}\r\n")));
            let status = stream.status();
            (stream, status)
        };
        let first = open(1, "203.0.113.1");
        assert_eq!((first.1.as_str(), open(2, "203.0.113.1").1.as_str()), ("101", "429"));
        assert_eq!(open(1, "203.0.113.2").1, "101");
    }
}

#[test]
fn the_origin_may_be_the_forwarded_host() {
    let origin = "Origin: https://example.org\r\n";
    for (settings, fields, status) in [
        (
            "trusted_proxies = [\"127.0.0.1\"]",
            "X-Forwarded-Host: example.org\r\n",
            "101",
        ),
        (
            "trusted_proxies = [\"127.0.0.1\"]",
            "Forwarded: for=192.0.2.1;host=example.org\r\n",
            "101",
        ),
        (
            "trusted_proxies = [\"127.0.0.1\"]",
            "X-Forwarded-Host: other.example\r\n",
            "403",
        ),
        ("trusted_proxies = [\"127.0.0.1\"]", "", "403"),
        (
            "trusted_proxies = [\"10.0.0.1\"]",
            "X-Forwarded-Host: example.org\r\n",
            "403",
        ),
        ("", "X-Forwarded-Host: example.org\r\n", "403"),
        (
            "trusted_proxies = [\"127.0.0.1\"]\norigins = [\"https://other.example\"]",
            "X-Forwarded-Host: example.org\r\n",
            "403",
        ),
    ] {
        for driver in DRIVERS {
            let site = Site::new(driver, settings);
            let mut stream = site.connect();
            stream.say(websocket(&format!("{origin}{fields}")));
            assert_eq!(stream.status(), status, "{settings} {fields}");
        }
    }
}

#[test]
fn wrong_networks_are_named() {
    let options = toml::from_str("proxy_protocol = [\"10.0.0.0/40\"]\ntrusted_proxies = [\"::1\", \"proxy\"]").unwrap();
    let problems = crate::settings::Settings::new(options).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].starts_with("proxy_protocol: \"10.0.0.0/40\""),
        "{problems:?}"
    );
    assert!(problems[1].starts_with("trusted_proxies: \"proxy\""), "{problems:?}");
}
