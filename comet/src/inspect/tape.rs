//! One direction of a connection, read by the codecs.

use std::collections::VecDeque;
use std::sync::Arc;

use proto_http::{BodyDecoder, Parsed, Piece, Request, Response, Rules, Violation};
use proto_ws::deflate::Parameters;
use proto_ws::{Config, Connection, Entropy, Event, Masked, Message, Unmasked};
use protocol::bytes::BytesMut;

use super::Finding;

/// The most bytes of a message's content that are shown.
const SHOWN: usize = 60;

/// The sender of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// What the requests have settled for reading the responses.
#[derive(Debug, Default)]
pub(super) struct Agreed {
    /// The methods of unanswered requests.
    methods: VecDeque<String>,
    /// The state of a requested upgrade.
    switch: Switch,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Switch {
    #[default]
    None,
    Asked,
    Refused,
    Granted(Option<Parameters>),
    /// The upgrade was to a protocol other than WebSocket.
    Unknown,
}

/// Reads one direction.
pub(super) struct Tape {
    sender: Sender,
    phase: Phase,
    /// Bytes not decoded yet, and the stream offset of the first.
    pending: Vec<u8>,
    offset: u64,
    /// The offset at which the last finding ended.
    mark: u64,
    /// Whether the other direction is unavailable.
    alone: bool,
}

enum Phase {
    Head,
    Body(BodyDecoder),
    /// A request for an upgrade is unanswered.
    Undecided,
    ClientFrames(Box<Connection<Unmasked>>),
    ServerFrames(Box<Connection<Masked<NoEntropy>>>),
    /// The following bytes cannot be decoded.
    Over,
}

/// A source of masking keys that is never used, because nothing is sent.
pub(super) struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

impl Tape {
    /// Reads HTTP, and the protocol it is upgraded to.
    pub(super) fn http(sender: Sender, alone: bool) -> Self {
        Self::new(sender, Phase::Head, alone)
    }

    /// Reads WebSocket frames.
    pub(super) fn frames(sender: Sender) -> Self {
        Self::new(sender, frames(sender, None), true)
    }

    fn new(sender: Sender, phase: Phase, alone: bool) -> Self {
        Tape {
            sender,
            phase,
            pending: Vec::new(),
            offset: 0,
            mark: 0,
            alone,
        }
    }

    /// Processes more bytes. Appends findings.
    pub(super) fn feed(&mut self, bytes: &[u8], agreed: &mut Agreed, found: &mut Vec<Finding>) {
        self.pending.extend_from_slice(bytes);
        while self.step(agreed, found) {
            self.mark = self.offset;
        }
    }

    /// The end of the stream.
    pub(super) fn end(&mut self, found: &mut Vec<Finding>) {
        match &mut self.phase {
            Phase::Body(body) => match body.eof() {
                Ok(()) => found.push(self.finding("end of content", String::new())),
                Err(violation) => found.push(self.rejected(&violation)),
            },
            Phase::Over => {}
            _ if self.pending.is_empty() => {}
            _ => {
                let text = format!("{} bytes of something unfinished", self.pending.len());
                found.push(self.finding("cut short", text));
            }
        }
        self.phase = Phase::Over;
    }

    /// Bytes are missing here: what follows cannot be decoded.
    pub(super) fn lose(&mut self, found: &mut Vec<Finding>) {
        found.push(self.finding("lost", "bytes are missing in the capture".to_owned()));
        self.phase = Phase::Over;
    }

    /// Decodes the next event. Returns false if more bytes are needed.
    fn step(&mut self, agreed: &mut Agreed, found: &mut Vec<Finding>) -> bool {
        match &mut self.phase {
            Phase::Head if self.pending.is_empty() => false,
            Phase::Head => match self.sender {
                Sender::Client => self.request(agreed, found),
                Sender::Server => self.response(agreed, found),
            },
            Phase::Body(_) => self.body(found),
            Phase::Undecided => self.decide(agreed),
            Phase::ClientFrames(connection) => {
                let taken = frame(connection, &mut self.pending);
                self.took(taken, found)
            }
            Phase::ServerFrames(connection) => {
                let taken = frame(connection, &mut self.pending);
                self.took(taken, found)
            }
            Phase::Over => {
                self.offset += self.pending.len() as u64;
                self.pending.clear();
                false
            }
        }
    }

    fn request(&mut self, agreed: &mut Agreed, found: &mut Vec<Finding>) -> bool {
        let (head, length) = match Request::parse(&self.pending, &Rules::DEFAULT) {
            Ok(Parsed::Complete { head, length }) => (head, length),
            Ok(Parsed::Incomplete) => return false,
            Err(violation) => return self.reject(&violation, 0, found),
        };
        let fields = head.fields().iter().count();
        let text = format!(
            "{} {}, {fields} fields",
            head.method(),
            shorten(head.target().as_bytes())
        );
        agreed.methods.push_back(head.method().to_owned());
        let next = if head.wants_upgrade() || head.method() == "CONNECT" {
            agreed.switch = Switch::Asked;
            Phase::Undecided
        } else {
            Phase::Body(BodyDecoder::new(head.body()))
        };
        self.head("request", text, length, next, found)
    }

    fn response(&mut self, agreed: &mut Agreed, found: &mut Vec<Finding>) -> bool {
        let (head, length) = match Response::parse(&self.pending, &Rules::DEFAULT) {
            Ok(Parsed::Complete { head, length }) => (head, length),
            Ok(Parsed::Incomplete) => return false,
            Err(violation) => return self.reject(&violation, 0, found),
        };
        let fields = head.fields().iter().count();
        let text = format!("{} {}, {fields} fields", head.status(), shorten(head.reason()));
        let method = agreed.methods.front().map_or("GET", String::as_str);
        let next = match head.status() {
            101 if head.fields().has_token("upgrade", "websocket") => {
                let parameters = head.fields().get_str("sec-websocket-extensions").and_then(deflate);
                agreed.switch = Switch::Granted(parameters);
                frames(Sender::Server, parameters)
            }
            101 => {
                agreed.switch = Switch::Unknown;
                Phase::Over
            }
            200..300 if method == "CONNECT" => {
                agreed.switch = Switch::Unknown;
                Phase::Over
            }
            // Another head follows.
            100..200 => Phase::Head,
            _ => {
                if agreed.switch == Switch::Asked {
                    agreed.switch = Switch::Refused;
                }
                Phase::Body(BodyDecoder::new(head.body(method)))
            }
        };
        if !matches!(next, Phase::Head) {
            agreed.methods.pop_front();
        }
        self.head("response", text, length, next, found)
    }

    fn head(&mut self, kind: &'static str, text: String, length: usize, next: Phase, found: &mut Vec<Finding>) -> bool {
        found.push(self.finding(kind, text));
        self.take(length);
        self.phase = match next {
            Phase::Body(body) if body.remaining() == Some(0) => Phase::Head,
            next => next,
        };
        true
    }

    fn body(&mut self, found: &mut Vec<Finding>) -> bool {
        let Phase::Body(body) = &mut self.phase else {
            return false;
        };
        let mut rest = &self.pending[..];
        // Content is only displayed, so it may have any length.
        let mut rules = Rules::DEFAULT;
        rules.limits.body = None;
        let outcome = body.next(&mut rest, &rules).map(|piece| match piece {
            None => None,
            Some(Piece::Data(data)) => Some(("content", format!("{} bytes: {}", data.len(), shorten(data)), false)),
            Some(Piece::End(trailers)) => {
                let count = trailers.iter().count();
                let text = if count > 0 {
                    format!("{count} trailer fields")
                } else {
                    String::new()
                };
                Some(("end of content", text, true))
            }
        });
        let used = self.pending.len() - rest.len();
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(violation) => return self.reject(&violation, used, found),
        };
        self.take(used);
        let Some((kind, text, is_end)) = outcome else {
            return false;
        };
        found.push(self.finding(kind, text));
        if is_end {
            self.phase = Phase::Head;
        }
        true
    }

    /// After a request for an upgrade, the bytes are unknown until the server has answered.
    fn decide(&mut self, agreed: &mut Agreed) -> bool {
        let switch = match (agreed.switch, self.pending.first()) {
            // Without the server's direction, the first byte decides: frames begin with a byte above 0x7f, methods do not.
            (Switch::Asked, Some(0x80..)) if self.alone => Switch::Granted(None),
            (Switch::Asked, Some(_)) if self.alone => Switch::Refused,
            (switch, _) => switch,
        };
        self.phase = match switch {
            Switch::Asked | Switch::None => return false,
            Switch::Refused => Phase::Head,
            Switch::Granted(parameters) => frames(Sender::Client, parameters),
            Switch::Unknown => Phase::Over,
        };
        agreed.switch = Switch::None;
        true
    }

    /// The result of decoding a frame: the bytes used, and the finding.
    fn took(
        &mut self,
        (used, outcome): (usize, Result<Option<Frame>, proto_ws::Violation>),
        found: &mut Vec<Finding>,
    ) -> bool {
        self.offset += used as u64;
        match outcome {
            Ok(None) => false,
            Ok(Some((kind, text, is_last))) => {
                found.push(self.finding(kind, text));
                if is_last {
                    self.phase = Phase::Over;
                }
                true
            }
            Err(error) => {
                let mut finding = self.finding(
                    "REJECTED",
                    format!("{error} ({}, close code {})", error.section(), error.close_code().get()),
                );
                finding.section = Some(error.section());
                found.push(finding);
                self.phase = Phase::Over;
                true
            }
        }
    }

    fn take(&mut self, length: usize) {
        self.pending.drain(..length);
        self.offset += length as u64;
    }

    /// Reports a violation at `behind` bytes from the start of the pending bytes.
    fn reject(&mut self, violation: &Violation, behind: usize, found: &mut Vec<Finding>) -> bool {
        let mut finding = self.rejected(violation);
        finding.offset = self.offset + (behind + violation.offset()) as u64;
        found.push(finding);
        self.phase = Phase::Over;
        true
    }

    fn rejected(&self, violation: &Violation) -> Finding {
        let mut finding = self.finding("REJECTED", format!("{violation} (status {})", violation.status()));
        finding.section = Some(violation.section());
        finding
    }

    fn finding(&self, kind: &'static str, text: String) -> Finding {
        Finding::new(self.mark, kind, text)
    }
}

/// Kind and description of a frame, and whether it is the last one.
type Frame = (&'static str, String, bool);

/// Decodes the next event of `pending`.
fn frame<S: proto_ws::Side>(
    connection: &mut Connection<S>,
    pending: &mut Vec<u8>,
) -> (usize, Result<Option<Frame>, proto_ws::Violation>) {
    let Connection { reader, writer } = connection;
    let mut rest = &mut pending[..];
    let there = rest.len();
    let event = reader.next(writer, &mut rest, &mut BytesMut::new());
    let outcome = event.map(|event| {
        Some(match event? {
            Event::Message(Message::Text(text)) => ("text", describe(text.as_bytes()), false),
            Event::Message(Message::Binary(bytes)) => ("binary", describe(bytes), false),
            Event::Ping(payload) => ("ping", describe(payload), false),
            Event::Pong(payload) => ("pong", describe(payload), false),
            Event::Close(close) => (
                "close",
                format!("{} {}", close.code.get(), shorten(close.reason.as_bytes())),
                true,
            ),
            // Messages are assembled and inflated.
            _ => return None,
        })
    });
    let used = there - rest.len();
    pending.drain(..used);
    (used, outcome)
}

/// Decodes the frames of `sender`, as its peer would.
fn frames(sender: Sender, parameters: Option<Parameters>) -> Phase {
    let mut config = Config::default();
    config.limits.control_frames = u32::MAX;
    let config = Arc::new(config);
    match sender {
        Sender::Client => {
            let connection = Connection::server(config);
            Phase::ClientFrames(Box::new(match parameters {
                Some(parameters) => connection.deflate(parameters),
                None => connection,
            }))
        }
        Sender::Server => {
            let connection = Connection::client(config, NoEntropy);
            Phase::ServerFrames(Box::new(match parameters {
                Some(parameters) => connection.deflate(parameters),
                None => connection,
            }))
        }
    }
}

/// The parameters of permessage-deflate in a server's answer (RFC 7692 section 7.1).
fn deflate(extensions: &str) -> Option<Parameters> {
    let mut parts = extensions.split(',').next()?.split(';').map(str::trim);
    if parts.next()? != "permessage-deflate" {
        return None;
    }
    let mut parameters = Parameters {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let bits = value
            .trim_matches('"')
            .parse()
            .ok()
            .filter(|bits| (8..=15).contains(bits));
        match name {
            "server_no_context_takeover" => parameters.server_no_context_takeover = true,
            "client_no_context_takeover" => parameters.client_no_context_takeover = true,
            "server_max_window_bits" => parameters.server_max_window_bits = bits?,
            "client_max_window_bits" => parameters.client_max_window_bits = bits?,
            _ => return None,
        }
    }
    Some(parameters)
}

fn describe(content: &[u8]) -> String {
    format!("{} bytes: {}", content.len(), shorten(content))
}

/// The beginning of some content, printable on a terminal.
fn shorten(content: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&content[..content.len().min(SHOWN)]);
    let mut text = String::new();
    for letter in shown.chars() {
        if letter.is_control() {
            text.extend(letter.escape_default());
        } else {
            text.push(letter);
        }
    }
    if content.len() > SHOWN {
        text.push('…');
    }
    text
}
