//! The server's side of a connection, without I/O: takes received bytes and answers, returns events and bytes to send.

use crate::body::BodyDecoder;
use crate::encode::{self, Buffer, FieldLines, ResponseLine, Sending, Status};
use crate::framing::Facts;
use crate::head::parse_request;
use crate::state::{Exchange, State};
use crate::{BodyLength, DATE_LENGTH, Fields, Misuse, Piece, Request, Rules, Version, Violation, ViolationKind};

/// The next event of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent<'a> {
    /// A request head. If its [`body`](Request::body) is empty, the request is complete.
    Request(Request<'a>),
    /// Some content of the request; never empty.
    Data(&'a [u8]),
    /// The end of a request that has a body, with its trailers.
    End(Fields<'a>),
    /// The request is complete and its answer is not, or another protocol has taken over the connection: nothing more is
    /// read.
    Paused,
    /// The client has closed between messages, or the connection must not be used any more.
    Closed,
}

/// The server's side of an HTTP/1.1 connection. It stores no input or output bytes.
///
/// Sorted by use: input ([`next`](Self::next), [`eof`](Self::eof)), output (`send_*`,
/// [`respond`](Self::respond), [`finish`](Self::finish), [`switch`](Self::switch)), getters. One exchange is under way at a time;
/// pipelined requests wait in the caller's input.
///
/// ```
/// use proto_http::{Rules, ServerConnection, ServerEvent};
///
/// let mut connection = ServerConnection::new();
/// let mut input: &[u8] = b"GET /hello HTTP/1.1\r\nHost: example.org\r\n\r\n";
/// let Some(ServerEvent::Request(request)) = connection.next(&Rules::DEFAULT, &mut input)? else { panic!() };
/// assert_eq!((request.method(), request.path()), ("GET", "/hello"));
///
/// let mut output = Vec::new();
/// connection.respond(200, &[("Content-Type", "text/plain")], b"hi", None, &mut output)?;
/// assert_eq!(output, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConnection {
    /// Between requests, its scanner looks for the end of the next head.
    body: BodyDecoder,
    sending: Sending,
    exchange: Exchange,
    /// [`Facts`] of the current request, and [`EOF`](Self::EOF).
    flags: u32,
}

impl ServerConnection {
    /// The facts that the answer depends on.
    const REQUEST: u32 = Facts::HEAD | Facts::CONNECT | Facts::HTTP10 | Facts::EXPECT_CONTINUE;
    /// The client has half-closed. No fact of a request has this bit.
    const EOF: u32 = 1 << 31;
    /// The caller sends the 100 itself. No fact of a request has this bit.
    const WITHHELD: u32 = 1 << 30;

    /// A connection before its first request.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            body: BodyDecoder::new(BodyLength::Empty),
            sending: Sending::Nothing,
            exchange: Exchange::new(),
            flags: 0,
        }
    }

    #[inline]
    const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Consumes and returns the next event of `input`; `None` if more bytes are needed: pass the bytes left in `input`
    /// again, with newer bytes after them.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the client broke the protocol. Answer with its status if [`can_respond`](Self::can_respond) returns
    /// true, then close; no event follows.
    #[inline(always)]
    pub fn next<'a>(&mut self, rules: &Rules, input: &mut &'a [u8]) -> Result<Option<ServerEvent<'a>>, Violation> {
        match self.exchange.request {
            State::Idle => self.next_request(rules, input),
            State::Body => self.next_piece(rules, input),
            State::Closed | State::Error => Ok(Some(ServerEvent::Closed)),
            _ => Ok(Some(ServerEvent::Paused)),
        }
    }

    #[inline(always)]
    fn next_request<'a>(&mut self, rules: &Rules, input: &mut &'a [u8]) -> Result<Option<ServerEvent<'a>>, Violation> {
        if input.is_empty() {
            if self.has(Self::EOF) {
                Exchange::close(&mut self.exchange.request);
                return Ok(Some(ServerEvent::Closed));
            }
            return Ok(None);
        }
        if !self.body.scanner.ready(input, &rules.limits) {
            return self.unfinished();
        }
        let Some((head, rest)) = parse_request(input, rules).map_err(|violation| self.fail(violation))? else {
            return self.unfinished();
        };
        if head.facts.is_plain() {
            self.flags &= Self::EOF;
            // The table allows this and the moves below: the exchange is idle.
            let _ = self.exchange.request_head(true, false, true);
        } else {
            self.begin(&head, rules)?;
        }
        *input = rest;
        Ok(Some(ServerEvent::Request(head)))
    }

    /// Begins a request that has a body, or a property that needs special treatment.
    #[inline(never)]
    fn begin(&mut self, head: &Request<'_>, rules: &Rules) -> Result<(), Violation> {
        let body = head.body();
        if let (BodyLength::Length(length), Some(limit)) = (body, rules.limits.body)
            && length > limit
        {
            return Err(self.fail(Violation::new(ViolationKind::BodyTooLarge, 0)));
        }
        self.flags = self.flags & Self::EOF | head.facts.flags(Self::REQUEST);
        self.body = BodyDecoder::new(body);
        let connect = head.facts.has(Facts::CONNECT);
        // Bytes after a refused CONNECT may be meant for the tunnel: they are never read as a request.
        let keep_alive = head.keep_alive() && !connect;
        let _ = self
            .exchange
            .request_head(body.is_empty(), connect || head.wants_upgrade(), keep_alive);
        Ok(())
    }

    /// The end of a body whose last byte has been consumed; `None` if more of the body must come.
    #[cfg(feature = "protocol")]
    pub(crate) fn end_of_body(&mut self, rules: &Rules) -> Result<Option<ServerEvent<'static>>, Violation> {
        self.next_piece(rules, &mut &[][..])
    }

    fn next_piece<'a>(&mut self, rules: &Rules, input: &mut &'a [u8]) -> Result<Option<ServerEvent<'a>>, Violation> {
        match self.body.next(input, rules).map_err(|violation| self.fail(violation))? {
            Some(Piece::Data(data)) => {
                // A client that sends its body no longer waits for a 100.
                self.flags &= !Facts::EXPECT_CONTINUE;
                Ok(Some(ServerEvent::Data(data)))
            }
            Some(Piece::End(trailers)) => {
                self.flags &= !Facts::EXPECT_CONTINUE;
                let _ = Exchange::end(&mut self.exchange.request);
                self.settle();
                Ok(Some(ServerEvent::End(trailers)))
            }
            None => self.unfinished(),
        }
    }

    fn unfinished<'a>(&mut self) -> Result<Option<ServerEvent<'a>>, Violation> {
        if self.has(Self::EOF) {
            return Err(self.fail(Violation::new(ViolationKind::Truncated, 0)));
        }
        Ok(None)
    }

    #[inline]
    fn settle(&mut self) {
        if self.exchange.settle() {
            self.body.scanner.reset();
        }
    }

    /// The request cannot be read further; its answer, if still due, is the last.
    #[cold]
    fn fail(&mut self, violation: Violation) -> Violation {
        self.give_up();
        violation
    }

    /// The request took too long: no event follows, and an answer, if still due, is the last.
    pub fn give_up(&mut self) {
        if self.exchange.request == State::Idle {
            self.flags &= Self::EOF;
            let _ = self.exchange.request_head(true, false, false);
        }
        self.exchange.last();
        Exchange::fail(&mut self.exchange.request);
    }

    /// The client has half-closed: no bytes follow those in the input. Call [`next`](Self::next) as before: requests that are still in the
    /// input follow, and then [`ServerEvent::Closed`]. If there is no more input, [`close_after`](Self::close_after) lets the answer say
    /// that it is the last.
    pub fn eof(&mut self) {
        self.flags |= Self::EOF;
    }

    /// Makes the current exchange the last: its answer, if not begun, says so.
    pub fn close_after(&mut self) {
        self.exchange.last();
        self.settle();
    }

    /// Appends an informational response: any 1xx status except 101. An HTTP/1.0 client gets none (RFC 9110 section 15.2).
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    pub fn send_informational(
        &mut self,
        status: u16,
        fields: &(impl FieldLines + ?Sized),
        out: &mut impl Buffer,
    ) -> Result<(), Misuse> {
        if !matches!(status, 100 | 102..200) {
            return Err(Misuse::Status);
        }
        if self.exchange.response != State::Respond {
            return Err(Misuse::OutOfTurn);
        }
        let facts = fields.check()?;
        if !self.has(Facts::HTTP10) {
            encode::bare_head(status, facts, fields, out)?;
        }
        if status == 100 {
            self.flags &= !Facts::EXPECT_CONTINUE;
        }
        Ok(())
    }

    /// Appends the head of a final response whose content follows with [`send_data`](Self::send_data) and ends with
    /// [`finish`](Self::finish). A `length` is announced; without a `length`, the content is sent in chunks, or up to the
    /// close of the connection for a client of HTTP/1.0. If the method or the status allows no content, the content is
    /// dropped; a `length` is announced all the same in a response to HEAD and in a 304 (RFC 9110 section 8.6).
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    #[inline]
    pub fn send_response<'s>(
        &mut self,
        status: impl Into<Status<'s>>,
        fields: &(impl FieldLines + ?Sized),
        length: Option<u64>,
        date: Option<&[u8; DATE_LENGTH]>,
        out: &mut impl Buffer,
    ) -> Result<(), Misuse> {
        let status = status.into();
        let announced = length.filter(|_| status.code() == 304);
        let (sending, keep_alive) = self.response_head(status, fields, length, announced, date, out)?;
        self.sending = sending;
        self.exchange.response_head(false, keep_alive).ok_or(Misuse::OutOfTurn)
    }

    /// Appends a whole response. `body` is counted, and left out if the method or the status allows none.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    #[inline]
    pub fn respond(
        &mut self,
        status: u16,
        fields: &(impl FieldLines + ?Sized),
        body: &[u8],
        date: Option<&[u8; DATE_LENGTH]>,
        out: &mut impl Buffer,
    ) -> Result<(), Misuse> {
        let position = out.position();
        let (sending, keep_alive) =
            self.response_head(status.into(), fields, Some(body.len() as u64), None, date, out)?;
        if matches!(sending, Sending::Length(_))
            && let Err(error) = out.put(body)
        {
            out.rewind(position);
            return Err(error.into());
        }
        self.exchange.response_head(true, keep_alive).ok_or(Misuse::OutOfTurn)?;
        self.settle();
        Ok(())
    }

    /// Writes a head. Returns how the body is sent and whether the connection persists. Changes no state. `announced` is the length that a
    /// response without content announces.
    #[inline]
    fn response_head(
        &self,
        status: Status<'_>,
        fields: &(impl FieldLines + ?Sized),
        length: Option<u64>,
        announced: Option<u64>,
        date: Option<&[u8; DATE_LENGTH]>,
        out: &mut impl Buffer,
    ) -> Result<(Sending, bool), Misuse> {
        let code = status.code();
        if !matches!(code, 200..1000) {
            return Err(Misuse::Status);
        }
        if self.exchange.response != State::Respond {
            return Err(Misuse::OutOfTurn);
        }
        if self.exchange.request == State::MightSwitch && self.has(Facts::CONNECT) && matches!(code, 200..300) {
            return Err(Misuse::NotAllowed);
        }
        let facts = fields.check()?;
        let peer = if self.has(Facts::HTTP10) {
            Version::Http10
        } else {
            Version::Http11
        };
        let (mut framing, sending) = encode::response_framing(code, length, self.has(Facts::HEAD), peer);
        framing.length = framing.length.or(announced);
        // It is unknown whether a client that got no 100 sends its body, so later input cannot be interpreted.
        let keep_alive = self.exchange.keep_alive()
            && !framing.close
            && !encode::asks_close(facts)
            && !self.has(Facts::EXPECT_CONTINUE);
        framing.close = !keep_alive;
        framing.keep_alive = keep_alive && self.has(Facts::HTTP10);
        encode::response_head(&ResponseLine { status, framing, date }, facts, fields, out)?;
        Ok((sending, keep_alive))
    }

    /// Appends content.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    #[inline]
    pub fn send_data(&mut self, data: &[u8], out: &mut impl Buffer) -> Result<(), Misuse> {
        self.sending.data(data, out)
    }

    /// For content that must not be copied: appends the bytes that precede `length` bytes of content. If this returns
    /// `true`, send the content next, then call [`end_data`](Self::end_data); if `false`, drop the content.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    pub fn begin_data(&mut self, length: usize, out: &mut impl Buffer) -> Result<bool, Misuse> {
        self.sending.before(length, out)
    }

    /// Appends the bytes that follow the content announced to [`begin_data`](Self::begin_data).
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`].
    pub fn end_data(&mut self, out: &mut impl Buffer) -> Result<(), Misuse> {
        self.sending.after(out)
    }

    /// Ends the response, with trailers if it is chunked. Trailers for a client of HTTP/1.0, or for a response without a
    /// body, are dropped, as any recipient might do (RFC 9110 section 6.5.1).
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    pub fn finish(&mut self, trailers: &(impl FieldLines + ?Sized), out: &mut impl Buffer) -> Result<(), Misuse> {
        self.sending.end(trailers, out)?;
        Exchange::end(&mut self.exchange.response).ok_or(Misuse::OutOfTurn)?;
        self.settle();
        Ok(())
    }

    /// Appends the response that hands the connection to another protocol: a 101 with an `Upgrade` in `fields`, or a 2xx without content to
    /// a CONNECT. Input after the request belongs to that protocol.
    ///
    /// # Errors
    ///
    /// [`Misuse::SwitchUnasked`] if the client asked for no switch, another [`Misuse`] if the response is not of that kind
    /// or not due; nothing was written then.
    pub fn switch(
        &mut self,
        status: u16,
        fields: &(impl FieldLines + ?Sized),
        out: &mut impl Buffer,
    ) -> Result<(), Misuse> {
        let facts = fields.check()?;
        let fits = if self.has(Facts::CONNECT) {
            matches!(status, 200..300)
        } else {
            status == 101 && encode::has_upgrade(facts)
        };
        if self.exchange.response != State::Respond {
            return Err(Misuse::OutOfTurn);
        }
        if self.exchange.request != State::MightSwitch {
            return Err(Misuse::SwitchUnasked);
        }
        if !fits {
            return Err(Misuse::NotAllowed);
        }
        encode::bare_head(status, facts, fields, out)?;
        self.exchange.switch().ok_or(Misuse::OutOfTurn)
    }

    /// The progress of the request.
    #[inline]
    #[must_use]
    pub const fn request_state(&self) -> State {
        self.exchange.request
    }

    /// The progress of the response.
    #[inline]
    #[must_use]
    pub const fn response_state(&self) -> State {
        self.exchange.response
    }

    /// Whether a final response is due and not begun.
    #[inline]
    #[must_use]
    pub const fn can_respond(&self) -> bool {
        matches!(self.exchange.response, State::Respond)
    }

    /// Whether the client still waits for `100 Continue` (RFC 9110 section 10.1.1).
    #[inline]
    #[must_use]
    pub const fn expects_continue(&self) -> bool {
        self.has(Facts::EXPECT_CONTINUE)
    }

    /// Leaves it to the caller to send the 100 that the client waits for: the adapter that drives this connection must not
    /// send it by itself. Holds until the end of this exchange.
    pub fn withhold_continue(&mut self) {
        self.flags |= Self::WITHHELD;
    }

    /// Whether the client waits for a 100 that is [withheld](Self::withhold_continue).
    #[inline]
    #[must_use]
    pub const fn withholds_continue(&self) -> bool {
        let both = Self::WITHHELD | Facts::EXPECT_CONTINUE;
        self.flags & both == both
    }

    /// Whether the response is complete and the connection must be closed after it (RFC 9112 section 9.6).
    #[inline]
    #[must_use]
    pub const fn must_close(&self) -> bool {
        matches!(self.exchange.response, State::MustClose | State::Closed)
    }

    /// Whether no exchange is in progress.
    #[inline]
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(
            (self.exchange.request, self.exchange.response),
            (State::Idle, State::Idle)
        )
    }

    /// Whether only the close of the connection ends the current response.
    #[must_use]
    pub const fn ends_by_close(&self) -> bool {
        matches!(self.sending, Sending::UntilClose)
    }

    /// Bytes of the request body still to come, if known.
    #[must_use]
    pub const fn body_remaining(&self) -> Option<u64> {
        self.body.remaining()
    }
}

impl Default for ServerConnection {
    fn default() -> Self {
        Self::new()
    }
}
