//! The loop of one thread.

use std::cell::OnceCell;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driver_common::{ACCEPT_PAUSE, Config, Stats, Stopping};
use protocol::driver::{Connection, Interest, PerAddress, Scratch, Todo, Transfer, Transport, Turn};
use protocol::{Output, Peer, Protocol, Reason};

use crate::connections::{Conn, Connections, Early};
use crate::mailbox::{Letters, Shared, Source};
use crate::ring::{Completion, Lent, Ring};
use crate::timers::Timers;

/// Tokens of polls. Connections are not polled, so their tokens cannot be mistaken for these.
const LISTENER: u64 = (1 << 56) - 1;
const MAIL: u64 = (1 << 56) - 2;

/// Stops a loop, from any thread.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Closes the listener, asks each protocol to stop, and resets connections that are left after `drain`. Does not wait.
    pub fn stop(&self, drain: Duration) {
        self.0.leave(|mail| mail.stop = Some(drain));
    }
}

/// The driver of one thread: accepts connections and serves their protocols over one io_uring.
pub struct Loop<P: Protocol, F> {
    config: Config,
    ring: Ring,
    shared: Arc<Shared>,
    listener: Option<TcpListener>,
    factory: F,
    /// When accepting goes on after a pause.
    paused: Option<Instant>,
    /// Whether the listener is polled.
    polled: bool,
    connections: Connections<P>,
    timers: Timers,
    scratch: Scratch,
    stats: Stats,
    /// Connections that asked for another turn, or have input that they want now.
    again: Vec<u64>,
    /// Connections with messages.
    letters: Vec<u64>,
    per_address: Option<PerAddress>,
    stopping: Option<Stopping<u64>>,
}

/// How a turn has ended.
enum Settled {
    Waits(Interest),
    Again,
    Ended { reset: bool },
}

impl<P, F> Loop<P, F>
where
    P: Protocol,
    P::Message: Send + 'static,
    F: FnMut(&Peer<'_, P::Message>) -> Option<P>,
{
    /// A loop that accepts from `listener` on this thread, which must also run it. `factory` makes the protocol of each connection.
    ///
    /// # Errors
    ///
    /// When the kernel has no io_uring for this process: containers often forbid it.
    pub fn new(config: Config, listener: TcpListener, factory: F) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let now = Instant::now();
        let shared = Shared::new()?;
        let mut ring = Ring::new()?;
        ring.poll(MAIL, shared.event());
        Ok(Loop {
            scratch: Scratch::new(config.limits, now),
            per_address: config.max_per_address.map(PerAddress::new),
            config,
            ring,
            shared,
            listener: Some(listener),
            factory,
            paused: None,
            polled: false,
            connections: Connections::new(),
            timers: Timers::new(now),
            stats: Stats::default(),
            again: Vec::new(),
            letters: Vec::new(),
            stopping: None,
        })
    }

    /// Stops this loop from other threads.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::stop`] was called and the last connection has ended. Returns the counters.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to wait; never because of a connection.
    pub fn run(mut self) -> io::Result<Stats> {
        while self.listener.is_some() || self.connections.len() > 0 {
            self.turn()?;
        }
        Ok(self.stats)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.listen();
        let sleep = self.sleep();
        self.ring.wait(sleep)?;
        let looked = std::mem::replace(&mut self.scratch.now, Instant::now());
        // At most as many as there are now, so that timers and messages get their turn.
        let mut acceptable = false;
        for _ in 0..8192 {
            match self.ring.next() {
                Some(Completion::Readable(LISTENER)) => (self.polled, acceptable) = (false, true),
                Some(Completion::Readable(_)) => {
                    self.shared.clear_event();
                    self.ring.poll(MAIL, self.shared.event());
                }
                Some(Completion::Received(token, outcome)) => self.received(token, outcome),
                Some(Completion::Sent(token, output, outcome)) => self.sent(token, output, outcome),
                None => break,
            }
        }
        for token in std::mem::take(&mut self.again) {
            self.go_on(token);
        }
        self.drain();
        let mail = self.shared.take();
        if let Some(drain) = mail.stop {
            self.stop(drain);
        }
        self.letters.extend(mail.connections);
        for token in std::mem::take(&mut self.letters) {
            self.deliver(token);
        }
        // Deadlines that had passed before the kernel was last asked for input.
        for token in self.timers.expire(looked, self.config.timer_budget.max(1)) {
            self.expired(token);
        }
        if acceptable {
            self.accept();
        }
        Ok(())
    }

    /// How long to sleep, unless something completes.
    fn sleep(&mut self) -> Option<Duration> {
        if !self.shared.may_sleep() || !self.again.is_empty() || !self.letters.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = self.scratch.now;
        let stopping = self.stopping.as_ref().and_then(|stopping| stopping.sleep(now));
        let paused = self.paused.map(|paused| paused.saturating_duration_since(now));
        [self.timers.sleep(now), stopping, paused].into_iter().flatten().min()
    }

    /// Polls the listener, unless accepting pauses.
    fn listen(&mut self) {
        if self.paused.is_some_and(|paused| paused <= self.scratch.now) {
            self.paused = None;
        }
        let full = self.connections.len() >= self.config.max_connections;
        if let Some(listener) = &self.listener
            && !self.polled
            && !full
            && self.paused.is_none()
        {
            self.polled = true;
            self.ring.poll(LISTENER, listener.as_fd());
        }
    }

    fn accept(&mut self) {
        for _ in 0..self.config.accept_budget.max(1) {
            if self.connections.len() >= self.config.max_connections {
                return;
            }
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, remote)) => self.admit(stream, remote),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The peer has given up.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(_) => {
                    self.stats.accept_pauses += 1;
                    self.paused = Some(self.scratch.now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, remote: SocketAddr) {
        driver_common::prepare(&stream, &self.config.socket);
        let conn = Conn {
            connection: None,
            stream,
            interest: Interest::default(),
            receiving: false,
            sending: false,
            early: None,
            broken: None,
            timer: None,
            letters: None,
        };
        let token = self.connections.insert(conn);
        let fits = |limit: &mut PerAddress| limit.admit(token, remote.ip());
        let fits = self.per_address.as_mut().is_none_or(fits);
        let Some(conn) = self.connections.get_mut(token) else {
            return;
        };
        let source = Source {
            remote,
            stream: &conn.stream,
            capacity: self.config.mailbox,
            queue: OnceCell::new(),
        };
        let factory = &mut self.factory;
        let made = catch_unwind(AssertUnwindSafe(|| {
            fits.then(|| factory(&Peer::new(&source))).flatten()
        }));
        let queue = source.queue.into_inner();
        match made {
            Ok(Some(protocol)) => {
                conn.connection = Some(Connection::new(protocol));
                conn.letters = queue.map(|queue| Letters::new(queue, &self.shared, token));
                self.stats.accepted += 1;
                self.turn_of(token, |turn, _| turn.connected());
                // Messages that came before the mailbox knew how to wake this loop.
                self.letters.push(token);
                return;
            }
            Ok(None) => self.stats.refused += 1,
            Err(_) => self.stats.panics += 1,
        }
        self.end(token, true);
    }

    /// Runs one connection's turn and does what the connection asks for. A panic ends only this connection.
    fn turn_of(&mut self, token: u64, body: impl FnOnce(&mut Turn<'_, P>, &mut Stats)) {
        let Some(conn) = self.connections.get_mut(token) else {
            return;
        };
        let Some(connection) = &mut conn.connection else { return };
        let (scratch, stats, ring) = (&mut self.scratch, &mut self.stats, &mut self.ring);
        let settled = catch_unwind(AssertUnwindSafe(|| {
            let mut turn = connection.turn(scratch);
            body(&mut turn, stats);
            let settled = loop {
                match turn.todo() {
                    Todo::Send => {
                        stats.writes += 1;
                        conn.sending = true;
                        ring.send(token, conn.stream.as_fd(), turn.take_output());
                    }
                    Todo::Shutdown => drop(conn.stream.shutdown(Shutdown::Write)),
                    Todo::Wait(interest) => break Settled::Waits(interest),
                    Todo::Again => break Settled::Again,
                    Todo::Drop { reset } => break Settled::Ended { reset },
                }
            };
            drop(turn);
            let deadline = match settled {
                Settled::Ended { .. } => None,
                _ => connection.deadline(),
            };
            (settled, deadline)
        }));
        let Ok((settled, deadline)) = settled else {
            // The protocol's state is unknown: not even `closed` may be called.
            self.stats.panics += 1;
            return self.end(token, true);
        };
        if let Some(deadline) = deadline
            && conn.timer.is_none_or(|(_, armed)| deadline < armed)
        {
            let timer = conn.timer.map(|(timer, _)| timer);
            conn.timer = Some((self.timers.set(timer, deadline, token), deadline));
        }
        match settled {
            Settled::Waits(interest) => {
                conn.interest = interest;
                if interest.read && conn.early.is_some() {
                    self.again.push(token);
                } else if interest.read && !conn.receiving && conn.broken.is_none() {
                    conn.receiving = true;
                    self.ring.receive(token, conn.stream.as_fd());
                }
            }
            Settled::Again => {
                conn.interest = Interest::default();
                self.again.push(token);
            }
            Settled::Ended { reset } => {
                self.stats.count_end(connection.reason());
                self.end(token, reset);
            }
        }
    }

    /// The connection's turn after it asked for another, or with input that came before it was wanted.
    fn go_on(&mut self, token: u64) {
        let Some(conn) = self.connections.get_mut(token) else {
            return;
        };
        let early = conn.early.take_if(|_| conn.interest.read);
        self.turn_of(token, |turn, _| match early {
            Some(early) => early.tell(turn),
            None => turn.again(),
        });
    }

    fn received(&mut self, token: u64, outcome: io::Result<Lent>) {
        let Some(conn) = self.connections.get_mut(token) else {
            return;
        };
        conn.receiving = false;
        if conn.connection.is_none() {
            return self.free(token);
        }
        self.stats.reads += 1;
        let came = match outcome {
            Ok(bytes) if bytes.is_empty() => Some(Came::End),
            Ok(bytes) => {
                self.stats.bytes_in += bytes.len() as u64;
                Some(Came::Bytes(bytes))
            }
            Err(error) => match error.raw_os_error() {
                // Cancelled because a send failed, or all buffers were lent when bytes came: they wait in the socket.
                Some(libc::ECANCELED | libc::ENOBUFS | libc::EINTR) => None,
                _ => Some(Came::Failed(error.kind())),
            },
        };
        if let Some(kind) = conn.broken.take() {
            return self.broken(token, kind, came);
        }
        match came {
            None => self.turn_of(token, |_, _| {}),
            Some(came) if conn.interest.read => self.turn_of(token, |turn, _| came.tell(turn)),
            Some(came) => conn.early = Some(came.keep()),
        }
    }

    fn sent(&mut self, token: u64, output: Output, outcome: io::Result<usize>) {
        let Some(conn) = self.connections.get_mut(token) else {
            return;
        };
        conn.sending = false;
        if conn.connection.is_none() {
            return self.free(token);
        }
        match outcome {
            Ok(n) => {
                self.stats.bytes_out += n as u64;
                self.turn_of(token, |turn, _| turn.completed(output, n));
            }
            Err(error) if conn.receiving => {
                conn.broken = Some(error.kind());
                self.ring.cancel(conn.stream.as_fd());
            }
            Err(error) => self.broken(token, error.kind(), None),
        }
    }

    /// A send has failed. What the peer sent before is read first.
    fn broken(&mut self, token: u64, kind: io::ErrorKind, came: Option<Came>) {
        let Some(conn) = self.connections.get_mut(token) else {
            return;
        };
        let (early, wanted) = (conn.early.take(), conn.interest.read);
        let Ok(stream) = conn.stream.try_clone() else {
            return self.end(token, true);
        };
        self.turn_of(token, |turn, _| {
            turn.completed(Output::new(), 0);
            turn.drop_output();
            if let Some(early) = early {
                early.tell(turn);
            }
            if let Some(came) = came.filter(|_| wanted) {
                came.tell(turn);
            }
            turn.broken(&mut Rest(&stream), kind);
        });
    }

    /// Delivers messages within the budget.
    fn deliver(&mut self, token: u64) {
        let mut budget = self.config.message_budget.max(1);
        while let Some(conn) = self.connections.get_mut(token)
            && let Some(letters) = &conn.letters
        {
            if budget == 0 {
                return self.letters.push(token);
            }
            let (queue, waker) = (Arc::clone(&letters.queue), letters.waker.clone());
            let mut taken = 0;
            self.turn_of(token, |turn, _| {
                let waiting = std::iter::from_fn(|| queue.poll(&waker));
                taken = turn.messages(waiting.take(budget));
            });
            self.stats.messages += taken as u64;
            budget -= taken;
            if taken == 0 {
                return;
            }
        }
    }

    fn expired(&mut self, token: u64) {
        let now = self.scratch.now;
        let Some(conn) = self.connections.get_mut(token) else {
            return;
        };
        conn.timer = None;
        self.turn_of(token, |turn, stats| {
            if turn.connection().deadline().is_some_and(|deadline| deadline <= now) {
                stats.timeouts += 1;
            }
            turn.timeout();
        });
    }

    fn stop(&mut self, drain: Duration) {
        let now = self.scratch.now;
        self.listener = None;
        match &mut self.stopping {
            Some(stopping) => stopping.hasten(now, drain),
            none => *none = Some(Stopping::new(now, drain, self.connections.tokens())),
        }
        self.drain();
    }

    /// Asks the next connections to stop, and resets all when the time is over.
    fn drain(&mut self) {
        let now = self.scratch.now;
        let Some(stopping) = &mut self.stopping else { return };
        let over = stopping.is_over(now);
        let tokens = if over {
            self.connections.tokens()
        } else {
            stopping.next(now)
        };
        for token in tokens {
            self.turn_of(token, |turn, _| match over {
                true => turn.kill(Reason::Stopped),
                false => turn.stop(),
            });
        }
    }

    /// The connection has ended: drops its protocol, and the socket once the kernel has completed the operations on it.
    fn end(&mut self, token: u64, reset: bool) {
        let Some(conn) = self.connections.get_mut(token) else {
            return;
        };
        if reset {
            driver_common::reset(&conn.stream);
        }
        if let Some((timer, _)) = conn.timer.take() {
            self.timers.cancel(timer);
        }
        if let Some(letters) = conn.letters.take() {
            self.stats.messages_late += letters.queue.close() as u64;
        }
        if let Some(limit) = &mut self.per_address {
            limit.release(token);
        }
        let connection = conn.connection.take();
        if conn.receiving || conn.sending {
            self.ring.cancel(conn.stream.as_fd());
        }
        if catch_unwind(AssertUnwindSafe(|| drop(connection))).is_err() {
            self.stats.panics += 1;
        }
        self.free(token);
    }

    /// Closes the socket if the kernel no longer uses it.
    fn free(&mut self, token: u64) {
        if self
            .connections
            .get_mut(token)
            .is_some_and(|conn| !conn.receiving && !conn.sending)
        {
            self.connections.remove(token);
        }
    }
}

/// What was received.
enum Came {
    Bytes(Lent),
    End,
    Failed(io::ErrorKind),
}

impl Came {
    /// Shows the bytes to the protocol where the kernel has put them.
    fn tell<P: Protocol>(self, turn: &mut Turn<'_, P>) {
        match self {
            Came::Bytes(mut bytes) => turn.receive(&mut bytes),
            Came::End => turn.eof(),
            Came::Failed(kind) => turn.failed(kind),
        }
    }

    fn keep(self) -> Early {
        match self {
            Came::Bytes(bytes) => Early::Bytes(bytes.to_vec()),
            Came::End => Early::End,
            Came::Failed(kind) => Early::Failed(kind),
        }
    }
}

impl Early {
    fn tell<P: Protocol>(self, turn: &mut Turn<'_, P>) {
        match self {
            Early::Bytes(mut bytes) => turn.receive(&mut bytes),
            Early::End => turn.eof(),
            Early::Failed(kind) => turn.failed(kind),
        }
    }
}

/// What is left to read of a broken connection.
struct Rest<'a>(&'a TcpStream);

impl Transport for Rest<'_> {
    fn receive(&mut self, buffer: &mut [u8]) -> Transfer {
        match rustix::net::recv(self.0, buffer, rustix::net::RecvFlags::DONTWAIT) {
            Ok((_, n)) => Transfer::Bytes(n),
            Err(error) => Transfer::Failed(error.kind()),
        }
    }

    fn send(&mut self, _: &[u8]) -> Transfer {
        Transfer::Blocked
    }

    fn shutdown(&mut self) {}
}
