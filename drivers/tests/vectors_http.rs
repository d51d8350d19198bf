//! The request vectors of `proto-http`, sent over sockets to a server on every driver: the verdict must be that of the file.

#[macro_use]
mod common;
#[path = "../../proto-http/tests/vectors/reader.rs"]
mod reader;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use drivers::{Driver, Server};
use proto_http::{
    Fields, Handler, Misuse, NoUpgrade, Parsed, Request, Responder, Response, Rules, ServerConfig, Version,
};

/// Answers with a field that tells what the handler has seen, in the notation of the file.
#[derive(Default)]
struct Witness {
    seen: String,
}

impl Handler for Witness {
    type Message = std::convert::Infallible;
    type Next = NoUpgrade<Self::Message>;

    fn request(&mut self, request: &Request<'_>, _: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let version = match request.version() {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        };
        let waits = if request.expects_continue() { " 100" } else { "" };
        self.seen = format!("{} {} {version}{waits} \"", request.method(), request.target());
        Ok(())
    }

    fn data(&mut self, data: &[u8], _: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.seen.push_str(&String::from_utf8_lossy(data));
        Ok(())
    }

    fn end(&mut self, trailers: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.seen.push('"');
        if !trailers.is_empty() {
            self.seen.push_str(&format!(" +{}", trailers.iter().count()));
        }
        let status = if self.seen.starts_with("CONNECT") { 403 } else { 200 };
        responder.send(status, &[("Seen", &self.seen)], b"")
    }
}

/// Reads response heads from a connection; no response in this test has content.
struct Answers {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Answers {
    /// The next response: its status, what the witness has seen, and whether the connection closes behind it. `None` at the end.
    fn next(&mut self) -> std::io::Result<Option<(u16, String, bool)>> {
        loop {
            if let Parsed::Complete { head, length } = Response::parse(&self.bytes, &Rules::DEFAULT).unwrap() {
                let seen = head.fields().get_str("seen").unwrap_or_default().to_owned();
                let answer = (head.status(), seen, !head.keep_alive());
                self.bytes.drain(..length);
                return Ok(Some(answer));
            }
            let mut piece = [0; 4096];
            let n = self.stream.read(&mut piece)?;
            if n == 0 {
                assert!(self.bytes.is_empty(), "an incomplete response");
                return Ok(None);
            }
            self.bytes.extend_from_slice(&piece[..n]);
        }
    }
}

/// The verdict of a server on `bytes` sent over a socket, in the notation of the file without the names of violations.
fn verdict(to: SocketAddr, bytes: &[u8], outcome: &str) -> String {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    // The server may refuse and close while the remaining bytes are on their way.
    let _ = (&stream).write_all(bytes);
    let mut answers = Answers {
        stream,
        bytes: Vec::new(),
    };
    let mut parts = Vec::new();
    let complete = outcome.matches('"').count() / 2;
    let mut closes = false;
    let mut waited = false;
    let stays = outcome.ends_with("more");
    let mut told = false;
    loop {
        if stays && parts.len() == complete && !told {
            // All complete requests are answered; the remaining bytes are an incomplete request.
            told = true;
            answers.stream.shutdown(Shutdown::Write).unwrap();
        }
        let answer = match answers.next() {
            Ok(answer) => answer,
            Err(error) => return format!("{}; {error}", parts.join("; ")),
        };
        match answer {
            Some((100, ..)) => waited = true,
            Some((status, seen, last)) if !seen.is_empty() => {
                let connect = seen.starts_with("CONNECT");
                assert_eq!(status, if connect { 403 } else { 200 });
                assert_eq!(seen.contains(" 100 \""), std::mem::take(&mut waited), "{seen}");
                closes = last;
                parts.push(seen);
            }
            Some((status, _, last)) => {
                assert!(last, "a refusal is the last answer");
                // The end of the stream cut an incomplete body short.
                if !(told && status == 400) {
                    parts.push(status.to_string());
                }
                assert_eq!(answers.next().unwrap(), None);
                return parts.join("; ");
            }
            None => {
                parts.push(if told && !closes { "more" } else { "close" }.to_owned());
                return parts.join("; ");
            }
        }
    }
}

/// The outcome without the names of violations, and without parts that get no response.
fn expected(outcome: &str) -> String {
    let mut parts: Vec<&str> = outcome.split("; ").filter(|part| !part.ends_with("..")).collect();
    let cut_short = outcome.contains("..");
    match parts.pop() {
        // A body that is cut short gets a 400.
        Some("more") if cut_short => {}
        Some(last) => parts.push(last.split(' ').next().unwrap_or(last)),
        None => {}
    }
    parts.join("; ")
}

fn the_verdicts_are_those_of_the_file(driver: Driver) {
    let config = Arc::new(ServerConfig::default());
    let server = Server::on(driver)
        .serve("127.0.0.1:0", move |_| {
            Some(proto_http::Server::new(Arc::clone(&config), Witness::default()))
        })
        .unwrap();
    let to = server.local_addr().unwrap();
    let (mut tried, mut wrong) = (0, Vec::new());
    for vector in reader::vectors().iter().filter(|vector| vector.kind == "request") {
        tried += 1;
        let found = verdict(to, &vector.bytes, vector.outcome);
        if found != expected(vector.outcome) {
            wrong.push(format!(
                "{} ({}): {found}\n  instead of {}",
                vector.name, vector.section, vector.outcome
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried >= 150, "{tried}");
    server.stop(Duration::from_secs(5)).unwrap();
}

on_every_driver! {
    vectors: the_verdicts_are_those_of_the_file;
}
