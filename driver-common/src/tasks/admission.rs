//! How connections become tasks.

use std::cell::OnceCell;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::driver::Connection;
use protocol::{Mailbox, Peer, PeerSource, Protocol, Reason, Sender};

use super::{Group, Queue, Task};
use crate::trace;

/// The connection must not be served: close it with a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// Asks `factory` for the protocol of an accepted connection, unless its address has reached the limit of connections.
/// `token` is a unique number among the connections of `group`, not 0. `local` is called when the factory asks for the
/// connection's local address.
///
/// # Errors
///
/// When the connection must not be served.
pub fn admit<P: Protocol>(
    group: &Arc<Group>,
    token: u64,
    remote: Option<SocketAddr>,
    local: &dyn Fn() -> Option<SocketAddr>,
    factory: &mut impl FnMut(&Peer<'_, P::Message>) -> Option<P>,
) -> Result<Task<P>, Refused>
where
    P::Message: Send + 'static,
{
    if let (Some(mut limit), Some(remote)) = (group.per_address(), remote)
        && !limit.admit(token, remote.ip())
    {
        group.stats.refused.fetch_add(1, Ordering::Relaxed);
        return Err(Refused);
    }
    let source = Source::new(group, remote, local);
    let made = catch_unwind(AssertUnwindSafe(|| factory(&Peer::new(&source))));
    match made {
        Ok(Some(protocol)) => {
            group.stats.accepted.fetch_add(1, Ordering::Relaxed);
            trace::connected(token);
            return Ok(Task::new(
                protocol,
                source.mailbox.into_inner(),
                Arc::clone(group),
                token,
            ));
        }
        Ok(None) => group.stats.refused.fetch_add(1, Ordering::Relaxed),
        Err(_) => {
            trace::panicked(token);
            group.stats.panics.fetch_add(1, Ordering::Relaxed)
        }
    };
    if let Some(mut limit) = group.per_address() {
        limit.release(token);
    }
    Err(Refused)
}

/// Asks `make` for the protocol of a connection that this side opens, and turns the connection into a task, or tells the
/// protocol why the connect failed.
///
/// # Errors
///
/// When there is no connection, or `make` has panicked.
pub fn open<P: Protocol>(
    group: &Arc<Group>,
    outcome: Result<(), io::ErrorKind>,
    remote: Option<SocketAddr>,
    local: &dyn Fn() -> Option<SocketAddr>,
    make: impl FnOnce(&Peer<'_, P::Message>) -> P,
) -> Result<Task<P>, Refused>
where
    P::Message: Send + 'static,
{
    let source = Source::new(group, remote, local);
    let made = catch_unwind(AssertUnwindSafe(|| {
        let protocol = make(&Peer::new(&source));
        if let Err(kind) = outcome {
            Connection::new(protocol).closed(Reason::Io(kind));
            return None;
        }
        Some(protocol)
    }));
    match made {
        Ok(Some(protocol)) => {
            group.stats.connected.fetch_add(1, Ordering::Relaxed);
            trace::connected(0);
            // Opened by this side, so not counted by address.
            Ok(Task::new(protocol, source.mailbox.into_inner(), Arc::clone(group), 0))
        }
        Ok(None) => {
            if let Err(kind) = outcome {
                group.stats.count_end(Reason::Io(kind));
                trace::ended(0, Reason::Io(kind), None);
            }
            Err(Refused)
        }
        Err(_) => {
            trace::panicked(0);
            group.stats.panics.fetch_add(1, Ordering::Relaxed);
            Err(Refused)
        }
    }
}

/// The values that a factory may ask for about a connection.
struct Source<'a, M> {
    remote: Option<SocketAddr>,
    local: &'a dyn Fn() -> Option<SocketAddr>,
    capacity: usize,
    /// Created when the factory asks for a sender.
    mailbox: OnceCell<Arc<Queue<M>>>,
}

impl<'a, M> Source<'a, M> {
    fn new(group: &Group, remote: Option<SocketAddr>, local: &'a dyn Fn() -> Option<SocketAddr>) -> Self {
        Source {
            remote,
            local,
            capacity: group.config.mailbox,
            mailbox: OnceCell::new(),
        }
    }
}

impl<M: Send + 'static> PeerSource<M> for Source<'_, M> {
    fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    fn local(&self) -> Option<SocketAddr> {
        (self.local)()
    }

    fn sender(&self) -> Sender<M> {
        let mailbox = Arc::clone(self.mailbox.get_or_init(|| Queue::new(self.capacity)));
        Sender::new(mailbox as Arc<dyn Mailbox<M>>, 0)
    }
}
