//! The proxy with clients and servers that are raw sockets, curl, and this project's own.

mod failing;
mod load;
mod passing;
mod tunnels;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use drivers::Driver;

/// A running proxy, which ends when dropped.
struct Proxy {
    child: Child,
    address: String,
}

impl Proxy {
    fn start(driver: Driver, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_proxy"))
            .args(["--driver", driver.name(), "--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Proxy { child, address }
    }

    fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(&self.address).unwrap())
    }

    /// Sends `request` and reads everything to the end.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_all(&mut stream)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything received before the end or the reset.
fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&all)),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads up to `end`.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(end.as_bytes()) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&all));
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

fn read_head(stream: &mut TcpStream) -> String {
    read_until(stream, "\r\n\r\n")
}

/// A server whose connections `serve` handles.
struct Origin {
    address: SocketAddr,
}

impl Origin {
    fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = std::sync::Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serve = std::sync::Arc::clone(&serve);
                thread::spawn(move || serve(patient(stream.unwrap())));
            }
        });
        Origin { address }
    }

    /// A server that reads a head and answers with `answer`, followed by the head as content.
    fn saying(answer: &'static str) -> Self {
        Origin::start(move |mut stream| {
            read_head(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
        })
    }

    /// A server that answers with the head it received.
    fn mirror() -> Self {
        Origin::start(|mut stream| {
            let head = read_head(&mut stream);
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}",
                head.len()
            )
            .unwrap();
        })
    }
}

/// Runs `test` on each driver, with a reverse proxy for `origin`.
fn reverse(origin: &Origin, flags: &[&str], test: impl Fn(&Proxy)) {
    for driver in Driver::ALL {
        let to = origin.address.to_string();
        test(&Proxy::start(*driver, &[&["--to", &to], flags].concat()));
    }
}
