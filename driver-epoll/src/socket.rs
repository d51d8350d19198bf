//! The system calls of one stream socket.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use driver_common::Stats;
use protocol::FilePiece;
use protocol::driver::{FileTransfer, Transfer, Transport};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};

/// One stream socket, borrowed for a turn.
pub(crate) struct Stream<'a> {
    pub(crate) socket: &'a OwnedFd,
    pub(crate) stats: &'a mut Stats,
}

impl Transport for Stream<'_> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut [u8]) -> Transfer {
        self.stats.reads += 1;
        let received = rustix::net::recv(self.socket, buffer, RecvFlags::empty());
        let transfer = transfer(received.map(|(_, n)| n));
        if let Transfer::Bytes(n) = transfer {
            self.stats.bytes_in += n as u64;
        }
        transfer
    }

    #[inline(always)]
    fn send(&mut self, bytes: &[u8]) -> Transfer {
        let sent = rustix::net::send(self.socket, bytes, SendFlags::NOSIGNAL);
        self.wrote(sent)
    }

    fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        let mut nothing = SendAncillaryBuffer::default();
        let sent = rustix::net::sendmsg(self.socket, slices, &mut nothing, SendFlags::NOSIGNAL);
        self.wrote(sent)
    }

    fn send_before_file(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        let mut nothing = SendAncillaryBuffer::default();
        // The head and the start of the file share a packet.
        let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
        let sent = rustix::net::sendmsg(self.socket, slices, &mut nothing, flags);
        self.wrote(sent)
    }

    fn send_file(&mut self, file: &FilePiece, max: u64) -> FileTransfer {
        let mut offset = file.offset();
        let count = usize::try_from(max).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(self.socket, file.file(), Some(&mut offset), count) {
            // The file's fault, not the socket's: a read says what is wrong, or does what sendfile cannot.
            Err(
                rustix::io::Errno::INVAL
                | rustix::io::Errno::NOSYS
                | rustix::io::Errno::IO
                | rustix::io::Errno::OVERFLOW,
            ) => FileTransfer::Unsupported,
            sent => FileTransfer::Done(self.wrote(sent)),
        }
    }

    fn shutdown(&mut self) {
        // Fails only if the peer has disconnected, which the next read reports.
        let _ = rustix::net::shutdown(self.socket, Shutdown::Write);
    }
}

impl Stream<'_> {
    #[inline(always)]
    fn wrote(&mut self, sent: rustix::io::Result<usize>) -> Transfer {
        self.stats.writes += 1;
        let transfer = transfer(sent);
        if let Transfer::Bytes(n) = transfer {
            self.stats.bytes_out += n as u64;
        }
        transfer
    }
}

#[inline]
fn transfer(result: rustix::io::Result<usize>) -> Transfer {
    match result {
        Ok(n) => Transfer::Bytes(n),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Transfer::Blocked,
        Err(errno) => Transfer::Failed(io::Error::from(errno).kind()),
    }
}

/// Closes with a reset.
pub(crate) fn reset(socket: OwnedFd) {
    driver_common::reset(&socket);
    drop(socket);
}

/// The pending error of a socket, or of its connect.
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

/// Starts connecting. The socket becomes writable when the attempt has ended, successfully or not.
pub(crate) fn connect(socket: &OwnedFd, to: SocketAddr) -> io::Result<()> {
    match rustix::net::connect(socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
