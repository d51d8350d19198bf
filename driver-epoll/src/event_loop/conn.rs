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
    /// The timer and what it is set to. It is never moved back: when it fires early, it is set again.
    pub(super) timer: Option<(timing_wheel::Key, Instant)>,
    /// Whether the socket came from elsewhere, where there may be copies of it. Epoll then goes on reporting a socket that was
    /// only closed.
    pub(super) adopted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Registered,
    /// Taken from epoll, which reports a hang-up even to those who do not want to know yet.
    Unregistered,
}

/// Tells epoll what a connection waits for.
pub(super) fn register<P>(epoll: &OwnedFd, conn: &mut Conn<P>, key: Key, interest: Interest) {
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
