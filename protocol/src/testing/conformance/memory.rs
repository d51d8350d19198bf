//! The in-memory harness as a driver under test.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Driver, Received, Served, Wire};
use crate::testing::Harness;
use crate::{Limits, Peer, Protocol, Reason};

/// Runs each connection in a [`Harness`].
#[derive(Debug, Clone, Copy, Default)]
pub struct InMemory;

impl Driver for InMemory {
    const IN_MEMORY: bool = true;

    fn serve<P, F>(&self, limits: Limits, factory: F) -> Box<dyn Served>
    where
        P: Protocol + Send + 'static,
        P::Message: Send + 'static,
        F: FnMut(&Peer<'_, P::Message>) -> Option<P> + Clone + Send + 'static,
    {
        Box::new(MemoryServer {
            limits,
            factory: RefCell::new(factory),
            open: RefCell::default(),
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

struct MemoryServer<P: Protocol, F> {
    limits: Limits,
    factory: RefCell<F>,
    open: RefCell<Vec<Rc<RefCell<Harness<P>>>>>,
}

impl<P, F> Served for MemoryServer<P, F>
where
    P: Protocol + Send + 'static,
    P::Message: Send + 'static,
    F: FnMut(&Peer<'_, P::Message>) -> Option<P>,
{
    fn connect(&self) -> Option<Box<dyn Wire>> {
        let harness = Harness::accept(self.limits, &mut *self.factory.borrow_mut());
        let harness = harness.map(|mut harness| {
            // About the size of a kernel's buffers.
            harness.set_window(Some(WINDOW));
            Rc::new(RefCell::new(harness))
        });
        self.open.borrow_mut().extend(harness.clone());
        Some(Box::new(MemoryWire { harness }))
    }

    fn stop(&self, _: Duration) {
        for harness in self.open.borrow().iter() {
            harness.borrow_mut().stop();
        }
    }
}

const WINDOW: usize = 64 * 1024;

struct MemoryWire<P: Protocol> {
    harness: Option<Rc<RefCell<Harness<P>>>>,
}

impl<P: Protocol> Wire for MemoryWire<P> {
    fn send(&mut self, bytes: &[u8]) {
        if let Some(harness) = &self.harness {
            harness.borrow_mut().receive(bytes);
        }
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let Some(harness) = &self.harness else {
            return Received::Reset;
        };
        let mut harness = harness.borrow_mut();
        let end = harness.now() + patience;
        loop {
            harness.pump();
            if harness.was_reset() {
                return Received::Reset;
            }
            if !harness.sent().is_empty() {
                let bytes = harness.take_sent();
                harness.set_window(Some(WINDOW));
                return Received::Bytes(bytes);
            }
            if harness.is_half_closed() {
                return Received::Eof;
            }
            match harness.deadline().filter(|deadline| *deadline <= end) {
                Some(deadline) => {
                    let next = deadline.max(harness.now() + Duration::from_millis(1));
                    harness.advance_to(next);
                }
                None => {
                    harness.advance_to(end);
                    return Received::Nothing;
                }
            }
        }
    }

    fn shutdown(&mut self) {
        if let Some(harness) = &self.harness {
            harness.borrow_mut().eof();
        }
    }

    fn reset(self: Box<Self>) {
        if let Some(harness) = &self.harness {
            let mut harness = harness.borrow_mut();
            if harness.is_blocked() {
                // The driver notices the reset at its next write.
                harness.break_off(b"");
                harness.set_window(Some(WINDOW));
            } else {
                harness.reset();
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        if let Some(harness) = &self.harness {
            let mut harness = harness.borrow_mut();
            harness.pump();
            harness.advance(time);
        }
    }
}

impl<P: Protocol> Drop for MemoryWire<P> {
    /// The peer disconnects, as when a socket is dropped.
    fn drop(&mut self) {
        if let Some(harness) = &self.harness {
            let mut harness = harness.borrow_mut();
            if harness.ended() != Some(Reason::Closed) {
                harness.eof();
            }
        }
    }
}
