//! One visit: a connection from its opening to its end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};

use super::super::script::{Progress, Script, Violation};
use super::super::websocket::frame;
use super::super::{Mode, Plan};
use super::lots::{Ending, Random, SCRIPTS};

/// How long a server may take for an answer or any other reaction.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The state that all visits share.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) scripts: Vec<Script>,
    pub(super) epoll: OwnedFd,
    pub(super) buffer: Vec<u8>,
    pub(super) random: Random,
    /// How long a visit lasts, on average.
    pub(super) stay: Duration,
    /// All connections are still being opened; until they are, no visit leaves.
    pub(super) filling: bool,
    /// The run is over: visits end without pausing.
    pub(super) over: bool,
    /// When to wake the visit at which place; the last number is the visit's, so that a later visit at the same place
    /// is not woken.
    pub(super) wakes: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    pub(super) answers: u64,
}

impl World {
    pub(super) fn leaves(&mut self, now: Instant) -> Instant {
        now + if self.filling {
            10 * PATIENCE
        } else {
            self.random.about(self.stay)
        }
    }
}

pub(super) struct Visit {
    place: usize,
    pub(super) number: u64,
    socket: OwnedFd,
    script: usize,
    pub(super) ending: Ending,
    /// When the visit stops sending requests and ends.
    pub(super) leaves: Instant,
    pub(super) phase: Phase,
    progress: Progress,
    /// Bytes of requests still to be sent, from position `at` of the script.
    to_send: usize,
    at: usize,
    /// Bytes to send that are not requests, such as Pongs and Close frames.
    others: Vec<u8>,
    /// The number of answers that the server still owes.
    awaited: usize,
    wants_out: bool,
    /// When the server counts as silent.
    patience: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Handshake,
    /// Waits for answers to its requests.
    Asking,
    Pausing,
    /// Has sent a Close frame; expects the server's Close frame and then the end of the stream.
    Closing,
    /// Half-closes when all is sent; expects all answers and then the end of the stream.
    HalfClosing,
    /// Half-closes when all is sent; expects only the end of the stream, after any bytes.
    Tearing,
    /// Resets the connection after a while.
    Leaving,
}

/// A visit has ended: well or with a violation.
pub(super) enum Left {
    Well,
    Badly(Violation),
}

impl From<Violation> for Left {
    fn from(violation: Violation) -> Self {
        Left::Badly(violation)
    }
}

impl From<Errno> for Left {
    fn from(errno: Errno) -> Self {
        Left::Badly(Violation::Failed(io::Error::from(errno).kind()))
    }
}

impl Visit {
    /// Opens the connection of a new visit at `place`.
    pub(super) fn begin(world: &mut World, place: usize, number: u64) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let target = world.plan.target;
        let family = if target.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if world.plan.sources > 1 {
            let address = u32::from(Ipv4Addr::LOCALHOST) + world.random.below(world.plan.sources as usize) as u32;
            let source = SocketAddrV4::new(Ipv4Addr::from(address), 0);
            rustix::net::bind(&socket, &SocketAddr::V4(source))?;
        }
        match rustix::net::connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let data = epoll::EventData::new_u64(place as u64);
        epoll::add(&world.epoll, &socket, data, epoll::EventFlags::OUT)?;
        let now = Instant::now();
        let script = world.random.below(SCRIPTS.len());
        let ending = Ending::ALL[world.random.below(Ending::ALL.len())];
        let mut visit = Visit {
            place,
            number,
            socket,
            script,
            ending,
            leaves: world.leaves(now),
            phase: Phase::Connecting,
            progress: Progress::default(),
            to_send: 0,
            at: 0,
            others: Vec::new(),
            awaited: 0,
            wants_out: true,
            patience: now,
        };
        if ending == Ending::Handshake && !visit.is_websocket() {
            visit.ending = Ending::Close;
        }
        visit.expect(world);
        Ok(visit)
    }

    fn is_websocket(&self) -> bool {
        SCRIPTS[self.script].0 == Mode::WebSocket
    }

    pub(super) fn ready(&mut self, world: &mut World, flags: epoll::EventFlags) -> Result<(), Left> {
        if self.phase == Phase::Connecting {
            match sockopt::socket_error(&self.socket) {
                Ok(Ok(())) => return self.connected(world),
                Ok(Err(errno)) | Err(errno) => return Err(errno.into()),
            }
        }
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(world)?;
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            self.receive(world)?;
        }
        Ok(())
    }

    /// Handles a wake-up time that has come.
    pub(super) fn woken(&mut self, world: &mut World, now: Instant) -> Result<(), Left> {
        match self.phase {
            Phase::Pausing => self.next(world),
            Phase::Leaving => self.reset(),
            // In the other phases the visit waits for the server.
            _ if self.patience <= now => Err(Violation::Silent.into()),
            _ => Ok(()),
        }
    }

    fn connected(&mut self, world: &mut World) -> Result<(), Left> {
        self.phase = Phase::Handshake;
        if self.ending == Ending::Gone {
            return self.reset();
        }
        match world.scripts[self.script].opening() {
            Some(opening) => {
                self.others.extend_from_slice(opening);
                self.flush(world)
            }
            None => {
                self.progress.open = true;
                self.next(world)
            }
        }
    }

    /// All answers have come: sends the next request, or begins the end of the visit.
    fn next(&mut self, world: &mut World) -> Result<(), Left> {
        if Instant::now() >= self.leaves {
            return self.leave(world);
        }
        self.phase = Phase::Asking;
        let count = 1 + world.random.below(3);
        self.ask(world, count)
    }

    fn ask(&mut self, world: &mut World, count: usize) -> Result<(), Left> {
        self.awaited += count;
        self.to_send += count * world.scripts[self.script].size;
        self.expect(world);
        self.flush(world)
    }

    fn leave(&mut self, world: &mut World) -> Result<(), Left> {
        self.expect(world);
        let size = world.scripts[self.script].size;
        match self.ending {
            Ending::Close => Err(Left::Well),
            Ending::Reset | Ending::Gone => self.reset(),
            Ending::Handshake => {
                self.phase = Phase::Closing;
                self.others
                    .extend(frame(0x88, &1000_u16.to_be_bytes(), Some([7, 0, 7, 0])));
                self.flush(world)
            }
            Ending::HalfClose => {
                self.phase = Phase::HalfClosing;
                let count = world.random.below(4);
                self.ask(world, count)
            }
            Ending::Torn => {
                self.phase = Phase::Tearing;
                self.to_send = 1 + world.random.below(size - 1);
                self.flush(world)
            }
            Ending::BreakOff => {
                self.phase = Phase::Leaving;
                self.to_send = 1 + world.random.below(size - 1);
                self.wake_after(world, world.stay / 4);
                self.flush(world)
            }
            Ending::Unread => {
                self.phase = Phase::Leaving;
                self.wake_after(world, Duration::from_millis(100));
                self.ask(world, 30)
            }
        }
    }

    /// Restarts the time within which the server must react.
    fn expect(&mut self, world: &mut World) {
        self.patience = Instant::now() + PATIENCE;
        world.wakes.push(Reverse((self.patience, self.place, self.number)));
    }

    fn wake_after(&self, world: &mut World, mean: Duration) {
        let now = Instant::now();
        let time = world.random.about(mean);
        let mut wake = now + if world.over { Duration::ZERO } else { time };
        if self.phase == Phase::Pausing {
            wake = wake.min(self.leaves.max(now));
        }
        world.wakes.push(Reverse((wake, self.place, self.number)));
    }

    fn receive(&mut self, world: &mut World) -> Result<(), Left> {
        if self.phase == Phase::Leaving {
            // A visit in this phase reads nothing. The server may close the connection: it owes no answer.
            epoll::delete(&world.epoll, &self.socket)?;
            return Ok(());
        }
        let n = match rustix::net::recv(&self.socket, &mut world.buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return Err(self.ended()),
            Ok((n, _)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let bytes = &world.buffer[..n];
        match self.phase {
            // Any answer to half a request is accepted.
            Phase::Tearing => return Ok(()),
            Phase::Closing => {
                self.progress.partial.extend_from_slice(bytes);
                return Ok(());
            }
            _ => {}
        }
        let answers = match world.scripts[self.script].check(&mut self.progress, bytes) {
            // The server sends a Close frame because the stream was half-closed.
            Err(Violation::Closed) if self.phase == Phase::HalfClosing && self.is_websocket() => {
                self.phase = Phase::Tearing;
                return Ok(());
            }
            answers => answers?,
        };
        self.awaited = self.awaited.checked_sub(answers).ok_or(Violation::Unasked)?;
        world.answers += answers as u64;
        if !self.progress.reply.is_empty() {
            self.others.append(&mut self.progress.reply);
            self.flush(world)?;
        }
        let shaken = self.phase == Phase::Handshake && self.progress.open;
        if self.awaited == 0 && (shaken || self.phase == Phase::Asking) {
            self.phase = Phase::Pausing;
            self.wake_after(world, world.stay / 2);
        }
        Ok(())
    }

    /// Judges the end of the server's stream.
    fn ended(&self) -> Left {
        let owed = match self.phase {
            Phase::Tearing => false,
            Phase::HalfClosing => self.awaited > 0 || !self.progress.partial.is_empty(),
            Phase::Closing => self.progress.partial != [0x88, 2, 0x03, 0xe8],
            _ => true,
        };
        if owed { Violation::Closed.into() } else { Left::Well }
    }

    fn flush(&mut self, world: &mut World) -> Result<(), Left> {
        let script = &world.scripts[self.script];
        while self.to_send > 0 || !self.others.is_empty() {
            // Bytes that are not requests are sent between requests.
            let others = self.to_send == 0;
            let piece = if others {
                &self.others[..]
            } else {
                let rest = &script.requests[self.at..];
                &rest[..rest.len().min(self.to_send)]
            };
            let n = match rustix::net::send(&self.socket, piece, SendFlags::NOSIGNAL) {
                Ok(n) => n,
                Err(Errno::AGAIN | Errno::INTR) => break,
                // A server may close a connection that sent only part of a request.
                Err(Errno::PIPE | Errno::CONNRESET) if self.phase == Phase::Leaving => return self.reset(),
                Err(errno) => return Err(errno.into()),
            };
            if others {
                self.others.drain(..n);
            } else {
                self.to_send -= n;
                self.at = (self.at + n) % script.period;
            }
        }
        let done = self.to_send == 0 && self.others.is_empty();
        if done && matches!(self.phase, Phase::HalfClosing | Phase::Tearing) {
            // This fails when the server has closed already; the next read reports that.
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        }
        if self.wants_out == done {
            self.wants_out = !done;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, !done);
            let data = epoll::EventData::new_u64(self.place as u64);
            epoll::modify(&world.epoll, &self.socket, data, flags)?;
        }
        Ok(())
    }

    /// Sets the socket so that closing it resets the connection. This ends the visit.
    fn reset(&self) -> Result<(), Left> {
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
        Err(Left::Well)
    }
}
