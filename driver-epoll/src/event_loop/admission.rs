//! How connections are accepted, opened and adopted.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use driver_common::{ACCEPT_PAUSE, Connect, Make, Place, trace};
use protocol::driver::{Connection, Interest};
use protocol::{Mailbox, Peer, PeerSource, Protocol, Reason, Sender};
use rustix::event::epoll;

use super::Loop;
use super::conn::{Conn, State};
use crate::listener::Accepted;
use crate::mailbox::Shared;
use crate::slab::Key;
use crate::socket;

/// Marks event and timer data of listeners; the other bits are the listener's index.
pub(super) const LISTENER: u64 = 1 << 63;

/// The longest accept queue by default (net.core.somaxconn).
const MOST_WAITING: usize = 4096;

pub(super) type Factory<P> = Box<dyn FnMut(&Peer<'_, <P as Protocol>::Message>) -> Option<P>>;

pub(super) struct Listener<P: Protocol> {
    pub(super) socket: OwnedFd,
    pub(super) factory: Factory<P>,
    pub(super) paused: bool,
}

impl<P: Protocol + 'static> Loop<P>
where
    P::Message: Send + 'static,
{
    /// Accepts from listeners that are ready. Returns whether more connections may wait for which there is room.
    pub(super) fn accept(&mut self) -> bool {
        let mut ready = core::mem::take(&mut self.accepting);
        // Each listener gets a share of the budget, so that a storm on one does not starve the others.
        let share = (self.config.accept_budget / ready.len().max(1)).max(1);
        let mut more = false;
        for index in ready.drain(..) {
            let mut budget = share;
            while budget > 0 && index < self.listeners.len() {
                if self.connections.len() >= self.config.max_connections {
                    self.pause_listeners(true);
                    return false;
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
                        trace::exhausted();
                        self.timers.insert(self.scratch.now + ACCEPT_PAUSE, LISTENER);
                        self.pause_listeners(true);
                        return false;
                    }
                }
            }
            more |= budget == 0;
        }
        self.accepting = ready;
        more
    }

    fn admit(&mut self, listener: usize, socket: OwnedFd, remote: Option<SocketAddr>) {
        driver_common::prepare(&socket, &self.config.socket);
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
            self.panicked(key);
            self.release(key);
            return socket::reset(socket);
        };
        let flags = epoll::EventFlags::IN;
        match made {
            Some(protocol) if epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(key), flags).is_ok() => {
                self.stats.accepted += 1;
                trace::connected(key);
                self.insert(Connection::new(protocol), socket, State::Registered);
                self.event(key, |turn, _| turn.connected());
            }
            _ => {
                self.stats.refused += 1;
                self.release(key);
                socket::reset(socket);
            }
        }
    }

    pub(super) fn connect(&mut self, connect: Connect, make: Make<P>) {
        let to = match &connect.to {
            Place::Address(address) => *address,
            Place::Name(name, _) => {
                let name = Arc::clone(name);
                return self.begin_race(&name, connect, make);
            }
        };
        let key = self.connections.next_key();
        let opened = driver_common::connecting(to, &connect, &self.config.socket).and_then(|socket| {
            let socket = OwnedFd::from(socket);
            socket::connect(&socket, to)?;
            epoll::add(
                &self.epoll,
                &socket,
                epoll::EventData::new_u64(key),
                epoll::EventFlags::OUT,
            )?;
            Ok(socket)
        });
        if self.open(opened, Some(to), make, State::Connecting) {
            let within = connect.timeout.unwrap_or(self.config.connect_timeout);
            let deadline = self.scratch.now.checked_add(within);
            if let Some(conn) = self.connections.get_mut(key) {
                conn.timer = deadline.map(|deadline| (self.timers.insert(deadline, key), deadline));
                conn.interest = Interest {
                    read: false,
                    write: true,
                };
            }
        }
    }

    /// Adds a socket that is already connected.
    pub(super) fn adopt(&mut self, socket: OwnedFd, make: Make<P>) {
        let key = self.connections.next_key();
        driver_common::prepare(&socket, &self.config.socket);
        let remote = socket::remote_address(&socket);
        let data = epoll::EventData::new_u64(key);
        let opened = rustix::io::ioctl_fionbio(&socket, true)
            .and_then(|()| epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN))
            .map(|()| socket)
            .map_err(io::Error::from);
        if self.open(opened, remote, make, State::Registered) {
            if let Some(conn) = self.connections.get_mut(key) {
                conn.adopted = true;
            }
            self.stats.connected += 1;
            trace::connected(key);
            self.event(key, |turn, _| turn.connected());
        }
    }

    /// Makes the protocol of a connection that this side opens, and adds the connection under the next key; or tells the protocol of the
    /// failure. Returns whether the connection was added.
    pub(super) fn open(
        &mut self,
        opened: io::Result<OwnedFd>,
        remote: Option<SocketAddr>,
        make: Make<P>,
        state: State,
    ) -> bool {
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) => {
                self.fail(make, remote, Reason::Io(error.kind()));
                return false;
            }
        };
        let made = self.make(Some(&socket), remote, |peer| Connection::new(make(peer)));
        if let Some(connection) = made {
            self.insert(connection, socket, state);
            return true;
        }
        false
    }

    /// Makes the protocol of a connection that cannot be opened, and tells it why.
    pub(super) fn fail(&mut self, make: Make<P>, remote: Option<SocketAddr>, reason: Reason) {
        let told = self.make(None, remote, |peer| Connection::new(make(peer)).closed(reason));
        if told.is_some() {
            self.stats.count_end(reason);
            trace::ended(self.connections.next_key(), reason, None);
        }
    }

    /// Calls `make` with the peer of the next connection. `None` if it panics.
    fn make<T>(
        &mut self,
        socket: Option<&OwnedFd>,
        remote: Option<SocketAddr>,
        make: impl FnOnce(&Peer<'_, P::Message>) -> T,
    ) -> Option<T> {
        let key = self.connections.next_key();
        let source = Source {
            socket,
            remote,
            shared: &self.shared,
            key,
        };
        let made = catch_unwind(AssertUnwindSafe(|| make(&Peer::new(&source))));
        if made.is_err() {
            self.panicked(key);
        }
        made.ok()
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
            adopted: false,
        });
    }

    /// Removes the listeners from epoll, or registers them again. The registration is exclusive, so that a connection does not wake all
    /// loops that share a socket; an exclusive registration cannot be modified.
    pub(super) fn pause_listeners(&mut self, pause: bool) {
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

    /// Removes the listeners from epoll, accepts the connections that wait for them, and closes them.
    ///
    /// Another process may have copies of the sockets. For a socket that is only closed, epoll would go on waking this loop instead of that
    /// process. A waiting connection may have woken only this loop, so it is accepted here.
    pub(super) fn close_listeners(&mut self) {
        self.pause_listeners(true);
        // Connections that arrive meanwhile wake the other processes.
        for _ in 0..MOST_WAITING.div_ceil(self.config.accept_budget.max(1)) {
            self.accepting.clear();
            self.accepting.extend(0..self.listeners.len());
            if !self.accept() {
                break;
            }
        }
        self.listeners.clear();
    }

    /// Releases a connection from the count of its address.
    pub(super) fn release(&mut self, key: Key) {
        if let Some(limit) = &mut self.per_address {
            limit.release(key);
        }
    }
}

pub(super) fn register_listener(epoll: &OwnedFd, socket: &OwnedFd, index: usize) -> rustix::io::Result<()> {
    let data = epoll::EventData::new_u64(LISTENER | index as u64);
    epoll::add(
        epoll,
        socket,
        data,
        epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE,
    )
}

/// The values that a factory may ask for about a connection.
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
