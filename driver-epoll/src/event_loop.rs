//! The loop.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::driver::{Config, Connection, Interest, PerAddress, Stopping, Todo, Turn};
use protocol::{Mailbox, Peer, PeerSource, Protocol, Reason, Sender, Stats};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::listener::{Accepted, Acceptor};
use crate::mailbox::{Handle, Mail, Opening, Shared};
use crate::poll::wait;
use crate::slab::{Key, Slab};
use crate::socket::{self, Transfer};
use crate::timers::Timers;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Event data of the mailbox. Connections' keys leave the highest bit free.
const WAKE: u64 = u64::MAX;
/// Event and timer data of listeners: this bit and the index.
const LISTENER: u64 = 1 << 63;
/// How long accepting pauses when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One queue serves all connections of the loop: so many times what one connection may have waiting.
const MAILBOX_SHARE: usize = 256;

type Factory<P> = Box<dyn FnMut(&Peer<'_, <P as Protocol>::Message>) -> Option<P>>;

/// One event loop: sockets, timers and a mailbox of one thread.
///
/// [`Server`](crate::Server) runs one per thread. To embed the driver in a loop of your own, call
/// [`turn`](Loop::turn) whenever [`as_fd`](AsFd::as_fd) becomes readable or the time it was given is over.
pub struct Loop<P: Protocol> {
    config: Config,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    shared: Arc<Shared<P>>,
    connections: Slab<Conn<P>>,
    listeners: Vec<Listener<P>>,
    acceptor: Acceptor,
    timers: Timers,
    /// The owners of timers that have fired.
    due: Vec<u64>,
    turn: Turn,
    stats: Stats,
    /// Connections that have more to do though nothing happens to them.
    again: Vec<Key>,
    /// Set while the number of connections of one address is limited.
    per_address: Option<PerAddress>,
    mail: VecDeque<Mail<P>>,
    stopping: Option<Stopping<Key>>,
}

struct Conn<P> {
    connection: Connection<P>,
    socket: OwnedFd,
    state: State,
    interest: Interest,
    /// The timer and what it is set to. It is never moved back: when it fires early, it is set again.
    timer: Option<(timing_wheel::Key, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Registered,
    /// Taken from epoll, which reports a hang-up even to those who do not want to know yet.
    Unregistered,
}

struct Listener<P: Protocol> {
    socket: OwnedFd,
    factory: Factory<P>,
    paused: bool,
}

/// What settling a connection came to.
enum Settled {
    Waits(Interest),
    Again,
    Ended { reset: bool },
}

impl<P: Protocol> Loop<P> {
    /// A loop with nothing in it.
    ///
    /// # Errors
    ///
    /// When the kernel gives no epoll instance or event descriptor.
    pub fn new(config: Config) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let shared = Shared::new(config.mailbox.saturating_mul(MAILBOX_SHARE))?;
        epoll::add(
            &epoll,
            shared.queue.wake_fd(),
            epoll::EventData::new_u64(WAKE),
            epoll::EventFlags::IN,
        )?;
        let now = Instant::now();
        Ok(Loop {
            turn: Turn::new(config.limits, now),
            per_address: config.max_per_address.map(PerAddress::new),
            config,
            epoll,
            events: Vec::with_capacity(EVENTS),
            shared,
            connections: Slab::new(),
            listeners: Vec::new(),
            acceptor: Acceptor::new(),
            timers: Timers::new(now),
            due: Vec::new(),
            stats: Stats::default(),
            again: Vec::new(),
            mail: VecDeque::new(),
            stopping: None,
        })
    }

    /// A handle by which other threads reach this loop.
    pub fn handle(&self) -> Handle<P> {
        Handle {
            loops: Arc::new([Arc::clone(&self.shared)]),
        }
    }

    pub(crate) fn shared(&self) -> Arc<Shared<P>> {
        Arc::clone(&self.shared)
    }

    /// Accepts from `listener`, a socket that listens already. For each connection `factory` makes a protocol, or refuses
    /// it with `None`.
    ///
    /// # Errors
    ///
    /// When the socket cannot be registered.
    pub fn listen(
        &mut self,
        listener: impl Into<OwnedFd>,
        factory: impl FnMut(&Peer<'_, P::Message>) -> Option<P> + 'static,
    ) -> io::Result<()>
    where
        P::Message: Send + 'static,
        P: 'static,
    {
        let socket = listener.into();
        rustix::io::ioctl_fionbio(&socket, true)?;
        register_listener(&self.epoll, &socket, self.listeners.len())?;
        self.listeners.push(Listener {
            socket,
            factory: Box::new(factory),
            paused: false,
        });
        Ok(())
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        stats.active = self.connections.len() as u64;
        stats
    }

    /// Whether nothing is left to do: no listener, no connection.
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.listeners.is_empty()
    }
}

impl<P: Protocol + 'static> Loop<P>
where
    P::Message: Send + 'static,
{
    /// Turns until [`Handle::stop`] was called and the last connection has ended, or until nothing is left to do.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to wait; never because of a connection.
    pub fn run(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        while outcome.is_ok() && !(self.is_idle() && self.mail.is_empty() && self.shared.queue.may_sleep()) {
            let sleep = self.sleep();
            outcome = self.turn_after(sleep);
        }
        self.shared.publish(self.stats());
        self.shared.queue.close();
        outcome
    }

    /// One turn: waits until something happens, at most `timeout`, and handles it. Tells how long from now until there is
    /// something to do again, unless the descriptor becomes readable before; `None` for no such time.
    ///
    /// Work per turn and connection is bounded (one read, one call, one write), so no peer starves the others.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to wait; never because of a connection.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Option<Duration>> {
        let sleep = self.sleep();
        self.turn_after([timeout, sleep].into_iter().flatten().min())?;
        Ok(self.sleep())
    }

    fn turn_after(&mut self, sleep: Option<Duration>) -> io::Result<()> {
        // 1. Wait, no longer than until the next deadline, and read the clock once.
        wait(&self.epoll, spare_capacity(&mut self.events), sleep)?;
        self.turn.now = Instant::now();
        // 2. Each ready connection: one read, one call, one write.
        let mut events = core::mem::take(&mut self.events);
        let mut accepting = false;
        for event in events.drain(..) {
            match event.data.u64() {
                WAKE => self.shared.queue.clear_wake(),
                data if data & LISTENER != 0 => accepting = true,
                key => self.ready(key, event.flags),
            }
        }
        self.events = events;
        // 3. Connections that had more to do than fits a turn.
        for key in core::mem::take(&mut self.again) {
            self.event(key, |connection, turn, _| connection.again(turn));
        }
        // 4. Messages and commands of other threads.
        self.mail();
        // 5. Deadlines, with a budget.
        self.expire();
        // 6. New connections, with a budget.
        if accepting {
            self.accept();
        }
        self.drain();
        Ok(())
    }

    /// How long there is nothing to do, unless an event comes. From now on others wake the loop.
    fn sleep(&mut self) -> Option<Duration> {
        self.shared.publish(self.stats());
        if !self.shared.queue.may_sleep() || !self.again.is_empty() || !self.mail.is_empty() {
            return Some(Duration::ZERO);
        }
        let timers = self.timers.sleep(self.turn.now);
        let stopping = self.stopping.as_ref().map(|stopping| stopping.sleep(self.turn.now));
        [timers, stopping].into_iter().flatten().min()
    }

    fn ready(&mut self, key: Key, flags: epoll::EventFlags) {
        let Some(conn) = self.connections.get_mut(key) else {
            return;
        };
        if conn.state == State::Connecting {
            return self.opened(key);
        }
        let dead = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
        let Interest { read, .. } = conn.interest;
        if !read && flags.intersects(dead) {
            return self.hung_up(key);
        }
        if flags.contains(epoll::EventFlags::OUT) {
            self.event(key, |connection, turn, _| connection.writable(turn));
        }
        if read && flags.intersects(epoll::EventFlags::IN | dead) {
            self.read(key);
        }
    }

    fn read(&mut self, key: Key) {
        self.io_event(key, |connection, socket, turn, stats| {
            stats.reads += 1;
            match socket::receive(socket, connection.recv_buffer(turn)) {
                Transfer::Bytes(0) => connection.eof(turn),
                Transfer::Bytes(n) => {
                    stats.bytes_in += n as u64;
                    connection.received(turn, n);
                }
                Transfer::Blocked => {}
                Transfer::Failed(kind) => connection.failed(turn, kind),
            }
        });
    }

    /// A connection that does not read has hung up: failed, or closed by both sides with input left in the kernel.
    fn hung_up(&mut self, key: Key) {
        let Some(conn) = self.connections.get_mut(key) else {
            return;
        };
        if let Some(kind) = socket::take_error(&conn.socket) {
            return self.event(key, |connection, turn, _| connection.failed(turn, kind));
        }
        if epoll::delete(&self.epoll, &conn.socket).is_ok() {
            conn.state = State::Unregistered;
        }
    }

    /// A connection attempt has ended.
    fn opened(&mut self, key: Key) {
        let Some(conn) = self.connections.get_mut(key) else {
            return;
        };
        let failed = socket::take_error(&conn.socket);
        conn.state = State::Registered;
        if let Some((timer, _)) = conn.timer.take() {
            self.timers.cancel(timer);
        }
        self.event(key, |connection, turn, stats| match failed {
            Some(kind) => connection.failed(turn, kind),
            None => {
                stats.connected += 1;
                connection.connected(turn);
            }
        });
    }

    fn mail(&mut self) {
        let mut mail = core::mem::take(&mut self.mail);
        self.shared.queue.drain(&mut mail);
        for _ in 0..self.config.message_budget {
            match mail.pop_front() {
                None => break,
                Some(Mail::Connect(opening)) => self.connect(opening.0, opening.1),
                Some(Mail::Stop(drain)) => self.begin_stop(drain),
                Some(Mail::Message(key, message)) => self.deliver(key, message),
            }
        }
        self.mail = mail;
    }

    fn deliver(&mut self, key: Key, message: P::Message) {
        if self
            .connections
            .get_mut(key)
            .is_some_and(|conn| conn.connection.is_open())
        {
            self.stats.messages += 1;
            self.event(key, |connection, turn, _| connection.message(turn, message));
        } else {
            self.stats.messages_late += 1;
        }
    }

    fn expire(&mut self) {
        let mut due = core::mem::take(&mut self.due);
        self.timers.expire(self.turn.now, self.config.timer_budget, &mut due);
        for owner in due.drain(..) {
            if owner & LISTENER != 0 {
                self.pause_listeners(false);
                continue;
            }
            let Some(conn) = self.connections.get_mut(owner) else {
                continue;
            };
            let armed = conn.timer.take();
            if conn.state == State::Connecting && armed.is_some() {
                self.event(owner, |connection, turn, _| {
                    connection.failed(turn, io::ErrorKind::TimedOut)
                });
                continue;
            }
            self.stats.timeouts += u64::from(conn.connection.deadline().is_some_and(|at| at <= self.turn.now));
            self.event(owner, |connection, turn, _| connection.timeout(turn));
        }
        self.due = due;
    }

    fn accept(&mut self) {
        let mut budget = self.config.accept_budget;
        for index in 0..self.listeners.len() {
            while budget > 0 {
                if self.connections.len() >= self.config.max_connections {
                    return self.pause_listeners(true);
                }
                match self.acceptor.accept(&self.listeners[index].socket) {
                    Accepted::Connection(socket, remote) => {
                        budget -= 1;
                        self.admit(index, socket, remote);
                    }
                    Accepted::Skipped => budget -= 1,
                    Accepted::Nobody => break,
                    Accepted::Exhausted => {
                        self.stats.accept_pauses += 1;
                        self.timers.insert(self.turn.now + ACCEPT_PAUSE, LISTENER);
                        return self.pause_listeners(true);
                    }
                }
            }
        }
    }

    fn admit(&mut self, listener: usize, socket: OwnedFd, remote: Option<SocketAddr>) {
        socket::prepare(&socket, &self.config.socket);
        let key = self.connections.next_key();
        if let (Some(limit), Some(remote)) = (&mut self.per_address, remote)
            && !limit.admit(key, remote.ip())
        {
            self.stats.refused += 1;
            return socket::reset(socket);
        }
        let source = Source {
            socket: Some(&socket),
            remote,
            shared: &self.shared,
            key,
        };
        let factory = &mut self.listeners[listener].factory;
        let Ok(made) = catch_unwind(AssertUnwindSafe(|| factory(&Peer::new(&source)))) else {
            self.stats.panics += 1;
            return self.release(key);
        };
        let flags = epoll::EventFlags::IN;
        match made {
            Some(protocol) if epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(key), flags).is_ok() => {
                self.stats.accepted += 1;
                self.insert(Connection::new(protocol), socket, State::Registered);
                self.event(key, |connection, turn, _| connection.connected(turn));
            }
            _ => {
                self.stats.refused += 1;
                self.release(key);
            }
        }
    }

    fn connect(&mut self, to: SocketAddr, make: Opening<P>) {
        let key = self.connections.next_key();
        let opened = socket::new_stream(to).and_then(|socket| {
            socket::prepare(&socket, &self.config.socket);
            socket::connect(&socket, to)?;
            epoll::add(
                &self.epoll,
                &socket,
                epoll::EventData::new_u64(key),
                epoll::EventFlags::OUT,
            )?;
            Ok(socket)
        });
        let source = Source {
            socket: opened.as_ref().ok(),
            remote: Some(to),
            shared: &self.shared,
            key,
        };
        let Ok(protocol) = catch_unwind(AssertUnwindSafe(|| make(&Peer::new(&source)))) else {
            self.stats.panics += 1;
            return;
        };
        let mut connection = Connection::new(protocol);
        match opened {
            Ok(socket) => {
                self.insert(connection, socket, State::Connecting);
                let deadline = self.turn.now + self.config.connect_timeout;
                let timer = self.timers.insert(deadline, key);
                if let Some(conn) = self.connections.get_mut(key) {
                    conn.timer = Some((timer, deadline));
                    conn.interest = Interest {
                        read: false,
                        write: true,
                    };
                }
            }
            Err(error) => {
                connection.failed(&mut self.turn, error.kind());
                self.stats.count_end(connection.reason());
            }
        }
    }

    fn insert(&mut self, connection: Connection<P>, socket: OwnedFd, state: State) {
        let interest = Interest {
            read: true,
            write: false,
        };
        self.connections.insert(Conn {
            connection,
            socket,
            state,
            interest,
            timer: None,
        });
    }

    /// Takes the listeners from epoll, or registers them again. They are registered exclusively, so that of several
    /// loops with one socket not all are woken for each connection; such a registration cannot be changed.
    fn pause_listeners(&mut self, pause: bool) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if listener.paused == pause {
                continue;
            }
            let told = if pause {
                epoll::delete(&self.epoll, &listener.socket)
            } else {
                register_listener(&self.epoll, &listener.socket, index)
            };
            if told.is_ok() {
                listener.paused = pause;
            }
        }
    }

    fn begin_stop(&mut self, drain: Duration) {
        if let Some(stopping) = &mut self.stopping {
            return stopping.hasten(self.turn.now + drain);
        }
        self.listeners.clear();
        // The idle come last, where stopping begins.
        let mut keys = self.connections.keys();
        keys.sort_by_cached_key(|key| {
            self.connections
                .get_mut(*key)
                .is_none_or(|conn| conn.connection.held() == 0)
        });
        self.stopping = Some(Stopping::new(self.turn.now, drain, keys));
    }

    /// Asks the next protocols to stop, or resets what is left once that has taken too long.
    fn drain(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        if stopping.is_over(self.turn.now) {
            for key in self.connections.keys() {
                self.event(key, |connection, turn, _| connection.kill(turn, Reason::Stopped));
            }
            return;
        }
        for key in stopping.next(self.turn.now) {
            self.event(key, |connection, turn, _| connection.stop(turn));
        }
    }

    /// Tells a connection what happened, then does what it asks for.
    fn event(&mut self, key: Key, happened: impl FnOnce(&mut Connection<P>, &mut Turn, &mut Stats)) {
        self.io_event(key, |connection, _, turn, stats| happened(connection, turn, stats));
    }

    #[inline]
    fn io_event(&mut self, key: Key, happened: impl FnOnce(&mut Connection<P>, &OwnedFd, &mut Turn, &mut Stats)) {
        let Some(conn) = self.connections.get_mut(key) else {
            return;
        };
        let (turn, stats) = (&mut self.turn, &mut self.stats);
        let settled = catch_unwind(AssertUnwindSafe(|| {
            happened(&mut conn.connection, &conn.socket, turn, stats);
            settle(&mut conn.connection, &conn.socket, turn, stats)
        }));
        match settled {
            Ok(Settled::Waits(interest)) => {
                if interest != conn.interest || conn.state == State::Unregistered {
                    register(&self.epoll, conn, key, interest);
                }
                rearm(&mut self.timers, conn, key);
            }
            Ok(Settled::Again) => {
                rearm(&mut self.timers, conn, key);
                self.again.push(key);
            }
            Ok(Settled::Ended { reset }) => {
                self.stats.count_end(conn.connection.reason());
                self.remove(key, reset);
            }
            Err(_) => {
                // Its state is unknown: not even `closed` may be called. The panic hook has told why.
                self.stats.panics += 1;
                self.turn.output.clear();
                self.remove(key, true);
            }
        }
    }

    fn remove(&mut self, key: Key, reset: bool) {
        let Some(conn) = self.connections.remove(key) else {
            return;
        };
        if let Some((timer, _)) = conn.timer {
            self.timers.cancel(timer);
        }
        self.release(key);
        if reset {
            socket::reset(conn.socket);
        }
        if self.connections.len() + 1 == self.config.max_connections {
            self.pause_listeners(false);
        }
    }

    /// One connection less of its address.
    fn release(&mut self, key: Key) {
        if let Some(limit) = &mut self.per_address {
            limit.release(key);
        }
    }
}

/// Does what a connection asks for until it waits.
#[inline(always)]
fn settle<P: Protocol>(
    connection: &mut Connection<P>,
    socket: &OwnedFd,
    turn: &mut Turn,
    stats: &mut Stats,
) -> Settled {
    loop {
        match connection.todo(turn) {
            Todo::Send => {
                stats.writes += 1;
                match socket::send(socket, &turn.output) {
                    (Transfer::Bytes(n), offered) => {
                        stats.bytes_out += n as u64;
                        connection.sent(turn, n);
                        if n < offered {
                            connection.blocked(turn);
                        }
                    }
                    (Transfer::Blocked, _) => connection.blocked(turn),
                    (Transfer::Failed(kind), _) => connection.failed(turn, kind),
                }
            }
            Todo::Shutdown => socket::half_close(socket),
            Todo::Wait(interest) => return Settled::Waits(interest),
            Todo::Again => return Settled::Again,
            Todo::Drop { reset } => return Settled::Ended { reset },
        }
    }
}

fn register_listener(epoll: &OwnedFd, socket: &OwnedFd, index: usize) -> rustix::io::Result<()> {
    let data = epoll::EventData::new_u64(LISTENER | index as u64);
    epoll::add(
        epoll,
        socket,
        data,
        epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE,
    )
}

/// Tells epoll what a connection waits for.
fn register<P>(epoll: &OwnedFd, conn: &mut Conn<P>, key: Key, interest: Interest) {
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, interest.read);
    flags.set(epoll::EventFlags::OUT, interest.write);
    let data = epoll::EventData::new_u64(key);
    let told = match conn.state {
        // Without interest it would be told of the hang-up once more.
        State::Unregistered if flags.is_empty() => return,
        State::Unregistered => epoll::add(epoll, &conn.socket, data, flags),
        State::Registered | State::Connecting => epoll::modify(epoll, &conn.socket, data, flags),
    };
    if told.is_ok() {
        conn.state = State::Registered;
        conn.interest = interest;
    }
}

/// Sets the timer, if the deadline came nearer than what it is set to.
#[inline(always)]
fn rearm<P: Protocol>(timers: &mut Timers, conn: &mut Conn<P>, key: Key) {
    let Some(deadline) = conn.connection.deadline() else {
        return;
    };
    match conn.timer {
        Some((_, armed)) if armed <= deadline => {}
        Some((timer, _)) if timers.reset(timer, deadline) => conn.timer = Some((timer, deadline)),
        _ => conn.timer = Some((timers.insert(deadline, key), deadline)),
    }
}

impl<P: Protocol> AsFd for Loop<P> {
    /// The epoll descriptor: readable when [`turn`](Loop::turn) has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl<P: Protocol> fmt::Debug for Loop<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loop")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What a factory may ask about a connection.
struct Source<'a, P: Protocol> {
    socket: Option<&'a OwnedFd>,
    remote: Option<SocketAddr>,
    shared: &'a Arc<Shared<P>>,
    key: Key,
}

impl<P: Protocol + 'static> PeerSource<P::Message> for Source<'_, P>
where
    P::Message: Send + 'static,
{
    fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    fn local(&self) -> Option<SocketAddr> {
        self.socket.and_then(socket::local_address)
    }

    fn sender(&self) -> Sender<P::Message> {
        Sender::new(Arc::clone(self.shared) as Arc<dyn Mailbox<P::Message>>, self.key)
    }
}
