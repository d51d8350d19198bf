//! What a connection waits for.

use protocol::Deadline;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// Its first byte.
    FirstByte,
    /// The rest of a head.
    Head,
    /// More of a body, or a body at a better rate.
    Body,
    /// The next request.
    Idle,
    /// The answer: a handler's, or a server's.
    Answer,
}

/// The next wait gets time of its own, though it is for what was waited for until now: the next head, the next body.
#[inline]
pub(super) const fn passed(deadline: &mut Deadline<Timer>) {
    deadline.set(Timer::Answer, deadline.at());
}
