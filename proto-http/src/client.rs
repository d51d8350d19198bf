//! The client's side of a connection, without I/O: requests in, bytes out; bytes in, events out.

use crate::body::BodyDecoder;
use crate::encode::{self, Buffer, FieldLines, Framing, Sending};
use crate::fold::{are_empty_lines, unfold};
use crate::framing::Facts;
use crate::state::{Exchange, State};
use crate::{BodyLength, Fields, Misuse, Parsed, Piece, Response, Rules, Violation, ViolationKind};

/// The next event of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent<'a> {
    /// An informational response: any 1xx status except 101. The final response follows.
    Informational(Response<'a>),
    /// The head of the final response. [`End`](Self::End) always follows, except after a switch of protocols.
    Response(Response<'a>),
    /// Some content of the response; never empty.
    Data(&'a [u8]),
    /// The response is complete, with its trailers.
    End(Fields<'a>),
    /// The server has agreed to switch: the rest of the input belongs to the other protocol.
    Switched,
    /// The server has closed between messages, or the connection must not be used any more.
    Closed,
}

/// Maximum number of requests that may wait after the one whose response is awaited.
pub const PIPELINE: usize = 32;

/// The client's side of an HTTP/1.1 connection. It stores no input or output bytes. One exchange runs at a time; safe
/// requests may be [pipelined](Self::pipeline) after it.
///
/// Sorted by use: output ([`send_request`](Self::send_request), [`pipeline`](Self::pipeline), [`send_data`](Self::send_data),
/// [`finish`](Self::finish)), input
/// ([`next`](Self::next), [`eof`](Self::eof)), getters.
///
/// ```
/// use proto_http::{BodyLength, ClientConnection, ClientEvent, Rules};
///
/// let mut connection = ClientConnection::new();
/// let mut output = Vec::new();
/// connection.send_request("GET", "/", &[("Host", "example.org")], BodyLength::Empty, &mut output)?;
/// assert_eq!(output, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
///
/// let mut input: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
/// let Some(ClientEvent::Response(response)) = connection.next(&Rules::DEFAULT, &mut input)? else { panic!() };
/// assert_eq!(response.status(), 200);
/// assert_eq!(connection.next(&Rules::DEFAULT, &mut input)?, Some(ClientEvent::Data(b"hi")));
/// assert!(matches!(connection.next(&Rules::DEFAULT, &mut input)?, Some(ClientEvent::End(_))));
/// assert!(connection.is_idle());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConnection {
    /// Between responses, its scanner looks for the end of the next head.
    body: BodyDecoder,
    sending: Sending,
    exchange: Exchange,
    flags: u8,
    /// The number of requests pipelined after the current one.
    pipelined: u8,
    /// Which of the pipelined requests are HEAD; the next request is the lowest bit.
    heads: u32,
}

impl ClientConnection {
    const HEAD: u8 = 1;
    const CONNECT: u8 = 1 << 1;
    const EOF: u8 = 1 << 2;
    /// The request waits for `100 Continue`.
    const EXPECTS: u8 = 1 << 3;
    /// The request's method is idempotent, so the request may be sent again (RFC 9110 section 9.2.2).
    const IDEMPOTENT: u8 = 1 << 4;
    /// An exchange was complete before.
    const REUSED: u8 = 1 << 5;
    /// Part of the response has arrived.
    const HEARD: u8 = 1 << 6;

    /// A connection before its first request.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            body: BodyDecoder::new(BodyLength::Empty),
            sending: Sending::Nothing,
            exchange: Exchange::new(),
            flags: 0,
            pipelined: 0,
            heads: 0,
        }
    }

    #[inline]
    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Appends a request head. With a `body`, content follows with [`send_data`](Self::send_data) and ends with
    /// [`finish`](Self::finish); without, the request is complete.
    ///
    /// `fields` must have exactly one Host. If `fields` has an `Upgrade`, or the method is CONNECT, the server may switch protocols.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    pub fn send_request(
        &mut self,
        method: &str,
        target: &str,
        fields: &(impl FieldLines + ?Sized),
        body: BodyLength,
        out: &mut impl Buffer,
    ) -> Result<(), Misuse> {
        if !self.is_idle() || self.has(Self::EOF) {
            return Err(Misuse::OutOfTurn);
        }
        let connect = method == "CONNECT";
        let facts = fields.check()?;
        let switch = connect || encode::has_upgrade(facts);
        let (length, sending) = match body {
            BodyLength::Empty => (None, Sending::Nothing),
            BodyLength::Length(length) => (Some(length), Sending::Length(length)),
            BodyLength::Chunked => (None, Sending::Chunked),
            BodyLength::UntilClose => return Err(Misuse::NotAllowed),
        };
        if switch && !body.is_empty() {
            return Err(Misuse::NotAllowed);
        }
        let framing = Framing {
            length,
            chunked: body == BodyLength::Chunked,
            close: false,
            keep_alive: false,
        };
        encode::request_head(method, target, facts, fields, framing, out)?;
        let idempotent = matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE");
        self.flags = self.flags & Self::REUSED
            | if idempotent { Self::IDEMPOTENT } else { 0 }
            | if method == "HEAD" { Self::HEAD } else { 0 }
            | if connect { Self::CONNECT } else { 0 }
            | if encode::has_expect(facts) && !body.is_empty() {
                Self::EXPECTS
            } else {
                0
            };
        self.sending = if body.is_empty() { Sending::Nothing } else { sending };
        let keep_alive = !encode::asks_close(facts) && !connect;
        self.exchange
            .request_head(body.is_empty(), switch, keep_alive)
            .ok_or(Misuse::OutOfTurn)
    }

    /// Appends a request before the earlier responses have arrived (RFC 9112 section 9.3.2). Without outstanding requests,
    /// it does the same as [`send_request`](Self::send_request). Responses arrive in the order of the requests.
    ///
    /// Allowed for GET, HEAD and OPTIONS without content, because they may be sent again: if the connection ends early, the last
    /// [`pipelined`](Self::pipelined) requests were not answered. Up to [`PIPELINE`] requests may wait. They must not ask to close the
    /// connection or to switch protocols.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    pub fn pipeline(
        &mut self,
        method: &str,
        target: &str,
        fields: &(impl FieldLines + ?Sized),
        out: &mut impl Buffer,
    ) -> Result<(), Misuse> {
        let facts = fields.check()?;
        let waits = encode::has_upgrade(facts) || encode::has_expect(facts) || encode::asks_close(facts);
        if waits || !matches!(method, "GET" | "HEAD" | "OPTIONS") {
            return Err(Misuse::NotAllowed);
        }
        if self.is_idle() {
            return self.send_request(method, target, fields, BodyLength::Empty, out);
        }
        let follows = self.exchange.request == State::Done && self.exchange.keep_alive() && !self.has(Self::EOF);
        if !follows || self.has(Self::CONNECT) || usize::from(self.pipelined) >= PIPELINE {
            return Err(Misuse::OutOfTurn);
        }
        let framing = Framing {
            length: None,
            chunked: false,
            close: false,
            keep_alive: false,
        };
        encode::request_head(method, target, facts, fields, framing, out)?;
        self.heads |= u32::from(method == "HEAD") << self.pipelined;
        self.pipelined += 1;
        Ok(())
    }

    /// Appends content of the request.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    pub fn send_data(&mut self, data: &[u8], out: &mut impl Buffer) -> Result<(), Misuse> {
        self.sending.data(data, out)
    }

    /// For content that must not be copied: appends the bytes that precede `length` bytes of content. If this returns
    /// `true`, send the content next, then call [`end_data`](Self::end_data).
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

    /// Ends the request, with trailers if it is chunked.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing was written then.
    pub fn finish(&mut self, trailers: &(impl FieldLines + ?Sized), out: &mut impl Buffer) -> Result<(), Misuse> {
        self.sending.end(trailers, out)?;
        Exchange::end(&mut self.exchange.request).ok_or(Misuse::OutOfTurn)?;
        self.settle();
        Ok(())
    }

    /// Replaces folds in the response head at the front of `input` by spaces, as a user agent must before it reads a field
    /// (RFC 9112 section 5.2). Call this before each [`next`](Self::next), with the same bytes; otherwise a folded head is a
    /// violation. Does nothing if no head is due, and reads no byte twice.
    pub fn unfold(&self, input: &mut [u8]) {
        if self.exchange.response == State::Respond {
            unfold(input, self.body.scanner.scanned());
        }
    }

    /// Consumes and returns the next event of `input`; `None` if more bytes are needed: pass the bytes left in `input`
    /// again, with newer bytes after them.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the server broke the protocol. Close the connection; no event follows.
    pub fn next<'a>(&mut self, rules: &Rules, input: &mut &'a [u8]) -> Result<Option<ClientEvent<'a>>, Violation> {
        let result = match self.exchange.response {
            State::Idle => self.between(rules, input),
            State::Respond => self.next_response(rules, input),
            State::Body => self.next_piece(rules, input),
            State::Switched => return Ok(Some(ClientEvent::Switched)),
            State::Done if !self.has(Self::EOF) => return Ok(None),
            _ => return Ok(Some(ClientEvent::Closed)),
        };
        if result.is_err() {
            self.exchange.last();
            Exchange::fail(&mut self.exchange.response);
        }
        result
    }

    /// Between responses, input is an error (RFC 9112 section 9.2).
    fn between<'a>(&mut self, rules: &Rules, input: &[u8]) -> Result<Option<ClientEvent<'a>>, Violation> {
        if !(input.is_empty() || rules.leniency.lines_before_status && are_empty_lines(input, &rules.limits)) {
            return Err(Violation::new(ViolationKind::Unexpected, 0));
        }
        if self.has(Self::EOF) {
            Exchange::close(&mut self.exchange.response);
            return Ok(Some(ClientEvent::Closed));
        }
        Ok(None)
    }

    fn next_response<'a>(&mut self, rules: &Rules, input: &mut &'a [u8]) -> Result<Option<ClientEvent<'a>>, Violation> {
        if input.is_empty() {
            return self.unfinished();
        }
        self.flags |= Self::HEARD;
        if !self.body.scanner.ready(input, &rules.limits) {
            return self.unfinished();
        }
        let Parsed::Complete { head, length } = Response::parse(input, rules)? else {
            return self.unfinished();
        };
        self.body.scanner.reset();
        let status = head.status();
        let switches = if self.has(Self::CONNECT) {
            matches!(status, 200..300)
        } else {
            status == 101
        };
        if switches {
            // The request must have asked for the switch, and a 101 must name it in both fields (RFC 9110 section 7.8).
            let agreed = self.has(Self::CONNECT) || head.facts.agrees_to_upgrade();
            if !agreed || self.exchange.switch().is_none() {
                return Err(Violation::new(ViolationKind::UnaskedSwitch, 0));
            }
            *input = input.get(length..).unwrap_or_default();
            return Ok(Some(ClientEvent::Response(head)));
        }
        if status == 101 {
            return Err(Violation::new(ViolationKind::UnaskedSwitch, 0));
        }
        if matches!(status, 100..200) {
            if status == 100 {
                self.flags &= !Self::EXPECTS;
            }
            if head.facts.has(Facts::OVERRULED) {
                self.exchange.last();
            }
            *input = input.get(length..).unwrap_or_default();
            return Ok(Some(ClientEvent::Informational(head)));
        }
        let body = head.body(self.request_method());
        if let (BodyLength::Length(length), Some(limit)) = (body, rules.limits.body)
            && length > limit
        {
            return Err(Violation::new(ViolationKind::BodyTooLarge, 0));
        }
        *input = input.get(length..).unwrap_or_default();
        self.body = BodyDecoder::new(body);
        let keep_alive = head.keep_alive() && body != BodyLength::UntilClose;
        let _ = self.exchange.response_head(false, keep_alive);
        Ok(Some(ClientEvent::Response(head)))
    }

    /// The method, if it affects how the response is read.
    const fn request_method(&self) -> &'static str {
        if self.has(Self::HEAD) {
            "HEAD"
        } else if self.has(Self::CONNECT) {
            "CONNECT"
        } else {
            "GET"
        }
    }

    fn next_piece<'a>(&mut self, rules: &Rules, input: &mut &'a [u8]) -> Result<Option<ClientEvent<'a>>, Violation> {
        match self.body.next(input, rules)? {
            Some(Piece::Data(data)) => return Ok(Some(ClientEvent::Data(data))),
            Some(Piece::End(trailers)) => {
                self.end();
                return Ok(Some(ClientEvent::End(trailers)));
            }
            None if !self.has(Self::EOF) => return Ok(None),
            None => {}
        }
        self.body.eof()?;
        self.end();
        Ok(Some(ClientEvent::End(Fields::EMPTY)))
    }

    fn end(&mut self) {
        let _ = Exchange::end(&mut self.exchange.response);
        self.settle();
    }

    fn settle(&mut self) {
        if self.exchange.settle() {
            self.flags |= Self::REUSED;
            self.body.scanner.reset();
            self.begin_pipelined();
        }
    }

    /// Begins the next pipelined request, which was already sent.
    fn begin_pipelined(&mut self) {
        if self.pipelined == 0 {
            return;
        }
        let head = self.heads & 1 != 0;
        self.heads >>= 1;
        self.pipelined -= 1;
        // Only idempotent requests are pipelined.
        self.flags = self.flags & (Self::EOF | Self::REUSED) | Self::IDEMPOTENT | if head { Self::HEAD } else { 0 };
        let _ = self.exchange.request_head(true, false, true);
    }

    fn unfinished<'a>(&self) -> Result<Option<ClientEvent<'a>>, Violation> {
        if self.has(Self::EOF) {
            Err(Violation::new(ViolationKind::Truncated, 0))
        } else {
            Ok(None)
        }
    }

    /// The server has half-closed: no bytes follow those in the input. Call [`next`](Self::next) as before.
    pub fn eof(&mut self) {
        self.flags |= Self::EOF;
        self.exchange.last();
    }

    /// Makes the current exchange the last.
    pub fn close_after(&mut self) {
        self.exchange.last();
        self.settle();
    }

    /// The progress of the request.
    #[must_use]
    pub const fn request_state(&self) -> State {
        self.exchange.request
    }

    /// The progress of the response.
    #[must_use]
    pub const fn response_state(&self) -> State {
        self.exchange.response
    }

    /// The number of requests that wait after the one whose response is awaited.
    #[must_use]
    pub const fn pipelined(&self) -> usize {
        self.pipelined as usize
    }

    /// Whether the next request may be sent.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(
            (self.exchange.request, self.exchange.response),
            (State::Idle, State::Idle)
        )
    }

    /// Whether the response is complete and the connection must not be used again (RFC 9112 section 9.3).
    #[must_use]
    pub const fn must_close(&self) -> bool {
        matches!(self.exchange.response, State::MustClose | State::Closed | State::Error)
    }

    /// For a connection that has ended: whether the current request, and all requests pipelined after it, may be sent again
    /// on another connection. A server may close a kept connection just while the next request is on its way (RFC 9112
    /// section 9.3.1). The result is true if an exchange was complete before, no part of a response has arrived, and the
    /// method is idempotent (RFC 9110 section 9.2.2): GET, HEAD, OPTIONS, TRACE, PUT or DELETE.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        self.has(Self::REUSED) && self.has(Self::IDEMPOTENT) && !self.has(Self::HEARD) && !self.is_idle()
    }

    /// Whether the request asked for `100 Continue` and neither a 100 nor an answer has arrived (RFC 9110 section 10.1.1).
    #[must_use]
    pub const fn expects_continue(&self) -> bool {
        self.has(Self::EXPECTS) && matches!(self.exchange.response, State::Respond)
    }
}

impl Default for ClientConnection {
    fn default() -> Self {
        Self::new()
    }
}
