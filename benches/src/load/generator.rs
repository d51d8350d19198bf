//! The loop of one thread: it opens connections, sends the requests that are due, and checks the answers.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::script::{Progress, Script, Violation};
use super::tls::Tls;
use super::{Length, Plan};

/// The number of connections that may be connecting at once: less than the backlog of any server.
const OPENING: usize = 100;
const READ_BUFFER: usize = 256 * 1024;
const EVENTS: usize = 1024;
/// When no bytes at all arrive for this long, the server has lost a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer latencies are recorded as this.
const LONGEST: Duration = Duration::from_secs(100);

/// What one thread has counted.
#[derive(Debug)]
pub(super) struct Tally {
    /// Right answers received while measuring.
    pub(super) answers: u64,
    /// How long the measurement took.
    pub(super) elapsed: Duration,
    /// Latencies from request to answer, in nanoseconds.
    pub(super) latencies: Histogram<u64>,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

struct Conn {
    /// `None` when the connection has failed.
    socket: Option<OwnedFd>,
    tls: Option<Tls>,
    phase: Phase,
    progress: Progress,
    /// Requests permitted but not sent yet, in bytes.
    to_send: usize,
    /// The position in the script of the next byte to send.
    at: usize,
    /// When the requests that wait for their answers were due, oldest first.
    waiting: VecDeque<Instant>,
    wants_out: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    /// In the TLS handshake.
    Encrypting,
    Handshake,
    Open,
}

pub(super) struct Generator {
    plan: Plan,
    script: Script,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    /// Decrypted bytes.
    plain: Vec<u8>,
    conns: Vec<Conn>,
    /// Connections that are not open yet.
    opening: usize,
    alive: usize,
    /// Connections that have had their single exchange.
    exchanged: usize,
    /// The number of the first source address; each thread starts at a different one.
    source: u32,
    /// Requests sent or permitted whose answers have not come.
    outstanding: usize,
    /// Requests that may still be sent.
    budget: u64,
    /// Whether an answer permits the next request.
    refill: bool,
    /// When a rate is given: connections with room for a request.
    free: VecDeque<usize>,
    measuring: bool,
    tally: Tally,
}

impl Generator {
    pub(super) fn new(plan: &Plan, script: Script, index: usize) -> io::Result<Self> {
        let latencies = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3).map_err(io::Error::other)?;
        Ok(Generator {
            plan: plan.clone(),
            script,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; READ_BUFFER],
            plain: Vec::new(),
            conns: Vec::with_capacity(plan.connections),
            opening: 0,
            alive: 0,
            exchanged: 0,
            source: index as u32,
            outstanding: 0,
            budget: u64::MAX,
            refill: false,
            free: VecDeque::new(),
            measuring: false,
            tally: Tally {
                answers: 0,
                elapsed: Duration::ZERO,
                latencies,
                errors: 0,
                first_error: None,
            },
        })
    }

    /// The number of connections that have not failed.
    pub(super) fn alive(&self) -> usize {
        self.alive
    }

    /// Opens `count` more connections and completes their handshakes.
    pub(super) fn open(&mut self, count: usize) -> io::Result<()> {
        let (start, mut begun) = (Instant::now(), 0);
        let mut progress = (Instant::now(), 0);
        while begun < count || self.opening > 0 {
            let due = if self.plan.ramp.is_zero() {
                count
            } else {
                let part = start.elapsed().as_secs_f64() / self.plan.ramp.as_secs_f64();
                (count as f64 * part) as usize + 1
            };
            while begun < due.min(count) && self.opening < OPENING {
                self.connect()?;
                begun += 1;
            }
            self.turn(Duration::from_millis(if begun < count && self.opening < OPENING {
                1
            } else {
                100
            }))?;
            let now = (begun, self.opening);
            if progress.1 != now.0 - now.1 {
                progress = (Instant::now(), now.0 - now.1);
            } else if progress.0.elapsed() > PATIENCE && self.opening > 0 {
                self.give_up(|conn| conn.phase != Phase::Open);
            }
        }
        if self.alive == 0 {
            let reason = self.tally.first_error.as_deref().unwrap_or("no connection");
            return Err(io::Error::other(format!("no connection could be opened: {reason}")));
        }
        Ok(())
    }

    fn connect(&mut self) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let target = self.plan.target;
        let family = if target.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if self.plan.sources > 1 {
            let address = u32::from(Ipv4Addr::LOCALHOST) + self.source % self.plan.sources;
            let source = SocketAddrV4::new(Ipv4Addr::from(address), 0);
            rustix::net::bind(&socket, &SocketAddr::V4(source))?;
            self.source = self.source.wrapping_add(1);
        }
        match rustix::net::connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let data = epoll::EventData::new_u64(self.conns.len() as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::OUT)?;
        let encryption = self.plan.encryption.as_ref();
        self.conns.push(Conn {
            socket: Some(socket),
            tls: encryption.map(|encryption| encryption.begin()).transpose()?,
            phase: Phase::Connecting,
            progress: Progress::default(),
            to_send: 0,
            at: 0,
            waiting: VecDeque::new(),
            wants_out: true,
        });
        self.opening += 1;
        self.alive += 1;
        Ok(())
    }

    /// Sends and receives for `length`, counting answers.
    pub(super) fn drive(&mut self, length: Length) -> io::Result<()> {
        self.tally.answers = 0;
        self.tally.latencies.reset();
        self.measuring = true;
        self.refill = self.plan.rate.is_none();
        let (end, goal) = match length {
            Length::Time(time) => (Some(time), u64::MAX),
            Length::Requests(requests) => (None, requests),
        };
        // Requests that were sent while warming up count too, because their answers come now.
        self.budget = goal.saturating_sub(self.outstanding as u64);
        let start = Instant::now();
        if self.refill {
            for index in 0..self.conns.len() {
                self.fill(index, start);
            }
        } else {
            self.free = self.rooms();
        }
        let interval = self.plan.rate.map(|rate| 1e9 / rate);
        let (mut due, mut heard) = (0_u64, (start, 0));
        while self.alive > 0 && self.tally.answers < goal && end.is_none_or(|end| start.elapsed() < end) {
            let mut sleep = end.map_or(PATIENCE, |end| end.saturating_sub(start.elapsed()));
            if let Some(interval) = interval {
                let at = |n: u64| start + Duration::from_nanos((n as f64 * interval) as u64);
                let now = Instant::now();
                while at(due) <= now && self.budget > 0 {
                    let Some(index) = self.free.pop_front() else { break };
                    self.submit(index, 1, at(due));
                    due += 1;
                }
                // For less than a millisecond it spins: the kernel's timers would wake it too late.
                let next = at(due).saturating_duration_since(Instant::now());
                let next = if self.free.is_empty() {
                    Duration::from_millis(1)
                } else {
                    next
                };
                sleep = sleep.min(if next < Duration::from_millis(1) {
                    Duration::ZERO
                } else {
                    next
                });
            }
            let longest = if self.plan.spin {
                Duration::ZERO
            } else {
                Duration::from_secs(1)
            };
            self.turn(sleep.min(longest))?;
            if heard.1 != self.tally.answers || self.outstanding == 0 {
                heard = (Instant::now(), self.tally.answers);
            } else if heard.0.elapsed() > PATIENCE {
                self.give_up(|conn| !conn.waiting.is_empty());
            }
        }
        self.tally.elapsed = start.elapsed();
        self.measuring = false;
        self.refill = false;
        Ok(())
    }

    /// Has one request and its answer on every connection that had none yet.
    pub(super) fn exchange_once(&mut self) -> io::Result<()> {
        (self.refill, self.budget) = (false, u64::MAX);
        for index in std::mem::replace(&mut self.exchanged, self.conns.len())..self.conns.len() {
            self.submit(index, 1, Instant::now());
            if self.outstanding > OPENING {
                self.turn(Duration::from_millis(1))?;
            }
        }
        self.wait_for_answers()
    }

    /// Sends nothing for `time`, but notices what the server sends and closes.
    pub(super) fn hold(&mut self, time: Duration) -> io::Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.turn(time.saturating_sub(start.elapsed()).min(Duration::from_millis(100)))?;
        }
        Ok(())
    }

    /// Waits for the answers to requests already sent, so that a lost answer is noticed.
    pub(super) fn finish(mut self) -> io::Result<Tally> {
        self.wait_for_answers()?;
        Ok(self.tally)
    }

    fn wait_for_answers(&mut self) -> io::Result<()> {
        let mut heard = (Instant::now(), self.outstanding);
        while self.outstanding > 0 {
            self.turn(Duration::from_millis(100))?;
            if heard.1 != self.outstanding {
                heard = (Instant::now(), self.outstanding);
            } else if heard.0.elapsed() > PATIENCE {
                self.give_up(|conn| !conn.waiting.is_empty());
            }
        }
        Ok(())
    }

    /// The connections in turn, each as often as it has room for requests.
    fn rooms(&self) -> VecDeque<usize> {
        let room = |depth: usize| move |(index, conn): (usize, &Conn)| (conn.waiting.len() <= depth).then_some(index);
        (0..self.plan.in_flight)
            .rev()
            .flat_map(|depth| self.conns.iter().enumerate().filter_map(room(depth)))
            .collect()
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let index = event.data.u64() as usize;
            if let Err(violation) = self.ready(index, event.flags) {
                self.fail(index, &violation);
            }
        }
        self.events = events;
        Ok(())
    }

    fn ready(&mut self, index: usize, flags: epoll::EventFlags) -> Result<(), Violation> {
        if self.conns[index].phase == Phase::Connecting {
            return self.connected(index);
        }
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(index)?;
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            self.receive(index)?;
        }
        Ok(())
    }

    fn connected(&mut self, index: usize) -> Result<(), Violation> {
        let conn = &mut self.conns[index];
        let Some(socket) = &conn.socket else { return Ok(()) };
        match sockopt::socket_error(socket) {
            Ok(Ok(())) => {}
            Ok(Err(errno)) | Err(errno) => return Err(Violation::Failed(io::Error::from(errno).kind())),
        }
        if conn.tls.is_some() {
            conn.phase = Phase::Encrypting;
            return self.flush(index);
        }
        self.begin(index)
    }

    /// Sends the handshake, if there is one, on a connection that is ready for it.
    fn begin(&mut self, index: usize) -> Result<(), Violation> {
        let conn = &mut self.conns[index];
        let Some(socket) = &conn.socket else { return Ok(()) };
        if let Some(opening) = self.script.opening() {
            // A newly opened socket has room for a few hundred bytes.
            if send(socket, &mut conn.tls, opening)? != opening.len() {
                return Err(Violation::Handshake);
            }
            conn.phase = Phase::Handshake;
        } else {
            conn.phase = Phase::Open;
            conn.progress.open = true;
            self.opening -= 1;
        }
        self.flush(index)
    }

    fn receive(&mut self, index: usize) -> Result<(), Violation> {
        let conn = &mut self.conns[index];
        let Some(socket) = &conn.socket else { return Ok(()) };
        let n = match rustix::net::recv(socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return Err(Violation::Closed),
            Ok((n, _)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(Violation::Failed(io::Error::from(errno).kind())),
        };
        let now = Instant::now();
        let mut came = &self.buffer[..n];
        if let Some(tls) = &mut conn.tls {
            self.plain.clear();
            tls.receive(socket, came, &mut self.plain)?;
            if conn.phase == Phase::Encrypting && tls.is_open() {
                // A TLS server sends nothing but session tickets before the client's first bytes.
                self.begin(index)?;
            }
            came = &self.plain;
            if came.is_empty() {
                return Ok(());
            }
        }
        let conn = &mut self.conns[index];
        let Some(socket) = &conn.socket else { return Ok(()) };
        let answers = self.script.check(&mut conn.progress, came)?;
        if conn.phase == Phase::Handshake && conn.progress.open {
            conn.phase = Phase::Open;
            self.opening -= 1;
        }
        if !conn.progress.reply.is_empty() {
            let reply = std::mem::take(&mut conn.progress.reply);
            // Replies are sent only between requests, not inside of one; the server will ping again.
            if conn.to_send == 0 {
                let _ = send(socket, &mut conn.tls, &reply);
            }
        }
        for _ in 0..answers {
            let due = conn.waiting.pop_front().ok_or(Violation::Unasked)?;
            self.outstanding -= 1;
            if self.measuring {
                let latency = now.saturating_duration_since(due).as_nanos() as u64;
                self.tally.latencies.saturating_record(latency.max(1));
                self.tally.answers += 1;
            }
            if self.measuring && !self.refill {
                self.free.push_back(index);
            }
        }
        if answers > 0 && self.refill {
            self.fill(index, now);
        }
        Ok(())
    }

    /// Submits as many requests as the connection has room for.
    fn fill(&mut self, index: usize, now: Instant) {
        let room = self.plan.in_flight.saturating_sub(self.conns[index].waiting.len());
        self.submit(index, room, now);
    }

    fn submit(&mut self, index: usize, count: usize, due: Instant) {
        let count = count.min(usize::try_from(self.budget).unwrap_or(usize::MAX));
        let conn = &mut self.conns[index];
        if conn.socket.is_none() || count == 0 {
            return;
        }
        self.budget -= count as u64;
        self.outstanding += count;
        conn.waiting.extend(std::iter::repeat_n(due, count));
        conn.to_send += count * self.script.size;
        if let Err(violation) = self.flush(index) {
            self.fail(index, &violation);
        }
    }

    fn flush(&mut self, index: usize) -> Result<(), Violation> {
        let conn = &mut self.conns[index];
        let Some(socket) = &conn.socket else { return Ok(()) };
        if let Some(tls) = &mut conn.tls {
            tls.flush(socket)?;
        }
        while conn.to_send > 0 && conn.phase == Phase::Open {
            let rest = &self.script.requests[conn.at..];
            let piece = &rest[..rest.len().min(conn.to_send)];
            let n = send(socket, &mut conn.tls, piece)?;
            conn.to_send -= n;
            conn.at = (conn.at + n) % self.script.period;
            if n < piece.len() {
                break;
            }
        }
        let sealed = conn.tls.as_ref().is_some_and(Tls::waits);
        let wants_out = (conn.to_send > 0 && conn.phase == Phase::Open) || sealed;
        if conn.wants_out != wants_out {
            conn.wants_out = wants_out;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, wants_out);
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, socket, data, flags)
                .map_err(|errno| Violation::Failed(io::Error::from(errno).kind()))?;
        }
        Ok(())
    }

    fn give_up(&mut self, on: impl Fn(&Conn) -> bool) {
        for index in 0..self.conns.len() {
            if self.conns[index].socket.is_some() && on(&self.conns[index]) {
                self.fail(index, &Violation::Silent);
            }
        }
    }

    /// Drops a connection and counts the reason. Each answer that it still awaited counts as an error too.
    fn fail(&mut self, index: usize, violation: &Violation) {
        let conn = &mut self.conns[index];
        if conn.socket.take().is_none() {
            return;
        }
        self.alive -= 1;
        if conn.phase != Phase::Open {
            self.opening -= 1;
        }
        self.outstanding -= conn.waiting.len();
        self.tally.errors += conn.waiting.len().max(1) as u64;
        conn.waiting.clear();
        conn.to_send = 0;
        self.tally.first_error.get_or_insert_with(|| violation.to_string());
    }
}

/// Sends as much of `piece` as the socket takes, through TLS where it is used. Returns the number of bytes of `piece`
/// sent.
fn send(socket: &OwnedFd, tls: &mut Option<Tls>, piece: &[u8]) -> Result<usize, Violation> {
    if let Some(tls) = tls {
        return tls.send(socket, piece);
    }
    match rustix::net::send(socket, piece, SendFlags::NOSIGNAL) {
        Ok(n) => Ok(n),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(errno) => Err(Violation::Failed(io::Error::from(errno).kind())),
    }
}
