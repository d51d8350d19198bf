//! Accepting, also when descriptors run out.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

/// What accepting gave.
pub(crate) enum Accepted {
    Connection(OwnedFd, Option<SocketAddr>),
    /// Nobody waits.
    Nobody,
    /// One connection failed before it was accepted; others may wait.
    Skipped,
    /// Descriptors or memory ran out: come back later.
    Exhausted,
}

/// Accepts with a descriptor in reserve. Without it, a process at its limit of descriptors could not even take and
/// close what waits, and would be woken for it again and again.
#[derive(Debug)]
pub(crate) struct Acceptor {
    reserve: Option<OwnedFd>,
}

impl Acceptor {
    pub(crate) fn new() -> Self {
        Acceptor {
            reserve: open_reserve(),
        }
    }

    pub(crate) fn accept(&mut self, listener: &OwnedFd) -> Accepted {
        match rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok((socket, address)) => Accepted::Connection(socket, address.and_then(|address| address.try_into().ok())),
            Err(Errno::AGAIN) => Accepted::Nobody,
            Err(Errno::MFILE | Errno::NFILE) => {
                self.turn_away(listener);
                Accepted::Exhausted
            }
            Err(Errno::NOBUFS | Errno::NOMEM) => Accepted::Exhausted,
            // Errors of the connection itself: accept(2) asks to treat them like one that never came.
            Err(_) => Accepted::Skipped,
        }
    }

    /// Takes one connection with the reserve and closes it, so that its peer learns at once that it is not served.
    fn turn_away(&mut self, listener: &OwnedFd) {
        drop(self.reserve.take());
        drop(rustix::net::accept_with(listener, SocketFlags::CLOEXEC));
        self.reserve = open_reserve();
    }
}

fn open_reserve() -> Option<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}
