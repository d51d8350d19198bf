//! One connection of a loop.

use std::os::fd::OwnedFd;
use std::time::Instant;

use protocol::Protocol;
use protocol::driver::{Connection, Interest};
use rustix::event::epoll;

use crate::slab::Key;
use crate::timers::Timers;

pub(super) struct Conn<P> {
    pub(super) connection: Connection<P>,
    pub(super) socket: OwnedFd,
    pub(super) state: State,
    pub(super) interest: Interest,
    /// The timer and the time to which it is set. The timer is never postponed: if it fires early, it is set again.
    pub(super) timer: Option<(timing_wheel::Key, Instant)>,
    /// Whether the socket was created elsewhere, where copies may exist: after a mere close, epoll would go on reporting such a socket.
    pub(super) adopted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Registered,
    /// Removed from epoll, which would report a hang-up even without interest.
    Unregistered,
}

/// Registers the connection's interest with epoll.
pub(super) fn register<P>(epoll: &OwnedFd, conn: &mut Conn<P>, key: Key, interest: Interest) {
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, interest.read);
    flags.set(epoll::EventFlags::OUT, interest.write);
    let data = epoll::EventData::new_u64(key);
    let told = match conn.state {
        // A registration without interest would report the hang-up again.
        State::Unregistered if flags.is_empty() => return,
        State::Unregistered => epoll::add(epoll, &conn.socket, data, flags),
        State::Registered | State::Connecting => epoll::modify(epoll, &conn.socket, data, flags),
    };
    if told.is_ok() {
        conn.state = State::Registered;
        conn.interest = interest;
    }
}

/// Sets the timer if the deadline is earlier than the time to which it is set.
#[inline(always)]
pub(super) fn rearm<P: Protocol>(timers: &mut Timers, conn: &mut Conn<P>, key: Key) {
    let Some(deadline) = conn.connection.deadline() else {
        return;
    };
    match conn.timer {
        Some((_, armed)) if armed <= deadline => {}
        Some((timer, _)) if timers.reset(timer, deadline) => conn.timer = Some((timer, deadline)),
        _ => conn.timer = Some((timers.insert(deadline, key), deadline)),
    }
}
