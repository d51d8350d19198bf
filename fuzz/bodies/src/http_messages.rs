//! Messages that callers send, valid or not, in either role. A refused call writes nothing and changes nothing. A written message is read
//! by the other side as exactly that message, and by httparse as one head.

use arbitrary::{Arbitrary, Unstructured};
use proto_http::{
    BodyLength, ClientConnection, ClientEvent, Fields, Misuse, Rules, ServerConnection, ServerEvent, ViolationKind,
};

use crate::cuts::Random;

/// A call of either side's caller.
#[derive(Debug, Arbitrary)]
enum Call {
    Request(Word, Word, Lines, Length),
    Pipeline(Word, Word, Lines),
    RequestData(Vec<u8>),
    RequestEnd(Lines),
    Respond(u16, Lines, Vec<u8>),
    Response(u16, Lines, Option<u8>),
    ResponseData(Vec<u8>),
    ResponseEnd(Lines),
    Informational(u16, Lines),
    Switch(u16, Lines),
    CloseAfter,
}

#[derive(Debug, Arbitrary)]
enum Length {
    Empty,
    Known(u8),
    Chunked,
    UntilClose,
}

/// A method, a target, a name or a value: a known one or any bytes.
#[derive(Debug, Arbitrary)]
enum Word {
    Known(u8),
    Any(Vec<u8>),
}

type Lines = Vec<(Word, Word)>;
type Line = (Vec<u8>, Vec<u8>);

impl Word {
    fn of(&self, known: &[&str]) -> Vec<u8> {
        match self {
            Word::Known(at) => known[usize::from(*at) % known.len()].into(),
            Word::Any(bytes) => bytes.clone(),
        }
    }

    /// The word as text, with one character for each byte, so that any byte can reach the encoder.
    fn text(&self, known: &[&str]) -> String {
        self.of(known).iter().map(|&byte| char::from(byte)).collect()
    }
}

const METHODS: &[&str] = &["GET", "HEAD", "POST", "CONNECT", "OPTIONS", "G T"];
const TARGETS: &[&str] = &["/", "*", "a:1", "http://a/b?c", "/a b", "/\r\nX: y"];
const NAMES: &[&str] = &[
    "X",
    "Host",
    "Connection",
    "Upgrade",
    "Expect",
    "Content-Length",
    "Transfer-Encoding",
    "Trailer",
    "Date",
    "X ",
];
const VALUES: &[&str] = &[
    "a",
    "",
    "close",
    "upgrade",
    "100-continue",
    "keep-alive",
    "chunked",
    "7",
    "a\r\nX: y",
    "a, close",
];

fn lines(lines: &Lines) -> Vec<Line> {
    lines
        .iter()
        .map(|(name, value)| (name.of(NAMES), value.of(VALUES)))
        .collect()
}

/// The lines behind a Host field, without which most calls would fail.
fn asking(lines: &Lines) -> Vec<Line> {
    let host = (b"Host".to_vec(), b"a".to_vec());
    [vec![host], self::lines(lines)].concat()
}

/// A part of a message, as one side sends it and the other reads it.
#[derive(Debug, Clone, PartialEq)]
enum Message {
    Head(String, Vec<Line>),
    Content(Vec<u8>),
    End(Vec<Line>),
}

/// One direction: the bytes under way, the parts sent, and the parts read.
#[derive(Debug, Default)]
struct Way {
    wire: Vec<u8>,
    sent: Vec<Message>,
    seen: Vec<Message>,
    /// Bytes of content still to be sent, where the length of the message is known.
    left: Option<usize>,
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let Ok(calls) = Vec::<Call>::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let mut talk = Talk {
        client: ClientConnection::new(),
        server: ServerConnection::new(),
        up: Way::default(),
        down: Way::default(),
        methods: Vec::new(),
        random: Random::from(data),
        over: false,
    };
    for call in calls.iter().take(100) {
        talk.make(call);
        talk.pass_on();
        if talk.over {
            break;
        }
    }
}

struct Talk {
    client: ClientConnection,
    server: ServerConnection,
    up: Way,
    down: Way,
    /// The methods of the requests that the server has read; the last is the one being answered.
    methods: Vec<String>,
    random: Random,
    /// The run is over: a limit was exceeded, or the bytes of another protocol would follow.
    over: bool,
}

impl Talk {
    fn make(&mut self, call: &Call) {
        match call {
            Call::Request(method, target, fields, length) => {
                let length = match length {
                    Length::Empty => BodyLength::Empty,
                    Length::Known(length) => BodyLength::Length((*length).into()),
                    Length::Chunked => BodyLength::Chunked,
                    Length::UntilClose => BodyLength::UntilClose,
                };
                let (method, target, fields) = (method.text(METHODS), target.text(TARGETS), asking(fields));
                let asked = self.ask(|client, out| client.send_request(&method, &target, &fields[..], length, out));
                let length = match length {
                    BodyLength::Empty => Some(0),
                    BodyLength::Length(length) => Some(length as usize),
                    _ => None,
                };
                self.asked(asked, &method, &target, fields, length);
            }
            Call::Pipeline(method, target, fields) => {
                let (method, target, fields) = (method.text(METHODS), target.text(TARGETS), asking(fields));
                let asked = self.ask(|client, out| client.pipeline(&method, &target, &fields[..], out));
                self.asked(asked, &method, &target, fields, Some(0));
            }
            Call::RequestData(data) => {
                if self.ask(|client, out| client.send_data(data, out)).is_ok() {
                    self.up.content(data);
                }
            }
            Call::RequestEnd(trailers) => {
                let trailers = lines(trailers);
                if self.ask(|client, out| client.finish(&trailers[..], out)).is_ok() {
                    self.up.end(trailers);
                }
            }
            Call::Respond(status, fields, body) => {
                let (status, fields) = (status % 1100, lines(fields));
                let told = self.tell(|server, out| server.respond(status, &fields[..], body, None, out));
                if told.is_ok() {
                    let length = if self.has_content(status) { body.len() } else { 0 };
                    self.down.head(status.to_string(), fields, Some(length));
                    self.down.content(&body[..length]);
                }
            }
            Call::Response(status, fields, length) => {
                let (status, fields) = (status % 1100, lines(fields));
                let length = length.map(u64::from);
                let told = self.tell(|server, out| server.send_response(status, &fields[..], length, None, out));
                if told.is_ok() {
                    let length = if self.has_content(status) {
                        length.map(|length| length as usize)
                    } else {
                        Some(0)
                    };
                    self.down.head(status.to_string(), fields, length);
                }
            }
            Call::ResponseData(data) => {
                if self.tell(|server, out| server.send_data(data, out)).is_ok() {
                    self.down.content(data);
                }
            }
            Call::ResponseEnd(trailers) => {
                let trailers = lines(trailers);
                if self.tell(|server, out| server.finish(&trailers[..], out)).is_ok() {
                    self.down.end(trailers);
                }
            }
            Call::Informational(status, fields) => {
                let (status, fields) = (100 + status % 100, lines(fields));
                let told = self.tell(|server, out| server.send_informational(status, &fields[..], out));
                if told.is_ok() {
                    self.down.sent.push(Message::Head(status.to_string(), fields));
                }
            }
            Call::Switch(status, fields) => {
                let status = if status % 2 == 0 { 101 } else { 200 };
                let fields = lines(fields);
                let told = self.tell(|server, out| server.switch(status, &fields[..], out));
                if told.is_ok() {
                    self.down.sent.push(Message::Head(status.to_string(), fields));
                }
            }
            Call::CloseAfter => self.server.close_after(),
        }
    }

    /// Makes a call on the client; checks that a refused call changes nothing.
    fn ask(
        &mut self,
        call: impl FnOnce(&mut ClientConnection, &mut Vec<u8>) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        let (before, length) = (self.client, self.up.wire.len());
        let result = call(&mut self.client, &mut self.up.wire);
        if result.is_err() {
            assert_eq!(
                (self.client, self.up.wire.len()),
                (before, length),
                "a call refused with {result:?} changed the state or the output"
            );
        }
        result
    }

    /// Makes a call on the server; checks that a refused call changes nothing.
    fn tell(
        &mut self,
        call: impl FnOnce(&mut ServerConnection, &mut Vec<u8>) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        let (before, length) = (self.server, self.down.wire.len());
        let result = call(&mut self.server, &mut self.down.wire);
        if result.is_err() {
            assert_eq!(
                (self.server, self.down.wire.len()),
                (before, length),
                "a call refused with {result:?} changed the state or the output"
            );
        }
        result
    }

    fn asked(
        &mut self,
        asked: Result<(), Misuse>,
        method: &str,
        target: &str,
        fields: Vec<Line>,
        length: Option<usize>,
    ) {
        if asked.is_ok() {
            self.up.head(format!("{method} {target}"), fields, length);
        }
    }

    /// Whether the last response, which has this status, has content.
    fn has_content(&self, status: u16) -> bool {
        let head = self.methods.last().is_some_and(|method| method == "HEAD");
        !head && !matches!(status, 204 | 205 | 304)
    }

    /// Delivers some of the bytes under way.
    fn pass_on(&mut self) {
        let bytes = self.up.wire.len() - self.random.below(self.up.wire.len() + 1) / 2;
        let mut rest = &self.up.wire[..bytes];
        loop {
            match self.server.next(&Rules::DEFAULT, &mut rest) {
                Ok(Some(ServerEvent::Request(head))) => {
                    let line = format!("{} {}", head.method(), head.target());
                    self.up.seen.push(Message::Head(line, own(head.fields())));
                    if head.body().is_empty() {
                        self.up.seen.push(Message::End(Vec::new()));
                    }
                    self.methods.push(head.method().to_owned());
                }
                Ok(Some(ServerEvent::Data(data))) => content(&mut self.up.seen, data),
                Ok(Some(ServerEvent::End(trailers))) => self.up.seen.push(Message::End(own(trailers))),
                Ok(None | Some(ServerEvent::Paused | ServerEvent::Closed)) => break,
                Err(violation) => {
                    // A client may send more fields than a server allows, and expectations that a server does not know.
                    let allowed = [ViolationKind::Expectation, ViolationKind::TooManyFields];
                    assert!(allowed.contains(&violation.kind()), "{violation}");
                    self.over = true;
                    break;
                }
            }
        }
        let taken = bytes - rest.len();
        self.up.wire.drain(..taken);

        let bytes = self.down.wire.len() - self.random.below(self.down.wire.len() + 1) / 2;
        let mut rest = &self.down.wire[..bytes];
        loop {
            match self.client.next(&Rules::DEFAULT, &mut rest) {
                Ok(Some(ClientEvent::Informational(head) | ClientEvent::Response(head))) => {
                    let line = head.status().to_string();
                    self.down.seen.push(Message::Head(line, own(head.fields())));
                }
                Ok(Some(ClientEvent::Data(data))) => content(&mut self.down.seen, data),
                Ok(Some(ClientEvent::End(trailers))) => self.down.seen.push(Message::End(own(trailers))),
                Ok(Some(ClientEvent::Switched)) => {
                    self.over = true;
                    break;
                }
                Ok(None | Some(ClientEvent::Closed)) => break,
                Err(violation) => {
                    assert_eq!(violation.kind(), ViolationKind::TooManyFields, "{violation}");
                    self.over = true;
                    break;
                }
            }
        }
        let taken = bytes - rest.len();
        self.down.wire.drain(..taken);
        self.up.compare();
        self.down.compare();
    }
}

impl Way {
    fn head(&mut self, line: String, fields: Vec<Line>, length: Option<usize>) {
        self.sent.push(Message::Head(line, fields));
        self.left = length;
        self.settle();
    }

    /// Notes sent content. The encoder drops the content of a message that has none.
    fn content(&mut self, data: &[u8]) {
        if self.left == Some(0) {
            return;
        }
        content(&mut self.sent, data);
        self.left = self.left.map(|left| left - data.len());
        self.settle();
    }

    fn end(&mut self, trailers: Vec<Line>) {
        if self.left.is_none() {
            self.sent.push(Message::End(trailers));
        }
    }

    fn settle(&mut self) {
        if self.left == Some(0) {
            self.sent.push(Message::End(Vec::new()));
        }
    }

    /// Checks that the parts read are the beginning of the parts sent, or all of them when no bytes are under way.
    fn compare(&self) {
        assert!(
            self.seen.len() <= self.sent.len(),
            "read but never sent: {:?}",
            self.seen.last()
        );
        let last = self.seen.len().saturating_sub(1);
        for (at, (seen, sent)) in self.seen.iter().zip(&self.sent).enumerate() {
            match (seen, sent) {
                (Message::Head(line, fields), Message::Head(sent_line, sent_fields)) => {
                    assert_eq!(line, sent_line);
                    let own = fields.get(..sent_fields.len());
                    assert_eq!(own, Some(&sent_fields[..]));
                    framing(&fields[sent_fields.len()..]);
                }
                (Message::Content(seen), Message::Content(sent)) if at == last => assert!(sent.starts_with(seen)),
                _ => assert_eq!(seen, sent),
            }
        }
        if self.wire.is_empty() {
            assert_eq!(self.seen.len(), self.sent.len(), "{self:?}");
            assert!(!matches!(self.sent.last(), Some(Message::Content(_))) || self.seen.last() == self.sent.last());
        }
    }
}

/// Checks that the encoder added only its own fields behind the given ones, and none twice.
fn framing(added: &[Line]) {
    for (at, (name, value)) in added.iter().enumerate() {
        let known = match &name[..] {
            b"Content-Length" => value.iter().all(u8::is_ascii_digit),
            b"Transfer-Encoding" => value == b"chunked",
            b"Connection" => [&b"close"[..], b"upgrade", b"keep-alive"].contains(&&value[..]),
            _ => false,
        };
        assert!(
            known && !added[..at].contains(&added[at]),
            "the encoder added {added:?}"
        );
    }
}

/// Adds content to the messages.
fn content(messages: &mut Vec<Message>, data: &[u8]) {
    match messages.last_mut() {
        _ if data.is_empty() => {}
        Some(Message::Content(content)) => content.extend_from_slice(data),
        _ => messages.push(Message::Content(data.into())),
    }
}

fn own(fields: Fields<'_>) -> Vec<Line> {
    fields
        .iter()
        .map(|field| (field.name.into(), field.value.into()))
        .collect()
}
