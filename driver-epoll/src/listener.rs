//! Accepts connections, even if file descriptors run out.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

/// The result of accepting.
pub(crate) enum Accepted {
    Connection(OwnedFd, Option<SocketAddr>),
    /// No connection waits.
    Nobody,
    /// One connection failed before it was accepted; others may wait.
    Skipped,
    /// Descriptors or memory ran out: try again later.
    Exhausted,
}

/// Accepts with a descriptor in reserve. Without the reserve, a process at its limit of descriptors could not even accept and close a
/// waiting connection, and would be woken for it again and again.
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
            // Errors of the connection itself: accept(2) recommends retrying.
            Err(_) => Accepted::Skipped,
        }
    }

    /// Accepts one connection with the reserved descriptor and closes it, so that its peer learns at once that it is not served.
    fn turn_away(&mut self, listener: &OwnedFd) {
        drop(self.reserve.take());
        drop(rustix::net::accept_with(listener, SocketFlags::CLOEXEC));
        self.reserve = open_reserve();
    }
}

fn open_reserve() -> Option<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}
