//! The system calls on one stream socket.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use protocol::Output;
use protocol::bytes::Buf;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};

/// Pieces handed to one vectored write.
const SLICES: usize = 64;

/// What became of a system call that may not block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// So many bytes moved.
    Bytes(usize),
    /// Not now.
    Blocked,
    Failed(io::ErrorKind),
}

impl From<rustix::io::Result<usize>> for Transfer {
    #[inline]
    fn from(result: rustix::io::Result<usize>) -> Self {
        match result {
            Ok(n) => Transfer::Bytes(n),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Transfer::Blocked,
            Err(errno) => Transfer::Failed(io::Error::from(errno).kind()),
        }
    }
}

#[inline]
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Transfer {
    rustix::net::recv(socket, buffer, RecvFlags::empty())
        .map(|(_, n)| n)
        .into()
}

/// Sends from `output`: in one piece when it is in one, else vectored. Also tells how much was offered; less taken
/// means that the socket is full, which saves the call that would say so.
#[inline(always)]
pub(crate) fn send(socket: &OwnedFd, output: &Output) -> (Transfer, usize) {
    let first = output.chunk();
    if first.len() == output.len() {
        (
            rustix::net::send(socket, first, SendFlags::NOSIGNAL).into(),
            first.len(),
        )
    } else {
        send_vectored(socket, output)
    }
}

fn send_vectored(socket: &OwnedFd, output: &Output) -> (Transfer, usize) {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = output.chunks_vectored(&mut slices);
    let slices = &slices[..filled];
    let offered = slices.iter().map(|slice| slice.len()).sum();
    let sent = rustix::net::sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL);
    (sent.into(), offered)
}

pub(crate) fn half_close(socket: &OwnedFd) {
    // It fails only when the peer is gone already, which the next read tells.
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
}

/// Closes with a reset.
pub(crate) fn reset(socket: OwnedFd) {
    driver_sockets::reset(&socket);
    drop(socket);
}

/// The error a socket has in store, or the one that a connection attempt ended with.
pub(crate) fn take_error(socket: &OwnedFd) -> Option<io::ErrorKind> {
    match sockopt::socket_error(socket) {
        Ok(Ok(())) => None,
        Ok(Err(errno)) | Err(errno) => Some(io::Error::from(errno).kind()),
    }
}

pub(crate) fn local_address(socket: &OwnedFd) -> Option<SocketAddr> {
    rustix::net::getsockname(socket).ok()?.try_into().ok()
}

pub(crate) fn remote_address(socket: &OwnedFd) -> Option<SocketAddr> {
    rustix::net::getpeername(socket).ok()??.try_into().ok()
}

/// Starts connecting. The socket becomes writable when it is done, well or not.
pub(crate) fn connect(socket: &OwnedFd, to: SocketAddr) -> io::Result<()> {
    match rustix::net::connect(socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
