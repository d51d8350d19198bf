//! The answers.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use http_files::{Config, Download, Files};
use proto_http::{Fields, Handler, Misuse, Request, Responder};
use proto_ws::handshake::server::Request as Handshake;
use proto_ws::{Connection, Message, Server, Socket};

use crate::json::{self, Dataset};

/// What all connections share.
pub(crate) struct Shared {
    dataset: Dataset,
    files: Arc<Files>,
    ws: Arc<proto_ws::Config>,
}

impl Shared {
    pub(crate) fn load(data: &Path) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            dataset: Dataset::load(&data.join("dataset.json"))?,
            files: Files::open(Config::new(data.join("static")).precompressed(true))?,
            ws: Arc::default(),
        }))
    }
}

/// Answers the requests of a connection or a stream.
pub(crate) struct Site {
    shared: Arc<Shared>,
    state: State,
}

/// What the current request needs.
enum State {
    Idle,
    /// A number in the body, to be added to the sum of the query.
    Sum(i64, Digits),
    /// The bytes of an upload so far.
    Upload(u64),
    Download(Box<Download>),
    Switch(Box<Server<Echo>>),
}

/// The body of a sum; longer ones are no numbers.
#[derive(Default)]
struct Digits {
    bytes: [u8; 32],
    length: usize,
}

impl Digits {
    fn push(&mut self, data: &[u8]) {
        let end = self.length.saturating_add(data.len());
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(data);
        }
        self.length = end;
    }

    fn number(&self) -> Option<i64> {
        std::str::from_utf8(self.bytes.get(..self.length)?)
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

thread_local! {
    /// JSON, and its compressed form.
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

const TEXT: [(&str, &str); 1] = [("Content-Type", "text/plain")];
const JSON: [(&str, &str); 2] = [("Content-Type", "application/json"), ("Vary", "Accept-Encoding")];

impl Site {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let state = State::Idle;
        Self { shared, state }
    }

    fn json(&self, request: &Request<'_>, count: &str, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Ok(count) = count.parse() else {
            return responder.send(404, &TEXT, b"not found");
        };
        let factor = numbers(request, &["m"]).next().unwrap_or(1);
        SCRATCH.with_borrow_mut(|(text, packed)| {
            text.clear();
            if self.shared.dataset.write(count, factor, text).is_err() {
                return responder.send(500, &(), b"");
            }
            if !takes_gzip(request) {
                return responder.send(200, &JSON, text);
            }
            packed.clear();
            match json::gzip(text, packed) {
                Ok(()) => responder.send(200, &(JSON, [("Content-Encoding", "gzip")]), packed),
                Err(_) => responder.send(200, &JSON, text),
            }
        })
    }

    fn upgrade(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        match Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value))) {
            Ok(handshake) => {
                let response = handshake.accept();
                let connection = Connection::server(Arc::clone(&self.shared.ws)).accepted(&response);
                let fields: Vec<_> = response.fields().collect();
                responder.upgrade(&fields.as_slice())?;
                self.state = State::Switch(Box::new(Server::with(connection, Echo)));
                Ok(())
            }
            Err(rejection) => responder.send(rejection.status(), &rejection.fields(), b""),
        }
    }
}

/// The numbers of the query whose names are among `names`.
fn numbers<'a>(request: &Request<'a>, names: &[&str]) -> impl Iterator<Item = i64> {
    let query = request.target_form().query().unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(name, value)| {
        if names.contains(&name) {
            value.parse().ok()
        } else {
            None
        }
    })
}

/// Whether the client takes gzip (RFC 9110 section 12.5.3).
fn takes_gzip(request: &Request<'_>) -> bool {
    request.fields().list("accept-encoding").any(|element| {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let refuses = |weight: &[u8]| matches!(weight, b"q=0" | b"q=0." | b"q=0.0" | b"q=0.00" | b"q=0.000");
        parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip")) && !parts.any(refuses)
    })
}

/// Answers with a number.
fn number(number: impl std::fmt::Display, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
    let mut text = [0; 24];
    let mut rest = &mut text[..];
    // 20 digits and a sign fit.
    let _ = write!(rest, "{number}");
    let left = rest.len();
    responder.send(200, &TEXT, &text[..24 - left])
}

impl Handler for Site {
    type Message = Infallible;
    type Next = Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.state = State::Idle;
        let total = || numbers(request, &["a", "b"]).fold(0, i64::wrapping_add);
        match (request.path(), request.method()) {
            ("/baseline11" | "/baseline2", "GET" | "HEAD") => number(total(), responder),
            ("/baseline11", "POST") => {
                self.state = State::Sum(total(), Digits::default());
                Ok(())
            }
            ("/pipeline", "GET" | "HEAD") => responder.send(200, &TEXT, b"ok"),
            ("/upload", "POST") => {
                self.state = State::Upload(0);
                Ok(())
            }
            ("/ws", "GET") => self.upgrade(request, responder),
            (path, "GET" | "HEAD") => {
                if let Some(count) = path.strip_prefix("/json/") {
                    return self.json(request, count, responder);
                }
                if let Some(path) = path.strip_prefix("/static")
                    && path.starts_with('/')
                {
                    let download = self.shared.files.answer(request, path, responder)?;
                    self.state = download.map_or(State::Idle, |download| State::Download(Box::new(download)));
                    return Ok(());
                }
                responder.send(404, &TEXT, b"not found")
            }
            _ => responder.send(405, &[("Allow", "GET, HEAD, POST")], b""),
        }
    }

    fn data(&mut self, data: &[u8], _: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match &mut self.state {
            State::Sum(_, digits) => digits.push(data),
            State::Upload(bytes) => *bytes += data.len() as u64,
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Sum(total, digits) => number(total.wrapping_add(digits.number().unwrap_or(0)), responder),
            State::Upload(bytes) => number(bytes, responder),
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if let State::Download(download) = &mut self.state
            && download.proceed(responder)?
        {
            self.state = State::Idle;
        }
        Ok(())
    }

    fn switched(&mut self) -> Option<Self::Next> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Switch(next) => Some(*next),
            _ => None,
        }
    }

    fn closed(&mut self, _: bool) {
        self.state = State::Idle;
    }
}

/// Sends WebSocket messages back.
pub(crate) struct Echo;

impl proto_ws::Handler for Echo {
    type Message = Infallible;

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_>) -> Result<(), proto_ws::Misuse> {
        socket.message(message)?;
        Ok(())
    }
}
