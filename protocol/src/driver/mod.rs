//! For authors of drivers: the rules of one connection, as a state machine without I/O.
//!
//! A driver owns sockets, time and wake-ups. Everything else is the same on every driver: which method may be called when,
//! what happens to unconsumed input and unsent output, when a connection is congested, how a connection closes.
//! [`Connection`] implements these rules once. Both drivers of this project, and the in-memory test rigs of the feature
//! `testing`, are loops around a `Connection`.
//!
//! A thread has one [`Scratch`]: the time, a read buffer and an output buffer that all its connections share. A driver
//! handles an event in a [`Turn`], which holds a connection and the scratch memory together. Output is reachable only
//! through a turn, and dropping the turn puts unsent output back into its connection. So one connection's bytes cannot reach
//! another connection.
//!
//! 1. Set [`Scratch::now`] and begin a [`turn`](Connection::turn).
//! 2. Say what happened: [`connected`](Turn::connected), [`received`](Turn::received), [`eof`](Turn::eof),
//!    [`writable`](Turn::writable), [`timeout`](Turn::timeout), [`messages`](Turn::messages), [`stop`](Turn::stop),
//!    [`failed`](Turn::failed).
//! 3. Do what [`todo`](Turn::todo) says until the connection waits or ends. [`Turn::settle`] does so over a [`Transport`],
//!    and [`Turn::ready`] handles a readiness event as a whole.
//!
//! Then drop the turn, wait for what `todo` asked for, and read [`Connection::deadline`].
//!
//! ```
//! use std::time::Instant;
//! use bytes::Buf;
//! use protocol::driver::{Connection, Scratch, Todo};
//! use protocol::{Cx, Input, Limits, Simple};
//!
//! let mut scratch = Scratch::new(Limits::default(), Instant::now());
//! let mut connection = Connection::new(Simple(|cx: &mut Cx<'_>, input: &mut Input<'_>| cx.send(input.take_all())));
//! let mut turn = connection.turn(&mut scratch);
//! turn.connected();
//! turn.recv_buffer()[..2].copy_from_slice(b"hi"); // a driver calls recv here
//! turn.received(2);
//! assert_eq!(turn.todo(), Todo::Send);
//! assert_eq!(turn.output().chunk(), b"hi"); // a driver calls send here
//! turn.sent(2);
//! assert!(matches!(turn.todo(), Todo::Wait(interest) if interest.read && !interest.write));
//! ```
//!
//! # Completion instead of readiness
//!
//! A driver over io_uring or IOCP cannot lend buffers only for the length of a call, so it takes the output out of the turn:
//! [`Turn::take_output`] answers [`Todo::Send`] with owned output, and [`Turn::completed`] gives back the unsent part.
//! [`Turn::receive`] shows bytes in place that the kernel wrote into a buffer of its own.
//!
//! # Layers
//!
//! A layer that rewrites bytes, such as TLS, is a driver inside a protocol: it holds a `Connection` of the inner protocol
//! and handles it in a [`layered`](Connection::layered) turn, with scratch memory from [`Scratch::lend`].

mod backlog;
mod connection;
mod datagrams;
mod flags;
mod per_address;
mod scratch;
mod transport;
mod turn;

pub use self::connection::Connection;
pub use self::datagrams::Datagrams;
pub use self::per_address::PerAddress;
pub use self::scratch::Scratch;
pub use self::transport::{FileTransfer, Read, Settled, Transfer, Transport};
pub use self::turn::{Interest, Todo, Turn};
