//! For those who write a driver: one connection's half of the rules, as a state machine.
//!
//! A driver owns sockets, time and wake-ups. What it may call when, what becomes of unconsumed input and unsent output,
//! when a connection is congested, how it closes: that is the same everywhere, so it lives here, once, without I/O.
//! Both drivers of this project and the in-memory rigs of the feature `testing` are loops around [`Connection`].
//!
//! One event on one connection is handled in three numbered steps:
//!
//! 1. Set [`Turn::now`]; for input, read into [`Connection::recv_buffer`].
//! 2. Say what happened: [`connected`](Connection::connected), [`received`](Connection::received),
//!    [`eof`](Connection::eof), [`writable`](Connection::writable), [`timeout`](Connection::timeout),
//!    [`messages`](Connection::messages), [`stop`](Connection::stop) or [`failed`](Connection::failed).
//! 3. Do what [`Connection::todo`] says until it is [`Todo::Wait`], [`Todo::Again`], or the end. Answer
//!    [`Todo::Send`] with [`sent`](Connection::sent), [`blocked`](Connection::blocked) or
//!    [`failed`](Connection::failed).
//!
//! Then note the interest, read [`Connection::deadline`], and only then go on to another connection: the output of the
//! one in hand lies in the shared [`Turn`].
//!
//! ```
//! use std::time::Instant;
//! use bytes::Buf;
//! use protocol::driver::{Connection, Todo, Turn};
//! use protocol::{Cx, Input, Limits, Protocol};
//!
//! struct Echo;
//! impl Protocol for Echo {
//!     type Message = std::convert::Infallible;
//!     type Error = std::convert::Infallible;
//!     fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
//!         cx.send(input.take_all());
//!         Ok(())
//!     }
//! }
//!
//! let mut turn = Turn::new(Limits::default(), Instant::now());
//! let mut connection = Connection::new(Echo);
//! connection.connected(&mut turn);
//! connection.recv_buffer(&mut turn)[..2].copy_from_slice(b"hi"); // a driver calls recv here
//! connection.received(&mut turn, 2);
//! assert_eq!(connection.todo(&mut turn), Todo::Send);
//! assert_eq!(turn.output.chunk(), b"hi"); // a driver calls send here
//! connection.sent(&mut turn, 2);
//! assert!(matches!(connection.todo(&mut turn), Todo::Wait(interest) if interest.read && !interest.write));
//! ```

mod backlog;
mod config;
mod connect;
mod connection;
mod datagrams;
mod flags;
mod per_address;
mod stats;
mod stopping;

use std::time::Instant;

use self::backlog::COPY_MAX;
use crate::{Limits, Output};

pub use self::config::{Config, Keepalive, SocketOptions};
pub use self::connect::Connect;
pub use self::connection::Connection;
pub use self::datagrams::Datagrams;
pub use self::per_address::PerAddress;
pub use self::stats::{SharedStats, Stats};
pub use self::stopping::Stopping;

/// Bytes that a driver reads at once into the shared buffer.
const READ_SIZE: usize = 64 * 1024;

/// What the connections of one thread share: the time, the read buffer, the output of the connection in hand.
#[derive(Debug)]
pub struct Turn {
    /// The time, read once per turn of the loop. Must not run backwards.
    pub now: Instant,
    /// The output of the connection in hand; to be sent when [`Connection::todo`] says so.
    pub output: Output,
    /// The limits of the connection in hand.
    pub limits: Limits,
    input: Box<[u8]>,
    rounds: u8,
}

impl Turn {
    /// Allocates the shared buffers (68 KiB).
    pub fn new(limits: Limits, now: Instant) -> Self {
        Turn {
            now,
            output: Output::new(),
            limits,
            input: vec![0; COPY_MAX + READ_SIZE].into(),
            rounds: 0,
        }
    }
}

/// What a driver has to do next for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Send from [`Turn::output`], then say how it went.
    Send,
    /// Half-close: the peer is to see the end of the stream. Then ask again.
    Shutdown,
    /// Nothing now: wait for the socket, the deadline or a message.
    Wait(Interest),
    /// There is more to do, but other connections come first: call [`Connection::again`] in the next turn. Do not read before.
    Again,
    /// Drop the connection: [`Protocol::closed`](crate::Protocol::closed) has been called. Close the socket, with a reset if `reset`.
    Drop {
        /// Whether the peer is to see a reset instead of an orderly end.
        reset: bool,
    },
}

/// What to wait for on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest {
    /// Input is wanted.
    pub read: bool,
    /// Output waits.
    pub write: bool,
}
