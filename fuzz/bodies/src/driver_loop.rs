//! The loops of the real drivers over socket pairs, with events, deadlines, messages, commands and panics in user code chosen by the input.
//!
//! * The rules of the `protocol` crate hold on each connection.
//! * A panic ends only its own connection. Panics in calls, `deadline`, `closed`, drops and factories are all contained and counted.
//! * Every connection ends, is told so once unless it panicked, and is dropped once; the counters agree.
//! * All bytes that the peer has sent are shown, and all posted messages are delivered, once and in order, without a further event to wake
//!   the loop.
//! * The peer receives only bytes that the protocol appended, and all of them where the connection ended in order.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use drivers::Stats;
use drivers::{Driver, Handle, Running, Server};
use protocol::{Reason, Sender};

use crate::scripted::{Panics, Scripted, World, byte, limits, lock, panic_quietly};

/// Longer than any wait of a healthy loop.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most connections of one run, and the most bytes that one peer sends.
const MOST: usize = 6;
const MOST_SENT: usize = 200_000;

/// What the factory does for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Protocol,
    Refused,
    Panic,
}

/// The input: a head with settings, then events of three bytes each, then the scripts of the protocols, which share the rest.
struct Plan<'a> {
    head: [u8; 6],
    events: &'a [[u8; 3]],
    scripts: &'a [u8],
}

impl<'a> Plan<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let (head, rest) = data.split_first_chunk()?;
        let (events, scripts) = rest.split_at(rest.len() / 2);
        let events = events.as_chunks().0;
        Some(Plan {
            head: *head,
            events,
            scripts,
        })
    }

    fn script(&self, number: usize) -> Vec<u8> {
        self.scripts.iter().skip(number).step_by(MOST).rev().copied().collect()
    }
}

/// Runs the target on the driver that the input names.
pub fn run(data: &[u8]) {
    if let Some(plan) = Plan::read(data) {
        Rig::new(&plan).run(&plan);
    }
}

/// The results of the factory for connections that will be accepted, in the order in which they connected.
type Expected = Arc<Mutex<Vec<(Made, Arc<Mutex<World>>, Mail)>>>;
type Mail = Arc<Mutex<Option<Sender<u32>>>>;

/// The other end of a connection, and what the test knows of it.
struct Peer {
    stream: Option<UnixStream>,
    world: Arc<Mutex<World>>,
    mail: Mail,
    made: Made,
    sent: usize,
    received: usize,
    posted: u32,
    half_closed: bool,
    /// The end of the stream has been read, after all bytes.
    ended: bool,
}

struct Rig {
    running: Running<Scripted>,
    handle: Handle<Scripted>,
    address: SocketAddr,
    expected: Expected,
    peers: Vec<Peer>,
    pauses: u32,
}

impl Rig {
    fn new(plan: &Plan<'_>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("wirestate-driver-loop-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("a short name");
        let listener = UnixListener::bind_addr(&address).expect("the name is free");
        let [driver, messages, timers, mailbox, buffers, _] = plan.head;
        let server = Server::on(if driver & 1 == 0 { Driver::Epoll } else { Driver::Tokio });
        let server = server.limits(limits()).configure(|config| {
            config.message_budget = 1 + usize::from(messages);
            config.timer_budget = 1 + usize::from(timers);
            config.mailbox = 1 + usize::from(mailbox);
            config.socket.send_buffer = (buffers & 1 == 1).then_some(1);
        });
        let expected = Expected::default();
        let next = Arc::clone(&expected);
        let factory = move |peer: &protocol::Peer<'_, u32>| {
            let (made, world, mail) = next.lock().unwrap().remove(0);
            match made {
                Made::Protocol => {
                    *mail.lock().unwrap() = Some(peer.sender());
                    Some(Scripted(world))
                }
                Made::Refused => None,
                Made::Panic => panic_quietly(),
            }
        };
        let running = server.serve_on(listener, factory).expect("a thread");
        Rig {
            handle: running.handle(),
            running,
            address,
            expected,
            peers: Vec::new(),
            pauses: 0,
        }
    }

    fn run(mut self, plan: &Plan<'_>) {
        self.open(plan, 0);
        for event in plan.events {
            self.happen(plan, *event);
        }
        self.settles();
        let end = plan.head[5];
        if end & 1 == 1 {
            for peer in &mut self.peers {
                peer.leave();
            }
        }
        self.handle.stop(Duration::from_millis(u64::from(end) / 8));
        self.wait("a connection did not end", |peer| {
            let world = lock(&peer.world);
            world.dropped > 0
        });
        for peer in &mut self.peers {
            // Reads what is still in the kernel's buffers.
            peer.receive(usize::MAX);
        }
        let stats = self.running.join().expect("no thread failed");
        judge(&self.peers, &stats);
    }

    fn happen(&mut self, plan: &Plan<'_>, [event, who, how]: [u8; 3]) {
        let much = usize::from(how);
        let count = self.peers.len();
        if event % 16 < 3 && count < MOST {
            return self.open(plan, how);
        }
        let peer = &mut self.peers[usize::from(who) % count];
        match event % 16 {
            0..=4 => peer.send(1 + much),
            5 | 6 => peer.send(much * 64),
            7 | 8 => peer.receive(much * 64),
            9 | 10 => peer.post(how),
            11 => peer.half_close(),
            12 if how.is_multiple_of(4) => peer.leave(),
            13 if self.pauses < 4 => {
                self.pauses += 1;
                thread::sleep(Duration::from_micros(u64::from(how) * 100));
            }
            _ => {}
        }
    }

    /// Opens a connection, which the driver accepts or adopts.
    fn open(&mut self, plan: &Plan<'_>, how: u8) {
        let made = match how / 4 % 16 {
            0 => Made::Panic,
            1 => Made::Refused,
            _ => Made::Protocol,
        };
        let mut world = World::new(plan.script(self.peers.len()));
        world.panics = Panics::from_bits(if how / 64 == 3 { plan.head[0] >> 1 } else { 0 });
        let (world, mail) = (Arc::new(Mutex::new(world)), Mail::default());
        let theirs = (Arc::clone(&world), Arc::clone(&mail));
        let adopted = how & 1 == 1 && made != Made::Refused;
        let stream = if adopted {
            let (ours, other) = UnixStream::pair().expect("descriptors");
            let taken = self.handle.adopt(other, move |peer| {
                if made == Made::Panic {
                    panic_quietly();
                }
                *theirs.1.lock().unwrap() = Some(peer.sender());
                Scripted(theirs.0)
            });
            assert!(taken, "the driver ended early");
            ours
        } else {
            self.expected.lock().unwrap().push((made, theirs.0, theirs.1));
            UnixStream::connect_addr(&self.address).expect("the accept queue has room")
        };
        stream.set_nonblocking(true).expect("a socket");
        self.peers.push(Peer {
            stream: Some(stream),
            world,
            mail,
            made,
            sent: 0,
            received: 0,
            posted: 0,
            half_closed: false,
            ended: false,
        });
    }

    /// Waits, without further events, until each connection has been shown all bytes and messages that are there for it.
    fn settles(&mut self) {
        self.wait("bytes or messages were not delivered", |peer| {
            let world = lock(&peer.world);
            let held = world.paused || world.congested;
            let gone = peer.stream.is_none() && (held || world.consumed_all());
            let told = world.connected && world.told == peer.posted;
            world.is_over() || told && (held || gone || world.shown >= peer.sent)
        });
        let begun = Instant::now();
        while !self.expected.lock().unwrap().is_empty() {
            assert!(begun.elapsed() < PATIENCE, "a connection was not accepted");
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Waits until `holds` is true of every connection with a protocol. Peers read meanwhile, so that congestion ends.
    fn wait(&mut self, what: &str, holds: impl Fn(&Peer) -> bool) {
        let begun = Instant::now();
        let mut pause = Duration::from_micros(20);
        loop {
            let mut waits = None;
            for (number, peer) in self.peers.iter_mut().enumerate() {
                peer.receive(usize::MAX);
                if peer.is_made() && !holds(peer) {
                    waits = Some(number);
                }
            }
            let Some(number) = waits else { return };
            let peer = &self.peers[number];
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: connection {number}, {} bytes sent, {} posted, {:?}",
                peer.sent,
                peer.posted,
                lock(&peer.world)
            );
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

impl Peer {
    /// Whether the factory makes a protocol for this connection.
    fn is_made(&self) -> bool {
        self.made == Made::Protocol
    }

    fn send(&mut self, len: usize) {
        let Some(stream) = &mut self.stream else { return };
        if self.half_closed {
            return;
        }
        let len = len.min(MOST_SENT - self.sent);
        let bytes: Vec<u8> = (self.sent..self.sent + len).map(byte).collect();
        match stream.write(&bytes) {
            Ok(taken) => self.sent += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.stream = None,
        }
    }

    fn receive(&mut self, most: usize) {
        let mut buffer = [0; 4096];
        let mut left = most;
        while let Some(stream) = &mut self.stream
            && left > 0
        {
            let part = left.min(buffer.len());
            match stream.read(&mut buffer[..part]) {
                Ok(0) => {
                    self.ended = true;
                    return;
                }
                Ok(len) => {
                    let right = (self.received..self.received + len).map(byte);
                    assert!(
                        buffer[..len].iter().copied().eq(right),
                        "the peer received other bytes than appended"
                    );
                    self.received += len;
                    left -= len;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.stream = None,
            }
        }
    }

    fn leave(&mut self) {
        lock(&self.world).leaving = true;
        self.stream = None;
    }

    fn post(&mut self, count: u8) {
        let mail = self.mail.lock().unwrap();
        let Some(sender) = &*mail else { return };
        for _ in 0..count {
            if sender.send(self.posted).is_err() {
                return;
            }
            self.posted += 1;
        }
    }

    fn half_close(&mut self) {
        if let Some(stream) = &self.stream
            && !self.half_closed
        {
            self.half_closed = true;
            lock(&self.world).arrived = Some(self.sent);
            let _: io::Result<()> = stream.shutdown(Shutdown::Write);
        }
    }
}

/// Checks the final state.
fn judge(peers: &[Peer], stats: &Stats) {
    let mut panics = 0;
    let mut reasons: Vec<(Reason, bool)> = Vec::new();
    for peer in peers {
        let world = lock(&peer.world);
        panics += world.panicked + u64::from(peer.made == Made::Panic);
        if !peer.is_made() {
            assert_eq!(world.dropped, 0);
            continue;
        }
        assert_eq!(world.dropped, 1, "{world:?}");
        assert!(
            world.closed.is_some() || world.panicked > 0,
            "`closed` was not called: {world:?}"
        );
        assert!(
            world.shown <= peer.sent,
            "more input was shown than the {} bytes sent: {world:?}",
            peer.sent
        );
        assert!(
            peer.received <= world.appended,
            "the peer received more than appended: {world:?}"
        );
        if world.closed == Some(Reason::Closed) && !world.shut && peer.ended && world.panicked == 0 {
            assert_eq!(peer.received, world.appended, "output was lost: {world:?}");
        }
        reasons.extend(world.closed.map(|reason| (reason, world.panicked == 0)));
    }
    assert_eq!(stats.active, 0, "{stats:?}");
    assert_eq!(stats.panics, panics, "{stats:?}");
    for (reason, counted) in [
        (Reason::Closed, stats.closed),
        (Reason::Aborted, stats.aborted),
        (Reason::Error, stats.errors),
        (Reason::WriteTimeout, stats.write_timeouts),
        (Reason::Stopped, stats.stopped),
    ] {
        let count = |sure: bool| reasons.iter().filter(|end| end.0 == reason && (end.1 || !sure)).count() as u64;
        assert!(
            (count(true)..=count(false)).contains(&counted),
            "{reason}: {reasons:?}, {stats:?}"
        );
    }
}
