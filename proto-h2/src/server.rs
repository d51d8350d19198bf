//! The server's side of a connection: takes received bytes and responses, returns events and bytes to send.

use proto_http::{Buffer, DATE_LENGTH, FieldLines, Fields, Misuse, Request};

use crate::machine::{Beginning, Core, Role, Step};

use crate::state::Half;
use crate::streams::Stream;
use crate::{ErrorCode, Limits, Priority, Scratch, Violation};

/// An event for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent<'a> {
    /// A request head opens `stream`. An extended CONNECT (RFC 8441) appears as the equivalent HTTP/1.1 request: a GET with `Upgrade`.
    Request {
        /// The stream.
        stream: u32,
        /// The request.
        request: Request<'a>,
        /// The request is complete; no [`End`](Self::End) follows.
        end: bool,
    },
    /// Some content of a request; never empty. Give its bytes back with [`consume`](ServerConnection::consume).
    Data {
        /// The stream.
        stream: u32,
        /// The content.
        data: &'a [u8],
    },
    /// The end of a request that has content, or of the client's bytes in a tunnel.
    End {
        /// The stream.
        stream: u32,
        /// Its trailers.
        trailers: Fields<'a>,
    },
    /// The client has reset a stream: nothing may be sent on the stream any more.
    Reset {
        /// The stream.
        stream: u32,
        /// The reason.
        code: ErrorCode,
    },
    /// The client broke the protocol on one stream. The stream was reset. No earlier event need have named the stream.
    Failed(Violation),
    /// The window of `stream` has grown, or that of the connection if `stream` is 0, so that more may be sent.
    Window {
        /// The stream, or 0.
        stream: u32,
    },
    /// The answer to [`ping`](ServerConnection::ping).
    Pong(u64),
    /// The client is shutting down: it opens no more streams.
    Goaway(ErrorCode),
}

/// The server's side of an HTTP/2 connection. Holds no content.
///
/// Sorted by use: life ([`start`](Self::start), [`shutdown`](Self::shutdown)), input ([`next`](Self::next)), output (`send_*`,
/// [`respond`](Self::respond), [`finish`](Self::finish)), getters. Call [`start`](Self::start) first.
///
/// ```
/// use proto_h2::{Limits, PREFACE, Scratch, ServerConnection, ServerEvent};
///
/// let (limits, mut scratch, mut output) = (Limits::DEFAULT, Scratch::new(), Vec::new());
/// let mut connection = ServerConnection::new();
/// connection.start(&limits, &mut output)?;
///
/// // The preface, empty SETTINGS, and a GET of http://a/ on stream 1.
/// let head = [0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
/// let bytes = [&PREFACE[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &head].concat();
/// let mut input = &bytes[..];
/// let Some(ServerEvent::Request { stream: 1, request, end: true }) =
///     connection.next(&limits, &mut input, &mut scratch, &mut output)?
/// else {
///     panic!()
/// };
/// assert_eq!((request.method(), request.path(), request.authority()), ("GET", "/", Some("a")));
/// connection.respond(1, 200, &[("Content-Type", "text/plain")], b"hi", None, &limits, &mut output)?;
/// assert!(output.ends_with(b"hi"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ServerConnection {
    core: Core,
}

impl Default for ServerConnection {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerConnection {
    /// A connection before its first byte. Allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            core: Core::new(Role::Server),
        }
    }

    /// Sends our SETTINGS, which must be the first frame (RFC 9113 section 3.4).
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`] from the buffer.
    pub fn start<B: Buffer>(&mut self, limits: &Limits, out: &mut B) -> Result<(), Misuse> {
        self.core.start(limits, true, out)
    }

    /// Takes the next event off `input`. `None` means that more bytes are needed: call again with the remaining bytes followed by newer
    /// ones. Replies, such as acknowledgements and resets, are appended to `out`; stop reading while much of `out` is unsent.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the client broke the protocol in a way that ends the connection. The reply is in `out`; send it and close. No event
    /// follows.
    #[inline]
    pub fn next<'a, 'i: 'a, B: Buffer>(
        &mut self,
        limits: &Limits,
        input: &mut &'i [u8],
        scratch: &'a mut Scratch,
        out: &mut B,
    ) -> Result<Option<ServerEvent<'a>>, Violation> {
        loop {
            let Some(step) = self.core.next(limits, input, scratch, out)? else {
                return Ok(None);
            };
            let event = match step {
                Step::Head { stream, end } => ServerEvent::Request {
                    stream,
                    request: scratch.section.request(scratch, end),
                    end,
                },
                Step::Data { stream, data } => ServerEvent::Data { stream, data },
                Step::End { stream, trailers } => ServerEvent::End {
                    stream,
                    trailers: if trailers {
                        scratch.section.trailers(scratch)
                    } else {
                        Fields::EMPTY
                    },
                },
                Step::Reset { stream, code } => ServerEvent::Reset { stream, code },
                Step::Failed(violation) => ServerEvent::Failed(violation),
                Step::Window { stream } => ServerEvent::Window { stream },
                Step::Settings => ServerEvent::Window { stream: 0 },
                Step::Pong(crate::machine::SHUTDOWN) => continue,
                Step::Pong(payload) => ServerEvent::Pong(payload),
                Step::Goaway { code, .. } => ServerEvent::Goaway(code),
            };
            return Ok(Some(event));
        }
    }

    /// Sends a whole response, with as much of `body` as the windows allow. Returns how many bytes of `body` were taken; send the rest with
    /// [`send_data`](Self::send_data). `date` is ignored if `fields` has a Date.
    ///
    /// `Connection` and other fields that HTTP/2 forbids are left out. For a HEAD request, or a status without content, the body is counted
    /// but not sent.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written, if the response is not allowed, or not now.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "a whole response has as many parts")]
    pub fn respond<B: Buffer>(
        &mut self,
        stream: u32,
        status: u16,
        fields: &(impl FieldLines + ?Sized),
        body: &[u8],
        date: Option<&[u8; DATE_LENGTH]>,
        limits: &Limits,
        out: &mut B,
    ) -> Result<usize, Misuse> {
        let beginning = Beginning {
            length: Some(body.len() as u64),
            end: body.is_empty(),
            date,
        };
        self.core
            .send_response(stream, status, fields, beginning, limits, out)?;
        if body.is_empty() {
            return Ok(0);
        }
        self.core.send_data(stream, body, true, limits, out)
    }

    /// Sends the head of a response whose content follows, `length` bytes if known. For a CONNECT of either kind, a 2xx status opens the
    /// tunnel.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written.
    #[expect(clippy::too_many_arguments, reason = "a head has as many parts")]
    pub fn send_response<B: Buffer>(
        &mut self,
        stream: u32,
        status: u16,
        fields: &(impl FieldLines + ?Sized),
        length: Option<u64>,
        date: Option<&[u8; DATE_LENGTH]>,
        limits: &Limits,
        out: &mut B,
    ) -> Result<(), Misuse> {
        let beginning = Beginning {
            length,
            end: false,
            date,
        };
        self.core.send_response(stream, status, fields, beginning, limits, out)
    }

    /// Sends an informational response: any 1xx status except 101.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written.
    pub fn send_informational<B: Buffer>(
        &mut self,
        stream: u32,
        status: u16,
        fields: &(impl FieldLines + ?Sized),
        out: &mut B,
    ) -> Result<(), Misuse> {
        self.core.send_informational(stream, status, fields, out)
    }
}

super::both_roles!(ServerConnection);

impl ServerConnection {
    /// Whether the request on `stream` has no final response yet.
    #[must_use]
    pub fn can_respond(&self, stream: u32) -> bool {
        self.core.can_respond(stream)
    }

    /// Whether a response on `stream` has begun and is incomplete.
    #[must_use]
    pub fn is_responding(&self, stream: u32) -> bool {
        self.core
            .streams
            .get(stream)
            .is_some_and(|stream| stream.sending == Half::Body)
    }

    /// Whether the client of `stream` waits for a 100 before it sends content.
    #[must_use]
    pub fn expects_continue(&self, stream: u32) -> bool {
        self.core
            .streams
            .get(stream)
            .is_some_and(|stream| stream.has(Stream::EXPECTS) && stream.sending == Half::Head)
    }

    /// Whether `stream` asks for a tunnel, by a CONNECT of either kind.
    #[must_use]
    pub fn wants_tunnel(&self, stream: u32) -> bool {
        self.core
            .streams
            .get(stream)
            .is_some_and(|stream| stream.has(Stream::TUNNEL))
    }

    /// Whether the tunnel that `stream` asks for is an extended CONNECT (RFC 8441).
    #[must_use]
    pub fn is_extended(&self, stream: u32) -> bool {
        self.core
            .streams
            .get(stream)
            .is_some_and(|stream| stream.has(Stream::EXTENDED))
    }

    /// The priority that the client gave `stream` (RFC 9218).
    #[must_use]
    pub fn priority(&self, stream: u32) -> Priority {
        self.core.priority_of(stream)
    }
}
