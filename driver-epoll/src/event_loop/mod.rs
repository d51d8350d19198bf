//! The event loop.

mod admission;
mod conn;
mod events;
mod race;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driver_common::{Command, Config, Stats, Stopping};
use protocol::driver::{PerAddress, Scratch};
use protocol::{Peer, Protocol, Reason};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use self::admission::{LISTENER, Listener, register_listener};
use self::conn::{Conn, State};
use self::race::{RACE, Race};
use crate::Handle;
use crate::batch::Batch;
use crate::listener::Acceptor;
use crate::mailbox::{Mail, Shared};
use crate::poll::wait;
use crate::slab::{Key, Slab};
use crate::timers::Timers;

/// The most events taken from the kernel at once.
const EVENTS: usize = 1024;
/// If every turn fills all events, deadlines fire only once in this many turns: input comes first, but not for ever.
const UNSEEN: u32 = 16;
/// Event data of the mailbox. Keys of connections never have the highest bit.
const WAKE: u64 = u64::MAX;

/// Messages that are looked at, at most, for those that connections posted to themselves: about a millisecond of work.
const MOST_LOOKED_AT: usize = 256 * 1024;

/// The loop's one queue has room for this many times the mailbox of one connection.
const MAILBOX_SHARE: usize = 256;

/// One event loop: sockets, timers and a mailbox of one thread.
///
/// [`Server`](crate::Server) runs one per thread. To embed the driver in your own event loop, call [`turn`](Loop::turn)
/// whenever [`as_fd`](AsFd::as_fd) becomes readable or the time that the last turn returned has passed.
pub struct Loop<P: Protocol> {
    config: Config,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    shared: Arc<Shared<P>>,
    connections: Slab<Conn<P>>,
    listeners: Vec<Listener<P>>,
    /// Attempts to connect to names.
    races: HashMap<u32, Race<P>>,
    next_race: u32,
    /// The listeners with waiting connections.
    accepting: Vec<usize>,
    acceptor: Acceptor,
    timers: Timers,
    /// The owners of timers that have fired.
    due: Vec<u64>,
    /// Consecutive turns in which the kernel may have had more events than were taken.
    unseen: u32,
    scratch: Scratch,
    stats: Stats,
    /// Connections that asked for another turn.
    again: Vec<Key>,
    /// Present if the number of connections per address is limited.
    per_address: Option<PerAddress>,
    mail: VecDeque<Mail<P>>,
    /// Messages taken from the mailbox and not yet delivered.
    batch: Batch<P::Message>,
    /// Messages for connections that are not established yet; each connection has the limit of one mailbox.
    early: HashMap<Key, Vec<P::Message>>,
    stopping: Option<Stopping<Key>>,
    /// Connections that have posted to themselves since the mailbox was emptied.
    to_themselves: Vec<Key>,
}

impl<P: Protocol> Loop<P> {
    /// An event loop without listeners and connections.
    ///
    /// # Errors
    ///
    /// When the kernel provides no epoll instance or event descriptor.
    pub fn new(config: Config) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let shared = Shared::new(config.mailbox.max(1).saturating_mul(MAILBOX_SHARE))?;
        epoll::add(
            &epoll,
            shared.queue.wake_fd(),
            epoll::EventData::new_u64(WAKE),
            epoll::EventFlags::IN,
        )?;
        let now = Instant::now();
        Ok(Loop {
            scratch: Scratch::new(config.limits, now),
            per_address: config.max_per_address.map(PerAddress::new),
            config,
            epoll,
            events: Vec::with_capacity(EVENTS),
            shared,
            connections: Slab::new(),
            listeners: Vec::new(),
            races: HashMap::new(),
            next_race: 0,
            accepting: Vec::new(),
            acceptor: Acceptor::new(),
            timers: Timers::new(now),
            due: Vec::new(),
            unseen: 0,
            stats: Stats::default(),
            again: Vec::new(),
            mail: VecDeque::new(),
            batch: Batch::default(),
            early: HashMap::new(),
            stopping: None,
            to_themselves: Vec::new(),
        })
    }

    /// A handle by which other threads control this loop.
    pub fn handle(&self) -> Handle<P> {
        Handle::new(self.shared())
    }

    pub(crate) fn shared(&self) -> Arc<Shared<P>> {
        Arc::clone(&self.shared)
    }

    /// Accepts from `listener`, a socket that already listens. For each connection `factory` makes a protocol, or refuses
    /// the connection by returning `None`.
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

    /// The counters so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        stats.active = (self.connections.len() + self.races.len()) as u64;
        stats
    }

    /// Whether the loop has no listener, no connection, and none that is being opened.
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.listeners.is_empty() && self.races.is_empty()
    }
}

impl<P: Protocol + 'static> Loop<P>
where
    P::Message: Send + 'static,
{
    /// Runs turns until [`Handle::stop`] was called and the last connection has ended, or until nothing is left to do.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to wait; never because of a connection.
    pub fn run(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        while outcome.is_ok() && !(self.is_idle() && self.has_read_all() && self.shared.queue.may_sleep()) {
            let sleep = self.sleep();
            outcome = self.turn_after(sleep);
        }
        self.shared.publish(self.stats());
        self.shared.queue.close();
        outcome
    }

    /// Runs one turn: waits for an event, at most for `timeout`, and handles it. Returns the time from now until the next
    /// turn is needed, unless the descriptor becomes readable before; `None` if no such time is known.
    ///
    /// Work per turn and connection is bounded (four reads, a call and a write after each), so no peer starves the others.
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
        let looked = core::mem::replace(&mut self.scratch.now, Instant::now());
        // 2. Handle each ready connection: one read, one call, one write; up to four if the reads fill the buffer.
        let mut events = core::mem::take(&mut self.events);
        let seen_all = events.len() < EVENTS;
        for event in events.drain(..) {
            match event.data.u64() {
                WAKE => self.shared.queue.clear_wake(),
                data if data & LISTENER == 0 => self.ready(data, event.flags),
                data if data & RACE != 0 => self.go_on(data as u32),
                data => self.accepting.push((data & !LISTENER) as usize),
            }
        }
        self.events = events;
        // 3. Give connections that asked for it another turn.
        for key in core::mem::take(&mut self.again) {
            self.event(key, |turn, _| turn.again());
        }
        // 4. Ask the next connections to stop. A connection that was accepted just before was read at least once by now.
        self.drain();
        // 5. Handle messages and commands of other threads.
        self.mail();
        // 6. Fire deadlines, within a budget.
        self.unseen = if seen_all { 0 } else { self.unseen + 1 };
        if self.unseen.is_multiple_of(UNSEEN) {
            self.expire(looked);
        }
        // 7. Accept connections, within a budget.
        if !self.accepting.is_empty() {
            self.accept();
        }
        Ok(())
    }

    /// The time to sleep unless an event arrives. From now on, other threads wake the loop.
    fn sleep(&mut self) -> Option<Duration> {
        self.shared.publish(self.stats());
        if !self.shared.queue.may_sleep() || !self.again.is_empty() || !self.has_read_all() {
            return Some(Duration::ZERO);
        }
        let timers = self.timers.sleep(self.scratch.now);
        let stopping = self
            .stopping
            .as_ref()
            .and_then(|stopping| stopping.sleep(self.scratch.now));
        [timers, stopping].into_iter().flatten().min()
    }

    /// Handles messages and commands, within a budget, in the order of arrival.
    fn mail(&mut self) {
        let mut mail = core::mem::take(&mut self.mail);
        self.shared.queue.drain(&mut mail);
        let mut budget = self.config.message_budget.max(1);
        while budget > 0 {
            if !self.batch.is_empty() {
                self.deliver(&mut budget);
                continue;
            }
            self.fill(&mut mail);
            if !self.batch.is_empty() {
                self.tell_themselves(&mut mail, &mut budget);
                self.batch.sort();
                continue;
            }
            match mail.pop_front() {
                Some(Mail::Command(command)) => match *command {
                    Command::Connect(to, make) => self.connect(to, make),
                    Command::Adopt(socket, make) => self.adopt(socket, make),
                    Command::Stop(drain) => self.begin_stop(drain),
                },
                Some(Mail::Found(race, found)) => self.found(race, found),
                Some(Mail::Message(..)) | None => break,
            }
            budget -= 1;
        }
        self.mail = mail;
    }

    /// Moves messages from the front of `mail` into the batch, up to the next command.
    fn fill(&mut self, mail: &mut VecDeque<Mail<P>>) {
        while let Some(Mail::Message(..)) = mail.front()
            && !self.batch.is_full()
            && let Some(Mail::Message(key, message)) = mail.pop_front()
        {
            self.batch.push(key, message);
        }
    }

    /// Delivers messages that connections posted to themselves before all other messages. Such a connection often continues with
    /// its input then, and posts more messages to the same connections, which get all of them at once. An example is a client
    /// that pipelines requests, each of which posts to a thousand connections and is answered by a message.
    fn tell_themselves(&mut self, mail: &mut VecDeque<Mail<P>>, budget: &mut usize) {
        let mut looked_at = 0;
        while !self.to_themselves.is_empty() && looked_at < MOST_LOOKED_AT {
            let mut themselves = core::mem::take(&mut self.to_themselves);
            themselves.dedup();
            looked_at += themselves.len() * self.batch.len();
            let mut batch = core::mem::take(&mut self.batch);
            for key in themselves.drain(..) {
                let mut messages = batch.take_early(key).take(*budget - 1).peekable();
                if messages.peek().is_some() {
                    *budget -= self.tell(key, &mut messages);
                }
            }
            self.batch = batch;
            self.shared.queue.drain(mail);
            self.fill(mail);
        }
        self.to_themselves.clear();
    }

    fn has_read_all(&self) -> bool {
        self.mail.is_empty() && self.batch.is_empty()
    }

    /// Delivers to each connection all of its messages within the budget, before the connection sends its output.
    fn deliver(&mut self, budget: &mut usize) {
        let mut batch = core::mem::take(&mut self.batch);
        while *budget > 0
            && let Some(key) = batch.next_key()
        {
            *budget -= self.tell(key, &mut batch.take(key).take(*budget));
        }
        self.batch = batch;
    }

    /// Delivers messages to a connection, and does what it asks for. Returns how many messages it took.
    fn tell(&mut self, key: Key, messages: &mut impl Iterator<Item = P::Message>) -> usize {
        let mut taken = 0;
        match self.connections.get_mut(key) {
            Some(conn) if conn.state == State::Connecting => {
                let early = self.early.entry(key).or_default();
                let before = early.len();
                early.extend(messages.take(self.config.mailbox.max(1).saturating_sub(before)));
                taken = early.len() - before;
            }
            Some(conn) if conn.connection.is_open() => self.event(key, |turn, stats| {
                taken = turn.messages(&mut *messages);
                stats.messages += taken as u64;
            }),
            _ => {}
        }
        if taken == 0 {
            taken = messages.count();
            self.stats.messages_late += taken as u64;
        }
        taken
    }

    /// Delivers the messages that were posted before the connection was established.
    pub(super) fn tell_early(&mut self, key: Key) {
        let Some(early) = self.early.remove(&key) else { return };
        let mut early = early.into_iter();
        while early.len() > 0 {
            self.tell(key, &mut early);
        }
    }

    /// Fires the timers that were due at `looked`, when this turn began to wait for events: input that had arrived by then was handled.
    /// After a pause of the process, or a protocol that blocked the loop, input that arrived in time therefore precedes any deadline.
    /// Timers that became due since then fire in the next turn, which begins at once.
    fn expire(&mut self, looked: Instant) {
        let mut due = core::mem::take(&mut self.due);
        self.timers.expire(looked, self.config.timer_budget, &mut due);
        for owner in due.drain(..) {
            if owner & LISTENER != 0 {
                if owner & RACE != 0 {
                    self.timed_race(owner as u32);
                } else {
                    self.pause_listeners(false);
                }
                continue;
            }
            let Some(conn) = self.connections.get_mut(owner) else {
                continue;
            };
            let armed = conn.timer.take();
            if conn.state == State::Connecting && armed.is_some() {
                self.event(owner, |turn, _| turn.failed(io::ErrorKind::TimedOut));
                continue;
            }
            self.event(owner, |turn, stats| {
                let deadline = turn.connection().deadline();
                stats.timeouts += u64::from(deadline.is_some_and(|at| at <= turn.now()));
                turn.timeout();
            });
        }
        self.due = due;
    }

    fn begin_stop(&mut self, drain: Duration) {
        if let Some(stopping) = &mut self.stopping {
            return stopping.hasten(self.scratch.now, drain);
        }
        self.close_listeners();
        self.end_races();
        // Idle connections come last in this list, where stopping begins.
        let mut keys = self.connections.keys();
        keys.sort_by_cached_key(|key| {
            self.connections
                .get_mut(*key)
                .is_none_or(|conn| conn.connection.held() == 0)
        });
        self.stopping = Some(Stopping::new(self.scratch.now, drain, keys));
    }

    /// Asks the next protocols to stop. After the drain deadline, resets the remaining connections.
    fn drain(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        if stopping.is_over(self.scratch.now) {
            for key in self.connections.keys() {
                self.event(key, |turn, _| turn.kill(Reason::Stopped));
            }
            return;
        }
        for key in stopping.next(self.scratch.now) {
            self.event(key, |turn, _| turn.stop());
        }
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
