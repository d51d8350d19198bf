//! Connections to names: the look-up, and the race of the addresses.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use driver_common::{Answer, Connect, Eyeballs, Family, Found, Make, Pace, trace};
use protocol::{Protocol, Reason};
use rustix::event::epoll;

use super::Loop;
use super::admission::LISTENER;
use super::conn::State;
use crate::mailbox::Mail;
use crate::socket;

/// Marks event and timer data of races, together with [`LISTENER`]; the low 32 bits are the race's number.
pub(super) const RACE: u64 = 1 << 62;

/// An attempt to connect to a name.
pub(super) struct Race<P: Protocol> {
    connect: Connect,
    make: Make<P>,
    eyeballs: Eyeballs,
    attempts: Vec<(IpAddr, OwnedFd)>,
    resolve_by: Option<Instant>,
    /// When the whole attempt has failed.
    end: Option<Instant>,
    timer: Option<timing_wheel::Key>,
}

impl<P: Protocol + 'static> Loop<P>
where
    P::Message: Send + 'static,
{
    /// Begins to connect to `name`.
    pub(super) fn begin_race(&mut self, name: &str, connect: Connect, make: Make<P>) {
        let id = self.next_race;
        self.next_race = id.wrapping_add(1);
        let shared = Arc::downgrade(&self.shared);
        let answer = Answer::new(move |found| {
            if let Some(shared) = shared.upgrade() {
                // Fails only if the loop has ended. At most three results per race.
                let _ = shared.queue.push_over(Mail::Found(id, found));
            }
        });
        let now = self.scratch.now;
        let within = connect.timeout.unwrap_or(self.config.connect_timeout);
        connect.look_up(name, answer);
        let race = Race {
            eyeballs: Eyeballs::new(Pace::default()),
            attempts: Vec::new(),
            resolve_by: connect.resolve_timeout.and_then(|timeout| now.checked_add(timeout)),
            end: now.checked_add(within),
            timer: None,
            connect,
            make,
        };
        self.races.insert(id, race);
        self.go_on(id);
    }

    /// A look-up has found something.
    pub(super) fn found(&mut self, id: u32, found: Found) {
        let now = self.scratch.now;
        let Some(race) = self.races.get_mut(&id) else { return };
        match found {
            Found::Addresses(family, addresses) => {
                let wanted = race.connect.local.map(|local| Family::of(&local.ip()));
                let usable = wanted.is_none_or(|wanted| wanted == family);
                race.eyeballs
                    .resolved(now, family, addresses.into_iter().filter(|_| usable));
            }
            Found::Failed(failure) => race.eyeballs.resolve_failed(failure),
        }
        self.go_on(id);
    }

    /// The race's timer has fired.
    pub(super) fn timed_race(&mut self, id: u32) {
        if let Some(race) = self.races.get_mut(&id) {
            race.timer = None;
            self.go_on(id);
        }
    }

    /// An attempt of the race, or its timer, is ready: looks for a winner, then starts what is due.
    pub(super) fn go_on(&mut self, id: u32) {
        let now = self.scratch.now;
        let Some(race) = self.races.get_mut(&id) else { return };
        let mut at = 0;
        while let Some((address, attempt)) = race.attempts.get(at) {
            let failed = socket::take_error(attempt);
            if failed.is_none() && socket::remote_address(attempt).is_some() {
                let (address, attempt) = race.attempts.swap_remove(at);
                return self.won(id, address, attempt);
            }
            match failed {
                None => at += 1,
                Some(kind) => {
                    race.eyeballs.failed(*address, kind);
                    race.attempts.swap_remove(at);
                }
            }
        }
        if race.end.is_some_and(|end| end <= now) {
            return self.lost(id, ErrorKind::TimedOut.into());
        }
        if !race.eyeballs.is_resolved() && race.resolve_by.is_some_and(|by| by <= now) {
            race.eyeballs.resolve_failed(ErrorKind::TimedOut);
        }
        while let Some(address) = race.eyeballs.next(now) {
            let to = SocketAddr::new(address, race.connect.to.port());
            let opened = driver_common::connecting(to, &race.connect, &self.config.socket).and_then(|socket| {
                let socket = OwnedFd::from(socket);
                socket::connect(&socket, to)?;
                let data = epoll::EventData::new_u64(LISTENER | RACE | u64::from(id));
                epoll::add(&self.epoll, &socket, data, epoll::EventFlags::OUT)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => race.attempts.push((address, socket)),
                Err(error) => race.eyeballs.failed(address, error.kind()),
            }
        }
        if let Some(failure) = race.eyeballs.failure() {
            return self.lost(id, failure.into());
        }
        let resolving = race.resolve_by.filter(|_| !race.eyeballs.is_resolved());
        let wake = [race.end, resolving, race.eyeballs.deadline()]
            .into_iter()
            .flatten()
            .min();
        if let Some(timer) = race.timer.take() {
            self.timers.cancel(timer);
        }
        race.timer = wake.map(|wake| self.timers.insert(wake, LISTENER | RACE | u64::from(id)));
    }

    /// Removes a race with its attempts, and returns how to make the protocol.
    fn end_race(&mut self, id: u32) -> Option<Make<P>> {
        let race = self.races.remove(&id)?;
        if let Some(timer) = race.timer {
            self.timers.cancel(timer);
        }
        Some(race.make)
    }

    /// The first connection is established: the others are dropped.
    fn won(&mut self, id: u32, address: IpAddr, socket: OwnedFd) {
        let Some(race) = self.races.get(&id) else { return };
        let remote = SocketAddr::new(address, race.connect.to.port());
        let Some(make) = self.end_race(id) else { return };
        let key = self.connections.next_key();
        let data = epoll::EventData::new_u64(key);
        let opened = epoll::modify(&self.epoll, &socket, data, epoll::EventFlags::IN)
            .map(|()| socket)
            .map_err(io::Error::from);
        if self.open(opened, Some(remote), make, State::Registered) {
            self.stats.connected += 1;
            trace::connected(key);
            self.event(key, |turn, _| turn.connected());
        }
    }

    /// No connection was established.
    fn lost(&mut self, id: u32, error: io::Error) {
        if let Some(make) = self.end_race(id) {
            self.open(Err(error), None, make, State::Connecting);
        }
    }

    /// The driver stops: nobody waits for these connections any more.
    pub(super) fn end_races(&mut self) {
        let ids: Vec<u32> = self.races.keys().copied().collect();
        for id in ids {
            if let Some(make) = self.end_race(id) {
                self.fail(make, None, Reason::Stopped);
            }
        }
    }
}
