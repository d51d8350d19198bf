//! Panics of protocols.

use super::*;
use crate::{Input, Protocol};

/// The method in which a protocol panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    Factory,
    Connected,
    Received,
    Eof,
    Deadline,
    Timeout,
    Message,
    Flush,
    Stop,
    Closed,
    Drop,
}

const SECRET: &[u8] = b"half of a secret";

/// An echo that panics in one method, after its first byte.
#[derive(Debug)]
struct Bomb {
    place: Place,
    deadline: Option<Instant>,
    echoed: bool,
    armed: bool,
}

impl Bomb {
    fn may_panic(&self, place: Place, cx: Option<&mut Cx<'_>>) {
        if self.place == place && (self.armed || place == Place::Connected) {
            // This output must reach nobody.
            if let Some(cx) = cx {
                cx.send(SECRET);
            }
            panic!("told to panic in {place:?}");
        }
    }
}

impl Protocol for Bomb {
    type Message = u32;
    type Error = Failed;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.may_panic(Place::Connected, Some(cx));
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Failed> {
        self.may_panic(Place::Received, Some(cx));
        cx.send(input.take_all());
        self.echoed = true;
        if self.place == Place::Timeout {
            self.deadline = Some(cx.now() + Duration::from_millis(20));
        }
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.may_panic(Place::Eof, Some(cx));
        cx.close();
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.may_panic(Place::Deadline, None);
        self.deadline
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.may_panic(Place::Timeout, Some(cx));
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.may_panic(Place::Flush, Some(cx));
        // The first byte was echoed. Output that was waiting earlier is a layer's.
        self.armed |= self.echoed && cx.waiting() > 0;
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, _: u32) -> Result<(), Failed> {
        self.may_panic(Place::Message, Some(cx));
        Ok(())
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Failed> {
        self.may_panic(Place::Stop, Some(cx));
        cx.send(b"bye");
        cx.close();
        Ok(())
    }

    fn closed(&mut self, _: Reason) {
        self.may_panic(Place::Closed, None);
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.may_panic(Place::Drop, None);
        }
    }
}

/// A server that tells its next protocol where to panic.
struct Field {
    served: Box<dyn Served>,
    next: Arc<Mutex<Place>>,
    senders: Receiver<Sender<u32>>,
}

impl Field {
    fn new<D: Driver>(driver: &D) -> Self {
        let next = Arc::new(Mutex::new(Place::Nowhere));
        let (tell, senders) = channel();
        let asked = Arc::clone(&next);
        let tell = Arc::new(Mutex::new(tell));
        let factory = move |peer: &Peer<'_, u32>| {
            let place = core::mem::replace(
                &mut *asked.lock().unwrap_or_else(PoisonError::into_inner),
                Place::Nowhere,
            );
            let _ = tell.lock().unwrap_or_else(PoisonError::into_inner).send(peer.sender());
            assert!(place != Place::Factory, "told to panic in the factory");
            Some(Bomb {
                place,
                deadline: None,
                echoed: false,
                armed: false,
            })
        };
        Field {
            served: driver.serve(limits(), factory),
            next,
            senders,
        }
    }

    fn connect(&self, place: Place) -> (Box<dyn Wire>, Sender<u32>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = place;
        let wire = connect(&*self.served);
        let Ok(sender) = self.senders.recv_timeout(PATIENCE) else {
            fail!("expected the factory to be asked after a panic, saw that it was not")
        };
        (wire, sender)
    }
}

fn echoes(who: &str, wire: &mut dyn Wire) {
    wire.send(b"ping");
    expect_bytes(&format!("the echo of {who}"), &read(wire, 4), b"ping");
}

/// Checks that a connection was reset after its protocol panicked.
fn is_reset(place: Place, wire: &mut dyn Wire) {
    let seen = wire.receive(PATIENCE);
    // If the protocol panics after its last output, the peer may have seen an orderly end.
    let gone = matches!(place, Place::Closed | Place::Drop) && seen == Received::Eof;
    ensure!(
        gone || seen == Received::Reset,
        "after a panic in {place:?}: expected {:?}, saw {seen:?}",
        Received::Reset
    );
}

pub(super) fn one_connection<D: Driver>(driver: &D) {
    let places = [
        Place::Connected,
        Place::Received,
        Place::Eof,
        Place::Deadline,
        Place::Timeout,
        Place::Message,
        Place::Flush,
        Place::Closed,
        Place::Drop,
    ];
    let field = Field::new(driver);
    // On the same thread, or on others.
    let mut bystanders: Vec<_> = (0..4).map(|_| field.connect(Place::Nowhere).0).collect();
    for place in places {
        let (mut victim, sender) = field.connect(place);
        if place != Place::Connected {
            victim.send(b"x");
            // A panic after the echo, when the driver reads the deadline or flushes again, may discard the echo.
            if !matches!(place, Place::Deadline | Place::Flush) {
                expect_bytes(
                    &format!("the echo before a panic in {place:?}"),
                    &read(&mut *victim, 1),
                    b"x",
                );
            } else if victim.receive(PATIENCE) == Received::Reset {
                continue;
            }
        }
        match place {
            Place::Received | Place::Flush => victim.send(b"y"),
            Place::Eof | Place::Closed | Place::Drop => victim.shutdown(),
            Place::Message => expect("a message", sender.send(0), Ok(())),
            _ => {}
        }
        is_reset(place, &mut *victim);
        for bystander in &mut bystanders {
            echoes(
                &format!("another connection after a panic in {place:?}"),
                &mut **bystander,
            );
        }
    }
    for _ in 0..4 {
        echoes(
            "a new connection after all the panics",
            &mut *field.connect(Place::Nowhere).0,
        );
    }
}

pub(super) fn factory<D: Driver>(driver: &D) {
    let field = Field::new(driver);
    let mut bystander = field.connect(Place::Nowhere).0;
    // More often than there are threads.
    for _ in 0..4 {
        let (mut victim, _) = field.connect(Place::Factory);
        is_reset(Place::Factory, &mut *victim);
        echoes("another connection", &mut *bystander);
    }
    for _ in 0..4 {
        echoes("a new connection", &mut *field.connect(Place::Nowhere).0);
    }
}

pub(super) fn stop<D: Driver>(driver: &D) {
    let field = Field::new(driver);
    let mut bystanders: Vec<_> = (0..4).map(|_| field.connect(Place::Nowhere).0).collect();
    let mut victim = field.connect(Place::Stop).0;
    let mut last = field.connect(Place::Nowhere).0;
    victim.send(b"x");
    expect_bytes("the echo", &read(&mut *victim, 1), b"x");
    field.served.stop(LONG);
    is_reset(Place::Stop, &mut *victim);
    for bystander in bystanders.iter_mut().chain([&mut last]) {
        expect_bytes("the last words of another", &read_to_eof(&mut **bystander), b"bye");
    }
}
