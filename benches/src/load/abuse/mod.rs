//! Malicious peers: the server's reaction to them, and the service to honest clients meanwhile.

mod attack;
mod heard;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::websocket::accepted;
use super::{Length, Mode, Plan, Report};

pub use attack::Abuse;
use attack::{Defence, Pace, Script};
use heard::Heard;

const TURN: Duration = Duration::from_millis(2);
/// The pause before a disconnected attacker reconnects.
const AGAIN: Duration = Duration::from_millis(100);
/// Growth of the server permitted per attacker, in bytes: more would be memory that the attacker holds.
const GROWTH: u64 = 256 << 10;
/// Bytes that an attacker sends or reads before the next attacker's turn.
const MOST: usize = 256 * 1024;
/// The number of honest clients, and their requests per second, all together.
const HONEST: usize = 8;
const HONEST_RATE: f64 = 200.0;

/// The result of an attack.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The attack.
    pub abuse: Abuse,
    /// The number of concurrent attackers.
    pub connections: usize,
    /// The number of attackers that the server disconnected at least once.
    pub closed: usize,
    /// The number of connections that the server closed; disconnected attackers reconnect.
    pub closings: usize,
    /// The longest time that one of them was open.
    pub longest: Duration,
    /// The server's last words, if attackers read them: HTTP statuses, codes of Close frames.
    pub told: BTreeMap<u16, usize>,
    /// Bytes that the server read from all attackers.
    pub taken: u64,
    /// The server's largest growth, in bytes per attacker.
    pub growth: Option<u64>,
    /// The results of honest clients meanwhile.
    pub honest: Report,
}

impl Outcome {
    /// Whether the server withstood the attack: it reacted as required, did not grow as far as is known, and gave every honest client every
    /// answer.
    pub fn withstood(&self) -> bool {
        let small = self.growth.map(|growth| growth <= GROWTH);
        let defended = match self.abuse.defence() {
            Defence::Close => self.closed == self.connections,
            // If the server's size is unknown, so is its growth.
            Defence::Hold => self.closed == self.connections || small.is_some(),
        };
        defended && small != Some(false) && self.honest.errors == 0 && self.honest.answers > 0
    }

    /// As one JSON object.
    pub fn to_json(&self) -> String {
        let told: Vec<_> = self
            .told
            .iter()
            .map(|(code, count)| format!("\"{code}\":{count}"))
            .collect();
        format!(
            "{{\"abuse\":\"{:?}\",\"connections\":{},\"closed\":{},\"closings\":{},\"longest\":{:.3},\"told\":{{{}}},\
             \"taken\":{},\"server_growth\":{},\"honest\":{},\"withstood\":{}}}",
            self.abuse,
            self.connections,
            self.closed,
            self.closings,
            self.longest.as_secs_f64(),
            told.join(","),
            self.taken,
            self.growth.map_or("null".to_owned(), |growth| growth.to_string()),
            self.honest.to_json(),
            self.withstood(),
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:?}: {} of {} attackers closed, {} times, after {:.1?} at most; {} bytes taken",
            self.abuse, self.closed, self.connections, self.closings, self.longest, self.taken
        )?;
        for (code, count) in &self.told {
            writeln!(f, "told: {code}, {count} times")?;
        }
        match self.growth {
            Some(growth) => writeln!(f, "server: grew by at most {growth} bytes per attacker")?,
            None => writeln!(f, "server: memory not known without its process")?,
        }
        writeln!(f, "honest clients: {}", self.honest)?;
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
    let (script, start) = (abuse.script(plan), Instant::now());
    // At least one attacker must connect.
    let first = Attacker::new(plan, &script)?;
    let mut attackers: Vec<_> = (0..plan.connections).map(|_| Attacker::default()).collect();
    if let Some(attacker) = attackers.first_mut() {
        *attacker = first;
    }
    let (honest, most) = std::thread::scope(|scope| {
        let honest = scope.spawn(|| super::run(&honest(plan, time)));
        // On a machine with few processors, the server's fairness is measured, not the system's. This applies to the calling thread.
        let _ = rustix::process::nice(10);
        let mut most = before;
        while start.elapsed() < time {
            for attacker in &mut attackers {
                attacker.turn(plan, &script, abuse);
            }
            most = most.max(plan.sample().map(|sample| sample.rss));
            std::thread::sleep(TURN);
        }
        (honest.join(), most)
    });
    let honest = honest.map_err(|_| io::Error::other("the honest clients panicked"))??;
    let mut told = BTreeMap::new();
    for (code, count) in attackers.iter().flat_map(|attacker| &attacker.told) {
        *told.entry(*code).or_default() += count;
    }
    Ok(Outcome {
        abuse,
        connections: plan.connections,
        closed: attackers.iter().filter(|attacker| attacker.closings > 0).count(),
        closings: attackers.iter().map(|attacker| attacker.closings).sum(),
        longest: attackers
            .iter()
            .map(|attacker| attacker.longest)
            .max()
            .unwrap_or_default(),
        told,
        taken: attackers.iter().map(|attacker| attacker.taken).sum(),
        growth: before
            .zip(most)
            .map(|(before, most)| most.saturating_sub(before) / plan.connections.max(1) as u64),
        honest,
    })
}

/// The plan of honest clients.
fn honest(plan: &Plan, time: Duration) -> Plan {
    let mut honest = Plan::new(plan.target, plan.mode);
    honest.connections = HONEST;
    honest.rate = Some(HONEST_RATE);
    honest.length = Length::Time(time);
    honest.expect.clone_from(&plan.expect);
    honest.payload = if plan.mode == Mode::Http { 0 } else { 20 };
    honest
}

/// One attacker, with one connection after the other.
#[derive(Default)]
struct Attacker {
    /// `None` once the server has closed the connection.
    open: Option<Open>,
    /// When the next connection may be opened.
    again: Option<Instant>,
    closings: usize,
    longest: Duration,
    taken: u64,
    told: BTreeMap<u16, usize>,
}

struct Open {
    socket: TcpStream,
    since: Instant,
    /// The answer to the handshake so far, until the handshake is complete.
    handshake: Option<Vec<u8>>,
    /// Bytes sent after the handshake.
    sent: usize,
    /// Input after the handshake.
    heard: Heard,
}

impl Attacker {
    fn new(plan: &Plan, script: &Script) -> io::Result<Self> {
        Ok(Attacker {
            open: Some(Open::new(plan, script)?),
            ..Attacker::default()
        })
    }

    fn turn(&mut self, plan: &Plan, script: &Script, abuse: Abuse) {
        let now = Instant::now();
        let Some(open) = &mut self.open else {
            if self.again.is_none_or(|again| again <= now) {
                self.open = Open::new(plan, script).ok();
                self.again = Some(now + AGAIN);
            }
            return;
        };
        let sent = open.sent;
        let result = open.turn(script, abuse);
        self.taken += (open.sent - sent) as u64;
        if result.is_err() {
            self.closings += usize::from(open.handshake.is_none());
            self.longest = self.longest.max(open.since.elapsed());
            let told = match script.handshake[..] {
                [] => open.heard.status(),
                _ => open.heard.close_code(),
            };
            if let Some(code) = told {
                *self.told.entry(code).or_default() += 1;
            }
            self.open = None;
            self.again = Some(now + AGAIN);
        }
    }
}

impl Open {
    fn new(plan: &Plan, script: &Script) -> io::Result<Self> {
        let mut socket = TcpStream::connect(plan.target)?;
        socket.set_nodelay(true)?;
        socket.write_all(&script.handshake)?;
        socket.set_nonblocking(true)?;
        Ok(Open {
            socket,
            since: Instant::now(),
            handshake: (!script.handshake.is_empty()).then(Vec::new),
            sent: 0,
            heard: Heard::default(),
        })
    }

    /// Sends what is due. Fails once the server has closed.
    fn turn(&mut self, script: &Script, abuse: Abuse) -> io::Result<()> {
        if let Some(head) = &mut self.handshake {
            // Byte by byte, because bytes after the head belong to later input.
            let mut byte = [0];
            while self.socket.read_some(&mut byte)? > 0 {
                head.extend_from_slice(&byte);
                if accepted(head)
                    .map_err(|violation| io::Error::other(violation.to_string()))?
                    .is_some()
                {
                    let granted = String::from_utf8_lossy(head).contains("permessage-deflate");
                    if abuse.compresses() && !granted {
                        return Err(io::Error::other("the server does not compress"));
                    }
                    self.handshake = None;
                    break;
                }
            }
            return Ok(());
        }
        self.send(script)?;
        if script.reads { self.take() } else { Ok(()) }
    }

    fn send(&mut self, script: &Script) -> io::Result<()> {
        let mut most = match script.pace {
            Pace::Flood => MOST,
            Pace::Bytes(each) => {
                let after = match each.as_nanos() {
                    0 => self.sent + 1,
                    each => script.start.len() + (self.since.elapsed().as_nanos() / each) as usize,
                };
                script.start.len().max(after).saturating_sub(self.sent)
            }
        };
        while most > 0 {
            let rest = match self.sent.checked_sub(script.start.len()) {
                None => &script.start[self.sent..],
                Some(_) if script.again.is_empty() => return Ok(()),
                Some(beyond) => &script.again[beyond % script.again.len()..],
            };
            match self.socket.write(&rest[..rest.len().min(most)]) {
                Ok(n) => {
                    most -= n;
                    self.sent += n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    // The server may have sent a reason.
                    let _ = self.take();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        for _ in 0..MOST / bytes.len() {
            match self.socket.read_some(&mut bytes)? {
                0 => break,
                n => self.heard.add(&bytes[..n]),
            }
        }
        Ok(())
    }
}

trait ReadSome {
    /// Reads available bytes; 0 if there are none yet.
    fn read_some(&mut self, to: &mut [u8]) -> io::Result<usize>;
}

impl ReadSome for TcpStream {
    fn read_some(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.read(to) {
            Ok(0) => Err(ErrorKind::ConnectionAborted.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}
