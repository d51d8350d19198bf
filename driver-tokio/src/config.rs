//! What an operator may set.

use std::time::Duration;

use protocol::Limits;

/// Everything an operator may set on a driver. The defaults suit a server on the open internet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The bounds of each connection.
    pub limits: Limits,
    /// The options of each socket.
    pub socket: SocketOptions,
    /// Connections that one worker holds at most; while it is full, new ones wait in the kernel's queue. Default 1,000,000.
    pub max_connections: usize,
    /// Messages that may wait for one connection before [`Sender::send`](protocol::Sender::send) gives them back. Default
    /// 1,024.
    pub mailbox: usize,
    /// Connections accepted per turn of a worker, so that a storm does not starve those that are there. Default 64.
    pub accept_budget: usize,
    /// Deadlines handled per turn of a worker; more wait for the next. Default 1,024.
    pub timer_budget: usize,
    /// How long opening a connection may take. Default 10 s.
    pub connect_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            socket: SocketOptions::default(),
            max_connections: 1_000_000,
            mailbox: 1024,
            accept_budget: 64,
            timer_budget: 1024,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Options of sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// `TCP_NODELAY`: send small segments at once. Default on: output is already written once per batch, so that waiting
    /// for more (Nagle's algorithm) only adds delay.
    pub nodelay: bool,
    /// How many connections may wait to be accepted. Default 4,096; the kernel caps it at `net.core.somaxconn`. A short
    /// queue makes clients wait whole seconds for their retransmitted SYN.
    pub backlog: i32,
    /// Lets several processes listen on the same port (`SO_REUSEPORT`), each with queues of its own. Default off: a
    /// port that is taken is then an error. Several threads of one server share their port either way.
    pub share_port: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            nodelay: true,
            backlog: 4096,
            share_port: false,
        }
    }
}
