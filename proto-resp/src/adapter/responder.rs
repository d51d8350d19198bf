//! The handle by which a handler answers.

use std::time::Instant;

use bytes::Bytes;
use protocol::Cx;

use super::server::Core;
use crate::{Bulk, Encoder, Event, Misuse, Null, PreparedPush, Value, Version};

/// The reply to the current command, pushes, and the facts about the connection that a handler may use.
///
/// A reply is one item: a string, or an aggregate followed by its elements, one call each, in one call of the handler or in several. Types
/// that RESP2 lacks are converted; see [`Encoder`].
///
/// Every method that writes returns [`Misuse`], with nothing written, if the data may not be sent, or not now.
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
        /// Replies with a simple string, without line breaks, such as `OK`.
        simple(text: &str) => Event::Simple(text.as_bytes());
        /// Replies with an error: a code such as `ERR`, a space, and a message, without line breaks.
        error(text: &str) => Event::Error(text.as_bytes());
        /// Replies with an integer.
        integer(value: i64) => Event::Integer(value);
        /// Replies with a double.
        double(value: f64) => Event::Double(value);
        /// Replies with a boolean.
        boolean(value: bool) => Event::Boolean(value);
        /// Replies with a null. In RESP2, this is a null string.
        null() => Event::Null(Null::Null);
        /// Replies with a bulk string, which is copied.
        bulk(bytes: &[u8]) => Event::Bulk(Bulk::String, bytes);
        /// Replies with a verbatim string in an encoding such as `txt`.
        verbatim(encoding: [u8; 3], text: &[u8]) => Event::Bulk(Bulk::Verbatim(encoding), text);
        /// Begins a reply with an array of this many elements, which follow.
        array(len: u32) => Event::Begin { kind: crate::Aggregate::Array, len: Some(len) };
        /// Begins a reply with a map of this many pairs, which follow, each key before its value.
        map(len: u32) => Event::Begin { kind: crate::Aggregate::Map, len: Some(len) };
        /// Begins a reply with a set of this many elements, which follow.
        set(len: u32) => Event::Begin { kind: crate::Aggregate::Set, len: Some(len) };
    }

    /// Replies with a null. In RESP2, this is a null array.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn null_array(&mut self) -> Result<(), Misuse> {
        self.core.connection.writer.null_array(self.cx.output().tail())
    }

    /// Replies with a bulk string that is shared instead of copied, unless it is small.
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

    /// Replies with any event.
    ///
    /// # Errors
    ///
    /// See the type.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>) -> Result<(), Misuse> {
        self.core.connection.writer.event(event, self.cx.output().tail())
    }

    /// Replies with a value.
    ///
    /// # Errors
    ///
    /// See the type. If a part of the value fails, the reply cannot go on.
    pub fn value(&mut self, value: &Value) -> Result<(), Misuse> {
        self.core.connection.writer.value(value, self.cx.output().tail())
    }

    /// Ends the command without a reply, or with pushes only: for SUBSCRIBE and similar commands.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn none(&mut self) -> Result<(), Misuse> {
        self.core.connection.writer.none()
    }

    /// Sends push data, at any time except inside a reply.
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

    /// Sends push data that was encoded before for many connections. The connections share its bytes, unless there are few bytes.
    ///
    /// # Errors
    ///
    /// [`Misuse::Unfinished`] inside a reply.
    pub fn prepared_push(&mut self, push: &PreparedPush) -> Result<(), Misuse> {
        let writer = &self.core.connection.writer;
        if writer.is_open() {
            return Err(Misuse::Unfinished);
        }
        let bytes = push.bytes(writer.version()).clone();
        self.cx.output().push(bytes);
        Ok(())
    }

    /// The version of RESP in use.
    #[must_use]
    pub fn version(&self) -> Version {
        self.core.connection.writer.version()
    }

    /// Whether a reply, or the rest of one, is due.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.core.connection.writer.is_due()
    }

    /// Whether a reply has begun and is not complete.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.core.connection.writer.is_open()
    }

    /// Whether the client has authenticated successfully; see [`Handler::authenticate`](super::Handler::authenticate).
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.core.authenticated
    }

    /// Whether so much output waits that a long reply should stop until [`drained`](super::Handler::drained). Consider dropping pushes
    /// meanwhile.
    #[inline]
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.cx.is_congested()
    }

    /// Closes the connection when the current reply is complete. No more commands are read.
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
