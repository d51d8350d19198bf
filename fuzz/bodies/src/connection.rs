//! The connection's part of the rules: a driver and a protocol that each do anything the contract allows. Checks every numbered rule of the
//! `protocol` crate that can be observed there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Buf;
use protocol::Reason;
use protocol::driver::{Connection, Interest, Scratch, Todo, Turn};
use protocol::testing::Harness;

use crate::scripted::{Scripted, World, byte, limits, lock};

/// Runs the target.
pub fn run(data: &[u8]) {
    let world = World::new(data.iter().rev().step_by(2).copied().collect());
    let world = Arc::new(Mutex::new(world));
    lock(&world).arrived = Some(0);
    let mut events: Vec<u8> = data.iter().skip(1).step_by(2).copied().collect();
    events.reverse();
    Driver::new(world).run(events);
}

/// A driver that follows the three steps; the input says how much room its socket has.
struct Driver {
    world: Arc<Mutex<World>>,
    connection: Connection<Scripted>,
    scratch: Scratch,
    interest: Interest,
    again: bool,
    room: usize,
    /// Bytes the peer has sent.
    sent: usize,
    /// Bytes the socket has taken.
    taken: usize,
    eof: bool,
    stopped: bool,
    failed: bool,
    ended: Option<bool>,
}

impl Driver {
    fn new(world: Arc<Mutex<World>>) -> Self {
        // Takes the start from the harness; from then on the clock is moved by hand.
        let start = Harness::new(Scripted(Arc::default())).now();
        Driver {
            connection: Connection::new(Scripted(Arc::clone(&world))),
            world,
            scratch: Scratch::new(limits(), start),
            interest: Interest {
                read: false,
                write: false,
            },
            again: false,
            room: 1000,
            sent: 0,
            taken: 0,
            eof: false,
            stopped: false,
            failed: false,
            ended: None,
        }
    }

    fn run(mut self, mut events: Vec<u8>) {
        self.turn().connected();
        self.settle();
        while let Some(event) = events.pop() {
            if self.ended.is_some() {
                break;
            }
            let how = usize::from(events.pop().unwrap_or(0));
            self.happen(event, how);
        }
        // Ends a connection that its peer keeps open, as a driver's drain deadline does.
        if self.ended.is_none() {
            self.turn().kill(Reason::Stopped);
            self.settle();
        }
        let world = lock(&self.world);
        assert!(
            self.ended.is_some() && world.closed.is_some(),
            "the connection did not end"
        );
        if self.ended == Some(false) {
            // Rule 10: output already appended is still sent.
            assert!(self.taken >= world.appended || world.fin, "output was lost");
        }
    }

    fn happen(&mut self, event: u8, how: usize) {
        match event % 16 {
            _ if self.again => {
                self.again = false;
                self.turn().again();
            }
            0..=5 if self.interest.read => {
                let mut turn = self.connection.turn(&mut self.scratch);
                let buffer = turn.recv_buffer();
                assert!(
                    (4096..=65536).contains(&buffer.len()),
                    "the read buffer has {} bytes",
                    buffer.len()
                );
                let len = (1 + how * if event & 16 == 0 { 1 } else { 40 }).min(buffer.len());
                for slot in &mut buffer[..len] {
                    *slot = byte(self.sent);
                    self.sent += 1;
                }
                lock(&self.world).arrived = Some(self.sent);
                turn.received(len);
            }
            6 if self.interest.read && how.is_multiple_of(4) && !self.eof => {
                self.eof = true;
                self.turn().eof();
            }
            7..=9 => {
                self.room += how * 20;
                if !self.interest.write || self.room == 0 {
                    return;
                }
                self.turn().writable();
            }
            10 | 11 => {
                self.scratch.now += Duration::from_millis(how as u64 * 50);
                if self
                    .connection
                    .deadline()
                    .is_none_or(|deadline| deadline > self.scratch.now)
                {
                    return;
                }
                self.turn().timeout();
            }
            // Before the deadline this call does nothing.
            12 => self.turn().timeout(),
            13 => {
                let first = lock(&self.world).told;
                let waiting = first..first + 1 + how as u32 / 16;
                if self.turn().messages(waiting) == 0 {
                    return;
                }
            }
            14 if how.is_multiple_of(8) && !self.stopped => {
                self.stopped = true;
                self.turn().stop();
            }
            15 if how == 0 => {
                self.failed = true;
                self.turn().failed(std::io::ErrorKind::ConnectionReset);
            }
            _ => return,
        }
        self.settle();
    }

    fn turn(&mut self) -> Turn<'_, Scripted> {
        self.connection.turn(&mut self.scratch)
    }

    /// Does everything that is due; there must be an end to it.
    fn settle(&mut self) {
        let mut turn = self.connection.turn(&mut self.scratch);
        for _ in 0..10_000 {
            match turn.todo() {
                Todo::Send => {
                    let chunk = turn.output().chunk();
                    let len = chunk.len().min(self.room);
                    let right = (self.taken..self.taken + len).map(byte);
                    assert!(
                        chunk[..len].iter().copied().eq(right),
                        "the output has other bytes than appended"
                    );
                    assert!(!lock(&self.world).fin, "output behind the end of the stream");
                    self.taken += len;
                    self.room -= len;
                    turn.sent(len);
                    if self.room == 0 && !turn.output().is_empty() {
                        turn.blocked();
                    }
                }
                Todo::Shutdown => {
                    let mut world = lock(&self.world);
                    assert!(!world.fin, "half-closed twice");
                    assert_eq!(self.taken, world.appended, "half-closed before all output was sent");
                    world.fin = true;
                }
                Todo::Wait(interest) => {
                    assert_eq!(turn.todo(), Todo::Wait(interest), "a second `todo` differs");
                    drop(turn);
                    self.interest = interest;
                    self.waits();
                    return;
                }
                Todo::Again => {
                    self.again = true;
                    return;
                }
                Todo::Drop { reset } => {
                    drop(turn);
                    let closed = lock(&self.world).closed;
                    assert_eq!(
                        closed,
                        Some(self.connection.reason()),
                        "dropped without a call of `closed`"
                    );
                    self.ended = Some(reset);
                    return;
                }
            }
        }
        panic!("the turn does not end");
    }

    /// Checks that a connection with nothing to do waits for the right events.
    fn waits(&self) {
        if self.connection.is_open() {
            // Rule 5.
            let world = lock(&self.world);
            let wanted = !world.paused && !world.congested && !self.eof;
            assert_eq!(self.interest.read, wanted);
        }
        assert!(
            self.connection.held() <= limits().max_input + limits().max_output,
            "the connection holds {} bytes",
            self.connection.held()
        );
        let stuck = !self.interest.read && !self.interest.write && self.connection.deadline().is_none();
        assert!(
            !stuck || self.connection.is_open(),
            "a closing connection waits without an interest or deadline"
        );
    }
}
