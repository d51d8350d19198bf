//! Forwarding of requests, responses and their fields.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use drivers::Driver;

use crate::{Origin, Proxy, read_all, read_head, read_until, reverse};

/// The fields of a request as the server receives them (RFC 9110 section 7.6).
#[test]
fn fields_of_requests() {
    reverse(&Origin::mirror(), &[], |proxy| {
        let seen = proxy.ask(
            "GET /a?b HTTP/1.1\r\nHost: example.org\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
             Proxy-Connection: close\r\nTE: trailers, deflate\r\nUpgrade: h2c\r\nVia: 1.0 other\r\nX-End: 2\r\n\
             Forwarded: for=192.0.2.1\r\nMax-Forwards: 7\r\n\r\n",
        );
        let (_, seen) = seen.split_once("\r\n\r\n").unwrap();
        let expected = format!(
            "GET /a?b HTTP/1.1\r\nHost: example.org\r\nVia: 1.0 other\r\nX-End: 2\r\nForwarded: for=192.0.2.1\r\n\
             Max-Forwards: 7\r\nTE: trailers\r\nConnection: TE\r\nVia: 1.1 {}\r\n\
             Forwarded: for=127.0.0.1;proto=http;host=\"example.org\"\r\n\r\n",
            proxy.address
        );
        assert_eq!(seen, expected);
        // RFC 9112 section 3.2.2: the target overrules Host.
        let seen = proxy.ask("GET http://right.example?q HTTP/1.1\r\nHost: wrong.example\r\nConnection: close\r\n\r\n");
        assert!(seen.contains("GET /?q HTTP/1.1\r\nHost: right.example\r\n"), "{seen}");
        assert!(!seen.contains("wrong"), "{seen}");
        // RFC 9110 section 7.6.2.
        let seen = proxy.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n");
        assert!(
            seen.contains("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n"),
            "{seen}"
        );
        let seen = proxy.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
        assert!(seen.starts_with("HTTP/1.1 501 "), "{seen}");
        // RFC 9110 section 7.6.3: no loops.
        let seen = proxy.ask(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 x, 1.1 {}\r\n\r\n",
            proxy.address
        ));
        assert!(seen.starts_with("HTTP/1.1 508 "), "{seen}");
        // A request with ambiguous framing is refused, not forwarded (RFC 9112 section 6.1).
        let seen =
            proxy.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        assert!(seen.starts_with("HTTP/1.1 400 "), "{seen}");
    });
}

/// Responses as the client receives them: reason phrase, lengths of omitted content, framing.
#[test]
fn responses() {
    let cases: [(&str, &'static str, &str, &str); 7] = [
        // The reason phrase is the server's (RFC 9112 section 4).
        (
            "GET / HTTP/1.1",
            "HTTP/1.1 299 Odd\r\nDate: x\r\nContent-Length: 2\r\nX: y\r\nConnection: z\r\nZ: 1\r\n\r\nhi",
            "HTTP/1.1 299 Odd\r\nDate: x\r\nX: y\r\nVia: 1.1 NAME\r\nContent-Length: 2\r\n\r\n",
            "hi",
        ),
        // RFC 9110 section 8.6.
        (
            "HEAD / HTTP/1.1",
            "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 1234\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.1 NAME\r\nContent-Length: 1234\r\n\r\n",
            "",
        ),
        (
            "GET / HTTP/1.1",
            "HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 1234\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nDate: x\r\nVia: 1.1 NAME\r\nContent-Length: 1234\r\n\r\n",
            "",
        ),
        (
            "GET / HTTP/1.1",
            "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nDate: x\r\nVia: 1.1 NAME\r\n\r\n",
            "",
        ),
        // A body that ends with the connection is forwarded in chunks (RFC 9112 section 6.3).
        (
            "GET / HTTP/1.1",
            "HTTP/1.0 200 OK\r\nDate: x\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.0 NAME\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        // An HTTP/1.0 client gets no chunks.
        (
            "GET / HTTP/1.0",
            "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.1 NAME\r\nConnection: close\r\n\r\n",
            "hello",
        ),
        // A Content-Length beside chunks is ignored, and not forwarded (RFC 9112 section 6.1).
        (
            "GET / HTTP/1.1",
            "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.1 NAME\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
    ];
    for (request, answer, head, content) in cases {
        reverse(&Origin::saying(answer), &[], |proxy| {
            let mut stream = proxy.connect();
            write!(stream, "{request}\r\nHost: a\r\n\r\n").unwrap();
            let head = head.replace("NAME", &proxy.address);
            assert_eq!(read_head(&mut stream), head);
            let mut got = vec![0; content.len()];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(String::from_utf8_lossy(&got), content);
            // The connection continues, except with HTTP/1.0.
            write!(stream, "{request}\r\nHost: a\r\n\r\n").unwrap();
            if request.ends_with("1.1") {
                assert_eq!(read_head(&mut stream), head);
            } else {
                assert_eq!(read_all(&mut stream), "");
            }
        });
    }
}

/// Trailers in both directions (RFC 9110 section 6.5, RFC 9112 section 7.1.2).
#[test]
fn trailers() {
    let origin = Origin::start(|mut stream| {
        let head = read_head(&mut stream);
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        assert_eq!(read_until(&mut stream, "\r\n\r\n"), "3\r\nabc\r\n0\r\nX-Up: 1\r\n\r\n");
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Down\r\n\r\n\
            3\r\ndef\r\n0\r\nX-Down: 2\r\nContent-Length: 9\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    reverse(&origin, &[], |proxy| {
        let answer = proxy.ask(
            "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Up: 1\r\n\r\n",
        );
        // A trailer that concerns framing is dropped (RFC 9110 section 6.5.1).
        assert!(
            answer.ends_with("\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\nX-Down: 2\r\n\r\n"),
            "{answer}"
        );
        assert!(answer.contains("Trailer: X-Down\r\n"), "{answer}");
    });
}

/// Informational responses (RFC 8297, RFC 9110 section 15.2).
#[test]
fn informational_responses() {
    let origin = Origin::start(|mut stream| {
        read_head(&mut stream);
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
        stream.write_all(hints.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(200));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .unwrap();
    });
    reverse(&origin, &[], |proxy| {
        let mut stream = proxy.connect();
        write!(stream, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        // The informational response arrives before the final response exists.
        let first = read_head(&mut stream);
        assert!(
            first.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n"),
            "{first}"
        );
        let rest = read_all(&mut stream);
        assert!(
            rest.starts_with("HTTP/1.1 102 ") && rest.contains("HTTP/1.1 200 OK\r\n") && rest.ends_with("ok"),
            "{rest}"
        );
        // An HTTP/1.0 client gets none (RFC 9110 section 15.2).
        let old = proxy.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
        assert!(old.starts_with("HTTP/1.1 200 OK\r\n"), "{old}");
    });
}

/// The server decides whether the client sends its content (RFC 9110 section 10.1.1).
#[test]
fn expectations() {
    let origin = Origin::start(|mut stream| {
        let head = read_head(&mut stream);
        assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
        if head.starts_with("POST /no ") {
            let refusal = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return stream.write_all(refusal.as_bytes()).unwrap();
        }
        if head.starts_with("POST /yes ") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        }
        let mut content = [0; 5];
        stream.read_exact(&mut content).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .unwrap();
        stream.write_all(&content).unwrap();
    });
    reverse(&origin, &[], |proxy| {
        let ask = |path: &str| {
            let mut stream = proxy.connect();
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream
        };
        let mut stream = ask("/yes");
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 100 "));
        stream.write_all(b"hello").unwrap();
        let head = read_head(&mut stream);
        assert!(
            head.starts_with("HTTP/1.1 200 ") && !head.contains("Connection: close"),
            "{head}"
        );
        let mut stream = ask("/no");
        let answer = read_all(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 417 "), "{answer}");
        // The server sends no 100 (Continue), and the client stops waiting for it.
        let mut stream = ask("/silent");
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(
            stream.read(&mut [0]).is_err(),
            "the proxy sent 100 (Continue) by itself"
        );
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"hello").unwrap();
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 200 "));
    });
}

/// The absolute form, as a client sends it to a forward proxy, with names and addresses (RFC 9112 section 3.2.2).
#[test]
fn absolute_form() {
    let origin = Origin::mirror();
    for driver in Driver::ALL {
        let proxy = Proxy::start(*driver, &[]);
        let port = origin.address.port();
        for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
            let seen = proxy.ask(&format!(
                "GET http://{host}/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            ));
            let expected = format!("GET /a HTTP/1.1\r\nHost: {host}\r\nVia: 1.1 {}\r\n\r\n", proxy.address);
            assert!(seen.ends_with(&expected), "{seen}");
        }
        for (request, status) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 501),
            ("GET http://no.such.name.invalid/ HTTP/1.1\r\nHost: a\r\n\r\n", 502),
            ("CONNECT a:25 HTTP/1.1\r\nHost: a:25\r\n\r\n", 403),
            // Nothing listens on that port.
            ("CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n", 502),
        ] {
            let answer = proxy.ask(request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
        }
    }
}
