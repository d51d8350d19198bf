//! The handle by which a handler answers.

use alloc::boxed::Box;
use std::time::Instant;

use bytes::Bytes;
use protocol::Cx;

use super::session::Session;
use crate::{CloseCode, Kind, Message, Misuse, PreparedMessage, Side, SlowConsumer, State, Unmasked};

/// The fate of a message that the handler sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The message is in the output.
    Queued,
    /// The peer is slow: the message is kept until the output has drained, and replaces the one kept before.
    Kept,
    /// The peer is slow: the message is dropped and counted.
    Dropped,
}

/// One connection, borrowed by its handler for one call.
#[derive(Debug)]
pub struct Socket<'a, 'c, S = Unmasked> {
    session: &'a mut Session<S>,
    cx: &'a mut Cx<'c>,
}

impl<'a, 'c, S: Side> Socket<'a, 'c, S> {
    #[inline]
    pub(super) fn new(session: &'a mut Session<S>, cx: &'a mut Cx<'c>) -> Self {
        Socket { session, cx }
    }

    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closed`] once a Close frame was sent, [`Misuse::MessageUnfinished`] between two parts of a message.
    #[inline]
    pub fn text(&mut self, text: &str) -> Result<Delivery, Misuse> {
        self.message(Message::Text(text))
    }

    /// Sends a binary message, copying `bytes`.
    ///
    /// # Errors
    ///
    /// See [`text`](Self::text).
    #[inline]
    pub fn binary(&mut self, bytes: &[u8]) -> Result<Delivery, Misuse> {
        self.message(Message::Binary(bytes))
    }

    /// Sends a message, copying it. [`SlowConsumer`] says how the message is treated when the peer is slow.
    ///
    /// # Errors
    ///
    /// See [`text`](Self::text).
    #[inline]
    pub fn message(&mut self, message: Message<'_>) -> Result<Delivery, Misuse> {
        if self.is_slow() {
            return self.slow(|| PreparedMessage::new(message));
        }
        self.session.writer.message(self.cx.output().tail(), message)?;
        Ok(Delivery::Queued)
    }

    /// Sends a binary message, without a copy if the frame allows that: a client must mask, and compression writes new
    /// bytes.
    ///
    /// # Errors
    ///
    /// See [`text`](Self::text).
    pub fn shared(&mut self, bytes: Bytes) -> Result<Delivery, Misuse> {
        if self.is_slow() {
            return self.slow(|| PreparedMessage::binary(&bytes));
        }
        match self.session.writer.header(Kind::Binary, bytes.len())? {
            None => self.session.writer.binary(self.cx.output().tail(), &bytes)?,
            Some(header) => {
                self.cx.send(&header);
                self.cx.output().push(bytes);
            }
        }
        Ok(Delivery::Queued)
    }

    /// Sends a message that was encoded before, for many connections: the connections of a server share its bytes.
    ///
    /// # Errors
    ///
    /// See [`text`](Self::text).
    pub fn prepared(&mut self, message: &PreparedMessage) -> Result<Delivery, Misuse> {
        if self.is_slow() {
            return self.slow(|| message.clone());
        }
        let frame = self.session.writer.prepared(message)?;
        self.cx.output().push(frame);
        Ok(Delivery::Queued)
    }

    /// Sends the next part of a message as one frame. Parts are never dropped: check [`is_congested`](Self::is_congested),
    /// and continue in [`Handler::drained`](crate::Handler::drained).
    ///
    /// # Errors
    ///
    /// [`Misuse::Closed`]; [`Misuse::KindChanged`] if `part` is not of the first part's kind.
    pub fn part(&mut self, part: Message<'_>, last: bool) -> Result<(), Misuse> {
        self.session.writer.part(self.cx.output().tail(), part, last)
    }

    /// Sends a Ping.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closed`]; [`Misuse::ControlTooLong`] for more than 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Misuse> {
        self.session.writer.ping(self.cx.output().tail(), payload)
    }

    /// Begins the closing handshake. The peer's messages may still arrive until its Close frame.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closed`]; [`Misuse::CloseCode`] for a code that may not be sent; [`Misuse::ControlTooLong`] for a
    /// reason of more than 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Misuse> {
        self.session.writer.close(self.cx.output().tail(), code, reason)?;
        self.session.closing(self.cx.now());
        Ok(())
    }

    /// Resets the connection, without a Close frame and without waiting.
    pub fn abort(&mut self) {
        self.cx.abort();
    }

    /// Stops or resumes reading from the peer.
    pub fn pause(&mut self, pause: bool) {
        self.cx.pause(pause);
    }

    /// Whether more output waits than the driver's high-water mark allows.
    #[inline]
    pub fn is_congested(&self) -> bool {
        self.cx.is_congested()
    }

    /// The progress of the closing handshake.
    #[inline]
    pub fn state(&self) -> State {
        self.session.writer.state()
    }

    /// The number of messages dropped on this connection so far because the peer was too slow.
    pub fn dropped(&self) -> u32 {
        self.session.dropped
    }

    /// The time of this call.
    pub fn now(&self) -> Instant {
        self.cx.now()
    }

    /// Sends the message that was kept for a slow consumer.
    pub(super) fn send_latest(&mut self) {
        if let Some(latest) = self.session.latest.take()
            && let Ok(frame) = self.session.writer.prepared(&latest)
        {
            self.cx.output().push(frame);
        }
    }

    #[inline]
    fn is_slow(&self) -> bool {
        self.cx.is_congested() && self.session.writer.config().slow_consumer != SlowConsumer::Queue
    }

    #[cold]
    fn slow(&mut self, message: impl FnOnce() -> PreparedMessage) -> Result<Delivery, Misuse> {
        if self.state() != State::Open {
            return Err(Misuse::Closed);
        }
        match self.session.writer.config().slow_consumer {
            SlowConsumer::KeepLatest => {
                let before = self.session.latest.replace(Box::new(message()));
                self.session.dropped = self.session.dropped.saturating_add(before.is_some().into());
                return Ok(Delivery::Kept);
            }
            SlowConsumer::Close => self.close(CloseCode::TRY_AGAIN, "too slow")?,
            SlowConsumer::Skip | SlowConsumer::Queue => {}
        }
        self.session.dropped = self.session.dropped.saturating_add(1);
        Ok(Delivery::Dropped)
    }
}
