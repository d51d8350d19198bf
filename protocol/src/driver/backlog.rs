//! The data that a connection holds only while something waits.

use std::error::Error;
use std::time::Instant;

use crate::Output;

/// Up to this many unconsumed bytes are copied in front of the newly read ones in the shared buffer. More are kept in
/// a buffer of the connection's own which then grows, so that a trickled input is not copied once per byte.
pub(super) const COPY_MAX: usize = 4 * 1024;

#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Input that the protocol did not consume.
    pub(super) input: Leftover,
    /// Output that the transport has not taken. During a turn, this field holds the thread's empty output instead.
    pub(super) output: Output,
    /// Bytes of output in flight: taken by the driver, and not yet completed.
    pub(super) in_flight: usize,
    /// The time by which the peer must have taken some output.
    pub(super) stall: Option<Instant>,
    /// The time at which waiting for the peer's close ends.
    pub(super) linger: Option<Instant>,
    /// Bytes discarded while closing.
    pub(super) discarded: usize,
    /// The error that the protocol returned.
    pub(super) error: Option<Box<dyn Error + Send + Sync>>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty()
            && self.output.is_empty()
            && self.stall.is_none()
            && self.linger.is_none()
            && self.discarded == 0
            && self.in_flight == 0
            && self.error.is_none()
    }
}

/// Unconsumed input: `bytes[start..end]`, followed by room for reading.
#[derive(Debug, Default)]
pub(super) struct Leftover {
    pub(super) bytes: Vec<u8>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Leftover {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn store(&mut self, rest: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(rest);
        (self.start, self.end) = (0, rest.len());
    }

    /// Appends newer bytes.
    pub(super) fn append(&mut self, newer: &[u8]) {
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(newer);
        self.end = self.bytes.len();
    }

    /// Room for at least as many bytes as are held, so that growing takes linear time.
    pub(super) fn room(&mut self, max: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < COPY_MAX {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let want = self.end + self.end.clamp(COPY_MAX, max.max(COPY_MAX));
            if self.bytes.len() < want {
                self.bytes.resize(want, 0);
            }
        }
        &mut self.bytes[self.end..]
    }
}
