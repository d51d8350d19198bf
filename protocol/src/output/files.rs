//! Pieces of files among the output, and how they get into memory.

use std::io;
use std::sync::Arc;

use bytes::Buf;

use super::{Output, Piece, What, in_memory};
use crate::{FilePiece, Load};

/// # Pieces of files
impl Output {
    /// The piece of a file at the front, which a transport may send as it is; [`advance`](Buf::advance) says how much of it was
    /// sent. `None` if bytes in memory come first, or if the piece is being read.
    pub fn file(&self) -> Option<&FilePiece> {
        match self.pieces.front() {
            Some(Piece {
                before: 0,
                what: What::File(file),
            }) => Some(file),
            _ => None,
        }
    }

    /// Reads what is on the disk of the first `n` bytes into memory. Blocks.
    ///
    /// # Errors
    ///
    /// If a file cannot be read; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if one is shorter than its piece. The output must
    /// not be sent then.
    pub fn load(&mut self, n: usize) -> io::Result<()> {
        while !self.loads(n, |load, _| load.run())?.is_ready() {}
        Ok(())
    }

    /// Has a piece of a file read, in the output of the protocol inside a layer, when this output has been sent up to here.
    pub(crate) fn ask(&mut self, load: Arc<Load>) {
        self.push_piece(What::Asked(load, false));
    }

    /// Takes what was read among the first `n` bytes into the output. Calls `wait` with each read that these bytes still wait for, and
    /// whether this is the first call for that read in this output.
    pub(crate) fn loads(&mut self, n: usize, mut wait: impl FnMut(&Arc<Load>, bool)) -> Result<Loaded, io::ErrorKind> {
        let mut loaded = Loaded::default();
        if self.unread == 0 {
            return Ok(loaded);
        }
        let (mut at, mut place) = (0u64, 0);
        while let Some(piece) = self.pieces.get_mut(place) {
            at = at.saturating_add(piece.before as u64);
            let room = (n as u64).saturating_sub(at);
            if room == 0 && at > 0 {
                break;
            }
            match &mut piece.what {
                What::Bytes(_) => {}
                What::File(_) if room == 0 => break,
                What::File(file) => {
                    let first = file.split_to(room);
                    let rest = file.clone();
                    let load = Load::new(first);
                    wait(&load, true);
                    loaded.waits = true;
                    self.replace(place, What::Loading(load), rest);
                }
                What::Loading(load) => match load.outcome() {
                    Some(Ok(bytes)) => {
                        let piece = &mut self.pieces[place];
                        let read = core::mem::replace(&mut piece.what, What::Bytes(bytes));
                        self.unread -= 1;
                        self.unread_len = self.unread_len.saturating_sub(read.len());
                    }
                    Some(Err(kind)) => return Err(kind),
                    None => {
                        wait(load, false);
                        loaded.waits = true;
                    }
                },
                What::Asked(load, told) => {
                    if load.is_done() {
                        loaded.asked = true;
                        self.remove_asked(place);
                        continue;
                    }
                    wait(load, !core::mem::replace(told, true));
                    loaded.waits = true;
                }
            }
            at = at.saturating_add(self.pieces.get(place).map_or(0, |piece| piece.what.len()));
            place += 1;
        }
        Ok(loaded)
    }

    /// Puts `first` in the place of a piece of a file, of which `rest` is left behind it.
    fn replace(&mut self, place: usize, first: What, rest: FilePiece) {
        if let Some(piece) = self.pieces.get_mut(place) {
            piece.what = first;
        }
        if !rest.is_empty() {
            let what = What::File(rest);
            self.pieces.insert(place + 1, Piece { before: 0, what });
            self.unread += 1;
        }
    }

    /// Removes a piece without a length.
    fn remove_asked(&mut self, place: usize) {
        let Some(gone) = self.pieces.remove(place) else { return };
        self.discount(&gone.what);
        match self.pieces.get_mut(place) {
            Some(next) => next.before += gone.before,
            None => self.placed -= gone.before,
        }
    }

    /// Bytes in front of the first piece that is not in memory.
    pub(super) fn before_unread(&self) -> usize {
        let mut bytes = 0;
        for piece in &self.pieces {
            bytes += piece.before;
            if piece.what.is_unread() {
                break;
            }
            bytes += in_memory(piece.what.len());
        }
        bytes
    }

    /// As [`split`](Output::split), of what stands before the first piece that is not in memory.
    pub(crate) fn split_ready(&mut self) -> Output {
        if self.unread == 0 {
            return self.split();
        }
        let mut ready = Output::new();
        while let Some(front) = self.pieces.front_mut() {
            ready.extend_from_slice(&self.tail[..front.before]);
            self.tail.advance(front.before);
            self.placed -= front.before;
            front.before = 0;
            if front.what.is_unread() {
                break;
            }
            if let Some(Piece { what, .. }) = self.pieces.pop_front() {
                self.discount(&what);
                ready.push_piece(what);
            }
        }
        ready
    }
}

/// How far [`Output::loads`] has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Some of the bytes are not in memory yet.
    pub(crate) waits: bool,
    /// A piece was read that a layer has asked for.
    pub(crate) asked: bool,
}

impl Loaded {
    pub(crate) fn is_ready(self) -> bool {
        !self.waits
    }
}
