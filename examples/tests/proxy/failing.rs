//! Failing servers and clients.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use drivers::Driver;

use crate::{Origin, Proxy, read_head, read_until, reverse};

/// A server that dies during its response (RFC 9112 section 8). The client must not take the received part for complete.
#[test]
fn a_server_that_dies() {
    for (answer, came) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "hello"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "5\r\nhello\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y",
            "5\r\nhello\r\n",
        ),
    ] {
        reverse(&Origin::saying(answer), &[], |proxy| {
            let answer = proxy.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(came),
                "{answer}"
            );
            let Ok(curl) = Command::new("curl")
                .args(["-sS", "--max-time", "20", &format!("http://{}/", proxy.address)])
                .output()
            else {
                return eprintln!("skipped: there is no curl");
            };
            assert!(!curl.status.success(), "{curl:?}");
        });
    }
    // To an HTTP/1.0 client, only a reset shows that the response is incomplete.
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    reverse(&origin, &[], |proxy| {
        let mut stream = proxy.connect();
        write!(stream, "GET / HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
        let end = std::iter::repeat_with(|| stream.read(&mut [0; 100])).find(|read| !matches!(read, Ok(1..)));
        assert!(matches!(end, Some(Err(_))), "{end:?}");
    });
    // In a tunnel, too, the failure becomes a reset.
    let origin = Origin::start(|mut stream| {
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        // Unread input turns the close into a reset.
        thread::sleep(Duration::from_millis(100));
    });
    let port = origin.address.port().to_string();
    for driver in Driver::ALL {
        let proxy = Proxy::start(*driver, &["--tunnels", &port]);
        let mut stream = proxy.connect();
        write!(stream, "CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        read_until(&mut stream, "\r\n\r\nhello");
        stream.write_all(b"hello, and what nobody reads").unwrap();
        let end = stream.read(&mut [0; 100]);
        assert!(end.is_err(), "{end:?}");
    }
}

/// The client's answer if there is no response (RFC 9110 sections 15.6.3 and 15.6.5); its connection continues.
#[test]
fn failures() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Origin::start(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let rude = Origin::saying("SSH-2.0-OpenSSH\r\n\r\n");
    let mute = Origin::saying("");
    for (origin, status, text) in [
        (
            &Origin { address: gone },
            502,
            "cannot connect to the server: connection refused",
        ),
        (&silent, 504, "the server did not answer in time"),
        (&rude, 502, "the server's answer: "),
        (&mute, 502, "the server"),
    ] {
        reverse(origin, &["--patience", "1"], |proxy| {
            let mut stream = proxy.connect();
            for _ in 0..2 {
                write!(stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                let head = read_head(&mut stream);
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
                let line = read_until(&mut stream, "\n");
                assert!(
                    line.starts_with(&format!("{status} from the proxy {}: {text}", proxy.address)),
                    "{line}"
                );
            }
        });
    }
}

/// A client that disconnects also ends the connection to the server.
#[test]
fn a_client_that_goes() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Origin::start(move |mut stream| {
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .unwrap();
        let end = stream.read(&mut [0; 100]);
        tell.lock().unwrap().send(end.map_or(0, |n| n)).unwrap();
    });
    reverse(&origin, &[], |proxy| {
        let mut stream = proxy.connect();
        write!(stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        // Unread input turns the close into a reset; an orderly close could be a half-close, after which the response is still wanted.
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        let began = Instant::now();
        drop(stream);
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap(), 0);
        assert!(began.elapsed() < Duration::from_secs(5));
    });
}
