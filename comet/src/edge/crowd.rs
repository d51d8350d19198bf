//! Counts the connections of each client.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use protocol::driver::PerAddress;
use slab::Slab;

/// The connections of all clients of this process, of which each client may have a number. As with the drivers' own limit, an IPv6 client
/// is its /64 network.
#[derive(Debug)]
pub(crate) struct Crowd(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    tickets: Slab<()>,
    clients: PerAddress,
}

/// The place of one connection in the count: four bytes, because there are very many connections. Whoever gets a ticket returns it with
/// [`Crowd::leave`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ticket(NonZeroU32);

impl Crowd {
    /// Admits `max` connections of each client.
    pub(crate) fn new(max: usize) -> Self {
        Crowd(Mutex::new(Counts {
            tickets: Slab::new(),
            clients: PerAddress::new(max),
        }))
    }

    /// Counts a connection of `client`. `None` if the client has enough.
    pub(crate) fn enter(&self, client: IpAddr) -> Option<Ticket> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = counts.tickets.vacant_key();
        let ticket = u32::try_from(key + 1).ok().and_then(NonZeroU32::new)?;
        if !counts.clients.admit(key as u64, client) {
            return None;
        }
        counts.tickets.insert(());
        Some(Ticket(ticket))
    }

    /// The connection with this ticket has ended.
    pub(crate) fn leave(&self, Ticket(ticket): Ticket) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ticket.get() as usize - 1;
        if counts.tickets.try_remove(key).is_some() {
            counts.clients.release(key as u64);
        }
    }

    /// The number of counted connections.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().tickets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_share() {
        let crowd = Crowd::new(2);
        let [a, b]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let first = crowd.enter(a).unwrap();
        let second = crowd.enter(a).unwrap();
        assert_ne!(first, second);
        assert_eq!(crowd.enter(a), None);
        let other = crowd.enter(b).unwrap();
        // The same /64.
        let neighbour = crowd.enter("2001:db8::2".parse().unwrap()).unwrap();
        assert_eq!(crowd.enter("2001:db8::3".parse().unwrap()), None);
        crowd.leave(first);
        let again = crowd.enter(a).unwrap();
        assert_eq!(crowd.enter(a), None);
        for ticket in [second, other, neighbour, again] {
            crowd.leave(ticket);
        }
        assert_eq!(crowd.len(), 0);
        assert_eq!(size_of::<Option<Ticket>>(), 4);
    }
}
