//! The loop of a turn over a transport: written once, for every driver.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Buf;

use super::turn::{FILE_SIZE, Interest, READING, Todo, Turn};
use crate::{FilePiece, Load, Output, Protocol, Reason};

/// The most reads of one connection per turn. A single read would assemble the large messages of many connections one piece per turn, and
/// the pieces would leave the caches in between.
const READS: usize = 4;
/// The most reads of remaining input after the connection broke.
const LAST_READS: usize = 16;
/// The most slices of one vectored write.
const SLICES: usize = 64;

/// The result of a non-blocking transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// This many bytes were transferred; 0 bytes received is the end of the stream.
    Bytes(usize),
    /// Not now. The driver will be woken when the transport is ready.
    Blocked,
    /// The transport is broken.
    Failed(io::ErrorKind),
}

/// The result of sending from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTransfer {
    /// The transport took the file: this is the result. 0 bytes sent is the end of the file, which is then shorter than its piece.
    Done(Transfer),
    /// The transport sends no files, or not this one, or not at present: the piece is read into memory and sent from there.
    Unsupported,
}

/// The non-blocking system calls on one stream. A driver counts its calls and bytes here.
pub trait Transport {
    /// Whether a transport that took less than it was offered is full, so that a second call is not needed to find out.
    /// False if only a refused call arranges a wake-up, as with `poll_write` of an asynchronous stream.
    const SHORT_SEND_BLOCKS: bool = true;

    /// Receives into `buffer`, which is not empty, in one call.
    fn receive(&mut self, buffer: &mut [u8]) -> Transfer;

    /// Sends some of `bytes`, which are not empty, in one call.
    fn send(&mut self, bytes: &[u8]) -> Transfer;

    /// Sends some of `slices`, which are not empty, in one call. By default sends from the first slice.
    fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        match slices.first() {
            Some(first) => self.send(first),
            None => Transfer::Bytes(0),
        }
    }

    /// As [`send_vectored`](Transport::send_vectored), where a piece of a file comes right behind: a transport may hold back a packet
    /// that is not full.
    fn send_before_file(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        self.send_vectored(slices)
    }

    /// Sends up to `max` of the first bytes of `file`, in one call, without reading them into memory. By default this is
    /// [unsupported](FileTransfer::Unsupported).
    fn send_file(&mut self, file: &FilePiece, max: u64) -> FileTransfer {
        let _ = (file, max);
        FileTransfer::Unsupported
    }

    /// Has `load` read elsewhere, because this thread may not block. True if so: the transport then arranges for a wake-up at the end
    /// of the read, as after a send that was [`Blocked`](Transfer::Blocked). Called each time that the turn comes to the load; see
    /// [`Load::begin`]. By default the turn reads itself.
    fn load(&mut self, load: &Arc<Load>) -> bool {
        let _ = load;
        false
    }

    /// Half-closes, so that the peer sees the end of the stream.
    fn shutdown(&mut self);
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// There was nothing to read.
    Blocked,
    /// Bytes that did not fill the buffer, so that no more wait; or the end of the stream; or a failure.
    Part,
    /// Bytes filled the buffer: there may be more.
    Full,
}

/// The result of settling a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The connection waits.
    Waits(Interest),
    /// Other connections come first: call [`Turn::again`] in the next turn, and do not read before.
    Again,
    /// The connection has ended: close the transport, with a reset if `reset`.
    Ended {
        /// Whether the peer must see a reset instead of an orderly end.
        reset: bool,
    },
}

/// # The turn loop
impl<P: Protocol> Turn<'_, P> {
    /// Does what [`todo`](Turn::todo) says until the connection waits or ends.
    #[inline(always)]
    pub fn settle<T: Transport>(&mut self, transport: &mut T) -> Settled {
        // The usual case without going through `Todo`: answers are sent, and more is read.
        while self.flushed().is_plain() {
            if self.output().is_empty() {
                return Settled::Waits(READING);
            }
            self.send(transport);
        }
        self.settle_special(transport)
    }

    #[inline(never)]
    fn settle_special<T: Transport>(&mut self, transport: &mut T) -> Settled {
        loop {
            match self.todo_with_files() {
                Todo::Send => self.send(transport),
                Todo::Shutdown => transport.shutdown(),
                Todo::Wait(interest) => return Settled::Waits(interest),
                Todo::Again => return Settled::Again,
                Todo::Drop { reset } => return Settled::Ended { reset },
            }
        }
    }

    /// The transport is ready to be read from or to take output. Reads, if input is wanted, and does what `todo` says after
    /// each read, while the reads fill the buffer; four times at most.
    #[inline(always)]
    pub fn ready<T: Transport>(&mut self, transport: &mut T, read: bool, write: bool) -> Settled {
        if write {
            self.writable();
            let settled = self.settle(transport);
            if !read || !matches!(settled, Settled::Waits(interest) if interest.read) {
                return settled;
            }
        }
        if !read {
            return self.settle(transport);
        }
        let more = self.read(transport) == Read::Full;
        let settled = self.settle(transport);
        if more {
            self.read_on(transport, settled)
        } else {
            settled
        }
    }

    #[cold]
    fn read_on<T: Transport>(&mut self, transport: &mut T, mut settled: Settled) -> Settled {
        for _ in 1..READS {
            if !matches!(settled, Settled::Waits(interest) if interest.read) {
                break;
            }
            let more = self.read(transport) == Read::Full;
            settled = self.settle(transport);
            if !more {
                break;
            }
        }
        settled
    }

    /// Receives once.
    #[inline(always)]
    pub fn read<T: Transport>(&mut self, transport: &mut T) -> Read {
        let buffer = self.recv_buffer();
        let room = buffer.len();
        match transport.receive(buffer) {
            Transfer::Bytes(0) => self.eof(),
            Transfer::Bytes(n) => {
                self.received(n);
                return if n == room { Read::Full } else { Read::Part };
            }
            Transfer::Blocked => return Read::Blocked,
            Transfer::Failed(kind) => self.failed(kind),
        }
        Read::Part
    }

    /// The transport is broken, and the driver noticed this other than by reading. The peer may have sent its reason before,
    /// so the input that has arrived is read first, up to 1 MiB. The output is dropped.
    #[cold]
    pub fn broken<T: Transport>(&mut self, transport: &mut T, kind: io::ErrorKind) {
        self.drop_output();
        for _ in 0..LAST_READS {
            if !self.connection.wants_input() {
                break;
            }
            let buffer = self.recv_buffer();
            match transport.receive(buffer) {
                Transfer::Bytes(n) if n > 0 => self.received(n),
                Transfer::Bytes(_) => self.eof(),
                Transfer::Blocked | Transfer::Failed(_) => break,
            }
            self.drop_output();
        }
        self.failed(kind);
    }

    /// Sends once.
    #[inline(always)]
    fn send<T: Transport>(&mut self, transport: &mut T) {
        let Some(bytes) = self.output().flat() else {
            return self.send_pieces(transport);
        };
        let (transfer, offered) = (transport.send(bytes), bytes.len());
        self.conclude_send(transport, transfer, offered);
    }

    /// What a send has come to.
    #[inline(always)]
    fn conclude_send<T: Transport>(&mut self, transport: &mut T, transfer: Transfer, offered: usize) {
        match transfer {
            Transfer::Bytes(n) => {
                self.sent(n);
                if n < offered && T::SHORT_SEND_BLOCKS {
                    self.blocked();
                }
            }
            Transfer::Blocked => self.blocked(),
            Transfer::Failed(kind) => self.broken(transport, kind),
        }
    }

    /// Sends output of several pieces.
    #[inline(never)]
    fn send_pieces<T: Transport>(&mut self, transport: &mut T) {
        if !self.output().has_remaining() {
            return self.send_file(transport);
        }
        let (transfer, offered) = offer(transport, self.output());
        self.conclude_send(transport, transfer, offered);
    }

    /// Sends from the piece of a file at the front, or reads it.
    fn send_file<T: Transport>(&mut self, transport: &mut T) {
        if self.has_sent_enough() {
            // With a backlog the connection is not plain, and `todo` says so.
            return self.keep_backlog();
        }
        if let Some(file) = self.output().file() {
            let offered = file.len().min(FILE_SIZE);
            match transport.send_file(file, offered) {
                FileTransfer::Done(Transfer::Bytes(0)) => {
                    return self.fail(Reason::File(io::ErrorKind::UnexpectedEof));
                }
                FileTransfer::Done(transfer) => {
                    self.file_round();
                    return self.conclude_send(transport, transfer, offered as usize);
                }
                FileTransfer::Unsupported => {}
            }
        }
        let mut elsewhere = false;
        let there = self.load(self.load_size(), |load, _| match transport.load(load) {
            true => elsewhere = true,
            false => load.run(),
        });
        if elsewhere && !there {
            self.blocked();
        }
    }
}

/// Sends from `output`: with one plain write if the output is contiguous, else with a vectored write. Returns the number of bytes offered
/// too.
fn offer<T: Transport>(transport: &mut T, output: &Output) -> (Transfer, usize) {
    let first = output.chunk();
    if first.len() == output.len() {
        return (transport.send(first), first.len());
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = output.chunks_vectored(&mut slices);
    let slices = &slices[..filled];
    let offered = slices.iter().map(|slice| slice.len()).sum();
    let transfer = if offered == output.remaining() && offered < output.len() {
        transport.send_before_file(slices)
    } else {
        transport.send_vectored(slices)
    };
    (transfer, offered)
}
