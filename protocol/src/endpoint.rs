//! Datagrams: one socket, many peers.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Instant;

use bytes::Bytes;

use crate::Reason;

/// One datagram socket as a state machine, the counterpart of [`Protocol`](crate::Protocol): the endpoint receives each
/// datagram with its sender's address, and answers with [`Transmit`]s. The rules of `Protocol` hold as far as they apply
/// without connections.
pub trait Endpoint {
    /// The type of messages from other threads; [`Infallible`](core::convert::Infallible) if there are none.
    type Message;
    /// Why the endpoint cannot go on.
    type Error: core::error::Error;

    /// The socket is bound. Called once, as the first call.
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
    /// As for [`opened`](Endpoint::opened). Do not fail on an invalid datagram: anyone can send one.
    fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Self::Error>;

    /// The time at which [`timeout`](Endpoint::timeout) must be called. Read after each call.
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

    /// The socket is gone. Called once, as the last call.
    fn closed(&mut self, reason: Reason) {
        let _ = reason;
    }
}

/// A received datagram. The payload is borrowed for the call and may be changed in place.
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// The address of the sender.
    pub from: SocketAddr,
    /// The local address that the datagram was sent to, if the driver asks the kernel for it.
    pub to: Option<IpAddr>,
    /// Its congestion mark.
    pub ecn: Option<Ecn>,
    /// The payload.
    pub payload: &'a mut [u8],
}

impl<'a> Datagram<'a> {
    /// A datagram from `from`, without a local address and a congestion mark.
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
    /// The destination.
    pub to: SocketAddr,
    /// The payload; with `segment_size`, of several datagrams end to end.
    pub payload: Bytes,
    /// Splits the payload into datagrams of this many bytes (the last may be shorter), in one system call if the kernel
    /// supports it.
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
    /// A context for one call at `now`. At most `capacity` transmits may wait.
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
    /// Returns the transmit when the queue is full. Datagrams may be lost anyway, so the endpoint decides what to do.
    pub fn transmit(&mut self, transmit: Transmit) -> Result<(), Transmit> {
        if self.transmits.len() >= self.capacity {
            return Err(transmit);
        }
        self.transmits.push_back(transmit);
        Ok(())
    }

    /// Asks to send the queued datagrams, then close the socket. Only [`closed`](Endpoint::closed) is called after this.
    pub fn close(&mut self) {
        *self.closing = true;
    }
}
