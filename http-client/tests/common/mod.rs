//! A server that does what each path says, and counts what arrived.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use drivers::{Driver, Server};
use http_client::{Client, Settings};

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The number of its connection, and its place there.
    pub(crate) connection: usize,
    pub(crate) nth: usize,
}

/// What to answer: bytes as they are, and whether the connection goes on.
pub(crate) type Answer = (Vec<u8>, bool);

#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<Mutex<Vec<Arrived>>>,
}

impl Peer {
    /// Answers every request with what `answer` returns.
    pub(crate) fn start(answer: impl Fn(&Arrived) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Peer {
            address: listener.local_addr().unwrap(),
            log: Arc::default(),
        };
        let (log, answer) = (Arc::clone(&peer.log), Arc::new(answer));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || serve(stream.unwrap(), connection, &log, &*answer));
            }
        });
        peer
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn log(&self) -> Vec<Arrived> {
        self.log.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, connection: usize, log: &Mutex<Vec<Arrived>>, answer: &dyn Fn(&Arrived) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    for nth in 0.. {
        let Some(mut arrived) = read(&mut reader, &mut writer) else {
            return;
        };
        (arrived.connection, arrived.nth) = (connection, nth);
        log.lock().unwrap().push(arrived.clone());
        let (bytes, goes_on) = answer(&arrived);
        if writer.write_all(&bytes).is_err() || !goes_on {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream) -> Option<Arrived> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let mut arrived = Arrived {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        ..Arrived::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        arrived.fields.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    if arrived.fields.contains_key("expect") {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    if let Some(length) = arrived.fields.get("content-length") {
        arrived.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut arrived.body).ok()?;
    }
    if arrived.fields.contains_key("transfer-encoding") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            arrived.body.extend_from_slice(&chunk[..size]);
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            arrived
                .fields
                .insert(format!("trailer:{}", name.to_ascii_lowercase()), value.to_owned());
        }
    }
    Some(arrived)
}

/// A whole answer with content.
pub(crate) fn ok(content: impl AsRef<[u8]>) -> Answer {
    with("200 OK", &[], content)
}

pub(crate) fn with(status: &str, fields: &[(&str, &str)], content: impl AsRef<[u8]>) -> Answer {
    let content = content.as_ref();
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", content.len());
    for (name, value) in fields {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    ([bytes.as_bytes(), content].concat(), true)
}

/// A client on each driver.
pub(crate) fn clients(change: impl Fn(&mut Settings)) -> Vec<(Driver, Client)> {
    let made = Driver::ALL.iter().map(|&driver| {
        let mut settings = Settings::default();
        change(&mut settings);
        (driver, Client::on(&Server::on(driver), settings).unwrap())
    });
    made.collect()
}
