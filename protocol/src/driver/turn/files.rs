//! Pieces of files in the output of a turn.

use std::sync::Arc;

use bytes::Buf;

use super::{ROUNDS, Turn};
use crate::{Cx, Load, Protocol, Reason};

/// Bytes that are read of a file at once.
const LOAD_SIZE: usize = 64 * 1024;
/// Bytes that a transport sends of a file at once.
pub(in crate::driver) const FILE_SIZE: u64 = 2 * 1024 * 1024;
/// How many of the [`ROUNDS`] of a turn one send of a file, or one read, counts for.
const FILE_ROUNDS: u8 = 4;

/// # Pieces of files
impl<P: Protocol> Turn<'_, P> {
    /// For layers: whether the first `n` bytes of the output are in memory. If not, each piece of a file among them is read when
    /// the output of the layer, in `cx`, has been sent up to here; the driver reads where its thread may not block. The layer then
    /// gets a call of [`again`](Protocol::again), and until then the turn is [`blocked`](Turn::blocked).
    ///
    /// If a file cannot be read, the connection fails: the next [`todo_with_files`](Turn::todo_with_files) says so.
    pub fn load_through(&mut self, n: usize, cx: &mut Cx<'_>) -> bool {
        let outer = cx.output();
        self.load(n, |load, first| {
            if first {
                outer.ask(Arc::clone(load));
            }
        })
    }

    /// Takes what was read into the output. Whether all of the first `n` bytes are there; `wait` sees each read that they wait for,
    /// and may carry it out.
    pub(in crate::driver) fn load(&mut self, n: usize, wait: impl FnMut(&Arc<Load>, bool)) -> bool {
        match self.scratch.output.loads(n, wait) {
            Ok(loaded) => {
                self.rounds = self.rounds.saturating_add(FILE_ROUNDS);
                // The layer that has asked for the read goes on when others have had their turn.
                self.connection.control.again |= loaded.asked;
                loaded.is_ready()
            }
            Err(kind) => {
                self.connection.fail(Reason::File(kind));
                false
            }
        }
    }

    /// Whether a piece of a file is next, and enough of files was sent in this turn: others come first.
    pub(in crate::driver) fn has_sent_enough(&self) -> bool {
        self.rounds >= ROUNDS && !self.scratch.output.has_remaining()
    }

    /// How much of a file is to be read now: less where limits are small, so that what was read, and is not taken, breaks none.
    pub(in crate::driver) fn load_size(&self) -> usize {
        let limits = &self.scratch.limits;
        let room = limits.max_output.saturating_sub(self.held());
        LOAD_SIZE.min(limits.high_water).min(room).max(1)
    }

    /// Has the connection keep something, so that it is not [plain](Turn::is_plain).
    pub(in crate::driver) fn keep_backlog(&mut self) {
        self.connection.backlog.get_or_insert_default();
    }

    /// Ends the connection with a reset.
    pub(in crate::driver) fn fail(&mut self, reason: Reason) {
        self.connection.fail(reason);
    }

    /// A transport sends from a file.
    pub(in crate::driver) fn file_round(&mut self) {
        self.rounds = self.rounds.saturating_add(FILE_ROUNDS);
    }
}
