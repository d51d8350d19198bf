//! The event that a connection waits for.

use protocol::Deadline;

/// The event that a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// The first byte of the connection.
    FirstByte,
    /// The rest of a head.
    Head,
    /// More of a body, or a higher rate of a body.
    Body,
    /// The next request.
    Idle,
    /// The answer of the handler, or of the server.
    Answer,
}

/// Makes the next wait start anew, even if it is for the same kind of event: the next head, or the next body.
#[inline]
pub(super) const fn passed(deadline: &mut Deadline<Timer>) {
    deadline.set(Timer::Answer, deadline.at());
}
