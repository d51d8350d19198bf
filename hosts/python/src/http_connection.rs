//! A connection in the shape of h11's.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use proto_http::state::State;
use proto_http::{ClientConnection, Misuse, Rules, ServerConnection, Version, Violation};

use crate::bytes_like::bytes_of;
use crate::http_events::{ConnectionClosed, EndOfMessage, ToSend, version_bytes};
use crate::http_headers::Headers;
use crate::http_states::Name;
use crate::{http_client, http_server};

pyo3::import_exception!(wirestate._http_errors, LocalProtocolError);
pyo3::import_exception!(wirestate._http_errors, RemoteProtocolError);

/// Memory for input or output that an idle connection keeps.
const KEEP: usize = 64 * 1024;

enum Side {
    Server(ServerConnection),
    Client(ClientConnection),
}

/// What Python's model of an exchange has in addition to the codec's.
pub(crate) struct Progress {
    /// The exchange under way leaves the connection open.
    pub(crate) keep_alive: bool,
    /// The exchange is complete, and the next one was not started.
    pub(crate) is_over: bool,
    /// The end of the peer's message is the next event: the codec has none for a message without content.
    pub(crate) owes_end: bool,
    /// The end of our message is due, which has no bytes.
    pub(crate) owe_end: bool,
    /// The peer's version.
    pub(crate) version: Option<Version>,
    is_active: bool,
}

impl Progress {
    pub(crate) fn begin(&mut self, version: Version, keep_alive: bool) {
        self.is_active = true;
        self.version = Some(version);
        self.keep_alive = keep_alive;
    }
}

/// The result of a read.
pub(crate) enum Read {
    Event(Py<PyAny>),
    NeedData,
    Paused,
    Closed,
}

/// What may follow the head of a request without content: nothing, and its end.
fn owed(event: &ToSend<'_, '_>, progress: &mut Progress) -> PyResult<()> {
    match event {
        ToSend::Data(data) if data.len()? == 0 => Ok(()),
        ToSend::Data(_) => Err(misuse(Misuse::BodyTooLong)),
        ToSend::End(trailers) if trailers.pairs().next().is_none() => {
            progress.owe_end = false;
            Ok(())
        }
        ToSend::End(_) => Err(misuse(Misuse::TrailersNeedChunks)),
        _ => Err(misuse(Misuse::OutOfTurn)),
    }
}

pub(crate) fn misuse(misuse: Misuse) -> PyErr {
    LocalProtocolError::new_err(misuse.to_string())
}

pub(crate) fn violation(violation: Violation, progress: &mut Progress) -> PyErr {
    progress.keep_alive = false;
    let kind = violation.kind();
    let text = violation.to_string();
    RemoteProtocolError::new_err((text, kind.status(), kind.name(), kind.section()))
}

/// One HTTP/1.1 connection, without I/O.
#[pyclass(module = "wirestate.http")]
pub(crate) struct Connection {
    side: Side,
    rules: Rules,
    input: Vec<u8>,
    /// Bytes of `input` that were read.
    at: usize,
    out: Vec<u8>,
    eof: bool,
    progress: Progress,
    they_closed: bool,
    we_closed: bool,
    send_failed: bool,
}

impl Connection {
    fn codec_states(&self) -> (State, State) {
        match &self.side {
            Side::Server(codec) => (codec.request_state(), codec.response_state()),
            Side::Client(codec) => (codec.request_state(), codec.response_state()),
        }
    }

    /// The states of client and server.
    fn both(&self) -> (Name, Name) {
        let (request, response) = self.codec_states();
        let is_server = matches!(self.side, Side::Server(_));
        let name = |state, ours: bool| {
            let (closed, owes) = if ours {
                (self.we_closed, self.progress.owe_end)
            } else {
                (self.they_closed, self.progress.owes_end)
            };
            match () {
                () if ours && self.send_failed => Name::Error,
                () if closed => Name::Closed,
                () if owes => Name::SendBody,
                () if self.progress.is_over => Name::Done,
                () => Name::of(state, self.progress.keep_alive),
            }
        };
        Name::joined(name(request, !is_server), name(response, is_server))
    }

    fn ours(&self) -> Name {
        let (client, server) = self.both();
        if matches!(self.side, Side::Server(_)) {
            server
        } else {
            client
        }
    }

    fn theirs(&self) -> Name {
        let (client, server) = self.both();
        if matches!(self.side, Side::Server(_)) {
            client
        } else {
            server
        }
    }

    /// After a step: whether it completed the exchange.
    fn settle(&mut self) {
        let idle = self.codec_states() == (State::Idle, State::Idle);
        if self.progress.is_active && idle {
            self.progress.is_active = false;
            self.progress.is_over = true;
        }
    }

    fn unread(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn read(&mut self, py: Python<'_>) -> PyResult<Read> {
        if let Side::Client(codec) = &self.side {
            codec.unfold(self.input.get_mut(self.at..).unwrap_or_default());
        }
        let mut rest = self.input.get(self.at..).unwrap_or_default();
        let before = rest.len();
        let (rules, eof, progress) = (&self.rules, self.eof, &mut self.progress);
        let result = match &mut self.side {
            Side::Server(codec) => http_server::read(py, codec, rules, &mut rest, eof, progress),
            Side::Client(codec) => http_client::read(py, codec, rules, &mut rest, eof, progress),
        };
        self.at += before - rest.len();
        self.settle();
        result
    }

    /// Appends what `event` says to `self.out`.
    fn write(&mut self, py: Python<'_>, event: &ToSend<'_, '_>) -> PyResult<()> {
        let Self {
            side, out, progress, ..
        } = self;
        if progress.owe_end {
            return owed(event, progress);
        }
        if progress.is_over {
            return Err(misuse(Misuse::OutOfTurn));
        }
        match (event, side) {
            (ToSend::Response(head), Side::Server(codec)) => http_server::respond(py, codec, head, progress, out),
            (ToSend::Informational(head), Side::Server(codec)) => http_server::inform(codec, head, out),
            (ToSend::Request(head), Side::Client(codec)) => http_client::request(py, codec, head, progress, out),
            (ToSend::Data(data), Side::Server(codec)) => codec.send_data(&bytes_of(data)?, out).map_err(misuse),
            (ToSend::Data(data), Side::Client(codec)) => codec.send_data(&bytes_of(data)?, out).map_err(misuse),
            (ToSend::End(trailers), Side::Server(codec)) => {
                codec.finish(&trailers.to_send().fields, out).map_err(misuse)
            }
            (ToSend::End(trailers), Side::Client(codec)) => {
                codec.finish(&trailers.to_send().fields, out).map_err(misuse)
            }
            _ => Err(LocalProtocolError::new_err("the other side sends this event")),
        }
    }

    fn close(&mut self) -> PyResult<()> {
        match self.ours() {
            Name::Idle | Name::Done | Name::MustClose | Name::Closed => {
                self.we_closed = true;
                Ok(())
            }
            state => {
                let message = format!("ConnectionClosed cannot be sent in state {}", state.text());
                Err(LocalProtocolError::new_err(message))
            }
        }
    }

    fn refuse_closed(&self) -> PyResult<()> {
        if self.send_failed {
            return Err(LocalProtocolError::new_err("nothing can be sent after send_failed"));
        }
        if self.we_closed {
            return Err(LocalProtocolError::new_err(
                "nothing can be sent after ConnectionClosed",
            ));
        }
        Ok(())
    }

    /// Takes the output.
    fn take<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = PyBytes::new(py, &self.out);
        self.out.clear();
        if self.out.capacity() > KEEP {
            self.out = Vec::new();
        }
        bytes
    }
}

#[pymethods]
impl Connection {
    /// `max_incomplete_event_size` bounds the bytes of a start line, and those of the fields; `max_body` the content of a message.
    #[new]
    #[pyo3(signature = (our_role, max_incomplete_event_size = None, *, max_body = None))]
    fn new(
        py: Python<'_>,
        our_role: &Bound<'_, PyAny>,
        max_incomplete_event_size: Option<usize>,
        max_body: Option<u64>,
    ) -> PyResult<Self> {
        let (side, rules) = if our_role.is(Name::Server.object(py)?) {
            (Side::Server(ServerConnection::new()), Rules::DEFAULT)
        } else if our_role.is(Name::Client.object(py)?) {
            (Side::Client(ClientConnection::new()), Rules::RESPONSES)
        } else {
            return Err(PyValueError::new_err(format!(
                "expected CLIENT or SERVER, not {}",
                our_role.repr()?
            )));
        };
        let mut rules = rules.with_body(max_body);
        if let Some(size) = max_incomplete_event_size {
            rules.limits.request_line = size;
            rules.limits.fields_bytes = size;
        }
        Ok(Self {
            side,
            rules,
            input: Vec::new(),
            at: 0,
            out: Vec::new(),
            eof: false,
            progress: Progress {
                keep_alive: true,
                is_over: false,
                owes_end: false,
                owe_end: false,
                version: None,
                is_active: false,
            },
            they_closed: false,
            we_closed: false,
            send_failed: false,
        })
    }

    /// Adds received bytes; none means that the peer has closed.
    fn receive_data(&mut self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = bytes_of(data)?;
        if data.is_empty() {
            self.eof = true;
            return Ok(());
        }
        if self.eof {
            return Err(PyRuntimeError::new_err("received close, then received more data"));
        }
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        } else if self.at > self.input.len() / 2 {
            self.input.drain(..self.at);
            self.at = 0;
        }
        self.input.extend_from_slice(&data);
        Ok(())
    }

    /// The next event, `NEED_DATA` or `PAUSED`.
    fn next_event(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.progress.owes_end {
            self.progress.owes_end = false;
            let headers = Py::new(py, Headers::empty())?;
            return Ok(Py::new(py, EndOfMessage { headers })?.into_any());
        }
        let read = match self.theirs() {
            Name::Closed => Read::Closed,
            Name::Error => {
                let text = "nothing can be received after a violation";
                return Err(RemoteProtocolError::new_err(text));
            }
            Name::MightSwitch | Name::Switched => Read::Paused,
            Name::Done | Name::MustClose => match (self.unread().is_empty(), self.eof) {
                (false, _) => Read::Paused,
                (true, true) => Read::Closed,
                (true, false) => Read::NeedData,
            },
            _ => self.read(py)?,
        };
        if self.unread().is_empty() && self.input.capacity() > KEEP {
            (self.input, self.at) = (Vec::new(), 0);
        }
        match read {
            Read::Event(event) => Ok(event),
            Read::NeedData => Name::NeedData.object(py),
            Read::Paused => Name::Paused.object(py),
            Read::Closed => {
                self.they_closed = true;
                // No further exchange is possible: what we still send says so.
                match &mut self.side {
                    Side::Server(codec) => codec.eof(),
                    Side::Client(codec) => codec.eof(),
                }
                self.progress.keep_alive = false;
                Ok(Py::new(py, ConnectionClosed)?.into_any())
            }
        }
    }

    /// The bytes that `event` is sent as; `None` for `ConnectionClosed`.
    fn send<'py>(&mut self, event: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let py = event.py();
        let mut data = None;
        let event = ToSend::of(event, &mut data)?;
        if matches!(event, ToSend::Closed) {
            return self.close().map(|()| None);
        }
        self.refuse_closed()?;
        self.write(py, &event).inspect_err(|_| self.out.clear())?;
        self.settle();
        Ok(Some(self.take(py)))
    }

    /// Like `send`, as a list of pieces. A `Data` event's own object is one of them.
    fn send_with_data_passthrough<'py>(&mut self, event: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyList>>> {
        let py = event.py();
        let mut held = None;
        let ToSend::Data(data) = ToSend::of(event, &mut held)? else {
            let sent = self.send(event)?;
            return sent.map(|bytes| PyList::new(py, [bytes])).transpose();
        };
        self.refuse_closed()?;
        let length = data.len()?;
        if self.progress.owe_end {
            owed(&ToSend::Data(data), &mut self.progress)?;
            return Ok(Some(PyList::empty(py)));
        }
        let begun = match &mut self.side {
            Side::Server(codec) => codec.begin_data(length, &mut self.out),
            Side::Client(codec) => codec.begin_data(length, &mut self.out),
        };
        let list = PyList::empty(py);
        if begun.map_err(misuse)? {
            list.append(self.take(py))?;
            list.append(data)?;
            let ended = match &mut self.side {
                Side::Server(codec) => codec.end_data(&mut self.out),
                Side::Client(codec) => codec.end_data(&mut self.out),
            };
            ended.map_err(misuse)?;
            list.append(self.take(py))?;
        }
        Ok(Some(list))
    }

    /// What was sent did not arrive: nothing more can be sent.
    fn send_failed(&mut self) {
        self.send_failed = true;
    }

    /// Begins the next exchange, after both messages are complete.
    fn start_next_cycle(&mut self) -> PyResult<()> {
        let states = self.both();
        if !self.progress.is_over || states != (Name::Done, Name::Done) {
            let (client, server) = (states.0.text(), states.1.text());
            let message = format!("not in a reusable state: the client is {client}, the server {server}");
            return Err(LocalProtocolError::new_err(message));
        }
        self.progress.is_over = false;
        Ok(())
    }

    #[getter]
    fn our_role(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.side {
            Side::Server(_) => Name::Server.object(py),
            Side::Client(_) => Name::Client.object(py),
        }
    }

    #[getter]
    fn their_role(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.side {
            Side::Server(_) => Name::Client.object(py),
            Side::Client(_) => Name::Server.object(py),
        }
    }

    #[getter]
    fn our_state(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.ours().object(py)
    }

    #[getter]
    fn their_state(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.theirs().object(py)
    }

    /// Both states, by role.
    #[getter]
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (client, server) = self.both();
        let states = PyDict::new(py);
        states.set_item(Name::Client.object(py)?, client.object(py)?)?;
        states.set_item(Name::Server.object(py)?, server.object(py)?)?;
        Ok(states)
    }

    /// The version of the peer's last head.
    #[getter]
    fn their_http_version(&self, py: Python<'_>) -> Option<Py<PyBytes>> {
        self.progress.version.map(|version| version_bytes(py, version))
    }

    #[getter]
    fn client_is_waiting_for_100_continue(&self) -> bool {
        match &self.side {
            Side::Server(codec) => codec.expects_continue() && codec.can_respond(),
            Side::Client(codec) => codec.expects_continue(),
        }
    }

    #[getter]
    fn they_are_waiting_for_100_continue(&self) -> bool {
        matches!(self.side, Side::Server(_)) && self.client_is_waiting_for_100_continue()
    }

    /// The received bytes that were not read, and whether the peer has closed after them.
    #[getter]
    fn trailing_data<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>, bool) {
        (PyBytes::new(py, self.unread()), self.eof)
    }
}
