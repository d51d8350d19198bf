//! The connections of a loop, by tokens that are never used again.

use std::net::TcpStream;
use std::time::Instant;

use protocol::Protocol;
use protocol::driver::{Connection, Interest};
use std::io;

use crate::mailbox::Letters;

/// What was received while the protocol wanted no input: at most one buffer of the ring.
pub(crate) enum Early {
    Bytes(Vec<u8>),
    End,
    Failed(io::ErrorKind),
}

/// One connection.
pub(crate) struct Conn<P: Protocol> {
    /// `None` once the connection has ended, while the kernel completes its operations.
    pub(crate) connection: Option<Connection<P>>,
    pub(crate) stream: TcpStream,
    pub(crate) interest: Interest,
    pub(crate) receiving: bool,
    pub(crate) sending: bool,
    pub(crate) early: Option<Early>,
    /// Why a send failed, while what the peer sent before is still to be received.
    pub(crate) broken: Option<io::ErrorKind>,
    /// The timer and the time to which it is set. The timer is never postponed: if it fires early, it is set again.
    pub(crate) timer: Option<(timing_wheel::Key, Instant)>,
    pub(crate) letters: Option<Letters<P::Message>>,
}

/// A slab of connections. A token has the index of a place and how often the place was used, in 56 bits.
pub(crate) struct Connections<P: Protocol> {
    places: Vec<(u32, Option<Conn<P>>)>,
    free: Vec<u32>,
}

const GENERATIONS: u32 = 1 << 24;

impl<P: Protocol> Connections<P> {
    pub(crate) fn new() -> Self {
        Connections {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, conn: Conn<P>) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() as u32 - 1
        });
        let (generation, place) = &mut self.places[index as usize];
        *generation = (*generation + 1) % GENERATIONS;
        *place = Some(conn);
        u64::from(*generation) << 32 | u64::from(index)
    }

    pub(crate) fn get_mut(&mut self, token: u64) -> Option<&mut Conn<P>> {
        let (generation, place) = self.places.get_mut(token as u32 as usize)?;
        place.as_mut().filter(|_| u64::from(*generation) == token >> 32)
    }

    pub(crate) fn remove(&mut self, token: u64) -> Option<Conn<P>> {
        self.get_mut(token)?;
        self.free.push(token as u32);
        self.places[token as u32 as usize].1.take()
    }

    /// The tokens of all connections.
    pub(crate) fn tokens(&self) -> Vec<u64> {
        let token = |(index, (generation, place)): (usize, &(u32, Option<Conn<P>>))| {
            place.as_ref().map(|_| u64::from(*generation) << 32 | index as u64)
        };
        self.places.iter().enumerate().filter_map(token).collect()
    }
}
