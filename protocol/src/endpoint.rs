//! Datagrams: one socket, many peers.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Instant;

use bytes::Bytes;

use crate::Reason;

/// One datagram socket as a state machine, the sibling of [`Protocol`](crate::Protocol): it sees each datagram with its
/// sender and answers with [`Transmit`]s. The same rules hold, as far as they make sense without connections.
pub trait Endpoint {
    /// What other threads may send here; [`Infallible`](core::convert::Infallible) when nothing.
    type Message;
    /// Why the endpoint cannot go on.
    type Error: core::error::Error;

    /// The socket is bound. Called once and first.
    ///
    /// # Errors
    ///
    /// Any error ends the endpoint once its transmits are sent; this holds for every method.
    fn opened(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Self::Error> {
        let _ = cx;
        Ok(())
    }

    /// A datagram has come.
    ///
    /// # Errors
    ///
    /// As for [`opened`](Endpoint::opened); a bad datagram is no reason to fail: anyone can send one.
    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Self::Error>;

    /// When [`timeout`](Endpoint::timeout) is wanted. Read after each call.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has passed.
    ///
    /// # Errors
    ///
    /// As for [`opened`](Endpoint::opened).
    fn timeout(&mut self, cx: &mut EndpointCx<'_>) -> Result<(), Self::Error> {
        let _ = cx;
        Ok(())
    }

    /// Another thread has sent `message`.
    ///
    /// # Errors
    ///
    /// As for [`opened`](Endpoint::opened).
    fn posted(&mut self, cx: &mut EndpointCx<'_>, message: Self::Message) -> Result<(), Self::Error> {
        let _ = (cx, message);
        Ok(())
    }

    /// The socket is gone. Called once and last.
    fn closed(&mut self, reason: Reason) {
        let _ = reason;
    }
}

/// A received datagram. The payload is lent for the call and may be changed in place.
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// The own address it came to, where the driver asks the kernel for it.
    pub to: Option<IpAddr>,
    /// Its congestion mark.
    pub ecn: Option<Ecn>,
    /// The payload.
    pub payload: &'a mut [u8],
}

impl<'a> Datagram<'a> {
    /// A datagram from `from` that says no more about itself.
    pub fn new(from: SocketAddr, payload: &'a mut [u8]) -> Self {
        Datagram {
            from,
            to: None,
            ecn: None,
            payload,
        }
    }
}

/// Explicit congestion notification codepoints (RFC 3168 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// ECT(1).
    Ect1 = 0b01,
    /// ECT(0).
    Ect0 = 0b10,
    /// Congestion experienced.
    Ce = 0b11,
}

/// A datagram to send, or several of one size in one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The payload; with `segment_size`, of several datagrams end to end.
    pub payload: Bytes,
    /// Cut the payload into datagrams of this many bytes (the last may be shorter), in one system call where the
    /// kernel can.
    pub segment_size: Option<NonZeroU16>,
    /// The congestion mark to set.
    pub ecn: Option<Ecn>,
}

/// The context of one call of an [`Endpoint`].
#[derive(Debug)]
pub struct EndpointCx<'a> {
    now: Instant,
    transmits: &'a mut VecDeque<Transmit>,
    capacity: usize,
    closing: &'a mut bool,
}

impl<'a> EndpointCx<'a> {
    /// A context for one call at `now`; at most `capacity` transmits may wait.
    pub fn new(now: Instant, transmits: &'a mut VecDeque<Transmit>, capacity: usize, closing: &'a mut bool) -> Self {
        EndpointCx {
            now,
            transmits,
            capacity,
            closing,
        }
    }

    /// The time of this call. It never runs backwards.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Queues a datagram.
    ///
    /// # Errors
    ///
    /// Gives it back when the queue is full: datagrams may be lost anyway, so the endpoint decides what to do.
    pub fn transmit(&mut self, transmit: Transmit) -> Result<(), Transmit> {
        if self.transmits.len() >= self.capacity {
            return Err(transmit);
        }
        self.transmits.push_back(transmit);
        Ok(())
    }

    /// Asks to send what is queued, then close the socket. Only [`closed`](Endpoint::closed) is called after this.
    pub fn close(&mut self) {
        *self.closing = true;
    }
}
