//! TLS, HTTP/2 and proxies, on both drivers.

mod common;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use common::{Peer, clients, ok};
use drivers::{Driver, Running, Server};
use http_client::http::Version;
use http_client::tls::{Acceptor, ClientConfig, Files, Roots, ServerConfig, Session, provider};
use http_client::{Error, Proxies, Proxy, ProxyError, Settings, wait};
use proto_h2::{Auto, StreamMessage};
use proto_http::{Collect, Request, Responder};
use protocol::Protocol;

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/bodies/src/tls");

/// 8 MiB that are not all alike.
fn large() -> &'static [u8] {
    static LARGE: OnceLock<Vec<u8>> = OnceLock::new();
    LARGE.get_or_init(|| (0..2_000_000_u32).flat_map(u32::to_be_bytes).collect())
}

/// A server with a certificate for localhost, and its port.
fn secure(alpn: &[&str]) -> (Running<impl Protocol<Message: Send> + use<>>, u16) {
    let files = Files {
        pairs: vec![(format!("{TLS}/cert.pem").into(), format!("{TLS}/key.pem").into())],
        client_ca: None,
    };
    let mut config: ServerConfig = files.load(provider().unwrap()).unwrap();
    config.alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut one = proto_http::ServerConfig::new(SystemTime::now);
    one.rules.limits.body = None;
    let mut two = proto_h2::ServerConfig::new(SystemTime::now);
    two.limits.body = None;
    let (one, two) = (Arc::new(one), Arc::new(two));
    let answer = |request: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>| match request.path() {
        "/large" => responder.send(200, &(), large()),
        "/moved" => responder.send(302, &[("Location", "/end")], b"this way"),
        "/echo" => responder.send(200, &(), body),
        path => responder.send(
            200,
            &(),
            format!("{} {path}", request.authority().unwrap_or_default()).as_bytes(),
        ),
    };
    let handlers = move |_: &protocol::Peer<'_, Infallible>| Some(Collect::new(32 << 20, answer));
    let factory = Acceptor::new(config).unwrap().accept(
        move |peer: &protocol::Peer<'_, StreamMessage<Infallible>>, _: Session<'_>| {
            Some(Auto::new(Arc::clone(&one), Arc::clone(&two), handlers, peer))
        },
    );
    let running = Server::on(Driver::default()).serve("127.0.0.1:0", factory).unwrap();
    let port = running.local_addr().unwrap().port();
    (running, port)
}

fn trusting(settings: &mut Settings) {
    let roots = Roots::from_pem(&std::fs::read(format!("{TLS}/cert.pem")).unwrap()).unwrap();
    settings.tls = Some(ClientConfig::new(provider().unwrap(), roots));
}

#[test]
fn both_versions_by_alpn() {
    for (alpn, version) in [
        (vec!["h2", "http/1.1"], Version::HTTP_2),
        (vec!["http/1.1"], Version::HTTP_11),
        (vec![], Version::HTTP_11),
    ] {
        let (_server, port) = secure(&alpn);
        for (driver, client) in clients(trusting) {
            let url = |path: &str| format!("https://localhost:{port}{path}");
            let mut answer = wait(client.get(url("/x")).send()).unwrap();
            assert_eq!(answer.version(), version, "{driver}");
            assert_eq!(wait(answer.text()).unwrap(), format!("localhost:{port} /x"));
            let mut answer = wait(client.get(url("/large")).send()).unwrap();
            // A slow reader: the windows and the pipe fill up.
            wait(answer.chunk()).unwrap();
            thread::sleep(Duration::from_millis(100));
            let rest = wait(answer.bytes()).unwrap();
            assert!(large().ends_with(&rest), "{driver} {version:?}");
            let mut answer = wait(client.post(url("/echo")).body(large()).send()).unwrap();
            let back = wait(answer.bytes()).unwrap();
            assert!(
                back == large(),
                "{driver} {version:?} {} {}",
                answer.status(),
                back.len()
            );
            let (mut sender, body) = http_client::Body::channel(None);
            let feeder = thread::spawn(move || {
                for part in large().chunks(300_000) {
                    wait(sender.send(part)).unwrap();
                }
                sender.finish();
            });
            let mut answer = wait(client.put(url("/echo")).body(body).send()).unwrap();
            let back = wait(answer.bytes()).unwrap();
            let differs = back.iter().zip(large()).position(|(a, b)| a != b);
            assert!(
                back == large(),
                "{driver} {version:?} {} {differs:?} {}",
                answer.status(),
                back.len()
            );
            feeder.join().unwrap();
            let mut answer = wait(client.get(url("/moved")).send()).unwrap();
            assert_eq!(wait(answer.text()).unwrap(), format!("localhost:{port} /end"));
            // Everything went over one connection.
            assert_eq!(client.counts(), (1, 1, 0), "{driver} {version:?}");
            // Dropped in the middle; over HTTP/2 the connection stays.
            drop(wait(client.get(url("/large")).send()).unwrap());
            let many: Vec<_> = (0..50)
                .map(|n| {
                    let (done, result) = std::sync::mpsc::channel();
                    client
                        .get(url(&format!("/{n}")))
                        .fetch(move |answer| done.send(answer).unwrap());
                    result
                })
                .collect();
            for (n, result) in many.into_iter().enumerate() {
                let answer = result.recv().unwrap().unwrap();
                assert_eq!(answer.body(), format!("localhost:{port} /{n}").as_bytes());
            }
            if version == Version::HTTP_2 {
                assert_eq!(client.counts(), (1, 1, 0), "{driver}");
            }
        }
    }
}

#[test]
fn certificates_are_checked() {
    let (_server, port) = secure(&["h2"]);
    for (driver, client) in clients(trusting) {
        let wrong_name = wait(client.get(format!("https://127.0.0.1:{port}/")).send()).unwrap_err();
        assert!(matches!(wrong_name, Error::Tls(_)), "{driver} {wrong_name:?}");
    }
    for (driver, client) in clients(|settings| settings.tls = Some(ClientConfig::insecure(provider().unwrap()))) {
        let answer = wait(client.get(format!("https://127.0.0.1:{port}/")).send()).unwrap();
        assert_eq!(answer.status(), 200, "{driver}");
    }
    for (driver, client) in clients(|_| {}) {
        let no_roots = wait(client.get(format!("https://localhost:{port}/")).send()).unwrap_err();
        assert!(
            matches!(no_roots, Error::Settings(_) | Error::Tls(_)),
            "{driver} {no_roots:?}"
        );
    }
    let plain = Peer::start(|_| ok("x"));
    for (driver, client) in clients(trusting) {
        let no_tls = wait(
            client
                .get(format!("https://localhost:{}/", plain.address.port()))
                .send(),
        );
        assert!(matches!(no_tls, Err(Error::Tls(_))), "{driver} {no_tls:?}");
    }
}

/// Carries bytes both ways until both have ended.
fn relay(mut near: TcpStream, to: impl std::net::ToSocketAddrs) {
    let Ok(mut far) = TcpStream::connect(to) else { return };
    let (mut near2, mut far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let back = thread::spawn(move || {
        let _ = std::io::copy(&mut far2, &mut near2);
        let _ = near2.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut near, &mut far);
    let _ = far.shutdown(Shutdown::Write);
    back.join().unwrap();
}

/// A proxy that greets each connection with `greet`, which returns where to go.
fn proxy(greet: impl Fn(&mut TcpStream) -> Option<String> + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (greet, count) = (Arc::new(greet), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            let greet = Arc::clone(&greet);
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                if let Some(to) = greet(&mut stream) {
                    relay(stream, to);
                }
            });
        }
    });
    (address, count)
}

fn exact<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// RFC 1928 and 1929: user "me", password "secret".
fn socks(stream: &mut TcpStream) -> Option<String> {
    let [5, methods] = exact(stream) else { return None };
    let mut offered = vec![0; usize::from(methods)];
    stream.read_exact(&mut offered).ok()?;
    if !offered.contains(&2) {
        stream.write_all(&[5, 0xff]).ok()?;
        return None;
    }
    stream.write_all(&[5, 2]).ok()?;
    let mut login = [0; 11];
    stream.read_exact(&mut login).ok()?;
    let good = login == *b"\x01\x02me\x06secret";
    stream.write_all(&[1, u8::from(!good)]).ok()?;
    if !good {
        return None;
    }
    let [5, 1, 0, kind] = exact(stream) else { return None };
    let host = match kind {
        1 => std::net::Ipv4Addr::from(exact::<4>(stream)).to_string(),
        _ => {
            let [length] = exact(stream);
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).ok()?;
            String::from_utf8(name).ok()?
        }
    };
    let port = u16::from_be_bytes(exact(stream));
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    Some(format!("{host}:{port}"))
}

/// CONNECT alone, with the credentials u:p.
fn connect(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(exact::<1>(stream));
    }
    let head = String::from_utf8(head).unwrap();
    if !head.contains("Proxy-Authorization: Basic dTpw\r\n") {
        stream
            .write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        return None;
    }
    stream.write_all(b"HTTP/1.1 200 Go\r\n\r\n").unwrap();
    Some(head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned())
}

#[test]
fn by_socks() {
    let plain = Peer::start(|_| ok("plain"));
    let (_server, port) = secure(&["h2"]);
    let (address, count) = proxy(socks);
    for (driver, client) in clients(|settings| {
        trusting(settings);
        settings.proxies = Proxies::all(Proxy::parse(&format!("socks5://me:secret@{address}")).unwrap());
    }) {
        let before = count.load(Ordering::Relaxed);
        for _ in 0..2 {
            let mut answer = wait(client.get(plain.url("/")).send()).unwrap();
            assert_eq!(wait(answer.text()).unwrap(), "plain", "{driver}");
            let mut answer = wait(client.get(format!("https://localhost:{port}/y")).send()).unwrap();
            assert_eq!(wait(answer.text()).unwrap(), format!("localhost:{port} /y"), "{driver}");
        }
        assert_eq!(count.load(Ordering::Relaxed) - before, 2, "{driver}");
    }
    for url in [format!("socks5h://me:wrong!@{address}"), format!("socks5://{address}")] {
        for (driver, client) in clients(|settings| settings.proxies = Proxies::all(Proxy::parse(&url).unwrap())) {
            let refused = wait(client.get(plain.url("/")).send()).unwrap_err();
            assert_eq!(refused, Error::Proxy(ProxyError::Refused), "{driver}");
        }
    }
}

#[test]
fn by_http_proxy() {
    let (_server, port) = secure(&["h2"]);
    let (address, _) = proxy(connect);
    for (driver, client) in clients(|settings| {
        trusting(settings);
        settings.proxies = Proxies::all(Proxy::parse(&format!("http://u:p@{address}")).unwrap());
    }) {
        let mut answer = wait(client.get(format!("https://localhost:{port}/z")).send()).unwrap();
        assert_eq!(wait(answer.text()).unwrap(), format!("localhost:{port} /z"), "{driver}");
    }
    for (driver, client) in clients(|settings| {
        trusting(settings);
        settings.proxies = Proxies::all(Proxy::parse(&address.to_string()).unwrap());
    }) {
        let refused = wait(client.get(format!("https://localhost:{port}/z")).send()).unwrap_err();
        assert_eq!(refused, Error::Proxy(ProxyError::Status(407)), "{driver}");
    }
    // For http, the proxy is asked for the whole URL, over one connection for all hosts.
    let forward = Peer::start(|arrived| {
        ok(format!(
            "{} {:?}",
            arrived.target,
            arrived.fields.get("proxy-authorization")
        ))
    });
    for (driver, client) in clients(|settings| {
        settings.proxies = Proxies::all(Proxy::parse(&format!("u:p@{}", forward.address)).unwrap());
    }) {
        for host in ["a.test", "b.test:8080"] {
            let mut answer = wait(client.get(format!("http://{host}/x?y#z")).send()).unwrap();
            let expected = format!("http://{host}/x?y {:?}", Some("Basic dTpw"));
            assert_eq!(wait(answer.text()).unwrap(), expected, "{driver}");
        }
    }
    assert_eq!(forward.log().iter().map(|arrived| arrived.connection).max(), Some(1));
}
