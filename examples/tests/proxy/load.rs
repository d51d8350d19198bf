//! Much data, many connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{Origin, read_head, reverse};

/// A large body in both directions at once, in either framing, with a client that is slower than the server.
#[test]
fn large_bodies() {
    const SIZE: usize = 20_000_000;
    let origin = Origin::start(|mut stream| {
        let head = read_head(&mut stream);
        let mut content = vec![0; SIZE];
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if head.contains("chunked") {
            let mut at = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                if size == 0 {
                    break;
                }
                reader.read_exact(&mut content[at..at + size]).unwrap();
                at += size;
                reader.read_line(&mut line).unwrap();
            }
            assert_eq!(at, SIZE);
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        } else {
            reader.read_exact(&mut content).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").unwrap();
        }
        stream.write_all(&content).unwrap();
    });
    let content: Vec<u8> = (0..SIZE).map(|n| (n / 3) as u8).collect();
    let file = std::env::temp_dir().join(format!("proxy-{}", std::process::id()));
    std::fs::write(&file, &content).unwrap();
    reverse(&origin, &[], |proxy| {
        for chunked in [false, true] {
            let mut curl = Command::new("curl");
            curl.args([
                "-sS",
                "--max-time",
                "60",
                "-H",
                "Expect:",
                "-X",
                "POST",
                "--data-binary",
            ]);
            curl.arg(format!("@{}", file.display()))
                .arg(format!("http://{}/", proxy.address));
            if chunked {
                curl.args(["-H", "Transfer-Encoding: chunked"]);
            }
            let Ok(got) = curl.output() else {
                eprintln!("skipped: there is no curl");
                return;
            };
            assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
            assert!(got.stdout == content, "{} bytes, chunked: {chunked}", got.stdout.len());
        }
    });
    std::fs::remove_file(&file).unwrap();
}

/// A client that does not read stops the server, and a server that does not read stops the client; the proxy buffers little.
#[test]
fn backpressure() {
    /// Writes for as long as the other end reads. Returns how many bytes it wrote.
    fn pour(mut stream: TcpStream) -> usize {
        stream.set_write_timeout(Some(Duration::from_millis(700))).unwrap();
        let piece = vec![b'x'; 65_536];
        let mut all = 0;
        while let Ok(n) = stream.write(&piece) {
            all += n;
            assert!(all < 100_000_000, "the other end keeps reading");
        }
        all
    }
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Origin::start(move |mut stream| {
        let head = read_head(&mut stream);
        if head.starts_with("GET") {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
            tell.lock().unwrap().send(pour(stream)).unwrap();
        } else {
            thread::sleep(Duration::from_secs(3));
        }
    });
    reverse(&origin, &[], |proxy| {
        let mut stream = proxy.connect();
        write!(stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let taken = told.recv_timeout(Duration::from_secs(20)).unwrap();
        // What the kernel's buffers hold, plus little more.
        assert!(taken < 30_000_000, "{taken}");
        let mut stream = proxy.connect();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"
        )
        .unwrap();
        let given = pour(stream);
        assert!(given < 30_000_000, "{given}");
    });
}

/// Many concurrent clients, each in a thread with several requests.
#[test]
fn many_clients() {
    let origin = Origin::mirror();
    reverse(&origin, &["--threads", "2"], |proxy| {
        let clients: Vec<JoinHandle<()>> = (0..20)
            .map(|client| {
                let mut stream = proxy.connect();
                thread::spawn(move || {
                    for n in 0..20 {
                        // Two requests at once: the second waits in the proxy.
                        let request = |m: u32| format!("GET /{client}/{n}/{m} HTTP/1.1\r\nHost: a\r\n\r\n");
                        write!(stream, "{}{}", request(1), request(2)).unwrap();
                        for m in 1..=2 {
                            read_head(&mut stream);
                            let seen = read_head(&mut stream);
                            assert!(seen.starts_with(&format!("GET /{client}/{n}/{m} ")), "{seen}");
                        }
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}
