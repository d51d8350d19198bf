//! Sockets that listen, and accepting from them when descriptors run out.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use protocol::driver::SocketOptions;

/// Binds and listens. With `share`, other sockets may listen on the same port.
pub(crate) fn listen(address: SocketAddr, options: &SocketOptions, share: bool) -> io::Result<OwnedFd> {
    let socket = bind(address, share)?;
    rustix::net::listen(&socket, options.backlog)?;
    Ok(socket)
}

/// Fails when somebody listens on `address`, also somebody who would share it.
pub(crate) fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = bind(address, false)?;
    Ok(rustix::net::listen(&socket, 1)?)
}

fn bind(address: SocketAddr, share: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restarted server must not wait for its predecessor's connections in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if share {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

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
