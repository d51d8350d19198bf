//! One connection's half of the rules, under a driver that does anything it may and a protocol that answers with anything it may:
//! the numbered rules of the `protocol` crate, each where it can be seen.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use protocol::driver::{Connection, Interest, Todo, Turn};
use protocol::testing::Harness;
use protocol::{Cx, Input, Intent, Limits, Protocol, Reason};

/// Runs the target.
pub fn run(data: &[u8]) {
    let world = Rc::new(RefCell::new(World::default()));
    world.borrow_mut().script = data.iter().rev().step_by(2).copied().collect();
    let mut events: Vec<u8> = data.iter().skip(1).step_by(2).copied().collect();
    events.reverse();
    Driver::new(world).run(events);
}

/// What both sides know.
#[derive(Debug, Default)]
struct World {
    /// What the protocol does, call by call.
    script: Vec<u8>,
    connected: bool,
    /// Nothing but `closed` may follow.
    over: bool,
    closed: Option<Reason>,
    eof: bool,
    stopped: bool,
    paused: bool,
    congested: bool,
    intent: Intent,
    /// Bytes that the peer has sent, those shown, and those consumed.
    arrived: usize,
    shown: usize,
    consumed: usize,
    /// Bytes that the protocol has appended.
    appended: usize,
    /// The driver has half-closed: what is appended now is dropped.
    fin: bool,
    now: Option<Instant>,
    deadline: Option<Instant>,
}

/// The byte at this place of a stream.
fn byte(at: usize) -> u8 {
    (at ^ at >> 8) as u8
}

#[derive(Debug)]
struct Scripted(Rc<RefCell<World>>);

#[derive(Debug)]
struct Told;

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("told to fail")
    }
}

impl std::error::Error for Told {}

/// Small marks, so that they are passed often.
fn limits() -> Limits {
    Limits::default().high_water(2000).max_output(20_000).max_input(9000)
}

impl World {
    /// Rules 1, 2, 10 and 12, at the start of every call but `closed`.
    fn called(&mut self, cx: &Cx<'_>) {
        assert!(
            self.connected && !self.over && self.closed.is_none(),
            "called before the beginning or after the end"
        );
        assert!(self.now.is_none_or(|before| before <= cx.now()), "time runs backwards");
        self.now = Some(cx.now());
    }

    /// Does what the script says next.
    fn act(&mut self, cx: &mut Cx<'_>, input: Option<&mut Input<'_>>) -> Result<(), Told> {
        let mut word = || self.script.pop().unwrap_or(0);
        let (what, how) = (word(), usize::from(word()));
        if let Some(input) = input {
            let part = input.len() * (how % 5) / 4;
            let part = if what & 64 == 0 {
                input.len()
            } else {
                part.min(input.len())
            };
            input.consume(part);
            self.consumed += part;
        }
        let send = match what % 16 {
            0..=5 => 0,
            6..=9 => how,
            10 => how * 16,
            _ => how * 3,
        };
        if send > 0 {
            let bytes: Vec<u8> = (self.appended..self.appended + send).map(byte).collect();
            if what & 16 == 0 {
                cx.send(&bytes);
            } else {
                cx.output().push(Bytes::from(bytes));
            }
            self.appended += send;
        }
        match (what >> 4, how % 8) {
            (1, 0) => cx.shutdown(),
            (2, 0) => cx.close(),
            (3, 0) => cx.abort(),
            (4 | 5, 0..3) => cx.pause(true),
            (6..=9, _) => cx.pause(false),
            (10 | 11, _) => self.deadline = Some(cx.now() + Duration::from_millis(how as u64 * 20)),
            (12, _) => self.deadline = None,
            _ => {}
        }
        self.paused = cx.paused();
        self.intent = cx.intent();
        // Rule 7.
        self.congested |= cx.output().len() > limits().high_water;
        let failed = what == 0xff;
        self.over = failed || self.intent >= Intent::Close;
        if failed { Err(Told) } else { Ok(()) }
    }
}

impl Protocol for Scripted {
    type Message = ();
    type Error = Told;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.0.borrow_mut();
        assert!(!world.connected, "connected twice");
        world.connected = true;
        world.called(cx);
        world.act(cx, None)
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Told> {
        let mut world = self.0.borrow_mut();
        world.called(cx);
        // Rules 3 and 5.
        assert!(!world.paused && !world.congested, "input while paused or congested");
        assert!(!input.is_empty(), "no input");
        let shown = world.consumed..world.consumed + input.len();
        assert!(
            shown.end <= world.arrived && shown.end >= world.shown,
            "input is lost or invented"
        );
        assert!(
            input.as_slice().iter().copied().eq(shown.clone().map(byte)),
            "input is not what came"
        );
        world.shown = shown.end;
        world.act(cx, Some(input))
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.0.borrow_mut();
        world.called(cx);
        // Rule 8.
        assert!(!world.eof, "two ends of the stream");
        assert_eq!(world.shown, world.arrived, "the end before all bytes were shown");
        world.eof = true;
        world.act(cx, None)
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.borrow().deadline
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.0.borrow_mut();
        world.called(cx);
        // Rule 9.
        let deadline = world.deadline.take();
        assert!(deadline.is_some_and(|deadline| deadline <= cx.now()), "timed out early");
        world.act(cx, None)
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.0.borrow_mut();
        world.called(cx);
        // Rule 7.
        assert!(world.congested, "drained without having been congested");
        assert!(cx.output().len() <= limits().low_water, "drained too early");
        world.congested = false;
        world.act(cx, None)
    }

    fn message(&mut self, cx: &mut Cx<'_>, (): ()) -> Result<(), Told> {
        let mut world = self.0.borrow_mut();
        world.called(cx);
        world.act(cx, None)
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.0.borrow_mut();
        world.called(cx);
        world.stopped = true;
        world.act(cx, None)
    }

    fn closed(&mut self, reason: Reason) {
        let mut world = self.0.borrow_mut();
        assert!(world.closed.is_none(), "closed twice");
        world.closed = Some(reason);
    }
}

/// A driver that follows the three steps, with a socket whose room is what the input says.
struct Driver {
    world: Rc<RefCell<World>>,
    connection: Connection<Scripted>,
    turn: Turn,
    interest: Interest,
    again: bool,
    room: usize,
    /// Bytes the socket has taken.
    taken: usize,
    eof: bool,
    stopped: bool,
    failed: bool,
    ended: Option<bool>,
}

impl Driver {
    fn new(world: Rc<RefCell<World>>) -> Self {
        // The only source of an instant here; the clock is then moved by hand.
        let start = Harness::new(Scripted(Rc::default())).now();
        Driver {
            connection: Connection::new(Scripted(Rc::clone(&world))),
            world,
            turn: Turn::new(limits(), start),
            interest: Interest {
                read: false,
                write: false,
            },
            again: false,
            room: 1000,
            taken: 0,
            eof: false,
            stopped: false,
            failed: false,
            ended: None,
        }
    }

    fn run(mut self, mut events: Vec<u8>) {
        self.connection.connected(&mut self.turn);
        self.settle();
        while let Some(event) = events.pop() {
            if self.ended.is_some() {
                break;
            }
            let how = usize::from(events.pop().unwrap_or(0));
            self.happen(event, how);
        }
        // Time ends everything: what the peer does not take, or does not close.
        if self.ended.is_none() {
            self.connection.kill(&mut self.turn, Reason::Stopped);
            self.settle();
        }
        let world = self.world.borrow();
        assert!(self.ended.is_some() && world.closed.is_some(), "it never ends");
        if self.ended == Some(false) {
            // Rule 10: the output in hand is still sent.
            assert!(self.taken >= world.appended || world.fin, "output is lost");
        }
    }

    fn happen(&mut self, event: u8, how: usize) {
        match event % 16 {
            _ if self.again => {
                self.again = false;
                self.connection.again(&mut self.turn);
            }
            0..=5 if self.interest.read => {
                let buffer = self.connection.recv_buffer(&mut self.turn);
                assert!(
                    (4096..=65536).contains(&buffer.len()),
                    "{} bytes to read into",
                    buffer.len()
                );
                let len = (1 + how * if event & 16 == 0 { 1 } else { 40 }).min(buffer.len());
                let mut world = self.world.borrow_mut();
                for slot in &mut buffer[..len] {
                    *slot = byte(world.arrived);
                    world.arrived += 1;
                }
                drop(world);
                self.connection.received(&mut self.turn, len);
            }
            6 if self.interest.read && how.is_multiple_of(4) && !self.eof => {
                self.eof = true;
                self.connection.eof(&mut self.turn);
            }
            7..=9 => {
                self.room += how * 20;
                if !self.interest.write || self.room == 0 {
                    return;
                }
                self.connection.writable(&mut self.turn);
            }
            10 | 11 => {
                self.turn.now += Duration::from_millis(how as u64 * 50);
                if self
                    .connection
                    .deadline()
                    .is_none_or(|deadline| deadline > self.turn.now)
                {
                    return;
                }
                self.connection.timeout(&mut self.turn);
            }
            // Harmless before the deadline.
            12 => self.connection.timeout(&mut self.turn),
            13 => {
                let waiting = core::iter::repeat_n((), 1 + how / 16);
                self.connection.messages(&mut self.turn, waiting);
            }
            14 if how.is_multiple_of(8) && !self.stopped => {
                self.stopped = true;
                self.connection.stop(&mut self.turn);
            }
            15 if how == 0 => {
                self.failed = true;
                self.connection
                    .failed(&mut self.turn, std::io::ErrorKind::ConnectionReset);
            }
            _ => return,
        }
        self.settle();
    }

    /// Does what there is to do; it must come to an end.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            match self.connection.todo(&mut self.turn) {
                Todo::Send => self.send(),
                Todo::Shutdown => {
                    let mut world = self.world.borrow_mut();
                    assert!(!world.fin, "half-closed twice");
                    assert_eq!(self.taken, world.appended, "half-closed before all was sent");
                    world.fin = true;
                }
                Todo::Wait(interest) => {
                    assert!(self.turn.output.is_empty(), "output is left for the next connection");
                    self.interest = interest;
                    self.waits();
                    return;
                }
                Todo::Again => {
                    assert!(self.turn.output.is_empty(), "output is left for the next connection");
                    self.again = true;
                    return;
                }
                Todo::Drop { reset } => {
                    assert!(self.turn.output.is_empty(), "output is left for the next connection");
                    let closed = self.world.borrow().closed;
                    assert_eq!(closed, Some(self.connection.reason()), "dropped without being told");
                    self.ended = Some(reset);
                    return;
                }
            }
        }
        panic!("there is always something to do");
    }

    fn send(&mut self) {
        let chunk = self.turn.output.chunk();
        let len = chunk.len().min(self.room);
        assert!(
            chunk[..len]
                .iter()
                .copied()
                .eq((self.taken..self.taken + len).map(byte)),
            "not what was to be sent"
        );
        assert!(!self.world.borrow().fin, "output behind the end of the stream");
        self.taken += len;
        self.room -= len;
        self.connection.sent(&mut self.turn, len);
        if self.room == 0 && !self.turn.output.is_empty() {
            self.connection.blocked(&mut self.turn);
        }
    }

    /// What must be so while it waits.
    fn waits(&self) {
        let world = self.world.borrow();
        if self.connection.is_open() {
            // Rule 5.
            let wanted = !world.paused && !world.congested && !self.eof;
            assert_eq!(self.interest.read, wanted);
        }
        assert!(
            self.connection.held() <= limits().max_input + limits().max_output,
            "{} bytes are held",
            self.connection.held()
        );
        let stuck = !self.interest.read && !self.interest.write && self.connection.deadline().is_none();
        assert!(
            !stuck || self.connection.is_open(),
            "a closing connection waits for nothing"
        );
    }
}
