//! How a handler answers.

use std::time::Instant;

use bytes::Bytes;
use protocol::Cx;

use super::server::Core;
use crate::{Bulk, Encoder, Event, Misuse, Null, PreparedPush, Value, Version};

/// The reply to the command under way, pushes, and what a handler may know of the connection.
///
/// A reply is one item: a string, or an aggregate and then its elements, one call each, in one call of the handler or in
/// several. What RESP2 has no type for is turned into what it has, as [`Encoder`] says.
///
/// Every method that writes returns [`Misuse`], with nothing written, for what may not be sent or not now.
#[derive(Debug)]
pub struct Responder<'a, 'c> {
    core: &'a mut Core,
    cx: &'a mut Cx<'c>,
}

macro_rules! shorthands {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) => $event:expr;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// See the type.
            #[inline]
            pub fn $name(&mut self, $($argument: $type),*) -> Result<(), Misuse> {
                self.event(&$event)
            }
        )*
    };
}

impl<'a, 'c> Responder<'a, 'c> {
    #[inline]
    pub(super) fn new(core: &'a mut Core, cx: &'a mut Cx<'c>) -> Self {
        Self { core, cx }
    }

    shorthands! {
        /// Replies a simple string, which has no line breaks, such as `OK`.
        simple(text: &str) => Event::Simple(text.as_bytes());
        /// Replies an error: a code such as `ERR`, a space, and what is wrong, without line breaks.
        error(text: &str) => Event::Error(text.as_bytes());
        /// Replies an integer.
        integer(value: i64) => Event::Integer(value);
        /// Replies a double.
        double(value: f64) => Event::Double(value);
        /// Replies a boolean.
        boolean(value: bool) => Event::Boolean(value);
        /// Replies a null, which in RESP2 is one of a string.
        null() => Event::Null(Null::Null);
        /// Replies a bulk string, which is copied.
        bulk(bytes: &[u8]) => Event::Bulk(Bulk::String, bytes);
        /// Replies a verbatim string of an encoding such as `txt`.
        verbatim(encoding: [u8; 3], text: &[u8]) => Event::Bulk(Bulk::Verbatim(encoding), text);
        /// Replies an array of so many elements, which follow.
        array(len: u32) => Event::Begin { kind: crate::Aggregate::Array, len: Some(len) };
        /// Replies a map of so many pairs, which follow, each key in front of its value.
        map(len: u32) => Event::Begin { kind: crate::Aggregate::Map, len: Some(len) };
        /// Replies a set of so many elements, which follow.
        set(len: u32) => Event::Begin { kind: crate::Aggregate::Set, len: Some(len) };
    }

    /// Replies a null, which in RESP2 is one of an array.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn null_array(&mut self) -> Result<(), Misuse> {
        self.core.connection.writer.null_array(self.cx.output().tail())
    }

    /// Replies a bulk string that is shared, not copied, unless it is small.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn shared(&mut self, bytes: Bytes) -> Result<(), Misuse> {
        let writer = &mut self.core.connection.writer;
        if !writer.due {
            return Err(Misuse::NotDue);
        }
        let out = self.cx.output();
        writer.core.bulk_header(bytes.len(), out.tail())?;
        writer.due = !writer.core.is_between();
        out.push(bytes);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Replies any event.
    ///
    /// # Errors
    ///
    /// See the type.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>) -> Result<(), Misuse> {
        self.core.connection.writer.event(event, self.cx.output().tail())
    }

    /// Replies a value.
    ///
    /// # Errors
    ///
    /// See the type. Where a part of the value fails, the reply cannot go on.
    pub fn value(&mut self, value: &Value) -> Result<(), Misuse> {
        self.core.connection.writer.value(value, self.cx.output().tail())
    }

    /// The command gets no reply, or none besides pushes: SUBSCRIBE and its like.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn none(&mut self) -> Result<(), Misuse> {
        self.core.connection.writer.none()
    }

    /// Sends push data, at any time but inside of a reply.
    ///
    /// # Errors
    ///
    /// See [`ReplyWriter::push`](crate::ReplyWriter::push).
    pub fn push(
        &mut self,
        write: impl FnOnce(&mut Encoder, &mut bytes::BytesMut) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        self.core.connection.writer.push(self.cx.output().tail(), write)
    }

    /// Sends push data that was encoded before, for many connections, which share its bytes unless they are few.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unfinished`] inside of a reply.
    pub fn prepared_push(&mut self, push: &PreparedPush) -> Result<(), Misuse> {
        let writer = &self.core.connection.writer;
        if writer.is_open() {
            return Err(Misuse::Unfinished);
        }
        let bytes = push.bytes(writer.version()).clone();
        self.cx.output().push(bytes);
        Ok(())
    }

    /// Which version is spoken.
    #[must_use]
    pub fn version(&self) -> Version {
        self.core.connection.writer.version()
    }

    /// Whether a reply is to be given, or what is left of one.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.core.connection.writer.is_due()
    }

    /// Whether a reply has begun and not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.core.connection.writer.is_open()
    }

    /// Whether the client has said who it is, and [`Handler::authenticate`](super::Handler::authenticate) agreed.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.core.authenticated
    }

    /// Whether so much output waits that a long reply should stop until [`drained`](super::Handler::drained), and pushes
    /// might be left out.
    #[inline]
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.cx.is_congested()
    }

    /// Closes the connection when the reply under way is complete. No more commands are read.
    pub fn close(&mut self) {
        self.core.closing = true;
    }

    /// Resets the connection.
    pub fn abort(&mut self) {
        self.cx.abort();
    }

    /// The time of this call.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.cx.now()
    }
}
