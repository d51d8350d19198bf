//! The client's side of a connection: takes requests and received bytes, returns bytes to send and events.

use proto_http::{Buffer, FieldLines, Fields, Misuse, Response};

use crate::machine::{Beginning, Core, Role, Step};
use crate::streams::Stream;
use crate::{ErrorCode, Limits, Scratch, Violation};

/// An event for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent<'a> {
    /// An informational response. After a 100, a request that waited for it may send its content.
    Informational {
        /// The stream.
        stream: u32,
        /// The response.
        response: Response<'a>,
    },
    /// The head of the final response.
    Response {
        /// The stream.
        stream: u32,
        /// The response.
        response: Response<'a>,
        /// The response is complete; no [`End`](Self::End) follows.
        end: bool,
    },
    /// Some content of a response; never empty. Give its bytes back with [`consume`](ClientConnection::consume).
    Data {
        /// The stream.
        stream: u32,
        /// The content.
        data: &'a [u8],
    },
    /// The end of a response that has content.
    End {
        /// The stream.
        stream: u32,
        /// Its trailers.
        trailers: Fields<'a>,
    },
    /// The server has reset a stream. With [`REFUSED_STREAM`](ErrorCode::REFUSED_STREAM), the request may be sent again (RFC 9113 section
    /// 8.7).
    Reset {
        /// The stream.
        stream: u32,
        /// The reason.
        code: ErrorCode,
    },
    /// The server broke the protocol on one stream. The stream was reset.
    Failed(Violation),
    /// The window of `stream` has grown, or that of the connection if `stream` is 0, so that more may be sent; or the server permits more
    /// streams.
    Window {
        /// The stream, or 0.
        stream: u32,
    },
    /// The server is shutting down. It has not processed requests on streams above `last`: they may be sent again on another connection
    /// (RFC 9113 section 6.8), and the connection has already forgotten their streams. The other streams go on.
    Goaway {
        /// The last stream that the server has processed, or may still process.
        last: u32,
        /// The reason.
        code: ErrorCode,
    },
    /// The answer to [`ping`](ClientConnection::ping).
    Pong(u64),
}

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host, and port where it is not the scheme's.
    pub authority: &'a str,
    /// Path and query, or `*` for OPTIONS. Ignored for a plain CONNECT.
    pub path: &'a str,
    /// The protocol of an extended CONNECT (RFC 8441), such as `websocket`.
    pub protocol: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// The head of a request with `method` for `scheme://authority/path`.
    #[must_use]
    pub const fn new(method: &'a str, scheme: &'a str, authority: &'a str, path: &'a str) -> Self {
        Self {
            method,
            scheme,
            authority,
            path,
            protocol: None,
        }
    }

    /// The head of a plain CONNECT, which opens a tunnel to another server. `authority` must have a port.
    #[must_use]
    pub const fn connect(authority: &'a str) -> Self {
        Self::new("CONNECT", "", authority, "")
    }

    /// The head of an extended CONNECT (RFC 8441), which makes its stream carry another `protocol`.
    #[must_use]
    pub const fn extended(protocol: &'a str, scheme: &'a str, authority: &'a str, path: &'a str) -> Self {
        Self {
            protocol: Some(protocol),
            ..Self::new("CONNECT", scheme, authority, path)
        }
    }
}

/// The client's side of an HTTP/2 connection. Holds no content.
///
/// Call [`start`](Self::start) first. Requests may follow at once.
///
/// ```
/// use proto_h2::{ClientConnection, Head, Limits};
///
/// let (limits, mut output) = (Limits::DEFAULT, Vec::new());
/// let mut connection = ClientConnection::new();
/// connection.start(&limits, &mut output)?;
/// let head = Head::new("GET", "http", "example.org", "/");
/// let stream = connection.request(head, &[("Accept", "*/*")], &limits, &mut output)?;
/// assert_eq!(stream, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientConnection {
    core: Core,
}

impl Default for ClientConnection {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientConnection {
    /// A connection before its first byte. Allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            core: Core::new(Role::Client),
        }
    }

    /// Sends the connection preface and our settings (RFC 9113 section 3.4).
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`] from the buffer.
    pub fn start<B: Buffer>(&mut self, limits: &Limits, out: &mut B) -> Result<(), Misuse> {
        self.core.start(limits, false, out)
    }

    /// Takes the next event off `input`; see [`ServerConnection::next`](crate::ServerConnection::next).
    ///
    /// # Errors
    ///
    /// [`Violation`] if the server broke the protocol in a way that ends the connection.
    pub fn next<'a, 'i: 'a, B: Buffer>(
        &mut self,
        limits: &Limits,
        input: &mut &'i [u8],
        scratch: &'a mut Scratch,
        out: &mut B,
    ) -> Result<Option<ClientEvent<'a>>, Violation> {
        loop {
            let Some(step) = self.core.next(limits, input, scratch, out)? else {
                return Ok(None);
            };
            let event = match step {
                Step::Head { stream, .. } if scratch.section.status < 200 => ClientEvent::Informational {
                    stream,
                    response: scratch.section.response(scratch, true),
                },
                Step::Head { stream, end } => ClientEvent::Response {
                    stream,
                    response: scratch.section.response(scratch, end),
                    end,
                },
                Step::Data { stream, data } => ClientEvent::Data { stream, data },
                Step::End { stream, trailers } => ClientEvent::End {
                    stream,
                    trailers: if trailers {
                        scratch.section.trailers(scratch)
                    } else {
                        Fields::EMPTY
                    },
                },
                Step::Reset { stream, code } => ClientEvent::Reset { stream, code },
                Step::Failed(violation) => ClientEvent::Failed(violation),
                Step::Window { stream } => ClientEvent::Window { stream },
                Step::Settings => ClientEvent::Window { stream: 0 },
                Step::Pong(crate::machine::SHUTDOWN) => continue,
                Step::Pong(payload) => ClientEvent::Pong(payload),
                Step::Goaway { last, code } => {
                    self.core.forget_above(last);
                    ClientEvent::Goaway { last, code }
                }
            };
            return Ok(Some(event));
        }
    }

    /// Sends a request without content. Returns its stream.
    ///
    /// # Errors
    ///
    /// [`Misuse`], with nothing written; [`Misuse::OutOfTurn`] where [`can_request`](Self::can_request) is false.
    pub fn request<B: Buffer>(
        &mut self,
        head: Head<'_>,
        fields: &(impl FieldLines + ?Sized),
        limits: &Limits,
        out: &mut B,
    ) -> Result<u32, Misuse> {
        self.send(head, fields, None, true, limits, out)
    }

    /// Sends the head of a request whose content follows, `length` bytes if known, or of a request for a tunnel. Returns its stream.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn start_request<B: Buffer>(
        &mut self,
        head: Head<'_>,
        fields: &(impl FieldLines + ?Sized),
        length: Option<u64>,
        limits: &Limits,
        out: &mut B,
    ) -> Result<u32, Misuse> {
        self.send(head, fields, length, false, limits, out)
    }

    fn send<B: Buffer>(
        &mut self,
        head: Head<'_>,
        fields: &(impl FieldLines + ?Sized),
        length: Option<u64>,
        end: bool,
        limits: &Limits,
        out: &mut B,
    ) -> Result<u32, Misuse> {
        let beginning = Beginning {
            length,
            end,
            date: None,
        };
        self.core.send_request(head, fields, beginning, limits, out)
    }

    /// Whether a request may be sent now: the server permits one more stream, and neither side is shutting down.
    #[must_use]
    pub fn can_request(&self) -> bool {
        let core = &self.core;
        core.has_room() && !core.has_failed() && !core.is_shutting_down() && core.peer_goaway == u32::MAX
    }

    /// Whether no request can be sent any more: either side is shutting down, the server broke the protocol, or the stream identifiers are
    /// used up.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        let core = &self.core;
        let used_up = core.next_own > u32::MAX >> 1;
        used_up || core.has_failed() || core.is_shutting_down() || core.peer_goaway != u32::MAX
    }

    /// Whether the server offers the extended CONNECT (RFC 8441). False until its SETTINGS have arrived.
    #[must_use]
    pub fn offers_extended_connect(&self) -> bool {
        self.core.offered.extended_connect
    }

    /// Whether a tunnel is open on `stream`.
    #[must_use]
    pub fn is_tunnel(&self, stream: u32) -> bool {
        self.core
            .streams
            .get(stream)
            .is_some_and(|stream| stream.has(Stream::SWITCHED))
    }

    /// Whether the server's SETTINGS have arrived.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.core.has_begun()
    }
}

super::both_roles!(ClientConnection);
