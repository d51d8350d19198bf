//! Shows how wirestate and two widely used crates read WebSocket frames and RESP replies. Reads one stream per line from standard input,
//! its kind and its bytes in hexadecimal, separated by a tab, and writes one line for each. `ci/differential.py` compares these lines with
//! each other and with those of Python packages.
//!
//! usage: frame_verdicts ours|tungstenite|redis-protocol. Kinds: `ws server`, `ws client` (who receives), `resp 2`, `resp 3`.
//!
//! A line lists the items read, separated by tabs, and then `more`, `close` or `error KIND`.

use std::io::{self, BufRead, BufWriter, Read, Write};

use bytes::BytesMut;
use proto_resp::{Rules, Value, ValueDecoder, Version};
use proto_ws::{Connection, Entropy, Event, Message, Side};
use redis_protocol::{resp2, resp3};
use tungstenite::protocol::{Role, WebSocket};

fn main() -> io::Result<()> {
    let who = std::env::args().nth(1).unwrap_or_default();
    let mut output = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (kind, digits) = line.split_once('\t').unwrap_or((&line, ""));
        let bytes = unhex(digits).ok_or_else(|| io::Error::other("not in hexadecimal"))?;
        let server = kind == "ws server";
        let verdict = match (&*who, kind) {
            ("ours", "ws server") => frames(Connection::server(Default::default()), bytes),
            ("ours", "ws client") => frames(Connection::client(Default::default(), Zeros), bytes),
            ("ours", _) => replies(kind == "resp 3", &bytes),
            ("tungstenite", _) => tungstenite(server, bytes),
            ("redis-protocol", _) => redis_protocol(kind == "resp 3", &bytes),
            _ => {
                return Err(io::Error::other(
                    "usage: frame_verdicts ours|tungstenite|redis-protocol",
                ));
            }
        };
        writeln!(output, "{}", verdict.join("\t"))?;
    }
    output.flush()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

// WebSocket.

#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn frames<S: Side>(connection: Connection<S>, mut bytes: Vec<u8>) -> Vec<String> {
    let Connection { mut reader, mut writer } = connection;
    let (mut input, mut said, mut out) = (&mut bytes[..], Vec::new(), BytesMut::new());
    loop {
        said.push(match reader.next(&mut writer, &mut input, &mut out) {
            Ok(Some(Event::Message(Message::Text(text)))) => format!("T {}", hex(text.as_bytes())),
            Ok(Some(Event::Message(Message::Binary(bytes)))) => format!("B {}", hex(bytes)),
            Ok(Some(Event::Ping(payload))) => format!("P {}", hex(payload)),
            Ok(Some(Event::Pong(payload))) => format!("O {}", hex(payload)),
            Ok(Some(Event::Close(reason))) => {
                said.push(format!("C {} {}", reason.code.get(), hex(reason.reason.as_bytes())));
                said.push("close".into());
                return said;
            }
            Ok(Some(_)) => continue,
            Ok(None) => {
                said.push("more".into());
                return said;
            }
            Err(error) => {
                let name = format!("{error:?}");
                said.push(format!("error {}", name.split('(').next().unwrap_or_default()));
                return said;
            }
        });
    }
}

/// A stream that has no more bytes for now when all are read.
struct Wire(io::Cursor<Vec<u8>>);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            other => other,
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite(server: bool, bytes: Vec<u8>) -> Vec<String> {
    let role = if server { Role::Server } else { Role::Client };
    let mut socket = WebSocket::from_raw_socket(Wire(io::Cursor::new(bytes)), role, None);
    let mut said = Vec::new();
    loop {
        said.push(match socket.read() {
            Ok(tungstenite::Message::Text(text)) => format!("T {}", hex(text.as_bytes())),
            Ok(tungstenite::Message::Binary(bytes)) => format!("B {}", hex(&bytes)),
            Ok(tungstenite::Message::Ping(payload)) => format!("P {}", hex(&payload)),
            Ok(tungstenite::Message::Pong(payload)) => format!("O {}", hex(&payload)),
            Ok(tungstenite::Message::Close(close)) => {
                let (code, reason) = close.map_or((1005, String::new()), |close| {
                    (close.code.into(), close.reason.to_string())
                });
                said.push(format!("C {code} {}", hex(reason.as_bytes())));
                said.push("close".into());
                return said;
            }
            Ok(tungstenite::Message::Frame(_)) => continue,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                said.push("more".into());
                return said;
            }
            Err(error) => {
                said.push(format!("error {error}"));
                return said;
            }
        });
    }
}

// RESP. All kinds of text are written as `s`, because Python does not tell them apart; pairs and the elements of sets are sorted.

fn replies(resp3: bool, bytes: &[u8]) -> Vec<String> {
    let version = if resp3 { Version::Resp3 } else { Version::Resp2 };
    let mut decoder = ValueDecoder::new(version, Rules::REPLIES);
    let (mut input, mut said) = (bytes, Vec::new());
    loop {
        said.push(match decoder.next(&mut input) {
            Ok(Some(value)) => shown(&value),
            Ok(None) => {
                said.push("more".into());
                return said;
            }
            Err(violation) => {
                said.push(format!("error {}", violation.name()));
                return said;
            }
        });
    }
}

fn list(begin: &str, items: impl Iterator<Item = String>, sorted: bool, end: &str) -> String {
    let mut items: Vec<_> = items.collect();
    if sorted {
        items.sort();
        items.dedup();
    }
    format!("{begin}{}{end}", items.join(","))
}

fn double(value: f64) -> String {
    if value.is_nan() {
        "dnan".into()
    } else {
        format!("d{:016x}", value.to_bits())
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(_, text) | Value::BigNumber(text) => {
            format!("s{}", hex(text))
        }
        Value::Error(text) => format!("e{}", hex(text)),
        Value::Integer(value) => format!("i{value}"),
        Value::Double(value) => double(*value),
        Value::Boolean(value) => format!("b{value}"),
        Value::Null => "n".into(),
        Value::Array(values) => list("[", values.iter().map(shown), false, "]"),
        Value::Push(values) => list(">[", values.iter().map(shown), false, "]"),
        Value::Set(values) => list("[", values.iter().map(shown), true, "]"),
        Value::Map(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(key, value)| format!("{}={}", shown(key), shown(value)));
            list("{", pairs, true, "}")
        }
        Value::Attributed(inner) => shown(&inner.value),
        _ => "?".into(),
    }
}

fn redis_protocol(resp3: bool, mut bytes: &[u8]) -> Vec<String> {
    let mut said = Vec::new();
    loop {
        let decoded = if resp3 {
            resp3::decode::complete::decode(bytes).map(|found| found.map(|(frame, used)| (shown3(&frame), used)))
        } else {
            resp2::decode::decode(bytes).map(|found| found.map(|(frame, used)| (shown2(&frame), used)))
        };
        match decoded {
            Ok(Some((value, used))) => {
                said.push(value);
                bytes = bytes.get(used..).unwrap_or_default();
            }
            Ok(None) => {
                said.push("more".into());
                return said;
            }
            Err(error) => {
                said.push(format!("error {}", error.to_string().replace(['\t', '\n', '\r'], " ")));
                return said;
            }
        }
    }
}

fn shown2(frame: &resp2::types::OwnedFrame) -> String {
    use resp2::types::OwnedFrame as Frame;
    match frame {
        Frame::SimpleString(text) | Frame::BulkString(text) => format!("s{}", hex(text)),
        Frame::Error(text) => format!("e{}", hex(text.as_bytes())),
        Frame::Integer(value) => format!("i{value}"),
        Frame::Array(values) => list("[", values.iter().map(shown2), false, "]"),
        Frame::Null => "n".into(),
    }
}

fn shown3(frame: &resp3::types::OwnedFrame) -> String {
    use resp3::types::OwnedFrame as Frame;
    match frame {
        Frame::BlobString { data, .. }
        | Frame::SimpleString { data, .. }
        | Frame::BigNumber { data, .. }
        | Frame::VerbatimString { data, .. } => format!("s{}", hex(data)),
        Frame::ChunkedString(data) => format!("s{}", hex(data)),
        Frame::BlobError { data, .. } => format!("e{}", hex(data)),
        Frame::SimpleError { data, .. } => format!("e{}", hex(data.as_bytes())),
        Frame::Boolean { data, .. } => format!("b{data}"),
        Frame::Null => "n".into(),
        Frame::Number { data, .. } => format!("i{data}"),
        Frame::Double { data, .. } => double(*data),
        Frame::Array { data, .. } => list("[", data.iter().map(shown3), false, "]"),
        Frame::Push { data, .. } => list(">[", data.iter().map(shown3), false, "]"),
        Frame::Set { data, .. } => list("[", data.iter().map(shown3), true, "]"),
        Frame::Map { data, .. } => {
            let pairs = data
                .iter()
                .map(|(key, value)| format!("{}={}", shown3(key), shown3(value)));
            list("{", pairs, true, "}")
        }
        Frame::Hello { .. } => "hello".into(),
    }
}
