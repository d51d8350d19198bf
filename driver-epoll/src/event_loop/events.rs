//! Handles events of connections.

use std::panic::{AssertUnwindSafe, catch_unwind};

use driver_common::Stats;
use driver_common::trace;
use protocol::Protocol;
use protocol::driver::{Interest, Settled, Turn};
use rustix::event::epoll;

use super::Loop;
use super::conn::{Conn, State, rearm, register};
use crate::slab::Key;
use crate::socket::{self, Stream};

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
        let read = read && flags.intersects(epoll::EventFlags::IN | dead);
        let write = flags.contains(epoll::EventFlags::OUT);
        self.turn_of(key, |turn, stream| turn.ready(stream, read, write));
    }

    /// A connection that is not being read has hung up: it failed, or both sides have closed with input left in the kernel.
    fn hung_up(&mut self, key: Key) {
        let Some(conn) = self.connections.get_mut(key) else {
            return;
        };
        if let Some(kind) = socket::take_error(&conn.socket) {
            return self.turn_of(key, |turn, stream| {
                turn.broken(stream, kind);
                turn.settle(stream)
            });
        }
        if conn.interest.write {
            // A send has taken the error and reported only what it had sent before, as `sendfile` does. The next one fails.
            return self.turn_of(key, |turn, stream| turn.ready(stream, false, true));
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
        self.event(key, |turn, stats| match failed {
            Some(kind) => turn.failed(kind),
            None => {
                stats.connected += 1;
                trace::connected(key);
                turn.connected();
            }
        });
        self.tell_early(key);
    }

    /// Reports an event to a connection, then does what the connection asks for.
    pub(super) fn event(&mut self, key: Key, happened: impl FnOnce(&mut Turn<'_, P>, &mut Stats)) {
        self.turn_of(key, |turn, stream| {
            happened(turn, stream.stats);
            turn.settle(stream)
        });
    }

    /// Runs one connection's turn. A panic in it, even in the protocol's `deadline`, ends only this connection.
    #[inline(always)]
    fn turn_of(&mut self, key: Key, body: impl FnOnce(&mut Turn<'_, P>, &mut Stream<'_>) -> Settled) {
        let Some(conn) = self.connections.get_mut(key) else {
            return;
        };
        let (scratch, stats, timers) = (&mut self.scratch, &mut self.stats, &mut self.timers);
        self.shared.calls(key);
        let settled = catch_unwind(AssertUnwindSafe(|| {
            let socket = &conn.socket;
            let settled = body(&mut conn.connection.turn(scratch), &mut Stream { socket, stats });
            if !matches!(settled, Settled::Ended { .. }) {
                rearm(timers, conn, key);
            }
            settled
        }));
        if self.shared.has_called() {
            self.to_themselves.push(key);
        }
        match settled {
            Ok(Settled::Waits(interest)) => {
                if interest != conn.interest || conn.state == State::Unregistered {
                    register(&self.epoll, conn, key, interest);
                }
            }
            Ok(Settled::Again) => {
                // No input before the next turn; that turn corrects epoll's registration.
                conn.interest.read = false;
                self.again.push(key);
            }
            Ok(Settled::Ended { reset }) => self.ended(key, reset),
            Err(_) => {
                // The protocol's state is unknown: not even `closed` may be called. The panic hook has reported the panic.
                self.panicked(key);
                self.remove(key, true);
            }
        }
    }

    fn ended(&mut self, key: Key, reset: bool) {
        if let Some(conn) = self.connections.get_mut(key) {
            let connection = &conn.connection;
            self.stats.count_end(connection.reason());
            trace::ended(key, connection.reason(), connection.error().map(|error| error as _));
        }
        self.remove(key, reset);
    }

    #[cold]
    pub(super) fn panicked(&mut self, key: Key) {
        self.stats.panics += 1;
        trace::panicked(key);
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
        let Conn {
            connection,
            socket,
            adopted,
            ..
        } = conn;
        if adopted {
            let _ = epoll::delete(&self.epoll, &socket);
        }
        if reset {
            socket::reset(socket);
        } else {
            drop(socket);
        }
        if catch_unwind(AssertUnwindSafe(|| drop(connection))).is_err() {
            self.panicked(key);
        }
        if self.connections.len() + 1 == self.config.max_connections {
            self.pause_listeners(false);
        }
    }
}
