//! What a connection waits for.

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// The end of the handshake.
    Handshake,
    /// The reply to the oldest command without one, or more of it.
    Reply,
    /// Anything at all; a client sends PING when it does not come.
    Idle,
    /// The reply to that PING.
    Pong,
    /// The rest of a command.
    Command,
    /// The handler's reply.
    Answer,
}
