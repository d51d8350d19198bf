//! The codec without any contract or driver: blocking sockets, one thread for each connection.
//!
//! ```text
//! blocking_echo serve 127.0.0.1:9001        echoes every message
//! blocking_echo autobahn ws://HOST:PORT AGENT   lets the Autobahn fuzzing server judge the client
//! ```
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an example is its own driver"
)]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use proto_http::{HeadScanner, Limits, Parsed, Request, Response, Rules, Violation};
use proto_ws::entropy::{Entropy, PerThread};
use proto_ws::handshake::{Key, client, server};
use proto_ws::{Config, Connection, Event, Message, Side, State};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => serve(address),
        ["autobahn", url, agent] => autobahn(url, agent),
        _ => Err("usage: blocking_echo serve ADDRESS | blocking_echo autobahn URL AGENT".into()),
    }
}

/// The default limits are for servers at large; the Autobahn suite sends messages of 16 MiB.
fn config() -> Arc<Config> {
    let mut config = Config::default();
    config.limits.frame = 32 << 20;
    config.limits.message = 32 << 20;
    config.limits.fragments = 1 << 20;
    Arc::new(config)
}

fn serve(address: &str) -> Outcome<()> {
    let listener = TcpListener::bind(address)?;
    let config = config();
    for stream in listener.incoming() {
        let (stream, config) = (stream?, config.clone());
        std::thread::spawn(move || {
            if let Err(error) = accept(stream, config) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn accept(mut stream: TcpStream, config: Arc<Config>) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut out = BytesMut::new();
    let mut input = Vec::new();
    let parse = |input: &[u8]| Request::parse(input, &Rules::DEFAULT).map(length);
    let length = read_head(&mut stream, &mut input, parse)?;
    let Parsed::Complete { head, .. } = Request::parse(&input, &Rules::DEFAULT)? else {
        return Err("no head".into());
    };
    let fields = head.fields().iter().map(|field| (field.name, field.value));
    let checked = server::Request::read(head.method(), fields)
        .and_then(|request| request.check_origin(&server::OriginPolicy::SameHost).map(|()| request));
    let connection = match checked {
        Ok(request) => {
            let response = request.accept();
            #[cfg(feature = "deflate")]
            let response = response.deflate(&config.deflate);
            response.write(&mut out);
            Connection::server(config).accepted(&response)
        }
        Err(rejection) => {
            rejection.write(&mut out);
            stream.write_all(&out)?;
            return Err(rejection.into());
        }
    };
    input.drain(..length);
    run(stream, connection, input, out, |_| {})
}

/// Echoes until the connection is over.
fn run<S: Side>(
    mut stream: TcpStream,
    mut connection: Connection<S>,
    mut input: Vec<u8>,
    mut out: BytesMut,
    mut seen: impl FnMut(Message<'_>),
) -> Outcome<()> {
    let Connection { reader, writer } = &mut connection;
    let mut minute = Instant::now();
    loop {
        if minute.elapsed() > Duration::from_secs(60) {
            writer.refill(u32::MAX);
            minute = Instant::now();
        }
        let mut rest = &mut input[..];
        let outcome = loop {
            match reader.next(writer, &mut rest, &mut out) {
                Ok(Some(Event::Message(message))) => {
                    seen(message);
                    // Fails only once a Close frame was sent.
                    let _ = writer.message(&mut out, message);
                }
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let left = rest.len();
        input.drain(..input.len() - left);
        stream.write_all(&out)?;
        out.clear();
        if matches!(writer.state(), State::Closed | State::Failed) {
            // The client waits for the server to end the stream (RFC 6455 section 7.1.1); whoever fails the connection
            // lingers, so that the reset of unread bytes does not overtake the Close frame.
            stream.shutdown(Shutdown::Write)?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
            return Ok(outcome?);
        }
        if read(&mut stream, &mut input)? == 0 {
            return if writer.end() {
                Ok(())
            } else {
                Err("the stream ended without a Close frame".into())
            };
        }
    }
}

fn autobahn(url: &str, agent: &str) -> Outcome<()> {
    let mut cases = 0;
    connect(url, "/getCaseCount", |message| {
        if let Message::Text(count) = message {
            cases = count.parse().unwrap_or(0);
        }
    })?;
    for case in 1..=cases {
        if let Err(error) = connect(url, &format!("/runCase?case={case}&agent={agent}"), |_| {}) {
            eprintln!("case {case}: {error}");
        }
    }
    connect(url, &format!("/updateReports?agent={agent}"), |_| {})
}

fn connect(url: &str, target: &str, seen: impl FnMut(Message<'_>)) -> Outcome<()> {
    let host = url
        .strip_prefix("ws://")
        .ok_or("not a ws:// URL")?
        .trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    let mut nonce = [0; 16];
    PerThread.fill(&mut nonce);
    let key = Key::new(nonce);
    let config = config();
    let request = client::Request::new(host, target);
    #[cfg(feature = "deflate")]
    let request = request.deflate(&config.deflate);
    let mut out = BytesMut::new();
    request.write(&key, &mut out)?;
    stream.write_all(&out)?;
    out.clear();
    let mut input = Vec::new();
    let parse = |input: &[u8]| Response::parse(input, &Rules::RESPONSES).map(length);
    let length = read_head(&mut stream, &mut input, parse)?;
    let Parsed::Complete { head, .. } = Response::parse(&input, &Rules::RESPONSES)? else {
        return Err("no head".into());
    };
    let fields = head.fields().iter().map(|field| (field.name, field.value));
    let granted = request.verify(&key, head.status(), fields)?;
    let connection = Connection::client(config.clone(), PerThread).granted(&granted);
    input.drain(..length);
    run(stream, connection, input, out, seen)
}

/// Reads until `parse` finds a whole head at the front of the input; returns its length.
fn read_head(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    parse: impl Fn(&[u8]) -> Result<Option<usize>, Violation>,
) -> Outcome<usize> {
    let mut scanner = HeadScanner::new();
    loop {
        if scanner.ready(input, &Limits::DEFAULT)
            && let Some(length) = parse(input)?
        {
            return Ok(length);
        }
        if read(stream, input)? == 0 {
            return Err("the stream ended inside the handshake".into());
        }
    }
}

fn length<T>(parsed: Parsed<T>) -> Option<usize> {
    match parsed {
        Parsed::Complete { length, .. } => Some(length),
        Parsed::Incomplete => None,
    }
}

fn read(stream: &mut TcpStream, input: &mut Vec<u8>) -> Outcome<usize> {
    let mut buffer = [0; 65536];
    let n = stream.read(&mut buffer)?;
    input.extend_from_slice(&buffer[..n]);
    Ok(n)
}
