//! Why a connection ended.

use core::fmt;
use std::io;

/// Why a connection ended: the argument of [`Protocol::closed`](crate::Protocol::closed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The protocol asked to close; all output was sent.
    Closed,
    /// The protocol asked to abort.
    Aborted,
    /// The protocol returned an error. Its last output was sent as far as the peer took it.
    Error,
    /// The transport failed: the connect failed, the peer reset the connection, or a read or write failed.
    Io(io::ErrorKind),
    /// A piece of a file in the output could not be sent whole: the file is shorter than its piece
    /// ([`UnexpectedEof`](io::ErrorKind::UnexpectedEof)), or could not be read.
    File(io::ErrorKind),
    /// The peer took no output for [`Limits::write_timeout`](crate::Limits::write_timeout).
    WriteTimeout,
    /// More than [`Limits::max_output`](crate::Limits::max_output) bytes of output waited.
    OutputLimit,
    /// The protocol left more than [`Limits::max_input`](crate::Limits::max_input) bytes unconsumed.
    InputLimit,
    /// The driver was stopped, and the connection did not end by itself in time.
    Stopped,
    /// The protocol panicked. [`Protocol::closed`](crate::Protocol::closed) is not called then.
    Panicked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Closed => f.write_str("closed"),
            Reason::Aborted => f.write_str("aborted"),
            Reason::Error => f.write_str("protocol error"),
            Reason::Io(kind) => write!(f, "transport failed: {kind}"),
            Reason::File(kind) => write!(f, "a file could not be sent whole: {kind}"),
            Reason::WriteTimeout => f.write_str("the peer took no output in time"),
            Reason::OutputLimit => f.write_str("too much unsent output"),
            Reason::InputLimit => f.write_str("too much unconsumed input"),
            Reason::Stopped => f.write_str("the driver was stopped"),
            Reason::Panicked => f.write_str("the protocol panicked"),
        }
    }
}
