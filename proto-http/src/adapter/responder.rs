//! How a handler answers.

use core::fmt;
use std::time::Instant;

use bytes::Bytes;
use protocol::Cx;

use super::server::Core;
use super::{Backend, clock};
use crate::state::State;
use crate::{AnyFields, FieldLines, Misuse, Status};

/// The answer to the request under way, and what its handler may know of the connection.
///
/// `Date`, `Connection`, `Content-Length` and `Transfer-Encoding` are written for you. To a HEAD request, and with a status that has
/// no content, content may be given all the same: it is counted and left out.
///
/// Every method that writes returns [`Misuse`], with nothing written, for what may not be sent or not now.
#[derive(Debug)]
pub struct Responder<'a, 'c> {
    exchange: Exchange<'a, 'c>,
}

/// Whose answer it is.
enum Exchange<'a, 'c> {
    /// That of a connection of HTTP/1.1.
    One { core: &'a mut Core, cx: &'a mut Cx<'c> },
    /// That of another codec.
    Other(&'a mut dyn Backend),
}

impl fmt::Debug for Exchange<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exchange::One { core, .. } => core.fmt(f),
            Exchange::Other(_) => f.write_str("Other"),
        }
    }
}

impl<'a, 'c> Responder<'a, 'c> {
    #[inline]
    pub(super) fn new(core: &'a mut Core, cx: &'a mut Cx<'c>) -> Self {
        let exchange = Exchange::One { core, cx };
        Self { exchange }
    }

    /// For codecs of other versions.
    #[doc(hidden)]
    #[inline]
    pub fn over(backend: &'a mut dyn Backend) -> Self {
        let exchange = Exchange::Other(backend);
        Self { exchange }
    }

    /// Sends a whole answer: head and `body`, which is copied.
    ///
    /// # Errors
    ///
    /// See the type.
    #[inline]
    pub fn send(&mut self, status: u16, fields: &(impl FieldLines + ?Sized), body: &[u8]) -> Result<(), Misuse> {
        let (core, cx) = match &mut self.exchange {
            Exchange::One { core, cx } => (core, cx),
            Exchange::Other(backend) => return backend.send(status, &fields as &dyn AnyFields, body),
        };
        core.before_whole_answer();
        let date = core.config.date.map(|clock| clock::date(clock, cx.now()));
        let out = cx.output().tail();
        core.connection.respond(status, fields, body, date.as_ref(), out)
    }

    /// Sends a whole answer whose `body` is shared, not copied, unless it is small.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn send_shared(&mut self, status: u16, fields: &(impl FieldLines + ?Sized), body: Bytes) -> Result<(), Misuse> {
        match &mut self.exchange {
            Exchange::One { core, .. } => core.before_whole_answer(),
            Exchange::Other(backend) => return backend.send_shared(status, &fields, body),
        }
        self.head(status.into(), fields, Some(body.len() as u64))?;
        self.write_shared(body)?;
        self.finish()
    }

    /// Starts an answer whose content follows with [`write`](Self::write) and ends with [`finish`](Self::finish). With a `length` it
    /// is announced, in answers to HEAD and in a 304 too; without, the content goes out in chunks. The status is a number, or that of
    /// a received [`Response`](crate::Response), whose reason phrase is passed on.
    ///
    /// A client that waits for `100 Continue` is told to continue first, since the status is decided, unless that is
    /// [withheld](Self::withhold_continue).
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn start<'s>(
        &mut self,
        status: impl Into<Status<'s>>,
        fields: &(impl FieldLines + ?Sized),
        length: Option<u64>,
    ) -> Result<(), Misuse> {
        let status = status.into();
        if matches!(status.code(), 200..300) && !self.withholds_continue() {
            self.proceed()?;
        }
        self.head(status, fields, length)
    }

    fn head(
        &mut self,
        status: Status<'_>,
        fields: &(impl FieldLines + ?Sized),
        length: Option<u64>,
    ) -> Result<(), Misuse> {
        let (core, cx) = match &mut self.exchange {
            Exchange::One { core, cx } => (core, cx),
            Exchange::Other(backend) => return backend.start(status, &fields, length),
        };
        let date = core.config.date.map(|clock| clock::date(clock, cx.now()));
        let out = cx.output().tail();
        core.connection
            .send_response(status, fields, length, date.as_ref(), out)
    }

    /// Sends some content of a started answer. It is copied.
    ///
    /// # Errors
    ///
    /// See the type.
    #[inline]
    pub fn write(&mut self, data: &[u8]) -> Result<(), Misuse> {
        match &mut self.exchange {
            Exchange::One { core, cx } => core.connection.send_data(data, cx.output().tail()),
            Exchange::Other(backend) => backend.write(data),
        }
    }

    /// Sends some content of a started answer, shared, not copied, unless it is small.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn write_shared(&mut self, data: Bytes) -> Result<(), Misuse> {
        let (core, cx) = match &mut self.exchange {
            Exchange::One { core, cx } => (core, cx),
            Exchange::Other(backend) => return backend.write_shared(data),
        };
        if core.connection.begin_data(data.len(), cx.output().tail())? {
            cx.output().push(data);
            core.connection.end_data(cx.output().tail())?;
        }
        Ok(())
    }

    /// Ends a started answer.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::BodyTooShort`] where less content was sent than announced.
    pub fn finish(&mut self) -> Result<(), Misuse> {
        self.finish_with(&())
    }

    /// Ends a started answer with trailer fields (RFC 9110 section 6.5), which a client gets only where the answer goes out in chunks.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::TrailersNeedChunks`] where a length was announced.
    pub fn finish_with(&mut self, trailers: &(impl FieldLines + ?Sized)) -> Result<(), Misuse> {
        match &mut self.exchange {
            Exchange::One { core, cx } => core.connection.finish(trailers, cx.output().tail()),
            Exchange::Other(backend) => backend.finish(&trailers),
        }
    }

    /// Sends an informational response, such as 103 (RFC 8297), before the answer.
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn inform(&mut self, status: u16, fields: &(impl FieldLines + ?Sized)) -> Result<(), Misuse> {
        match &mut self.exchange {
            Exchange::One { core, cx } => core.connection.send_informational(status, fields, cx.output().tail()),
            Exchange::Other(backend) => backend.inform(status, &fields),
        }
    }

    /// Tells a client that waits for it to send its body (RFC 9110 section 10.1.1). Done for you when the handler has seen the
    /// request, has not answered it and has not paused the body, unless it is [withheld](Self::withhold_continue).
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn proceed(&mut self) -> Result<(), Misuse> {
        let expected = match &self.exchange {
            Exchange::One { core, .. } => core.connection.expects_continue(),
            Exchange::Other(backend) => backend.expects_continue(),
        };
        if expected { self.inform(100, &()) } else { Ok(()) }
    }

    /// Leaves it to the handler to tell a client that waits for `100 Continue` to continue: by [`proceed`](Self::proceed), or by an
    /// [`inform`](Self::inform) of 100. Content that such a client sends all the same is read. For a proxy, which passes on the 100 of the
    /// server behind it (RFC 9110 section 10.1.1). Call this in [`request`](super::Handler::request).
    pub fn withhold_continue(&mut self) {
        match &mut self.exchange {
            Exchange::One { core, .. } => core.connection.withhold_continue(),
            Exchange::Other(backend) => backend.withhold_continue(),
        }
    }

    fn withholds_continue(&self) -> bool {
        match &self.exchange {
            Exchange::One { core, .. } => core.connection.withholds_continue(),
            Exchange::Other(backend) => backend.withholds_continue(),
        }
    }

    /// Answers 101 with `fields`, among them the `Upgrade` chosen. When the handler has returned, its
    /// [`switched`](super::Handler::switched) is asked for the protocol that takes over the connection.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::SwitchUnasked`] where the client asked for no upgrade: a handler that returns this error has the client
    /// get a 400 that says so. [`Misuse::CannotSwitch`] where the server was not made by
    /// [`Server::switching`](super::Server::switching).
    pub fn upgrade(&mut self, fields: &(impl FieldLines + ?Sized)) -> Result<(), Misuse> {
        self.switch(101, fields)
    }

    /// Answers a CONNECT with 200 and `fields`, and hands the connection over as [`upgrade`](Self::upgrade) does.
    ///
    /// # Errors
    ///
    /// Those of [`upgrade`](Self::upgrade); [`Misuse::SwitchUnasked`] where the request was no CONNECT.
    pub fn tunnel(&mut self, fields: &(impl FieldLines + ?Sized)) -> Result<(), Misuse> {
        self.switch(200, fields)
    }

    fn switch(&mut self, status: u16, fields: &(impl FieldLines + ?Sized)) -> Result<(), Misuse> {
        let (core, cx) = match &mut self.exchange {
            Exchange::One { core, cx } => (core, cx),
            Exchange::Other(backend) if status == 101 => return backend.upgrade(&fields),
            Exchange::Other(backend) => return backend.tunnel(&fields),
        };
        if !core.can_switch {
            return Err(Misuse::CannotSwitch);
        }
        core.connection.switch(status, fields, cx.output().tail())
    }

    /// Stops (`true`) or resumes (`false`) the content of the request, for a handler that cannot keep up.
    pub fn pause(&mut self, pause: bool) {
        match &mut self.exchange {
            Exchange::One { core, .. } => core.paused_by_handler = pause,
            Exchange::Other(backend) => backend.pause(pause),
        }
    }

    /// Makes this answer the last of the connection. Its head says so if it is not yet sent.
    pub fn close(&mut self) {
        match &mut self.exchange {
            Exchange::One { core, .. } => core.connection.close_after(),
            Exchange::Other(backend) => backend.close(),
        }
    }

    /// Breaks the answer off, so that the client cannot take for complete what has come of it: for a handler whose own source has
    /// failed. The connection ends, over HTTP/2 the stream; the handler is [`closed`](super::Handler::closed) as unanswered.
    #[cold]
    pub fn abort(&mut self) {
        match &mut self.exchange {
            Exchange::One { core, cx } => core.abort(cx),
            Exchange::Other(backend) => backend.abort(),
        }
    }

    /// Whether so much output waits that a streamed answer should stop until [`drained`](super::Handler::drained).
    #[inline]
    #[must_use]
    pub fn is_congested(&self) -> bool {
        match &self.exchange {
            Exchange::One { cx, .. } => cx.is_congested(),
            Exchange::Other(backend) => backend.is_congested(),
        }
    }

    /// The time of this call.
    #[must_use]
    pub fn now(&self) -> Instant {
        match &self.exchange {
            Exchange::One { cx, .. } => cx.now(),
            Exchange::Other(backend) => backend.now(),
        }
    }

    /// Whether the answer is still to be given.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        match &self.exchange {
            Exchange::One { core, .. } => core.connection.can_respond(),
            Exchange::Other(backend) => backend.is_due(),
        }
    }

    /// Whether the answer is under way: started, and not finished.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.exchange {
            Exchange::One { core, .. } => core.connection.response_state() == State::Body,
            Exchange::Other(backend) => backend.is_open(),
        }
    }

    /// The Date that an answer sent now carries, for fields such as Last-Modified.
    #[must_use]
    pub fn date(&self) -> Option<[u8; crate::DATE_LENGTH]> {
        match &self.exchange {
            Exchange::One { core, cx } => core.config.date.map(|clock| clock::date(clock, cx.now())),
            Exchange::Other(backend) => backend.date(),
        }
    }
}
