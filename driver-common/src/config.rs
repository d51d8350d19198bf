//! The settings of a driver.

use std::time::Duration;

use protocol::Limits;

/// How long a driver pauses accepting when descriptors or memory run out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All settings of a driver, the same for each driver. The defaults suit a server on the open internet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The limits of each connection.
    pub limits: Limits,
    /// The options of each socket.
    pub socket: SocketOptions,
    /// Maximum number of connections of one thread. While the thread is full, new connections wait in the accept queue; with
    /// 0, all of them wait. Default 1,000,000.
    pub max_connections: usize,
    /// Maximum number of connections that one thread accepts from one address (for IPv6, from one /64 network); further ones
    /// are closed at once. `None`, the default, sets no limit, because many clients may share an address. Memory: 32 bytes
    /// per address.
    pub max_per_address: Option<usize>,
    /// Number of messages that may wait before [`Sender::send`](protocol::Sender::send) returns the message to its caller.
    /// The limit is per connection; on drivers with one queue per thread (`driver-epoll`) it is 256 times as many per
    /// thread. 0 counts as 1. Default 1,024.
    pub mailbox: usize,
    /// Connections accepted per turn of a thread, so that a connection storm does not starve established connections.
    /// Default 64.
    pub accept_budget: usize,
    /// Messages delivered per turn of a thread or, on drivers with one queue per connection (`driver-tokio`), per turn of a
    /// connection; further messages wait for the next turn. Default 4,096.
    pub message_budget: usize,
    /// Deadlines handled per turn of a thread; further deadlines wait for the next turn. Default 1,024.
    pub timer_budget: usize,
    /// How long opening a connection may take. Default 10 s.
    pub connect_timeout: Duration,
    /// CPUs that the threads of a server are pinned to (Linux): the first thread to the first CPU, and so on, starting again
    /// when there are more threads than CPUs. Threads that they start are pinned too. Default empty: the kernel schedules
    /// the threads. Helps where each CPU runs one of these threads and nothing else. Hurts where other programs, or the
    /// interrupts of the network card, use one of these CPUs: its thread must wait although other CPUs are idle.
    pub cpus: Vec<usize>,
    /// Accepts each connection on the thread of the CPU that received its SYN (Linux 4.6), which keeps the connection's
    /// incoming data in the caches of one CPU. Needs [`cpus`](Config::cpus), one for each thread, and sockets that the
    /// server bound itself. Default off: a hash of the addresses decides. Helps where the network card spreads connections
    /// over as many queues as there are threads, each with its interrupt on the CPU of one thread. Hurts elsewhere: with one
    /// queue, one thread has all the work.
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

/// Socket options. A driver skips an option that the platform does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// `TCP_NODELAY`: send small segments at once. Default on: output is already written once per batch, so waiting for more
    /// (Nagle's algorithm) would only add delay. Hurts a protocol that makes many tiny writes far apart.
    pub nodelay: bool,
    /// Length of the accept queue. Default 4,096; Linux caps it at `net.core.somaxconn`. With a short queue, clients wait
    /// whole seconds for their retransmitted SYN; a long queue holds clients that have given up.
    pub backlog: i32,
    /// Lets several processes listen on the same port (`SO_REUSEPORT`), each with its own accept queue. Default off: a port
    /// that is in use is then an error. The threads of one server share their port either way.
    pub share_port: bool,
    /// `IPV6_V6ONLY`: a socket that listens on an IPv6 address accepts no IPv4 connections, so another socket may listen for
    /// IPv4 on the same port. Default off: the system's default applies (Linux: `[::]` accepts both).
    pub only_v6: bool,
    /// `TCP_DEFER_ACCEPT` (Linux): a connection becomes acceptable only when its first bytes arrive, or after this time,
    /// rounded to the times at which the kernel repeats its SYN-ACK (1, 3, 7, 15 s and so on). Saves a wake-up. Default off.
    /// Hurts protocols in which the server speaks first: their clients wait for all of this time. Clients that connect and
    /// send nothing stay in the kernel's queue meanwhile, where no deadline of a protocol sees them.
    pub defer_accept: Option<Duration>,
    /// `TCP_FASTOPEN` (Linux): up to this many connections may be served from the bytes in their SYN (RFC 7413) before their
    /// handshake is complete, which saves a returning client a round trip. Needs bit 2 of `net.ipv4.tcp_fastopen`. Default
    /// off: such bytes may arrive twice, so this option is only for protocols whose first request may be carried out twice;
    /// and some firewalls drop a SYN with bytes, which costs their clients a second.
    pub fast_open: Option<u32>,
    /// `SO_KEEPALIVE`: the kernel probes idle connections. Default off: protocols have their own deadlines, which also
    /// notice a peer whose kernel answers but whose program hangs.
    pub keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT` (Linux): how long sent bytes may stay unacknowledged before the kernel ends the connection.
    /// Default: the kernel's, some 15 minutes; [`Limits::write_timeout`] usually acts earlier.
    pub user_timeout: Option<Duration>,
    /// `TCP_QUICKACK` (Linux): acknowledge received data at once instead of with the answer. Default off: for a server that
    /// answers at once it only adds packets. The kernel turns the option off again by itself.
    pub quickack: bool,
    /// `SO_RCVBUF` in bytes. Default: the kernel's size, which adapts to the load; setting a size stops the adapting.
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF` in bytes. Default: the kernel's size, which adapts to the load; setting a size stops the adapting. A
    /// small buffer bounds the kernel's memory for peers that do not read.
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
    /// Time without received data before the first probe (`TCP_KEEPIDLE`).
    pub idle: Duration,
    /// Time between two probes (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// Unanswered probes before the connection ends (`TCP_KEEPCNT`).
    pub count: u32,
}
