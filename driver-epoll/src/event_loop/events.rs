//! What happens to connections, and what is done about it.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::driver::{Connection, Interest, Turn};
use protocol::{Protocol, Stats};
use rustix::event::epoll;

use super::Loop;
use super::conn::{Settled, State, rearm, register, settle};
use crate::slab::Key;
use crate::socket::{self, Transfer};
use crate::trace;

/// Reads of one connection per turn at most.
const READS: usize = 4;

impl<P: Protocol + 'static> Loop<P>
where
    P::Message: Send + 'static,
{
    #[inline(always)]
    pub(super) fn ready(&mut self, key: Key, flags: epoll::EventFlags) {
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
            // That may have ended the connection, or its wish for input.
            if !self.connections.get_mut(key).is_some_and(|conn| conn.interest.read) {
                return;
            }
        }
        if read && flags.intersects(epoll::EventFlags::IN | dead) {
            self.read(key);
        }
    }

    #[inline(always)]
    fn read(&mut self, key: Key) {
        if self.read_once::<true>(key) {
            self.read_on(key);
        }
    }

    /// Reads on while reads fill the buffer. Were large messages of many connections assembled a piece of each per turn,
    /// they would fall out of the caches in between.
    #[cold]
    fn read_on(&mut self, key: Key) {
        for _ in 1..READS {
            let wants_more = self.connections.get_mut(key).is_some_and(|conn| conn.interest.read);
            // What it has to do again comes first.
            if !wants_more || self.again.last() == Some(&key) || !self.read_once::<false>(key) {
                return;
            }
        }
    }

    /// Whether that filled the buffer. There are two of it, so that the compiler puts the first, which is nearly always the
    /// only one, where it is called.
    #[inline(always)]
    fn read_once<const FIRST: bool>(&mut self, key: Key) -> bool {
        let mut full = false;
        self.io_event(key, |connection, socket, turn, stats| {
            stats.reads += 1;
            let buffer = connection.recv_buffer(turn);
            let room = buffer.len();
            match socket::receive(socket, buffer) {
                Transfer::Bytes(0) => connection.eof(turn),
                Transfer::Bytes(n) => {
                    full = n == room;
                    stats.bytes_in += n as u64;
                    connection.received(turn, n);
                }
                Transfer::Blocked => {}
                Transfer::Failed(kind) => connection.failed(turn, kind),
            }
        });
        full
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
                trace::connected(key);
                connection.connected(turn);
            }
        });
        self.tell_early(key);
    }

    /// Tells a connection what happened, then does what it asks for.
    pub(super) fn event(&mut self, key: Key, happened: impl FnOnce(&mut Connection<P>, &mut Turn, &mut Stats)) {
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
                // No input before it has gone on; what epoll knows is set right with the interest it has then.
                conn.interest.read = false;
                rearm(&mut self.timers, conn, key);
                self.again.push(key);
            }
            Ok(Settled::Ended { reset }) => {
                self.stats.count_end(conn.connection.reason());
                trace::ended(key, conn.connection.reason());
                self.remove(key, reset);
            }
            Err(_) => {
                // Its state is unknown: not even `closed` may be called. The panic hook has told why.
                self.stats.panics += 1;
                trace::panicked(key);
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
        if let Some(early) = self.early.remove(&key) {
            self.stats.messages_late += early.len() as u64;
        }
        if reset {
            socket::reset(conn.socket);
        }
        if self.connections.len() + 1 == self.config.max_connections {
            self.pause_listeners(false);
        }
    }
}
