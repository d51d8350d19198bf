//! Peers that mean harm: what each does, and what a server must not let them do.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::websocket::{accepted, frame, opening};
use super::{Length, Plan};

/// An attack. The names are the ids of the security checklist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abuse {
    /// A head that never ends, one byte a second. The server must close.
    H16,
    /// Pings without end, nothing read. The server must close, or at least not grow.
    W05,
    /// Messages to an echo, nothing read. The server must close, or at least not grow.
    W09,
}

/// By how much a server may grow for one attacker: more is memory the attacker holds.
const MAX_GROWTH: u64 = 256 * 1024;
const TURN: Duration = Duration::from_millis(2);

/// How a server took an attack.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was tried.
    pub abuse: Abuse,
    /// Attackers.
    pub connections: usize,
    /// Of them, those that the server closed.
    pub closed: usize,
    /// When it had closed the last of those.
    pub last_closed: Duration,
    /// Bytes that the server took from all of them.
    pub taken: u64,
    /// By how much it had grown at most, per attacker, in bytes.
    pub growth: Option<u64>,
    /// Whether another client was served at the end.
    pub serves: bool,
}

impl Outcome {
    /// Whether the server held out.
    pub fn withstood(&self) -> bool {
        let closed_all = self.closed == self.connections;
        let small = self.growth.is_some_and(|growth| growth <= MAX_GROWTH);
        self.serves && (closed_all || (self.abuse != Abuse::H16 && small))
    }

    /// As one JSON object.
    pub fn to_json(&self) -> String {
        format!(
            "{{\"abuse\":\"{:?}\",\"connections\":{},\"closed\":{},\"last_closed\":{:.3},\"taken\":{},\
             \"server_growth\":{},\"serves\":{},\"withstood\":{}}}",
            self.abuse,
            self.connections,
            self.closed,
            self.last_closed.as_secs_f64(),
            self.taken,
            self.growth.map_or("null".to_owned(), |growth| growth.to_string()),
            self.serves,
            self.withstood(),
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:?}: {} of {} attackers closed, the last after {:.1?}; {} bytes taken",
            self.abuse, self.closed, self.connections, self.last_closed, self.taken
        )?;
        match self.growth {
            Some(growth) => writeln!(f, "server: grew by at most {growth} bytes per attacker")?,
            None => writeln!(f, "server: memory not known without its process")?,
        }
        writeln!(f, "others were {}", if self.serves { "served" } else { "NOT SERVED" })?;
        f.write_str(if self.withstood() { "withstood" } else { "NOT WITHSTOOD" })
    }
}

pub(super) fn run(plan: &Plan, abuse: Abuse) -> io::Result<Outcome> {
    let Length::Time(time) = plan.length else {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "an attack takes a time, not a number of requests",
        ));
    };
    let before = plan.sample().map(|sample| sample.rss);
    let attackers = (0..plan.connections).map(|_| Attacker::new(plan, abuse));
    let mut attackers = attackers.collect::<io::Result<Vec<_>>>()?;
    let (start, mut last_closed, mut most) = (Instant::now(), Duration::ZERO, before);
    while start.elapsed() < time && attackers.iter().any(|attacker| attacker.socket.is_some()) {
        for attacker in &mut attackers {
            if attacker.turn(start.elapsed()).is_err() {
                attacker.socket = None;
                last_closed = start.elapsed();
            }
        }
        most = most.max(plan.sample().map(|sample| sample.rss));
        std::thread::sleep(TURN);
    }
    let closed = attackers.iter().filter(|attacker| attacker.socket.is_none()).count();
    let growth = before
        .zip(most)
        .map(|(before, most)| most.saturating_sub(before) / plan.connections.max(1) as u64);
    Ok(Outcome {
        abuse,
        connections: plan.connections,
        closed,
        last_closed,
        taken: attackers.iter().map(|attacker| attacker.taken).sum(),
        growth,
        serves: serves(plan.target),
    })
}

struct Attacker {
    /// None when the server has closed it.
    socket: Option<TcpStream>,
    abuse: Abuse,
    /// What is sent, over and over.
    bytes: Vec<u8>,
    at: usize,
    taken: u64,
}

impl Attacker {
    fn new(plan: &Plan, abuse: Abuse) -> io::Result<Self> {
        let mut socket = TcpStream::connect(plan.target)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let bytes = match abuse {
            Abuse::H16 => b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "
                .iter()
                .chain(&[b'a'; 4096])
                .copied()
                .collect(),
            Abuse::W05 => frame(0x89, &[b'p'; 125], Some([1, 2, 3, 4])).repeat(100),
            Abuse::W09 => frame(0x82, &vec![b'm'; plan.payload.max(1)], Some([1, 2, 3, 4])),
        };
        if abuse != Abuse::H16 {
            shake_hands(&mut socket, plan)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Attacker {
            socket: Some(socket),
            abuse,
            bytes,
            at: 0,
            taken: 0,
        })
    }

    /// Sends what it may; an error when the server has closed.
    fn turn(&mut self, elapsed: Duration) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let mut most = match self.abuse {
            // The start of the head, then a byte a second.
            Abuse::H16 => (34 + elapsed.as_secs()).saturating_sub(self.taken) as usize,
            Abuse::W05 | Abuse::W09 => 1 << 20,
        };
        while most > 0 {
            let rest = &self.bytes[self.at..];
            match socket.write(&rest[..rest.len().min(most)]) {
                Ok(n) => {
                    most -= n;
                    self.taken += n as u64;
                    self.at = (self.at + n) % self.bytes.len();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.abuse != Abuse::H16 {
            return Ok(());
        }
        let mut answer = [0; 4096];
        match socket.read(&mut answer) {
            Ok(0) => Err(ErrorKind::ConnectionAborted.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn shake_hands(socket: &mut TcpStream, plan: &Plan) -> io::Result<()> {
    socket.write_all(&opening(plan))?;
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
        match accepted(&head) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(()),
            Err(violation) => return Err(io::Error::other(violation.to_string())),
        }
    }
}

/// Whether somebody with good intentions gets an answer.
fn serves(target: SocketAddr) -> bool {
    let ask = || -> io::Result<bool> {
        let mut socket = TcpStream::connect(target)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes())?;
        let mut answer = [0; 9];
        socket.read_exact(&mut answer)?;
        Ok(answer == *b"HTTP/1.1 ")
    };
    ask().unwrap_or(false)
}
