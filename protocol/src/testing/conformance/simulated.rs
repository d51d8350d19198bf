//! The simulation as a driver under test.

use core::convert::Infallible;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Driver, Received, Served, Wire};
use crate::testing::harness::{Memory, Queue};
use crate::testing::{End, Harness, Sim, Weather};
use crate::{Cx, Input, Limits, Peer, Protocol, Reason};

/// Runs each connection in a [`Sim`]: the seed decides the sizes of segments and reads, and the order of events.
///
/// The checks test drivers, not networks, so the weather is calm and fast.
#[derive(Debug, Clone, Copy)]
pub struct Simulated {
    weather: Weather,
    seed: u64,
}

impl Simulated {
    /// A simulation whose network and order of events follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let weather = Weather {
            latency: Duration::from_micros(1 + seed % 7 * 100),
            segment: [1460, 16, 9000, 65_536, 333][(seed % 5) as usize].max(MEGABYTE_IN_TIME),
            window: [64 * 1024, 4096, 20_000][(seed % 3) as usize],
            ..Weather::calm()
        };
        Simulated { weather, seed }
    }
}

/// The smallest maximum segment size, so that checks with megabytes of data do not take minutes.
const MEGABYTE_IN_TIME: usize = 200;

/// Longer than any segment travels.
const SOON: Duration = Duration::from_secs(5);

impl Driver for Simulated {
    const IN_MEMORY: bool = true;

    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        Box::new(Server {
            world: Rc::new(RefCell::new(World {
                sim: Sim::new(self.weather, limits, self.seed),
                mailboxes: Vec::new(),
            })),
            factory: RefCell::new(factory),
        })
    }

    fn connect_to_nobody<P, F>(&self, make: F)
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnOnce(&Peer<'_, P::Message>) -> P + Send + 'static,
    {
        Harness::refused(make);
    }
}

struct World<P: Protocol> {
    sim: Sim<Remote, P>,
    /// Mailboxes by the pair's number.
    mailboxes: Vec<Arc<Queue<P::Message>>>,
}

impl<P: Protocol> World<P> {
    /// Delivers posted messages, and runs their effects.
    fn settle(&mut self) {
        for (id, mailbox) in self.mailboxes.iter().enumerate() {
            while let Some(message) = mailbox.pop() {
                self.sim.message_b(Duration::ZERO, id, message);
            }
        }
        let mailboxes = &self.mailboxes;
        self.sim.settle(SOON, |pair| close(mailboxes, pair.id));
    }

    fn pass(&mut self, time: Duration) {
        self.settle();
        let mailboxes = &self.mailboxes;
        self.sim.run(time, |pair| close(mailboxes, pair.id));
    }

    fn command(&mut self, id: usize, command: Command) {
        self.sim.message_a(Duration::ZERO, id, command);
        self.settle();
    }
}

fn close<M>(mailboxes: &[Arc<Queue<M>>], id: usize) {
    if let Some(mailbox) = mailboxes.get(id) {
        mailbox.close();
    }
}

struct Server<P: Protocol, F> {
    world: Rc<RefCell<World<P>>>,
    factory: RefCell<F>,
}

impl<P, F> Served for Server<P, F>
where
    P: Protocol + Send + 'static,
    P::Message: Send + 'static,
    F: FnMut(&Peer<'_, P::Message>) -> Option<P>,
{
    fn connect(&self) -> Option<Box<dyn Wire>> {
        let mailbox = Arc::new(Queue::default());
        let protocol = (self.factory.borrow_mut())(&Peer::new(&Memory(&mailbox)));
        let seen = Rc::new(RefCell::new(Seen::default()));
        let mut world = self.world.borrow_mut();
        let id = protocol.map(|protocol| {
            let id = world.sim.open(Duration::ZERO, Remote(Rc::clone(&seen)), protocol);
            world.mailboxes.push(mailbox);
            world.settle();
            id
        });
        Some(Box::new(SimulatedWire {
            world: Rc::clone(&self.world),
            id,
            seen,
        }))
    }

    fn stop(&self, _: Duration) {
        let mut world = self.world.borrow_mut();
        for id in 0..world.mailboxes.len() {
            world.sim.stop(Duration::ZERO, id, End::B);
        }
        world.settle();
    }
}

/// The peer's end: acts, and reads, only when the check asks for it.
struct Remote(Rc<RefCell<Seen>>);

/// Input of the peer that it has not passed on.
#[derive(Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    eof: bool,
    closed: Option<Reason>,
}

enum Command {
    Read(bool),
    Send(Vec<u8>),
    Shutdown,
    Close,
    Abort,
}

impl Protocol for Remote {
    type Message = Command;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.pause(true);
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        self.0.borrow_mut().bytes.extend_from_slice(input.take_all());
        Ok(())
    }

    fn eof(&mut self, _: &mut Cx<'_>) -> Result<(), Infallible> {
        self.0.borrow_mut().eof = true;
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, command: Command) -> Result<(), Infallible> {
        match command {
            Command::Read(read) => cx.pause(!read),
            Command::Send(bytes) => cx.send(&bytes),
            Command::Shutdown => cx.shutdown(),
            Command::Close => cx.close(),
            Command::Abort => cx.abort(),
        }
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        self.0.borrow_mut().closed = Some(reason);
    }
}

struct SimulatedWire<P: Protocol> {
    world: Rc<RefCell<World<P>>>,
    /// `None` for a refused connection.
    id: Option<usize>,
    seen: Rc<RefCell<Seen>>,
}

impl<P: Protocol> SimulatedWire<P> {
    fn command(&self, command: Command) {
        if let Some(id) = self.id {
            self.world.borrow_mut().command(id, command);
        }
    }

    /// The next event to pass on.
    fn take(&self) -> Option<Received> {
        let mut seen = self.seen.borrow_mut();
        if seen.closed == Some(Reason::Io(ErrorKind::ConnectionReset)) {
            return Some(Received::Reset);
        }
        if !seen.bytes.is_empty() {
            return Some(Received::Bytes(core::mem::take(&mut seen.bytes)));
        }
        (seen.eof || seen.closed.is_some()).then_some(Received::Eof)
    }
}

impl<P: Protocol> Wire for SimulatedWire<P> {
    fn send(&mut self, bytes: &[u8]) {
        self.command(Command::Send(bytes.to_vec()));
    }

    fn receive(&mut self, patience: Duration) -> Received {
        const STEP: Duration = Duration::from_millis(1);
        if self.id.is_none() {
            return Received::Reset;
        }
        self.command(Command::Read(true));
        let mut left = patience;
        let received = loop {
            if let Some(received) = self.take() {
                break received;
            }
            if left.is_zero() {
                break Received::Nothing;
            }
            self.world.borrow_mut().pass(STEP.min(left));
            left = left.saturating_sub(STEP);
        };
        self.command(Command::Read(false));
        received
    }

    fn shutdown(&mut self) {
        self.command(Command::Shutdown);
    }

    fn reset(self: Box<Self>) {
        self.command(Command::Abort);
    }

    fn pass(&mut self, time: Duration) {
        if self.id.is_some() {
            self.world.borrow_mut().pass(time);
        }
    }
}

impl<P: Protocol> Drop for SimulatedWire<P> {
    /// The peer disconnects, as when a socket is dropped.
    fn drop(&mut self) {
        self.command(Command::Close);
        self.pass(SOON);
    }
}
