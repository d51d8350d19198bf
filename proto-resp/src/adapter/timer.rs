//! The event that a connection waits for.

/// The event that a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// The end of the handshake.
    Handshake,
    /// The reply to the oldest command without one, or more bytes of that reply.
    Reply,
    /// Any input; if none comes, a client sends PING.
    Idle,
    /// The reply to a PING.
    Pong,
    /// The rest of a command.
    Command,
    /// The handler's reply.
    Answer,
}
