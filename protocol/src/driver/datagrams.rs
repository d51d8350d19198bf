//! The rules of one datagram socket, as a state machine.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use crate::{Datagram, Endpoint, EndpointCx, Reason, Transmit};

/// An [`Endpoint`] and its queued datagrams: the counterpart of [`Connection`](super::Connection) for datagrams.
///
/// A driver reports an event, then sends each transmit that [`next`](Datagrams::next) returns and calls
/// [`sent`](Datagrams::sent) after it, until there is none or the socket takes no more.
#[derive(Debug)]
pub struct Datagrams<E> {
    endpoint: E,
    transmits: VecDeque<Transmit>,
    capacity: usize,
    closing: bool,
    reason: Reason,
    over: bool,
}

impl<E: Endpoint> Datagrams<E> {
    /// An endpoint whose socket is not yet bound. At most `capacity` transmits may wait.
    pub fn new(endpoint: E, capacity: usize) -> Self {
        Datagrams {
            endpoint,
            transmits: VecDeque::new(),
            capacity,
            closing: false,
            reason: Reason::Closed,
            over: false,
        }
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &E {
        &self.endpoint
    }

    /// The time at which [`timeout`](Datagrams::timeout) must be called.
    pub fn deadline(&self) -> Option<Instant> {
        if self.closing || self.over {
            None
        } else {
            self.endpoint.deadline()
        }
    }

    /// Whether the endpoint has ended, and why; [`Endpoint::closed`] has been called.
    pub fn ended(&self) -> Option<Reason> {
        self.over.then_some(self.reason)
    }

    /// The socket is bound.
    pub fn opened(&mut self, now: Instant) {
        self.call(now, E::opened);
    }

    /// A datagram has come.
    pub fn received(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.call(now, |endpoint, cx| endpoint.received(cx, datagram));
    }

    /// The time of [`deadline`](Datagrams::deadline) may have passed. Call this when the time has come; an early call does
    /// nothing.
    pub fn timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.call(now, E::timeout);
        }
    }

    /// A message for the endpoint. It is dropped if the endpoint is closing.
    pub fn posted(&mut self, now: Instant, message: E::Message) {
        self.call(now, |endpoint, cx| endpoint.posted(cx, message));
    }

    /// The driver stops: queued transmits are sent, then the endpoint ends.
    pub fn stop(&mut self) {
        if !self.closing {
            self.closing = true;
            self.reason = Reason::Stopped;
        }
        self.settle();
    }

    /// The socket has failed.
    pub fn failed(&mut self, kind: io::ErrorKind) {
        if self.over {
            return;
        }
        self.reason = Reason::Io(kind);
        self.closing = true;
        self.transmits.clear();
        self.settle();
    }

    /// The next transmit to send.
    pub fn next(&self) -> Option<&Transmit> {
        self.transmits.front()
    }

    /// The transmit that [`next`](Datagrams::next) returned was sent, or given up: datagrams may be lost.
    pub fn sent(&mut self) {
        self.transmits.pop_front();
        self.settle();
    }

    fn call(&mut self, now: Instant, event: impl FnOnce(&mut E, &mut EndpointCx<'_>) -> Result<(), E::Error>) {
        if self.closing || self.over {
            return;
        }
        let mut cx = EndpointCx::new(now, &mut self.transmits, self.capacity, &mut self.closing);
        if event(&mut self.endpoint, &mut cx).is_err() {
            self.reason = Reason::Error;
            self.closing = true;
        }
        self.settle();
    }

    /// Ends once everything is sent.
    fn settle(&mut self) {
        if self.closing && self.transmits.is_empty() && !self.over {
            self.over = true;
            self.endpoint.closed(self.reason);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    /// A test endpoint that answers each datagram twice, closes at `!`, and fails at `?`.
    #[derive(Default)]
    struct Twice {
        refused: usize,
        deadline: Option<Instant>,
        closed: Vec<Reason>,
    }

    impl Endpoint for Twice {
        type Message = SocketAddr;
        type Error = std::fmt::Error;

        fn received(&mut self, cx: &mut EndpointCx<'_>, datagram: Datagram<'_>) -> Result<(), Self::Error> {
            let payload = Bytes::copy_from_slice(datagram.payload);
            for _ in 0..2 {
                let transmit = Transmit {
                    to: datagram.from,
                    payload: payload.clone(),
                    segment_size: None,
                    ecn: None,
                };
                self.refused += usize::from(cx.transmit(transmit).is_err());
            }
            self.deadline = Some(cx.now() + Duration::from_secs(1));
            match &payload[..] {
                b"!" => cx.close(),
                b"?" => return Err(std::fmt::Error),
                _ => {}
            }
            Ok(())
        }

        fn deadline(&self) -> Option<Instant> {
            self.deadline
        }

        fn timeout(&mut self, _: &mut EndpointCx<'_>) -> Result<(), Self::Error> {
            self.deadline = None;
            Ok(())
        }

        fn closed(&mut self, reason: Reason) {
            self.closed.push(reason);
        }
    }

    fn show(datagrams: &mut Datagrams<Twice>, now: Instant, payload: &[u8]) {
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        datagrams.received(now, Datagram::new(from, &mut payload.to_vec()));
    }

    #[test]
    fn the_queue_is_bounded_and_sent_before_the_end() {
        let now = Instant::now();
        for (last, reason) in [(b"!", Reason::Closed), (b"?", Reason::Error)] {
            let mut datagrams = Datagrams::new(Twice::default(), 3);
            show(&mut datagrams, now, b"a");
            show(&mut datagrams, now, last);
            assert_eq!(datagrams.endpoint().refused, 1);
            show(&mut datagrams, now, b"late");
            let mut sent = Vec::new();
            while let Some(transmit) = datagrams.next() {
                assert_eq!(datagrams.ended(), None);
                sent.push(transmit.payload.clone());
                datagrams.sent();
            }
            assert_eq!(sent, [&b"a"[..], b"a", last]);
            assert_eq!(datagrams.ended(), Some(reason));
            datagrams.stop();
            assert_eq!(datagrams.endpoint().closed, [reason]);
        }
    }

    #[test]
    fn deadlines_fire_once_reached() {
        let now = Instant::now();
        let mut datagrams = Datagrams::new(Twice::default(), 8);
        show(&mut datagrams, now, b"a");
        let deadline = datagrams.deadline().unwrap();
        datagrams.timeout(now);
        assert_eq!(datagrams.deadline(), Some(deadline));
        datagrams.timeout(deadline);
        assert_eq!(datagrams.deadline(), None);
    }

    #[test]
    fn a_failed_socket_ends_it_at_once() {
        let mut datagrams = Datagrams::new(Twice::default(), 8);
        show(&mut datagrams, Instant::now(), b"a");
        datagrams.failed(io::ErrorKind::NetworkDown);
        assert_eq!(datagrams.ended(), Some(Reason::Io(io::ErrorKind::NetworkDown)));
        assert!(datagrams.next().is_none());
        // The reported reason stays the same.
        datagrams.failed(io::ErrorKind::TimedOut);
        datagrams.stop();
        assert_eq!(datagrams.ended(), Some(datagrams.endpoint().closed[0]));
        assert_eq!(datagrams.endpoint().closed.len(), 1);
    }
}
