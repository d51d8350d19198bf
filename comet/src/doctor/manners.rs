//! Tries known attacks once each, gently, and checks the server's answers.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use super::tls::Tls;
use super::{Check, Verdict};

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer that are examined.
const ENOUGH: usize = 64 * 1024;

/// One attack to try.
pub(super) struct Attempt {
    /// The attack's id in docs/security.md.
    pub(super) id: &'static str,
    what: &'static str,
    /// The bytes to send; `HOST` and `WS` stand for the server's address and its WebSocket's path.
    sent: Sent,
    expected: Expected,
}

enum Sent {
    Http(&'static str),
    /// A prefix, a text repeated this many times, and a suffix.
    Repeat(&'static str, &'static str, usize, &'static str),
    /// An opening handshake with this additional field, followed by these frames.
    Ws(&'static str, &'static [u8]),
}

enum Expected {
    /// One of these statuses, then the end of the connection.
    Refused(&'static [u16]),
    /// This status.
    Status(u16),
    /// A Close frame with this code, then the end of the connection.
    Closed(u16),
    /// Two answers with this status.
    Twice(u16),
}

macro_rules! request {
    ($line:literal $(, $field:literal)*; $body:literal) => {
        Sent::Http(concat!($line, "\r\nHost: HOST\r\n", $($field, "\r\n",)* "\r\n", $body))
    };
}

const BAD: Expected = Expected::Refused(&[400, 501]);

/// All attempts, in the order of docs/security.md.
pub(super) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        id: "ok",
        what: "two requests in one packet",
        sent: Sent::Http("GET PATH HTTP/1.1\r\nHost: HOST\r\n\r\nGET PATH HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        expected: Expected::Twice(200),
    },
    Attempt {
        id: "h01",
        what: "Content-Length beside Transfer-Encoding",
        sent: request!("POST PATH HTTP/1.1", "Content-Length: 6", "Transfer-Encoding: chunked"; "0\r\n\r\nG"),
        expected: BAD,
    },
    Attempt {
        id: "h02",
        what: "two different Content-Lengths",
        sent: request!("POST PATH HTTP/1.1", "Content-Length: 5", "Content-Length: 6"; "hello!"),
        expected: BAD,
    },
    Attempt {
        id: "h02",
        what: "a signed Content-Length",
        sent: request!("POST PATH HTTP/1.1", "Content-Length: +5"; "hello"),
        expected: BAD,
    },
    Attempt {
        id: "h03",
        what: "a Transfer-Encoding that only looks like chunked",
        sent: request!("POST PATH HTTP/1.1", "Transfer-Encoding: xchunked"; "0\r\n\r\n"),
        expected: BAD,
    },
    Attempt {
        id: "h03",
        what: "chunked that is not the last coding",
        sent: request!("POST PATH HTTP/1.1", "Transfer-Encoding: chunked, identity"; "0\r\n\r\n"),
        expected: BAD,
    },
    Attempt {
        id: "h04",
        what: "a chunk size that overflows",
        sent: request!("POST PATH HTTP/1.1", "Transfer-Encoding: chunked"; "10000000000000000\r\n"),
        expected: Expected::Refused(&[400, 404, 405, 413, 501]),
    },
    Attempt {
        id: "h05",
        what: "lines ended by LF alone",
        sent: Sent::Http("GET PATH HTTP/1.1\nHost: HOST\n\n"),
        expected: BAD,
    },
    Attempt {
        id: "h08",
        what: "a space before the colon",
        sent: request!("GET PATH HTTP/1.1", "X-Doctor : 1"; ""),
        expected: BAD,
    },
    Attempt {
        id: "h08",
        what: "a folded line",
        sent: request!("GET PATH HTTP/1.1", "X-Doctor: 1", " 2"; ""),
        expected: BAD,
    },
    Attempt {
        id: "h13",
        what: "a thousand fields",
        sent: Sent::Repeat("GET PATH HTTP/1.1\r\nHost: HOST\r\n", "X-Doctor: 1\r\n", 1000, "\r\n"),
        expected: Expected::Refused(&[400, 431]),
    },
    Attempt {
        id: "h13",
        what: "a target of 64 KiB",
        sent: Sent::Repeat("GET /", "x", 65_536, " HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        expected: Expected::Refused(&[400, 414]),
    },
    Attempt {
        id: "h19",
        what: "no Host",
        sent: Sent::Http("GET PATH HTTP/1.1\r\n\r\n"),
        expected: BAD,
    },
    Attempt {
        id: "h19",
        what: "a NUL in a field",
        sent: request!("GET PATH HTTP/1.1", "X-Doctor: a\0b"; ""),
        expected: BAD,
    },
    Attempt {
        id: "w11",
        what: "a page of another site",
        sent: Sent::Ws("Origin: https://doctor.invalid\r\n", b""),
        expected: Expected::Status(403),
    },
    Attempt {
        id: "w01",
        what: "a frame that claims 2^62 bytes",
        sent: Sent::Ws("", b"\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\0\0\0\0"),
        expected: Expected::Closed(1009),
    },
    Attempt {
        id: "w02",
        what: "a length of more than 63 bits",
        sent: Sent::Ws("", b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\0\0\0\0"),
        expected: Expected::Closed(1002),
    },
    Attempt {
        id: "w12",
        what: "a frame without mask",
        sent: Sent::Ws("", b"\x81\x02hi"),
        expected: Expected::Closed(1002),
    },
    Attempt {
        id: "w12",
        what: "a reserved bit",
        sent: Sent::Ws("", b"\xc1\x80\0\0\0\0"),
        expected: Expected::Closed(1002),
    },
    Attempt {
        id: "w12",
        what: "a reserved opcode",
        sent: Sent::Ws("", b"\x83\x80\0\0\0\0"),
        expected: Expected::Closed(1002),
    },
    Attempt {
        id: "w12",
        what: "a fragmented Ping",
        sent: Sent::Ws("", b"\x09\x80\0\0\0\0"),
        expected: Expected::Closed(1002),
    },
    Attempt {
        id: "w12",
        what: "text that is not UTF-8",
        sent: Sent::Ws("", b"\x81\x81\0\0\0\0\xff"),
        expected: Expected::Closed(1007),
    },
    Attempt {
        id: "w12",
        what: "a Close code that may not be sent",
        sent: Sent::Ws("", b"\x88\x82\0\0\0\0\x03\xed"),
        expected: Expected::Closed(1002),
    },
];

/// The server under examination.
pub(super) struct Patient {
    pub(super) address: SocketAddr,
    /// A path that the server answers with 200.
    pub(super) path: String,
    /// The path of its WebSocket.
    pub(super) ws: String,
    /// TLS settings, if the server uses TLS.
    pub(super) tls: Option<Tls>,
}

impl Patient {
    /// Opens a connection without TLS.
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Opens a connection for HTTP.
    fn open(&self) -> io::Result<Box<dyn Stream>> {
        let stream = self.connect()?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.open(stream)?),
        })
    }
}

/// A connection with or without TLS.
trait Stream: Read + Write {
    /// The TCP socket.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// The server's answer.
struct Answer {
    bytes: Vec<u8>,
    ended: bool,
}

impl Attempt {
    /// Whether the attempt needs no WebSocket.
    pub(super) fn is_http(&self) -> bool {
        !matches!(self.sent, Sent::Ws(..))
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.id, self.what)
    }

    /// Makes the attempt on one connection.
    pub(super) fn run(&self, patient: &Patient) -> Check {
        let (verdict, came) = match self.exchange(patient) {
            Ok(answer) => self.judge(&answer),
            Err(error) => (Verdict::Bad, error.to_string()),
        };
        Check {
            id: self.id,
            what: format!("{}: {came}", self.what),
            advice: (verdict != Verdict::Good).then(|| self.expected.to_string()),
            verdict,
        }
    }

    fn exchange(&self, patient: &Patient) -> io::Result<Answer> {
        let mut stream = patient.open()?;
        let fill = |text: &str| {
            let text = text.replace("HOST", &patient.address.to_string());
            text.replace("PATH", &patient.path)
        };
        let sent = match self.sent {
            Sent::Http(text) => fill(text).into_bytes(),
            Sent::Repeat(first, more, times, last) => {
                [fill(first), more.repeat(times), fill(last)].concat().into_bytes()
            }
            Sent::Ws(field, frames) => {
                let head = format!(
                    "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{field}\r\n",
                    patient.ws, patient.address
                );
                [head.as_bytes(), frames].concat()
            }
        };
        // A server that refuses early may close before everything was sent.
        match stream.write_all(&sent) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                return Err(error);
            }
            _ => {}
        }
        self.read(&mut *stream)
    }

    /// Reads until the connection ends, the expected answer has arrived, or a timeout.
    fn read(&self, stream: &mut dyn Stream) -> io::Result<Answer> {
        let begun = Instant::now();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            if left.is_zero() || bytes.len() > ENOUGH {
                return Ok(Answer { bytes, ended: false });
            }
            if matches!(self.expected, Expected::Status(_) | Expected::Twice(_)) && self.is_satisfied(&bytes) {
                let _ = stream.socket().shutdown(Shutdown::Both);
                return Ok(Answer { bytes, ended: false });
            }
            stream.socket().set_read_timeout(Some(left))?;
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(Answer { bytes, ended: true }),
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                // The second kind is an end without close_notify, which another check examines.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                    return Ok(Answer { bytes, ended: true });
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(Answer { bytes, ended: false });
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_satisfied(&self, bytes: &[u8]) -> bool {
        match &self.expected {
            Expected::Status(expected) => status(bytes) == Some(*expected),
            Expected::Twice(expected) => statuses(bytes).eq([*expected; 2]),
            Expected::Refused(_) | Expected::Closed(_) => false,
        }
    }

    fn judge(&self, answer: &Answer) -> (Verdict, String) {
        let Answer { bytes, ended } = answer;
        let ending = if *ended { "closed" } else { "left open" };
        match &self.expected {
            Expected::Refused(expected) => match status(bytes) {
                None if *ended => (Verdict::Fair, "closed without an answer".to_owned()),
                None => (Verdict::Bad, "no answer, and left open".to_owned()),
                Some(status) => {
                    let verdict = match expected.contains(&status) && *ended {
                        true => Verdict::Good,
                        false => Verdict::Bad,
                    };
                    (verdict, format!("{status}, and {ending}"))
                }
            },
            Expected::Status(_) | Expected::Twice(_) => {
                let came: Vec<String> = statuses(bytes).map(|status| status.to_string()).collect();
                let came = if came.is_empty() {
                    "no answer".to_owned()
                } else {
                    came.join(", ")
                };
                let verdict = if self.is_satisfied(bytes) {
                    Verdict::Good
                } else {
                    Verdict::Bad
                };
                (verdict, came)
            }
            Expected::Closed(expected) => match (status(bytes), close_code(bytes)) {
                (Some(101), Some(code)) if code == *expected && *ended => {
                    (Verdict::Good, format!("closed with {code}"))
                }
                (Some(101), Some(code)) => (Verdict::Bad, format!("a Close frame of {code}, and {ending}")),
                (Some(101), None) if *ended => (Verdict::Fair, "closed without a Close frame".to_owned()),
                (Some(101), None) => (Verdict::Bad, "no Close frame, and left open".to_owned()),
                (Some(status), _) => (Verdict::Bad, format!("no WebSocket there, but {status}")),
                (None, _) => (Verdict::Bad, "no answer".to_owned()),
            },
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Expected::Refused(statuses) => write!(f, "expected one of {statuses:?}, and the end of the connection"),
            Expected::Status(status) => write!(f, "expected {status}"),
            Expected::Closed(code) => write!(f, "expected a Close frame of {code}, and the end of the connection"),
            Expected::Twice(status) => write!(f, "expected two answers of {status}"),
        }
    }
}

/// The status of the first response.
fn status(bytes: &[u8]) -> Option<u16> {
    let line = bytes.strip_prefix(b"HTTP/1.")?;
    str::from_utf8(line.get(2..5)?).ok()?.parse().ok()
}

/// The statuses of all responses.
fn statuses(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let starts = bytes.windows(7).enumerate().filter(|(_, window)| *window == b"HTTP/1.");
    starts.filter_map(|(at, _)| status(&bytes[at..]))
}

/// The code of the first Close frame after the head.
fn close_code(bytes: &[u8]) -> Option<u16> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut frames = bytes[head + 4..].to_vec();
    let mut rest = &mut frames[..];
    let mut decoder = proto_ws::Decoder::new(proto_ws::Role::Client, proto_ws::Limits::default());
    while let Ok(Some(event)) = decoder.next(&mut rest) {
        if let proto_ws::Event::Close(close) = event {
            return Some(close.code.get());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged() {
        let attempt = ATTEMPTS.iter().find(|attempt| attempt.id == "h01").unwrap();
        let judge = |bytes: &[u8], ended| {
            let bytes = bytes.to_vec();
            attempt.judge(&Answer { bytes, ended }).0
        };
        assert_eq!(judge(b"HTTP/1.1 400 Bad Request\r\n\r\n", true), Verdict::Good);
        assert_eq!(judge(b"HTTP/1.1 400 Bad Request\r\n\r\n", false), Verdict::Bad);
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n\r\n", true), Verdict::Bad);
        assert_eq!(judge(b"", true), Verdict::Fair);
        assert_eq!(judge(b"", false), Verdict::Bad);
        let attempt = ATTEMPTS.iter().find(|attempt| attempt.id == "w02").unwrap();
        let judge = |bytes: &[u8], ended| {
            let bytes = [b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02{}", bytes].concat();
            attempt.judge(&Answer { bytes, ended }).0
        };
        assert_eq!(judge(b"\x88\x02\x03\xea", true), Verdict::Good);
        assert_eq!(judge(b"\x88\x02\x03\xe8", true), Verdict::Bad);
        assert_eq!(judge(b"", true), Verdict::Fair);
    }
}
