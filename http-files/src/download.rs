//! The content of an answer, piece by piece.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use bytes::Bytes;
use proto_http::{Misuse, Responder};
use protocol::FilePiece;

/// Bytes of a file that are put into the output at once. In front of each such window it is checked that the file has not changed.
const WINDOW: u64 = 8 * 1024 * 1024;

/// An answer that is under way: call [`proceed`](Download::proceed) in [`drained`](proto_http::Handler::drained).
///
/// A download holds an open file, and no content.
#[derive(Debug)]
pub struct Download {
    file: Arc<File>,
    state: State,
    /// Whether the state is that of this moment, because the answer begins in this call.
    fresh: bool,
    parts: VecDeque<Part>,
}

#[derive(Debug)]
pub(crate) enum Part {
    Bytes(Bytes),
    File(Range<u64>),
}

/// What does not stay as it is when a file changes.
#[derive(Debug, PartialEq, Eq)]
struct State {
    length: u64,
    modified: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Download {
    /// Of a file that was in this state when the answer began.
    pub(crate) fn new(file: File, metadata: &Metadata, parts: VecDeque<Part>) -> Self {
        Self {
            file: Arc::new(file),
            state: State::of(metadata),
            fresh: true,
            parts,
        }
    }

    /// Sends more of the content, until the output is [congested](Responder::is_congested) or the answer is complete. True when
    /// nothing is left to do: drop the download then. If the file has changed since the answer began, the answer is
    /// [aborted](Responder::abort).
    ///
    /// # Errors
    ///
    /// Those of the responder, if the handler has written to the answer itself.
    pub fn proceed(&mut self, responder: &mut Responder<'_, '_>) -> Result<bool, Misuse> {
        while !responder.is_congested() {
            match self.parts.pop_front() {
                None => return responder.finish().map(|()| true),
                Some(Part::Bytes(bytes)) => responder.write_shared(bytes)?,
                Some(Part::File(range)) => {
                    if !core::mem::take(&mut self.fresh) && !self.is_unchanged() {
                        responder.abort();
                        return Ok(true);
                    }
                    let window = WINDOW.min(range.end - range.start);
                    responder.write_file(FilePiece::new(Arc::clone(&self.file), range.start, window))?;
                    if range.start + window < range.end {
                        self.parts.push_front(Part::File(range.start + window..range.end));
                    }
                }
            }
        }
        if self.parts.is_empty() {
            return responder.finish().map(|()| true);
        }
        Ok(false)
    }

    fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|now| State::of(&now) == self.state)
    }
}
