//! A stream that carries another protocol, as a connection of its own (RFC 9113 section 8.5, RFC 8441).

use std::io::IoSlice;

use protocol::driver::{Connection, FileTransfer, Scratch, Settled, Transfer, Transport, Turn};
use protocol::{Cx, FilePiece, Protocol};

use super::ServerConfig;
use super::exchange::{Held, Io};
use crate::{ErrorCode, ServerConnection};

/// The stream, as the transport of the protocol in the tunnel.
struct Pipe<'a, 'c> {
    connection: &'a mut ServerConnection,
    config: &'a ServerConfig,
    cx: &'a mut Cx<'c>,
    stream: u32,
    /// Bytes that arrived before the client reset the stream.
    last: &'a [u8],
}

impl Transport for Pipe<'_, '_> {
    fn receive(&mut self, buffer: &mut [u8]) -> Transfer {
        let (now, later) = self.last.split_at(self.last.len().min(buffer.len()));
        let Some(place) = buffer.get_mut(..now.len()).filter(|place| !place.is_empty()) else {
            return Transfer::Blocked;
        };
        place.copy_from_slice(now);
        self.last = later;
        Transfer::Bytes(now.len())
    }

    fn send(&mut self, bytes: &[u8]) -> Transfer {
        if self.cx.is_congested() {
            return Transfer::Blocked;
        }
        let out = self.cx.output().tail();
        let limits = &self.config.limits;
        match self.connection.send_data(self.stream, bytes, false, limits, out) {
            Ok(0) => Transfer::Blocked,
            Ok(sent) => Transfer::Bytes(sent),
            Err(_) => Transfer::Failed(std::io::ErrorKind::BrokenPipe),
        }
    }

    /// Sends all slices in one frame, as far as the windows and the frame size allow.
    fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        if self.cx.is_congested() {
            return Transfer::Blocked;
        }
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let (mut sent, mut pieces) = (0, slices.iter());
        let mut piece: &[u8] = &[];
        while sent < all {
            let out = self.cx.output().tail();
            let (taken, append) = match self.connection.begin_data(self.stream, all - sent, out) {
                Ok((0, _)) => break,
                Ok(begun) => begun,
                Err(_) => return Transfer::Failed(std::io::ErrorKind::BrokenPipe),
            };
            sent += taken;
            let mut left = taken;
            while left > 0 {
                if piece.is_empty() {
                    let Some(next) = pieces.next() else { break };
                    piece = next;
                }
                let (now, later) = piece.split_at(piece.len().min(left));
                if append {
                    out.extend_from_slice(now);
                }
                (piece, left) = (later, left - now.len());
            }
        }
        if sent == 0 {
            Transfer::Blocked
        } else {
            Transfer::Bytes(sent)
        }
    }

    /// The driver below sends it, in frames.
    fn send_file(&mut self, file: &FilePiece, max: u64) -> FileTransfer {
        let mut left = file.clone().split_to(max);
        while !left.is_empty() && !self.cx.is_congested() {
            let length = usize::try_from(left.len()).unwrap_or(usize::MAX);
            let out = self.cx.output().tail();
            let (taken, append) = match self.connection.begin_data(self.stream, length, out) {
                Ok((0, _)) => break,
                Ok(begun) => begun,
                Err(_) => return FileTransfer::Done(Transfer::Failed(std::io::ErrorKind::BrokenPipe)),
            };
            let piece = left.split_to(taken as u64);
            if append {
                self.cx.output().push_file(piece);
            }
        }
        let sent = usize::try_from(max.min(file.len()) - left.len()).unwrap_or(usize::MAX);
        FileTransfer::Done(if sent == 0 {
            Transfer::Blocked
        } else {
            Transfer::Bytes(sent)
        })
    }

    fn shutdown(&mut self) {
        let out = self.cx.output().tail();
        let _ = self.connection.finish(self.stream, &(), &self.config.limits, out);
    }
}

/// The state for one turn of a tunnel.
pub(super) struct Tunnel<'a, 'c, P: Protocol> {
    pub(super) connection: &'a mut ServerConnection,
    pub(super) config: &'a ServerConfig,
    pub(super) cx: &'a mut Cx<'c>,
    pub(super) stream: u32,
    pub(super) io: &'a mut Io,
    pub(super) inner: &'a mut Connection<P>,
}

impl<P: Protocol> Tunnel<'_, '_, P> {
    /// A message was posted. Its output is flushed together with that of later messages, unless much output waits.
    pub(super) fn posted(&mut self, message: P::Message) {
        let (limits, now) = (*self.cx.limits(), self.cx.now());
        let may_wait = Scratch::lend(limits, now, |scratch| {
            let mut turn = self.inner.layered(scratch, self.cx);
            turn.posted(message);
            let waiting = self.cx.waiting() + turn.output().len();
            turn.connection().is_open() && waiting <= self.cx.high_water()
        });
        self.io.unsettled = true;
        if !may_wait {
            self.turn(|_| {});
            self.resume();
        }
    }

    /// The client has reset the stream. As with a socket, bytes that arrived before are read first.
    pub(super) fn broken(&mut self) {
        let (limits, now) = (*self.cx.limits(), self.cx.now());
        let held = self.io.held.take().unwrap_or_default();
        Scratch::lend(limits, now, |scratch| {
            let mut turn = self.inner.layered(scratch, self.cx);
            let mut pipe = Pipe {
                connection: self.connection,
                config: self.config,
                cx: self.cx,
                stream: self.stream,
                last: &held.content,
            };
            turn.broken(&mut pipe, std::io::ErrorKind::ConnectionReset);
        });
    }

    /// Runs one turn: `event` and its consequences.
    pub(super) fn turn(&mut self, event: impl FnOnce(&mut Turn<'_, P>)) {
        let (limits, now) = (*self.cx.limits(), self.cx.now());
        let settled = Scratch::lend(limits, now, |scratch| {
            let mut turn = self.inner.layered(scratch, self.cx);
            if std::mem::take(&mut self.io.unsettled) {
                turn.flush_due();
            }
            event(&mut turn);
            let mut pipe = Pipe {
                connection: self.connection,
                config: self.config,
                cx: self.cx,
                stream: self.stream,
                last: &[],
            };
            turn.settle(&mut pipe)
        });
        self.io.reads = false;
        match settled {
            Settled::Waits(interest) => self.io.reads = interest.read,
            Settled::Again => {
                self.io.again = true;
                self.cx.again();
            }
            Settled::Ended { reset } => {
                let (limits, out) = (&self.config.limits, self.cx.output().tail());
                if !reset {
                    // If the client has already ended its half, ending ours closes the stream, and the reset below does nothing.
                    let _ = self.connection.finish(self.stream, &(), limits, out);
                }
                let code = if reset { ErrorCode::CANCEL } else { ErrorCode::NO_ERROR };
                let _ = self.connection.reset(self.stream, code, limits, out);
            }
        }
    }

    /// Passes `data` to the protocol, as long as it reads. Returns how many bytes it took.
    pub(super) fn feed(&mut self, data: &[u8]) -> usize {
        let mut rest = data;
        while !rest.is_empty() && self.io.reads && !self.inner.is_done() {
            let mut taken = 0;
            self.turn(|turn| {
                let buffer = turn.recv_buffer();
                taken = rest.len().min(buffer.len());
                let (piece, _) = rest.split_at(taken);
                if let Some(place) = buffer.get_mut(..taken) {
                    place.copy_from_slice(piece);
                }
                turn.received(taken);
            });
            rest = rest.get(taken..).unwrap_or_default();
        }
        data.len() - rest.len()
    }

    /// Passes on held content, then the end if the client has sent it.
    pub(super) fn resume(&mut self) {
        let Some(mut held) = self.io.held.take() else {
            return;
        };
        let used = self.feed(&held.content);
        let out = self.cx.output().tail();
        let limits = &self.config.limits;
        let _ = self.connection.consume(self.stream, used, limits, out);
        held.content.drain(..used);
        if !held.content.is_empty() {
            self.io.held = Some(held);
        } else if held.end.is_some() {
            self.turn(|turn| turn.eof());
        }
    }

    /// Content has arrived.
    pub(super) fn data(&mut self, data: &[u8]) {
        let used = if self.io.held.is_none() { self.feed(data) } else { 0 };
        let out = self.cx.output().tail();
        let limits = &self.config.limits;
        let _ = self.connection.consume(self.stream, used, limits, out);
        if let Some(rest) = data.get(used..).filter(|rest| !rest.is_empty()) {
            let held: &mut Held = self.io.held.get_or_insert_default();
            held.content.extend_from_slice(rest);
        }
    }

    /// The client has ended its half.
    pub(super) fn end(&mut self) {
        match &mut self.io.held {
            Some(held) => held.end = Some(Vec::new()),
            None => self.turn(|turn| turn.eof()),
        }
    }
}
