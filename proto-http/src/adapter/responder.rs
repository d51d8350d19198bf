//! The handle by which a handler answers.

use core::fmt;
use std::time::Instant;

use bytes::Bytes;
use protocol::{Cx, FilePiece};

use super::server::Core;
use super::{Backend, clock};
use crate::state::State;
use crate::{AnyFields, FieldLines, Misuse, Status};

/// The answer to the current request, and the facts about the connection that its handler may use.
///
/// The responder writes `Date`, `Connection`, `Content-Length` and `Transfer-Encoding` itself. Content may also be given for
/// a HEAD request or a status without content: the content is counted and left out.
///
/// Every method that writes returns [`Misuse`], with nothing written, if the data may not be sent, or not now.
#[derive(Debug)]
pub struct Responder<'a, 'c> {
    exchange: Exchange<'a, 'c>,
}

/// The exchange that the answer belongs to.
enum Exchange<'a, 'c> {
    /// An exchange of an HTTP/1.1 connection.
    One { core: &'a mut Core, cx: &'a mut Cx<'c> },
    /// An exchange of another codec.
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

    /// Sends a whole answer whose `body` is shared instead of copied, unless the body is small.
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

    /// Starts an answer whose content follows with [`write`](Self::write) and ends with [`finish`](Self::finish). A `length`
    /// is announced, also in answers to HEAD and in a 304; without a `length`, the content is sent in chunks. The status is
    /// a number, or that of a received [`Response`](crate::Response), whose reason phrase is passed on.
    ///
    /// If the client waits for `100 Continue`, a 100 is sent first, unless it is [withheld](Self::withhold_continue).
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

    /// Sends some content of a started answer, shared instead of copied, unless the content is small.
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

    /// Sends some content of a started answer from a file, which the driver sends or reads when the content is due: see
    /// [`FilePiece`]. A long piece makes the connection [congested](Self::is_congested) until most of it is sent.
    ///
    /// If the file is then shorter than `file` says, the connection ends, so that the client cannot take what it has received for a
    /// complete answer.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::NoSpace`] for more bytes than memory has addresses.
    pub fn write_file(&mut self, file: FilePiece) -> Result<(), Misuse> {
        let (core, cx) = match &mut self.exchange {
            Exchange::One { core, cx } => (core, cx),
            Exchange::Other(backend) => return backend.write_file(file),
        };
        let length = usize::try_from(file.len()).map_err(|_| Misuse::NoSpace)?;
        if core.connection.begin_data(length, cx.output().tail())? {
            cx.output().push_file(file);
            core.connection.end_data(cx.output().tail())?;
        }
        Ok(())
    }

    /// Ends a started answer.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::BodyTooShort`] if less content was sent than announced.
    pub fn finish(&mut self) -> Result<(), Misuse> {
        self.finish_with(&())
    }

    /// Ends a started answer with trailer fields (RFC 9110 section 6.5). A client gets them only if the answer is sent in
    /// chunks.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::TrailersNeedChunks`] if a length was announced.
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

    /// Sends the 100 to a client that waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1). The server does this
    /// itself when the handler has seen the request, has neither answered it nor paused the body, and has not
    /// [withheld](Self::withhold_continue) the 100.
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

    /// Makes the handler responsible for the 100 that the client waits for: by [`proceed`](Self::proceed), or by an
    /// [`inform`](Self::inform) of 100. If the client sends content all the same, the content is read. For a proxy, which passes on the 100
    /// of the server behind it (RFC 9110 section 10.1.1). Call this in [`request`](super::Handler::request).
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

    /// Answers 101 with `fields`, among them the chosen `Upgrade`. After the handler has returned, its
    /// [`switched`](super::Handler::switched) returns the protocol that takes over the connection.
    ///
    /// # Errors
    ///
    /// See the type; [`Misuse::SwitchUnasked`] if the client asked for no upgrade: if the handler returns this error, the
    /// client gets a 400 that says so. [`Misuse::CannotSwitch`] if the server was not made by
    /// [`Server::switching`](super::Server::switching).
    pub fn upgrade(&mut self, fields: &(impl FieldLines + ?Sized)) -> Result<(), Misuse> {
        self.switch(101, fields)
    }

    /// Answers a CONNECT with 200 and `fields`, and hands the connection over as [`upgrade`](Self::upgrade) does.
    ///
    /// # Errors
    ///
    /// Those of [`upgrade`](Self::upgrade); [`Misuse::SwitchUnasked`] if the request was not a CONNECT.
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

    /// Makes this answer the last of the connection. Its head says so if the head is not yet sent.
    pub fn close(&mut self) {
        match &mut self.exchange {
            Exchange::One { core, .. } => core.connection.close_after(),
            Exchange::Other(backend) => backend.close(),
        }
    }

    /// Aborts the answer, so that the client cannot take the received part for a complete answer: for a handler whose own
    /// source has failed. Ends the connection, or over HTTP/2 the stream; the handler is [`closed`](super::Handler::closed)
    /// as unanswered.
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

    /// Whether the answer is still due.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        match &self.exchange {
            Exchange::One { core, .. } => core.connection.can_respond(),
            Exchange::Other(backend) => backend.is_due(),
        }
    }

    /// Whether the answer is started and not finished.
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
