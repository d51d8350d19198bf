//! Tunnels and upgrades.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use drivers::Driver;
use proto_http::{Handler, Misuse, Request, Responder, ServerConfig};
use proto_ws::handshake::server::Request as Handshake;
use proto_ws::{Message, Socket};

use crate::{Origin, Proxy, read_all, read_head, reverse};

/// An upgrade followed by bytes in both directions (RFC 9110 section 7.8), as for WebSocket (RFC 6455).
#[test]
fn upgrades() {
    let origin = Origin::start(|mut stream| {
        let head = read_head(&mut stream);
        assert!(
            head.contains("Upgrade: shout\r\n") && head.contains("Connection: upgrade\r\n"),
            "{head}"
        );
        // The first bytes of the new protocol arrive together with the head.
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\nX: y\r\n\r\nWELCOME ";
        stream.write_all(answer.as_bytes()).unwrap();
        let mut buffer = [0; 1000];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                n => stream.write_all(&buffer[..n].to_ascii_uppercase()).unwrap(),
            }
        }
        stream.write_all(b"BYE").unwrap();
    });
    reverse(&origin, &[], |proxy| {
        let mut stream = proxy.connect();
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nearly ";
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        assert!(
            head.starts_with("HTTP/1.1 101 Switching Protocols\r\nX: y\r\nUpgrade: shout\r\n"),
            "{head}"
        );
        let mut first = [0; 14];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"WELCOME EARLY ");
        stream.write_all(b"hello").unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"HELLO");
        // Each direction ends separately.
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut stream), "BYE");
    });
    // A server that does not switch answers as usual.
    reverse(
        &Origin::saying("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"),
        &[],
        |proxy| {
            let answer = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        },
    );
}

/// Tunnels by CONNECT (RFC 9110 section 9.3.6).
#[test]
fn tunnels() {
    let origin = Origin::start(|mut stream| {
        let mut buffer = vec![0; 100_000];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                n => stream.write_all(&buffer[..n]).unwrap(),
            }
        }
        stream.write_all(b"the end").unwrap();
    });
    let port = origin.address.port().to_string();
    for driver in Driver::ALL {
        let proxy = Proxy::start(*driver, &["--tunnels", &format!("443,{port}")]);
        let mut stream = proxy.connect();
        write!(
            stream,
            "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
        )
        .unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            !head.contains("Content-Length") && !head.contains("Transfer-Encoding"),
            "{head}"
        );
        let sent: Vec<u8> = (0..8_000_000u32).map(|n| (n / 7) as u8).collect();
        let (mut writer, copy) = (stream.try_clone().unwrap(), sent.clone());
        let writing = thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        writing.join().unwrap();
        assert!(
            back == [&sent[..], b"the end"].concat(),
            "{} bytes came back",
            back.len()
        );
    }
}

/// WebSocket (RFC 6455) through a reverse proxy, with this project's client and server.
#[test]
fn websocket() {
    let config = Arc::new(ServerConfig::default());
    for driver in Driver::ALL {
        let config = Arc::clone(&config);
        let factory = move |_: &protocol::Peer<'_, Infallible>| {
            Some(proto_http::Server::switching(Arc::clone(&config), Upgrader))
        };
        let server = drivers::Server::on(*driver).serve("127.0.0.1:0", factory).unwrap();
        let proxy = Proxy::start(*driver, &["--to", &server.local_addr().unwrap().to_string()]);
        let mut client = Command::new(env!("CARGO_BIN_EXE_client"))
            .args([&proxy.address, "/any", "--driver", driver.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = "first\nzweite ✓\n".to_owned() + &"x".repeat(200_000) + "\n";
        client.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
        // The closing handshake passes as well.
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("closed: CloseCode(1000)"),
            "{output:?}"
        );
        server.stop(Duration::from_secs(5)).unwrap();
    }
}

/// A handler that upgrades every request to a WebSocket echo.
struct Upgrader;

impl Handler for Upgrader {
    type Message = Infallible;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        let handshake = Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value)));
        let accepted = handshake.unwrap().accept();
        let fields: Vec<_> = accepted.fields().collect();
        responder.upgrade(&fields.as_slice())
    }

    fn switched(&mut self) -> Option<Self::Next> {
        Some(proto_ws::Server::new(Arc::default(), Echo))
    }
}

struct Echo;

impl proto_ws::Handler for Echo {
    type Message = Infallible;

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_>) -> Result<(), proto_ws::Misuse> {
        socket.message(message)?;
        Ok(())
    }
}
