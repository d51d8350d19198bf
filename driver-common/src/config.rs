//! What an operator may set on a driver.

use std::time::Duration;

use protocol::Limits;

/// How long a driver pauses accepting when descriptors or memory run out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything an operator may set on a driver; the same on each. The defaults suit a server on the open internet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The bounds of each connection.
    pub limits: Limits,
    /// The options of each socket.
    pub socket: SocketOptions,
    /// Connections that one thread holds at most; while it is full, new ones wait in the accept queue; with 0, all
    /// do. Default 1,000,000.
    pub max_connections: usize,
    /// Connections that one thread accepts from one address at most (of IPv6, one /64 network); more are closed at once.
    /// `None`, the default, for any number: many clients may share an address. Memory: 32 bytes per address.
    pub max_per_address: Option<usize>,
    /// Messages that may wait before [`Sender::send`](protocol::Sender::send) gives them back: for one connection, or, on
    /// drivers whose connections share a queue per thread (`driver-epoll`), 256 times as many for one thread. 0 counts
    /// as 1. Default 1,024.
    pub mailbox: usize,
    /// Connections accepted per turn of a thread, so that a storm does not starve those that are there. Default 64.
    pub accept_budget: usize,
    /// Messages delivered per turn of a thread, or, on drivers whose connections have queues of their own
    /// (`driver-tokio`), of a connection; more wait for the next. Default 4,096.
    pub message_budget: usize,
    /// Deadlines handled per turn of a thread; more wait for the next. Default 1,024.
    pub timer_budget: usize,
    /// How long opening a connection may take. Default 10 s.
    pub connect_timeout: Duration,
    /// CPUs that the threads of a server are pinned to (Linux): the first thread to the first, and so on, from the start
    /// again when there are more threads. What they start is pinned too. Default empty: the kernel moves threads about.
    /// Helps where each CPU has a thread of its own and nothing else to do. Hurts where other programs, or the interrupts of
    /// the network card, have one of these CPUs: its thread has to wait though others are idle.
    pub cpus: Vec<usize>,
    /// Has a new connection accepted by the thread of the CPU that its SYN came in on (Linux 4.6): what comes in for it then
    /// stays in the caches of one CPU. Needs [`cpus`](Config::cpus), one for each thread, and sockets that the server bound
    /// itself. Default off: a hash of the addresses decides. Helps where the network card spreads connections over as many
    /// queues as there are threads, each with its interrupt on the CPU of one. Hurts where it does not: with one queue,
    /// one thread has all the work.
    pub steer: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            socket: SocketOptions::default(),
            max_connections: 1_000_000,
            max_per_address: None,
            mailbox: 1024,
            accept_budget: 64,
            message_budget: 4096,
            timer_budget: 1024,
            connect_timeout: Duration::from_secs(10),
            cpus: Vec::new(),
            steer: false,
        }
    }
}

/// Options of sockets. An option that a platform does not have is left out there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// `TCP_NODELAY`: send small segments at once. Default on: output is already written once per batch, so that waiting
    /// for more (Nagle's algorithm) would only add delay. Hurts a protocol that makes many tiny writes far apart.
    pub nodelay: bool,
    /// How many connections may wait to be accepted. Default 4,096; Linux caps it at `net.core.somaxconn`. A short
    /// queue makes clients wait whole seconds for their retransmitted SYN; a long one holds clients that have given up.
    pub backlog: i32,
    /// Lets several processes listen on the same port (`SO_REUSEPORT`), each with a queue of its own. Default off: a
    /// port that is taken is then an error. Several threads of one server share their port either way.
    pub share_port: bool,
    /// `IPV6_V6ONLY`: a socket that listens on an IPv6 address takes no IPv4 connections, so that another may listen on the
    /// same port for those. Default off: as the system has it (Linux: `[::]` takes both).
    pub only_v6: bool,
    /// `TCP_DEFER_ACCEPT` (Linux): a connection is only there to be accepted when its first bytes are, or after so long,
    /// rounded to the times at which the kernel repeats its SYN-ACK (1, 3, 7, 15 s and so on). Saves the wake-up in between.
    /// Default off. Hurts protocols in which the server speaks first, whose clients wait for all that time; and those who
    /// connect and say nothing are in the kernel's queue for it, where no deadline of a protocol sees them.
    pub defer_accept: Option<Duration>,
    /// `TCP_FASTOPEN` (Linux): so many connections may be served from the bytes in their SYN (RFC 7413) before their
    /// handshake is over, which saves a client that comes again a round trip. Takes effect where `net.ipv4.tcp_fastopen`
    /// has the bit 2. Default off: such bytes may arrive twice, so it is only for protocols whose first request may be
    /// carried out twice; and some firewalls drop a SYN with bytes, which costs their clients a second.
    pub fast_open: Option<u32>,
    /// `SO_KEEPALIVE`: has the kernel probe idle connections. Default off: protocols have deadlines of their own, which
    /// also notice a peer whose kernel answers but whose program hangs.
    pub keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT` (Linux): how long sent bytes may stay unacknowledged before the kernel gives up. Default the
    /// kernel's, some 15 minutes; [`Limits::write_timeout`] usually acts before.
    pub user_timeout: Option<Duration>,
    /// `TCP_QUICKACK` (Linux): acknowledge at once instead of with the answer. Default off: a server that answers at once
    /// only pays more packets. The kernel turns it off again by itself.
    pub quickack: bool,
    /// `SO_RCVBUF` in bytes. Default the kernel's, which grows with use; setting it ends that.
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF` in bytes. Default the kernel's, which grows with use; setting it ends that. A small one bounds the
    /// kernel's memory for peers that do not read.
    pub send_buffer: Option<usize>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            nodelay: true,
            backlog: 4096,
            share_port: false,
            only_v6: false,
            defer_accept: None,
            fast_open: None,
            keepalive: None,
            user_timeout: None,
            quickack: false,
            receive_buffer: None,
            send_buffer: None,
        }
    }
}

/// When the kernel probes an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe (`TCP_KEEPIDLE`).
    pub idle: Duration,
    /// Between two probes (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// Probes without answer before the connection ends (`TCP_KEEPCNT`).
    pub count: u32,
}
